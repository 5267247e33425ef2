//! Leases, owners, who is where, guests' names.

use std::time::Duration;

use chinwag_actors::ports::{
    StoreError,
    directory::{Directory, NodeLease, Owner, Renewed},
};
use chinwag_schema::{
    ids::{Incarnation, NodeId, Shard, Term, UserId},
    model::Name,
};

/// A directory and a way to let time pass: on the embedded one a fake clock, on a server a sleep.
pub trait Timed {
    type Directory: Directory;
    /// Long enough that the calls of a test between two waits take much less than half of it.
    const LEASE: Duration;
    fn directory(&self) -> &Self::Directory;
    async fn pass(&self, time: Duration);

    /// Lets a bit more than half a lease pass.
    async fn pass_a_bit(&self) {
        self.pass(Self::LEASE * 6 / 10).await;
    }
}

fn node(node: u16) -> NodeLease {
    life(node, 1)
}

fn life(node: u16, incarnation: u64) -> NodeLease {
    NodeLease { node: NodeId(node), incarnation: Incarnation(incarnation) }
}

fn owner(node: u16, term: u64) -> Owner {
    Owner { node: NodeId(node), term: Term(term) }
}

async fn claim<T: Timed>(timed: &T, shard: u8, owner: Owner) -> Owner {
    timed.directory().claim_shards(&[(Shard(shard), owner)], T::LEASE).await.unwrap()[0]
}

async fn locate(directory: &impl Directory, user: i64) -> Vec<NodeId> {
    directory.locate_users(&[UserId(user)]).await.unwrap().remove(0)
}

const ANEW: Renewed = Renewed { anew: true };
const AGAIN: Renewed = Renewed { anew: false };

pub async fn node_leases_run_out<T: Timed>(timed: &T) {
    let directory = timed.directory();
    directory.ping().await.unwrap();
    assert!(directory.nodes().await.unwrap().is_empty());
    assert_eq!(directory.renew_node(node(2), T::LEASE).await.unwrap(), ANEW);
    assert_eq!(directory.renew_node(life(1, u64::MAX), T::LEASE).await.unwrap(), ANEW);
    assert_eq!(directory.nodes().await.unwrap(), [life(1, u64::MAX), node(2)]);
    timed.pass_a_bit().await;
    assert_eq!(directory.renew_node(node(2), T::LEASE).await.unwrap(), AGAIN);
    timed.pass_a_bit().await;
    assert_eq!(directory.nodes().await.unwrap(), [node(2)]);
    timed.pass_a_bit().await;
    assert!(directory.nodes().await.unwrap().is_empty());
    assert_eq!(directory.renew_node(node(2), T::LEASE).await.unwrap(), ANEW, "it had run out");
}

pub async fn a_node_has_one_life_until_its_lease_ends<T: Timed>(timed: &T) {
    let directory = timed.directory();
    directory.renew_node(life(1, 7), T::LEASE).await.unwrap();
    assert!(matches!(directory.renew_node(life(1, 8), T::LEASE).await, Err(StoreError::AlreadyExists)));
    assert_eq!(directory.renew_node(life(1, 7), T::LEASE).await.unwrap(), AGAIN, "the refusal changed nothing");
    timed.pass_a_bit().await;
    assert!(matches!(directory.renew_node(life(1, 8), T::LEASE).await, Err(StoreError::AlreadyExists)));
    timed.pass_a_bit().await;
    assert_eq!(directory.renew_node(life(1, 8), T::LEASE).await.unwrap(), ANEW);
    assert!(matches!(directory.renew_node(life(1, 7), T::LEASE).await, Err(StoreError::AlreadyExists)));
    assert_eq!(directory.nodes().await.unwrap(), [life(1, 8)]);
}

pub async fn a_shard_has_one_owner_until_its_lease_ends<T: Timed>(timed: &T) {
    let directory = timed.directory();
    let (first, second) = (owner(1, 5), owner(2, 6));
    assert_eq!(claim(timed, 7, first).await, first);
    assert_eq!(claim(timed, 7, second).await, first);
    assert_eq!(claim(timed, 7, owner(1, 9)).await, first, "another term is another owner");
    timed.pass_a_bit().await;
    assert_eq!(claim(timed, 7, first).await, first, "renews");
    timed.pass_a_bit().await;
    assert_eq!(claim(timed, 7, second).await, first);
    assert_eq!(directory.owners().await.unwrap(), [(Shard(7), first)]);
    timed.pass_a_bit().await;
    assert!(directory.owners().await.unwrap().is_empty());
    assert_eq!(claim(timed, 7, second).await, second);
    assert_eq!(claim(timed, 7, first).await, second, "the old owner learns it");
    assert_eq!(claim(timed, 8, first).await, first, "shards are independent");
}

pub async fn claims_are_answered_in_the_order_asked_for<T: Timed>(timed: &T) {
    let directory = timed.directory();
    let (mine, other) = (owner(1, u64::MAX), owner(2, u64::MAX - 1));
    for shard in (0..=255).step_by(3) {
        claim(timed, shard, other).await;
    }
    let claims: Vec<_> = (0..=255u8).rev().map(|shard| (Shard(shard), mine)).collect();
    let expected: Vec<_> = (0..=255u8).rev().map(|shard| if shard % 3 == 0 { other } else { mine }).collect();
    assert_eq!(directory.claim_shards(&claims, T::LEASE).await.unwrap(), expected);
    assert_eq!(directory.claim_shards(&claims, T::LEASE).await.unwrap(), expected, "renews");
    let owners = directory.owners().await.unwrap();
    assert!(owners.iter().map(|(shard, _)| shard.0).eq(0..=255));
    assert!(owners.iter().map(|(_, owner)| owner).eq(expected.iter().rev()));
    directory.release_shards(&claims).await.unwrap();
    let left: Vec<_> = directory.owners().await.unwrap().into_iter().map(|(shard, _)| shard.0).collect();
    assert_eq!(left, (0..=255).step_by(3).collect::<Vec<_>>());
    assert!(directory.claim_shards(&[], T::LEASE).await.unwrap().is_empty());
    directory.release_shards(&[]).await.unwrap();
}

pub async fn only_the_owner_can_release_a_shard<T: Timed>(timed: &T) {
    let directory = timed.directory();
    claim(timed, 7, owner(1, 5)).await;
    for other in [owner(2, 5), owner(1, 4)] {
        directory.release_shards(&[(Shard(7), other)]).await.unwrap();
        assert_eq!(directory.owners().await.unwrap(), [(Shard(7), owner(1, 5))]);
    }
    directory.release_shards(&[(Shard(7), owner(1, 5))]).await.unwrap();
    assert_eq!(claim(timed, 7, owner(2, 6)).await, owner(2, 6));
}

pub async fn leaving_ends_shards_and_registrations<T: Timed>(timed: &T) {
    let directory = timed.directory();
    for n in [1, 2] {
        directory.renew_node(node(n), T::LEASE).await.unwrap();
        claim(timed, n as u8, owner(n, 1)).await;
        directory.put_users(node(n), &[(UserId(9), true)]).await.unwrap();
    }
    directory.leave(node(1)).await.unwrap();
    assert_eq!(directory.nodes().await.unwrap(), [node(2)]);
    assert_eq!(directory.owners().await.unwrap(), [(Shard(2), owner(2, 1))]);
    assert_eq!(locate(directory, 9).await, [NodeId(2)]);
    assert_eq!(directory.renew_node(life(1, 2), T::LEASE).await.unwrap(), ANEW, "the next life needn't wait");
    assert_eq!(locate(directory, 9).await, [NodeId(2)], "what the last life registered doesn't come back");
}

pub async fn an_earlier_life_ends_nothing_of_the_next<T: Timed>(timed: &T) {
    let directory = timed.directory();
    directory.renew_node(life(1, 7), T::LEASE).await.unwrap();
    directory.put_users(life(1, 7), &[(UserId(9), true)]).await.unwrap();
    timed.pass(T::LEASE * 12 / 10).await;
    directory.renew_node(life(1, 8), T::LEASE).await.unwrap();
    assert!(locate(directory, 9).await.is_empty(), "it was on the life before");
    claim(timed, 7, owner(1, 5)).await;
    directory.put_users(life(1, 8), &[(UserId(9), true)]).await.unwrap();
    directory.leave(life(1, 7)).await.unwrap();
    directory.put_users(life(1, 7), &[(UserId(9), false)]).await.unwrap();
    assert_eq!(directory.nodes().await.unwrap(), [life(1, 8)]);
    assert_eq!(directory.owners().await.unwrap(), [(Shard(7), owner(1, 5))]);
    assert_eq!(locate(directory, 9).await, [NodeId(1)]);
    directory.put_users(life(1, 7), &[(UserId(8), true)]).await.unwrap();
    assert!(locate(directory, 8).await.is_empty(), "a stale life registers nobody");
}

pub async fn users_are_located_on_nodes_whose_leases_run<T: Timed>(timed: &T) {
    let directory = timed.directory();
    for n in [2, 1] {
        directory.renew_node(node(n), T::LEASE).await.unwrap();
        directory.put_users(node(n), &[(UserId(9), true)]).await.unwrap();
        directory.put_users(node(n), &[(UserId(9), true)]).await.unwrap();
    }
    assert_eq!(locate(directory, 9).await, [NodeId(1), NodeId(2)]);
    assert!(locate(directory, 8).await.is_empty());
    timed.pass_a_bit().await;
    directory.renew_node(node(2), T::LEASE).await.unwrap();
    timed.pass_a_bit().await;
    assert_eq!(locate(directory, 9).await, [NodeId(2)]);
    directory.put_users(node(2), &[(UserId(9), false)]).await.unwrap();
    assert!(locate(directory, 9).await.is_empty());
    directory.put_users(node(2), &[(UserId(9), false)]).await.unwrap();
}

pub async fn thousands_are_put_and_located_at_once<T: Timed>(timed: &T) {
    const USERS: i64 = 20_000;
    let directory = timed.directory();
    let user = |n: i64| UserId(n << 22);
    let renew = async || {
        for n in [1, 2] {
            directory.renew_node(node(n), T::LEASE * 10).await.unwrap();
        }
    };
    renew().await;
    let all: Vec<_> = (0..USERS).map(|n| (user(n), true)).collect();
    directory.put_users(node(1), &all).await.unwrap();
    let changes: Vec<_> = (0..USERS).step_by(2).map(|n| (user(n), true)).collect();
    directory.put_users(node(2), &changes).await.unwrap();
    let gone: Vec<_> = (0..USERS).map(|n| (user(n), n % 4 != 0)).collect();
    directory.put_users(node(1), &gone).await.unwrap();
    renew().await;
    let asked: Vec<_> = (0..USERS).rev().map(user).chain([UserId(3)]).collect();
    let located = directory.locate_users(&asked).await.unwrap();
    assert_eq!(located.len(), asked.len());
    for (n, nodes) in (0..USERS).rev().zip(&located) {
        let expected: &[NodeId] = match n % 4 {
            0 => &[NodeId(2)],
            2 => &[NodeId(1), NodeId(2)],
            _ => &[NodeId(1)],
        };
        assert_eq!(nodes, expected, "{n}");
    }
    assert!(located.last().unwrap().is_empty());
    assert!(directory.locate_users(&[]).await.unwrap().is_empty());
    directory.put_users(node(1), &[]).await.unwrap();
}

pub async fn a_guests_name_has_one_holder_until_it_runs_out<T: Timed>(timed: &T) {
    let directory = timed.directory();
    let hold = async |name: &str, user| directory.hold_guest_name(name, UserId(user), T::LEASE).await.unwrap().0;
    let holder = async |name: &str| directory.guest_name_holder(name).await.unwrap();
    assert_eq!(holder("Ann").await, None);
    assert_eq!(hold("Ann", 1).await, 1);
    assert_eq!(hold("ann", 2).await, 2, "names are case-sensitive");
    assert_eq!(hold("Ann", 3).await, 1);
    assert_eq!(hold("{Ann} \u{1F986}:", 4).await, 4, "any name will do");
    timed.pass_a_bit().await;
    assert_eq!(hold("Ann", 3).await, 1, "entering prolongs it");
    assert_eq!(
        directory.hold_guest_name("Ann", UserId(3), T::LEASE / 10).await.unwrap(),
        UserId(1),
        "never shortens it"
    );
    timed.pass_a_bit().await;
    assert_eq!((holder("Ann").await, holder("ann").await), (Some(UserId(1)), None));
    timed.pass_a_bit().await;
    assert_eq!(hold("Ann", 3).await, 3);
}

pub async fn only_its_holder_can_release_a_guests_name<T: Timed>(timed: &T) {
    let directory = timed.directory();
    let names: Vec<(Name, UserId)> = (0..500).map(|n| (format!("guest {n}").into(), UserId(n))).collect();
    let held = directory.hold_guest_names(&names, T::LEASE * 10).await.unwrap();
    assert!(held.iter().zip(&names).all(|(holder, (_, user))| holder == user));
    directory.release_guest_name("guest 7", UserId(8)).await.unwrap();
    assert_eq!(directory.guest_name_holder("guest 7").await.unwrap(), Some(UserId(7)));
    directory.release_guest_name("guest 7", UserId(7)).await.unwrap();
    assert_eq!(directory.guest_name_holder("guest 7").await.unwrap(), None);
    let others: Vec<_> = names.iter().rev().map(|(name, _)| (name.clone(), UserId(1000))).collect();
    let held = directory.hold_guest_names(&others, T::LEASE * 10).await.unwrap();
    let expected = (0..500).rev().map(|n| UserId(if n == 7 { 1000 } else { n }));
    assert!(held.into_iter().eq(expected));
    assert!(directory.hold_guest_names(&[], T::LEASE).await.unwrap().is_empty());
}
