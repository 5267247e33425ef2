//! A server process of our own, on loopback, with what it tells of itself.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::Target;

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server.
pub struct Server {
    process: Child,
    data: PathBuf,
    /// Address of REST and sockets.
    pub http: String,
    /// Time from the start of the process until its addresses were written.
    pub started_in: Duration,
}

impl Server {
    /// Starts a server on free ports with `data`, and waits until it is ready.
    pub fn start(target: &Target, data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let program = match &target.server {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("chinwag"),
        };
        let ports = data.join("ports.json");
        // A file of an earlier process would be taken for this one's.
        let _ = std::fs::remove_file(&ports);
        let begun = Instant::now();
        let mut command = Command::new(&program);
        // Settings of whoever runs this are not the server's.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CHINWAG_")) {
            command.env_remove(name);
        }
        let mut process = command
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(["--http", "127.0.0.1:0", "--messenger", "off", "--presence", "off", "--ops", "off"])
            .args(["--log-level", "warn"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let http = loop {
            if let Ok(text) = std::fs::read_to_string(&ports) {
                let ports: Value = serde_json::from_str(&text)?;
                break ports["http"][0].as_str().context("ports.json names no address")?.to_owned();
            }
            if let Some(status) = process.try_wait()? {
                bail!("the server ended at once: {status}");
            }
            if begun.elapsed() > START_TIMEOUT {
                bail!("the server didn't start within {START_TIMEOUT:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Ok(Self { process, data: data.to_owned(), http, started_in: begun.elapsed() })
    }

    /// Returns the data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Returns resident memory, bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
        Ok(kib * 1024)
    }

    /// Returns CPU time used so far, user and system, seconds.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        Ok(crate::limit::cpu_us(self.process.id())? as f64 / 1e6)
    }

    /// Registers users (name by number) and logs them in; returns their tokens. Blocking: password hashing takes its time.
    pub fn tokens(&self, names: &[String]) -> anyhow::Result<Vec<String>> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let tokens = std::sync::Mutex::new(vec![String::new(); names.len()]);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| -> anyhow::Result<()> {
                        loop {
                            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            let Some(name) = names.get(index) else { return Ok(()) };
                            let token = self.token(name)?;
                            tokens.lock().map_err(|_| anyhow::anyhow!("a worker panicked"))?[index] = token;
                        }
                    })
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
        })?;
        tokens.into_inner().map_err(|_| anyhow::anyhow!("a worker panicked"))
    }

    fn token(&self, name: &str) -> anyhow::Result<String> {
        let body = json!({"username": name, "password": "correct horse"});
        // Registered in an earlier round: then the login works.
        let _ = ureq::post(format!("http://{}/api/auth/register", self.http)).send_json(&body);
        let mut answer = ureq::post(format!("http://{}/api/auth/login", self.http))
            .send_json(&body)
            .with_context(|| format!("login of {name} refused"))?;
        let answer: Value = answer.body_mut().read_json()?;
        Ok(answer["token"].as_str().context("login without a token")?.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already after `kill`.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
