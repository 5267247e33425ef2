//! What ends a run before its end, and how many sockets it may have.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::servers::Servers;

/// How often it is looked whether the server still lives.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Open files that sockets leave to the rest of this program.
const FILES_KEPT: u64 = 100;

/// Open files that sockets leave to the rest of the server, which keeps 128 for itself.
const SERVER_FILES_KEPT: u64 = 200;

/// Ctrl-C and its like.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under `nohup`, which has it ignored.
    hangup: Option<Signal>,
}

impl Signals {
    /// Begins to watch; from now on a signal doesn't end the program by itself.
    pub fn watch() -> anyhow::Result<Self> {
        let watch = |kind| signal(kind).context("signals can't be watched");
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = (!ignores_hangup(&status)).then(|| watch(SignalKind::hangup())).transpose()?;
        Ok(Self { interrupt: watch(SignalKind::interrupt())?, terminate: watch(SignalKind::terminate())?, hangup })
    }

    /// Waits for the next signal; returns what happened.
    pub async fn next(&mut self) -> &'static str {
        let Self { interrupt, terminate, hangup } = self;
        let hangup = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => "it was interrupted (Ctrl-C)",
            _ = terminate.recv() => "it was told to end (SIGTERM)",
            _ = hangup => "its terminal was closed (SIGHUP)",
        }
    }
}

/// Reads from `/proc/self/status` whether SIGHUP, the lowest bit of the mask, is ignored.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Waits until a server dies; returns the sentence that says so.
pub async fn death(servers: &Servers) -> String {
    loop {
        if let Some(death) = servers.death() {
            return death;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Raises this program's soft limit of open files to the hard one; a server that is started here inherits it.
pub fn raise_open_files() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("the limit of open files can't be raised")
}

/// Fails if so many sockets can't be open at once, here or at a server that is started here.
pub fn check_sockets(wanted: u64, starts_server: bool) -> anyhow::Result<()> {
    check_sockets_with(getrlimit(Resource::Nofile).current, wanted, starts_server)
}

fn check_sockets_with(limit: Option<u64>, wanted: u64, starts_server: bool) -> anyhow::Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let allowed = limit.saturating_sub(if starts_server { SERVER_FILES_KEPT } else { FILES_KEPT });
    ensure!(
        wanted <= allowed,
        "{wanted} sockets are more than the {allowed} that the limit of open files ({limit}) leaves: raise its hard limit (ulimit -Hn), or \
         ask for fewer"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_nohup_had_ignored_stays_ignored() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }

    #[test]
    fn more_sockets_than_files_are_refused_with_the_number_that_would_do() {
        assert!(check_sockets_with(Some(20_000), 19_800, true).is_ok());
        let error = check_sockets_with(Some(20_000), 19_801, true).unwrap_err().to_string();
        assert!(error.contains("19800") && error.contains("20000"), "{error}");
        assert!(check_sockets_with(Some(20_000), 19_801, false).is_ok());
        assert!(check_sockets_with(None, u64::MAX, true).is_ok());
        assert!(check_sockets_with(Some(50), 1, false).is_err());
    }
}
