//! Where the servers are, how a keyspace is made, and why a connection is refused.

use std::time::Duration;

use chinwag_schema::limits::cql::BUCKET_EVENTS;

/// How many copies of each row there are, and where. Used when the keyspace is made; later it is the operator's (`ALTER KEYSPACE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// As many in each datacenter (`NetworkTopologyStrategy`).
    Everywhere { factor: u8 },
    /// As many as said in the datacenters named.
    PerDatacenter(Vec<(String, u8)>),
    /// `SimpleStrategy`, which knows no racks: for tests and single nodes.
    Simple { factor: u8 },
}

impl Replication {
    /// Returns it as CQL.
    pub(super) fn cql(&self) -> String {
        match self {
            Self::Everywhere { factor } => {
                format!("{{'class': 'NetworkTopologyStrategy', 'replication_factor': {factor}}}")
            }
            Self::PerDatacenter(datacenters) => {
                let each: Vec<_> = datacenters
                    .iter()
                    .map(|(name, factor)| format!(", '{}': {factor}", name.replace('\'', "''")))
                    .collect();
                format!("{{'class': 'NetworkTopologyStrategy'{}}}", each.concat())
            }
            Self::Simple { factor } => format!("{{'class': 'SimpleStrategy', 'replication_factor': {factor}}}"),
        }
    }
}

/// Options of [`super::ScyllaMessages::connect`].
#[derive(Debug, Clone)]
pub struct ScyllaOptions {
    /// Some servers, `host:port`; the others are learnt from them.
    pub nodes: Vec<String>,
    /// Lower-case letters, digits and `_`, at most 48, a letter first. Made if it isn't there.
    pub keyspace: String,
    pub replication: Replication,
    pub user: Option<String>,
    pub password: Option<String>,
    /// With a datacenter: LOCAL_QUORUM and LOCAL_SERIAL there, and only its servers are used. Then every node of chinwag must name the
    /// same one, or two owners could both believe that they wrote. Without: QUORUM and SERIAL.
    pub datacenter: Option<String>,
    /// How long events are kept, in whole seconds rounded up; `None` is for ever.
    pub retention: Option<Duration>,
    /// Seqs of one partition, of a store that is made now. One that exists keeps its own.
    pub bucket_events: u32,
}

impl ScyllaOptions {
    /// Returns options with three copies in each datacenter and no retention.
    pub fn new(nodes: Vec<String>, keyspace: impl Into<String>) -> Self {
        Self {
            nodes,
            keyspace: keyspace.into(),
            replication: Replication::Everywhere { factor: 3 },
            user: None,
            password: None,
            datacenter: None,
            retention: None,
            bucket_events: BUCKET_EVENTS,
        }
    }

    /// Checks what can be checked without a server.
    pub(super) fn validate(&self) -> Result<(), ScyllaError> {
        if self.nodes.is_empty() {
            return Err(ScyllaError::NoNodes);
        }
        let name = &self.keyspace;
        let letter = |byte: u8| byte.is_ascii_lowercase();
        let allowed = |byte: u8| letter(byte) || byte.is_ascii_digit() || byte == b'_';
        if name.len() > 48 || !name.bytes().next().is_some_and(letter) || !name.bytes().all(allowed) {
            return Err(ScyllaError::BadKeyspaceName { name: name.clone() });
        }
        if self.bucket_events == 0 {
            return Err(ScyllaError::EmptyBuckets);
        }
        Ok(())
    }
}

/// Why the log can't be used. Each says what to do about it; the program prints it and exits.
#[derive(Debug, thiserror::Error)]
pub enum ScyllaError {
    #[error("no address of a Scylla or Cassandra server is given; give one as HOST:PORT")]
    NoNodes,
    #[error("'{name}' can't name a keyspace: use at most 48 lower-case letters, digits and '_', a letter first")]
    BadKeyspaceName { name: String },
    #[error("buckets of the log must hold at least one event")]
    EmptyBuckets,
    #[error("no Scylla or Cassandra server answers at {nodes}: {reason}; start it, or correct the address")]
    Unreachable { nodes: String, reason: String },
    #[error(
        "cannot make the keyspace {keyspace}: {reason}; let an administrator make it, or give this user the right CREATE"
    )]
    Keyspace { keyspace: String, reason: String },
    #[error("cannot bring the schema of keyspace {keyspace} up to date: {reason}")]
    Schema { keyspace: String, reason: String },
    #[error(
        "another node has been bringing the schema of keyspace {keyspace} up to date for more than {waited_s} s; see what it waits for, \
         and start this one again"
    )]
    SchemaLocked { keyspace: String, waited_s: u64 },
    #[error(
        "the keyspace {keyspace} was changed by a newer chinwag: it needs schema version {needed}, this program knows {known}; \
         start the newer program"
    )]
    NewerSchema { keyspace: String, needed: i64, known: i64 },
    #[error(
        "the table {keyspace}.{table} has a default TTL of {ttl_s} s, which would erase who owns a conversation and where its log \
         ends; run ALTER TABLE {keyspace}.{table} WITH default_time_to_live = 0, and set the retention in chinwag instead"
    )]
    DefaultTtl { keyspace: String, table: String, ttl_s: i32 },
    #[error(
        "conditional writes don't work in keyspace {keyspace}: {reason}; on ScyllaDB make the keyspace with tablets = \
         {{'enabled': false}}, and see that a majority of the copies is up"
    )]
    NoConditions { keyspace: String, reason: String },
}
