//! `fanout`: one room (a group in the messenger dialect), many who listen; CPU of the server per delivery, beside a bare server that only
//! writes.
//!
//! Three ways of posting ([`posting`]); rounds of ours and of the bare server in alternation, driven by the same code. All deliveries to
//! ours are checked.

pub(crate) mod audience;
mod chat;
pub(crate) mod posting;
mod rounds;

use anyhow::ensure;
use serde::Serialize;

use crate::{
    content::MARK_MAX,
    peer::Protocol,
    report::model::Figure,
    scenario::stage::{Stage, conduct},
    target::{self, Common},
};
use rounds::Outcome;

/// Receivers at most: a process has 20,000 files on many systems.
const RECEIVERS_MAX: usize = 19_000;
/// Receivers over the messenger protocol at most: each is an account, and passwords take their time.
const ACCOUNTS_MAX: usize = 2_000;
/// With `--sizes`, rounds have at least so many deliveries: the CPU time of fewer is too short to compare.
const DELIVERIES_MIN: usize = 50_000;

/// CPU per delivery over that of the bare server, at most.
pub(crate) const BAR: f64 = 1.25;
/// The same in a burst: ours may write many frames at once, the bare server writes them one by one.
pub(crate) const BURST_BAR: f64 = 0.14;
/// CPU per delivery of the dearest size over that of the cheapest, at most.
const GROWTH_BAR: f64 = 1.2;
/// CPU per delivery with compression over that without, at most.
const DEFLATE_BAR: f64 = 1.2;
/// Delay of a chat beside a burst, 99th percentile, milliseconds, at most.
const CHAT_BAR_MS: f64 = 25.0;

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Who listens (1 to 19,000; over messenger to 2,000)
    #[arg(long, default_value_t = 1000)]
    receivers: usize,
    /// Several numbers of receivers, one after the other, instead: '10,100,1000,10000' shows whether a delivery costs the same
    #[arg(long, value_delimiter = ',', conflicts_with = "receivers")]
    sizes: Vec<usize>,
    /// Messages of a round (1 to 100,000); with --sizes more for few receivers, unless paced
    #[arg(long, default_value_t = 200)]
    messages: usize,
    /// Bytes of text (64 to 4,000)
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// How they are posted
    #[arg(long, value_enum, default_value_t = Mode::Lockstep)]
    mode: Mode,
    /// Messages per second of --mode paced (0.1 to 10,000)
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Rounds, each beside a round of the bare server; medians count (1 to 100)
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// No bare server beside
    #[arg(long)]
    alone: bool,
    /// Rounds to receivers that compress and to others that don't: what compression costs. Servers leave short messages uncompressed: use
    /// --bytes, too
    #[arg(long)]
    compare_deflate: bool,
    /// Two users elsewhere write to each other 20 times a second meanwhile: what the fan-out costs them (needs --mode burst)
    #[arg(long)]
    chat_beside: bool,
    /// The bar: at most this multiple of the bare server's CPU per delivery [default: 1.25, 0.14 with --mode burst]
    #[arg(long, conflicts_with = "alone")]
    bar: Option<f64>,
}

/// How messages are posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// At a rate, whatever the server does.
    Paced,
    /// As fast as they are acknowledged, 64 in flight.
    Burst,
    /// The next when all have the last.
    Lockstep,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        let messenger = self.common.protocol == Protocol::Messenger;
        let most = if messenger { ACCOUNTS_MAX } else { RECEIVERS_MAX };
        let fits = |receivers: &usize| (1..=most).contains(receivers);
        ensure!(fits(&self.receivers), "--receivers: 1 to {most}");
        ensure!(self.sizes.iter().all(fits) && self.sizes.len() <= 16, "--sizes: at most 16, each 1 to {most}");
        ensure!(self.sizes.is_sorted_by(|one, next| one < next), "--sizes: each above the one before");
        ensure!((1..=100_000).contains(&self.messages), "--messages: 1 to 100,000");
        ensure!((MARK_MAX..=4000).contains(&self.bytes), "--bytes: {MARK_MAX} to 4,000");
        ensure!((0.1..=10_000.0).contains(&self.rate), "--rate: 0.1 to 10,000");
        ensure!((1..=100).contains(&self.rounds), "--rounds: 1 to 100");
        ensure!(self.bar.is_none_or(|bar| bar > 0.0), "--bar: above 0");
        let sizes = if self.sizes.is_empty() { std::slice::from_ref(&self.receivers) } else { &self.sizes[..] };
        let rooms = if self.compare_deflate { 2 } else { 1 };
        let messages = sizes.iter().map(|size| self.messages(*size)).sum::<usize>() * self.rounds * rooms;
        target::check_messages(messages as f64)?;
        if self.mode == Mode::Paced {
            self.common.lasts((messages as f64 / self.rate) as u64)?;
        }
        let burst = self.mode == Mode::Burst;
        ensure!(!self.chat_beside || burst, "--chat-beside: needs --mode burst");
        ensure!(
            !self.chat_beside || self.common.protocol != Protocol::Rooms,
            "--chat-beside: --protocol rooms has no chats"
        );
        ensure!(!burst || !messenger, "--mode burst: --protocol messenger acknowledges nothing; use lockstep");
        Ok(())
    }

    fn messages(&self, receivers: usize) -> usize {
        let few = self.sizes.is_empty() || self.mode == Mode::Paced;
        if few { self.messages } else { self.messages.max(DELIVERIES_MIN.div_ceil(receivers)) }
    }

    fn bar(&self) -> f64 {
        self.bar.unwrap_or(if self.mode == Mode::Burst { BURST_BAR } else { BAR })
    }
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    options.check()?;
    conduct("fanout", &options.common, &options, &[], async |stage| play(stage, &options).await).await
}

async fn play(stage: &Stage, options: &Options) -> anyhow::Result<()> {
    let most = options.sizes.last().unwrap_or(&options.receivers);
    stage.check_sockets(most * if options.compare_deflate { 2 } else { 1 })?;
    if options.sizes.is_empty() {
        let outcome = rounds::play(stage, options, options.receivers).await?;
        tell(stage, options, &outcome, "");
        return Ok(());
    }
    let mut costs = Vec::new();
    for &receivers in &options.sizes {
        let outcome = rounds::play(stage, options, receivers).await?;
        costs.push((receivers, tell(stage, options, &outcome, &format!(", {receivers} receivers"))));
    }
    stage.figure(Figure::new("cost growth", "times", spread(costs.iter().map(|(_, us)| *us))).at_most(GROWTH_BAR));
    if costs.len() > 2 {
        let growth = spread(further(&costs).into_iter());
        stage.figure(Figure::new("cost growth of further receivers", "times", growth).at_most(GROWTH_BAR));
    }
    Ok(())
}

/// Returns what each receiver beyond the next smaller number adds to a message, microseconds: what a message costs whoever hears it (storing
/// it, above all) weighs on few receivers and not on many, and is no growth. `costs`: receivers, and CPU per delivery.
fn further(costs: &[(usize, f64)]) -> Vec<f64> {
    let message = |&(receivers, us): &(usize, f64)| receivers as f64 * us;
    let added = |pair: &[(usize, f64)]| (message(&pair[1]) - message(&pair[0])) / (pair[1].0 - pair[0].0) as f64;
    costs.windows(2).map(added).collect()
}

/// Returns the largest over the smallest; NaN if one isn't above 0, which only noise makes of a cost.
fn spread(values: impl Iterator<Item = f64>) -> f64 {
    let (least, most) = values.fold((f64::MAX, 0_f64), |(least, most), value| (least.min(value), most.max(value)));
    if least > 0.0 { most / least } else { f64::NAN }
}

/// Adds the figures of one number of receivers; returns the CPU per delivery, microseconds.
fn tell(stage: &Stage, options: &Options, outcome: &Outcome, suffix: &str) -> f64 {
    let named = |name: &str, unit: &str, rounds: &[f64]| Figure::of_rounds(&format!("{name}{suffix}"), unit, rounds);
    let median = |rounds: &[f64]| Figure::of_rounds("", "", rounds).value;
    let ours = &outcome.ours;
    let mut cpu = named("CPU per delivery", "us", &ours.cpu_us);
    let us = cpu.value;
    let (mut p50, mut p99) = (named("delivery p50", "ms", &ours.p50_ms), named("delivery p99", "ms", &ours.p99_ms));
    if let Some(bare) = &outcome.bare {
        cpu = cpu.beside(&outcome.bare_name, median(&bare.cpu_us)).at_most(options.bar());
        p50 = p50.beside(&outcome.bare_name, median(&bare.p50_ms));
        p99 = p99.beside(&outcome.bare_name, median(&bare.p99_ms));
    }
    stage.figure(cpu);
    stage.figure(p50);
    stage.figure(p99);
    stage.figure(named("deliveries per second", "1/s", &ours.per_second));
    if let Some(together) = &outcome.together {
        stage.figure(named("bare server, several frames per write", "us", &together.cpu_us));
    }
    if let Some(plain) = &outcome.plain {
        let figure = named("CPU per delivery, compressed", "us", &ours.cpu_us);
        stage.figure(figure.beside("not compressed", median(&plain.cpu_us)).at_most(DEFLATE_BAR));
    }
    if let Some(chat) = &outcome.chat {
        let p99 = chat.value_at_percentile(99.0) as f64 / 1000.0;
        stage.figure(Figure::new(&format!("chat beside, p99{suffix}"), "ms", p99).at_most(CHAT_BAR_MS));
        stage.say(format!("{} messages of the chat beside were delivered", chat.len()));
    }
    us
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_costs_by_itself_is_no_growth() {
        // 100 us per message and 5 per receiver.
        let costs = [(10, 15.0), (100, 6.0), (1000, 5.1)];
        assert!((spread(further(&costs).into_iter()) - 1.0).abs() < 1e-9);
        assert!(spread(costs.iter().map(|(_, us)| *us)) > 2.9);
        assert!(spread([3.0, -1.0].into_iter()).is_nan(), "passes no bar");
        // Each receiver dearer, the more there are.
        assert!(spread(further(&[(10, 5.0), (100, 6.0), (1000, 9.0)]).into_iter()) > 1.5);
    }
}
