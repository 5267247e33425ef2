//! The log on a real Scylla or Cassandra (`TEST_SCYLLA`, host:port, …): the contract, and what only that backend promises.

mod buckets;
mod changes;
mod fence;
pub mod keyspaces;
mod opening;
mod retention;

use chinwag_actors::backends::clustered::scylla::{Replication, ScyllaMessages, ScyllaOptions};

use self::keyspaces::{Lease, Salted};
use crate::suite;

/// Small, so that every test crosses the end of some.
const BUCKET_EVENTS: u32 = 5;

/// A store with nothing in it.
pub struct Stored {
    pub store: Salted<ScyllaMessages>,
    pub keyspace: Lease,
    options: ScyllaOptions,
}

impl Stored {
    /// Opens the store again, as another node would.
    pub async fn node(&self) -> Salted<ScyllaMessages> {
        Salted { store: ScyllaMessages::connect(&self.options).await.unwrap(), salt: self.store.salt }
    }
}

/// Returns options for a keyspace.
fn options(keyspace: &str) -> ScyllaOptions {
    ScyllaOptions {
        replication: Replication::Simple { factor: 1 },
        bucket_events: BUCKET_EVENTS,
        ..ScyllaOptions::new(keyspaces::servers(), keyspace)
    }
}

async fn messages() -> Stored {
    with(|_| {}).await
}

/// Makes a store with options changed.
async fn with(change: impl FnOnce(&mut ScyllaOptions)) -> Stored {
    let mut options = options("");
    change(&mut options);
    let keyspace = Lease::borrow(options.bucket_events);
    options.keyspace.clone_from(&keyspace.name);
    let store = ScyllaMessages::connect(&options).await.unwrap();
    keyspace.clean().await;
    let salt = i64::from(rand::random::<u32>() >> 1) << 32;
    Stored { store: Salted { store, salt }, keyspace, options }
}

suite::message_store_contract!(crate::scylla::messages);
