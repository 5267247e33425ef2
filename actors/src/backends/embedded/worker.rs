//! A thread that owns the blocking work of one connection.
//!
//! diesel-async's wrapper hands whole operations to a [`SpawnBlocking`]. Its own, tokio's blocking pool, waits for the operation
//! inside `drop` when a caller gives up, which panics on a single-threaded runtime such as actix's: every deadline would be a
//! panic. Here a caller that gives up just doesn't hear the answer. Operations run in the order in which they were given.

use std::{
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use diesel_async::sync_connection_wrapper::SpawnBlocking;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

/// Operations that may wait for one connection; beyond it they are refused. The storage actors keep far fewer in flight.
const WAITING_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;
type Fault = Box<dyn Error + Send + Sync + 'static>;

/// The thread. Dropping it waits for the operations already given.
pub(super) struct Worker {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// There is no thread: the caller's does the work at once.
    here: bool,
}

impl Worker {
    /// Starts a thread of this name.
    pub(super) fn start(name: &str) -> Self {
        let (jobs, waiting) = sync_channel::<Job>(WAITING_MAX);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for job in waiting {
                    // The caller sees its answer's channel close; the thread lives on.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            })
            .expect("the system refuses another thread");
        Self { jobs: Some(jobs), thread: Some(thread), here: false }
    }

    /// Makes one whose work is done by whoever asks for it, before it waits for the answer: for simulations, whose clock would overtake
    /// a thread.
    pub(super) fn here() -> Self {
        Self { jobs: None, thread: None, here: true }
    }
}

impl SpawnBlocking for Worker {
    fn spawn_blocking<'a, R>(&mut self, task: impl FnOnce() -> R + Send + 'static) -> BoxFuture<'a, Result<R, Fault>>
    where
        R: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody waits any more: the work was done all the same.
            let _ = answer.send(task());
        });
        let given = match &self.jobs {
            None if self.here => {
                let _ = catch_unwind(AssertUnwindSafe(job));
                Ok(())
            }
            Some(jobs) => jobs.try_send(job).map_err(|_| Fault::from("too many operations wait for the store")),
            None => Err(Fault::from("the store is closed")),
        };
        async move {
            given?;
            answered.await.map_err(|_| Fault::from("the operation panicked"))
        }
        .boxed()
    }

    fn get_runtime() -> Self {
        Self::start("store")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic can't get here, `start` catches them.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_in_order_and_survives_a_panic_and_a_caller_that_gives_up() {
        let mut worker = Worker::start("test");
        let (seen, order) = std::sync::mpsc::channel();
        let first = seen.clone();
        drop(worker.spawn_blocking(move || first.send(1)));
        assert!(worker.spawn_blocking(|| panic!("on purpose")).await.is_err());
        worker.spawn_blocking(move || seen.send(2)).await.unwrap().unwrap();
        assert_eq!(order.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[tokio::test]
    async fn work_beyond_the_bound_is_refused() {
        let mut worker = Worker::start("test");
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begun, running) = std::sync::mpsc::channel();
        let blocked = worker.spawn_blocking(move || {
            begun.send(()).unwrap();
            wait.recv()
        });
        running.recv().unwrap();
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| worker.spawn_blocking(|| ())).collect();
        assert!(worker.spawn_blocking(|| ()).await.is_err());
        go.send(()).unwrap();
        blocked.await.unwrap().unwrap();
        for one in waiting {
            one.await.unwrap();
        }
        worker.spawn_blocking(|| ()).await.unwrap();
    }
}
