//! What is left of nodes that died, and of users who moved.

use std::time::Duration;

use chinwag_actors::{
    backends::clustered::redis::RedisDirectory,
    ports::directory::{Directory as _, Owner},
};
use chinwag_schema::{
    ids::{NodeId, Shard, Term, UserId},
    limits::cluster::{NODES_PER_USER_MAX, REGISTRATION_KEPT},
};

use super::Prefix;
use crate::suite::bus::{life, node};

const LEASE: Duration = Duration::from_secs(10);

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no positive number"))
}

#[tokio::test]
async fn everything_ends_by_itself() {
    let prefix = Prefix::shared();
    let directory = RedisDirectory::connect(&prefix.options()).await.unwrap();
    directory.renew_node(node(1), LEASE).await.unwrap();
    let owner = Owner { node: NodeId(1), term: Term(1) };
    directory.claim_shards(&[(Shard(1), owner)], LEASE).await.unwrap();
    directory.put_users(node(1), &[(UserId(9), true)]).await.unwrap();
    directory.hold_guest_name("Ann", UserId(5), LEASE).await.unwrap();
    let keys = prefix.redis(&["KEYS", &format!("*{}*", prefix.key("").trim_end_matches(':'))]);
    let keys: Vec<_> = keys.lines().filter(|key| key.starts_with(&prefix.key("")) || key.contains("}:")).collect();
    assert!(keys.len() >= 4, "{keys:?}");
    for key in keys {
        let left_s = number(&prefix.redis(&["TTL", key]));
        assert!(left_s <= REGISTRATION_KEPT.as_secs(), "{key}");
    }
}

#[tokio::test]
async fn a_users_key_does_not_grow_with_the_lives_of_nodes() {
    let prefix = Prefix::shared();
    let directory = RedisDirectory::connect(&prefix.options()).await.unwrap();
    let lives = NODES_PER_USER_MAX as u64 * 3;
    for incarnation in 1..=lives {
        directory.put_users(life(1, incarnation), &[(UserId(9), true)]).await.unwrap();
    }
    let key = prefix.redis(&["KEYS", &prefix.key("user:*:9")]);
    assert_eq!(prefix.redis(&["GET", &key]).split(',').count(), NODES_PER_USER_MAX);
    // The latest count, the others are forgotten.
    directory.renew_node(life(1, lives), LEASE).await.unwrap();
    assert_eq!(directory.locate_users(&[UserId(9)]).await.unwrap(), [[NodeId(1)]]);
}

#[tokio::test]
async fn registrations_that_ended_are_dropped_when_the_user_is_put_again() {
    let prefix = Prefix::shared();
    let directory = RedisDirectory::connect(&prefix.options()).await.unwrap();
    directory.put_users(node(2), &[(UserId(9), true)]).await.unwrap();
    let key = prefix.redis(&["KEYS", &prefix.key("user:*:9")]);
    let of_long_ago = "1:0000000000000001=1000000000";
    let value = prefix.redis(&["GET", &key]);
    prefix.redis(&["SET", &key, &format!("{of_long_ago},{value}"), "KEEPTTL"]);
    directory.put_users(node(3), &[(UserId(9), true)]).await.unwrap();
    let value = prefix.redis(&["GET", &key]);
    assert!(!value.contains(of_long_ago) && value.split(',').count() == 2, "{value}");
    directory.put_users(node(2), &[(UserId(9), false)]).await.unwrap();
    directory.put_users(node(3), &[(UserId(9), false)]).await.unwrap();
    assert_eq!(prefix.redis(&["EXISTS", &key]), "0");
}

#[tokio::test]
async fn renewing_a_node_renews_its_users_but_brings_nobody_back() {
    let prefix = Prefix::shared();
    let directory = RedisDirectory::connect(&prefix.options()).await.unwrap();
    directory.renew_node(node(1), LEASE).await.unwrap();
    directory.put_users(node(1), &[(UserId(8), true), (UserId(9), true)]).await.unwrap();
    let key = |user: &str| prefix.redis(&["KEYS", &prefix.key(&format!("user:*:{user}"))]);
    let (stays, gone) = (key("8"), key("9"));
    prefix.redis(&["EXPIRE", &stays, "60"]);
    prefix.redis(&["DEL", &gone]);
    // Each renewal takes at least one user, in turn.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        directory.renew_node(node(1), LEASE).await.unwrap();
    }
    assert!(number(&prefix.redis(&["TTL", &stays])) > 60);
    assert_eq!(prefix.redis(&["EXISTS", &gone]), "0", "who has gone meanwhile stays gone");
}

#[tokio::test]
async fn nodes_that_come_and_go_elsewhere_are_seen_at_once() {
    let prefix = Prefix::shared();
    let here = RedisDirectory::connect(&prefix.options()).await.unwrap();
    let elsewhere = RedisDirectory::connect(&prefix.options()).await.unwrap();
    let located = async || here.locate_users(&[UserId(9)]).await.unwrap().remove(0);
    for n in [1, 2] {
        elsewhere.put_users(node(n), &[(UserId(9), true)]).await.unwrap();
    }
    let short = Duration::from_millis(300);
    assert!(located().await.is_empty());
    elsewhere.renew_node(node(1), LEASE).await.unwrap();
    assert_eq!(located().await, [NodeId(1)]);
    elsewhere.renew_node(node(2), short).await.unwrap();
    assert_eq!(located().await, [NodeId(1), NodeId(2)]);
    elsewhere.leave(node(1)).await.unwrap();
    assert_eq!(located().await, [NodeId(2)]);
    // The last lease, and with it the whole table, ends without a command.
    tokio::time::sleep(short * 2).await;
    assert!(located().await.is_empty());
    elsewhere.renew_node(life(2, 2), LEASE).await.unwrap();
    assert!(located().await.is_empty(), "another life of the node");
    elsewhere.leave(life(2, 2)).await.unwrap();
    elsewhere.renew_node(node(2), LEASE).await.unwrap();
    assert_eq!(located().await, [NodeId(2)]);
    assert_eq!(here.nodes().await.unwrap(), [node(2)]);
}
