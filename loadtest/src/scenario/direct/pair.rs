//! A sender and its receiver, and the two ways in which the one writes to the other.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};

use super::PATIENCE;
use crate::{
    run::{
        Run,
        pace::{Arrivals, Pace},
    },
    scenario::line::{Listener, Poster},
};

/// Longest delay told apart, microseconds (a minute).
const LONGEST_US: u64 = 60_000_000;

/// A sender and its receiver.
pub struct Pair<P, L> {
    pub poster: P,
    pub listener: L,
    /// The sender's number in its marks.
    pub sender: u32,
    /// Messages so far.
    pub posted: u32,
}

/// What a pair did in a round.
pub struct Done<P, L> {
    pub pair: Pair<P, L>,
    /// Delays of its deliveries, microseconds.
    pub delays: Histogram<u64>,
}

impl<P: Poster, L: Listener> Pair<P, L> {
    /// Writes a message and waits until it is delivered, and acknowledged where that is told; returns its delay until then, microseconds.
    pub async fn exchange(&mut self, run: &Run) -> anyhow::Result<u64> {
        self.posted += 1;
        let mark = run.mark(self.sender, self.posted, Instant::now());
        self.poster.post(&mark).await?;
        let acknowledged = async {
            if self.poster.hears_acknowledgements() {
                self.poster.acknowledged().await?;
            }
            anyhow::Ok(())
        };
        let heard = async {
            let heard = self.listener.heard().await?;
            ensure!(heard == mark, "another message came than the one that was sent");
            Ok(delay_us(run, &heard))
        };
        let both = async { tokio::try_join!(heard, acknowledged) };
        match timeout(PATIENCE, both).await {
            Ok(done) => Ok(done?.0),
            Err(_) => bail!("a message wasn't delivered and acknowledged within {} s", PATIENCE.as_secs()),
        }
    }

    /// Reads what comes while nobody writes, until `over` is dropped: answers pings.
    pub async fn rest(mut self, mut over: watch::Receiver<()>) -> anyhow::Result<Self> {
        tokio::select! {
            biased;
            _ = over.changed() => Ok(self),
            heard = self.listener.heard() => bail!("{:?} came and was never sent", heard?),
            acknowledged = self.poster.acknowledged() => bail!("{:?} was acknowledged and never sent", acknowledged?),
        }
    }

    /// Exchanges one message after the other until `end`.
    pub async fn closed(mut self, run: Arc<Run>, end: Instant) -> anyhow::Result<Done<P, L>> {
        let mut delays = delays()?;
        while Instant::now() < end && !run.is_stopping() {
            delays.saturating_record(self.exchange(&run).await?);
        }
        Ok(Done { pair: self, delays })
    }

    /// Writes at a rate until `end`, whatever the server does, and waits until all is delivered and acknowledged. Delays are counted from
    /// when a message was due.
    pub async fn open(
        mut self,
        run: Arc<Run>,
        per_second: f64,
        begin: Instant,
        end: Instant,
    ) -> anyhow::Result<Done<P, L>> {
        let mut delays = delays()?;
        let mut pace = Pace::new(per_second, Arrivals::Poisson, begin, run.seed ^ u64::from(self.sender));
        let mut due = pace.due();
        let (mut unheard, mut unacknowledged) = (0_u32, 0_u32);
        loop {
            let more = due < end && !run.is_stopping();
            if !more && unheard == 0 && unacknowledged == 0 {
                return Ok(Done { pair: self, delays });
            }
            let next = if more { due } else { Instant::now() + PATIENCE };
            tokio::select! {
                biased;
                mark = self.listener.heard() => {
                    delays.saturating_record(delay_us(&run, &mark?));
                    unheard = unheard.checked_sub(1).context("a message was delivered that wasn't sent, or again")?;
                }
                mark = self.poster.acknowledged() => {
                    mark?;
                    unacknowledged = unacknowledged.checked_sub(1).context("a message was acknowledged again")?;
                }
                () = sleep_until(next.into()) => {
                    ensure!(more, "{unheard} messages weren't delivered, {unacknowledged} not acknowledged within {} s", PATIENCE.as_secs());
                    self.posted += 1;
                    self.poster.post(&run.mark(self.sender, self.posted, due)).await?;
                    unheard += 1;
                    unacknowledged += u32::from(self.poster.hears_acknowledgements());
                    due = pace.due();
                }
            }
        }
    }
}

fn delays() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_US, 3)?)
}

fn delay_us(run: &Run, mark: &crate::content::Mark) -> u64 {
    u64::try_from(run.since(mark).as_micros()).unwrap_or(LONGEST_US).max(1)
}
