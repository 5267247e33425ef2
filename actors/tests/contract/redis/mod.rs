//! The backends on Redis: the contract, and what only they promise.
//!
//! TEST_REDIS_URL names a server; each test has a key prefix of its own there. Tests that wipe, stop or kill a server start one of
//! their own (`redis-server` on the PATH).

mod faults;
mod leases;
mod mailboxes;
mod proxy;
pub mod server;

use std::{
    ops::Deref,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use chinwag_actors::backends::clustered::redis::{RedisBus, RedisDirectory, RedisOptions};

use crate::suite::{self, directory::Timed};

/// A prefix of keys that no other test uses; they are removed at the end.
pub struct Prefix {
    url: String,
    prefix: String,
}

impl Prefix {
    pub fn new(url: String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { url, prefix }
    }

    /// A prefix on the server that all tests share.
    pub fn shared() -> Self {
        Self::new(std::env::var("TEST_REDIS_URL").expect("TEST_REDIS_URL names the tests' Redis: redis://HOST:PORT"))
    }

    pub fn options(&self) -> RedisOptions {
        self.options_by(&self.url)
    }

    /// The same by another way to the server.
    pub fn options_by(&self, url: &str) -> RedisOptions {
        RedisOptions::new(url, &self.prefix).unwrap()
    }

    /// Runs a command beside the backends, on a connection of its own; returns the answer as redis-cli shows it.
    pub fn redis(&self, command: &[&str]) -> String {
        server::redis(&self.url, command)
    }

    pub fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.prefix)
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let remove = "for _, glob in ipairs(ARGV) do for _, key in ipairs(redis.call('KEYS', glob)) do redis.call('UNLINK', key) end end";
        let globs = [format!("{}:*", self.prefix), format!("{{{}}}:*", self.prefix)];
        // A test that killed its server has none to clean.
        let _ = server::try_redis(&self.url, &["EVAL", remove, "0", &globs[0], &globs[1]]);
    }
}

/// A directory whose time is the server's.
pub struct RealTime {
    directory: RedisDirectory,
    _prefix: Prefix,
}

impl Timed for RealTime {
    type Directory = RedisDirectory;
    const LEASE: Duration = Duration::from_secs(2);

    fn directory(&self) -> &RedisDirectory {
        &self.directory
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

pub struct DirectoryFixture {
    directory: RealTime,
}

pub async fn directory() -> DirectoryFixture {
    let prefix = Prefix::shared();
    let directory = RedisDirectory::connect(&prefix.options()).await.unwrap();
    DirectoryFixture { directory: RealTime { directory, _prefix: prefix } }
}

pub struct BusFixture {
    bus: RedisBus,
    prefix: Prefix,
}

impl Deref for BusFixture {
    type Target = RedisBus;
    fn deref(&self) -> &RedisBus {
        &self.bus
    }
}

pub async fn bus() -> BusFixture {
    let prefix = Prefix::shared();
    BusFixture { bus: RedisBus::connect(&prefix.options()).await.unwrap(), prefix }
}

suite::directory_contract!(crate::redis::directory);
suite::bus_contract!(crate::redis::bus);
