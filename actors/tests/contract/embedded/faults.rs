//! Faults: a full disk, a lock held by somebody else's transaction, callers that give up.

use std::time::Duration;

use chinwag_actors::ports::{
    StoreError,
    message_store::{Append, Direction, Filter, MessageStore},
};
use chinwag_schema::ids::{ConversationId, Seq};

use super::messages;
use crate::suite::{Log, message};

fn group(log_head: Seq, id: i64, size: usize) -> Vec<Append> {
    let text = "x".repeat(size);
    let events = vec![message(id, 1, Some(id as u128), &text)];
    vec![Append { conversation: ConversationId(1), term: chinwag_schema::ids::Term(1), head: log_head, events }]
}

#[tokio::test]
async fn a_full_disk_gives_no_false_answer_and_is_survived() {
    let fixture = messages().await;
    let (store, database) = (&fixture.store, &fixture.database);
    let mut log = Log::new(store, 1);
    log.say(1, "before").await;

    // SQLite then fails as it does when the file system is full (SQLITE_FULL), transaction and all.
    database.execute_on_writer("PRAGMA max_page_count = 60").await.unwrap();
    let (mut id, mut refused) = (1000, 0);
    while refused < 5 {
        id += 10;
        match store.append(group(log.head, id, 8000)).await {
            Ok(results) => {
                results.into_iter().next().unwrap().unwrap();
                log.head = log.head.next();
            }
            Err(StoreError::Unavailable(why)) => {
                assert!(why.contains("full"), "{why}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(id < 5000, "the disk never filled");
    }
    // Nothing of what was refused is there, and reading goes on.
    let page = store.page(ConversationId(1), Direction::After(Seq(0)), 1000, Filter::All).await.unwrap();
    assert_eq!(page.events.len() as u64, log.head.0);
    assert_eq!(store.heads(&[ConversationId(1)]).await.unwrap()[0].seq, log.head);
    store.ping().await.unwrap();

    database.execute_on_writer("PRAGMA max_page_count = 100000").await.unwrap();
    let results = store.append(group(log.head, id + 10, 8000)).await.unwrap();
    results.into_iter().next().unwrap().unwrap();
    assert_eq!(store.heads(&[ConversationId(1)]).await.unwrap()[0].seq, log.head.next());
}

#[tokio::test]
async fn reads_go_on_beside_an_open_write_transaction() {
    let fixture = messages().await;
    let (store, database) = (&fixture.store, &fixture.database);
    let mut log = Log::new(store, 1);
    log.say(1, "committed").await;
    database.execute_on_writer("BEGIN IMMEDIATE; DELETE FROM events; UPDATE log_heads SET head = 99").await.unwrap();

    let read = async {
        assert_eq!(log.everything().await.len(), 1);
        assert_eq!(store.heads(&[ConversationId(1)]).await.unwrap()[0].seq, Seq(1));
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("readers waited for the writer");

    database.execute_on_writer("ROLLBACK").await.unwrap();
    log.say(1, "and on").await;
}

/// On a runtime with one thread, as actix's are: a deadline must neither panic nor undo.
#[tokio::test]
async fn a_caller_that_gives_up_stops_waiting_and_nothing_else() {
    let fixture = messages().await;
    let (store, database) = (&fixture.store, &fixture.database);
    // Keeps the writer busy until the append has been given up; again when this thread was stopped for longer than that.
    let mut tries = 0;
    let mut given_up = false;
    while !given_up {
        let busy = database.execute_on_writer(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n",
        );
        let append = store.append(group(Seq(tries), 10 + 10 * tries as i64, 10));
        let (done, result) = tokio::join!(busy, tokio::time::timeout(Duration::from_millis(1), append));
        done.unwrap();
        given_up = result.is_err();
        tries += 1;
        assert!(tries < 20, "no append was given up");
    }
    // It was done all the same; reading back tells.
    store.ping().await.unwrap();
    assert_eq!(store.heads(&[ConversationId(1)]).await.unwrap()[0].seq, Seq(tries));

    for _ in 0..20 {
        let read = store.page(ConversationId(1), Direction::After(Seq(0)), 10, Filter::All);
        let _ = tokio::time::timeout(Duration::ZERO, read).await;
    }
    assert_eq!(Log::new(store, 1).everything().await.len() as u64, tries, "readers come back");
}

#[tokio::test]
async fn writes_are_synchronous_again_after_a_relaxed_one() {
    let fixture = messages().await;
    let (store, database) = (&fixture.store, &fixture.database);
    store.claim(ConversationId(1), chinwag_schema::ids::Term(1)).await.unwrap();
    Log::new(store, 1).say(1, "text").await;
    // CHECK fails unless the connection is at FULL (2) after the append: invariant 1 stands on it.
    database
        .execute_on_writer(
            "CREATE TEMP TABLE level (synchronous INTEGER CHECK (synchronous = 2));
             INSERT INTO level SELECT synchronous FROM pragma_synchronous",
        )
        .await
        .unwrap();
}

/// The writer remembers heads and totals: not beyond a transaction that failed, and not one memory per store.
#[tokio::test]
async fn what_is_remembered_of_a_failed_append_is_forgotten() {
    let fixture = messages().await;
    let (store, database) = (&fixture.store, &fixture.database);
    let mut log = Log::new(store, 1);
    log.say(1, "first").await;
    // The transaction fails at its end, when the head has been moved and the total counted.
    database.execute_on_writer("PRAGMA max_page_count = 1").await.unwrap();
    for id in [100, 200, 300] {
        let refused = store.append(group(Seq(1), id, 200_000)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    database.execute_on_writer("PRAGMA max_page_count = 100000").await.unwrap();
    let second = log.say(1, "second").await;
    assert_eq!((second.seq, second.messages, second.own), (Seq(2), 2, 2));

    let beside = chinwag_actors::backends::embedded::EmbeddedMessages::new(database.clone());
    let mut other = Log::new(&beside, 1);
    (other.head, other.term) = (log.head, log.term);
    for _ in 0..100 {
        other.next_id();
    }
    assert_eq!(other.say(1, "third").await.own, 3);
    let stale = store.append(group(Seq(2), 5000, 10)).await.unwrap().remove(0);
    assert!(matches!(stale, Err(StoreError::Fenced)));
    assert_eq!(log.everything().await.len(), 3);
}
