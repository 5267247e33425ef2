//! The pool: its bound, its deadlines, and callers that give up.

use std::time::{Duration, Instant};

use chinwag_actors::{
    backends::clustered::postgres::PostgresOptions,
    ports::{StoreError, account_store::AccountStore},
};
use chinwag_schema::ids::UserId;
use futures_util::future::join_all;

use super::{Stored, TestDatabase, accounts, connect};
use crate::suite::accounts::some_users;

#[tokio::test]
async fn no_more_connections_are_made_than_allowed() {
    let Stored { store, database } = accounts().await;
    some_users(&store, 1).await;
    let found = join_all((0..200).map(|_| store.user_by_name("user 1"))).await;
    assert!(found.iter().all(|one| one.as_ref().unwrap().is_some()));
    let connections = store.connections();
    assert!(connections.open <= 8 && connections.max == 8, "{connections:?}");
    let client = database.client().await;
    let count =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chinwag'";
    let there = client.query_one(count, &[]).await.unwrap().get::<_, i64>(0);
    assert!(there <= 8, "{there}");
}

#[tokio::test]
async fn who_finds_all_connections_busy_hears_so_in_time() {
    let database = TestDatabase::make().await;
    let options =
        PostgresOptions { connections_max: 2, acquire_timeout: Duration::from_millis(200), ..database.options() };
    some_users(&database.open().await, 1).await;
    let store = connect(&options).await.unwrap();
    // Once both are there, none has to be waited for but those that are busy.
    while store.connections().open < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sleep = || store.execute("SELECT pg_sleep(1)");
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        let refused = store.user_by_name("user 1").await;
        (refused, begun.elapsed())
    };
    let (a, b, (refused, waited)) = tokio::join!(sleep(), sleep(), late);
    a.unwrap();
    b.unwrap();
    match refused {
        Err(StoreError::Unavailable(said)) => assert!(said.contains("all 2 connections"), "{said}"),
        other => panic!("{other:?}"),
    }
    assert!(waited < Duration::from_millis(800), "{waited:?}");
    assert!(store.user_by_name("user 1").await.unwrap().is_some());
}

#[tokio::test]
async fn callers_are_served_in_the_order_in_which_they_came() {
    let database = TestDatabase::make().await;
    some_users(&database.open().await, 1).await;
    let store = connect(&PostgresOptions { connections_max: 1, ..database.options() }).await.unwrap();
    let served = std::cell::RefCell::new(Vec::new());
    // Each comes back at once, so that somebody new always wants the connection that those in the queue wait for.
    let caller = |n: usize| {
        let (store, served) = (&store, &served);
        async move {
            for _ in 0..10 {
                store.user_by_name("user 1").await.unwrap();
                served.borrow_mut().push(n);
            }
        }
    };
    join_all((0..8).map(caller)).await;
    for round in served.into_inner().chunks(8) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

#[tokio::test]
async fn callers_that_give_up_leave_no_transaction_behind() {
    let database = TestDatabase::make().await;
    let options = PostgresOptions { connections_max: 2, ..database.options() };
    let store = connect(&options).await.unwrap();
    some_users(&store, 1).await;
    let client = database.client().await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    for n in 0..40u64 {
        // Gives up anywhere between the first and the last statement of the transaction.
        let at = Duration::from_micros(n * 100);
        let _ = tokio::time::timeout(at, store.set_password(UserId(1), "hash", 1)).await;
        let until = Instant::now() + Duration::from_secs(10);
        while client.query_one(open, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            assert!(Instant::now() < until, "a transaction is still open");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    store.set_password(UserId(1), "last", 1).await.unwrap();
    assert_eq!(store.credentials("user 1").await.unwrap().unwrap().password_hash, "last");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_the_reason() {
    let database = TestDatabase::make().await;
    let options = PostgresOptions { acquire_timeout: Duration::from_secs(2), ..database.options() };
    let store = connect(&options).await.unwrap();
    some_users(&store, 1).await;
    let client = database.client().await;
    // No new connections, and the old ones end.
    let admin = super::admin().await;
    admin.batch_execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name)).await.unwrap();
    let all = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() \
               AND pid <> pg_backend_pid()";
    client.query(all, &[]).await.unwrap();
    let begun = Instant::now();
    match store.user_by_name("user 1").await {
        Err(StoreError::Unavailable(said)) => {
            assert!(
                said.contains("no connection to Postgres at") && said.contains("not currently accepting"),
                "{said}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(9));
    admin.batch_execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database.name)).await.unwrap();
    assert!(store.user_by_name("user 1").await.unwrap().is_some());
}

#[test]
fn a_thread_that_ends_takes_no_connection_with_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Stored { store, database } = runtime().block_on(accounts());
    runtime().block_on(some_users(&store, 1));
    for _ in 0..3 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let found = runtime().block_on(join_all((0..20).map(|_| store.user_by_name("user 1"))));
                assert!(found.iter().all(|one| one.as_ref().unwrap().is_some()));
            });
        });
    }
    assert_eq!(store.connections().open, store.connections().idle);
    drop((store, database));
}
