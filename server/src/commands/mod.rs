//! Commands of the program that don't serve.

pub mod health;
pub mod seed;
pub mod user;

use std::{io, sync::Arc};

use chinwag_actors::{
    ports::{StoreError, account_store::AccountStore},
    runtime::{Clock as _, clock::SystemClock},
    snowflake::Snowflakes,
};
use chinwag_schema::ids::NodeId;

use crate::{
    auth::{Accounts, secret::Keys},
    bootstrap::{Failure, Store, exit},
    config::{Config, UserCommand},
};

/// Milliseconds of identifiers that a command reserves.
const RESERVED_MS: i64 = 60_000;

/// What commands work with: the store of a stopped server.
pub struct Opened {
    pub store: Store,
    pub accounts: Accounts,
    pub ids: Arc<Snowflakes>,
}

async fn open(config: &Config) -> Result<Opened, Failure> {
    let store = Store::open(&config.data)?;
    let keys = Keys::load(&config.secret).map_err(|error| Failure::new(exit::DATA, error))?.keys;
    let clock = Arc::new(SystemClock);
    let now_ms = clock.unix_ms();
    let used = store.accounts.reserve_ids(0, now_ms + RESERVED_MS).await.map_err(unusable)?;
    let ids = Arc::new(Snowflakes::starting_after(NodeId(0), used));
    let until = used.max(now_ms) + RESERVED_MS;
    store.accounts.reserve_ids(0, until).await.map_err(unusable)?;
    ids.reserve_until(until);
    let (making, time) = (ids.clone(), clock.clone());
    let new_user_id =
        Box::new(move || making.user(time.unix_ms()).map_err(|error| StoreError::Unavailable(error.to_string())));
    let shared: Arc<dyn AccountStore> = store.accounts.clone();
    let accounts = Accounts::start(config, &keys, shared, clock, new_user_id).await?;
    Ok(Opened { store, accounts, ids })
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
        opened.store.database.close().await.map_err(unusable)?;
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
        let done = seed::run(&opened, &mut io::stdout()).await;
        opened.store.database.close().await.map_err(unusable)?;
        done.map_err(|error| Failure::new(exit::FAILED, error))
    })
}
