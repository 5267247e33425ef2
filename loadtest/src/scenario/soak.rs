//! `soak`: constant load for a long time. What grows then would grow for ever: the figures are the growth of the server's memory once it has
//! warmed up, and how much slower deliveries have become.
//!
//! The load is a small community ([`super::community`]) with connections lost and made anew, over one protocol. The phases of the report are
//! the quarters of the time; the first quarter (of long runs the first hour) is warming up, and counts for neither figure.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::{
    peer::Protocol,
    report::model::{Figure, Phase},
    run::trend::Trend,
    scenario::{
        community::{Community, Rates, shape::Shape},
        stage::{Stage, conduct},
    },
    target::Common,
};

/// Longest warming up, seconds.
const WARM_UP_MAX_S: f64 = 3600.0;

/// Memory may grow by this much after warming up, percent.
const GROWTH_MAX_PERCENT: f64 = 5.0;

/// Distance of the measurements of memory.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const QUARTERS: [&str; 4] = ["first quarter", "second quarter", "third quarter", "last quarter"];

const MIB: f64 = 1024.0 * 1024.0;

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// How long the load lasts, seconds (20 to 172,800)
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Users, all connected (10 to 20,000)
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// Rooms, of a power-law size (1 to 2,000, at most half the users)
    #[arg(long, default_value_t = 20)]
    rooms: usize,
    #[command(flatten)]
    rates: Rates,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        ensure!((20..=172_800).contains(&self.seconds), "--seconds: 20 to 172,800");
        ensure!((10..=20_000).contains(&self.users), "--users: 10 to 20,000");
        ensure!((1..=(self.users / 2).min(2000)).contains(&self.rooms), "--rooms: 1 to 2,000, at most half the users");
        self.rates.check(self.seconds)?;
        self.common.lasts(self.seconds)
    }

    fn shape(&self, seed: u64) -> Shape {
        let (users, rooms, protocol) = (self.users, self.rooms, self.common.protocol);
        let groups = if protocol == Protocol::Rooms { 0 } else { rooms };
        Shape { users, writers: 0.2, protocol, dialect_share: 0.0, rooms, groups, group_max: 20, exponent: 1.0, seed }
    }
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    options.check()?;
    conduct("soak", &options.common, &options, &[], async |stage| {
        stage.resident_bytes().context("soak measures the server's memory")?;
        let mut community = Community::gather(stage, &options.shape(stage.run.seed), options.rates.bytes).await?;
        let seconds = options.seconds as f64;
        stage.aim(options.seconds, "s");
        let (memory, phases) = tokio::join!(watch_memory(stage, seconds), async {
            let mut phases = Vec::new();
            for (n, quarter) in QUARTERS.into_iter().enumerate() {
                phases.extend(stage.phase(quarter));
                community.live(stage, seconds / 4.0, &options.rates, n as u64).await;
            }
            phases.extend(stage.phase("leaving"));
            phases
        });
        tell(stage, &memory?, &phases)?;
        community.leave(stage).await;
        Ok(())
    })
    .await
}

/// Measures resident memory until the time is over; returns seconds and bytes of what comes after warming up.
async fn watch_memory(stage: &Stage, seconds: f64) -> anyhow::Result<Vec<(f64, f64)>> {
    let (begun, warm_up) = (Instant::now(), (seconds / 4.0).min(WARM_UP_MAX_S));
    let mut measured = Vec::new();
    while begun.elapsed().as_secs_f64() < seconds && stage.run.sleep(LOOK_EVERY).await {
        let at = begun.elapsed().as_secs_f64();
        if at >= warm_up {
            measured.push((at, stage.resident_bytes()? as f64));
        }
    }
    Ok(measured)
}

fn tell(stage: &Stage, memory: &[(f64, f64)], phases: &[Phase]) -> anyhow::Result<()> {
    let trend = Trend::of(memory).context("too few measurements of memory for a trend")?;
    let growth = trend.growth_percent();
    stage.figure(Figure::new("memory growth after warming up", "%", growth).at_most(GROWTH_MAX_PERCENT));
    stage.figure(Figure::new("memory growth per hour", "MiB/h", trend.slope * 3600.0 / MIB));
    stage.figure(Figure::new("memory at the end", "MiB", trend.last / MIB));
    let p99 = |name: &str| {
        let phase = phases.iter().find(|phase| phase.name == name)?;
        Some(phase.delays.get("delivered")?.p99)
    };
    if let (Some(before), Some(after)) = (p99(QUARTERS[1]), p99(QUARTERS[3])) {
        stage.figure(Figure::new("p99 delivery of the last quarter", "ms", after).beside("second quarter", before));
    }
    Ok(())
}
