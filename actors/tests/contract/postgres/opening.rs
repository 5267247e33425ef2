//! Opening: migrations, the guard, and what is said when it can't be done.

use chinwag_actors::{
    backends::clustered::postgres::{PostgresAccounts, PostgresError, PostgresOptions, SCHEMA_VERSION},
    ports::account_store::AccountStore,
};
use chinwag_schema::ids::NodeId;
use futures_util::future::join_all;

use super::{TestDatabase, connect};
use crate::suite::accounts::some_users;

async fn refusal(options: &PostgresOptions) -> PostgresError {
    match connect(options).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn many_nodes_start_at_once_on_an_empty_database() {
    let database = TestDatabase::make().await;
    let opened = join_all((0..8).map(|_| database.open())).await;
    let names: Vec<_> = (0..8).map(|n| format!("node {n}")).collect();
    let given = join_all(opened.iter().zip(&names).map(|(store, name)| store.node_id(name))).await;
    let mut given: Vec<_> = given.into_iter().map(Result::unwrap).collect();
    given.sort();
    assert_eq!(given, (0..8).map(NodeId).collect::<Vec<_>>());
    let client = database.client().await;
    let applied = client.query("SELECT version FROM __diesel_schema_migrations", &[]).await.unwrap();
    assert_eq!(applied.len() as i64, SCHEMA_VERSION, "each migration once");
}

#[tokio::test]
async fn what_a_start_would_do_is_told_without_doing_it() {
    let database = TestDatabase::make().await;
    let pending = PostgresAccounts::pending(&database.options()).await.unwrap();
    assert_eq!((pending[0].version, pending[0].name), ("00000000000001", "first"));
    assert!(pending[0].sql.contains("CREATE TABLE users"));
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let client = database.client().await;
    assert_eq!(client.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 0);
    drop(database.open().await);
    assert!(PostgresAccounts::pending(&database.options()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_newer_schema_is_refused_unless_it_still_admits_this_program() {
    let database = TestDatabase::make().await;
    some_users(&database.open().await, 1).await;
    let client = database.client().await;
    // A newer program has expanded: a migration that this one doesn't know.
    client.batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000000099')").await.unwrap();
    assert!(database.open().await.user_by_name("user 1").await.unwrap().is_some());
    // And then contracted.
    client.batch_execute("UPDATE store_info SET oldest_reader = 99").await.unwrap();
    let refused = refusal(&database.options()).await;
    assert!(matches!(refused, PostgresError::NewerSchema { needed: 99, .. }));
    assert!(refused.to_string().contains("newer chinwag"), "{refused}");
    assert!(PostgresAccounts::pending(&database.options()).await.is_err());
}

#[tokio::test]
async fn a_database_that_belongs_to_something_else_is_left_alone() {
    let database = TestDatabase::make().await;
    let client = database.client().await;
    client.batch_execute("CREATE TABLE users (id INTEGER); INSERT INTO users VALUES (7)").await.unwrap();
    let said = refusal(&database.options()).await.to_string();
    assert!(said.contains("users") && said.contains("one of its own"), "{said}");
    let tables =
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> '__diesel_schema_migrations'";
    assert_eq!(client.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 1, "nothing of the step was kept");
}

#[tokio::test]
async fn each_reason_for_no_connection_says_what_to_do() {
    let database = TestDatabase::make().await;
    let missing = database.url.replace(&database.name, "chinwag_test_nowhere");
    let said = refusal(&PostgresOptions::new(missing)).await.to_string();
    assert!(said.contains("chinwag_test_nowhere") && said.contains("CREATE DATABASE"), "{said}");

    let said = refusal(&PostgresOptions::new("postgres://chat:secret@127.0.0.1:1/accounts")).await.to_string();
    assert!(said.contains("127.0.0.1:1/accounts") && said.contains("check that it runs"), "{said}");
    assert!(!said.contains("secret"), "{said}");

    let insecure = format!("{}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", database.url);
    let said = refusal(&PostgresOptions::new(insecure)).await.to_string();
    assert!(said.contains("/nowhere/ca.pem"), "{said}");
}

#[tokio::test]
async fn a_role_that_may_make_no_tables_opens_a_store_that_is_up_to_date() {
    let database = TestDatabase::make().await;
    let client = database.client().await;
    client.batch_execute("REVOKE CREATE ON SCHEMA public FROM pg_database_owner, PUBLIC").await.unwrap();
    let said = refusal(&database.options()).await.to_string();
    assert!(said.contains("permission denied") && said.contains("GRANT CREATE"), "{said}");

    client.batch_execute("GRANT CREATE ON SCHEMA public TO pg_database_owner").await.unwrap();
    drop(database.open().await);
    client.batch_execute("REVOKE CREATE ON SCHEMA public FROM pg_database_owner").await.unwrap();
    let store = database.open().await;
    some_users(&store, 1).await;
    assert_eq!(store.node_id("node").await.unwrap(), NodeId(0));
}
