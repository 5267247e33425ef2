//! A user who listens in a room, and, when told so, loses the connection and comes back.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use chinwag_schema::ids::Seq;
use hdrhistogram::Histogram;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::{sync::watch, time::sleep};

use super::{PATIENCE, Room};
use crate::{
    checker::ledger::Ear,
    content::Mark,
    peer::{Heard, Login, Lost, Peer, Positions, Protocol},
    run::Run,
};

/// A user who was turned away tries again after up to this time.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest delay told apart, microseconds (a minute).
const LONGEST_US: u64 = 60_000_000;
/// A number that no sender has: who only listens.
const NEVER_SENDS: u32 = u32::MAX;

/// What all listeners share.
pub struct Scene {
    pub run: Arc<Run>,
    /// Within this time all come back, each at a moment of its own.
    pub within: Duration,
    /// They have been cut, and aren't all back yet.
    pub stormy: AtomicBool,
    /// Users back since the cut.
    pub back: AtomicU64,
    /// Attempts to come back that failed.
    pub refused: AtomicU64,
    /// Delays of deliveries to those who aren't cut, microseconds: in the storm, and before and after.
    storm: Mutex<Histogram<u64>>,
    calm: Mutex<Histogram<u64>>,
}

impl Scene {
    pub fn new(run: Arc<Run>, within: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            run,
            within,
            stormy: AtomicBool::new(false),
            back: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            storm: Mutex::new(Histogram::new_with_bounds(1, LONGEST_US, 3)?),
            calm: Mutex::new(Histogram::new_with_bounds(1, LONGEST_US, 3)?),
        })
    }

    fn note(&self, mark: &Mark) {
        let times = if self.stormy.load(Relaxed) { &self.storm } else { &self.calm };
        let us = u64::try_from(self.run.since(mark).as_micros()).unwrap_or(LONGEST_US).max(1);
        times.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
    }

    /// Returns the 99th percentiles of those who weren't cut, milliseconds: in the storm, and in calm.
    pub fn p99_ms(&self) -> (f64, f64) {
        let p99 = |times: &Mutex<Histogram<u64>>| {
            times.lock().unwrap_or_else(PoisonError::into_inner).value_at_percentile(99.0) as f64 / 1000.0
        };
        (p99(&self.storm), p99(&self.calm))
    }
}

/// What listeners are told.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// Those who are to be cut are cut.
    pub cut: bool,
    /// The number of each room's last message: nothing comes after it.
    pub last: Option<Arc<Vec<u32>>>,
}

/// A listener in a room.
pub struct Listener {
    scene: Arc<Scene>,
    index: usize,
    login: Login,
    room: Room,
    peer: Peer,
    ear: Ear,
    /// Number of the last message heard.
    heard: u32,
}

impl Listener {
    /// Connects and joins its room.
    pub async fn connect(scene: Arc<Scene>, index: usize, login: Login, room: Room) -> anyhow::Result<Self> {
        let run = &scene.run;
        let nothing = Positions::default();
        let mut peer = Peer::connect_resuming(Protocol::Native, run, index, &login, nothing).await?;
        peer.join(&room.place).await?;
        let ear = run.ledger.listen(room.id, NEVER_SENDS);
        Ok(Self { scene, index, login, room, peer, ear, heard: 0 })
    }

    /// Listens until it has heard the last message. `is_cut`: it is one of those who lose their connection.
    pub async fn listen(mut self, is_cut: bool, mut news: watch::Receiver<News>) -> anyhow::Result<()> {
        let mut still_to_cut = is_cut;
        loop {
            let told = news.borrow_and_update().clone();
            if told.cut && still_to_cut {
                still_to_cut = false;
                self = self.lose_and_come_back().await?;
            }
            let last = told.last.as_ref().map(|last| last[self.room.number]);
            if last.is_some_and(|last| self.heard >= last) {
                break;
            }
            tokio::select! {
                heard = self.peer.next() => match heard.with_context(|| self.login.name.clone())? {
                    Heard::Message(mark) => {
                        self.hear(&mark);
                        if !is_cut {
                            self.scene.note(&mark);
                            self.scene.run.delivered(&mark);
                        }
                    }
                    Heard::Gap { left_out, .. } => self.left_out(left_out),
                    _ => {}
                },
                changed = news.changed() => changed.context("the scenario ended")?,
                // What is missing, the ledger says.
                () = sleep(PATIENCE), if last.is_some() => break,
            }
        }
        self.ear.stayed();
        Ok(())
    }

    fn hear(&mut self, mark: &Mark) {
        if mark.run == self.scene.run.id {
            self.ear.heard(mark);
            self.heard = self.heard.max(mark.n);
        }
    }

    /// Notes what the server says that it left out: who comes back should have all.
    fn left_out(&mut self, seqs: Option<(Seq, Seq)>) {
        self.ear.gap(seqs);
        self.scene.run.meter.error("messages left out by the server, which said so");
    }

    async fn lose_and_come_back(mut self) -> anyhow::Result<Self> {
        let scene = self.scene.clone();
        let mut random = SmallRng::seed_from_u64(scene.run.seed ^ self.index as u64);
        // Full jitter: any moment of the whole time.
        let mut wait = scene.within.mul_f64(random.random::<f64>());
        let give_up = Instant::now() + scene.within + PATIENCE;
        let Self { index, login, room, peer, ear, heard, .. } = self;
        let lost: Lost = peer.lose();
        let peer = loop {
            sleep(wait).await;
            let back = async {
                let positions = lost.positions.clone();
                let mut peer = Peer::connect_resuming(Protocol::Native, &scene.run, index, &login, positions).await?;
                peer.join(&room.place).await?;
                anyhow::Ok(peer)
            };
            match back.await {
                Ok(peer) => break peer,
                Err(error) if Instant::now() > give_up => {
                    bail!("{} can't come back: {error:#}", login.name);
                }
                Err(_) => {
                    scene.refused.fetch_add(1, Relaxed);
                    scene.run.meter.error("refused on the way back");
                    wait = AGAIN.mul_f64(random.random::<f64>());
                }
            }
        };
        scene.back.fetch_add(1, Relaxed);
        self = Self { scene, index, login, room, peer, ear, heard };
        for heard in lost.heard {
            match heard {
                Heard::Message(mark) => self.hear(&mark),
                Heard::Gap { left_out, .. } => self.left_out(left_out),
                _ => {}
            }
        }
        Ok(self)
    }
}
