//! The four ports: what the engine needs from storage and from other nodes, as traits.
//!
//! Embedded backends (SQLite, in process) and clustered ones (Postgres, Scylla, Redis) implement them; one contract suite
//! (`actors/tests/contract`) runs against every backend. The engine never asks which it has.

pub mod account_store;
pub mod bus;
pub mod directory;
pub mod message_store;

/// Why a store refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// What was named doesn't exist.
    #[error("not found")]
    NotFound,
    /// A unique name is taken.
    #[error("already exists")]
    AlreadyExists,
    /// The caller's term is stale: somebody else owns this now. The caller must stop.
    #[error("fenced: a later owner exists")]
    Fenced,
    /// A bound of `limits.rs` was reached.
    #[error("limit reached: {0}")]
    LimitReached(u64),
    /// The store doesn't answer, its disk is full, or the like: retry later. Says what, for the log.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The store answered something impossible: a defect or a damaged file.
    #[error("store corrupt: {0}")]
    Corrupt(String),
}

/// Result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;
