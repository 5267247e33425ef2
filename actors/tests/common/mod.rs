//! A whole node on one thread, with the embedded backends in a throw-away directory, and clients that talk to it through sessions: text
//! frames in, the frames of the outbox out. What is missing is only the socket.
//!
//! Time is real, unless a test makes its world with [`World::simulated`]: the stores work on threads of their own, which a paused clock
//! would overtake.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, VecDeque},
    future::{Future, poll_fn},
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chinwag_actors::{
    backends::embedded::{
        Database, DatabaseOptions, EmbeddedAccounts, EmbeddedBus, EmbeddedDirectory, EmbeddedMessages, Work,
    },
    cluster::{ClusterSettings, keyring::Keyring},
    directory::DirectoryMessage,
    engine::{EngineSettings, Node, OpenSession, Parts, StartError},
    ports::{account_store::AccountStore, bus::Bus, directory::Directory},
    protection::{Protection, ProtectionSettings},
    relay::Sockets,
    runtime::{
        Placement,
        clock::{Clock, SystemClock},
    },
    session::{
        SessionMessage,
        authenticator::{Authenticator, Identity, TokenId},
        outbox::{Outbox, OutboxStats},
    },
};
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::{Incarnation, NodeId, UserId},
    model::User,
    wire::{Dialect, Encoding},
};
use serde_json::{Value, json};

/// How long a client waits for a frame that must come, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test on a system of its own.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    actix_rt::System::new().block_on(test());
}

/// A node of its own, gone at the end of the test.
pub struct Engine {
    pub node: Arc<Node>,
    accounts: Arc<Accounts>,
    stats: Rc<OutboxStats>,
    sockets: Rc<Sockets>,
    /// For faults of the store.
    pub database: Arc<Database>,
    _dir: Arc<tempfile::TempDir>,
}

/// What the nodes of a cluster share. All live on the test's thread.
pub struct World {
    accounts: Arc<Accounts>,
    pub database: Arc<Database>,
    dir: Arc<tempfile::TempDir>,
    pub directory: Arc<EmbeddedDirectory>,
    pub bus: Arc<EmbeddedBus>,
}

/// How a node sees time and the others.
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub directory: Arc<dyn Directory>,
    pub bus: Arc<dyn Bus>,
}

impl World {
    /// Makes the stores of a cluster without nodes.
    pub fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap(), Work::Threads, EmbeddedDirectory::new())
    }

    /// The same for a paused clock: stores that answer at once, and a directory on tokio's time.
    pub fn simulated() -> Self {
        // Nothing that is tested here depends on what a disk does.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let start = tokio::time::Instant::now();
        Self::with(dir.unwrap(), Work::Caller, EmbeddedDirectory::with_clock(move || start.elapsed()))
    }

    fn with(dir: tempfile::TempDir, work: Work, directory: EmbeddedDirectory) -> Self {
        let database = Database::open(dir.path(), &DatabaseOptions { readers: 1, work }).unwrap();
        let (directory, bus) = (Arc::new(directory), Arc::new(EmbeddedBus::new()));
        Self { accounts: Arc::default(), database, dir: Arc::new(dir), directory, bus }
    }

    /// Starts a node of the cluster; `incarnation` tells its lives apart.
    pub async fn node(&self, node: u16, incarnation: u64) -> Engine {
        self.run(self.clustered(node, incarnation)).await.unwrap()
    }

    /// Starts a node of the cluster with its accounts in another store.
    pub async fn node_on(&self, node: u16, incarnation: u64, accounts: Arc<dyn AccountStore>) -> Engine {
        self.run(Parts { accounts, ..self.clustered(node, incarnation) }).await.unwrap()
    }

    /// Returns real time, and the others as they are.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings { clock: Arc::new(SystemClock), directory: self.directory.clone(), bus: self.bus.clone() }
    }

    /// Starts a node of the cluster that sees time and the others in this way.
    pub async fn node_in(
        &self,
        node: u16,
        incarnation: u64,
        Surroundings { clock, directory, bus }: Surroundings,
        settings: EngineSettings,
    ) -> Result<Engine, StartError> {
        self.run(Parts { clock, directory, bus, settings, ..self.clustered(node, incarnation) }).await
    }

    fn clustered(&self, node: u16, incarnation: u64) -> Parts {
        let keys = Keyring::parse(b"a key that all nodes of the tests share").unwrap();
        Parts { cluster: Some(ClusterSettings { keys }), ..self.parts(node, incarnation) }
    }

    /// Returns the parts of a lone node without rates and spam rules.
    fn parts(&self, node: u16, incarnation: u64) -> Parts {
        Parts {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            clock: Arc::new(SystemClock),
            placement: Placement::Here { workers: 1 },
            accounts: Arc::new(EmbeddedAccounts::new(self.database.clone())),
            messages: Arc::new(EmbeddedMessages::new(self.database.clone())),
            directory: self.directory.clone(),
            bus: self.bus.clone(),
            cluster: None,
            protection: Protection::new(ProtectionSettings { enabled: false, ..Default::default() }),
            settings: settings(),
        }
    }

    async fn run(&self, parts: Parts) -> Result<Engine, StartError> {
        let node = Node::start(parts).await?;
        let accounts = self.accounts.clone();
        node.set_authenticator(accounts.clone());
        let (sockets, database, dir) = (node.local_sockets(), self.database.clone(), self.dir.clone());
        Ok(Engine { node, accounts, stats: Rc::default(), sockets, database, _dir: dir })
    }
}

/// Who may log in: every account with its token `token-NAME` and its password `password-NAME`.
#[derive(Default)]
struct Accounts(Mutex<HashMap<String, Identity>>, Mutex<HashSet<UserId>>);

impl Accounts {
    fn proven(&self, kind: &str, secret: &str) -> Result<Identity, ClientError> {
        let name = secret.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
        let known = self.0.lock().unwrap();
        let identity = name.and_then(|name| known.get(name)).cloned();
        identity.ok_or_else(|| ClientError::new(ErrorCode::Unauthorized, "refused"))
    }
}

#[async_trait]
impl Authenticator for Accounts {
    fn verify(&self, token: &str) -> Result<Identity, ClientError> {
        self.proven("token", token)
    }

    fn still_valid(&self, user: UserId, _token: &TokenId) -> bool {
        !self.1.lock().unwrap().contains(&user)
    }

    fn redeem(&self, ticket: &str) -> Result<Identity, ClientError> {
        self.proven("ticket", ticket)
    }

    async fn login(&self, name: &str, password: &str, _address: &str) -> Result<Identity, ClientError> {
        let identity = self.proven("password", password)?;
        if *identity.name == *name { Ok(identity) } else { Err(ClientError::new(ErrorCode::Unauthorized, "refused")) }
    }
}

impl Engine {
    /// Starts a node without rates and spam rules, so that tests may be quick.
    pub async fn start() -> Self {
        Self::start_with(settings(), ProtectionSettings { enabled: false, ..Default::default() }).await
    }

    /// Starts a node.
    pub async fn start_with(settings: EngineSettings, protection: ProtectionSettings) -> Self {
        let world = World::new();
        world.run(Parts { protection: Protection::new(protection), settings, ..world.parts(1, 1) }).await.unwrap()
    }

    /// Makes an account.
    pub async fn account(&self, name: &str) -> Identity {
        let now_ms = self.node.runtime.unix_ms();
        let id = self.node.ids.user(now_ms).unwrap();
        let user = User {
            id,
            name: name.into(),
            display_name: None,
            created_at_ms: now_ms,
            last_seen_ms: None,
            banned: false,
        };
        let made = self.node.accounts.call("create_user", move |s| async move { s.create_user(&user, "hash").await });
        made.await.unwrap();
        let (name, guest) = (name.into(), false);
        let identity = Identity { user: id, name, display_name: None, guest, token_id: None, expires_at_ms: None };
        self.accounts.0.lock().unwrap().insert(identity.name.to_string(), identity.clone());
        identity
    }

    /// Revokes what was issued to a user, without telling any socket.
    pub fn revoke(&self, identity: &Identity) {
        self.accounts.1.lock().unwrap().insert(identity.user);
    }

    /// Opens a socket; `identity` is what the upgrade knows.
    pub fn open(&self, dialect: Dialect, identity: Option<&Identity>) -> Client {
        let encoding = Encoding { dialect, compressed: false };
        let outbox = Rc::new(Outbox::new(encoding, self.stats.clone()));
        let session = self.node.open_session(dialect, outbox.clone(), "127.0.0.1".into(), identity.cloned());
        Client {
            outbox,
            session,
            sockets: self.sockets.clone(),
            frames: RefCell::default(),
            buffer: RefCell::default(),
        }
    }

    /// Opens a rooms socket and logs a guest (or, with a token, an account) in.
    pub async fn rooms(&self, name: &str) -> Client {
        let client = self.open(Dialect::Rooms, None);
        client.expect("system").await;
        let token = self.accounts.0.lock().unwrap().contains_key(name).then(|| format!("token-{name}"));
        client.send(&json!({"type": "auth", "username": name, "token": token}));
        client.expect("auth_success").await;
        client
    }

    /// Opens a messenger chat socket of an account.
    pub fn messenger(&self, identity: &Identity) -> Client {
        self.open(Dialect::Messenger, Some(identity))
    }

    /// Waits until the directory has handled all that it was told, and presence what that led to.
    pub async fn settle(&self) {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.node.directory.tell(DirectoryMessage::WhoIsHere { users: vec![UserId(1)], reply }).unwrap();
        answer.await.unwrap();
        self.node.presence.observe().await.unwrap();
    }
}

impl Engine {
    /// Waits until presence calls a user offline.
    pub async fn goes_offline(&self, identity: &Identity) {
        self.settle().await;
        self.eventually("offline", async || {
            !self.node.ask_presence(vec![identity.user]).unwrap().await.unwrap()[0].online
        })
        .await;
    }

    /// Waits until so many users are watched.
    pub async fn watches(&self, users: usize) {
        self.eventually("watched", async || self.node.presence.observe().await.unwrap()["watched_users"] == users)
            .await;
    }

    /// Waits until this holds.
    pub async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let until = std::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(std::time::Instant::now() < until, "never {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Settings with short waits.
pub fn settings() -> EngineSettings {
    EngineSettings {
        presence_grace: Duration::from_millis(50),
        idle_before_sleep: Duration::from_secs(60),
        ..EngineSettings::default()
    }
}

/// One socket as its client sees it.
pub struct Client {
    outbox: Rc<Outbox>,
    pub session: OpenSession,
    sockets: Rc<Sockets>,
    frames: RefCell<VecDeque<Value>>,
    buffer: RefCell<Vec<u8>>,
}

impl Client {
    /// Sends a frame.
    pub fn send(&self, frame: &Value) {
        self.send_text(&frame.to_string());
    }

    /// Sends any text.
    pub fn send_text(&self, text: &str) {
        self.session.gate.told();
        self.session.session.tell(SessionMessage::Inbound(text.to_owned())).unwrap();
    }

    /// Waits for the next frame. A close is shown as `{"close": code}`.
    pub async fn next(&self) -> Value {
        loop {
            if let Some(frame) = self.frames.borrow_mut().pop_front() {
                return frame;
            }
            let more = poll_fn(|cx| self.outbox.poll_ready(cx));
            if tokio::time::timeout(PATIENCE, more).await.is_err() {
                panic!("no frame came within {PATIENCE:?}");
            }
            self.take_written();
        }
    }

    /// Waits for the next frame, which must be of this type.
    pub async fn expect(&self, kind: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// Waits for the next frame, which must be exactly this (its `timestamp` aside).
    pub async fn expect_frame(&self, expected: Value) {
        let mut frame = self.next().await;
        if let Value::Object(fields) = &mut frame
            && expected.get("timestamp").is_none()
        {
            fields.remove("timestamp");
        }
        assert_eq!(frame, expected);
    }

    /// Sends a frame and waits for the next one.
    pub async fn ask(&self, frame: Value) -> Value {
        self.send(&frame);
        self.next().await
    }

    /// Returns all frames that have come so far, without waiting.
    pub fn come(&self) -> Vec<Value> {
        self.take_written();
        self.frames.borrow_mut().drain(..).collect()
    }

    /// Pings as the server's heartbeat does, and answers as a client does: what came before has arrived.
    pub fn ping_and_pong(&self) {
        self.sockets.ping_goes_out(self.session.slot);
        self.session.session.tell(SessionMessage::Delivered).unwrap();
    }

    /// The client closes with a close frame.
    pub fn close_cleanly(&self) {
        self.session.session.tell(SessionMessage::ClosedCleanly).unwrap();
        self.vanish();
    }

    /// The socket is gone, without a word.
    pub fn vanish(&self) {
        self.session.session.tell_always(SessionMessage::Closed).unwrap();
    }

    fn take_written(&self) {
        let mut written: Vec<Bytes> = Vec::new();
        self.outbox.take(&mut written, usize::MAX, usize::MAX);
        let mut buffer = self.buffer.borrow_mut();
        written.iter().for_each(|bytes| buffer.extend_from_slice(bytes));
        let mut frames = self.frames.borrow_mut();
        while let Some((frame, len)) = parse(&buffer) {
            buffer.drain(..len);
            frames.push_back(frame);
        }
    }
}

/// Reads one unmasked, uncompressed server frame; `None` if it isn't complete.
fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
    let (opcode, length) = (*bytes.first()? & 0xF, *bytes.get(1)?);
    let (header, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap()),
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(header..header + length)?;
    let value = match opcode {
        0x1 => serde_json::from_slice(payload).unwrap(),
        0x8 => json!({"close": u16::from_be_bytes(payload[..2].try_into().unwrap())}),
        other => panic!("unexpected opcode {other}"),
    };
    Some((value, header + length))
}
