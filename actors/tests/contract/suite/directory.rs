//! Leases, owners, who is where.

use std::time::Duration;

use chinwag_actors::ports::directory::{Directory, Owner};
use chinwag_schema::ids::{NodeId, Shard, Term, UserId};

/// A directory and a way to let time pass: on the embedded one a fake clock, on a server a sleep.
pub trait Timed {
    type Directory: Directory;
    fn directory(&self) -> &Self::Directory;
    async fn pass(&self, time: Duration);
}

const LEASE: Duration = Duration::from_millis(1000);
const BIT: Duration = Duration::from_millis(600);

fn owner(node: u16, term: u64) -> Owner {
    Owner { node: NodeId(node), term: Term(term) }
}

pub async fn node_leases_run_out(timed: &impl Timed) {
    let directory = timed.directory();
    directory.ping().await.unwrap();
    assert!(directory.nodes().await.unwrap().is_empty());
    directory.renew_node(NodeId(2), LEASE).await.unwrap();
    directory.renew_node(NodeId(1), LEASE).await.unwrap();
    let nodes = || async {
        let mut nodes = directory.nodes().await.unwrap();
        nodes.sort_unstable();
        nodes
    };
    assert_eq!(nodes().await, [NodeId(1), NodeId(2)]);
    timed.pass(BIT).await;
    directory.renew_node(NodeId(2), LEASE).await.unwrap();
    timed.pass(BIT).await;
    assert_eq!(nodes().await, [NodeId(2)]);
    timed.pass(BIT).await;
    assert!(nodes().await.is_empty());
}

pub async fn a_shard_has_one_owner_until_its_lease_ends(timed: &impl Timed) {
    let directory = timed.directory();
    let (first, second) = (owner(1, 5), owner(2, 6));
    assert_eq!(directory.claim_shard(Shard(7), first, LEASE).await.unwrap(), first);
    assert_eq!(directory.claim_shard(Shard(7), second, LEASE).await.unwrap(), first);
    timed.pass(BIT).await;
    assert_eq!(directory.claim_shard(Shard(7), first, LEASE).await.unwrap(), first, "renews");
    timed.pass(BIT).await;
    assert_eq!(directory.claim_shard(Shard(7), second, LEASE).await.unwrap(), first);
    assert_eq!(directory.owners().await.unwrap(), [(Shard(7), first)]);
    timed.pass(BIT).await;
    assert!(directory.owners().await.unwrap().is_empty());
    assert_eq!(directory.claim_shard(Shard(7), second, LEASE).await.unwrap(), second);
    assert_eq!(directory.claim_shard(Shard(7), first, LEASE).await.unwrap(), second, "the old owner learns it");
    assert_eq!(directory.claim_shard(Shard(8), first, LEASE).await.unwrap(), first, "shards are independent");
}

pub async fn only_the_owner_can_release_a_shard(timed: &impl Timed) {
    let directory = timed.directory();
    directory.claim_shard(Shard(7), owner(1, 5), LEASE).await.unwrap();
    for other in [owner(2, 5), owner(1, 4)] {
        directory.release_shard(Shard(7), other).await.unwrap();
        assert_eq!(directory.owners().await.unwrap(), [(Shard(7), owner(1, 5))]);
    }
    directory.release_shard(Shard(7), owner(1, 5)).await.unwrap();
    assert_eq!(directory.claim_shard(Shard(7), owner(2, 6), LEASE).await.unwrap(), owner(2, 6));
}

pub async fn leaving_ends_shards_and_registrations(timed: &impl Timed) {
    let directory = timed.directory();
    for node in [1, 2] {
        directory.renew_node(NodeId(node), LEASE).await.unwrap();
        directory.claim_shard(Shard(node as u8), owner(node, 1), LEASE).await.unwrap();
        directory.put_user(NodeId(node), UserId(9), true).await.unwrap();
    }
    directory.leave(NodeId(1)).await.unwrap();
    assert_eq!(directory.nodes().await.unwrap(), [NodeId(2)]);
    assert_eq!(directory.owners().await.unwrap(), [(Shard(2), owner(2, 1))]);
    assert_eq!(directory.locate_user(UserId(9)).await.unwrap(), [NodeId(2)]);
}

pub async fn users_are_located_on_nodes_whose_leases_run(timed: &impl Timed) {
    let directory = timed.directory();
    for node in [1, 2] {
        directory.renew_node(NodeId(node), LEASE).await.unwrap();
        directory.put_user(NodeId(node), UserId(9), true).await.unwrap();
        directory.put_user(NodeId(node), UserId(9), true).await.unwrap();
    }
    let located = || async {
        let mut nodes = directory.locate_user(UserId(9)).await.unwrap();
        nodes.sort_unstable();
        nodes
    };
    assert_eq!(located().await, [NodeId(1), NodeId(2)]);
    assert!(directory.locate_user(UserId(8)).await.unwrap().is_empty());
    timed.pass(BIT).await;
    directory.renew_node(NodeId(2), LEASE).await.unwrap();
    timed.pass(BIT).await;
    assert_eq!(located().await, [NodeId(2)]);
    directory.put_user(NodeId(2), UserId(9), false).await.unwrap();
    assert!(located().await.is_empty());
}
