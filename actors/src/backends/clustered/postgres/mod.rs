//! The cluster's accounts, on Postgres.
//!
//! ```text
//! options    the URL and the deadlines         tls        encryption, by rustls
//! connect    making a connection               pool       turns, deadlines, retries
//! fault      what an error means               statement  statements prepared once per connection
//! migrate    the schema and its guard          check      what `chinwag doctor` asks
//! copied     the rows of another store (`backends/copy`)
//! accounts/  AccountStore
//! ```
//! All nodes write to the same rows. What must hold across statements is held by row locks, taken in this order: conversation,
//! user, the rest. Each statement sees what was committed before it began (READ COMMITTED), so a condition is checked after the lock.

mod accounts;
mod check;
mod connect;
mod copied;
mod fault;
mod migrate;
mod options;
mod pool;
mod statement;
mod tls;

pub use accounts::PostgresAccounts;
pub use check::{PostgresReport, check};
pub(in crate::backends) use copied::{CopiedAccounts, CopyRecord};
pub use migrate::{Pending, SCHEMA_VERSION};
pub use options::PostgresOptions;
pub use pool::Connections;

/// Why the accounts can't be opened. Each says what to do about it; the program prints it and exits.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("the Postgres URL can't be used: {reason}; write postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url { reason: String },
    #[error("TLS to Postgres is impossible: {reason}")]
    Tls { reason: String },
    #[error("no connection to Postgres at {at}: {reason}; {advice}")]
    Connect { at: String, reason: String, advice: &'static str },
    #[error(
        "the accounts in {at} were changed by a newer chinwag: they need schema version {needed}, this program knows {known}; \
         start the newer program, or restore a backup made before the upgrade"
    )]
    NewerSchema { at: String, needed: i64, known: i64 },
    #[error("the schema of {at} could not be brought up to date: {reason}; {advice}")]
    Migration { at: String, reason: String, advice: &'static str },
}
