use std::{
    future::{Future, poll_fn},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake},
};

use bytes::Bytes;
use chinwag_schema::{
    event::Class,
    wire::{Dialect, Encoding},
};

use super::{
    super::{Outbox, OutboxStats},
    *,
};

const MANY: usize = 1000;

#[derive(Debug, Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn outbox() -> Rc<Outbox> {
    let encoding = Encoding { dialect: Dialect::Native, compressed: false };
    Rc::new(Outbox::new(encoding, Rc::new(OutboxStats::default())))
}

fn push(outbox: &Outbox) {
    outbox.push(Bytes::from_static(b"x"), &Class::Kept);
}

/// What a socket's task does with its outbox: reads what waits and remembers itself. Returns how many frames it read.
fn poll(outbox: &Outbox, waker: &Waker) -> usize {
    let cx = Context::from_waker(waker);
    let waker = outbox.take_waker();
    let mut read = Vec::new();
    outbox.take(&mut read, usize::MAX, usize::MAX);
    outbox.restore_waker(waker, &cx);
    read.len()
}

/// An outbox whose task is a counter of wake-ups.
fn counted() -> (Rc<Outbox>, Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let outbox = outbox();
    poll(&outbox, &waker);
    (outbox, count, waker)
}

fn woken(sockets: &[(Rc<Outbox>, Arc<Count>, Waker)]) -> usize {
    sockets.iter().map(|(_, count, _)| count.get()).sum()
}

/// Gives all other tasks that are woken their turn.
async fn turn() {
    let mut begun = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut begun, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a test as one of the tasks of a thread whose flusher is there.
fn with_flusher<F: Future<Output: 'static> + 'static>(test: impl FnOnce() -> F) -> F::Output {
    actix_rt::System::new().block_on(async {
        start();
        start();
        let task = test();
        let task = actix_rt::spawn(async move {
            turn().await;
            task.await
        });
        task.await.expect("the test doesn't panic")
    })
}

fn waiting() -> usize {
    WAKES.with(|wakes| wakes.waiting.borrow().len())
}

#[test]
fn single_wakes_are_direct() {
    with_flusher(|| async {
        let (outbox, count, waker) = counted();
        for n in 1..=MANY {
            push(&outbox);
            assert_eq!(count.get(), n);
            assert_eq!(poll(&outbox, &waker), 1);
            turn().await;
        }
    });
}

#[test]
fn the_65th_socket_waits_for_the_flushers_turn() {
    with_flusher(|| async {
        let sockets: Vec<_> = (0..=STANDING_MAX).map(|_| counted()).collect();
        sockets.iter().for_each(|(outbox, ..)| push(outbox));
        assert_eq!(woken(&sockets), STANDING_MAX);
        assert_eq!(sockets[STANDING_MAX].1.get(), 0);
        turn().await;
        assert_eq!(woken(&sockets), STANDING_MAX + 1);
        assert_eq!(waiting(), 0);
    });
}

#[test]
fn wakes_of_long_ago_leave_room_for_a_burst() {
    with_flusher(|| async {
        for single in 0..2 * CALL_AT {
            let sockets: Vec<_> = (0..=CALL_AT).map(|_| counted()).collect();
            sockets.iter().for_each(|(outbox, ..)| push(outbox));
            assert_eq!(woken(&sockets), CALL_AT + 1, "after {single} more");
            // Two, as what stands behind the flusher is counted once more.
            turn().await;
            turn().await;
            push(&counted().0);
            turn().await;
        }
    });
}

#[test]
fn a_socket_pushed_twice_waits_once_and_keeps_its_place() {
    with_flusher(|| async {
        let sockets: Vec<_> = (0..3 * STANDING_MAX).map(|_| counted()).collect();
        sockets.iter().for_each(|(outbox, ..)| push(outbox));
        let (outbox, count, waker) = &sockets[2 * STANDING_MAX - 1];
        for _ in 0..MANY {
            push(outbox);
            outbox.wake();
            // It runs because its client wrote something.
            assert!(poll(outbox, waker) > 0);
            push(outbox);
        }
        assert_eq!(waiting(), 2 * STANDING_MAX);
        while waiting() > 0 {
            // All before it were woken, or it wasn't.
            assert_eq!(count.get() == 1, woken(&sockets) >= 2 * STANDING_MAX);
            turn().await;
        }
        assert!(sockets.iter().all(|(_, count, _)| count.get() == 1));
    });
}

#[test]
fn a_socket_that_ran_while_it_waited_is_not_woken() {
    with_flusher(|| async {
        let sockets: Vec<_> = (0..=STANDING_MAX).map(|_| counted()).collect();
        sockets.iter().for_each(|(outbox, ..)| push(outbox));
        let (outbox, count, waker) = &sockets[STANDING_MAX];
        assert_eq!(poll(outbox, waker), 1);
        turn().await;
        assert_eq!(count.get(), 0);
        push(outbox);
        assert_eq!(count.get(), 1);
    });
}

#[test]
fn sockets_dropped_while_they_wait_are_freed_at_once_and_hold_nobody_up() {
    with_flusher(|| async {
        let mut sockets: Vec<_> = (0..STANDING_MAX + 100).map(|_| counted()).collect();
        sockets.iter().for_each(|(outbox, ..)| push(outbox));
        for (outbox, count, waker) in sockets.drain(STANDING_MAX..STANDING_MAX + 99) {
            drop((outbox, waker));
            assert_eq!(Arc::strong_count(&count), 1);
        }
        turn().await;
        assert_eq!(woken(&sockets), STANDING_MAX + 1);
        assert_eq!(waiting(), 0);
    });
}

#[test]
fn nothing_waits_without_a_flusher_nor_after_its_end() {
    let sockets: Vec<_> = (0..MANY).map(|_| counted()).collect();
    sockets.iter().for_each(|(outbox, ..)| push(outbox));
    assert_eq!(woken(&sockets), MANY);
    let sockets = with_flusher(|| async {
        let sockets: Vec<_> = (0..MANY).map(|_| counted()).collect();
        sockets.iter().for_each(|(outbox, ..)| push(outbox));
        assert_eq!(woken(&sockets), STANDING_MAX);
        sockets
    });
    assert_eq!(woken(&sockets), MANY);
    for (outbox, count, waker) in &sockets {
        poll(outbox, waker);
        push(outbox);
        assert_eq!(count.get(), 2);
    }
}

#[test]
fn others_have_their_turn_between_the_sockets_of_a_burst() {
    with_flusher(|| async {
        let read = Rc::new(RefCell::new(Vec::new()));
        let sockets: Vec<_> = (0..MANY).map(|_| outbox()).collect();
        for (n, socket) in sockets.iter().enumerate() {
            let (socket, read) = (socket.clone(), read.clone());
            actix_rt::spawn(poll_fn(move |cx| {
                for _ in 0..poll(&socket, cx.waker()) {
                    read.borrow_mut().push(n);
                }
                Poll::<()>::Pending
            }));
        }
        turn().await;
        let mut most = 0;
        for burst in 1..=3 {
            sockets.iter().for_each(|outbox| push(outbox));
            let mut turns = 0;
            let mut before = read.borrow().len();
            while before < burst * MANY {
                turn().await;
                turns += 1;
                let now = read.borrow().len();
                most = most.max(now - before);
                before = now;
            }
            assert!(turns <= MANY / STANDING_MAX + 2, "{turns} turns");
        }
        assert!(most <= STANDING_MAX, "{most} sockets in a row");
        let all: Vec<_> = (0..3 * MANY).map(|n| n % MANY).collect();
        assert_eq!(*read.borrow(), all, "in order, each once per burst");
    });
}
