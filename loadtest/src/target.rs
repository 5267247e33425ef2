//! Which servers a run drives, over which protocol, and what every scenario takes on the command line.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{peer::Protocol, report::threshold::Threshold};

/// Addresses of one running server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// REST and native sockets, `host:port`.
    pub http: String,
    /// Root path speaks the rooms dialect (often the same as `http`).
    pub rooms: String,
    pub messenger: String,
    pub presence: String,
    /// Metrics; `None`: not scraped.
    pub ops: Option<String>,
    /// Process id on this machine; `None`: its CPU and memory aren't measured.
    pub pid: Option<u32>,
}

/// What every scenario takes.
#[derive(Args, Debug, Clone)]
pub struct Common {
    /// The server program to start [default: the chinwag beside this program]
    #[arg(long, env = "CHINWAG_BIN", conflicts_with = "node")]
    pub server: Option<PathBuf>,
    /// One more argument for the server that is started (again and again)
    #[arg(long = "server-arg", allow_hyphen_values = true, conflicts_with = "node")]
    pub server_args: Vec<String>,
    /// A running server instead (again for each node of a cluster): the path of its ports.json, or
    /// http=HOST:PORT[,messenger=…][,presence=…][,ops=…][,pid=N]
    #[arg(long)]
    pub node: Vec<String>,
    /// Allows servers beyond loopback: load tests look like attacks
    #[arg(long)]
    pub i_own_this_server: bool,
    /// Wire protocol of the peers
    #[arg(long, value_enum, default_value_t = Protocol::Native)]
    pub protocol: Protocol,
    /// Offers permessage-deflate
    #[arg(long)]
    pub deflate: bool,
    /// Seed of all randomness [default: by chance, in the report]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Ends the run after this many seconds, whatever happens (at most 172,800)
    #[arg(long, default_value_t = 3600)]
    pub max_seconds: u64,
    /// Writes the result as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Writes the report as one HTML file
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// Fails if this holds, e.g. 'p99>50ms', 'handshake.p95>=20ms', 'errors>0', 'cpu>1.5us' (again and again)
    #[arg(long = "fail-if")]
    pub fail_if: Vec<Threshold>,
    /// No progress, only the result
    #[arg(long, short)]
    pub quiet: bool,
}

impl Common {
    /// Returns the bound of the whole run.
    pub fn max_time(&self) -> Duration {
        Duration::from_secs(self.max_seconds)
    }
}
