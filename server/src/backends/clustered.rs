//! The services of a cluster: accounts on Postgres, messages on ScyllaDB or Cassandra, directory and bus on Redis.

use std::{future::Future, sync::Arc, time::Duration};

use chinwag_actors::{
    backends::{
        clustered::{
            lookups::{CachedAccounts, LookupCounts},
            postgres::{Connections, PostgresAccounts, PostgresError, PostgresOptions},
            redis::{RedisBus, RedisDirectory, RedisError, RedisNames, RedisOptions},
            scylla::{Replication, ScyllaError, ScyllaMessages, ScyllaOptions},
        },
        embedded::{DataLock, OpenError},
    },
    ports::{StoreError, account_store::AccountStore, message_store::MessageStore as _},
};
use chinwag_schema::ids::Epoch;
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use super::Opener;
use crate::config::{Cluster, Config, cluster};

/// How long a start waits for services that are starting as well, as containers of one composition do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// Threads that carry what goes to the services and comes from them: one does about 50,000 requests a second.
const THREADS_MAX: usize = 4;

/// Why the services of a cluster can't be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Data(#[from] OpenError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Scylla(#[from] ScyllaError),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(
        "the accounts in {postgres} belong to another log of messages (epoch {expected}) than the keyspace {keyspace} holds (epoch {found}): \
         correct --postgres or --scylla-keyspace, or, if this pair was put together on purpose, run `chinwag migrate --adopt-log`"
    )]
    OtherLog { postgres: String, keyspace: String, expected: Epoch, found: Epoch },
    #[error(
        "a store is being copied into this cluster, begun at {begun_at_ms} (Unix ms) and not finished: run the same `chinwag copy` again, which \
         goes on where it was, or empty the database and the keyspace"
    )]
    CopyUnfinished { begun_at_ms: i64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the threads for the services can't start: {0}")]
    Threads(std::io::Error),
}

impl ServiceError {
    /// Says whether it may go away by waiting.
    fn passes(&self) -> bool {
        matches!(
            self,
            Self::Postgres(PostgresError::Connect { .. })
                | Self::Scylla(ScyllaError::Unreachable { .. })
                | Self::Redis(RedisError::Unreachable { .. })
                | Self::Store(StoreError::Unavailable(_))
        )
    }
}

/// The stores on the services.
pub(super) struct Stores {
    postgres: Arc<PostgresAccounts>,
    /// Before the accounts on Postgres, for a node; a command looks for nobody.
    lookups: Option<Arc<CachedAccounts<PostgresAccounts>>>,
    pub(super) messages: Arc<ScyllaMessages>,
    pub(super) directory: Arc<RedisDirectory>,
    pub(super) bus: Arc<RedisBus>,
}

impl Stores {
    /// Returns the accounts, with what is remembered of them where that is.
    pub(super) fn accounts(&self) -> Arc<dyn AccountStore> {
        match &self.lookups {
            Some(lookups) => lookups.clone(),
            None => self.postgres.clone(),
        }
    }
}

/// What operators see of the services, beside the breakers of the stores.
#[derive(Clone)]
pub struct Gauges {
    accounts: Arc<PostgresAccounts>,
    lookups: Option<Arc<CachedAccounts<PostgresAccounts>>>,
    directory: Arc<RedisDirectory>,
    bus: Arc<RedisBus>,
}

impl Gauges {
    pub(super) fn new(stores: &Stores) -> Self {
        Self {
            accounts: stores.postgres.clone(),
            lookups: stores.lookups.clone(),
            directory: stores.directory.clone(),
            bus: stores.bus.clone(),
        }
    }

    /// Says whether both connections to Redis stand. Without one, requests fail at once until it is made again.
    pub fn redis_connected(&self) -> bool {
        self.directory.is_connected() && self.bus.is_connected()
    }

    /// Returns how many connections to Postgres there are.
    pub fn postgres_connections(&self) -> Connections {
        self.accounts.connections()
    }

    /// Returns how names are looked up; `None` for a command.
    pub fn lookups(&self) -> Option<LookupCounts> {
        Some(self.lookups.as_ref()?.counts())
    }
}

/// What the stores run on. Their connections have threads of their own: neither accepting sockets nor a busy worker holds up what others
/// wait for. They end with this value; what was acknowledged is durable.
pub(super) struct Services {
    /// Always there, until the end.
    runtime: Option<Runtime>,
    // Two nodes with one data directory would write one `ports.json`.
    _lock: Option<DataLock>,
}

impl Services {
    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until the end")
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Merely dropped, it would wait for its threads, which panics inside another runtime.
            runtime.shutdown_background();
        }
    }
}

/// Connects to all services, waiting for those that are starting, and brings their schemas up to date.
pub(super) async fn open(
    config: &Config,
    cluster: &Cluster,
    opener: Opener,
) -> Result<(Stores, Services), ServiceError> {
    let lock = match opener {
        Opener::Server => Some(DataLock::take(&config.data)?),
        Opener::Command => None,
    };
    let threads = (config.worker_threads / 2).clamp(1, THREADS_MAX);
    let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("services").enable_all().build();
    let services = Services { runtime: Some(runtime.map_err(ServiceError::Threads)?), _lock: lock };
    let patience = match opener {
        Opener::Server => PATIENCE,
        // Somebody sits there and waits.
        Opener::Command => Duration::ZERO,
    };
    let until = Instant::now() + patience;
    let mut stores = connect(config, cluster, &services, until).await?;
    if opener == Opener::Server {
        stores.lookups = Some(remember(cluster, &services, &stores, until).await?);
    }
    Ok((stores, services))
}

async fn connect(
    config: &Config,
    cluster: &Cluster,
    services: &Services,
    until: Instant,
) -> Result<Stores, ServiceError> {
    let (postgres, scylla, redis) =
        (postgres_options(cluster), scylla_options(config, cluster), redis_options(cluster)?);
    let accounts = {
        let postgres = postgres.clone();
        patiently(until, services, move || {
            let postgres = postgres.clone();
            async move { Ok(PostgresAccounts::connect(&postgres).await?) }
        })
    };
    let messages = {
        patiently(until, services, move || {
            let scylla = scylla.clone();
            async move { Ok(ScyllaMessages::connect(&scylla).await?) }
        })
    };
    let nodes = {
        patiently(until, services, move || {
            let redis = redis.clone();
            async move { Ok((RedisDirectory::connect(&redis).await?, RedisBus::connect(&redis).await?)) }
        })
    };
    let (accounts, messages, (directory, bus)) = tokio::try_join!(accounts, messages, nodes)?;
    let stores = Stores {
        postgres: Arc::new(accounts),
        lookups: None,
        messages: Arc::new(messages),
        directory: Arc::new(directory),
        bus: Arc::new(bus),
    };
    // Before the epochs are compared: it changes them.
    if let Some(begun_at_ms) = stores.postgres.copy_begun_at().await? {
        return Err(ServiceError::CopyUnfinished { begun_at_ms });
    }
    let found = stores.messages.epoch().await?;
    let expected = stores.postgres.log_epoch(found).await?;
    if expected != found {
        let (postgres, keyspace) = (cluster.postgres.to_string(), cluster.scylla.keyspace.clone());
        return Err(ServiceError::OtherLog { postgres, keyspace, expected, found });
    }
    Ok(stores)
}

/// Puts what a node remembers of names before its accounts.
async fn remember(
    cluster: &Cluster,
    services: &Services,
    stores: &Stores,
    until: Instant,
) -> Result<Arc<CachedAccounts<PostgresAccounts>>, ServiceError> {
    let (redis, keys, epoch) = (redis_options(cluster)?, super::keyring(cluster), stores.messages.epoch().await?);
    let names = patiently(until, services, move || {
        let (redis, keys) = (redis.clone(), keys.clone());
        async move { Ok(RedisNames::connect(&redis, keys, epoch).await?) }
    });
    let (names, home) = (names.await?, services.runtime().handle().clone());
    Ok(Arc::new(CachedAccounts::start(stores.postgres.clone(), Some(names), home)))
}

/// Tries until it works, time is up, or waiting can't help. Runs on the services' threads: what it makes belongs there.
async fn patiently<T, F>(until: Instant, services: &Services, attempt: impl Fn() -> F) -> Result<T, ServiceError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ServiceError>> + Send + 'static,
{
    loop {
        let made = services.runtime().spawn(attempt()).await;
        match made.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic())) {
            Err(error) if error.passes() && Instant::now() + PAUSE < until => {
                tracing::warn!(%error, "waiting for a service");
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Returns how the settings say to reach Postgres.
pub fn postgres_options(cluster: &Cluster) -> PostgresOptions {
    let mut options = PostgresOptions::new(cluster.postgres.reveal());
    options.connections_max = cluster.postgres_connections;
    options
}

/// Returns how the settings say to reach ScyllaDB or Cassandra.
pub fn scylla_options(config: &Config, cluster: &Cluster) -> ScyllaOptions {
    let settings = &cluster.scylla;
    let mut options = ScyllaOptions::new(settings.nodes.clone(), settings.keyspace.clone());
    options.replication = match &settings.replication {
        cluster::Replication::Each(factor) => Replication::Everywhere { factor: *factor },
        cluster::Replication::PerDataCentre(centres) => Replication::PerDatacenter(centres.clone()),
    };
    options.datacenter.clone_from(&settings.datacenter);
    options.retention = config.retention;
    if let Some((user, password)) = &settings.login {
        options.user = Some(user.clone());
        options.password = Some(password.reveal().to_owned());
    }
    options
}

/// Returns how the settings say to reach Redis.
///
/// # Errors
/// When the URL can't be understood.
pub fn redis_options(cluster: &Cluster) -> Result<RedisOptions, RedisError> {
    RedisOptions::new(cluster.redis.reveal(), &cluster.redis_prefix)
}
