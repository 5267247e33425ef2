//! How many sockets a thread wakes at once.
//!
//! A thread runs its tasks in the order in which they were woken. When one message goes to hundreds of sockets, whatever is woken after
//! them would wait for hundreds of writes. So only [`STANDING_MAX`] sockets that an outbox woke stand in that order at once; the
//! others wait here, first come first served, and a task of the thread, the flusher, wakes the next ones when those have had their
//! turn. What else was woken meanwhile comes in between.
//!
//! Until [`start`] was called on a thread, or when its flusher is gone, sockets there are woken at once.

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    task::{Poll, Waker},
};

/// Sockets of one thread that stand woken by their outboxes at once.
const STANDING_MAX: usize = 64;

/// So many woken sockets call the flusher, which finds out whether they still stand. Single messages pay that share of its turn, and a
/// burst as small as this never waits for it.
const CALL_AT: usize = STANDING_MAX / 2;

/// Room for so many that wait is kept while none does.
const KEPT_CAPACITY: usize = 4096;

thread_local! {
    static WAKES: Wakes = const { Wakes::new() };
}

/// Where a socket waits; also one that doesn't, or no more.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

struct Wakes {
    /// In order; `None` for a socket that ran or was dropped meanwhile.
    waiting: RefCell<VecDeque<Option<Waker>>>,
    /// The place of the first that waits.
    first: Cell<u64>,
    /// Sockets woken that may still stand.
    given: Cell<usize>,
    /// Those of them that were woken after the flusher was: when it runs, they still stand.
    behind: Cell<usize>,
    running: Cell<bool>,
    /// The flusher, unless it is woken.
    flusher: Cell<Option<Waker>>,
}

/// Begins to bound the wake-ups of this thread. Call it in a task of the thread; a second call changes nothing.
pub(crate) fn start() {
    if WAKES.with(|wakes| wakes.running.replace(true)) {
        return;
    }
    let guard = Guard;
    actix_rt::spawn(async move {
        let _guard = guard;
        poll_fn(|cx| {
            WAKES.with(|wakes| wakes.turn(cx.waker()));
            Poll::<()>::Pending
        })
        .await;
    });
}

/// Wakes a socket when its turn has come. `place` is what the last call for this socket returned: one that waits already keeps it.
pub(super) fn wake(waker: Waker, place: Place) -> Place {
    let mut waker = Some(waker);
    // The thread ends: nothing is left to be held up.
    let place = WAKES.try_with(|wakes| wakes.admit(&mut waker, place)).unwrap_or_default();
    if let Some(waker) = waker {
        waker.wake();
    }
    place
}

/// Takes the waker of a socket that waits back: it runs anyway, or is dropped.
pub(super) fn take_back(place: Place) -> Option<Waker> {
    if place == Place::default() {
        return None;
    }
    WAKES.try_with(|wakes| wakes.exchange(place, None)).ok()?.ok()?
}

impl Wakes {
    const fn new() -> Self {
        Self {
            waiting: RefCell::new(VecDeque::new()),
            // 0 is the place of those who never waited.
            first: Cell::new(1),
            given: Cell::new(0),
            behind: Cell::new(0),
            running: Cell::new(false),
            flusher: Cell::new(None),
        }
    }

    /// Takes the waker if the socket must wait, and leaves it if it may be woken now.
    fn admit(&self, waker: &mut Option<Waker>, place: Place) -> Place {
        if !self.running.get() {
            return Place::default();
        }
        match self.exchange(place, waker.take()) {
            Ok(_older) => return place,
            Err(back) => *waker = back,
        }
        let waits = self.waiting.borrow().len();
        let given = self.given.get() + 1;
        if waits > 0 || given > STANDING_MAX {
            self.waiting.borrow_mut().push_back(waker.take());
            self.call_flusher();
            return Place(self.first.get() + waits as u64);
        }
        if given >= CALL_AT {
            self.call_flusher();
        }
        self.given.set(given);
        self.behind.set(self.behind.get() + 1);
        Place::default()
    }

    /// Puts a waker, or none, where a socket waits and returns what was there; gives it back if the socket doesn't wait.
    fn exchange(&self, place: Place, waker: Option<Waker>) -> Result<Option<Waker>, Option<Waker>> {
        let Some(index) = place.0.checked_sub(self.first.get()) else { return Err(waker) };
        match self.waiting.borrow_mut().get_mut(index as usize) {
            Some(waits) => Ok(std::mem::replace(waits, waker)),
            None => Err(waker),
        }
    }

    fn call_flusher(&self) {
        if let Some(flusher) = self.flusher.take() {
            self.behind.set(0);
            flusher.wake();
        }
    }

    /// Takes the first that waits. Wake it, or drop it, with nothing borrowed: either may come back here.
    fn pop(&self) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.pop_front() {
            self.first.set(self.first.get() + 1);
            if first.is_some() {
                return first;
            }
        }
        if waiting.capacity() > KEPT_CAPACITY {
            *waiting = VecDeque::new();
        }
        None
    }

    /// The flusher's turn: those that were woken before it have had theirs.
    fn turn(&self, flusher: &Waker) {
        self.given.set(self.behind.get());
        while self.given.get() < STANDING_MAX {
            let Some(waker) = self.pop() else { break };
            self.given.set(self.given.get() + 1);
            waker.wake();
        }
        self.behind.set(0);
        if self.given.get() >= CALL_AT {
            flusher.wake_by_ref();
        } else {
            self.flusher.set(Some(flusher.clone()));
        }
    }
}

/// The flusher's end, with its thread's tasks: whoever waits is woken.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = WAKES.try_with(|wakes| {
            wakes.running.set(false);
            wakes.given.set(0);
            wakes.behind.set(0);
            wakes.flusher.take();
            while let Some(waker) = wakes.pop() {
                waker.wake();
            }
        });
    }
}
