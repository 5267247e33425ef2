//! Those who listen: a task each, that reads on until it has heard everything, and what they have heard together.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use tokio::{sync::Notify, task::JoinSet};

use crate::{run::Run, scenario::line::Listener};

/// A round fails when nothing is heard for so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Histograms that listeners note their delays in, so that they seldom wait for each other.
const SHARDS: usize = 16;
/// Longest delay told apart, microseconds (a minute).
const LONGEST_US: u64 = 60_000_000;

/// What all listeners have heard together.
pub struct Tally {
    heard: AtomicU64,
    wanted: AtomicU64,
    reached: Notify,
    failure: Mutex<Option<anyhow::Error>>,
    delays: Vec<Mutex<Histogram<u64>>>,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        let delays = (0..SHARDS).map(|_| Histogram::new_with_bounds(1, LONGEST_US, 3).map(Mutex::new));
        Ok(Self {
            heard: AtomicU64::new(0),
            wanted: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            failure: Mutex::new(None),
            delays: delays.collect::<Result<_, _>>()?,
        })
    }

    fn add(&self, listener: usize, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(LONGEST_US).max(1);
        self.delays[listener % SHARDS].lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
        if self.heard.fetch_add(1, Relaxed) + 1 == self.wanted.load(Relaxed) {
            self.reached.notify_one();
        }
    }

    fn fail(&self, error: anyhow::Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.reached.notify_one();
    }

    /// Returns how many deliveries there were.
    pub fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// Waits until there were so many deliveries. Fails when a listener failed, or nothing is heard any more.
    pub async fn reach(&self, wanted: u64) -> anyhow::Result<()> {
        self.wanted.store(wanted, Relaxed);
        loop {
            if let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Err(error.context("a listener"));
            }
            let heard = self.heard();
            if heard >= wanted {
                return Ok(());
            }
            let waited = tokio::time::timeout(PATIENCE, self.reached.notified()).await;
            if waited.is_err() && self.heard() == heard {
                bail!("{heard} of {wanted} deliveries came, and none for {} s", PATIENCE.as_secs());
            }
        }
    }

    /// Returns the delays since the last call, microseconds.
    pub fn take_delays(&self) -> Histogram<u64> {
        let mut all = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds are right");
        for shard in &self.delays {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // All have the same bounds.
            let _ = all.add(&*shard);
            shard.reset();
        }
        all
    }
}

/// Those who listen.
pub struct Audience<L> {
    pub tally: Arc<Tally>,
    tasks: JoinSet<Option<L>>,
    pub size: usize,
}

impl<L: Listener> Audience<L> {
    /// Lets them listen, each until it has heard `messages` messages.
    pub fn listen(run: &Arc<Run>, listeners: Vec<L>, messages: usize) -> anyhow::Result<Self> {
        let (tally, size) = (Arc::new(Tally::new()?), listeners.len());
        let mut tasks = JoinSet::new();
        for (index, mut listener) in listeners.into_iter().enumerate() {
            let (run, tally) = (run.clone(), tally.clone());
            tasks.spawn(async move {
                for _ in 0..messages {
                    match listener.heard().await {
                        Ok(mark) => tally.add(index, run.since(&mark)),
                        Err(error) => {
                            tally.fail(error);
                            return None;
                        }
                    }
                }
                Some(listener)
            });
        }
        Ok(Self { tally, tasks, size })
    }

    /// Returns the listeners when they have heard everything.
    pub async fn finish(mut self) -> anyhow::Result<Vec<L>> {
        let mut listeners = Vec::with_capacity(self.size);
        while let Some(listener) = self.tasks.join_next().await {
            listeners.extend(listener.context("a listener's task ended")?);
        }
        Ok(listeners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{content::Mark, peer::Protocol};

    struct Script(Vec<Option<u32>>);

    impl Listener for Script {
        async fn heard(&mut self) -> anyhow::Result<Mark> {
            let n = self.0.remove(0).context("cut off")?;
            Ok(Mark { run: 0, sender: 0, n, due_us: 0 })
        }
    }

    fn run() -> Arc<Run> {
        Run::new(1, Protocol::Native, false, Vec::new())
    }

    #[tokio::test]
    async fn deliveries_of_all_listeners_count_together() {
        let listeners = vec![Script(vec![Some(1), Some(2)]), Script(vec![Some(1), Some(2)])];
        let audience = Audience::listen(&run(), listeners, 2).unwrap();
        audience.tally.reach(4).await.unwrap();
        assert_eq!(audience.tally.take_delays().len(), 4);
        assert_eq!(audience.tally.take_delays().len(), 0);
        assert_eq!(audience.finish().await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_listener_that_is_cut_off_ends_the_wait_with_its_reason() {
        let audience = Audience::listen(&run(), vec![Script(vec![Some(1), None])], 2).unwrap();
        let error = audience.tally.reach(2).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "a listener: cut off");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_never_comes_ends_the_wait() {
        struct Never;
        impl Listener for Never {
            async fn heard(&mut self) -> anyhow::Result<Mark> {
                std::future::pending().await
            }
        }
        let audience = Audience::listen(&run(), vec![Never], 1).unwrap();
        assert!(audience.tally.reach(1).await.unwrap_err().to_string().starts_with("0 of 1 deliveries came"));
    }
}
