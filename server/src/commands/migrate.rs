//! `chinwag migrate`: brings the schema of the stores up to date, or says what that would do.

use std::io::{self, Write};

use chinwag_actors::{
    backends::{
        clustered::{
            postgres::PostgresAccounts,
            scylla::{self, ScyllaMessages},
        },
        embedded,
    },
    ports::{account_store::AccountStore as _, message_store::MessageStore as _},
};

use crate::{
    backends::{ServiceError, postgres_options, scylla_options},
    bootstrap::{Failure, exit},
    config::{Cluster, Config},
};

/// Whether to change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    Dry,
    Real,
    /// And let the accounts belong to the log that the settings name, whatever log was theirs.
    AdoptLog,
}

/// Lists the migrations that the stores need, and applies them unless it is a dry run.
///
/// # Errors
/// When a store can't be reached, is in use, or was changed by a newer program.
pub fn run(config: &Config, run: Run) -> Result<(), Failure> {
    if let Some(cluster) = &config.cluster {
        let done = actix_rt::System::new().block_on(clustered(config, cluster, run));
        return done.map_err(|error| Failure::new(exit::SERVICE, error));
    }
    if run == Run::AdoptLog {
        let error =
            anyhow::anyhow!("--adopt-log is for a cluster: the embedded store has accounts and messages in one");
        return Err(Failure { code: exit::USAGE, error });
    }
    let names = match run {
        Run::Dry => embedded::pending_migrations(&config.data)?,
        Run::Real | Run::AdoptLog => embedded::migrate(&config.data)?,
    };
    say(&told(&format!("store in {}", config.data.display()), &names, run))
}

async fn clustered(config: &Config, cluster: &Cluster, run: Run) -> anyhow::Result<()> {
    let (postgres, scylla) = (postgres_options(cluster), scylla_options(config, cluster));
    let pending = PostgresAccounts::pending(&postgres).await.map_err(ServiceError::from)?;
    let pending: Vec<String> = pending.iter().map(|one| format!("{}_{}", one.version, one.name)).collect();
    let found = scylla::check(&scylla).await.map_err(ServiceError::from)?;
    let versions: Vec<String> = match found.schema_version {
        None => vec![format!("makes the keyspace with schema version {}", found.newest_version)],
        Some(version) => (version + 1..=found.newest_version).map(|next| format!("schema version {next}")).collect(),
    };
    if run != Run::Dry {
        let accounts = PostgresAccounts::connect(&postgres).await.map_err(ServiceError::from)?;
        let messages = ScyllaMessages::connect(&scylla).await.map_err(ServiceError::from)?;
        let epoch = messages.epoch().await?;
        if run == Run::AdoptLog {
            accounts.put_log_epoch(epoch).await?;
        } else {
            accounts.log_epoch(epoch).await?;
        }
    }
    let mut text = told(&format!("accounts in {}", cluster.postgres), &pending, run);
    text.push_str(&told(&format!("messages in keyspace {}", cluster.scylla.keyspace), &versions, run));
    if run == Run::AdoptLog {
        text.push_str("the accounts belong to this log now\n");
    }
    say(&text).map_err(|failure| failure.error)
}

fn told(store: &str, names: &[String], run: Run) -> String {
    let mut text = match (names, run) {
        ([], _) => format!("{store}: up to date\n"),
        (names, Run::Dry) => format!("{store}: {} to apply\n", super::counted(names.len() as u64, "migration")),
        (names, _) => format!("{store}: {} applied\n", super::counted(names.len() as u64, "migration")),
    };
    for name in names {
        text.push_str(&format!("  {name}\n"));
    }
    text
}

fn say(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::new(exit::FAILED, error))
}
