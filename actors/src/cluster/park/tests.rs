use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use chinwag_schema::ids::Shard;

use super::*;

const SHARD: Shard = Shard(7);

/// A message that notes how it ended.
struct Note {
    n: usize,
    refused: Arc<Mutex<Vec<usize>>>,
}

fn refuse(note: Note) {
    note.refused.lock().unwrap().push(note.n);
}

struct World {
    park: Park<Note>,
    refused: Arc<Mutex<Vec<usize>>>,
    told: RefCell<Vec<usize>>,
    owned: std::cell::Cell<bool>,
}

impl World {
    fn new() -> Self {
        Self { park: Park::new(refuse), refused: Arc::default(), told: RefCell::default(), owned: false.into() }
    }

    fn tell(&self, shard: Shard, n: usize) {
        let note = Note { n, refused: self.refused.clone() };
        self.park.tell(shard, note, |note| self.place(note));
    }

    fn place(&self, note: Note) -> Result<(), Note> {
        if !self.owned.get() {
            return Err(note);
        }
        self.told.borrow_mut().push(note.n);
        Ok(())
    }

    fn refused(&self) -> Vec<usize> {
        self.refused.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn what_waited_is_told_in_order_when_the_owner_is_known() {
    let world = World::new();
    (0..5).for_each(|n| world.tell(SHARD, n));
    assert!(world.park.waits(SHARD) && world.told.borrow().is_empty());
    world.owned.set(true);
    world.park.tell_again(SHARD, |note| world.place(note));
    assert_eq!(*world.told.borrow(), [0, 1, 2, 3, 4]);
    assert!(!world.park.waits(SHARD) && world.park.is_empty() && world.refused().is_empty());
    world.tell(SHARD, 5);
    assert_eq!(world.told.borrow().last(), Some(&5), "told at once again");
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_what_waits() {
    let world = World::new();
    world.tell(SHARD, 0);
    world.owned.set(true);
    // The owner is known, but nobody has told the queue yet.
    world.tell(SHARD, 1);
    assert_eq!(*world.told.borrow(), [0, 1]);
    world.tell(Shard(8), 2);
    assert_eq!(*world.told.borrow(), [0, 1, 2], "other shards don't wait for it");
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_the_queue_is_told_goes_behind_it() {
    let world = World::new();
    (0..3).for_each(|n| world.tell(SHARD, n));
    world.owned.set(true);
    world.park.tell_again(SHARD, |note| {
        if note.n == 1 {
            world.tell(SHARD, 9);
        }
        world.place(note)
    });
    assert_eq!(*world.told.borrow(), [0, 1, 2, 9]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_goes_again_leaves_the_rest_waiting_in_order() {
    let world = World::new();
    (0..4).for_each(|n| world.tell(SHARD, n));
    world.owned.set(true);
    world.park.tell_again(SHARD, |note| {
        if note.n == 2 {
            world.owned.set(false);
        }
        world.place(note)
    });
    assert_eq!(*world.told.borrow(), [0, 1]);
    assert_eq!(world.park.len(), 2);
    world.owned.set(true);
    world.tell(SHARD, 4);
    assert_eq!(*world.told.borrow(), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_becomes_known_while_a_message_finds_no_place_is_not_missed() {
    let world = World::new();
    world.tell(SHARD, 0);
    let first = std::cell::Cell::new(true);
    world.park.tell_again(SHARD, |note| {
        if first.replace(false) {
            // Another thread learns of the owner just after this one looked.
            world.owned.set(true);
            world.park.tell_again(SHARD, |note| world.place(note));
            return Err(note);
        }
        world.place(note)
    });
    assert_eq!(*world.told.borrow(), [0]);
    assert!(!world.park.waits(SHARD));
}

#[tokio::test(start_paused = true)]
async fn waiting_has_an_end() {
    let world = World::new();
    world.tell(SHARD, 0);
    tokio::time::advance(PARKED_FOR / 2).await;
    world.tell(SHARD, 1);
    tokio::time::advance(PARKED_FOR / 2 - Duration::from_millis(1)).await;
    world.park.expire();
    assert!(world.refused().is_empty());
    tokio::time::advance(Duration::from_millis(1)).await;
    world.park.expire();
    assert_eq!(world.refused(), [0]);
    assert!(world.park.waits(SHARD));
    tokio::time::advance(PARKED_FOR / 2).await;
    world.owned.set(true);
    world.park.tell_again(SHARD, |note| world.place(note));
    assert_eq!(world.refused(), [0, 1], "too late, though nobody looked before");
    assert!(world.told.borrow().is_empty() && !world.park.waits(SHARD));
}

#[tokio::test(start_paused = true)]
async fn space_has_an_end_and_all_shards_share_it() {
    let world = World::new();
    (0..PARKED_MAX).for_each(|n| world.tell(Shard((n % 256) as u8), n));
    assert_eq!((world.park.len(), world.refused().len()), (PARKED_MAX, 0));
    world.tell(SHARD, PARKED_MAX);
    assert_eq!(world.refused(), [PARKED_MAX]);
    world.park.refuse_all();
    assert_eq!(world.refused().len(), PARKED_MAX + 1);
    assert!(world.park.is_empty() && !world.park.waits(SHARD));
}

#[tokio::test(start_paused = true)]
async fn refusals_come_by_themselves() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let refused = Arc::<Mutex<Vec<usize>>>::default();
            let park = Arc::new(Park::new(refuse));
            keep_expiring(&park, &Placement::Here { workers: 1 });
            park.tell(SHARD, Note { n: 3, refused: refused.clone() }, Err);
            tokio::time::sleep(PARKED_FOR + EXPIRE_EVERY).await;
            assert_eq!(*refused.lock().unwrap(), [3]);
        })
        .await;
}

/// Each thread tells numbers in order, while the owner comes and goes: no number may overtake one of the same thread.
#[test]
fn order_holds_with_many_threads() {
    const THREADS: usize = 4;
    const EACH: usize = 20_000;
    let told = Mutex::new(Vec::new());
    let owned = AtomicUsize::new(0);
    let park = Park::<(usize, usize)>::new(|_| panic!("nothing is refused"));
    let place = |message| {
        if owned.load(SeqCst).is_multiple_of(3) {
            return Err(message);
        }
        told.lock().unwrap().push(message);
        Ok(())
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (park, place, owned) = (&park, &place, &owned);
            scope.spawn(move || {
                for n in 0..EACH {
                    while park.len() > PARKED_MAX / 2 {
                        owned.fetch_add(1, SeqCst);
                        park.tell_again(SHARD, place);
                    }
                    park.tell(SHARD, (thread, n), place);
                    if n % 7 == 0 {
                        owned.fetch_add(1, SeqCst);
                        park.tell_again(SHARD, place);
                    }
                }
            });
        }
    });
    owned.store(1, SeqCst);
    park.tell_again(SHARD, place);
    let mut next = [0; THREADS];
    for &(thread, n) in told.lock().unwrap().iter() {
        assert_eq!(n, next[thread], "of thread {thread}");
        next[thread] += 1;
    }
    assert_eq!(next, [EACH; THREADS]);
}
