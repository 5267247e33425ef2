//! The embedded backends: the contract, and what only they promise.

mod acknowledged;
mod checkpoint;
mod durability;
mod faults;
mod opening;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chinwag_actors::backends::embedded::{
    Database, DatabaseOptions, EmbeddedAccounts, EmbeddedBus, EmbeddedDirectory, EmbeddedMessages, OpenError,
};
use tempfile::TempDir;

use crate::suite::{self, directory::Timed};

/// A store in a directory of its own, which ends with it.
pub struct Stored<S> {
    pub store: S,
    pub database: Arc<Database>,
    pub dir: TempDir,
}

/// Opens the store, also one that was closed a moment ago: a process that another test is just starting has this one's files, and with
/// them the lock, until it runs its own program.
pub fn open(dir: &TempDir) -> Arc<Database> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match Database::open(dir.path(), &DatabaseOptions::default()) {
            Err(OpenError::InUse { .. }) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.unwrap(),
        }
    }
}

pub async fn messages() -> Stored<EmbeddedMessages> {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir);
    Stored { store: EmbeddedMessages::new(database.clone()), database, dir }
}

async fn accounts() -> Stored<EmbeddedAccounts> {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir);
    Stored { store: EmbeddedAccounts::new(database.clone()), database, dir }
}

struct FakeTime {
    directory: EmbeddedDirectory,
    now_ms: Arc<AtomicU64>,
}

impl Timed for FakeTime {
    type Directory = EmbeddedDirectory;
    const LEASE: Duration = Duration::from_secs(1);

    fn directory(&self) -> &EmbeddedDirectory {
        &self.directory
    }

    async fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

struct DirectoryFixture {
    directory: FakeTime,
}

async fn directory() -> DirectoryFixture {
    let now_ms = Arc::new(AtomicU64::new(5));
    let clock = now_ms.clone();
    let directory = EmbeddedDirectory::with_clock(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
    DirectoryFixture { directory: FakeTime { directory, now_ms } }
}

struct BusFixture {
    bus: EmbeddedBus,
}

async fn bus() -> BusFixture {
    BusFixture { bus: EmbeddedBus::new() }
}

suite::message_store_contract!(crate::embedded::messages);
suite::account_store_contract!(crate::embedded::accounts);
suite::directory_contract!(crate::embedded::directory);
suite::bus_contract!(crate::embedded::bus);
