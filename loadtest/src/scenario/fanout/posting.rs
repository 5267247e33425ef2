//! The three ways of posting, over whatever server.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::time::timeout;

use super::{Mode, audience::Tally};
use crate::{
    run::{
        Run,
        pace::{Arrivals, Pace},
    },
    scenario::line::Poster,
};

/// Messages in flight of a burst.
const IN_FLIGHT: usize = 64;
/// Where the next acknowledgement is waited for, it must be there within this time.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// One round's posting.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub mode: Mode,
    pub messages: usize,
    /// Messages per second, if paced.
    pub rate: f64,
    /// Who hears each message.
    pub receivers: usize,
    /// The poster's number in its marks.
    pub sender: u32,
}

/// Posts a round's messages and waits until all are delivered and acknowledged. `posted`: messages that this poster has posted before.
pub async fn post(
    run: &Run,
    poster: &mut impl Poster,
    tally: &Tally,
    plan: &Plan,
    posted: &mut u32,
) -> anyhow::Result<()> {
    let delivered_before = tally.heard();
    let target = |messages: usize| delivered_before + (messages * plan.receivers) as u64;
    let mut acknowledged = 0;
    let mut pace = Pace::new(plan.rate, Arrivals::Even, Instant::now(), run.seed);
    for n in 1..=plan.messages {
        let due = match plan.mode {
            Mode::Paced => {
                let due = pace.due();
                let sleep = tokio::time::sleep_until(due.into());
                meanwhile(poster, &mut acknowledged, sleep).await?;
                due
            }
            Mode::Burst => {
                while poster.hears_acknowledgements() && n - acknowledged > IN_FLIGHT {
                    let next = timeout(ACKNOWLEDGED_WITHIN, poster.acknowledged()).await;
                    next.with_context(|| format!("message {} was never acknowledged", acknowledged + 1))??;
                    acknowledged += 1;
                }
                Instant::now()
            }
            Mode::Lockstep => Instant::now(),
        };
        *posted += 1;
        poster.post(&run.mark(plan.sender, *posted, due)).await?;
        if plan.mode == Mode::Lockstep {
            meanwhile(poster, &mut acknowledged, tally.reach(target(n))).await??;
        }
        ensure!(!run.is_stopping(), "stopped after {n} of {} messages", plan.messages);
    }
    meanwhile(poster, &mut acknowledged, tally.reach(target(plan.messages))).await??;
    while poster.hears_acknowledgements() && acknowledged < plan.messages {
        let next = timeout(ACKNOWLEDGED_WITHIN, poster.acknowledged()).await;
        next.context("a message was delivered to all and never acknowledged")??;
        acknowledged += 1;
    }
    Ok(())
}

/// Waits for something; reads the poster's acknowledgements meanwhile, at least those that are there: a poster that is late and read none
/// would be cut for a slow reader.
pub async fn meanwhile<T>(
    poster: &mut impl Poster,
    acknowledged: &mut usize,
    wait: impl Future<Output = T>,
) -> anyhow::Result<T> {
    let mut wait = pin!(wait);
    loop {
        tokio::select! {
            biased;
            mark = poster.acknowledged() => {
                mark?;
                *acknowledged += 1;
            }
            done = &mut wait => return Ok(done),
        }
    }
}
