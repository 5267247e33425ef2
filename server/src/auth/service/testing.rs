//! Accounts on a throw-away SQLite store, for tests of this crate.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chinwag_actors::{
    backends::embedded::{Database, DatabaseOptions, EmbeddedAccounts},
    ports::account_store::AccountStore,
    runtime::Clock,
};
use chinwag_schema::{error::ClientError, ids::UserId};
use tokio::time::Instant;

use super::{Accounts, Revoked, RevokedReason, Session};
use crate::{
    auth::secret::Keys,
    config::{Config, settings::Flags},
    http::ClientAddr,
};

/// A clock that tests move; wall and monotonic time move together.
pub struct TestClock {
    start: Instant,
    passed_ms: AtomicI64,
}

impl TestClock {
    const START_MS: i64 = 1_800_000_000_000;

    pub fn advance(&self, time: Duration) {
        self.passed_ms.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.passed_ms.load(Ordering::SeqCst).unsigned_abs())
    }

    fn unix_ms(&self) -> i64 {
        Self::START_MS + self.passed_ms.load(Ordering::SeqCst)
    }
}

/// What was told to [`Revoked`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    User(UserId, RevokedReason),
    Token(String),
}

#[derive(Default)]
struct Listener(Mutex<Vec<Told>>);

impl Revoked for Listener {
    fn user_revoked(&self, user: UserId, reason: RevokedReason) {
        self.0.lock().unwrap().push(Told::User(user, reason));
    }

    fn token_revoked(&self, jti: &str) {
        self.0.lock().unwrap().push(Told::Token(jti.to_owned()));
    }
}

/// Accounts with all that tests look at.
pub struct Fixture {
    pub accounts: Arc<Accounts>,
    pub store: Arc<dyn AccountStore>,
    pub clock: Arc<TestClock>,
    pub config: Config,
    pub keys: Keys,
    listener: Arc<Listener>,
    _directory: tempfile::TempDir,
}

/// An address that isn't loopback: rates apply to it.
pub fn address(n: u8) -> ClientAddr {
    ClientAddr::direct(IpAddr::from([192, 0, 2, n]))
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Makes accounts with changed settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = crate::config::load(&Flags::default(), [], directory.path()).unwrap().config;
        change(&mut config);
        let database =
            Database::open(&directory.path().join("data"), &DatabaseOptions { readers: 1, ..Default::default() })
                .unwrap();
        let store: Arc<dyn AccountStore> = Arc::new(EmbeddedAccounts::new(database));
        let clock = Arc::new(TestClock { start: Instant::now(), passed_ms: AtomicI64::new(0) });
        let keys = Keys::random();
        let accounts = Arc::new(Self::accounts(&config, &keys, &store, &clock, 1).await);
        let listener = Arc::new(Listener::default());
        accounts.on_revoked(listener.clone());
        Self { accounts, store, clock, config, keys, listener, _directory: directory }
    }

    async fn accounts(
        config: &Config,
        keys: &Keys,
        store: &Arc<dyn AccountStore>,
        clock: &Arc<TestClock>,
        first_id: i64,
    ) -> Accounts {
        let ids = AtomicI64::new(first_id);
        let new_user_id = Box::new(move || Ok(UserId(ids.fetch_add(1, Ordering::SeqCst))));
        Accounts::start(config, keys, store.clone(), clock.clone(), new_user_id).await.unwrap()
    }

    /// Returns other accounts on the same store, as after a restart or on another node.
    pub async fn restarted(&self) -> Accounts {
        Self::accounts(&self.config, &self.keys, &self.store, &self.clock, 1_000_000).await
    }

    pub async fn register(&self, name: &str, password: &str) -> UserId {
        self.accounts.register(name, password, address(1)).await.unwrap().id
    }

    pub async fn login(&self, name: &str, password: &str) -> Result<Session, ClientError> {
        self.accounts.login(name, password, address(1)).await
    }

    /// Returns what was told since the last call.
    pub fn told(&self) -> Vec<Told> {
        std::mem::take(&mut self.listener.0.lock().unwrap())
    }

    pub async fn user_names(&self) -> Vec<String> {
        let users = self.store.list_users(UserId(0), 100).await.unwrap();
        users.iter().map(|user| user.name.to_string()).collect()
    }
}
