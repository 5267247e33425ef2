//! Who watches: friends who hear of comings and goings, held against what really happened.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    peer::{Heard, Login, Peer},
    run::{Run, meter::Timer},
    scenario::{crowd, stage::Stage},
};

/// What happened, by user: the moments of comings (even) and goings (odd), oldest first.
#[derive(Debug)]
pub struct Program {
    users: HashMap<String, usize>,
    moments: Vec<Mutex<Vec<Instant>>>,
    grace: Duration,
    announced: AtomicU64,
}

/// Why an announcement is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    NobodysFriend,
    NotInTurn,
    BeforeItHappened,
}

impl Wrong {
    fn text(self) -> &'static str {
        match self {
            Self::NobodysFriend => "an announcement of somebody unknown",
            Self::NotInTurn => "an announcement that had been made, or another than the next",
            Self::BeforeItHappened => "an announcement of what hadn't happened",
        }
    }
}

impl Program {
    /// Makes an empty one for these users.
    pub fn new(users: impl Iterator<Item = String>, grace: Duration) -> Self {
        let users: HashMap<_, _> = users.zip(0..).collect();
        let moments = users.iter().map(|_| Mutex::default()).collect();
        Self { users, moments, grace, announced: AtomicU64::new(0) }
    }

    /// Notes that a user begins to come or go, and when that was due.
    pub fn note(&self, user: usize, online: bool, at: Instant) {
        let mut moments = self.moments[user].lock().unwrap_or_else(PoisonError::into_inner);
        debug_assert_eq!(moments.len().is_multiple_of(2), online, "comings and goings take turns");
        moments.push(at);
    }

    /// Returns how many announcements were right.
    pub fn announced(&self) -> u64 {
        self.announced.load(Relaxed)
    }

    /// Checks what a friend was told, `heard` being how many announcements it had of each user; returns its delay.
    fn check(
        &self,
        heard: &mut HashMap<usize, usize>,
        name: &str,
        online: bool,
        now: Instant,
    ) -> Result<Duration, Wrong> {
        let user = *self.users.get(name).ok_or(Wrong::NobodysFriend)?;
        let next = heard.entry(user).or_default();
        if next.is_multiple_of(2) != online {
            return Err(Wrong::NotInTurn);
        }
        let moments = self.moments[user].lock().unwrap_or_else(PoisonError::into_inner);
        let at = *moments.get(*next).ok_or(Wrong::BeforeItHappened)?;
        *next += 1;
        let due = if online { at } else { at + self.grace };
        self.announced.fetch_add(1, Relaxed);
        Ok(now.saturating_duration_since(due))
    }
}

/// The friends, connected.
pub struct Audience {
    tasks: JoinSet<anyhow::Result<u64>>,
    end: watch::Sender<bool>,
}

impl Audience {
    /// Connects the friends, as peers of the run from `first` on.
    pub async fn gather(
        stage: &Stage,
        first: usize,
        friends: Vec<Login>,
        program: &Arc<Program>,
    ) -> anyhow::Result<Self> {
        let connect = |run: Arc<Run>, index, login: Login| async move { Peer::watch(&run, index, &login).await };
        let peers = crowd::gather(stage, first, friends, crowd::AT_ONCE, connect).await?;
        let (end, ended) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for peer in peers {
            tasks.spawn(watch(stage.run.clone(), peer, program.clone(), ended.clone()));
        }
        Ok(Self { tasks, end })
    }

    /// Ends watching; returns how many announcements were wrong.
    pub async fn leave(mut self) -> anyhow::Result<u64> {
        let _ = self.end.send(true);
        let mut wrong = 0;
        while let Some(ended) = self.tasks.join_next().await {
            wrong += ended.context("a friend's task ended")?.context("a friend's socket ended")?;
        }
        Ok(wrong)
    }
}

/// Listens until told to end; returns how many announcements were wrong.
async fn watch(
    run: Arc<Run>,
    mut peer: Peer,
    program: Arc<Program>,
    mut end: watch::Receiver<bool>,
) -> anyhow::Result<u64> {
    let (mut heard, mut wrong) = (HashMap::new(), 0);
    loop {
        let next = tokio::select! {
            next = peer.next() => next?,
            _ = end.changed() => break,
        };
        let Heard::Presence { name, online } = next else { continue };
        match program.check(&mut heard, &name, online, Instant::now()) {
            Ok(delay) => run.meter.time(Timer::Presence, delay),
            Err(why) => {
                wrong += 1;
                run.meter.error(why.text());
            }
        }
    }
    peer.close().await;
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn announcements_are_timed_from_what_happened_and_goings_after_the_grace_period() {
        let program = Program::new(["ann".to_owned(), "bob".to_owned()].into_iter(), GRACE);
        let (begun, mut heard) = (Instant::now(), HashMap::new());
        program.note(0, true, begun);
        program.note(0, false, begun + second(10));
        assert_eq!(program.check(&mut heard, "ann", true, begun + second(1)), Ok(second(1)));
        assert_eq!(program.check(&mut heard, "ann", false, begun + second(17)), Ok(second(2)));
        assert_eq!(program.announced(), 2);
    }

    #[test]
    fn what_is_said_twice_too_early_or_of_strangers_is_wrong() {
        let program = Program::new(["ann".to_owned(), "bob".to_owned()].into_iter(), GRACE);
        let (now, mut heard) = (Instant::now(), HashMap::new());
        program.note(0, true, now);
        assert_eq!(program.check(&mut heard, "eve", true, now), Err(Wrong::NobodysFriend));
        assert_eq!(program.check(&mut heard, "bob", true, now), Err(Wrong::BeforeItHappened));
        assert_eq!(program.check(&mut heard, "ann", false, now), Err(Wrong::NotInTurn));
        assert!(program.check(&mut heard, "ann", true, now).is_ok());
        assert_eq!(program.check(&mut heard, "ann", true, now), Err(Wrong::NotInTurn));
        assert_eq!(program.check(&mut heard, "ann", false, now), Err(Wrong::BeforeItHappened));
        assert_eq!(program.announced(), 1);
    }
}
