//! What expires by itself, and removals that were interrupted.

use std::time::{Duration, Instant};

use chinwag_actors::ports::{
    StoreError,
    message_store::{Appended, Direction, Filter, MessageStore, Page},
};
use chinwag_schema::ids::{ConversationId, EventId, Seq, Term, UserId};

use super::{keyspaces::session, messages, with};
use crate::suite::{Log, NOW_MS, message, new};

const ONE: ConversationId = ConversationId(1);

async fn everything(store: &impl MessageStore) -> Page {
    store.page(ONE, Direction::After(Seq::ZERO), 1000, Filter::All).await.unwrap()
}

async fn until(mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never happens");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_expires_takes_neither_owner_nor_head_nor_totals_along() {
    let stored = with(|options| options.retention = Some(Duration::from_secs(4))).await;
    let store = &stored.store;
    let mut log = Log::new(store, ONE.0);
    log.term = Term(5);
    log.append((1..=12).map(|n| message(n * 10, 1 + n % 2, Some(n as u128), "text")).collect()).await;
    until(async || everything(store).await.events.is_empty()).await;
    let page = everything(store).await;
    assert_eq!((page.complete, page.oldest_seq), (true, Seq(13)));
    let node = stored.node().await;
    let head = node.heads(&[ONE]).await.unwrap()[0];
    assert_eq!((head.seq, head.messages, head.oldest_seq, head.last_id), (Seq(12), 12, Seq(13), EventId(120)));
    assert_eq!(node.own_totals(UserId(1), &[ONE]).await.unwrap(), [6]);
    assert_eq!(node.totals_at(ONE, UserId(1), Seq(7)).await.unwrap(), (12, 6));
    assert_eq!(node.find(ONE, EventId(50)).await.unwrap(), None);
    assert!(matches!(node.claim(ONE, Term(4)).await, Err(StoreError::Fenced)));

    let mut log = Log::new(&node, ONE.0);
    (log.term, log.head) = (Term(6), Seq(12));
    let next = log.append_one(message(200, 1, Some(1), "an id as old as its message is free again")).await;
    let next = new(next);
    assert_eq!((next.seq, next.messages, next.own), (Seq(13), 13, 7));
    assert_eq!(everything(store).await.oldest_seq, Seq(13));
}

#[tokio::test]
async fn the_oldest_seq_follows_what_expires() {
    // What is there for ever, as if it had been written last, and what expires before it.
    let stored = with(|options| options.retention = Some(Duration::from_secs(3))).await;
    let mut log = Log::new(&stored.store, ONE.0);
    log.append((1..=13).map(|n| message(n * 10, 1, None, "text")).collect()).await;
    let kept = with_same(&stored).await;
    let mut log = Log::new(&kept, ONE.0);
    (log.term, log.head) = (Term(2), Seq(13));
    log.append((1..=4).map(|n| message(500 + n, 1, None, "kept")).collect()).await;
    until(async || everything(&kept).await.events.len() == 4).await;
    let page = everything(&kept).await;
    assert_eq!((page.events[0].seq, page.oldest_seq), (Seq(14), Seq(14)));
    assert_eq!(kept.heads(&[ONE]).await.unwrap()[0].oldest_seq, Seq(14));
    assert_eq!(kept.totals_at(ONE, UserId(1), Seq(13)).await.unwrap(), (13, 13));
    assert_eq!(kept.totals_at(ONE, UserId(1), Seq(15)).await.unwrap(), (15, 15));
    // The job counts what nobody has noted yet, and finds what stays.
    assert!(kept.remove_older_than(NOW_MS + 501, 1000).await.unwrap() <= 13);
    assert_eq!(kept.remove_older_than(NOW_MS + 501, 1000).await.unwrap(), 0);
    assert_eq!(kept.remove_older_than(NOW_MS + 503, 1000).await.unwrap(), 2);
    assert_eq!(everything(&kept).await.oldest_seq, Seq(16));
}

/// Opens the same store without a retention.
async fn with_same(stored: &super::Stored) -> super::Salted<super::ScyllaMessages> {
    let options = super::ScyllaOptions { retention: None, ..stored.options.clone() };
    super::Salted { store: super::ScyllaMessages::connect(&options).await.unwrap(), salt: stored.store.salt }
}

#[tokio::test]
async fn a_removal_that_was_interrupted_shows_no_rest_and_is_finished() {
    let stored = messages().await;
    let mut log = Log::new(&stored.store, ONE.0);
    log.append((1..=12).map(|n| message(n * 10, 1, Some(n as u128), "text")).collect()).await;
    let (session, id) = (session(&stored.keyspace.name).await, stored.store.id(ONE).0);
    // Said, and not done.
    let text = "UPDATE logs USING TIMESTAMP 8 SET oldest_seq = 8 WHERE conversation = ?";
    session.query_unpaged(text, (id,)).await.unwrap();
    let page = everything(&stored.store).await;
    assert_eq!((page.events[0].seq, page.oldest_seq), (Seq(8), Seq(8)));
    assert_eq!(stored.store.find(ONE, EventId(70)).await.unwrap(), None);

    assert_eq!(stored.store.remove_older_than(NOW_MS + 85, 1000).await.unwrap(), 1);
    let text = "SELECT number FROM log WHERE conversation = ? AND bucket = 1 AND part = 0";
    let rows = session.query_unpaged(text, (id,)).await.unwrap().into_rows_result().unwrap();
    let left: Vec<i64> = rows.rows::<(i64,)>().unwrap().map(|row| row.unwrap().0).collect();
    assert_eq!(left, [9, 10]);
    // Ids went with their messages.
    assert!(matches!(log.append_one(message(500, 1, Some(8), "again")).await, Appended::New { .. }));
    assert!(matches!(log.append_one(message(510, 1, Some(9), "text")).await, Appended::Duplicate { .. }));
}

#[tokio::test]
async fn nodes_that_remove_at_once_leave_one_log() {
    let stored = messages().await;
    let mut log = Log::new(&stored.store, ONE.0);
    log.append((1..=40).map(|n| message(n * 10, 1, Some(n as u128), "text")).collect()).await;
    let other = stored.node().await;
    let remove =
        |store| async move { while MessageStore::remove_older_than(store, NOW_MS + 305, 4).await.unwrap() > 0 {} };
    // Who finds the other at the same bucket leaves it to that one.
    tokio::join!(remove(&stored.store), remove(&other));
    remove(&other).await;
    let page = everything(&other).await;
    assert_eq!((page.events.len(), page.oldest_seq), (10, Seq(31)));
    assert_eq!(other.heads(&[ONE]).await.unwrap()[0].oldest_seq, Seq(31));
}
