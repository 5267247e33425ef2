//! The stores of a node, built from its settings: embedded, or the services of a cluster. The only place that knows which.

mod clustered;

use std::{path::Path, sync::Arc};

use chinwag_actors::{
    backends::embedded::{
        Database, DatabaseOptions, EmbeddedAccounts, EmbeddedBus, EmbeddedDirectory, EmbeddedMessages, OpenError,
    },
    cluster::{ClusterSettings, keyring::Keyring},
    ports::{StoreResult, account_store::AccountStore, bus::Bus, directory::Directory, message_store::MessageStore},
};
use chinwag_schema::ids::NodeId;

use self::clustered::Services;
pub use self::clustered::{Gauges, ServiceError, postgres_options, redis_options, scylla_options};
use crate::config::{Cluster, Config};

/// Why the stores can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error(transparent)]
    Data(#[from] OpenError),
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Everything that a node keeps outside itself.
pub struct Backends {
    pub accounts: Arc<dyn AccountStore>,
    pub messages: Arc<dyn MessageStore>,
    pub directory: Arc<dyn Directory>,
    pub bus: Arc<dyn Bus>,
    kind: Kind,
}

enum Kind {
    Embedded(Arc<Database>),
    Clustered(Services, Gauges),
}

/// Who opens the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    Server,
    /// A command. In a cluster it works beside the nodes, and makes identifiers of its own.
    Command,
}

impl Backends {
    /// Opens the stores that the settings name.
    ///
    /// # Errors
    /// When the data directory is in use or unusable, a service can't be used, or a store was changed by a newer program.
    pub async fn open(config: &Config, opener: Opener) -> Result<Self, BackendError> {
        match &config.cluster {
            None => Ok(Self::embedded(&config.data)?),
            Some(cluster) => {
                let (stores, services) = clustered::open(config, cluster, opener).await?;
                let gauges = Gauges::new(&stores);
                Ok(Self {
                    accounts: stores.accounts(),
                    messages: stores.messages,
                    directory: stores.directory,
                    bus: stores.bus,
                    kind: Kind::Clustered(services, gauges),
                })
            }
        }
    }

    /// Opens the store in a data directory.
    ///
    /// # Errors
    /// When it is in use, unusable, or of a newer program.
    pub fn embedded(data: &Path) -> Result<Self, OpenError> {
        let database = Database::open(data, &DatabaseOptions::default())?;
        Ok(Self {
            accounts: Arc::new(EmbeddedAccounts::new(database.clone())),
            messages: Arc::new(EmbeddedMessages::new(database.clone())),
            directory: Arc::new(EmbeddedDirectory::new()),
            bus: Arc::new(EmbeddedBus::new()),
            kind: Kind::Embedded(database),
        })
    }

    /// Returns this node's number: part of all identifiers that it makes, and no other's.
    ///
    /// # Errors
    /// When the account store doesn't answer, or has no number left.
    pub async fn node_id(&self, config: &Config, opener: Opener) -> StoreResult<NodeId> {
        match (&config.cluster, opener) {
            (None, _) => Ok(NodeId(0)),
            (Some(cluster), Opener::Server) => self.accounts.node_id(&cluster.node).await,
            // Not a name that a node can have.
            (Some(_), Opener::Command) => self.accounts.node_id("(commands)").await,
        }
    }

    /// Returns what operators see of a cluster's services; `None` with an embedded store.
    pub fn gauges(&self) -> Option<Gauges> {
        match &self.kind {
            Kind::Embedded(_) => None,
            Kind::Clustered(_, gauges) => Some(gauges.clone()),
        }
    }

    /// Finishes what is being written. Nothing can be written afterwards.
    ///
    /// # Errors
    /// When the embedded store's log can't be moved into its database; it is done at the next start then.
    pub async fn close(self) -> StoreResult<()> {
        match self.kind {
            Kind::Embedded(database) => database.close().await,
            Kind::Clustered(services, _) => {
                drop(services);
                Ok(())
            }
        }
    }
}

/// Returns what makes a node one of a cluster; `None` for a lone one.
pub fn cluster_settings(config: &Config) -> Option<ClusterSettings> {
    let cluster = config.cluster.as_ref()?;
    Some(ClusterSettings { keys: keyring(cluster) })
}

fn keyring(cluster: &Cluster) -> Keyring {
    Keyring::parse(cluster.keys.for_envelopes().reveal().as_bytes()).expect("one or two keys of 32 bytes")
}
