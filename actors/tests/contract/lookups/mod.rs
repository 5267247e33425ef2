//! Finding accounts by name on a real Postgres and Redis: the contract of the accounts with what is remembered before them, and
//! what only that promises. Nodes are as many stores here; in `chat` they are whole nodes.

mod chat;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chinwag_actors::{
    backends::clustered::{
        lookups::{CachedAccounts, LookupCounts},
        postgres::PostgresAccounts,
        redis::{RedisNames, RedisOptions},
    },
    cluster::keyring::Keyring,
    ports::account_store::{AccountStore, Recall},
};
use chinwag_schema::{
    ids::{Epoch, UserId},
    limits::lookups::{FLOOD_BEGINS_AT, REFRESH_EVERY},
};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::{
    postgres::{HOME, PATIENCE, TestDatabase},
    redis::{Prefix, server::Server},
    suite::{self, accounts::user},
};

type Node = Arc<CachedAccounts<PostgresAccounts>>;

fn keys() -> Keyring {
    Keyring::parse(b"a key that all nodes of the tests share").unwrap()
}

/// Starts a node's look-ups and waits for its filter.
async fn node(database: &TestDatabase, redis: &RedisOptions) -> Node {
    let (store, redis) = (database.open().await, redis.clone());
    let names = HOME.spawn(async move { RedisNames::connect(&redis, keys(), Epoch(7)).await.unwrap() }).await.unwrap();
    let node = Arc::new(CachedAccounts::start(Arc::new(store), Some(names), HOME.clone()));
    eventually("made its filter", async || node.counts().state.is_some()).await;
    node
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "never {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Looks for a name as account storage does for the engine.
async fn look_up(node: &Node, name: &str) -> Option<UserId> {
    match node.recall_user(name).await {
        Recall::User(id) => Some(id),
        Recall::Nobody => None,
        Recall::Unknown => node.user_by_name(name).await.unwrap().map(|user| user.id),
    }
}

/// Asks for names that nobody has, for ever.
struct Flood(JoinHandle<()>);

impl Flood {
    /// Returns when the filter answers.
    async fn start(node: &Node) -> Self {
        let asked = node.clone();
        let flood = tokio::spawn(async move {
            for wave in 0.. {
                let names: Vec<_> = (0..FLOOD_BEGINS_AT).map(|n| format!("nobody {wave} {n}")).collect();
                join_all(names.iter().map(|name| look_up(&asked, name))).await;
            }
        });
        eventually("flooded", async || node.counts().flood && node.counts().filter > 0).await;
        Self(flood)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub struct Fixture {
    pub store: CachedAccounts<PostgresAccounts>,
    _database: TestDatabase,
    _prefix: Prefix,
}

pub async fn accounts() -> Fixture {
    let (database, prefix) = (TestDatabase::make().await, Prefix::shared());
    let node = node(&database, &prefix.options()).await;
    let store = Arc::into_inner(node).expect("nobody else has it");
    Fixture { store, _database: database, _prefix: prefix }
}

suite::account_store_contract!(crate::lookups::accounts);

#[tokio::test]
async fn who_registers_on_another_node_during_a_flood_is_found_at_once() {
    let (database, prefix) = (TestDatabase::make().await, Prefix::shared());
    let (a, b) = (node(&database, &prefix.options()).await, node(&database, &prefix.options()).await);
    let flood = Flood::start(&a).await;
    let before = a.counts();
    for id in 1..=200 {
        let name = format!("user {id}");
        assert_eq!(look_up(&a, &name).await, None, "{name} isn't there yet");
        b.create_user(&user(id, &name), "hash").await.unwrap();
        assert_eq!(look_up(&a, &name).await, Some(UserId(id)), "{name}");
    }
    let after = a.counts();
    drop(flood);
    assert!(after.flood && after.rounds_failed == 0, "{after:?}");
    let (denied, rounds) = (after.filter - before.filter, after.rounds - before.rounds);
    assert!(denied > 2_000 && rounds < denied / 10, "{denied} names were denied after {rounds} queries");
    // Those that the filter is wrong about.
    let asked = after.store_unknown - before.store_unknown;
    assert!(asked < denied / 100, "{asked} of {denied} were asked of Postgres");
}

#[tokio::test]
async fn a_registration_whose_commit_comes_late_is_found_at_once() {
    let (database, prefix) = (TestDatabase::make().await, Prefix::shared());
    let (a, b) = (node(&database, &prefix.options()).await, node(&database, &prefix.options()).await);
    let slow = database.client().await;
    let late = "INSERT INTO users (id, name, created_at_ms, password_hash) VALUES (1, 'late', 0, '')";
    slow.batch_execute(&format!("BEGIN; {late}")).await.unwrap();
    let flood = Flood::start(&a).await;
    // Others register meanwhile, with larger numbers and ids, and rounds pass.
    for id in 2..=20 {
        b.create_user(&user(id, &format!("user {id}")), "hash").await.unwrap();
        assert_eq!(look_up(&a, &format!("user {id}")).await, Some(UserId(id)));
    }
    let rounds = a.counts().rounds;
    eventually("went on", async || a.counts().rounds > rounds + 50).await;
    assert_eq!(a.recall_user("late").await, Recall::Nobody);
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(look_up(&a, "late").await, Some(UserId(1)));
    drop(flood);
}

#[tokio::test]
async fn accounts_that_came_all_at_once_are_read_in_pages() {
    let (database, prefix) = (TestDatabase::make().await, Prefix::shared());
    drop(database.open().await);
    let client = database.client().await;
    let import = |from: i64, to: i64| {
        format!(
            "INSERT INTO users (id, name, created_at_ms, password_hash)
               SELECT n, 'user ' || n, 0, '' FROM generate_series({from}, {to}) AS n"
        )
    };
    client.batch_execute(&import(1, 12_000)).await.unwrap();
    let a = node(&database, &prefix.options()).await;
    // As if they were older than the column.
    client.batch_execute("UPDATE users SET added_in = NULL WHERE id % 2 = 0").await.unwrap();
    // One transaction, so all have the same number; and ids below those that are there.
    client.batch_execute(&import(-12_000, -1)).await.unwrap();
    let b = node(&database, &prefix.options()).await;
    for node in [&a, &b] {
        let flood = Flood::start(node).await;
        for id in (-12_000..=12_000).step_by(997).filter(|id| *id != 0) {
            assert_eq!(look_up(node, &format!("user {id}")).await, Some(UserId(id)));
        }
        drop(flood);
        let names = node.counts().state.unwrap().names;
        assert!((23_900..=24_000).contains(&names), "{names}");
    }
}

#[tokio::test]
async fn what_one_node_found_others_find_in_redis_and_then_in_memory() {
    let (database, prefix) = (TestDatabase::make().await, Prefix::shared());
    let (a, b) = (node(&database, &prefix.options()).await, node(&database, &prefix.options()).await);
    let client = database.client().await;
    let insert = "INSERT INTO users (id, name, created_at_ms, password_hash) VALUES (1, 'ann', 0, '')";
    client.batch_execute(insert).await.unwrap();
    assert_eq!(look_up(&a, "ann").await, Some(UserId(1)));
    eventually("shared", async || prefix.redis(&["EXISTS", &prefix.key("name:ann")]) == "1").await;
    assert_eq!(b.recall_user("ann").await, Recall::User(UserId(1)));
    assert_eq!(b.recall_user("ann").await, Recall::User(UserId(1)));
    let LookupCounts { memory, redis, store_found, .. } = b.counts();
    assert_eq!((memory, redis, store_found), (1, 1, 0));
    let seconds: i64 = prefix.redis(&["TTL", &prefix.key("name:ann")]).parse().unwrap();
    assert!((1..=300).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn nobody_who_can_write_to_redis_directs_messages_to_another_account() {
    let (database, prefix) = (TestDatabase::make().await, Prefix::shared());
    let a = node(&database, &prefix.options()).await;
    for (id, name) in [(1, "ann"), (2, "eve")] {
        a.create_user(&user(id, name), "hash").await.unwrap();
    }
    let keys = ["ann", "eve"].map(|name| prefix.key(&format!("name:{name}")));
    eventually("shared", async || prefix.redis(&["EXISTS", &keys[0], &keys[1]]) == "2").await;
    assert_eq!(prefix.redis(&["COPY", &keys[1], &keys[0], "REPLACE"]), "1");
    let b = node(&database, &prefix.options()).await;
    assert_eq!(look_up(&b, "ann").await, Some(UserId(1)));
    assert_eq!(b.counts().redis, 0);
    assert_eq!(b.recall_user("eve").await, Recall::User(UserId(2)), "what was not touched is believed");
}

#[tokio::test]
async fn without_redis_everybody_is_found_and_nobody_waits() {
    let mut server = Server::start();
    let (database, prefix) = (TestDatabase::make().await, Prefix::new(server.url()));
    let (a, b) = (node(&database, &prefix.options()).await, node(&database, &prefix.options()).await);
    server.kill();
    for id in 1..=20 {
        b.create_user(&user(id, &format!("user {id}")), "hash").await.unwrap();
        assert_eq!(look_up(&a, &format!("user {id}")).await, Some(UserId(id)));
        assert_eq!(look_up(&a, &format!("user {id} or not")).await, None);
    }
    let flood = Flood::start(&a).await;
    let began = Instant::now();
    for id in 21..=40 {
        b.create_user(&user(id, &format!("user {id}")), "hash").await.unwrap();
        assert_eq!(look_up(&a, &format!("user {id}")).await, Some(UserId(id)));
    }
    let took = began.elapsed();
    drop(flood);
    println!("during a flood and without Redis, 20 registrations with look-ups took {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(a.counts().redis_failures > 20);
}

#[tokio::test]
async fn a_redis_that_hangs_holds_a_look_up_up_for_a_moment_only() {
    let server = Server::start();
    let (database, prefix) = (TestDatabase::make().await, Prefix::new(server.url()));
    let (a, b) = (node(&database, &prefix.options()).await, node(&database, &prefix.options()).await);
    b.create_user(&user(1, "ann"), "hash").await.unwrap();
    eventually("shared", async || prefix.redis(&["EXISTS", &prefix.key("name:ann")]) == "1").await;
    prefix.redis(&["CLIENT", "PAUSE", "20000", "ALL"]);
    let began = Instant::now();
    assert_eq!(look_up(&a, "ann").await, Some(UserId(1)));
    // 250 ms of patience, on a busy machine.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(a.counts().redis_failures > 0);
}

#[tokio::test]
async fn while_nobody_asks_the_filter_is_brought_up_to_date_by_itself() {
    let (database, prefix) = (TestDatabase::make().await, Prefix::shared());
    let a = node(&database, &prefix.options()).await;
    let client = database.client().await;
    let insert = "INSERT INTO users (id, name, created_at_ms, password_hash) VALUES (1, 'ann', 0, '')";
    client.batch_execute(insert).await.unwrap();
    eventually("heard of ann", async || a.counts().state.unwrap().names == 1).await;
    assert!(a.counts().state.unwrap().age <= REFRESH_EVERY * 10);
}
