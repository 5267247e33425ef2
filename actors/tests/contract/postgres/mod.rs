//! Accounts on a real Postgres: the contract, and what only they promise.
//!
//! `TEST_POSTGRES_URL` names the server (`postgres://user:password@host:port/database`), with a role that may create databases and isn't
//! a superuser (nothing is forbidden to one). Each test gets a database of its own, which goes with it.

mod connections;
mod durability;
mod faults;
mod opening;
mod races;

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use chinwag_actors::backends::clustered::postgres::{PostgresAccounts, PostgresError, PostgresOptions};
use tokio::{runtime::Handle, sync::OnceCell};
use tokio_postgres::{Client, NoTls};

use crate::suite;

/// Where all connections live. Not on the test's own thread: a connection that is just being made there can't go on while the test
/// waits for its database to be dropped, and the server doesn't drop it before.
pub static HOME: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A database with nothing in it.
pub struct TestDatabase {
    pub url: String,
    pub name: String,
}

impl TestDatabase {
    pub async fn make() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("chinwag_test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        admin().await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        Self { url: url_of(&name), name }
    }

    /// A machine that tests many things at once is slow: its deadlines, where they aren't what is tested, are long.
    pub fn options(&self) -> PostgresOptions {
        PostgresOptions {
            connections_max: 8,
            connect_timeout: PATIENCE,
            acquire_timeout: PATIENCE,
            statement_timeout: PATIENCE,
            ..PostgresOptions::new(&self.url)
        }
    }

    pub async fn open(&self) -> PostgresAccounts {
        connect(&self.options()).await.unwrap()
    }

    /// Connects past the store.
    pub async fn client(&self) -> Client {
        client(&self.url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let (done, dropped) = mpsc::channel();
        HOME.spawn(async move { done.send(admin().await.batch_execute(&sql).await) });
        let dropped = dropped.recv();
        if !std::thread::panicking() {
            dropped.unwrap().unwrap();
        }
    }
}

/// Opens a store whose connections live on [`HOME`].
pub async fn connect(options: &PostgresOptions) -> Result<PostgresAccounts, PostgresError> {
    let options = options.clone();
    HOME.spawn(async move { PostgresAccounts::connect(&options).await }).await.unwrap()
}

fn admin_url() -> String {
    std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a server on which databases may be created")
}

/// Returns the server's URL with another database.
fn url_of(database: &str) -> String {
    let url = admin_url();
    let (base, query) = url.split_once('?').map_or((&*url, String::new()), |(base, query)| (base, format!("?{query}")));
    let server = base.rsplit_once('/').expect("the URL names a database").0;
    format!("{server}/{database}{query}")
}

async fn client(url: &str) -> Client {
    let url = url.to_owned();
    let connected = HOME.spawn(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        client
    });
    connected.await.unwrap()
}

/// Returns the connection of the role that makes databases.
pub async fn admin() -> &'static Client {
    static ADMIN: OnceCell<Client> = OnceCell::const_new();
    ADMIN.get_or_init(async || client(&admin_url()).await).await
}

/// A store in a database of its own. The store ends first.
pub struct Stored {
    pub store: PostgresAccounts,
    pub database: TestDatabase,
}

pub async fn accounts() -> Stored {
    let database = TestDatabase::make().await;
    Stored { store: database.open().await, database }
}

suite::account_store_contract!(crate::postgres::accounts);
