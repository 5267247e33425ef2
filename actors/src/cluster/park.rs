//! What waits until its shard has an owner that can be reached.
//!
//! One queue per shard, in the order of arrival: while one has something in it (or is being told), everything for that shard goes
//! behind it, so that nothing overtakes. Told again when the owner is known; refused when time or space runs out. It knows neither
//! owners nor conversations: a function places a message, or gives it back.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chinwag_schema::{
    ids::Shard,
    limits::shards::{PARKED_FOR, PARKED_MAX},
};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::runtime::Placement;

/// How often messages are looked for that have waited too long.
const EXPIRE_EVERY: Duration = Duration::from_millis(500);

/// Messages that wait, by shard: [`PARKED_MAX`] in all, each for [`PARKED_FOR`]. Shared by all threads; asking it whether anything
/// waits is one atomic load.
pub struct Park<M> {
    /// Whether the shard's queue has something in it, or is being told.
    waits: [AtomicBool; Shard::COUNT],
    lots: Mutex<Lots<M>>,
    refuse: Box<dyn Fn(M) + Send + Sync>,
    /// Which messages are parked past the bound, because something else bounds them.
    passes: fn(&M) -> bool,
}

struct Lots<M> {
    by_shard: FxHashMap<Shard, Lot<M>>,
    /// Messages in all queues.
    len: usize,
}

struct Lot<M> {
    messages: VecDeque<Parked<M>>,
    /// Some thread is telling this queue: it goes on until nothing is left, or nobody takes it.
    telling: bool,
    /// The owner became known while a thread was telling: it tries once more before it gives up.
    again: bool,
}

struct Parked<M> {
    message: M,
    since: Instant,
}

impl<M> Park<M> {
    /// Makes an empty one. `refuse` answers what is not told in time, or has no place.
    pub fn new(refuse: impl Fn(M) + Send + Sync + 'static) -> Self {
        Self::passing(refuse, |_| false)
    }

    /// Makes an empty one in which messages that `passes` names wait past the bound.
    pub fn passing(refuse: impl Fn(M) + Send + Sync + 'static, passes: fn(&M) -> bool) -> Self {
        Self {
            waits: [const { AtomicBool::new(false) }; Shard::COUNT],
            lots: Mutex::new(Lots { by_shard: FxHashMap::default(), len: 0 }),
            refuse: Box::new(refuse),
            passes,
        }
    }

    /// Places a message, or parks it behind those that wait for the same shard. `place` gives back what has no place yet.
    pub fn tell(&self, shard: Shard, message: M, mut place: impl FnMut(M) -> Result<(), M>) {
        let left = if self.waits(shard) { Err(message) } else { place(message) };
        if let Err(message) = left {
            self.park(shard, message);
            // The owner may have become known since, and whoever learned it found nothing here.
            self.tell_again(shard, place);
        }
    }

    /// Says whether something waits for this shard, or is just being told.
    pub fn waits(&self, shard: Shard) -> bool {
        self.waits[usize::from(shard.0)].load(Ordering::Acquire)
    }

    /// Tells what waits for this shard, in order, until `place` gives one back. Of several threads one does it.
    pub fn tell_again(&self, shard: Shard, mut place: impl FnMut(M) -> Result<(), M>) {
        if !self.waits(shard) {
            return;
        }
        {
            let mut lots = self.lots();
            let Some(lot) = lots.by_shard.get_mut(&shard) else { return };
            if mem::replace(&mut lot.telling, true) {
                lot.again = true;
                return;
            }
        }
        let telling = Telling { park: self, shard };
        let mut left = None;
        while let Some(next) = self.next(shard, left.take()) {
            if next.since.elapsed() >= PARKED_FOR {
                (self.refuse)(next.message);
            } else if let Err(message) = place(next.message) {
                left = Some(Parked { message, since: next.since });
            }
        }
        mem::forget(telling);
    }

    /// Takes the next message to tell; `left` is the one that had no place. `None` ends the telling.
    fn next(&self, shard: Shard, left: Option<Parked<M>>) -> Option<Parked<M>> {
        let mut lots = self.lots();
        let Lots { by_shard, len } = &mut *lots;
        let lot = by_shard.get_mut(&shard)?;
        let stuck = left.is_some();
        if let Some(left) = left {
            lot.messages.push_front(left);
            *len += 1;
        }
        if stuck && !mem::take(&mut lot.again) {
            lot.telling = false;
            return None;
        }
        let Some(next) = lot.messages.pop_front() else {
            by_shard.remove(&shard);
            // Whoever sees this sees all that was told before it.
            self.waits[usize::from(shard.0)].store(false, Ordering::Release);
            return None;
        };
        *len -= 1;
        Some(next)
    }

    fn park(&self, shard: Shard, message: M) {
        let refused = {
            let mut lots = self.lots();
            if lots.len < PARKED_MAX || (self.passes)(&message) {
                lots.len += 1;
                let lot = lots.by_shard.entry(shard).or_insert_with(Lot::new);
                lot.messages.push_back(Parked { message, since: Instant::now() });
                self.waits[usize::from(shard.0)].store(true, Ordering::Release);
                None
            } else {
                Some(message)
            }
        };
        if let Some(message) = refused {
            (self.refuse)(message);
        }
    }

    /// Refuses what has waited for [`PARKED_FOR`].
    pub fn expire(&self) {
        let now = Instant::now();
        self.refuse_those(|parked| now.duration_since(parked.since) >= PARKED_FOR);
    }

    /// Refuses everything: the node stops.
    pub fn refuse_all(&self) {
        self.refuse_those(|_| true);
    }

    /// Refuses the first of each queue, for as long as they are meant.
    fn refuse_those(&self, meant: impl Fn(&Parked<M>) -> bool) {
        let mut refused = Vec::new();
        {
            let mut lots = self.lots();
            let Lots { by_shard, len } = &mut *lots;
            by_shard.retain(|shard, lot| {
                while let Some(parked) = lot.messages.pop_front_if(|parked| meant(parked)) {
                    refused.push(parked.message);
                }
                let stays = lot.telling || !lot.messages.is_empty();
                if !stays {
                    self.waits[usize::from(shard.0)].store(false, Ordering::Release);
                }
                stays
            });
            *len -= refused.len();
        }
        // Outside the lock: refusing tells actors.
        refused.into_iter().for_each(|message| (self.refuse)(message));
    }

    /// Returns how many messages wait.
    pub fn len(&self) -> usize {
        self.lots().len
    }

    /// Says whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lots(&self) -> MutexGuard<'_, Lots<M>> {
        // No code that can panic runs under the lock.
        self.lots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets others tell the queue if whoever did so panicked.
struct Telling<'a, M> {
    park: &'a Park<M>,
    shard: Shard,
}

impl<M> Drop for Telling<'_, M> {
    fn drop(&mut self) {
        if let Some(lot) = self.park.lots().by_shard.get_mut(&self.shard) {
            lot.telling = false;
        }
    }
}

impl<M> Lot<M> {
    fn new() -> Self {
        Self { messages: VecDeque::new(), telling: false, again: false }
    }
}

/// Refuses in time what waits too long, while the queue lives.
pub fn keep_expiring<M: Send + 'static>(park: &Arc<Park<M>>, placement: &Placement) {
    let park = Arc::downgrade(park);
    placement.spawn_on(0, move || async move {
        loop {
            tokio::time::sleep(EXPIRE_EVERY).await;
            let Some(park) = park.upgrade() else { return };
            park.expire();
        }
    });
}

#[cfg(test)]
mod tests;
