//! `chinwag copy`, from a real embedded store to real services: what ports show afterwards is what they showed before, however often it was
//! interrupted; and what isn't the same is named.

mod interrupted;
mod refused;
mod source;
mod whole;

use std::{path::Path, sync::Mutex, time::Duration};

use chinwag_actors::{
    backends::{
        clustered::{
            postgres::PostgresAccounts,
            scylla::{Replication, ScyllaMessages, ScyllaOptions},
        },
        copy::{CopyError, CopyOptions, Progress, Step, Summary, copy},
        embedded::{BackupError, Database, EmbeddedAccounts, EmbeddedDirectory, EmbeddedMessages, OpenError},
    },
    runtime::clock::SystemClock,
};
use tokio::time::Instant;

use self::source::Everything;
use crate::{
    postgres::TestDatabase,
    scylla::keyspaces::{self, Lease},
};

/// Small, so that logs have many.
const BUCKET_EVENTS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(30);

/// A database and a keyspace with nothing in them.
struct Cluster {
    database: TestDatabase,
    keyspace: Lease,
}

impl Cluster {
    async fn make() -> Self {
        Self { database: TestDatabase::make().await, keyspace: Lease::fresh() }
    }

    fn options(&self, from: &Path) -> CopyOptions {
        CopyOptions { from: from.to_owned(), postgres: self.database.options(), scylla: self.scylla() }
    }

    fn scylla(&self) -> ScyllaOptions {
        scylla_options(&self.keyspace.name)
    }

    async fn accounts(&self) -> PostgresAccounts {
        self.database.open().await
    }

    async fn messages(&self) -> ScyllaMessages {
        ScyllaMessages::connect(&self.scylla()).await.unwrap()
    }

    async fn everything(&self) -> Everything {
        source::read(&self.accounts().await, &self.messages().await).await
    }
}

fn scylla_options(keyspace: &str) -> ScyllaOptions {
    ScyllaOptions {
        replication: Replication::Simple { factor: 1 },
        bucket_events: BUCKET_EVENTS,
        ..ScyllaOptions::new(keyspaces::servers(), keyspace)
    }
}

/// Copies; `watch` hears of progress.
async fn copied(options: &CopyOptions, watch: &(dyn Fn(Progress) + Sync)) -> Result<Summary, CopyError> {
    copy(options, &EmbeddedDirectory::new(), &SystemClock, watch).await
}

/// Copies to the end. An earlier copy that was given up may hold its locks for a moment.
async fn copied_whole(options: &CopyOptions) -> Summary {
    let until = Instant::now() + PATIENCE;
    loop {
        match copied(options, &|_| {}).await {
            Err(CopyError::CopyRunning { .. } | CopyError::Source(BackupError::Open(OpenError::InUse { .. })))
                if Instant::now() < until =>
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other.unwrap(),
        }
    }
}

/// Gives a copy up as soon as it has done so much of a step.
async fn given_up(options: &CopyOptions, at: Step, after: u64) {
    let (reached, given_up) = tokio::sync::oneshot::channel();
    let reached = Mutex::new(Some(reached));
    let watch = move |progress: Progress| {
        if progress.step == at
            && progress.done >= after
            && let Some(reached) = reached.lock().unwrap().take()
        {
            let _ = reached.send(());
        }
    };
    tokio::select! {
        biased;
        _ = given_up => {}
        ended = copied(options, &watch) => panic!("it ended before {at:?} {after}: {ended:?}"),
    }
}

/// Opens a store that was moved, as an operator who wants it back.
fn reopened(dir: &Path) -> (EmbeddedAccounts, EmbeddedMessages) {
    std::fs::remove_file(dir.join("moved")).unwrap();
    let database = Database::open(dir, &Default::default()).unwrap();
    (EmbeddedAccounts::new(database.clone()), EmbeddedMessages::new(database))
}
