//! Connections that break, statements that hang, and a server that takes no writes.

use std::time::{Duration, Instant};

use chinwag_actors::{
    backends::clustered::postgres::PostgresOptions,
    ports::{StoreError, account_store::AccountStore},
};
use chinwag_schema::{
    ids::{ConversationId, UserId},
    model::{ConversationKind, MemberState},
};
use futures_util::future::join_all;

use super::{Stored, TestDatabase, accounts, connect};
use crate::suite::accounts::{conversation, member, some_users, user};

/// Ends all connections of the store, as a restart of the server does.
async fn cut(database: &TestDatabase) {
    let client = database.client().await;
    let all = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name = 'chinwag' AND pid <> pg_backend_pid()";
    assert!(!client.query(all, &[]).await.unwrap().is_empty(), "there were connections to end");
}

fn said<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(said)) => said,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn connections_that_the_server_ended_come_back_by_themselves() {
    let Stored { store, database } = accounts().await;
    some_users(&store, 3).await;
    store.create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    for round in 0..5 {
        // As many as there may be.
        let used = join_all((0..16).map(|_| store.user_by_name("user 1"))).await;
        assert!(used.iter().all(Result::is_ok));
        cut(&database).await;
        let row = member(1, MemberState::Settled);
        let (read, written) = tokio::join!(store.user_by_name("user 1"), store.put_member(ConversationId(1), &row));
        assert!(read.unwrap().is_some(), "round {round}");
        assert!(written.unwrap());
        assert!(store.remove_member(ConversationId(1), UserId(1)).await.unwrap());
    }
}

#[tokio::test]
async fn work_under_way_while_connections_end_is_done_once_or_said_to_be_unknown() {
    let Stored { store, database } = accounts().await;
    some_users(&store, 1).await;
    let work = async {
        let mut unknown = Vec::new();
        for round in 0..40 {
            let new: Vec<_> = (0..8).map(|n| user(100 + round * 8 + n, &format!("new {round} {n}"))).collect();
            let created = join_all(new.iter().map(|user| store.create_user(user, "hash"))).await;
            for (user, created) in new.iter().zip(created) {
                match created {
                    Ok(()) => {}
                    Err(StoreError::Unavailable(said)) => {
                        assert!(said.contains("unknown"), "{said}");
                        unknown.push(user.name.clone());
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            // Repeated by themselves: what has no effect, or one that can be repeated.
            assert!(store.user_by_name("user 1").await.unwrap().is_some());
            store.set_display_name(UserId(1), Some("again")).await.unwrap();
        }
        unknown
    };
    let cuts = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let client = database.client().await;
            let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name = 'chinwag'";
            client.query(all, &[]).await.unwrap();
        }
    };
    let (unknown, ()) = tokio::join!(work, cuts);
    for round in 0..40 {
        for n in 0..8 {
            let name = format!("new {round} {n}");
            let there = store.user_by_name(&name).await.unwrap().is_some();
            assert!(there || unknown.iter().any(|one| **one == *name), "{name} was acknowledged");
        }
    }
}

#[tokio::test]
async fn a_statement_that_waits_too_long_is_given_up_and_its_connection_serves_on() {
    let database = TestDatabase::make().await;
    let options =
        PostgresOptions { connections_max: 1, statement_timeout: Duration::from_millis(300), ..database.options() };
    let store = connect(&options).await.unwrap();
    some_users(&store, 1).await;
    let mut client = database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("SELECT 1 FROM users FOR UPDATE").await.unwrap();
    let begun = Instant::now();
    let said = said(store.set_display_name(UserId(1), Some("name")).await);
    assert!(said.contains("statement timeout"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    // Reads pass by the lock.
    assert!(store.user_by_name("user 1").await.unwrap().is_some());
    lock.rollback().await.unwrap();
    store.set_display_name(UserId(1), Some("name")).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing_and_its_connection_serves_on() {
    let database = TestDatabase::make().await;
    let options = PostgresOptions { connections_max: 1, ..database.options() };
    let store = connect(&options).await.unwrap();
    some_users(&store, 1).await;
    store.create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    for _ in 0..3 {
        let nobody = store.put_member(ConversationId(1), &member(9, MemberState::Settled)).await;
        assert!(matches!(nobody, Err(StoreError::NotFound)));
        assert!(matches!(store.set_password(UserId(9), "hash", 1).await, Err(StoreError::NotFound)));
    }
    assert!(store.put_member(ConversationId(1), &member(1, MemberState::Settled)).await.unwrap());
    let client = database.client().await;
    let count = client.query_one("SELECT member_count FROM conversations", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_server_that_becomes_read_only_is_said_to_be_and_served_again_afterwards() {
    let Stored { store, database } = accounts().await;
    some_users(&store, 1).await;
    let client = database.client().await;
    let read_only = |on: bool| {
        let sql = format!("ALTER DATABASE {} SET default_transaction_read_only = {on}", database.name);
        let client = &client;
        async move { client.batch_execute(&sql).await.unwrap() }
    };
    read_only(true).await;
    cut(&database).await;
    let said = said(store.set_display_name(UserId(1), Some("name")).await);
    assert!(said.contains("does not allow writes") || said.contains("takes no writes"), "{said}");
    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    read_only(false).await;
    store.set_display_name(UserId(1), Some("name")).await.unwrap();
}

#[tokio::test]
async fn deadlocks_are_tried_again() {
    let Stored { store, database } = accounts().await;
    some_users(&store, 2).await;
    // Somebody else locks the same two rows in the other order. Who waits first looks first whether it is a deadlock: the store.
    let mut client = database.client().await;
    let other = client.transaction().await.unwrap();
    other.batch_execute("SELECT 1 FROM users WHERE id = 2 FOR UPDATE").await.unwrap();
    let both = store.set_last_seen(&[(UserId(1), 500), (UserId(2), 500)]);
    let other = async {
        // Its turn comes once the store waits for the second row.
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let watch = database.client().await;
        while watch.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.batch_execute("SELECT 1 FROM users WHERE id = 1 FOR UPDATE").await.unwrap();
        other.commit().await.unwrap();
    };
    let (stored, ()) = tokio::join!(both, other);
    stored.unwrap();
    assert_eq!(store.user_by_name("user 2").await.unwrap().unwrap().last_seen_ms, Some(500));
}
