//! The settings of a cluster node: three services, a name, and the key of the cluster. All of them, or none.

use std::path::PathBuf;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{
    Hidden,
    typed::Reader,
    urls::{self, ServiceUrl},
};
use crate::{files, hex};

/// Port of CQL where none is named.
const CQL_PORT: u16 = 9042;
/// Longest name of a node (a label of the DNS, which Kubernetes gives out).
const NODE_NAME_MAX_CHARS: usize = 63;
/// Longest name of a keyspace that Cassandra takes.
const KEYSPACE_MAX_CHARS: usize = 48;
/// Longest prefix of keys in Redis: it is in every key.
const REDIS_PREFIX_MAX_CHARS: usize = 32;
/// A Postgres that is asked for more connections by one node is asked for too many.
const POSTGRES_CONNECTIONS_MAX: usize = 1000;
/// More copies than this of one message are a typing error.
const REPLICAS_MAX: u8 = 15;

/// What makes a node one of a cluster: the flag's name in messages and whether it must be there.
const REQUIRED: [&str; 5] = ["node", "postgres", "scylla", "redis", "cluster_key_file"];

/// What a node of a cluster needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name among the nodes.
    pub node: String,
    pub postgres: ServiceUrl,
    pub postgres_connections: u32,
    pub scylla: ScyllaSettings,
    pub redis: ServiceUrl,
    pub redis_prefix: String,
    pub keys: ClusterKeys,
    pub key_file: PathBuf,
}

/// How to reach ScyllaDB or Cassandra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScyllaSettings {
    /// `HOST:PORT` of the nodes to ask first.
    pub nodes: Vec<String>,
    pub keyspace: String,
    pub replication: Replication,
    /// The data centre whose majority counts; `None`: the majority of all copies.
    pub datacenter: Option<String>,
    pub login: Option<(String, Hidden)>,
}

/// How many copies of each message there are, when the keyspace is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// So many in every data centre.
    Each(u8),
    /// So many in each of these.
    PerDataCentre(Vec<(String, u8)>),
}

/// The keys that the nodes of a cluster share: the one in use first, and the one before or after it, while they are changed one after the
/// other. What is made from a key for one purpose tells nothing about another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterKeys(Vec<Hidden>);

impl ClusterKeys {
    /// Reads one or two keys, each 32 bytes as hexadecimal digits on a line of its own; lines with `#` are comments.
    ///
    /// # Errors
    /// When there is another count of them, or they aren't random.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(|line| match hex::decode(line) {
            Some(bytes) if bytes.len() == 32 => {
                crate::auth::secret::check(&bytes).map_err(|why| format!("the key {why}"))?;
                Ok(Hidden::new(line))
            }
            _ => Err("a key must be 32 bytes, written as 64 hexadecimal digits".to_owned()),
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        match keys.len() {
            1 | 2 => Ok(Self(keys)),
            other => Err(format!("must hold one key, or two while it is changed, not {other}")),
        }
    }

    /// Returns the keys that authenticate what nodes send each other, hexadecimal, one a line.
    pub fn for_envelopes(&self) -> Hidden {
        self.derived(b"chinwag envelopes between nodes 1")
    }

    /// Returns the keys that sign access tokens where no others are set: ones that every node has. Hexadecimal, one a line.
    pub fn for_tokens(&self) -> Hidden {
        self.derived(b"chinwag access tokens 1")
    }

    fn derived(&self, purpose: &[u8]) -> Hidden {
        let each = self.0.iter().map(|key| {
            let bytes = hex::decode(key.reveal()).expect("it was decoded when it was read");
            let mac = Hmac::<Sha256>::new_from_slice(&bytes).expect("any length makes a key").chain_update(purpose);
            hex::encode(&mac.finalize().into_bytes())
        });
        Hidden::new(each.collect::<Vec<_>>().join("\n"))
    }
}

/// Reads the settings of the cluster; `None` for an embedded store, and after a problem.
pub(super) fn read(r: &mut Reader<'_>) -> Option<Cluster> {
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|name| r.optional(name).is_none()).collect();
    // Read in either case: what is wrong with them is told though something is missing.
    let postgres = service_url(r, "postgres", &["postgres", "postgresql"]);
    let redis = service_url(r, "redis", &["redis", "rediss", "redis-sentinel", "rediss-sentinel"]);
    let scylla = scylla(r);
    let node = r.optional("node").map(str::to_owned);
    if let Some(Err(why)) = node.as_deref().map(node_name) {
        r.wrong("node", &why);
    }
    let redis_prefix = r.one("redis_prefix", |text| name(text, REDIS_PREFIX_MAX_CHARS, "-_."));
    let postgres_connections = r.count("postgres_connections", 1, POSTGRES_CONNECTIONS_MAX);
    if missing.len() == REQUIRED.len() {
        return None;
    }
    if !missing.is_empty() {
        let there = REQUIRED.into_iter().find(|name| !missing.contains(name)).expect("not all are missing");
        r.wrong(there, &what_is_missing(&missing));
        return None;
    }
    let key_file = PathBuf::from(r.optional("cluster_key_file")?);
    let keys = keys(r, &key_file)?;
    Some(Cluster {
        node: node?,
        postgres: postgres?,
        postgres_connections: u32::try_from(postgres_connections).unwrap_or(u32::MAX),
        scylla: scylla?,
        redis: redis?,
        redis_prefix,
        keys,
        key_file,
    })
}

/// Says what a cluster needs besides what is set.
fn what_is_missing(missing: &[&str]) -> String {
    let flag = |name: &&str| format!("--{}", name.replace('_', "-"));
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let list = missing.iter().map(flag).collect::<Vec<_>>().join(", ");
    let key = if missing.contains(&"cluster_key_file") {
        " (make the key once with `chinwag cluster-key FILE` and copy it to every node)"
    } else {
        ""
    };
    format!(
        "a node of a cluster needs Postgres, ScyllaDB or Cassandra, Redis, a name and the key of the cluster, but {list} {verb} \
         missing{key}; leave all of them out for a server with an embedded store"
    )
}

fn keys(r: &mut Reader<'_>, path: &std::path::Path) -> Option<ClusterKeys> {
    let advice = "make it once with `chinwag cluster-key FILE` and copy it to every node, mode 0600";
    let read = files::read_private(path).map_err(|error| error.to_string());
    match read.and_then(|text| ClusterKeys::parse(&text).map_err(|why| format!("{}: {why}", path.display()))) {
        Ok(keys) => Some(keys),
        Err(why) => {
            r.wrong("cluster_key_file", &format!("{why}; {advice}"));
            None
        }
    }
}

/// Reads a URL, with the password from its variable or file, if there is one.
fn service_url(r: &mut Reader<'_>, name: &'static str, schemes: &[&str]) -> Option<ServiceUrl> {
    let password = password(r, name);
    let url = r.optional(name)?.to_owned();
    let right = url.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty());
    if !right {
        r.wrong(name, &format!("'{}' is not a URL that begins with {}://", urls::masked(&url), schemes[0]));
        return None;
    }
    let made = ServiceUrl::new(&url, password.as_ref());
    made.map_err(|why| r.wrong(name, &why)).ok()
}

/// Reads the password of a service from its variable or its file.
fn password(r: &mut Reader<'_>, service: &str) -> Option<Hidden> {
    let (variable, file) = (format!("{service}_password"), format!("{service}_password_file"));
    let given = r.optional(&variable).map(Hidden::new);
    let path = r.optional(&file).map(PathBuf::from);
    for (name, there) in [(&variable, given.is_some()), (&file, path.is_some())] {
        if there && r.optional(service).is_none() {
            r.wrong(name, &format!("is the password of a service that isn't set: {service} is missing"));
        }
    }
    match (given, path) {
        (Some(_), Some(_)) => {
            r.wrong(&file, &format!("contradicts {variable}: only one of them can be set"));
            None
        }
        (Some(given), None) => Some(given),
        (None, Some(path)) => match files::read_private(&path) {
            Ok(text) if text.trim().is_empty() => {
                r.wrong(&file, &format!("{} is empty", path.display()));
                None
            }
            Ok(text) => Some(Hidden::new(text.trim())),
            Err(error) => {
                r.wrong(&file, &error.to_string());
                None
            }
        },
        (None, None) => None,
    }
}

fn scylla(r: &mut Reader<'_>) -> Option<ScyllaSettings> {
    let nodes = r.many("scylla", cql_address);
    let keyspace = r.one("scylla_keyspace", keyspace);
    let replication = r.one("scylla_replication", replication);
    let datacenter = r.optional("scylla_datacenter").map(str::to_owned);
    if let Some(Err(why)) = datacenter.as_deref().map(data_centre) {
        r.wrong("scylla_datacenter", &why);
    }
    let (user, password) = (r.optional("scylla_user").map(str::to_owned), password(r, "scylla"));
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (Some(_), None) => {
            r.wrong("scylla_user", "needs a password: scylla_password_file or the variable CHINWAG_SCYLLA_PASSWORD");
            None
        }
        (None, Some(_)) => {
            r.wrong("scylla_user", "is missing, though there is a password for it");
            None
        }
        (None, None) => None,
    };
    (!nodes.is_empty()).then_some(ScyllaSettings { nodes, keyspace, replication, datacenter, login })
}

fn cql_address(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is not an address: write HOST:PORT, such as 10.0.0.7:9042 or [::1]:9042");
    let named = |host: &str| !host.is_empty() && !host.contains(['/', '@', ' ', '[', ']', ':']);
    if text.starts_with('[') {
        return text.parse::<std::net::SocketAddr>().map(|address| address.to_string()).map_err(|_| wrong());
    }
    match text.rsplit_once(':') {
        Some((host, port)) if named(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(text.to_owned()),
        None if named(text) => Ok(format!("{text}:{CQL_PORT}")),
        _ => Err(wrong()),
    }
}

fn node_name(text: &str) -> Result<String, String> {
    name(text, NODE_NAME_MAX_CHARS, "-_.")
}

fn data_centre(text: &str) -> Result<String, String> {
    name(text, KEYSPACE_MAX_CHARS, "-_.")
}

fn name(text: &str, max: usize, also: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    if text.is_empty() || text.len() > max || !text.chars().all(fits) {
        return Err(format!("'{text}' must be 1 to {max} letters (a to z), digits or any of {also}"));
    }
    Ok(text.to_owned())
}

fn keyspace(text: &str) -> Result<String, String> {
    // Lower case: CQL reads other names so too, unless they are quoted.
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits) && text.len() <= KEYSPACE_MAX_CHARS
    {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' must be 1 to {KEYSPACE_MAX_CHARS} small letters, digits or _, beginning with a letter"))
}

fn replication(text: &str) -> Result<Replication, String> {
    let copies = |text: &str| match text.trim().parse::<u8>() {
        Ok(copies) if (1..=REPLICAS_MAX).contains(&copies) => Ok(copies),
        _ => Err(format!("'{}' is not a number of copies: from 1 to {REPLICAS_MAX}", text.trim())),
    };
    if !text.contains(':') {
        return copies(text).map(Replication::Each);
    }
    let centres = text.split(',').map(|pair| {
        let (centre, count) = pair.split_once(':').ok_or_else(|| format!("'{pair}' is not of the form DC:N"))?;
        Ok::<_, String>((data_centre(centre.trim())?, copies(count)?))
    });
    let centres = centres.collect::<Result<Vec<_>, _>>()?;
    let twice =
        centres.iter().enumerate().find(|(n, (centre, _))| centres[..*n].iter().any(|(other, _)| other == centre));
    match twice {
        Some((_, (centre, _))) => Err(format!("the data centre {centre} is named twice")),
        None => Ok(Replication::PerDataCentre(centres)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_cql_have_a_port_in_the_end() {
        for (text, read) in [
            ("10.0.0.7:19042", "10.0.0.7:19042"),
            ("scylla-0.scylla", "scylla-0.scylla:9042"),
            ("[::1]:9042", "[::1]:9042"),
        ] {
            assert_eq!(cql_address(text).as_deref(), Ok(read));
        }
        for wrong in ["", ":9042", "host:", "host:0", "host:70000", "cql://host:9042", "::1", "a b:1"] {
            assert!(cql_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn copies_are_counted_everywhere_or_by_data_centre() {
        assert_eq!(replication("3"), Ok(Replication::Each(3)));
        let centres = vec![("dc1".to_owned(), 3), ("dc2".to_owned(), 2)];
        assert_eq!(replication("dc1:3, dc2:2"), Ok(Replication::PerDataCentre(centres)));
        for wrong in ["0", "16", "x", "dc1:", "dc1:0", "dc1:3,dc1:2", "dc1:3,2", "'; drop:3"] {
            assert!(replication(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_could_be_taken_for_something_else_are_refused() {
        assert!(node_name("chinwag-0").is_ok() && keyspace("chinwag_2").is_ok());
        for wrong in ["", "a b", "ä", &"x".repeat(64), "a/b", "a\nb"] {
            assert!(node_name(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "1a", "Chinwag", "a-b", "a;b", &"x".repeat(49)] {
            assert!(keyspace(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cluster_key_is_32_random_bytes_and_gives_a_key_for_each_purpose() {
        let text = hex::encode(&hex::random_32());
        let keys = ClusterKeys::parse(&format!("# of the test\n{text}\n")).unwrap();
        assert_eq!(keys, ClusterKeys::parse(&text).unwrap());
        assert_ne!(keys.for_tokens(), keys.for_envelopes());
        assert!(!format!("{keys:?}").contains(&text));
        let counting = hex::encode(&(0..32).collect::<Vec<u8>>());
        let other = hex::encode(&hex::random_32());
        let changing = ClusterKeys::parse(&format!("{other}\n{text}")).unwrap();
        assert!(changing.for_tokens().reveal().ends_with(keys.for_tokens().reveal()), "the old one still verifies");
        let three = format!("{text}\n{other}\n{text}");
        for wrong in ["", "ab", &text[2..], &format!("{text}ab"), &three, &"00".repeat(32), &counting] {
            let error = ClusterKeys::parse(wrong).unwrap_err();
            assert!(!error.contains(&text[10..20]), "{error}");
        }
    }
}
