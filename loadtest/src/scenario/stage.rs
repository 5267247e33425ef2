//! What surrounds every scenario: servers, users, progress, sampling, checking, the report and the exit status.

use std::sync::Arc;

use serde::Serialize;

use crate::{peer::Login, report::model::Figure, run::Run, target::Common};

/// Where a scenario plays.
pub struct Stage {
    pub run: Arc<Run>,
}

impl Stage {
    /// Registers (if need be) and logs in so many users, named `PREFIX-0` and on. Their passwords are hashed by the server: about 100 a second.
    pub async fn users(&self, prefix: &str, count: usize) -> anyhow::Result<Vec<Login>> {
        todo!()
    }

    /// Names so many guests (they exist once they connect).
    pub fn guests(&self, prefix: &str, count: usize) -> Vec<Login> {
        todo!()
    }

    /// Returns CPU time of all measured servers so far, seconds; an error says why there is none.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        todo!()
    }

    /// Returns resident memory of all measured servers, bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        todo!()
    }

    /// Adds a headline result.
    pub fn figure(&self, figure: Figure) {
        todo!()
    }

    /// Ends the phase before and begins one with this name; everything measured from here on is its own.
    pub fn phase(&self, name: &str) {
        todo!()
    }

    /// Says something above the progress bar.
    pub fn say(&self, line: impl AsRef<str>) {
        todo!()
    }

    /// Sets what the progress bar measures: how much there is to do (seconds, sockets, messages), and the word for it.
    pub fn aim(&self, total: u64, of: &'static str) {
        todo!()
    }

    /// Says how much of it is done.
    pub fn progress(&self, done: u64) {
        todo!()
    }

    /// Fails if a server doesn't answer its health check with 200 within 5 s.
    pub async fn health(&self) -> anyhow::Result<()> {
        todo!()
    }
}

/// Starts or finds the servers, plays the scenario within its bounds (time, Ctrl-C, a server that dies), settles and checks the ledger,
/// writes the report (partial if it ended early) and holds it to the thresholds.
///
/// `server_args` are for a server that is started here, beside `--unlimited --guests on`.
pub async fn conduct(
    scenario: &'static str,
    common: &Common,
    settings: &impl Serialize,
    server_args: &[&str],
    play: impl AsyncFnOnce(&Stage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    todo!()
}
