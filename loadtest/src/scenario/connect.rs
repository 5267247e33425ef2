//! `connect`: many users come at once; CPU of the server per authenticated connection.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::{
    peer::{Login, Protocol},
    report::model::Figure,
    scenario::{
        crowd::{self, ACCOUNTS, CONNECTIONS_MAX, Idle},
        stage::{Stage, conduct},
    },
    target::Common,
};

/// Connections that the figure is about.
const PER: f64 = 10_000.0;
/// CPU-seconds for that many, at most.
pub(crate) const BAR_S: f64 = 1.0;
/// How long the server may take to forget the sockets of a round.
const FORGET: Duration = Duration::from_secs(2);

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Connections of a round (100 to 19,000), all open at its end
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Connecting at the same time (1 to 1,000)
    #[arg(long, default_value_t = crowd::AT_ONCE)]
    at_once: usize,
    /// Accounts that they are spread over, each with its token (1 to 2,000)
    #[arg(long, default_value_t = ACCOUNTS)]
    accounts: usize,
    /// Guests instead
    #[arg(long, conflicts_with = "accounts")]
    guests: bool,
    /// Rounds; medians count (1 to 100)
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((100..=CONNECTIONS_MAX).contains(&options.connections), "--connections: 100 to {CONNECTIONS_MAX}");
    ensure!((1..=1000).contains(&options.at_once), "--at-once: 1 to 1,000");
    ensure!((1..=100).contains(&options.rounds), "--rounds: 1 to 100");
    let guests = options.guests && options.common.protocol == Protocol::Messenger;
    ensure!(!guests, "--guests: --protocol messenger has none");
    if !options.guests {
        crowd::check_accounts(&options.common, options.connections, options.accounts)?;
    }
    conduct("connect", &options.common, &options, &[], async |stage| play(stage, &options).await).await
}

async fn play(stage: &Stage, options: &Options) -> anyhow::Result<()> {
    stage.check_sockets(options.connections)?;
    let users = match options.guests {
        true => stage.guests("connect", options.connections),
        false => stage.users("connect", options.accounts).await?,
    };
    let logins: Vec<Login> = (0..options.connections).map(|n| users[n % users.len()].clone()).collect();
    let (mut cpu_s, mut per_second, mut p50_ms, mut p99_ms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    stage.aim(options.connections as u64, "connections");
    for round in 0..=options.rounds {
        // What the first round measures is thrown away: a tenth, to warm up.
        let count = if round == 0 { options.connections / 10 } else { options.connections };
        stage.phase(&if round == 0 { "warm-up".to_owned() } else { format!("round {round}") });
        let (before, begun) = (stage.cpu_s()?, Instant::now());
        let sockets = crowd::gather(stage, 0, logins[..count].to_vec(), options.at_once, Idle::connect).await?;
        let (used, took) = (stage.cpu_s()? - before, begun.elapsed().as_secs_f64());
        let phase = stage.phase(&format!("after round {round}")).context("a round without a phase")?;
        let handshake = phase.delays.get("handshake").context("a round without a handshake")?;
        drop(sockets);
        ensure!(stage.run.sleep(FORGET).await, "stopped after round {round}");
        if round > 0 {
            cpu_s.push(used * PER / count as f64);
            per_second.push(count as f64 / took);
            p50_ms.push(handshake.p50);
            p99_ms.push(handshake.p99);
            let (cpu_s, per_second) = (used * PER / count as f64, count as f64 / took);
            stage.say(format!("round {round}: {cpu_s:.2} CPU-s per 10,000 connects, {per_second:.0} connects/s"));
        }
    }
    stage.figure(Figure::of_rounds("CPU-s per 10,000 connects", "s", &cpu_s).at_most(BAR_S));
    stage.figure(Figure::of_rounds("connects per second", "1/s", &per_second));
    stage.figure(Figure::of_rounds("handshake p50", "ms", &p50_ms));
    stage.figure(Figure::of_rounds("handshake p99", "ms", &p99_ms));
    Ok(())
}
