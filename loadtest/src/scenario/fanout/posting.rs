//! The three ways of posting, over whatever server.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

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
/// Acknowledgements that are still to come when all was delivered must be there within this time.
const LAST_ACKNOWLEDGEMENT: Duration = Duration::from_secs(10);

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
                    poster.acknowledged().await?;
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
        let next = tokio::time::timeout(LAST_ACKNOWLEDGEMENT, poster.acknowledged()).await;
        next.context("a message was delivered to all and never acknowledged")??;
        acknowledged += 1;
    }
    Ok(())
}

/// Waits for something; reads the poster's acknowledgements meanwhile.
pub async fn meanwhile<T>(
    poster: &mut impl Poster,
    acknowledged: &mut usize,
    wait: impl Future<Output = T>,
) -> anyhow::Result<T> {
    let mut wait = pin!(wait);
    loop {
        tokio::select! {
            biased;
            done = &mut wait => return Ok(done),
            mark = poster.acknowledged() => {
                mark?;
                *acknowledged += 1;
            }
        }
    }
}
