//! `churn`: users go from room to room while messages flow in all of them; what a move costs, and that nobody misses anything in the room
//! where it is.
//!
//! First messages flow and nobody moves, then the same with moves: the difference is what the moves cost.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    crowd,
    stage::{Stage, conduct},
    talker::{self, Order, Talker, Talkers, Topic},
};
use crate::{
    peer::{Login, Peer, Protocol},
    report::model::Figure,
    run::{
        Run,
        pace::{Arrivals, Pace},
    },
    target::{self, Common},
};

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Rooms (2 to 1,000)
    #[arg(long, default_value_t = 20)]
    rooms: usize,
    /// Users who stay, in each room (0 to 1,000)
    #[arg(long, default_value_t = 10)]
    staying: usize,
    /// Users who go from room to room, each in one at a time (1 to 10,000)
    #[arg(long, default_value_t = 200)]
    moving: usize,
    /// Moves per second, of all users: one room left and another joined (0.1 to 10,000)
    #[arg(long, default_value_t = 50.0)]
    moves: f64,
    /// Messages per second, of all rooms (0.1 to 10,000)
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Seconds without moves, and as many with moves (1 to 3,600)
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        ensure!((2..=1000).contains(&self.rooms), "--rooms: 2 to 1,000");
        ensure!(self.staying <= 1000, "--staying: 0 to 1,000");
        ensure!((1..=10_000).contains(&self.moving), "--moving: 1 to 10,000");
        ensure!((0.1..=10_000.0).contains(&self.moves), "--moves: 0.1 to 10,000 per second");
        ensure!((0.1..=10_000.0).contains(&self.rate), "--rate: 0.1 to 10,000 messages per second");
        ensure!((1..=3600).contains(&self.seconds), "--seconds: 1 to 3,600");
        ensure!(self.users() <= 19_000, "--rooms, --staying and --moving: together at most 19,000 users");
        target::check_messages(self.rate * 2.0 * self.seconds as f64)?;
        self.common.lasts(2 * self.seconds)
    }

    /// Returns how many users there are: a writer for each room, those who stay, those who move.
    fn users(&self) -> usize {
        self.rooms * (1 + self.staying) + self.moving
    }
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    options.check()?;
    conduct("churn", &options.common, &options, &[], async |stage| play(stage, &options).await).await
}

async fn play(stage: &Stage, options: &Options) -> anyhow::Result<()> {
    stage.cpu_s().context("churn measures the server's CPU")?;
    stage.check_sockets(options.users() + 1)?;
    stage.phase("joining");
    let (mut maker, topics) = make_rooms(stage, options.rooms).await?;
    let logins = match stage.run.protocol {
        Protocol::Messenger => stage.users("churn", options.users()).await?,
        Protocol::Native | Protocol::Rooms => stage.guests("churn", options.users()),
    };
    stage.aim(logins.len() as u64, "connections");
    let (rooms, seats) = (options.rooms, options.rooms * (1 + options.staying));
    let listed = topics.clone();
    let talkers = crowd::gather(stage, 1, logins, crowd::AT_ONCE, move |run, index, login| {
        let (user, topics) = (index - 1, listed.clone());
        async move {
            let mut talker = Talker::connect(run, index, login).await?;
            // The first of each room writes; those who move begin one room each, too.
            if user < rooms {
                talker.writes(user);
            }
            talker.join(user % rooms, &topics[user % rooms]).await?;
            Ok(talker)
        }
    })
    .await?;
    let mut talkers = Talkers::start(&stage.run, talkers, topics)?;
    let movers = talkers.orders().split_off(seats);
    // Read, so that the server doesn't hold it for slow.
    let reading = tokio::spawn(async move { while maker.next().await.is_ok() {} });

    let (all, time): (Vec<_>, _) = ((0..rooms).collect(), Duration::from_secs(options.seconds));
    stage.aim(2 * options.seconds, "s");
    stage.phase("messages only");
    let cpu = stage.cpu_s()?;
    talkers.write(&all, options.rate, time).await?;
    talkers.settle().await;
    let quiet_s = stage.cpu_s()? - cpu;
    stage.progress(options.seconds);
    stage.phase("with moves");
    let cpu = stage.cpu_s()?;
    // Rooms of those who move, as they stand.
    let at = (seats..options.users()).map(|user| user % rooms).collect();
    let moving = move_about(&stage.run, movers, at, options);
    let (written, moved) = tokio::join!(talkers.write(&all, options.rate, time), moving);
    written?;
    let moved = moved?;
    talkers.settle().await;
    let busy_s = stage.cpu_s()? - cpu;
    let phase = stage.phase("leaving");
    talkers.end().await?;
    reading.abort();

    let us = |s: f64| s * 1e6 / moved as f64;
    stage.figure(Figure::new("CPU per move", "us", us(busy_s - quiet_s)));
    let delays = phase.map(|phase| phase.delays).unwrap_or_default();
    if let Some(joins) = delays.get("join") {
        stage.figure(Figure::new("joins and leaves p99", "ms", joins.p99));
    }
    if let Some(delivered) = delays.get("delivered") {
        stage.figure(Figure::new("deliveries p99 among moves", "ms", delivered.p99));
    }
    stage.figure(Figure::new("moves per second", "", moved as f64 / options.seconds as f64));
    Ok(())
}

/// Makes the rooms; returns who made them, connected, and the rooms.
async fn make_rooms(stage: &Stage, count: usize) -> anyhow::Result<(Peer, Vec<Topic>)> {
    let login: Login = stage.users("churn-maker", 1).await?.pop().context("no user to make the rooms")?;
    let mut maker = Peer::connect(&stage.run, 0, &login).await?;
    let mut topics = Vec::with_capacity(count);
    for number in 0..count {
        let place = maker.make_place(&format!("Churn {number}")).await?;
        topics.push(Topic::new(&stage.run, place, &login)?);
    }
    Ok((maker, topics))
}

/// Lets users move, in turn, each to some other room; returns how many moves there were.
async fn move_about(
    run: &Run,
    movers: Vec<mpsc::Sender<Order>>,
    mut at: Vec<usize>,
    options: &Options,
) -> anyhow::Result<u64> {
    let (begun, time) = (Instant::now(), Duration::from_secs(options.seconds));
    let mut pace = Pace::new(options.moves, Arrivals::Poisson, begun, run.seed ^ 1);
    let mut random = SmallRng::seed_from_u64(run.seed);
    for moved in 0.. {
        let due = pace.due();
        if due - begun >= time {
            return Ok(moved);
        }
        ensure!(run.sleep(due.saturating_duration_since(Instant::now())).await, "stopped while moving");
        let who = moved as usize % movers.len();
        let from = at[who];
        let to = (from + random.random_range(1..options.rooms)) % options.rooms;
        talker::tell(&movers[who], Order::Move { from, to, due })?;
        at[who] = to;
    }
    Ok(0)
}
