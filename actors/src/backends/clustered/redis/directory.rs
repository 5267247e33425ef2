//! [`Directory`] on Redis.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chinwag_schema::{
    ids::{NodeId, Shard, UserId},
    limits::cluster::USERS_PER_ROUND_TRIP,
    model::Name,
};
use fred::{
    interfaces::{ClientLike as _, KeysInterface as _},
    prelude::{Error, Value},
};
use futures_util::future::{try_join, try_join_all};
use rustc_hash::FxHashSet;
use tokio::time::Instant;

use super::{
    keys::{Keys, owner_text, parse_lease, parse_owner},
    link::{Connection, Link},
    options::{RedisError, RedisOptions},
    scripts::Script,
    users::{self, Note, Registrations},
};
use crate::ports::{
    StoreError, StoreResult,
    directory::{Directory, NodeLease, Owner, Renewed},
};

/// The directory on Redis. It has a connection of its own, so that leases don't wait behind envelopes, and keeps the registrations of
/// the users put through it: each renewal of their node renews some of them.
pub struct RedisDirectory {
    keys: Keys,
    link: Link,
    registrations: Registrations,
    nodes: Mutex<Arc<NodeTable>>,
}

/// The nodes whose leases run, as they were at some change. It is sent again only after another change.
#[derive(Default)]
struct NodeTable {
    change: String,
    nodes: FxHashSet<NodeLease>,
}

impl RedisDirectory {
    /// Connects. Its tasks run on the caller's runtime and end with it.
    ///
    /// # Errors
    /// When Redis doesn't answer or is too old.
    pub async fn connect(options: &RedisOptions) -> Result<Self, RedisError> {
        let link = Link::connect(options, "directory").await?;
        let (registrations, nodes) = (Registrations::default(), Mutex::default());
        Ok(Self { keys: Keys::new(&options.prefix), link, registrations, nodes })
    }

    /// Says whether there is a connection; without one, everything is refused at once until it is made again.
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    async fn call(&self, script: Script, keys: Vec<String>, args: Vec<Value>) -> StoreResult<Value> {
        self.link.request(|connection| connection.call(script, keys, args)).await
    }

    fn known_nodes(&self) -> Arc<NodeTable> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the nodes, beside what else is asked on this connection.
    async fn ask_nodes(&self, connection: &Connection, known: &NodeTable) -> Result<Vec<String>, Error> {
        let [nodes, _, change] = self.keys.nodes();
        connection.call(Script::Nodes, vec![nodes, change], vec![known.change.as_str().into()]).await?.convert()
    }

    fn read_nodes(&self, known: Arc<NodeTable>, answer: Vec<String>) -> StoreResult<Arc<NodeTable>> {
        let mut answer = answer.into_iter();
        let change = answer.next().ok_or_else(|| strange("no name of a change"))?;
        if change == known.change {
            return Ok(known);
        }
        let nodes = answer.map(|text| parse_lease(&text).ok_or_else(|| strange("a node")));
        let table = Arc::new(NodeTable { change, nodes: nodes.collect::<StoreResult<_>>()? });
        *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = table.clone();
        Ok(table)
    }

    async fn locate_some(&self, users: &[UserId]) -> StoreResult<Vec<Vec<NodeId>>> {
        let known = self.known_nodes();
        let ask = async |connection: Arc<Connection>| {
            try_join(self.ask_nodes(&connection, &known), users::read(&connection, &self.keys, users)).await
        };
        let (answer, values) = self.link.request(ask).await?;
        let running = self.read_nodes(known, answer)?;
        let locate = |value: Option<String>| {
            let entries = value.as_deref().unwrap_or_default().split(',');
            let leases = entries.filter_map(|entry| parse_lease(entry.split_once('=')?.0));
            let running = leases.filter(|lease| running.nodes.contains(lease));
            let mut nodes: Vec<NodeId> = running.map(|lease| lease.node).collect();
            nodes.sort_unstable();
            nodes
        };
        Ok(values.into_iter().map(locate).collect())
    }
}

fn text(value: impl ToString) -> Value {
    value.to_string().into()
}

fn millis(time: Duration) -> Value {
    text(time.as_millis().max(1))
}

/// What Redis holds isn't what this program writes.
fn strange(what: &str) -> StoreError {
    StoreError::Corrupt(format!(
        "Redis holds {what} that this program can't read; is the prefix shared with something else?"
    ))
}

fn strings(value: Value, what: &str) -> StoreResult<Vec<String>> {
    value.convert().map_err(|_| strange(what))
}

fn shard_args(shards: &[(Shard, Owner)]) -> impl Iterator<Item = Value> {
    shards.iter().flat_map(|&(shard, owner)| [text(shard.0), owner_text(owner).into()])
}

#[async_trait]
impl Directory for RedisDirectory {
    async fn renew_node(&self, node: NodeLease, lease: Duration) -> StoreResult<Renewed> {
        let args = vec![text(node.node.0), text(node.incarnation), millis(lease)];
        let due = self.registrations.due(node, Instant::now());
        let renew = |connection: Arc<Connection>| async move {
            let lease = connection.call(Script::RenewNode, self.keys.nodes().into(), args);
            let due = due.into_iter().map(|user| (user, Note::Renew));
            let (answer, ()) = try_join(lease, users::put(&connection, &self.keys, node, due)).await?;
            answer.convert::<i64>()
        };
        match self.link.request(renew).await? {
            -1 => Err(StoreError::AlreadyExists),
            answer => Ok(Renewed { anew: answer == 1 }),
        }
    }

    async fn leave(&self, node: NodeLease) -> StoreResult<()> {
        self.registrations.forget(node);
        // Registrations needn't be removed: without the lease they don't count, and they end by themselves.
        let keys = self.keys.nodes().into_iter().chain([self.keys.shards()]).collect();
        self.call(Script::Leave, keys, vec![text(node.node.0), text(node.incarnation)]).await?;
        Ok(())
    }

    async fn nodes(&self) -> StoreResult<Vec<NodeLease>> {
        let known = self.known_nodes();
        let ask = async |connection: Arc<Connection>| self.ask_nodes(&connection, &known).await;
        let answer = self.link.request(ask).await?;
        let mut nodes: Vec<_> = self.read_nodes(known, answer)?.nodes.iter().copied().collect();
        nodes.sort_unstable();
        Ok(nodes)
    }

    async fn claim_shards(&self, claims: &[(Shard, Owner)], lease: Duration) -> StoreResult<Vec<Owner>> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let args = std::iter::once(millis(lease)).chain(shard_args(claims)).collect();
        let owners = strings(self.call(Script::ClaimShards, vec![self.keys.shards()], args).await?, "a shard")?;
        owners.iter().map(|owner| parse_owner(owner).ok_or_else(|| strange("a shard"))).collect()
    }

    async fn release_shards(&self, shards: &[(Shard, Owner)]) -> StoreResult<()> {
        if !shards.is_empty() {
            self.call(Script::ReleaseShards, vec![self.keys.shards()], shard_args(shards).collect()).await?;
        }
        Ok(())
    }

    async fn owners(&self) -> StoreResult<Vec<(Shard, Owner)>> {
        let table = strings(self.call(Script::Owners, vec![self.keys.shards()], Vec::new()).await?, "a shard")?;
        let parse = |pair: &[String]| Some((Shard(pair[0].parse().ok()?), parse_owner(&pair[1])?));
        let owners = table.chunks_exact(2).map(|pair| parse(pair).ok_or_else(|| strange("a shard")));
        let mut owners: Vec<_> = owners.collect::<StoreResult<_>>()?;
        owners.sort_unstable_by_key(|(shard, _)| *shard);
        Ok(owners)
    }

    async fn put_users(&self, node: NodeLease, users: &[(UserId, bool)]) -> StoreResult<()> {
        self.registrations.note(node, users, Instant::now());
        for some in users.chunks(USERS_PER_ROUND_TRIP) {
            let notes = some.iter().map(|&(user, here)| (user, if here { Note::Here } else { Note::Gone }));
            let put =
                |connection: Arc<Connection>| async move { users::put(&connection, &self.keys, node, notes).await };
            self.link.request(put).await?;
        }
        Ok(())
    }

    async fn locate_users(&self, users: &[UserId]) -> StoreResult<Vec<Vec<NodeId>>> {
        let mut located = Vec::with_capacity(users.len());
        for some in users.chunks(USERS_PER_ROUND_TRIP) {
            located.extend(self.locate_some(some).await?);
        }
        Ok(located)
    }

    async fn hold_guest_names(&self, names: &[(Name, UserId)], hold: Duration) -> StoreResult<Vec<UserId>> {
        let mut holders = Vec::with_capacity(names.len());
        for some in names.chunks(NAMES_PER_ROUND_TRIP) {
            let hold_some = |connection: Arc<Connection>| async move {
                let calls = some.iter().map(|(name, user)| {
                    connection.call(Script::HoldName, vec![self.keys.guest(name)], vec![text(user), millis(hold)])
                });
                try_join_all(calls).await
            };
            for holder in self.link.request(hold_some).await? {
                holders.push(parse_user(holder)?);
            }
        }
        Ok(holders)
    }

    async fn guest_name_holder(&self, name: &str) -> StoreResult<Option<UserId>> {
        let key = self.keys.guest(name);
        let ask = |connection: Arc<Connection>| async move { connection.client.get::<Value, _>(key).await };
        let holder = self.link.request(ask).await?;
        if holder.is_null() { Ok(None) } else { parse_user(holder).map(Some) }
    }

    async fn release_guest_name(&self, name: &str, user: UserId) -> StoreResult<()> {
        self.call(Script::ReleaseName, vec![self.keys.guest(name)], vec![text(user)]).await?;
        Ok(())
    }

    async fn ping(&self) -> StoreResult<()> {
        self.link.request(|connection| async move { connection.client.ping::<()>(None).await }).await
    }
}

/// Guests' names per round trip: each is a command of its own.
const NAMES_PER_ROUND_TRIP: usize = 1024;

fn parse_user(value: Value) -> StoreResult<UserId> {
    let user: String = value.convert().map_err(|_| strange("a guest"))?;
    user.parse().map_err(|_| strange("a guest"))
}
