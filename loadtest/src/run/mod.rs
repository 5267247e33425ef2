//! One run: what every task of it shares.

pub mod machine;
pub mod meter;
pub mod pace;
pub mod process;
pub mod progress;
pub mod sampler;
pub mod scrape;
pub mod trend;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{checker::ledger::Ledger, content::Mark, peer::Protocol, target::Node};
use meter::{Meter, Timer};

/// A run. Shared by all its tasks.
pub struct Run {
    /// Number in the marks of its messages.
    pub id: u32,
    /// All randomness of the run comes from it.
    pub seed: u64,
    /// Zero of all times in marks and series.
    pub origin: Instant,
    pub protocol: Protocol,
    /// The servers; peers are spread over them in turn.
    pub nodes: Vec<Node>,
    pub meter: Meter,
    pub ledger: Ledger,
    /// Frames are compressed (permessage-deflate offered).
    pub deflate: bool,
    stopping: AtomicBool,
    stopped: Notify,
}

impl Run {
    /// Makes a run.
    pub fn new(seed: u64, protocol: Protocol, deflate: bool, nodes: Vec<Node>) -> Arc<Self> {
        Arc::new(Self {
            id: rand::random(),
            seed,
            origin: Instant::now(),
            protocol,
            nodes,
            meter: Meter::default(),
            ledger: Ledger::default(),
            deflate,
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
        })
    }

    /// Returns the node of the `index`th peer.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index % self.nodes.len()]
    }

    /// Returns a moment as marks have it.
    pub fn us(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    /// Makes the mark of a message that is due at `due`.
    pub fn mark(&self, sender: u32, n: u32, due: Instant) -> Mark {
        Mark { run: self.id, sender, n, due_us: self.us(due) }
    }

    /// Returns how long ago a message was due.
    pub fn since(&self, mark: &Mark) -> Duration {
        Duration::from_micros(self.us(Instant::now()).saturating_sub(mark.due_us))
    }

    /// Notes the delivery of a message to somebody else than its sender.
    pub fn delivered(&self, mark: &Mark) {
        self.meter.time(Timer::Delivered, self.since(mark));
    }

    /// Ends the run early: scenarios look at it between steps and stop.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.stopped.notify_waiters();
    }

    /// Says whether the run is to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Sleeps, less long if the run is to end; says whether it goes on.
    pub async fn sleep(&self, time: Duration) -> bool {
        let stopped = self.stopped.notified();
        if !self.is_stopping() {
            let _ = tokio::time::timeout(time, stopped).await;
        }
        !self.is_stopping()
    }
}
