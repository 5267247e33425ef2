//! `idle`: more and more authenticated sockets that do nothing; what each costs the server in memory, and whether that is a straight line.

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

/// Sockets before the first measurement: they pay for what is paid once (code, thread-local buffers), and have the allocator give back what
/// starting needed.
const FIRST: usize = 1000;
/// Connecting at the same time: few, so that what connecting needs for a moment stays little beside what staying needs.
const AT_ONCE: usize = 16;
/// Memory is measured when it has changed by less than this in [`SETTLE`]: a server gives back what connecting needed only after a while.
const SETTLED_BYTES: u64 = 256 * 1024;
const SETTLE: Duration = Duration::from_secs(1);
/// Users who come and go while it settles.
const VISITORS: usize = 100;
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// Resident memory of a socket, KiB, at most.
pub(crate) const BAR_KIB: f64 = 6.0;
/// Largest deviation of the cost between two steps from the overall cost, percent, at most.
const STRAIGHT_BAR: f64 = 20.0;

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Sockets, one number after the other (each 2,000 to 19,000, rising)
    #[arg(long, value_delimiter = ',', default_values_t = [2500, 5000, 10_000, 19_000])]
    connections: Vec<usize>,
    /// Spreads the sockets over so many accounts (1 to 2,000) [default: each socket a guest of its own; over messenger 500 accounts]
    #[arg(long)]
    accounts: Option<usize>,
    /// The bar: at most so many KiB of resident memory per socket
    #[arg(long, default_value_t = BAR_KIB)]
    bar_kib: f64,
}

impl Options {
    /// Returns how many accounts the sockets are spread over; `None`: they are guests.
    fn accounts(&self) -> Option<usize> {
        self.accounts.or((self.common.protocol == Protocol::Messenger).then_some(ACCOUNTS))
    }
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let steps = &options.connections;
    ensure!(
        !steps.is_empty() && steps.iter().all(|count| (2 * FIRST..=CONNECTIONS_MAX).contains(count)),
        "--connections: numbers from {} to {CONNECTIONS_MAX}",
        2 * FIRST
    );
    ensure!(steps.is_sorted_by(|one, next| one < next), "--connections: each number above the one before");
    ensure!(options.bar_kib > 0.0, "--bar-kib: above 0");
    if let (Some(accounts), Some(most)) = (options.accounts(), steps.last()) {
        crowd::check_accounts(&options.common, most + VISITORS, accounts)?;
    }
    conduct("idle", &options.common, &options, &[], async |stage| play(stage, &options).await).await
}

async fn play(stage: &Stage, options: &Options) -> anyhow::Result<()> {
    let most = *options.connections.last().context("no step")?;
    stage.check_sockets(most + VISITORS)?;
    let users = match options.accounts() {
        Some(accounts) => stage.users("idle", accounts).await?,
        None => stage.guests("idle", most + VISITORS),
    };
    stage.aim(most as u64, "connections");
    let mut sockets: Vec<Idle> = Vec::with_capacity(most);
    let mut measured: Vec<(usize, u64)> = Vec::new();
    for count in [FIRST].into_iter().chain(options.connections.iter().copied()) {
        stage.phase(&format!("{count} connections"));
        let from = sockets.len();
        let logins = (from..count).map(|n| users[n % users.len()].clone()).collect();
        sockets.extend(crowd::gather(stage, from, logins, AT_ONCE, Idle::connect).await?);
        let bytes = settled(stage, &users, count).await?;
        let closed = sockets.iter().filter(|socket| socket.is_closed()).count();
        ensure!(closed == 0, "{closed} of {count} idle sockets were closed by the server");
        stage.say(format!("{count} connections: {} KiB resident", bytes / 1024));
        if let Some(first) = measured.first() {
            let name = format!("KiB per connection, up to {count}");
            stage.figure(Figure::new(&name, "KiB", kib_each(*first, (count, bytes))));
        }
        measured.push((count, bytes));
    }
    stage.figure(Figure::new("KiB per connection", "KiB", overall(&measured)).at_most(options.bar_kib));
    if measured.len() > 2 {
        stage.figure(Figure::new("straightness", "%", deviation(&measured)).at_most(STRAIGHT_BAR));
    }
    Ok(())
}

/// Returns the server's resident memory with `open` sockets, bytes, when it doesn't change any more, at the latest after [`SETTLE_MAX`].
///
/// A few more users come and go meanwhile: allocators give back what isn't needed any more only while they are used, and a server without
/// anything to do would keep for ever what the last connections needed for a moment.
async fn settled(stage: &Stage, users: &[Login], open: usize) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let mut last = 0;
    loop {
        let visitors = users.iter().rev().take(VISITORS).cloned().collect();
        drop(crowd::gather(stage, open, visitors, AT_ONCE, Idle::connect).await?);
        ensure!(stage.run.sleep(SETTLE).await, "stopped while the server's memory settled");
        let now = stage.resident_bytes()?;
        if now.abs_diff(last) < SETTLED_BYTES || begun.elapsed() > SETTLE_MAX {
            return Ok(now);
        }
        last = now;
    }
}

/// Returns what each socket between two measurements (sockets, bytes) costs.
fn kib_each(before: (usize, u64), after: (usize, u64)) -> f64 {
    (after.1 as f64 - before.1 as f64) / 1024.0 / (after.0 - before.0) as f64
}

fn overall(measured: &[(usize, u64)]) -> f64 {
    kib_each(measured[0], measured[measured.len() - 1])
}

/// Returns the largest deviation of what a socket costs between two neighbours from the overall cost, percent.
fn deviation(measured: &[(usize, u64)]) -> f64 {
    let overall = overall(measured);
    let steps = measured.windows(2).map(|pair| (kib_each(pair[0], pair[1]) - overall).abs() / overall.abs() * 100.0);
    steps.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    #[test]
    fn a_straight_line_deviates_by_nothing_and_a_bend_by_its_share() {
        let line = [(100, 10_000 * KIB), (1100, 14_000 * KIB), (2100, 18_000 * KIB)];
        assert_eq!((overall(&line), deviation(&line)), (4.0, 0.0));
        // 3 KiB each, then 5.
        let bent = [(100, 10_000 * KIB), (1100, 13_000 * KIB), (2100, 18_000 * KIB)];
        assert_eq!((overall(&bent), deviation(&bent)), (4.0, 25.0));
    }
}
