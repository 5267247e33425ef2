//! A server process of one's own, and clients whose events are kept.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chinwag_client::{
    Account, Client, Config, ConversationId, Event, Login, Trust,
    wire::{LoggedEvent, LoggedKind},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

pub const PASSWORD: &str = "correct horse";
/// Whatever is awaited comes within this time, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
pub struct Server {
    process: Child,
    directory: TempDir,
    http: String,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (process, http) = start(directory.path(), "127.0.0.1:0", arguments);
        Self { process, directory, http }
    }

    /// Returns the port of its listener.
    pub fn port(&self) -> &str {
        self.http.rsplit_once(':').unwrap().1
    }

    pub fn url(&self) -> chinwag_client::Server {
        format!("http://{}", self.http).parse().unwrap()
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends SIGTERM, after which it drains, and waits for its end.
    pub async fn stop(&mut self) {
        let done = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(done.success());
        eventually("the server's end", || self.process.try_wait().unwrap().is_some()).await;
    }

    /// Starts it again on the same data and address.
    pub fn start_again(&mut self) {
        (self.process, _) = start(self.directory.path(), &self.http, &[]);
    }

    /// Logs a user in, who is registered if need be.
    pub async fn account(&self, name: &str) -> Account {
        let trust = Trust::new(None).unwrap();
        let _ = Account::register(&self.url(), &trust, name, PASSWORD).await;
        Account::login(&self.url(), &trust, name, PASSWORD).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(directory: &Path, http: &str, arguments: &[&str]) -> (Child, String) {
    let ports = directory.join("ports.json");
    let _ = std::fs::remove_file(&ports);
    let log = File::options().create(true).append(true).open(directory.join("stderr")).unwrap();
    let mut command = Command::new(program());
    command.env_clear().current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.arg("--data").arg(directory).args(["serve", "--unlimited", "--http", http, "--messenger", "off"]);
    command.args(["--presence", "off", "--ops", "off", "--presence-grace", "1s"]).args(arguments);
    let mut process = command.spawn().unwrap();
    let begun = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(&ports) {
            let ports: serde_json::Value = serde_json::from_str(&text).unwrap();
            return (process, ports["http"][0].as_str().unwrap().to_owned());
        }
        let log = || std::fs::read_to_string(directory.join("stderr")).unwrap_or_default();
        assert!(process.try_wait().unwrap().is_none(), "the server ended at once: {}", log());
        assert!(begun.elapsed() < PATIENCE, "the server doesn't start: {}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The server: what `CHINWAG_BIN` names, or the one of the same build.
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("CHINWAG_BIN") {
        return program.into();
    }
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(|deps| deps.parent()).unwrap().join("chinwag");
    assert!(program.is_file(), "there is no {}: cargo build -p chinwag", program.display());
    program
}

/// A client, and what it has heard.
pub struct Chat {
    pub client: Client,
    heard: Arc<Mutex<Vec<(LoggedEvent, bool)>>>,
}

impl Chat {
    pub fn new(client: Client, mut events: mpsc::Receiver<Event>) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::Logged { event, own } = event {
                    kept.lock().unwrap().push((event, own));
                }
            }
        });
        Self { client, heard }
    }

    pub async fn of(server: &Server, name: &str) -> Self {
        let login = Login::Account(server.account(name).await);
        let (client, events) = Client::connect(Config::new(server.url(), Trust::new(None).unwrap(), login));
        client.online().await.unwrap();
        Self::new(client, events)
    }

    pub fn heard(&self) -> Vec<LoggedEvent> {
        self.heard.lock().unwrap().iter().map(|(event, _)| event.clone()).collect()
    }

    /// Waits for a message of somebody else.
    pub async fn hears(&self, content: &str) -> LoggedEvent {
        self.waits_for(content, false).await
    }

    pub async fn hears_own(&self, content: &str) -> LoggedEvent {
        self.waits_for(content, true).await
    }

    async fn waits_for(&self, content: &str, own: bool) -> LoggedEvent {
        let find = || {
            let heard = self.heard.lock().unwrap();
            let found = heard.iter().find(|(event, of)| event.content.as_deref() == Some(content) && *of == own);
            found.map(|(event, _)| event.clone())
        };
        eventually(content, || find().is_some()).await;
        find().unwrap()
    }
}

/// Returns the messages of a window.
pub fn texts(client: &Client, conversation: ConversationId) -> Vec<String> {
    client.view(|model| {
        let entries = model.conversation(conversation).into_iter().flat_map(|one| &one.entries);
        let messages = entries.filter(|entry| entry.event == LoggedKind::Message);
        messages.map(|entry| entry.content.as_deref().unwrap_or_default().to_owned()).collect()
    })
}

/// Waits until something holds of which nothing tells.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
