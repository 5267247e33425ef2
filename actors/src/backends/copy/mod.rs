//! `chinwag copy`: an embedded store into the services of a cluster, as it is: ids, seqs, times, totals, tokens, the epoch.
//!
//! ```text
//! job        the whole of it: what must be so before, the steps, what is said in the end
//! tables     accounts, tokens, conversations, members: row by row      logs     every conversation's log
//! verify     both read again and compared                              summary  what was found
//! event, canonical   how a row enters a checksum
//! ```
//! The stores themselves lend what no port has: `embedded/source`, `clustered/postgres/copied`, `clustered/scylla/copied`.
//!
//! **Who may write.** The source is locked as a running server locks it. On Postgres an advisory lock keeps a second copy away, and the
//! row of `copies` keeps nodes from starting. In the log the copy is an owner: it takes a term of every shard that is larger than the
//! source's and any earlier run's, claims each log with it, and each batch is conditional on that term and on the head. So a copy that
//! was thought dead and goes on writes nothing that the next one, or a node, hasn't got.
//!
//! **Resuming.** Run again, it does what is missing: tables go on after their largest key, logs after their head. A source that was
//! opened by anything else in between has another boot id, and is refused: what is copied already may be of another time.
//!
//! Invariant: the source is marked as moved only after both stores were read again and found the same, and nodes may start only after
//! that.

mod canonical;
mod event;
mod job;
mod logs;
mod summary;
mod tables;
mod verify;

use crate::{
    backends::{
        clustered::{postgres::PostgresError, scylla::ScyllaError},
        embedded::BackupError,
    },
    ports::StoreError,
};

pub(in crate::backends) use self::{
    event::Event,
    tables::{Column, Table},
};
pub use self::{
    job::{CopyOptions, Progress, Step, copy},
    summary::{Compared, Counted, Summary},
};

/// Why a copy ended before its end. Each says what to do. What was copied stays, and the same command goes on from there, unless it says
/// otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Source(BackupError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Scylla(#[from] ScyllaError),
    #[error("{doing}: {error}; when that is mended, the same command goes on where it was")]
    Store { doing: &'static str, error: StoreError },
    #[error("nodes of this cluster are running: stop them, or wait some seconds after their end")]
    NodesRunning,
    #[error("another copy into {at} is running: wait for its end")]
    CopyRunning { at: String },
    #[error(
        "the cluster is not empty: there are {what} in {place}; copy into a database and a keyspace of their own, or empty these first"
    )]
    NotEmpty { what: String, place: String },
    #[error(
        "the accounts in {at} belong to another log of messages (epoch {expected}) than the keyspace {keyspace} holds (epoch {found}): \
         correct --postgres or --scylla-keyspace, or empty both"
    )]
    OtherLog { at: String, keyspace: String, expected: String, found: String },
    #[error(
        "into {at} another store is being copied, or this one was opened by a server or a command since the copy began; empty the database \
         and the keyspace {keyspace}, and begin again"
    )]
    OtherSource { at: String, keyspace: String },
    #[error("the store in {path} was moved to another cluster before: the file {path}/moved says where")]
    MovedElsewhere { path: String },
    #[error("this store was copied into {at} before, and verified then; start the nodes")]
    Done { at: String },
}

impl CopyError {
    /// Says what was being done when a store failed.
    fn when(doing: &'static str) -> impl Fn(StoreError) -> Self {
        move |error| Self::Store { doing, error }
    }
}

impl<E: Into<BackupError>> From<E> for CopyError {
    fn from(error: E) -> Self {
        Self::Source(error.into())
    }
}
