//! What surrounds every scenario: servers, users, progress, sampling, checking, the report and the exit status.
//!
//! [`conduct`] is the frame, and knows nothing of what is played; a scenario gets a [`Stage`] and knows nothing of what becomes of what it
//! measures.

mod bounds;
mod conduct;
mod outcome;
mod servers;
mod summary;
mod users;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;

use bounds::LOOK_EVERY;
pub use bounds::Signals;
pub use conduct::{conduct, conduct_apart};
pub use users::log_in;

use crate::{
    peer::Login,
    report::model::{Figure, Phase},
    rest,
    run::{Run, progress::Progress, sampler::Recorder},
};
use servers::Servers;

/// Where a scenario plays.
pub struct Stage {
    pub run: Arc<Run>,
    servers: Arc<Servers>,
    recorder: Arc<Recorder>,
    progress: Arc<Progress>,
    figures: Mutex<Vec<Figure>>,
}

impl Stage {
    /// Registers (if need be) and logs in so many users, named `PREFIX-0` and on, at most 8 at once. Their passwords are hashed by the
    /// server, twice each: about 50 users a second.
    ///
    /// # Errors
    /// When a dialect would refuse such names, or the server refuses a registration or a login.
    pub async fn users(&self, prefix: &str, count: usize) -> anyhow::Result<Vec<Login>> {
        users::users(self, prefix, count).await
    }

    /// Names so many guests (they exist once they connect).
    pub fn guests(&self, prefix: &str, count: usize) -> Vec<Login> {
        (0..count).map(|n| Login { name: format!("{prefix}-{n}"), token: None }).collect()
    }

    /// Returns CPU time of all measured servers so far, seconds; an error says why there is none.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        Ok(self.recorder.cpu()?.as_secs_f64())
    }

    /// Returns resident memory of all measured servers, bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.recorder.resident_bytes()
    }

    /// Returns the data directory of the server, if it was started here.
    pub fn data(&self) -> Option<&Path> {
        self.servers.data()
    }

    /// Fails if so many sockets can't be open at once, by the limit of open files.
    pub fn check_sockets(&self, wanted: usize) -> anyhow::Result<()> {
        bounds::check_sockets(wanted as u64, self.data().is_some())
    }

    /// Adds a headline result.
    pub fn figure(&self, figure: Figure) {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).push(figure);
    }

    fn take_figures(&self) -> Vec<Figure> {
        std::mem::take(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the phase before, if there is one, and returns it; begins one with this name: everything measured from here on is its own.
    pub fn phase(&self, name: &str) -> Option<Phase> {
        self.recorder.phase(name)
    }

    /// Says something above the progress bar.
    pub fn say(&self, line: impl AsRef<str>) {
        self.progress.say(line.as_ref());
    }

    /// Sets what the progress bar measures: how much there is to do (seconds, sockets, messages), and the word for it.
    pub fn aim(&self, total: u64, of: &'static str) {
        self.progress.aim(total, of);
    }

    /// Says how much of it is done.
    pub fn progress(&self, done: u64) {
        self.progress.done(done);
    }

    /// Fails if a server doesn't answer its health check with 200 within 5 s.
    pub async fn health(&self) -> anyhow::Result<()> {
        for node in &self.run.nodes {
            let http = node.http.clone();
            tokio::task::spawn_blocking(move || rest::health(&http)).await.context("a health check panicked")??;
        }
        Ok(())
    }
}
