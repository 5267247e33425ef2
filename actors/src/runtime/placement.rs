//! On which thread an actor runs: a fixed pool of arbiters, or the calling thread (tests, simulation).

use std::{cell::Cell, future::Future};

use actix_rt::ArbiterHandle;

thread_local! {
    static WORKER: Cell<Option<u16>> = const { Cell::new(None) };
}

/// A fixed pool of worker threads. Sockets, sessions, relays and conversations all live on them, so that a message between
/// neighbours needs no wake-up of another thread.
pub enum Placement {
    /// One arbiter per worker.
    Pool(Vec<ArbiterHandle>),
    /// Everything on the calling thread, as if there were this many workers.
    Here { workers: usize },
}

impl Placement {
    /// Says which worker the calling thread is, once, from that thread.
    pub fn enter_worker(index: u16) {
        WORKER.set(Some(index));
    }

    /// Returns which worker the calling thread is.
    pub fn current_worker() -> Option<u16> {
        WORKER.get()
    }

    /// Returns how many workers there are (at least 1).
    pub fn workers(&self) -> usize {
        match self {
            Self::Pool(arbiters) => arbiters.len().max(1),
            Self::Here { workers } => (*workers).max(1),
        }
    }

    /// Runs `work` on worker `index % workers`: at once when that is the calling thread, else as its next task.
    pub fn run_on(&self, index: usize, work: impl FnOnce() + Send + 'static) {
        match self {
            Self::Here { .. } => work(),
            Self::Pool(arbiters) => {
                let index = index % arbiters.len();
                if WORKER.get().is_some_and(|worker| usize::from(worker) == index) {
                    work();
                } else {
                    // Refused only by a stopped arbiter, that is at the end of the process.
                    arbiters[index].spawn_fn(work);
                }
            }
        }
    }

    /// Spawns a future on worker `index % workers`.
    pub fn spawn_on<F: Future<Output = ()> + 'static>(&self, index: usize, make: impl FnOnce() -> F + Send + 'static) {
        self.run_on(index, move || {
            actix_rt::spawn(make());
        });
    }
}
