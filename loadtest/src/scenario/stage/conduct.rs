//! The frame of a run: before, while and after a scenario plays.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use futures_util::FutureExt as _;
use serde::Serialize;

use super::{
    Stage,
    bounds::{self, Signals},
    outcome::{Outcome, Setting},
    servers::Servers,
};
use crate::{
    checker::ledger::Verdict,
    run::{
        Run,
        progress::Progress,
        sampler::{Recorded, Recorder},
    },
    target::Common,
};

/// Nothing more is expected to arrive after so long without anything.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// How long tasks of a run that ended early may take to end.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long after an error it is looked whether the server's death was the reason.
const DEATH_GRACE: Duration = Duration::from_millis(500);

/// How long reading the histories afterwards may take.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(600);

/// Starts or finds the servers, plays the scenario within its bounds (time, Ctrl-C, a server that dies), settles and checks the ledger,
/// writes the report (partial if it ended early) and holds it to the thresholds.
///
/// `server_args` are for a server that is started here, beside `--unlimited --guests on`.
///
/// # Errors
/// When the run ended early, the checker found something, or a threshold is broken: then the report is written all the same. Also when the
/// servers can't be started or found: then there is nothing to report.
pub async fn conduct(
    scenario: &'static str,
    common: &Common,
    settings: &impl Serialize,
    server_args: &[&str],
    play: impl AsyncFnOnce(&Stage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let arguments: Vec<String> = server_args.iter().map(|&argument| argument.to_owned()).collect();
    let open = {
        let common = common.clone();
        move || Servers::open(&common, &arguments)
    };
    conduct_with(scenario, common, settings, open, play).await
}

/// Like [`conduct`], for a scenario that starts servers by itself: the stage has none.
///
/// # Errors
/// When the run ended early, or a threshold is broken: then the report is written all the same.
pub async fn conduct_apart(
    scenario: &'static str,
    common: &Common,
    settings: &impl Serialize,
    play: impl AsyncFnOnce(&Stage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    conduct_with(scenario, common, settings, || Ok(Servers::none()), play).await
}

async fn conduct_with(
    scenario: &'static str,
    common: &Common,
    settings: &impl Serialize,
    open: impl FnOnce() -> anyhow::Result<Servers> + Send + 'static,
    play: impl AsyncFnOnce(&Stage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    common.check()?;
    bounds::raise_open_files()?;
    let mut signals = Signals::watch()?;
    let setting = Setting::new(scenario, common, serde_json::to_value(settings)?);
    let opening = blocking(move || {
        let servers = open()?;
        let (facts, before) = (servers.facts()?, servers.scrape());
        Ok((Arc::new(servers), facts, before))
    });
    let (servers, facts, (before, missing)) = tokio::select! {
        opened = opening => opened?,
        why = signals.next() => bail!("{why} before it began"),
    };

    let run = Run::new(setting.seed, common.protocol, common.deflate, servers.nodes.clone());
    let recorder = Recorder::new(run.clone(), servers.processes.clone());
    let progress = Arc::new(Progress::new(common.quiet));
    let sampler = Sampler::start(recorder.clone(), progress.clone())?;
    let (figures, stage_run) = (Mutex::default(), run.clone());
    let stage = Stage { run: stage_run, servers: servers.clone(), recorder, progress: progress.clone(), figures };

    for error in missing {
        stage.say(format!("no metrics: {error:#}"));
    }
    let played = play_within(&stage, common, &mut signals, play).await;
    let took_s = run.origin.elapsed().as_secs_f64();
    let mut partial = played.err().map(|error| format!("{error:#}"));
    if partial.is_some() {
        run.stop();
        tokio::time::sleep(STOP_GRACE).await;
    }
    let settled = within(&servers, &mut signals, async {
        run.ledger.settle(SETTLE_PATIENCE).await;
        Ok(())
    });
    let mut unchecked = settled.await.err();
    let recorded = sampler.end(took_s);
    let after = blocking({
        let servers = servers.clone();
        move || Ok(servers.scrape())
    });
    let metrics = after.await?.0.since(&before);
    let mut verdict = Verdict::default();
    if unchecked.is_none() {
        let verifying = tokio::time::timeout(VERIFY_TIMEOUT, run.ledger.verify(&run));
        let verified = within(&servers, &mut signals, async {
            verifying.await.with_context(|| format!("reading the histories took longer than {VERIFY_TIMEOUT:?}"))?
        });
        match verified.await {
            Ok(found) => verdict = found,
            Err(error) => unchecked = Some(error),
        }
    }
    if let Some(error) = unchecked {
        let why = match &partial {
            Some(partial) => format!("{partial}; histories weren't checked"),
            None => format!("histories weren't checked: {error:#}"),
        };
        partial = Some(why);
    }
    progress.end();
    let figures = stage.take_figures();
    Outcome { setting, servers: facts, partial, took_s, recorded, figures, verdict, metrics }.tell(common)
}

/// Plays the scenario; an error says why it ended before its end.
async fn play_within(
    stage: &Stage,
    common: &Common,
    signals: &mut Signals,
    play: impl AsyncFnOnce(&Stage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let error = tokio::select! {
        played = no_panic("the scenario", play(stage)) => match played {
            Ok(()) => return Ok(()),
            Err(error) => error,
        },
        why = signals.next() => bail!("{why}"),
        death = bounds::death(&stage.servers) => bail!("{death}"),
        () = tokio::time::sleep(common.max_time()) => bail!("it took longer than --max-seconds {}", common.max_seconds),
    };
    // Sockets end before their server is known to be dead.
    match tokio::time::timeout(DEATH_GRACE, bounds::death(&stage.servers)).await {
        Ok(death) => bail!("{death}"),
        Err(_) => Err(error),
    }
}

/// Does what comes after, unless the server is dead, dies or a signal says that it is enough.
async fn within<T>(
    servers: &Servers,
    signals: &mut Signals,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        death = bounds::death(servers) => bail!("{death}"),
        why = signals.next() => bail!("{why}"),
        done = no_panic("the checker", work) => done,
    }
}

/// Makes an error of a panic: what was measured until then is worth a report.
async fn no_panic<T>(who: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => bail!("{who} panicked: {}", panic_text(&*panic)),
    }
}

/// Does blocking work on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a thread panicked")?
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

/// Looks once a second at what was noted. A thread of its own: the run's tasks may keep all others busy.
struct Sampler {
    recorder: Arc<Recorder>,
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    fn start(recorder: Arc<Recorder>, progress: Arc<Progress>) -> anyhow::Result<Self> {
        const SECOND: Duration = Duration::from_secs(1);
        let (stop, stopped) = mpsc::channel();
        let sampled = recorder.clone();
        let thread = std::thread::Builder::new().name("sampler".into()).spawn(move || {
            let mut last = Instant::now();
            let mut next = last + SECOND;
            while stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
                == Err(mpsc::RecvTimeoutError::Timeout)
            {
                let now = Instant::now();
                progress.tick(&sampled.tick(), now - last);
                last = now;
                // Seconds that were missed are one long second.
                while next <= now {
                    next += SECOND;
                }
            }
        });
        Ok(Self { recorder, stop, thread: Some(thread.context("no thread for the sampler")?) })
    }

    fn end(mut self, played_s: f64) -> Recorded {
        self.join();
        self.recorder.finish(played_s)
    }

    fn join(&mut self) {
        // Gone already if it panicked.
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.join();
    }
}
