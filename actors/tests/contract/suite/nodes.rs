//! What must never go back or be given twice: numbers of nodes, reserved time, terms; and the epoch of the log.

use std::collections::BTreeSet;

use chinwag_actors::ports::{StoreError, account_store::AccountStore};
use chinwag_schema::ids::{Epoch, NodeId, Shard, Term};
use futures_util::future::join_all;

pub async fn nodes_keep_their_numbers_for_ever(store: &impl AccountStore) {
    assert_eq!(store.node_id("first").await.unwrap(), NodeId(0));
    assert_eq!(store.node_id("second").await.unwrap(), NodeId(1));
    assert_eq!(store.node_id("Second").await.unwrap(), NodeId(2), "another name");
    assert_eq!(store.node_id("first").await.unwrap(), NodeId(0));
    for number in 3..NodeId::COUNT {
        assert_eq!(store.node_id(&format!("node {number}")).await.unwrap(), NodeId(number));
    }
    let beyond = store.node_id("one too many").await;
    assert!(matches!(beyond, Err(StoreError::LimitReached(1024))), "{beyond:?}");
    assert_eq!(store.node_id("node 1023").await.unwrap(), NodeId(1023));
}

pub async fn new_nodes_at_once_get_different_numbers(store: &impl AccountStore) {
    let names: Vec<_> = (0..12).map(|n| format!("node {}", n / 2)).collect();
    let given = join_all(names.iter().map(|name| store.node_id(name))).await;
    let given: Vec<_> = given.into_iter().map(Result::unwrap).collect();
    for pair in given.chunks(2) {
        assert_eq!(pair[0], pair[1], "two of one name");
    }
    assert_eq!(given.iter().map(|node| node.0).collect::<BTreeSet<_>>(), (0..6).collect());
}

pub async fn id_reservations_only_grow(store: &impl AccountStore) {
    assert_eq!(store.reserve_ids(1, 1000).await.unwrap(), 0);
    assert_eq!(store.reserve_ids(1, 3000).await.unwrap(), 1000);
    assert_eq!(store.reserve_ids(1, 2000).await.unwrap(), 3000);
    assert_eq!(store.reserve_ids(1, 3001).await.unwrap(), 3000, "a smaller one doesn't take it back");
    assert_eq!(store.reserve_ids(2, 5).await.unwrap(), 0);
    // Whoever comes first reserves from nothing; each other hears of all before it.
    let mut heard: Vec<_> =
        join_all((1..=8).map(|n| store.reserve_ids(1023, n * 100))).await.into_iter().map(Result::unwrap).collect();
    heard.sort_unstable();
    assert_eq!((heard[0], heard[1] > 0), (0, true), "{heard:?}");
    assert_eq!(store.reserve_ids(1023, 1).await.unwrap(), 800);
}

pub async fn terms_only_grow(store: &impl AccountStore) {
    let shard = [Shard(7)];
    let raced = join_all((0..5).map(|_| store.next_terms(&shard))).await;
    let terms: BTreeSet<_> = raced.into_iter().map(|terms| terms.unwrap()[0]).collect();
    assert_eq!(terms.len(), 5, "each another one");
    assert!(*terms.first().unwrap() > Term(0));
    let last = *terms.last().unwrap();
    assert!(store.next_terms(&shard).await.unwrap()[0] > last);

    let all: Vec<_> = (0..=255).rev().map(Shard).collect();
    let first = store.next_terms(&all).await.unwrap();
    let second = store.next_terms(&all).await.unwrap();
    assert_eq!(first.len(), Shard::COUNT);
    assert!(first.iter().zip(&second).all(|(earlier, later)| later > earlier));
    assert!(first[255 - 7] > first[255 - 8], "in the order asked for: shard 7 had more owners");
    // Many nodes that take shards in different orders at the same time.
    let ways: Vec<Vec<_>> = (0..6).map(|n| all.iter().cycle().skip(n * 40).take(256).copied().collect()).collect();
    let raced = join_all(ways.iter().map(|way| store.next_terms(way))).await;
    let mut of_shard: Vec<BTreeSet<Term>> = vec![BTreeSet::new(); Shard::COUNT];
    for (way, terms) in ways.iter().zip(raced) {
        for (shard, term) in way.iter().zip(terms.unwrap()) {
            assert!(of_shard[usize::from(shard.0)].insert(term), "a term given twice");
        }
    }
    assert!(store.next_terms(&[]).await.unwrap().is_empty());
    store.ping().await.unwrap();
}

pub async fn a_term_found_in_the_log_is_stepped_over(store: &impl AccountStore) {
    let next = async |shard: u8| store.next_terms(&[Shard(shard)]).await.unwrap()[0];
    let before = next(1).await;
    store.raise_terms(&[(Shard(1), Term(900)), (Shard(2), Term(70)), (Shard(1), Term(800))]).await.unwrap();
    assert!(before < Term(900) && next(1).await > Term(900));
    assert!(next(2).await > Term(70), "one that nobody owned before");
    store.raise_terms(&[(Shard(1), Term(5)), (Shard(2), Term(5))]).await.unwrap();
    assert!(next(1).await > Term(901) && next(2).await > Term(71), "never lower");
    store.raise_terms(&[]).await.unwrap();
    // Large ones come back as they were.
    let large = Term(u64::MAX / 4);
    store.raise_terms(&[(Shard(3), large)]).await.unwrap();
    assert_eq!(next(3).await, Term(large.0 + 1));
}

pub async fn the_logs_epoch_is_decided_once(store: &impl AccountStore) {
    let wanted: Vec<_> = (1..=6).map(|n| Epoch(n * (u64::MAX / 7))).collect();
    let heard = join_all(wanted.iter().map(|epoch| store.log_epoch(*epoch))).await;
    let heard: BTreeSet<_> = heard.into_iter().map(Result::unwrap).collect();
    assert_eq!(heard.len(), 1, "all hear the same");
    let epoch = *heard.first().unwrap();
    assert_eq!(store.log_epoch(Epoch(1)).await.unwrap(), epoch);
    store.put_log_epoch(Epoch(u64::MAX - 5)).await.unwrap();
    assert_eq!(store.log_epoch(Epoch(1)).await.unwrap(), Epoch(u64::MAX - 5));
}
