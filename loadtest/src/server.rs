//! A server process of our own, on loopback, with what it tells of itself.

use std::{
    fs::{File, OpenOptions},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{Target, rest, run::process::Process, target::Node};

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Logins at once: the server hashes no more passwords at once than it has processors, and others wait there.
pub const LOGINS_AT_ONCE: usize = 8;

/// Lines of the log that are shown when it died.
const LAST_LINES: usize = 10;

/// A running server.
pub struct Server {
    process: Mutex<Child>,
    watched: Process,
    data: PathBuf,
    /// All its addresses, and its process id.
    pub node: Node,
    /// Address of REST and sockets.
    pub http: String,
    /// Time from the start of the process until its addresses were written.
    pub started_in: Duration,
}

impl Server {
    /// Starts a server on free ports with `data`, and waits until it is ready.
    pub fn start(target: &Target, data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_program(target.server.as_deref(), data, arguments)
    }

    /// Starts `program` (default: the chinwag beside this program) on free ports with `data`, and waits until it is ready. What it logs goes
    /// to `server.log` there.
    pub fn start_program(program: Option<&Path>, data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe()?.with_file_name("chinwag"),
        };
        let ports = data.join("ports.json");
        // A file of an earlier process would be taken for this one's.
        let _ = std::fs::remove_file(&ports);
        let log = log(data)?;
        let begun = Instant::now();
        let mut command = Command::new(&program);
        // Settings of whoever runs this are not the server's.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CHINWAG_")) {
            command.env_remove(name);
        }
        let free = SocketAddr::from(([127, 0, 0, 1], 0)).to_string();
        let process = command
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(["--http", &free, "--messenger", &free, "--presence", &free, "--ops", &free])
            .args(["--log-level", "warn"])
            .args(arguments)
            // Ctrl-C at a terminal goes to the whole group: it is for this program, which then ends the server itself.
            .process_group(0)
            // Its own chinwag.toml would be read from here.
            .current_dir(data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| {
                format!("can't start {}: build it (cargo build -p chinwag), or name it by --server", program.display())
            })?;
        let mut starting = Starting(Some(process));
        let watched = Process::watch(starting.process().id())?;
        let node = loop {
            if let Ok(text) = std::fs::read_to_string(&ports) {
                break Node::of_ports(&text).context("the server's ports.json")?;
            }
            if let Some(status) = starting.process().try_wait()? {
                bail!("the server ended at once ({status}){}", last_words(data));
            }
            if begun.elapsed() > START_TIMEOUT {
                bail!("the server didn't start within {START_TIMEOUT:?}{}", last_words(data));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let process = starting.0.take().context("started twice")?;
        let http = node.http.clone();
        let started_in = begun.elapsed();
        Ok(Self { process: Mutex::new(process), watched, data: data.to_owned(), node, http, started_in })
    }

    /// Returns the data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns how it ended, with the last lines of its log; `None` while it runs.
    pub fn death(&self) -> Option<String> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match process.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("the server died ({status}){}", last_words(&self.data))),
            Err(error) => Some(format!("the server can't be watched: {error}")),
        }
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub fn kill(self) -> anyhow::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Returns resident memory, bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.watched.resident_bytes()
    }

    /// Returns CPU time used so far, user and system, seconds.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        Ok(self.watched.cpu()?.as_secs_f64())
    }

    /// Registers users (name by number) and logs them in; returns their tokens. Blocking: password hashing takes its time.
    pub fn tokens(&self, names: &[String]) -> anyhow::Result<Vec<String>> {
        let next = AtomicUsize::new(0);
        let tokens = Mutex::new(vec![String::new(); names.len()]);
        let work = || -> anyhow::Result<()> {
            while let Some((index, name)) = {
                let index = next.fetch_add(1, Relaxed);
                names.get(index).map(|name| (index, name))
            } {
                rest::register(&self.http, name)?;
                let token = rest::log_in(&self.http, name)?;
                tokens.lock().unwrap_or_else(PoisonError::into_inner)[index] = token;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..LOGINS_AT_ONCE).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
        })?;
        Ok(tokens.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(self.process.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A process that is ended unless it becomes a server.
struct Starting(Option<Child>);

impl Starting {
    fn process(&mut self) -> &mut Child {
        self.0.as_mut().expect("taken at the end only")
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            end(process);
        }
    }
}

fn end(process: &mut Child) {
    // Gone already after `kill`.
    let _ = process.kill();
    let _ = process.wait();
}

fn log_path(data: &Path) -> PathBuf {
    data.join("server.log")
}

fn log(data: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(data).with_context(|| format!("can't make {}", data.display()))?;
    let path = log_path(data);
    OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("can't write {}", path.display()))
}

/// Returns the last lines of the log, each indented.
fn last_words(data: &Path) -> String {
    let log = std::fs::read(log_path(data)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().rev().take(LAST_LINES).collect();
    if lines.is_empty() {
        return ", without a word in its log".to_owned();
    }
    lines.iter().rev().fold("; the last lines of its log:".to_owned(), |text, line| text + "\n    " + line)
}
