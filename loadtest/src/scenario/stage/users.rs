//! Users of a run: registered and logged in over REST. Nothing of them is kept but in memory.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::Stage;
use crate::{
    peer::Login,
    rest,
    run::{Run, meter::Timer},
    server::LOGINS_AT_ONCE,
};

/// Beyond so many users it is said how long they take.
const SAY_BEYOND: usize = 500;

/// Users that the server makes and logs in per second, about: two passwords hashed each.
const PER_SECOND: usize = 50;

/// Length of names that every dialect takes.
const NAME_CHARS: RangeInclusive<usize> = 3..=30;

/// Logs a user in at its node, as the `index`th peer of the run; notes [`Timer::Login`]. An error is not counted here.
pub async fn log_in(run: &Arc<Run>, index: usize, name: &str) -> anyhow::Result<Login> {
    let (http, asked) = (run.node(index).http.clone(), name.to_owned());
    let begun = Instant::now();
    let token =
        tokio::task::spawn_blocking(move || rest::log_in(&http, &asked)).await.context("a login panicked")??;
    run.meter.time(Timer::Login, begun.elapsed());
    Ok(Login { name: name.to_owned(), token: Some(token) })
}

/// Returns the names `PREFIX-0` and on.
///
/// # Errors
/// When a dialect would refuse them.
pub fn names(prefix: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let name = |n: usize| format!("{prefix}-{n}");
    let letters = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let fits = |name: String| NAME_CHARS.contains(&name.len()) && letters(&name);
    ensure!(
        fits(name(0)) && fits(name(count.saturating_sub(1))),
        "names like {}: 3 to 30 letters, digits, - and _ are allowed",
        name(count.saturating_sub(1))
    );
    Ok((0..count).map(name).collect())
}

/// Users that several workers make together.
struct Making {
    run: Arc<Run>,
    names: Vec<String>,
    next: AtomicUsize,
    made: AtomicUsize,
}

pub(super) async fn users(stage: &Stage, prefix: &str, count: usize) -> anyhow::Result<Vec<Login>> {
    let (next, made) = Default::default();
    let making = Arc::new(Making { run: stage.run.clone(), names: names(prefix, count)?, next, made });
    if count > SAY_BEYOND {
        let seconds = count / PER_SECOND;
        stage.say(format!("making {count} users takes about {seconds} s: their passwords are hashed, twice each"));
    }
    stage.aim(count as u64, "users");
    let mut workers = JoinSet::new();
    for _ in 0..LOGINS_AT_ONCE.min(count) {
        workers.spawn(work(making.clone()));
    }
    let mut logins: Vec<Option<Login>> = vec![None; count];
    let mut look = tokio::time::interval(super::LOOK_EVERY);
    loop {
        tokio::select! {
            worker = workers.join_next() => {
                let Some(worker) = worker else { break };
                for (index, login) in worker.context("a login panicked")?? {
                    logins[index] = Some(login);
                }
            }
            _ = look.tick() => stage.progress(making.made.load(Relaxed) as u64),
        }
    }
    stage.progress(count as u64);
    logins.into_iter().collect::<Option<_>>().context("some users weren't logged in")
}

/// Makes users until none is left; returns those it made.
async fn work(making: Arc<Making>) -> anyhow::Result<Vec<(usize, Login)>> {
    let mut logins = Vec::new();
    loop {
        let index = making.next.fetch_add(1, Relaxed);
        let Some(name) = making.names.get(index) else { return Ok(logins) };
        let (http, asked) = (making.run.node(index).http.clone(), name.clone());
        tokio::task::spawn_blocking(move || rest::register(&http, &asked))
            .await
            .context("a registration panicked")??;
        logins.push((index, log_in(&making.run, index, name).await?));
        making.made.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_suit_every_dialect() {
        assert_eq!(names("abc", 2).unwrap(), ["abc-0", "abc-1"]);
        assert!(names("a", 1).is_ok());
        for (prefix, count) in [("a b", 1), ("", 1), ("ä", 1), (&"a".repeat(29), 1), (&"a".repeat(27), 101)] {
            assert!(names(prefix, count).is_err(), "{prefix}");
        }
        assert!(names(&"a".repeat(27), 100).is_ok());
    }
}
