//! Commands of the program that don't serve.

pub mod actors;
pub mod ask;
pub mod backup;
pub mod cluster_key;
pub mod copy;
pub mod doctor;
pub mod explain;
pub mod health;
pub mod migrate;
pub mod seed;
pub mod top;
pub mod user;

use std::{io, sync::Arc};

use chinwag_actors::{
    ports::StoreError,
    runtime::{Clock as _, clock::SystemClock},
    snowflake::Snowflakes,
};

use crate::{
    auth::{Accounts, secret::Keys},
    backends::{Backends, Opener},
    bootstrap::{Failure, exit},
    config::{Config, UserCommand},
};

/// Milliseconds of identifiers that a command reserves.
const RESERVED_MS: i64 = 60_000;

/// What commands work with: the store of a stopped server, or the services of a cluster.
pub struct Opened {
    pub backends: Backends,
    pub accounts: Accounts,
    pub ids: Arc<Snowflakes>,
}

async fn open(config: &Config) -> Result<Opened, Failure> {
    let backends = Backends::open(config, Opener::Command).await?;
    let keys = Keys::load(&config.secret).map_err(|error| Failure::new(exit::DATA, error))?.keys;
    let clock = Arc::new(SystemClock);
    let now_ms = clock.unix_ms();
    let node = backends.node_id(config, Opener::Command).await.map_err(unusable)?;
    let used = backends.accounts.reserve_ids(node.0, now_ms + RESERVED_MS).await.map_err(unusable)?;
    let ids = Arc::new(Snowflakes::starting_after(node, used));
    let until = used.max(now_ms) + RESERVED_MS;
    backends.accounts.reserve_ids(node.0, until).await.map_err(unusable)?;
    ids.reserve_until(until);
    let (making, time) = (ids.clone(), clock.clone());
    let new_user_id =
        Box::new(move || making.user(time.unix_ms()).map_err(|error| StoreError::Unavailable(error.to_string())));
    let accounts = Accounts::start(config, &keys, backends.accounts.clone(), clock, new_user_id).await?;
    Ok(Opened { backends, accounts, ids })
}

/// Writes a count of things in English.
fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn unusable(error: StoreError) -> Failure {
    Failure::new(exit::DATA, error)
}

/// Runs `chinwag user …`.
///
/// # Errors
/// With the exit code of what went wrong.
pub fn run_user(config: &Config, command: &UserCommand) -> Result<(), Failure> {
    actix_rt::System::new().block_on(async {
        let opened = open(config).await?;
        let done = user::run(command, &opened.accounts, io::stdin(), &mut io::stdout()).await;
        opened.backends.close().await.map_err(unusable)?;
        done.map_err(|error| match error {
            user::CommandError::Refused(_) => Failure::new(exit::REFUSED, error),
            error => Failure::new(exit::FAILED, error),
        })
    })
}

/// Runs `chinwag seed`.
///
/// # Errors
/// With the exit code of what went wrong.
pub fn run_seed(config: &Config) -> Result<(), Failure> {
    actix_rt::System::new().block_on(async {
        let opened = open(config).await?;
        // Its terms would fence the owners that live.
        if !opened.backends.directory.nodes().await.map_err(unusable)?.is_empty() {
            let error =
                anyhow::anyhow!("nodes of this cluster are running: stop them, or wait some seconds after their end");
            return Err(Failure { code: exit::REFUSED, error });
        }
        let done = seed::run(&opened, &mut io::stdout()).await;
        opened.backends.close().await.map_err(unusable)?;
        done.map_err(|error| Failure::new(exit::FAILED, error))
    })
}
