//! `steps`: the nine steps that users of the messenger server know, each with more users at once than the one before.
//!
//! An arriving user logs in over REST, connects, writes ten one-to-one messages to its neighbour all at once, thinks for a second and
//! disconnects. Users arrive at the step's rate, however the server does (an open loop), but never more than the step's maximum are there
//! at once: who comes beyond it is turned away, which is counted and is no error.
//!
//! Accounts come in pairs: `step-0` arrives, again and again, and `step-next-0` is its neighbour, who stays online from before the first
//! step to the end of the run. So every message has somebody who hears it, and what is measured is the delay from sender
//! to recipient, not that of a send alone; and a user's visit is what it is known to be, without a wait for a partner to arrive. The
//! neighbours idle but for what they hear, and count neither as arrivals nor towards the maximum.
//!
//! Each login costs the server a password hash. Beyond what its hashing threads do (the late steps, on few cores) logins queue, and beyond
//! the queue the server asks to come again later: then this shows long logins and many turned away.

mod cast;
mod login;
mod neighbours;
mod plan;
mod visit;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tokio::task::JoinSet;

use cast::Seat;
pub use cast::gather;
use neighbours::Neighbours;
use plan::Step;
use visit::Visit;

use crate::{
    peer::Protocol,
    run::{
        meter::Counter,
        pace::{Arrivals, Pace},
    },
    scenario::stage::{Stage, conduct},
    target::Common,
};

/// Longest that a step's last users may take after its last arrival: a login's patience and a slow visit.
const LEAVING_MAX: Duration = Duration::from_secs(180);

/// Nothing new for so long: what isn't delivered by then won't be.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// First step (1 to 9)
    #[arg(long, default_value_t = 1, conflicts_with = "only")]
    from: usize,
    /// Only this step (1 to 9)
    #[arg(long)]
    only: Option<usize>,
    /// Multiplies the seconds of each step, not its users and rate (0.01 to 10)
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Length of a message's text, bytes (64 to 4,096)
    #[arg(long, default_value_t = 100)]
    bytes: usize,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let steps = plan::choose(options.from, options.only, options.time_scale)?;
    ensure!((64..=4096).contains(&options.bytes), "--bytes: 64 to 4,096");
    ensure!(
        options.common.protocol != Protocol::Rooms,
        "--protocol: the rooms dialect has no one-to-one messages; steps runs over native and messenger"
    );
    options.common.lasts(steps.iter().map(|step| step.seconds).sum::<f64>() as u64)?;
    conduct("steps", &options.common, &options, &[], async |stage| play(stage, &steps, options.bytes).await).await
}

async fn play(stage: &Stage, steps: &[Step], bytes: usize) -> anyhow::Result<()> {
    let pairs = steps.iter().map(|step| step.users).max().unwrap_or(1);
    stage.check_sockets(pairs * 2)?;
    let cast = gather(stage, pairs).await?;
    let (neighbours, mut seats) = Neighbours::gather(stage, cast).await?;
    stage.aim(steps.iter().map(Step::arrivals).sum(), "arrivals");
    let mut arrived = 0;
    for step in steps {
        stage.health().await.with_context(|| format!("before {}", step.name()))?;
        stage.phase(&step.name());
        play_step(stage, step, bytes, &mut seats, &neighbours, arrived).await.with_context(|| step.name())?;
        arrived += step.arrivals();
        if stage.run.is_stopping() {
            break;
        }
    }
    stage.run.ledger.settle(PATIENCE).await;
    neighbours.leave().await;
    stage.health().await.context("after the last step")
}

async fn play_step(
    stage: &Stage,
    step: &Step,
    bytes: usize,
    seats: &mut VecDeque<Seat>,
    neighbours: &Neighbours,
    arrived: u64,
) -> anyhow::Result<()> {
    let (run, begun) = (&stage.run, Instant::now());
    let mut pace = Pace::new(step.per_second, Arrivals::Even, begun, run.seed ^ step.number as u64);
    let mut visits: JoinSet<(Seat, anyhow::Result<()>)> = JoinSet::new();
    let mut failed = false;
    for n in 0..step.arrivals() {
        let due = pace.due();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => break,
                Some(left) = visits.join_next() => failed |= stand_up(left, seats)?,
            }
        }
        if run.is_stopping() {
            break;
        }
        if std::mem::take(&mut failed) {
            stage.health().await?;
        }
        let seat = if visits.len() < step.users { seats.pop_front() } else { None };
        match seat {
            Some(seat) => {
                let visit = Visit { run: run.clone(), due, bytes, tally: neighbours.tally() };
                visits.spawn(visit.pay(seat));
            }
            None => run.meter.count(Counter::TurnedAway, 1),
        }
        stage.progress(arrived + n + 1);
    }
    let leaving = async {
        while let Some(left) = visits.join_next().await {
            stand_up(left, seats)?;
        }
        anyhow::Ok(())
    };
    let in_time = tokio::time::timeout(LEAVING_MAX, leaving).await;
    in_time.with_context(|| format!("users were still there {} s after the last came", LEAVING_MAX.as_secs()))??;
    neighbours.hear_all(stage, PATIENCE).await;
    Ok(())
}

/// Gives a seat back for the next arrival; says whether its user failed.
fn stand_up(
    left: Result<(Seat, anyhow::Result<()>), tokio::task::JoinError>,
    seats: &mut VecDeque<Seat>,
) -> anyhow::Result<bool> {
    let (seat, visit) = left.context("a user's task ended, which is a defect of this program")?;
    seats.push_back(seat);
    Ok(visit.is_err())
}
