//! The load test of chinwag: drives real servers over real sockets, and checks what they acknowledged.
//!
//! [`scenario`] is what can be run, each on a stage that starts servers, logs users in, and writes the [`report`]. [`peer`] is one user's
//! connection over any of the three protocols, [`content`] the mark that each of its messages carries, [`run`] what the tasks of a run share
//! and measure, and [`checker`] the comparison of what was sent, acknowledged, heard and stored.

pub mod checker;
pub mod client;
pub mod compare;
pub mod content;
pub mod limit;
pub mod peer;
pub mod report;
pub mod rest;
pub mod run;
pub mod scenario;
pub mod server;
pub mod target;

use std::path::PathBuf;

/// Which server.
#[derive(clap::Args, Clone)]
pub struct Target {
    /// The server program [default: the chinwag beside this program]
    #[arg(long, env = "CHINWAG_BIN")]
    pub server: Option<PathBuf>,
}
