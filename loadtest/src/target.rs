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

/// Most messages of a run: the checker keeps each, and reads them all from the histories.
const MESSAGES_MAX: f64 = 10e6;

/// Fails if a run would send more messages than can be checked.
pub fn check_messages(count: f64) -> anyhow::Result<()> {
    ensure!(
        count <= MESSAGES_MAX,
        "{count:.0} messages are more than the 10,000,000 that are kept to be checked: a shorter or slower run"
    );
    Ok(())
}

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
    /// A running server instead (again for each node of a cluster): the path of its ports.json, or `http=HOST:PORT` followed by what
    /// else is needed of `,messenger=HOST:PORT`, `,presence=…`, `,ops=…` and `,pid=N`
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
    /// Fails if this holds, e.g. 'p99>50ms', 'handshake.p95>=20ms', 'errors>0', 'rate<10000' (again and again)
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

    /// Fails if a scenario of so many seconds would be ended before its end; setting up and checking take their time, too.
    pub fn lasts(&self, seconds: u64) -> anyhow::Result<()> {
        ensure!(
            seconds < self.max_seconds,
            "--max-seconds: more than the {seconds} s that this lasts, and than setting up and checking take beside"
        );
        Ok(())
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
        let nodes = self.node.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
        for (index, node) in nodes.iter().enumerate() {
            // Its CPU, memory and metrics would count twice.
            ensure!(
                !nodes[..index].iter().any(|other| other.http == node.http),
                "--node: {} is named twice",
                node.http
            );
        }
        Ok(nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(_: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(vec!["127.0.0.1:3000".parse().unwrap()])
    }

    /// Pins a node with this http address; returns the address or the error.
    fn pinned(http: &str, resolve: impl Fn(&str) -> io::Result<Vec<SocketAddr>>) -> Result<String, String> {
        let mut node = Node { http: http.into(), rooms: http.into(), ..Node::default() };
        node.pin_to_loopback(resolve).map(|()| node.http).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn addresses_are_read_and_rooms_is_http_unless_said() {
        let node = Node::of_argument("http=localhost:3000,messenger=[::1]:4000,ops=127.0.0.1:9600,pid=77").unwrap();
        assert_eq!((&*node.http, &*node.rooms, &*node.messenger), ("localhost:3000", "localhost:3000", "[::1]:4000"));
        assert_eq!((node.presence.is_empty(), node.ops.as_deref(), node.pid), (true, Some("127.0.0.1:9600"), Some(77)));
        assert_eq!(Node::of_argument("http=a:1,rooms=b:2").unwrap().rooms, "b:2");
    }

    #[test]
    fn wrong_nodes_are_refused_with_what_is_wrong() {
        for (text, reason) in [
            ("http=localhost", "http=localhost: not HOST:PORT"),
            ("http=:3000", "not HOST:PORT"),
            ("http=localhost:0", "not HOST:PORT"),
            ("http=localhost:99999", "not HOST:PORT"),
            ("http=a:1,http=b:1", "http is given twice"),
            ("http=a:1,pid=0", "not a process id"),
            ("http=a:1,port=3", "'port' is none of"),
            ("http=a:1,", "'' isn't NAME=VALUE"),
            ("messenger=a:1", "http=HOST:PORT is missing"),
            ("/nowhere/ports.json", "can't read /nowhere/ports.json"),
        ] {
            let error = format!("{:#}", Node::of_argument(text).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_file_of_a_running_server_is_read_also_by_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let ports =
            r#"{"http":["0.0.0.0:3000","127.0.0.1:3001"],"messenger":["[::]:4000"],"presence":[],"ops":[],"pid":9}"#;
        std::fs::write(directory.path().join("ports.json"), ports).unwrap();
        let node = Node::of_argument(directory.path().to_str().unwrap()).unwrap();
        assert_eq!((&*node.http, &*node.messenger, &*node.presence), ("127.0.0.1:3000", "[::1]:4000", ""));
        assert_eq!((node.ops, node.pid), (None, Some(9)));
        let error = Node::of_ports(r#"{"http":[],"pid":9}"#).unwrap_err().to_string();
        assert!(error.contains("names no http address"), "{error}");
    }

    #[test]
    fn what_is_on_loopback_is_pinned_to_the_address_that_was_checked() {
        assert_eq!(pinned("localhost:3000", loopback), Ok("127.0.0.1:3000".into()));
        let real = |address: &str| Ok(address.to_socket_addrs()?.collect());
        assert_eq!(pinned("[::1]:3000", real), Ok("[::1]:3000".into()));
        assert_eq!(pinned("127.9.9.9:1", real), Ok("127.9.9.9:1".into()));
        assert_eq!(pinned("[::ffff:127.0.0.1]:1", real), Ok("[::ffff:127.0.0.1]:1".into()));
        let local = pinned("localhost:3000", real).unwrap();
        assert!(["127.0.0.1:3000", "[::1]:3000"].contains(&&*local), "{local}");
    }

    #[test]
    fn what_is_beyond_loopback_is_refused_however_it_is_written() {
        let real = |address: &str| Ok(address.to_socket_addrs()?.collect());
        for address in ["192.0.2.1:80", "0.0.0.0:80", "[2001:db8::1]:80", "[::]:80", "[::ffff:192.0.2.1]:80"] {
            let error = pinned(address, real).unwrap_err();
            assert!(error.contains("isn't on loopback") && error.contains("--i-own-this-server"), "{error}");
        }
        // One loopback address doesn't make a name local.
        let both = |_: &str| Ok(vec!["127.0.0.1:80".parse().unwrap(), "192.0.2.1:80".parse().unwrap()]);
        let error = pinned("sly.example:80", both).unwrap_err();
        assert!(error.starts_with("sly.example:80 (192.0.2.1) isn't on loopback"), "{error}");
        assert!(pinned("void.example:80", |_| Ok(Vec::new())).unwrap_err().contains("stands for no address"));
        let failing = |_: &str| Err(io::Error::other("no such name"));
        assert!(pinned("none.example:80", failing).unwrap_err().contains("can't be resolved"));
    }

    #[test]
    fn every_address_of_a_node_is_looked_at() {
        let mut node = Node::of_argument("http=127.0.0.1:1,ops=192.0.2.1:9600").unwrap();
        let refused = node.pin_to_loopback(|address| address.to_socket_addrs()).unwrap_err().to_string();
        assert!(refused.starts_with("192.0.2.1:9600 isn't"), "{refused}");
    }

    #[test]
    fn a_node_without_messenger_sockets_serves_the_other_protocols() {
        let node = Node::of_argument("http=127.0.0.1:1").unwrap();
        assert!(node.serves(Protocol::Native).is_ok() && node.serves(Protocol::Rooms).is_ok());
        assert!(node.serves(Protocol::Messenger).unwrap_err().to_string().contains("messenger=HOST:PORT"));
    }
}
