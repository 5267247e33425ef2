//! Which servers a run drives, over which protocol, and what every scenario takes on the command line.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::{peer::Protocol, report::threshold::Threshold};

/// Longest run, seconds (two days).
const SECONDS_MAX: u64 = 172_800;

/// Most nodes.
const NODES_MAX: usize = 64;

/// Addresses of one running server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// REST and native sockets, `host:port`.
    pub http: String,
    /// Root path speaks the rooms dialect (often the same as `http`).
    pub rooms: String,
    /// Empty: it has none.
    pub messenger: String,
    /// Empty: it has none.
    pub presence: String,
    /// Metrics; `None`: not scraped.
    pub ops: Option<String>,
    /// Process id on this machine; `None`: its CPU and memory aren't measured.
    pub pid: Option<u32>,
}

impl Node {
    /// Reads what `--node` says: a file (or a data directory with one), or addresses.
    fn of_argument(text: &str) -> anyhow::Result<Self> {
        if text.contains('=') {
            return Self::of_addresses(text);
        }
        let mut path = PathBuf::from(text);
        if path.is_dir() {
            path.push("ports.json");
        }
        let ports = std::fs::read_to_string(&path)
            .with_context(|| format!("can't read {}, and it isn't http=HOST:PORT either", path.display()))?;
        Self::of_ports(&ports).with_context(|| path.display().to_string())
    }

    fn of_addresses(text: &str) -> anyhow::Result<Self> {
        let mut node = Self::default();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').with_context(|| format!("'{part}' isn't NAME=VALUE"))?;
            let address = || -> anyhow::Result<String> {
                let port = value.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
                let port = port.and_then(|port| port.parse::<u16>().ok()).filter(|&port| port > 0);
                port.map(|_| value.to_owned()).with_context(|| format!("{name}={value}: not HOST:PORT"))
            };
            let twice = match name {
                "http" => !std::mem::replace(&mut node.http, address()?).is_empty(),
                "rooms" => !std::mem::replace(&mut node.rooms, address()?).is_empty(),
                "messenger" => !std::mem::replace(&mut node.messenger, address()?).is_empty(),
                "presence" => !std::mem::replace(&mut node.presence, address()?).is_empty(),
                "ops" => node.ops.replace(address()?).is_some(),
                "pid" => {
                    let pid = value.parse().ok().filter(|&pid: &u32| pid > 0);
                    node.pid.replace(pid.with_context(|| format!("pid={value}: not a process id"))?).is_some()
                }
                _ => bail!("'{name}' is none of http, rooms, messenger, presence, ops, pid"),
            };
            ensure!(!twice, "{name} is given twice");
        }
        ensure!(!node.http.is_empty(), "http=HOST:PORT is missing: users log in there");
        if node.rooms.is_empty() {
            node.rooms.clone_from(&node.http);
        }
        Ok(node)
    }

    /// Reads the `ports.json` of a server on this machine.
    pub fn of_ports(text: &str) -> anyhow::Result<Self> {
        let ports: Value = serde_json::from_str(text).context("isn't JSON")?;
        let first = |name: &str| ports[name][0].as_str().map(reachable);
        let http = first("http").context("names no http address: was the server started with --http off?")?;
        let pid = ports["pid"].as_u64().and_then(|pid| pid.try_into().ok());
        Ok(Self {
            rooms: http.clone(),
            http,
            messenger: first("messenger").unwrap_or_default(),
            presence: first("presence").unwrap_or_default(),
            ops: first("ops"),
            pid,
        })
    }

    fn addresses(&mut self) -> impl Iterator<Item = &mut String> {
        let sockets = [&mut self.http, &mut self.rooms, &mut self.messenger, &mut self.presence];
        sockets.into_iter().chain(self.ops.as_mut()).filter(|address| !address.is_empty())
    }

    /// Replaces each address by the loopback address it stands for, so that what was checked is what is connected to.
    fn pin_to_loopback<R>(&mut self, resolve: impl Fn(&str) -> io::Result<R>) -> anyhow::Result<()>
    where
        R: IntoIterator<Item = SocketAddr>,
    {
        for address in self.addresses() {
            let resolved: Vec<SocketAddr> =
                resolve(address).with_context(|| format!("{address} can't be resolved"))?.into_iter().collect();
            let first = *resolved.first().with_context(|| format!("{address} stands for no address"))?;
            if let Some(beyond) = resolved.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
                let also = if beyond.to_string() == *address { String::new() } else { format!(" ({})", beyond.ip()) };
                bail!(
                    "{address}{also} isn't on loopback: load tests look like attacks; add --i-own-this-server if you do"
                );
            }
            *address = first.to_string();
        }
        Ok(())
    }

    /// Fails if peers of this protocol couldn't connect.
    fn serves(&self, protocol: Protocol) -> anyhow::Result<()> {
        ensure!(
            protocol != Protocol::Messenger || !self.messenger.is_empty(),
            "--protocol messenger needs messenger=HOST:PORT, and the node at {} has none",
            self.http
        );
        Ok(())
    }
}

/// Returns an address of a listener as one to connect to: one on all interfaces is on loopback too.
fn reachable(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(v4)) if v4.ip().is_unspecified() => format!("{}:{}", Ipv4Addr::LOCALHOST, v4.port()),
        Ok(SocketAddr::V6(v6)) if v6.ip().is_unspecified() => format!("[{}]:{}", Ipv6Addr::LOCALHOST, v6.port()),
        _ => address.to_owned(),
    }
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
    /// Fails if a headline result misses its bar
    #[arg(long)]
    pub bars: bool,
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

    /// Fails if an option is out of its bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=SECONDS_MAX).contains(&self.max_seconds), "--max-seconds: 1 to 172,800");
        ensure!(self.node.len() <= NODES_MAX, "--node: at most {NODES_MAX}");
        for (option, path) in [("--json", &self.json), ("--html", &self.html)] {
            let Some(path) = path else { continue };
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            ensure!(directory.is_dir(), "{option}: there is no directory {}", directory.display());
        }
        Ok(())
    }

    /// Returns the running nodes of `--node`. Nothing is connected.
    ///
    /// # Errors
    /// When one can't be read, is beyond loopback without `--i-own-this-server`, or lacks what the protocol needs.
    pub fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let read = |text: &String| {
            let mut node = Node::of_argument(text).with_context(|| format!("--node {text}"))?;
            node.serves(self.protocol)?;
            if !self.i_own_this_server {
                node.pin_to_loopback(|address| address.to_socket_addrs()).with_context(|| format!("--node {text}"))?;
            }
            Ok(node)
        };
        self.node.iter().map(read).collect()
    }
}
