//! What happens when Redis is wiped, restarted, killed or hangs. Each test has a server of its own.

use std::time::{Duration, Instant};

use chinwag_actors::{
    backends::clustered::redis::{RedisBus, RedisDirectory, RedisError, RedisOptions},
    ports::{
        StoreError, StoreResult,
        bus::{Bus as _, Payload},
        directory::{Directory as _, Owner, Renewed},
    },
};
use chinwag_schema::{
    ids::{NodeId, Shard, Term, UserId},
    limits::cluster::REDIS_DEADLINE,
};
use tokio::sync::mpsc::Receiver;

use super::{Prefix, proxy::Proxy, server::Server};
use crate::suite::bus::{next, node};

const LEASE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);
const TEXT: Payload = Payload::from_static(b"text");

struct Ports {
    directory: RedisDirectory,
    bus: RedisBus,
    prefix: Prefix,
    server: Server,
}

async fn ports() -> Ports {
    let server = Server::start();
    let prefix = Prefix::new(server.url());
    let directory = RedisDirectory::connect(&prefix.options()).await.unwrap();
    let bus = RedisBus::connect(&prefix.options()).await.unwrap();
    Ports { directory, bus, prefix, server }
}

/// Repeats until it succeeds; returns the answer and how long that took.
async fn in_time<T>(what: &str, mut attempt: impl AsyncFnMut() -> StoreResult<T>) -> (T, Duration) {
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(answer) => return (answer, began.elapsed()),
            Err(error) => assert!(began.elapsed() < PATIENCE, "{what}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Registers a node, a shard and a user as a node does after `anew`, and checks that all is there.
async fn register(ports: &Ports) {
    let (directory, owner) = (&ports.directory, Owner { node: NodeId(1), term: Term(3) });
    let renewed = in_time("renew", async || directory.renew_node(node(1), LEASE).await).await.0;
    assert_eq!(renewed, Renewed { anew: true });
    directory.put_users(node(1), &[(UserId(9), true)]).await.unwrap();
    assert_eq!(directory.claim_shards(&[(Shard(7), owner)], LEASE).await.unwrap(), [owner]);
    assert_eq!(directory.locate_users(&[UserId(9)]).await.unwrap(), [[NodeId(1)]]);
    assert_eq!(directory.hold_guest_name("Ann", UserId(5), LEASE).await.unwrap(), UserId(5));
    assert_eq!(directory.nodes().await.unwrap(), [node(1)]);
}

/// Sends until an envelope is taken and arrives; returns how long that took.
async fn mailbox_works(ports: &Ports, mailbox: &mut Receiver<Payload>) -> Duration {
    let (_, took) = in_time("send", async || ports.bus.send(node(1), TEXT).await).await;
    assert_eq!(next(mailbox).await.unwrap(), TEXT);
    in_time("broadcast", async || ports.bus.broadcast(Payload::from_static(b"all")).await).await;
    while next(mailbox).await.unwrap() != "all" {}
    took
}

#[tokio::test]
async fn after_a_wipe_everything_is_registered_and_received_again() {
    let ports = ports().await;
    let mut mailbox = ports.bus.subscribe(node(1), 100).await.unwrap();
    register(&ports).await;
    mailbox_works(&ports, &mut mailbox).await;
    ports.prefix.redis(&["FLUSHALL"]);
    assert!(matches!(ports.bus.send(node(1), TEXT).await, Err(StoreError::NotFound)));
    assert!(ports.directory.nodes().await.unwrap().is_empty());
    assert!(ports.directory.owners().await.unwrap().is_empty());
    register(&ports).await;
    let took = mailbox_works(&ports, &mut mailbox).await;
    println!("after FLUSHALL the mailbox was open again in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_killed_server_is_an_error_at_once_and_used_again_when_it_is_back() {
    let mut ports = ports().await;
    let mut mailbox = ports.bus.subscribe(node(1), 100).await.unwrap();
    register(&ports).await;
    mailbox_works(&ports, &mut mailbox).await;
    ports.server.kill();
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let began = Instant::now();
        assert!(matches!(ports.directory.nodes().await, Err(StoreError::Unavailable(_))));
        assert!(matches!(ports.bus.send(node(1), TEXT).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(ports.bus.broadcast(TEXT).await, Err(StoreError::Unavailable(_))));
        let sent = ports.bus.send_many(vec![(node(1), TEXT); 3]).await;
        assert!(sent.iter().all(|one| matches!(one, Err(StoreError::Unavailable(_)))) && sent.len() == 3);
        slowest = slowest.max(began.elapsed());
    }
    println!("with the server dead, four calls took {slowest:?} at most");
    assert!(slowest < REDIS_DEADLINE, "{slowest:?}");
    ports.server.start_again();
    register(&ports).await;
    let took = mailbox_works(&ports, &mut mailbox).await;
    println!("after the server was back, the mailbox was open again in {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_server_that_hangs_holds_nobody_up_beyond_the_deadline() {
    let ports = ports().await;
    let mut mailbox = ports.bus.subscribe(node(1), 100).await.unwrap();
    register(&ports).await;
    ports.prefix.redis(&["CLIENT", "PAUSE", "5000", "ALL"]);
    let began = Instant::now();
    let slack = REDIS_DEADLINE + Duration::from_secs(1);
    while began.elapsed() < Duration::from_secs(4) {
        let call = Instant::now();
        let nodes = async { ports.directory.nodes().await.unwrap_err() };
        let send = async { ports.bus.send(node(1), TEXT).await.unwrap_err() };
        let (nodes, send) = tokio::join!(nodes, send);
        assert!(matches!((nodes, send), (StoreError::Unavailable(_), StoreError::Unavailable(_))));
        assert!(call.elapsed() < slack, "{:?}", call.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    in_time("nodes", async || ports.directory.nodes().await).await;
    in_time("send", async || ports.bus.send(node(1), Payload::from_static(b"last")).await).await;
    while next(&mut mailbox).await.unwrap() != "last" {}
}

#[tokio::test]
async fn what_waits_while_a_server_hangs_is_bounded() {
    let ports = ports().await;
    let _mailbox = ports.bus.subscribe(node(1), 1_000_000).await.unwrap();
    ports.prefix.redis(&["CLIENT", "PAUSE", "3000", "ALL"]);
    // 64 MiB, of which a quarter may wait.
    let payload = Payload::from(vec![7; 64 * 1024]);
    let sends = (0..1024).map(|_| ports.bus.send(node(1), payload.clone()));
    let began = Instant::now();
    let results = futures_util::future::join_all(sends).await;
    assert!(began.elapsed() < REDIS_DEADLINE + Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(results.iter().all(|result| matches!(result, Err(StoreError::Unavailable(_)))));
    let refused = results.iter().filter(|result| result.as_ref().unwrap_err().to_string().contains("too much waits"));
    assert!(refused.count() > 700);
    in_time("ping", async || ports.bus.ping().await).await;
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let ports = ports().await;
    let mut mailbox = ports.bus.subscribe(node(1), 100).await.unwrap();
    ports.prefix.redis(&["SCRIPT", "FLUSH"]);
    register(&ports).await;
    mailbox_works(&ports, &mut mailbox).await;
}

#[tokio::test]
async fn a_connection_cut_by_the_server_loses_nothing_that_was_handed_over() {
    let ports = ports().await;
    let mut mailbox = ports.bus.subscribe(node(1), 10_000).await.unwrap();
    let mut handed_over = Vec::new();
    for n in 0..400u32 {
        if n % 100 == 50 {
            ports.prefix.redis(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        let payload = Payload::from(n.to_string());
        match ports.bus.send(node(1), payload.clone()).await {
            Ok(()) => handed_over.push(payload),
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(handed_over.len() > 300, "{}", handed_over.len());
    let mut arrived = Vec::new();
    while arrived.last() != handed_over.last() {
        arrived.push(next(&mut mailbox).await.unwrap());
    }
    // Those of which nobody knows may have come as well.
    arrived.retain(|payload| handed_over.contains(payload));
    assert_eq!(arrived, handed_over, "each once, in order");
}

#[tokio::test]
async fn a_connection_that_went_dead_is_replaced() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url()).await;
    let prefix = Prefix::new(server.url());
    let options = prefix.options_by(&proxy.url());
    let directory = RedisDirectory::connect(&options).await.unwrap();
    let bus = RedisBus::connect(&options).await.unwrap();
    let ports = Ports { directory, bus, prefix, server };
    let mut mailbox = ports.bus.subscribe(node(1), 100).await.unwrap();
    register(&ports).await;
    mailbox_works(&ports, &mut mailbox).await;
    proxy.cut();
    let (_, took) = in_time("nodes", async || ports.directory.nodes().await).await;
    println!("a dead connection was replaced in {took:?}");
    assert!(took < 3 * REDIS_DEADLINE, "{took:?}");
    mailbox_works(&ports, &mut mailbox).await;
}

#[tokio::test]
async fn without_a_server_connecting_fails_with_a_sentence() {
    let mut server = Server::start();
    let url = server.url();
    server.kill();
    let options = RedisOptions::new(&url, "chinwag").unwrap();
    let error = RedisDirectory::connect(&options).await.err().unwrap();
    assert!(matches!(error, RedisError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("start it, or correct --redis"), "{error}");
}
