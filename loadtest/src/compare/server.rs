//! Starting and stopping the servers that are compared; each runs alone, afresh, on loopback.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::{Kind, link::Link};
use crate::{peer::Login, run::Run, run::process::Process, server::Server, target::Node};

/// How long another server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Sockets of one user, at most: a connect workload has fewer users than connects.
pub const SOCKETS_PER_USER: usize = 50;

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Our server; `None`: the chinwag beside this program.
    pub chinwag: Option<PathBuf>,
    /// More arguments for it.
    pub arguments: Vec<String>,
    /// Directory of the relays and of `ejabberd.sh`.
    pub compare: PathBuf,
}

impl Programs {
    /// Returns the version of another server.
    ///
    /// # Errors
    /// When it isn't installed: how to install it.
    pub fn version(&self, kind: Kind) -> anyhow::Result<String> {
        match kind {
            Kind::Limit | Kind::Ours => Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Kind::Ws => self.version_of_package("ws"),
            Kind::SocketIo => self.version_of_package("socket.io"),
            Kind::Ejabberd => output(Command::new(self.compare.join("ejabberd.sh")).arg("--installed")),
        }
    }

    fn version_of_package(&self, package: &str) -> anyhow::Result<String> {
        let node = output(Command::new("node").arg("--version"))
            .context("node isn't installed; as root: apt-get install --no-install-recommends nodejs npm")?;
        let path = self.compare.join("node_modules").join(package).join("package.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{package} isn't installed: npm --prefix {} ci", self.compare.display()))?;
        let json: serde_json::Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(format!("{} on node {}", json["version"].as_str().unwrap_or("?"), node.trim_start_matches('v')))
    }
}

/// Runs a command and returns what it prints, or what it complains of.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("can't run {name}"))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A running server; it ends with this.
pub struct Running {
    kind: Kind,
    /// Of the WebSocket, `host:port`.
    address: String,
    process: Process,
    /// If it is ours.
    ours: Option<Server>,
    /// If it is another's.
    _theirs: Option<Theirs>,
}

impl Running {
    /// Starts a server. Ours keeps its data in `directory`, so that its users needn't register again. Blocking.
    pub fn start(kind: Kind, programs: &Programs, directory: &Path) -> anyhow::Result<Self> {
        let theirs = match kind {
            Kind::Limit => bail!("the bare server is started with its clients"),
            Kind::Ours => return Self::start_ours(programs, directory),
            Kind::Ws => Theirs::relay(&programs.compare.join("ws-relay.mjs"))?,
            Kind::SocketIo => Theirs::relay(&programs.compare.join("socketio-relay.mjs"))?,
            Kind::Ejabberd => Theirs::ejabberd(&programs.compare.join("ejabberd.sh"))?,
        };
        let process = Process::watch(theirs.process.id())?;
        Ok(Self { kind, address: theirs.address.clone(), process, ours: None, _theirs: Some(theirs) })
    }

    fn start_ours(programs: &Programs, directory: &Path) -> anyhow::Result<Self> {
        let mut arguments = vec!["--unlimited", "--guests", "on"];
        arguments.extend(programs.arguments.iter().map(String::as_str));
        let server = Server::start_program(programs.chinwag.as_deref(), directory, &arguments)?;
        let process = Process::watch(server.node.pid.context("the server doesn't tell its process id")?)?;
        Ok(Self { kind: Kind::Ours, address: server.http.clone(), process, ours: Some(server), _theirs: None })
    }

    /// Returns our server; `None` if it is another's.
    pub fn ours(&self) -> Option<&Server> {
        self.ours.as_ref()
    }

    /// Returns the nodes of a run against it: none, if it is another's.
    pub fn nodes(&self) -> Vec<Node> {
        self.ours().map(|server| server.node.clone()).into_iter().collect()
    }

    /// Connects a user.
    pub async fn connect(&self, run: &std::sync::Arc<Run>, index: usize, login: &Login) -> anyhow::Result<Link> {
        match self.kind.dialect() {
            Some(dialect) => Link::theirs(&self.address, dialect, &login.name).await,
            None => Link::ours(run, index, login).await,
        }
        .with_context(|| format!("{}: {} can't connect", self.kind.name(), login.name))
    }

    /// Returns CPU time used so far, seconds.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        Ok(self.process.cpu().with_context(|| self.kind.name())?.as_secs_f64())
    }

    /// Returns resident memory, bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.process.resident_bytes().with_context(|| self.kind.name())
    }
}

/// Another's process. It ends with its standard input.
struct Theirs {
    process: Child,
    /// Of its WebSocket, `127.0.0.1:PORT`.
    address: String,
    /// Of ejabberd: configuration, database, log.
    _directory: Option<tempfile::TempDir>,
}

impl Theirs {
    fn spawn(command: &mut Command, directory: Option<tempfile::TempDir>) -> anyhow::Result<Self> {
        // Ctrl-C at a terminal goes to the whole group: it is for this program, which then ends the server itself.
        let process = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let name = command.get_program().to_string_lossy();
        let process = process.with_context(|| format!("can't start {name}"))?;
        Ok(Self { process, address: String::new(), _directory: directory })
    }

    /// Starts a relay, which tells its port.
    fn relay(script: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("node");
        let mut relay = Self::spawn(command.arg(script).env("NODE_ENV", "production"), None)?;
        let stdout = relay.process.stdout.take().context("no pipe")?;
        let mut port = String::new();
        BufReader::new(stdout).read_line(&mut port)?;
        let port: u16 = port.trim().parse().with_context(|| format!("{} ended at once", script.display()))?;
        relay.address = format!("127.0.0.1:{port}");
        Ok(relay)
    }

    /// Starts ejabberd, which is told a port, and waits until it listens.
    fn ejabberd(script: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(script);
        // What it says goes to its log, and is read only if it fails.
        let log = std::fs::File::create(directory.path().join("output"))?;
        command.arg(directory.path()).arg(port.to_string()).stderr(log);
        let path = directory.path().join("output");
        let mut server = Self::spawn(&mut command, Some(directory))?;
        server.address = format!("127.0.0.1:{port}");
        let begun = Instant::now();
        while !answers(&server.address) {
            let said = || std::fs::read_to_string(&path).unwrap_or_default();
            if let Some(status) = server.process.try_wait()? {
                bail!("ejabberd ended at once ({status}): {}", said().trim());
            }
            ensure!(begun.elapsed() < START_TIMEOUT, "ejabberd didn't start in {START_TIMEOUT:?}: {}", said().trim());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

/// Says whether a server answers HTTP: ejabberd listens before it does.
fn answers(address: &str) -> bool {
    let ask = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        stream.read(&mut [0])
    };
    matches!(ask(), Ok(1))
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let begun = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if begun.elapsed() > END_TIMEOUT {
                // Nothing of it is needed any more.
                let _ = self.process.kill();
                let _ = self.process.wait();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
