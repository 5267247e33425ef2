//! `compare`: other servers and ours on this machine, one after the other in turn, each alone; what the same work costs each.
//!
//! Every server is started afresh for every set-up of every round and driven by the same code, and the order within a round is drawn by
//! the seed. What is counted is CPU time and memory of the server's own process; the report has each figure's median and range.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};

use super::stage::{Stage, conduct_apart};
use crate::{
    compare::{
        CONTENT_BYTES, Kind, Sample, Scale, Setup, Workload,
        crowd::{self, gather, guests},
        end::{Reader, Writer},
        pairs, room,
        server::{Programs, Running, SOCKETS_PER_USER},
        table::Table,
    },
    limit::{Limit, frame::Frames},
    peer::{Login, Protocol, To},
    run::Run,
    scenario::direct::pair::Pair,
    target::Common,
};

#[derive(clap::Args, serde::Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Other servers [default: those that are installed]
    #[arg(long, value_enum, value_delimiter = ',')]
    with: Vec<Kind>,
    /// Workloads [default: all]
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true)]
    only: Vec<Workload>,
    /// Rounds; medians count (1 to 100)
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The directory of the relays and of the start script of ejabberd
    #[arg(long, default_value = "ops/compare")]
    compare_dir: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    scale: Scale,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        self.scale.check()?;
        ensure!((1..=100).contains(&self.rounds), "--rounds: 1 to 100");
        ensure!(self.common.node.is_empty(), "--node: compare starts every server itself, afresh for each round");
        ensure!(self.common.protocol == Protocol::Native, "--protocol: compare speaks native with our server");
        ensure!(!self.common.deflate, "--deflate: compare has compression off in all servers");
        let dir = &self.compare_dir;
        ensure!(
            dir.join("ejabberd.sh").is_file(),
            "--compare-dir: {} isn't the ops/compare of the repository; run this at its top, or name it",
            dir.display()
        );
        Ok(())
    }

    fn workloads(&self, setup: Setup) -> Vec<Workload> {
        // In the order in which they are played.
        const ALL: [Workload; 7] = {
            use Workload::{A1, A2, A3, B1, B2, C, D};
            [A1, A3, A2, B1, B2, C, D]
        };
        let wanted = |workload: &Workload| self.only.is_empty() || self.only.contains(workload);
        ALL.into_iter().filter(|workload| workload.setup() == setup).filter(wanted).collect()
    }
}

/// What the report keeps beside the options.
#[derive(serde::Serialize)]
struct Settings<'a> {
    #[serde(flatten)]
    options: &'a Options,
    /// Versions of the other servers that play.
    versions: BTreeMap<&'static str, String>,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    options.check()?;
    let programs = Programs {
        chinwag: options.common.server.clone(),
        arguments: options.common.server_args.clone(),
        compare: options.compare_dir.canonicalize()?,
    };
    let versions = versions(&options, &programs)?;
    let rivals: Vec<Kind> = versions.iter().map(|(kind, _)| *kind).collect();
    let versions = versions.into_iter().map(|(kind, version)| (kind.name(), version)).collect();
    let settings = Settings { options: &options, versions };
    let mut table = Table::default();
    let play = async |stage: &Stage| play(stage, &options, programs, &rivals, &mut table).await;
    let played = conduct_apart("compare", &options.common, &settings, play).await;
    if !table.is_empty() {
        let range = if options.rounds > 1 { " (range)" } else { "" };
        let text = format!("\nMedian{range} of each server alone:\n{}", table.text());
        // A reader that has gone is no reason to fail.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    played
}

/// Returns the other servers that play, with their versions, after saying which don't and why.
fn versions(options: &Options, programs: &Programs) -> anyhow::Result<Vec<(Kind, String)>> {
    let mut found = Vec::new();
    let wanted = if options.with.is_empty() { &Kind::RIVALS[..] } else { &options.with };
    for &kind in wanted {
        match programs.version(kind) {
            Ok(version) => {
                println!("with {} {version}", kind.name());
                found.push((kind, version));
            }
            Err(error) if options.with.is_empty() => println!("without {}: {error:#}", kind.name()),
            Err(error) => bail!("--with {}: {error:#}", kind.name()),
        }
    }
    Ok(found)
}

async fn play(
    stage: &Stage,
    options: &Options,
    programs: Programs,
    rivals: &[Kind],
    table: &mut Table,
) -> anyhow::Result<()> {
    stage.check_sockets(options.scale.connections.max(options.scale.connects))?;
    let contest = Contest::prepare(options, programs).await?;
    let mut random = SmallRng::seed_from_u64(stage.run.seed);
    let (mut failures, mut visits) = (Vec::new(), 0);
    let setups: Vec<Setup> = Setup::ALL.into_iter().filter(|&setup| !options.workloads(setup).is_empty()).collect();
    let mut kinds = [&[Kind::Limit, Kind::Ours], rivals].concat();
    stage.aim((options.rounds * setups.len() * kinds.len()) as u64, "visits");
    for round in 1..=options.rounds {
        for &setup in &setups {
            kinds.shuffle(&mut random);
            for &kind in &kinds {
                match contest.visit(stage, kind, setup, round).await {
                    Ok(samples) => samples.into_iter().for_each(|sample| {
                        stage.say(told(round, options.rounds, kind, &sample));
                        table.add(kind, sample);
                    }),
                    Err(error) => {
                        let failure = format!("{} in round {round}: {error:#}", kind.name());
                        stage.say(&failure);
                        stage.run.meter.error(format!("{} failed", kind.name()));
                        failures.push(failure);
                    }
                }
                visits += 1;
                stage.progress(visits);
            }
        }
    }
    table.figures().into_iter().for_each(|figure| stage.figure(figure));
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    Ok(())
}

fn told(round: usize, rounds: usize, kind: Kind, sample: &Sample) -> String {
    let ((what, unit), workload, name) = (sample.workload.cost(), sample.workload.name(), kind.name());
    let (cost, took) = (sample.cost, sample.took.as_secs_f64());
    format!("round {round} of {rounds}: {workload} {name:9} {cost:8.2} {unit} {what}, in {took:.1} s")
}

/// What all visits share.
struct Contest {
    options: Options,
    programs: Programs,
    /// Of our server, over all its starts: its users register once.
    data: tempfile::TempDir,
    /// Users with an account and a token of our server.
    users: Vec<Login>,
}

impl Contest {
    /// Registers the users of our server.
    async fn prepare(options: &Options, programs: Programs) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let wanted = |setup: Setup, count| if options.workloads(setup).is_empty() { 0 } else { count };
        let scale = &options.scale;
        let count = wanted(Setup::Pairs, scale.pairs * 2)
            .max(wanted(Setup::Connects, scale.connects.div_ceil(SOCKETS_PER_USER)));
        let names: Vec<String> = (0..count.max(1)).map(|n| format!("user-{n}")).collect();
        let server = start(Kind::Ours, &programs, data.path()).await?;
        let users = tokio::task::spawn_blocking(move || {
            let ours = server.ours().context("another server than ours")?;
            let tokens = ours.tokens(&names)?;
            anyhow::Ok(names.into_iter().zip(tokens).map(|(name, token)| Login { name, token: Some(token) }).collect())
        });
        Ok(Self { options: options.clone(), programs, data, users: users.await.context("registering")?? })
    }

    /// Starts a server, plays the workloads of a set-up, and ends it.
    async fn visit(&self, stage: &Stage, kind: Kind, setup: Setup, round: usize) -> anyhow::Result<Vec<Sample>> {
        let scale = &self.options.scale;
        let workloads = self.options.workloads(setup);
        if kind == Kind::Limit {
            return self.visit_limit(stage, setup, &workloads).await;
        }
        let server = start(kind, &self.programs, self.data.path()).await?;
        let run = Run::new(stage.run.seed, Protocol::Native, false, server.nodes());
        match setup {
            Setup::Room => {
                let mut link = server.connect(&run, 0, &self.users[0]).await?;
                let place = link.make_room(&format!("compare-{round}")).await.context("the room")?;
                let listeners = gather(&server, &run, &guests("listener", scale.receivers), async |mut link| {
                    link.join(&place).await?;
                    Ok(Reader::new(link, &run))
                })
                .await?;
                let poster = Writer { link, to: To::Place(place) };
                room::play(&run, poster, listeners, &workloads, scale, || server.cpu_s()).await
            }
            Setup::Pairs => {
                let links = gather(&server, &run, &self.users[..scale.pairs * 2], async |link| Ok(link)).await?;
                let mut links = links.into_iter();
                let mut pairs = Vec::new();
                while let (Some(writer), Some(reader)) = (links.next(), links.next()) {
                    let to = To::User(self.users[pairs.len() * 2 + 1].name.clone());
                    pairs.push(pair(pairs.len() as u32, Writer { link: writer, to }, Reader::new(reader, &run)));
                }
                pairs::play(&run, pairs, &workloads, scale, || server.cpu_s()).await
            }
            Setup::Idle => Ok(vec![crowd::idle(&server, &run, scale.connections).await?]),
            Setup::Connects => {
                // Accounts of ours take their time, so that several sockets are one user's; the others know none.
                let logins = match kind {
                    Kind::Ours => self.users.iter().cycle().take(scale.connects).cloned().collect(),
                    _ => guests("user", scale.connects),
                };
                Ok(vec![crowd::connects(&server, &run, &logins).await?])
            }
        }
    }

    /// The bare server: it has no memory to speak of, and no connects that could be compared.
    async fn visit_limit(&self, stage: &Stage, setup: Setup, workloads: &[Workload]) -> anyhow::Result<Vec<Sample>> {
        let (run, scale) = (&stage.run, &self.options.scale);
        match setup {
            Setup::Room => {
                let (limit, fan) = Limit::fan(Frames::fan(Protocol::Native, CONTENT_BYTES), scale.receivers).await?;
                room::play(run, fan.each, fan.readers, workloads, scale, || limit.cpu_s()).await
            }
            Setup::Pairs => {
                let (limit, lines) = Limit::pairs(Frames::direct(Protocol::Native, CONTENT_BYTES), scale.pairs).await?;
                let pairs = (0..).zip(lines).map(|(n, (poster, listener))| pair(n, poster, listener)).collect();
                pairs::play(run, pairs, workloads, scale, || limit.cpu_s()).await
            }
            Setup::Idle | Setup::Connects => Ok(Vec::new()),
        }
    }
}

fn pair<P, L>(sender: u32, poster: P, listener: L) -> Pair<P, L> {
    Pair { poster, listener, sender, posted: 0 }
}

/// Starts a server on a thread of its own: that waits.
async fn start(kind: Kind, programs: &Programs, data: &std::path::Path) -> anyhow::Result<Arc<Running>> {
    let (programs, data) = (programs.clone(), data.to_owned());
    let starting = tokio::task::spawn_blocking(move || Running::start(kind, &programs, &data));
    Ok(Arc::new(starting.await.context("starting a server")??))
}
