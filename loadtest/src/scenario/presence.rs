//! `presence`: users come and go while friends watch; how soon these hear of it, what that costs, and that nothing wrong is announced.
//!
//! First the users come and go and nobody watches, then the same with friends connected: the ratio is what announcing costs.

mod audience;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tokio::task::JoinSet;

use self::audience::{Audience, Program};
use super::{
    chats, crowd,
    stage::{Stage, conduct},
};
use crate::{
    peer::{Login, Peer, Protocol},
    report::model::Figure,
    run::Run,
    target::Common,
};

/// A user stays, and then stays away, for so long beyond the server's grace period at least: so that each is announced before the next.
const MARGIN: Duration = Duration::from_secs(1);
/// How long the server may take to note who watches whom.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Users who come and go (1 to 5,000)
    #[arg(long, default_value_t = 100)]
    users: usize,
    /// Friends who watch, connected all the time (1 to 5,000)
    #[arg(long, default_value_t = 50)]
    friends: usize,
    /// Friends of each user (1 to 400, at most --friends); each has a chat with the user
    #[arg(long, default_value_t = 10)]
    each: usize,
    /// Comings and goings per second (0.1 to 2,000)
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Seconds without friends, and as many with friends (1 to 3,600)
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Grace period before a going is announced, milliseconds (0 to 60,000): a server that is started here is set to it; of a running one say
    /// what it has (5,000 unless it was told otherwise)
    #[arg(long, default_value_t = 0)]
    grace_ms: u64,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=5000).contains(&self.users), "--users: 1 to 5,000");
        ensure!((1..=5000).contains(&self.friends), "--friends: 1 to 5,000");
        ensure!((1..=self.friends.min(400)).contains(&self.each), "--each: 1 to 400, at most --friends");
        ensure!((0.1..=2000.0).contains(&self.rate), "--rate: 0.1 to 2,000 per second");
        ensure!((1..=3600).contains(&self.seconds), "--seconds: 1 to 3,600");
        ensure!(self.grace_ms <= 60_000, "--grace-ms: 0 to 60,000");
        ensure!(self.common.protocol != Protocol::Rooms, "--protocol: presence needs native or messenger");
        let most = self.users as f64 / (self.grace() + MARGIN).as_secs_f64();
        ensure!(
            self.rate <= most,
            "--rate: at most {most:.1} per second for {} users, each of whom stays and stays away for the grace period and a second",
            self.users
        );
        self.common.lasts(2 * self.seconds)
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    options.check()?;
    let grace = format!("{}ms", options.grace_ms);
    let server = ["--presence-grace", &grace];
    conduct("presence", &options.common, &options, &server, async |stage| play(stage, &options).await).await
}

async fn play(stage: &Stage, options: &Options) -> anyhow::Result<()> {
    stage.cpu_s().context("presence measures the server's CPU")?;
    stage.check_sockets(options.users + options.friends + crowd::AT_ONCE)?;
    stage.phase("opening chats");
    let users = stage.users("comer", options.users).await?;
    let friends = stage.users("friend", options.friends).await?;
    let chats = users.iter().enumerate().flat_map(|(number, user)| {
        let friends = &friends;
        friends_of(number, options.each, friends.len()).map(move |friend| (user, friends[friend].name.as_str()))
    });
    chats::open(stage, chats).await?;
    // Those who opened the chats have gone before anybody watches.
    ensure!(stage.run.sleep(options.grace() + SETTLE).await, "stopped while opening chats");

    let program = Arc::new(Program::new(users.iter().map(|user| user.name.clone()), options.grace()));
    stage.aim(2 * options.seconds, "s");
    stage.phase("nobody watches");
    let (alone_s, moves) = come_and_go(stage, &users, None, options).await?;
    stage.phase("friends connect");
    ensure!(stage.run.sleep(options.grace() + SETTLE).await, "stopped before the friends came");
    let audience = Audience::gather(stage, options.users, friends, &program).await?;
    ensure!(stage.run.sleep(SETTLE).await, "stopped when the friends had come");
    stage.progress(options.seconds);
    stage.phase("friends watch");
    let (watched_s, watched_moves) = come_and_go(stage, &users, Some(&program), options).await?;
    let wanted = watched_moves * options.each as u64;
    let begun = Instant::now();
    while program.announced() < wanted && begun.elapsed() < options.grace() + Duration::from_secs(10) {
        ensure!(stage.run.sleep(Duration::from_millis(20)).await, "stopped before all was announced");
    }
    // What is said too much comes after.
    ensure!(stage.run.sleep(SETTLE).await, "stopped before all was announced");
    let phase = stage.phase("leaving");
    let wrong = audience.leave().await?;
    let missing = wanted.saturating_sub(program.announced());
    for _ in 0..missing {
        stage.run.meter.error("an announcement didn't come");
    }

    let watched_us = watched_s * 1e6 / watched_moves as f64;
    let watched = Figure::new("CPU per coming or going", "us", watched_us);
    stage.figure(watched.beside("nobody watching", alone_s * 1e6 / moves as f64));
    stage.figure(Figure::new("CPU per announcement, connecting included", "us", watched_us / options.each as f64));
    if let Some(presence) = phase.as_ref().and_then(|phase| phase.delays.get("presence")) {
        stage.figure(Figure::new("announcements p99", "ms", presence.p99));
    }
    stage.figure(Figure::new("announcements", "", program.announced() as f64));
    stage.figure(Figure::new("announcements wrong or missing", "", (wrong + missing) as f64).at_most(0.0));
    ensure!(wrong + missing == 0, "{wrong} announcements were wrong and {missing} didn't come");
    Ok(())
}

/// Names the friends of a user, by number.
fn friends_of(user: usize, each: usize, friends: usize) -> impl Iterator<Item = usize> {
    (0..each).map(move |n| (user * each + n) % friends)
}

/// Lets the users come and go for a time; returns the CPU seconds of the servers, and how many comings and goings there were.
async fn come_and_go(
    stage: &Stage,
    users: &[Login],
    program: Option<&Arc<Program>>,
    options: &Options,
) -> anyhow::Result<(f64, u64)> {
    let (begun, cpu) = (Instant::now() + Duration::from_millis(50), stage.cpu_s()?);
    // A user comes and goes once in a turn, half a turn apart.
    let turn = Duration::from_secs_f64(2.0 * users.len() as f64 / options.rate);
    let mut tasks = JoinSet::new();
    for (index, login) in users.iter().enumerate() {
        let life = Life {
            run: stage.run.clone(),
            program: program.cloned(),
            index,
            login: login.clone(),
            first: begun + turn.mul_f64(index as f64 / users.len() as f64),
            turn,
            until: begun + Duration::from_secs(options.seconds),
        };
        tasks.spawn(life.live());
    }
    let mut moves = 0;
    while let Some(ended) = tasks.join_next().await {
        moves += ended.context("a user's task ended")??;
    }
    ensure!(!stage.run.is_stopping(), "stopped while users came and went");
    // The last goings are announced, too.
    ensure!(stage.run.sleep(options.grace() + SETTLE).await, "stopped while users came and went");
    ensure!(moves > 0, "nobody came within --seconds: make them or --rate larger");
    Ok((stage.cpu_s()? - cpu, moves))
}

/// A user who comes and goes.
struct Life {
    run: Arc<Run>,
    /// What friends are to hear; `None`: nobody watches.
    program: Option<Arc<Program>>,
    index: usize,
    login: Login,
    first: Instant,
    turn: Duration,
    until: Instant,
}

impl Life {
    /// Comes and goes until the time is over; returns how often.
    async fn live(self) -> anyhow::Result<u64> {
        let Self { run, program, index, login, first, turn, until } = self;
        // At the moment at which it was due: who is late by the server's slowness doesn't hide that.
        let note = |online, due| {
            if let Some(program) = &program {
                program.note(index, online, due);
            }
        };
        let (mut moves, mut due) = (0, first);
        while due < until && run.sleep(due.saturating_duration_since(Instant::now())).await {
            note(true, due);
            let mut peer =
                Peer::connect(&run, index, &login).await.with_context(|| format!("{} can't come", login.name))?;
            moves += 1;
            let goes = due + turn / 2;
            // Reads what comes, so that the server doesn't hold it for slow; ends at the latest when the run does.
            while !run.is_stopping() {
                match tokio::time::timeout_at(goes.into(), peer.next()).await {
                    Ok(heard) => drop(heard.with_context(|| format!("{} was cut", login.name))?),
                    Err(_) => break,
                }
            }
            note(false, goes);
            peer.close().await;
            moves += 1;
            due += turn;
        }
        Ok(moves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_as_many_different_friends_as_were_asked_for() {
        for (each, friends) in [(1, 1), (10, 50), (7, 10), (10, 10)] {
            for user in 0..200 {
                let different: std::collections::HashSet<_> = friends_of(user, each, friends).collect();
                assert!(
                    different.len() == each && different.iter().all(|friend| *friend < friends),
                    "{user}: {different:?}"
                );
            }
        }
    }
}
