//! `direct`: pairs of users, of whom one writes to the other; CPU of the server per delivery, beside a bare server that passes bytes on.
//!
//! Two ways of writing ([`pair`]): `closed`, one message in flight per sender, the next when it is acknowledged and delivered; `open`, at a
//! rate that doesn't wait for the server. Rounds of ours and of the bare server in alternation, driven by the same code.

mod fsync;
pub(crate) mod pair;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};

use crate::{
    content::MARK_MAX,
    limit::{Limit, frame::Frames},
    peer::{Peer, Protocol, To},
    report::model::Figure,
    run::Run,
    scenario::{
        crowd,
        line::{Listener, PeerListener, PeerPoster, Poster},
        stage::{Stage, conduct},
    },
    target::{self, Common},
};
use pair::{Done, Pair};

/// A message that isn't delivered and acknowledged within this time is missing.
const PATIENCE: Duration = Duration::from_secs(20);
/// The round that warms up.
const WARM_UP: Duration = Duration::from_secs(1);

/// CPU per delivery over that of the bare server, at most.
pub(crate) const CLOSED_BAR: f64 = 4.7;
pub(crate) const OPEN_BAR: f64 = 4.9;
/// Delay of the open loop, 99th percentile, milliseconds, at most.
const P99_BAR_MS: f64 = 10.0;
/// Messages per second of the closed loop, at least: as many as with two fsyncs for each, one after the other, or this many.
const RATE_BAR_MAX: f64 = 10_000.0;

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Pairs: a sender and a receiver each, accounts of their own (1 to 2,000)
    #[arg(long, default_value_t = 200)]
    pairs: usize,
    /// How they write
    #[arg(long, value_enum, default_value_t = Mode::Closed)]
    mode: Mode,
    /// Messages per second of --mode open, of all pairs together (1 to 100,000)
    #[arg(long, default_value_t = 4000.0)]
    rate: f64,
    /// Bytes of text (64 to 4,000)
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Seconds of a round (1 to 3,600)
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Rounds, each beside a round of the bare server; medians count (1 to 100)
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// No bare server beside
    #[arg(long)]
    alone: bool,
    /// The bar: at most this multiple of the bare server's CPU per delivery [default: 4.7, 4.9 with --mode open]
    #[arg(long, conflicts_with = "alone")]
    bar: Option<f64>,
}

/// How senders write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One message in flight each.
    Closed,
    /// At a rate, whatever the server does.
    Open,
}

/// What was measured of one server, a value per round.
#[derive(Default)]
struct Series {
    cpu_us: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    per_second: Vec<f64>,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((1..=2000).contains(&options.pairs), "--pairs: 1 to 2,000");
    ensure!((1.0..=100_000.0).contains(&options.rate), "--rate: 1 to 100,000");
    ensure!((MARK_MAX..=4000).contains(&options.bytes), "--bytes: {MARK_MAX} to 4,000");
    ensure!((1..=3600).contains(&options.seconds), "--seconds: 1 to 3,600");
    ensure!((1..=100).contains(&options.rounds), "--rounds: 1 to 100");
    ensure!(options.bar.is_none_or(|bar| bar > 0.0), "--bar: above 0");
    ensure!(options.common.protocol != Protocol::Rooms, "--protocol rooms: has no one-to-one messages");
    let seconds = options.rounds as u64 * options.seconds;
    if options.mode == Mode::Open {
        target::check_messages(options.rate * seconds as f64)?;
    }
    options.common.lasts(if options.alone { seconds } else { 2 * seconds })?;
    conduct("direct", &options.common, &options, &[], async |stage| play(stage, &options).await).await
}

async fn play(stage: &Stage, options: &Options) -> anyhow::Result<()> {
    // The bare server has the same on its side, and so has this program.
    stage.check_sockets(options.pairs * if options.alone { 2 } else { 4 })?;
    let mut pairs = meet(stage, options).await?;
    let (limit, mut lines) = if options.alone {
        (None, Vec::new())
    } else {
        let frames = Frames::direct(stage.run.protocol, options.bytes);
        let (limit, lines) = Limit::pairs(frames, options.pairs).await?;
        let pair = |(sender, (poster, listener))| Pair { poster, listener, sender, posted: 0 };
        (Some(limit), (0..).zip(lines).map(pair).collect())
    };
    let mut fsync = spawn_blocking(fsync::median).await??;
    let (mut ours, mut bare) = (Series::default(), Series::default());
    let rounds = options.rounds as u64;
    stage.aim(rounds * options.seconds, "seconds");
    for round in 0..=rounds {
        // What the first round measures is thrown away.
        let (name, time) = match round {
            0 => ("warm-up".into(), WARM_UP),
            _ => (format!("round {round}"), Duration::from_secs(options.seconds)),
        };
        stage.phase(&name);
        pairs = self::round(&stage.run, options, time, pairs, &mut ours, || stage.cpu_s()).await?;
        if let Some(limit) = &limit {
            let (over, until) = watch::channel(());
            let resting: Vec<_> = pairs.into_iter().map(|pair| tokio::spawn(pair.rest(until.clone()))).collect();
            lines = self::round(&stage.run, options, time, lines, &mut bare, || limit.cpu_s()).await?;
            drop(over);
            pairs = Vec::with_capacity(options.pairs);
            for pair in resting {
                pairs.push(pair.await.context("a task ended")??);
            }
        }
        ensure!(!stage.run.is_stopping(), "stopped in round {round}");
        if round == 0 {
            (ours, bare) = (Series::default(), Series::default());
        } else {
            stage.progress(round * options.seconds);
            stage.say(format!("round {round}: {}", line(&ours, &bare)));
        }
    }
    fsync = fsync.min(spawn_blocking(fsync::median).await??);
    for pair in pairs {
        pair.listener.stayed();
    }
    tell(stage, options, &ours, limit.is_some().then_some(&bare), fsync);
    Ok(())
}

fn line(ours: &Series, bare: &Series) -> String {
    let last = |values: &[f64]| values.last().copied().unwrap_or(f64::NAN);
    let beside = bare.cpu_us.last().map_or_else(String::new, |us| format!(" (bare server {us:.2})"));
    let (cpu, per_second) = (last(&ours.cpu_us), last(&ours.per_second));
    format!("{cpu:.2} us CPU per delivery{beside}, {per_second:.0} deliveries/s, p99 {:.1} ms", last(&ours.p99_ms))
}

/// Logs in and connects all, and has each pair exchange a first message: chats are made, conversations awake.
async fn meet(stage: &Stage, options: &Options) -> anyhow::Result<Vec<Pair<PeerPoster, PeerListener>>> {
    let run = &stage.run;
    let users = stage.users("direct", options.pairs * 2).await?;
    stage.aim(users.len() as u64, "connections");
    let connect = |run, index, login| async move { Peer::connect(&run, index, &login).await };
    let peers: Vec<Peer> = crowd::gather(stage, 0, users.clone(), crowd::AT_ONCE, connect).await?;
    let mut users = users.into_iter();
    let mut peers = peers.into_iter();
    let mut pairs = JoinSet::new();
    for sender in 0..u32::try_from(options.pairs)? {
        let (from, to) = users.next().zip(users.next()).context("a user is missing")?;
        let (poster, listener) = peers.next().zip(peers.next()).context("a peer is missing")?;
        let to = To::User(to.name);
        let place = run.ledger.place(to.clone(), from, false);
        let ear = run.ledger.listen(place, u32::MAX);
        let poster = PeerPoster { run: run.clone(), peer: poster, to, place, bytes: options.bytes };
        let listener = PeerListener { run: run.clone(), peer: listener, ear };
        let (mut pair, run) = (Pair { poster, listener, sender, posted: 0 }, run.clone());
        pairs.spawn(async move {
            pair.exchange(&run).await.context("the first message of a pair")?;
            anyhow::Ok(pair)
        });
    }
    let mut met = Vec::with_capacity(options.pairs);
    while let Some(pair) = pairs.join_next().await {
        met.push(pair.context("a task ended")??);
    }
    Ok(met)
}

/// Plays one round of one server and measures it. `cpu`: the server's CPU time so far, seconds.
async fn round<P: Poster, L: Listener>(
    run: &Arc<Run>,
    options: &Options,
    time: Duration,
    pairs: Vec<Pair<P, L>>,
    series: &mut Series,
    cpu: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<Pair<P, L>>> {
    let (before, begin) = (cpu()?, Instant::now());
    let end = begin + time;
    let (count, per_pair) = (pairs.len(), options.rate / pairs.len() as f64);
    let mut tasks = JoinSet::new();
    for pair in pairs {
        let run = run.clone();
        match options.mode {
            Mode::Closed => tasks.spawn(pair.closed(run, end)),
            Mode::Open => tasks.spawn(pair.open(run, per_pair, begin, end)),
        };
    }
    let mut pairs = Vec::with_capacity(count);
    let mut all: Option<Histogram<u64>> = None;
    while let Some(done) = tasks.join_next().await {
        let Done { pair, delays } = done.context("a task ended")??;
        pairs.push(pair);
        match &mut all {
            Some(all) => all.add(delays)?,
            None => all = Some(delays),
        }
    }
    let (took, used) = (begin.elapsed().as_secs_f64(), cpu()? - before);
    let delays =
        all.filter(|delays| !delays.is_empty()).context("nothing was sent in a whole round: a higher --rate?")?;
    let ms = |percentile| delays.value_at_percentile(percentile) as f64 / 1000.0;
    series.cpu_us.push(used * 1e6 / delays.len() as f64);
    series.p50_ms.push(ms(50.0));
    series.p99_ms.push(ms(99.0));
    series.per_second.push(delays.len() as f64 / took);
    Ok(pairs)
}

fn tell(stage: &Stage, options: &Options, ours: &Series, bare: Option<&Series>, fsync: Duration) {
    const BARE: &str = "bare server";
    let median = |rounds: &[f64]| Figure::of_rounds("", "", rounds).value;
    let mut cpu = Figure::of_rounds("CPU per delivery", "us", &ours.cpu_us);
    let mut p50 = Figure::of_rounds("delivery p50", "ms", &ours.p50_ms);
    let mut p99 = Figure::of_rounds("delivery p99", "ms", &ours.p99_ms);
    let rate = Figure::of_rounds("acknowledged per second", "1/s", &ours.per_second);
    if let Some(bare) = bare {
        let bar = if options.mode == Mode::Closed { CLOSED_BAR } else { OPEN_BAR };
        cpu = cpu.beside(BARE, median(&bare.cpu_us)).at_most(options.bar.unwrap_or(bar));
        p50 = p50.beside(BARE, median(&bare.p50_ms));
    }
    p99 = match options.mode {
        Mode::Open => p99.at_most(P99_BAR_MS),
        Mode::Closed => p99,
    };
    stage.figure(cpu);
    stage.figure(p50);
    stage.figure(p99);
    let fsync = fsync.as_secs_f64();
    stage.figure(match options.mode {
        Mode::Closed => rate.at_least((options.pairs as f64 / fsync / 2.0).min(RATE_BAR_MAX)),
        Mode::Open => rate,
    });
    stage.figure(Figure::new("fsync median", "ms", fsync * 1000.0));
}
