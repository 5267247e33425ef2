//! The neighbours: users who stay online and hear what those who arrive write to them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::watch, task::JoinSet};

use super::cast::{Cast, Seat};
use crate::{
    checker::ledger::Ear,
    peer::{Heard, Peer, To},
    run::Run,
    scenario::stage::Stage,
};

/// Neighbours that connect at once.
const CONNECTING_AT_ONCE: usize = 16;

/// How often it is looked whether all was heard.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much was written and not refused, and how much of it was heard. Two protocols acknowledge and one doesn't; this is the same over
/// each.
#[derive(Debug, Default)]
pub struct Tally {
    pub written: AtomicU64,
    heard: AtomicU64,
}

impl Tally {
    fn missing(&self) -> u64 {
        self.written.load(Relaxed).saturating_sub(self.heard.load(Relaxed))
    }
}

/// All neighbours of the run.
pub struct Neighbours {
    tally: Arc<Tally>,
    leave: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Neighbours {
    /// Connects the neighbours; returns the seats beside them.
    pub async fn gather(stage: &Stage, cast: Cast) -> anyhow::Result<(Self, VecDeque<Seat>)> {
        let run = &stage.run;
        let (leave, leaving) = watch::channel(false);
        let mut this = Self { tally: Arc::default(), leave, tasks: JoinSet::new() };
        let mut seats = VecDeque::with_capacity(cast.visitors.len());
        let pairs = cast.visitors.into_iter().zip(cast.neighbours).enumerate();
        let connecting = stream::iter(pairs).map(|(index, (name, neighbour))| async move {
            // On another node than the visitor, if there are several.
            let peer = Peer::connect(run, index + 1, &neighbour).await;
            let peer = peer.with_context(|| format!("{} can't connect", neighbour.name))?;
            anyhow::Ok((index, name, neighbour, peer))
        });
        let mut connecting = connecting.buffered(CONNECTING_AT_ONCE);
        while let Some((index, name, neighbour, peer)) = connecting.try_next().await? {
            let place = run.ledger.place(To::User(name.clone()), neighbour.clone(), false);
            let ear = run.ledger.listen(place, u32::MAX);
            this.tasks.spawn(hear(run.clone(), peer, ear, this.tally.clone(), leaving.clone()));
            seats.push_back(Seat { index, name, neighbour: neighbour.name, place, said: 0 });
        }
        drop(connecting);
        Ok((this, seats))
    }

    /// Returns the count of what was written and heard.
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// Waits until the neighbours have heard all that was written; what doesn't come is counted as errors, and not waited for again.
    pub async fn hear_all(&self, stage: &Stage, patience: Duration) {
        let (mut missing, mut since) = (self.tally.missing(), Instant::now());
        while missing > 0 && since.elapsed() < patience && stage.run.sleep(LOOK_EVERY).await {
            let now = self.tally.missing();
            if now < missing {
                (missing, since) = (now, Instant::now());
            }
        }
        if !stage.run.is_stopping() {
            (0..missing).for_each(|_| stage.run.meter.error("message not delivered"));
        }
        self.tally.heard.fetch_add(missing, Relaxed);
    }

    /// Ends listening: by now everything must have been heard.
    pub async fn leave(mut self) {
        // Fails only if all have ended already.
        let _ = self.leave.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn hear(run: Arc<Run>, mut peer: Peer, mut ear: Ear, tally: Arc<Tally>, mut leaving: watch::Receiver<bool>) {
    loop {
        let heard = tokio::select! {
            heard = peer.next() => heard,
            _ = leaving.changed() => {
                ear.stayed();
                return peer.close().await;
            }
        };
        match heard {
            Ok(Heard::Message(mark)) if mark.run == run.id => {
                run.delivered(&mark);
                ear.heard(&mark);
                tally.heard.fetch_add(1, Relaxed);
            }
            Ok(Heard::Gap { left_out, .. }) => {
                run.meter.error("messages left out by the server, which said so");
                ear.gap(left_out);
            }
            Ok(_) => {}
            Err(error) => return run.meter.error(format!("a neighbour's socket ended: {}", error.root_cause())),
        }
    }
}
