//! The rounds of one number of receivers: ours and the bare server's in alternation.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;

use super::{
    Mode, Options,
    audience::{Audience, Tally},
    chat::Chat,
    posting::{self, Plan},
};
use crate::{
    limit::{self, Limit, frame::Frames},
    peer::{Peer, Protocol, To},
    run::Run,
    scenario::{
        crowd,
        line::{PeerListener, PeerPoster, Poster},
        stage::Stage,
    },
};

/// Messages of the round that warms up, at most.
const WARM_UP_MAX: usize = 50;
/// Files of this process that aren't sockets of listeners, at most.
const FILES_BESIDE: usize = 500;
/// A number that no sender has: who only listens.
const NEVER_SENDS: u32 = u32::MAX;

/// What was measured of one kind of rounds, a value per round.
#[derive(Debug, Default)]
pub struct Series {
    pub cpu_us: Vec<f64>,
    pub p50_ms: Vec<f64>,
    pub p99_ms: Vec<f64>,
    pub per_second: Vec<f64>,
}

/// What was measured with one number of receivers.
#[derive(Debug, Default)]
pub struct Outcome {
    pub ours: Series,
    /// Ours without compression.
    pub plain: Option<Series>,
    pub bare: Option<Series>,
    /// What the bare server is called, with its number of sockets if that is another.
    pub bare_name: String,
    /// The bare server, several frames per write.
    pub together: Option<Series>,
    /// Delays of the chat beside, microseconds.
    pub chat: Option<Histogram<u64>>,
}

/// A room of the real server with its poster and its listeners.
struct Room {
    poster: PeerPoster,
    audience: Audience<PeerListener>,
    plan: Plan,
    posted: u32,
}

/// A bare server with its clients.
struct Bare {
    limit: Limit,
    fan: limit::Fan,
    audience: Audience<limit::line::BareLine>,
    plan: Plan,
    posted: u32,
}

/// Plays all rounds with one number of receivers.
pub async fn play(stage: &Stage, options: &Options, receivers: usize) -> anyhow::Result<Outcome> {
    let messages = options.messages(receivers);
    let warm_up = messages.min(WARM_UP_MAX);
    let in_all = warm_up + messages * options.rounds;
    stage.phase(&format!("{receivers} receivers: joining"));
    let deflate = stage.run.deflate || options.compare_deflate;
    let mut room = Room::open(stage, options, receivers, in_all, deflate).await?;
    let mut plain = None;
    if options.compare_deflate {
        plain = Some(Room::open(stage, options, receivers, in_all, false).await?);
    }
    let mut bare = if options.alone { None } else { Some(Bare::open(stage, options, receivers, in_all).await?) };
    let mut chat = if options.chat_beside { Some(Chat::open(stage, options.bytes).await?) } else { None };
    let mut outcome = Outcome { bare_name: "bare server".into(), ..Outcome::default() };
    if let Some(bare) = bare.as_ref().filter(|bare| bare.plan.receivers != receivers) {
        outcome.bare_name = format!("bare server with {} sockets", bare.plan.receivers);
    }
    stage.aim((in_all * receivers) as u64, "deliveries");
    let run = &stage.run;
    for round in 0..=options.rounds {
        // What the first round measures is thrown away.
        let (name, messages) =
            if round == 0 { ("warm-up".into(), warm_up) } else { (format!("round {round}"), messages) };
        stage.phase(&format!("{receivers} receivers: {name}"));
        let (mut ours, mut uncompressed) = (Series::default(), Series::default());
        let (mut each, mut together) = (Series::default(), Series::default());
        {
            let busy = aside(plain.as_mut(), room.round(stage, messages, &mut ours));
            match chat.as_mut() {
                Some(chat) => chat.beside(run, busy).await???,
                None => busy.await??,
            }
        }
        if let Some(plain) = plain.as_mut() {
            aside(Some(&mut room), plain.round(stage, messages, &mut uncompressed)).await??;
        }
        if let Some(bare) = bare.as_mut() {
            let busy = aside(plain.as_mut(), bare.round(run, messages, &mut each, &mut together));
            aside(Some(&mut room), busy).await???;
        }
        stage.progress(room.audience.tally.heard());
        if round > 0 {
            stage
                .say(format!("{receivers} receivers, round {round}: {}", line(&ours, bare.is_some().then_some(&each))));
            outcome.ours.append(ours);
            for (on, kept, new) in [
                (plain.is_some(), &mut outcome.plain, uncompressed),
                (bare.is_some(), &mut outcome.bare, each),
                (bare.is_some() && options.mode == Mode::Burst, &mut outcome.together, together),
            ] {
                if on {
                    kept.get_or_insert_default().append(new);
                }
            }
        }
    }
    for room in [Some(room), plain].into_iter().flatten() {
        room.close().await?;
    }
    outcome.chat = chat.map(Chat::close);
    Ok(outcome)
}

/// Waits for something; reads a room's poster meanwhile, so that it answers pings.
async fn aside<T>(room: Option<&mut Room>, wait: impl Future<Output = T>) -> anyhow::Result<T> {
    match room {
        Some(room) => posting::meanwhile(&mut room.poster, &mut 0, wait).await,
        None => Ok(wait.await),
    }
}

fn line(ours: &Series, bare: Option<&Series>) -> String {
    let first = |values: &[f64]| values.first().copied().unwrap_or(f64::NAN);
    let beside = bare.map_or_else(String::new, |bare| format!(" (bare server {:.2})", first(&bare.cpu_us)));
    let (cpu, per_second) = (first(&ours.cpu_us), first(&ours.per_second));
    format!("{cpu:.2} us CPU per delivery{beside}, {per_second:.0} deliveries/s, p99 {:.1} ms", first(&ours.p99_ms))
}

impl Series {
    fn append(&mut self, other: Self) {
        self.cpu_us.extend(other.cpu_us);
        self.p50_ms.extend(other.p50_ms);
        self.p99_ms.extend(other.p99_ms);
        self.per_second.extend(other.per_second);
    }

    /// Posts a round's messages and measures it. `cpu`: the server's CPU time so far, seconds.
    async fn measure(
        &mut self,
        run: &Run,
        poster: &mut impl Poster,
        tally: &Tally,
        plan: &Plan,
        posted: &mut u32,
        cpu: impl Fn() -> anyhow::Result<f64>,
    ) -> anyhow::Result<()> {
        let (before, begun) = (cpu()?, Instant::now());
        posting::post(run, poster, tally, plan, posted).await?;
        let (took, used) = (begun.elapsed().as_secs_f64(), cpu()? - before);
        let deliveries = (plan.messages * plan.receivers) as f64;
        let delays = tally.take_delays();
        let ms = |percentile| delays.value_at_percentile(percentile) as f64 / 1000.0;
        self.cpu_us.push(used * 1e6 / deliveries);
        self.p50_ms.push(ms(50.0));
        self.p99_ms.push(ms(99.0));
        self.per_second.push(deliveries / took);
        Ok(())
    }
}

impl Room {
    async fn open(
        stage: &Stage,
        options: &Options,
        receivers: usize,
        in_all: usize,
        deflate: bool,
    ) -> anyhow::Result<Self> {
        let run = &stage.run;
        let name = format!("Fan out {receivers} {}", if deflate { "compressed" } else { "plain" });
        let login = stage.users("poster", 1).await?.pop().context("no poster")?;
        let listeners = match run.protocol {
            Protocol::Messenger => stage.users("listener", receivers).await?,
            Protocol::Native | Protocol::Rooms => stage.guests(if deflate { "deflate" } else { "plain" }, receivers),
        };
        let mut peer = Peer::connect(run, 0, &login).await.context("the poster can't connect")?;
        let place = peer.make_place(&name).await?;
        let to = To::Place(place.clone());
        let id = run.ledger.place(to.clone(), login, peer.hears_itself());
        stage.aim(receivers as u64 + 1, "connections");
        let join = |run: Arc<Run>, index, login| {
            let place = place.clone();
            async move {
                let mut peer = Peer::connect_offering(deflate, &run, index, &login).await?;
                peer.join(&place).await?;
                let ear = run.ledger.listen(id, NEVER_SENDS);
                Ok(PeerListener { run, peer, ear })
            }
        };
        let listeners = crowd::gather(stage, 1, listeners, crowd::AT_ONCE, join).await?;
        let sender = u32::from(!deflate);
        let poster = PeerPoster { run: run.clone(), peer, to, place: id, bytes: options.bytes };
        let plan = Plan { mode: options.mode, messages: 0, rate: options.rate, receivers, sender };
        Ok(Self { poster, audience: Audience::listen(run, listeners, in_all)?, plan, posted: 0 })
    }

    async fn round(&mut self, stage: &Stage, messages: usize, into: &mut Series) -> anyhow::Result<()> {
        let plan = Plan { messages, ..self.plan };
        let (tally, cpu) = (&self.audience.tally, || stage.cpu_s());
        into.measure(&stage.run, &mut self.poster, tally, &plan, &mut self.posted, cpu).await
    }

    async fn close(self) -> anyhow::Result<()> {
        for listener in self.audience.finish().await? {
            listener.stayed();
        }
        self.poster.peer.close().await;
        Ok(())
    }
}

impl Bare {
    async fn open(stage: &Stage, options: &Options, receivers: usize, in_all: usize) -> anyhow::Result<Self> {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
        let rooms = if options.compare_deflate { 2 } else { 1 };
        let left = files.saturating_sub(receivers * rooms + FILES_BESIDE);
        ensure!(
            left > 0,
            "{files} files are too few for {receivers} receivers and a bare server: 'ulimit -n', or --alone"
        );
        let receivers = receivers.min(left);
        let frames = Frames::fan(stage.run.protocol, options.bytes);
        let (limit, mut fan) = Limit::fan(frames, receivers).await?;
        // A burst has a second round, of frames that are written together.
        let in_all = if options.mode == Mode::Burst { in_all * 2 } else { in_all };
        let audience = Audience::listen(&stage.run, std::mem::take(&mut fan.readers), in_all)?;
        let plan = Plan { mode: options.mode, messages: 0, rate: options.rate, receivers, sender: 0 };
        Ok(Self { limit, fan, audience, plan, posted: 0 })
    }

    async fn round(
        &mut self,
        run: &Run,
        messages: usize,
        each: &mut Series,
        together: &mut Series,
    ) -> anyhow::Result<()> {
        let plan = Plan { messages, ..self.plan };
        let (tally, cpu) = (&self.audience.tally, || self.limit.cpu_s());
        each.measure(run, &mut self.fan.each, tally, &plan, &mut self.posted, cpu).await?;
        if plan.mode == Mode::Burst {
            together.measure(run, &mut self.fan.together, tally, &plan, &mut self.posted, cpu).await?;
        }
        Ok(())
    }
}
