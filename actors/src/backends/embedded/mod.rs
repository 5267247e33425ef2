//! Embedded backends of the four ports: SQLite in one data directory, directory and bus in this process.
//!
//! ```text
//! data_dir   the directory, its lock, the boot id beside the store
//! worker     a thread per connection, for diesel-async's wrapper
//! sql        settings of a connection, transactions, errors, cached statements
//! database   one writer, some readers, a checkpointer
//! accounts/  AccountStore        messages/  MessageStore
//! directory  Directory           bus        Bus
//! backup     a copy of the store, and back (restore); migrations: what a start would change, for operators
//! source     a store that is copied into a cluster (`backends/copy`)
//! ```
//! They know nothing of actors: whoever calls decides about deadlines, grouping and retries.

mod accounts;
mod backup;
mod bus;
mod data_dir;
mod database;
mod directory;
mod messages;
mod migrations;
mod restore;
mod schema_guard;
mod source;
mod sql;
mod worker;

pub use accounts::EmbeddedAccounts;
pub use backup::{BackupError, IfThere, StoreCounts, backup};
pub use bus::EmbeddedBus;
pub use data_dir::DataLock;
pub use database::{Database, DatabaseOptions, Work};
pub use directory::EmbeddedDirectory;
pub use messages::EmbeddedMessages;
pub use migrations::{migrate, pending_migrations};
pub use restore::restore;
pub use schema_guard::SCHEMA_VERSION;
pub(super) use source::{Identity, LogHead, Source};

/// Why a data directory can't be opened. Each says what to do about it; the program prints it and exits.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the data directory {path} is in use by another chinwag process{holder}; stop that one or choose another --data"
    )]
    InUse { path: String, holder: String },
    #[error(
        "the store in {path} was changed by a newer chinwag: it needs schema version {needed}, this program knows {known}; \
         start the newer program, or restore a backup made before the upgrade"
    )]
    NewerSchema { path: String, needed: i64, known: i64 },
    #[error(
        "the store in {path} was moved to a cluster ({mark} says where): start the nodes of that cluster instead; to serve it here all the \
         same, without what was said there since, remove {mark}"
    )]
    Moved { path: String, mark: String },
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: String, source: std::io::Error },
    #[error("cannot open the store {path}: {reason}")]
    Store { path: String, reason: String },
}
