//! Making a store, and what is no store of ours.

use chinwag_actors::{
    backends::clustered::scylla::{SCYLLA_SCHEMA_VERSION, ScyllaError, ScyllaMessages, check},
    ports::message_store::{Append, MessageStore},
};
use chinwag_schema::ids::{ConversationId, Seq, Term};
use futures_util::future::join_all;

use super::{
    keyspaces::{Lease, session},
    options,
};
use crate::suite::message;

#[tokio::test]
async fn nodes_that_start_at_once_make_one_store() {
    let keyspace = Lease::fresh();
    let options = options(&keyspace.name);
    assert_eq!(check(&options).await.unwrap().schema_version, None);
    let nodes = join_all((0..6).map(|_| ScyllaMessages::connect(&options))).await;
    let nodes: Vec<_> = nodes.into_iter().map(Result::unwrap).collect();
    let epoch = nodes[0].epoch().await.unwrap();
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(node.epoch().await.unwrap(), epoch);
        let events = vec![message(n as i64 + 1, 1, None, "text")];
        let group = Append { conversation: ConversationId(1), term: Term(n as u64 + 1), head: Seq(n as u64), events };
        node.append(vec![group]).await.unwrap().remove(0).unwrap();
    }
    assert_eq!(nodes[5].heads(&[ConversationId(1)]).await.unwrap()[0].seq, Seq(6));
    let report = check(&options).await.unwrap();
    assert_eq!(report.schema_version, Some(SCYLLA_SCHEMA_VERSION));
    assert!(report.connected > 0 && report.connected <= report.servers, "{report:?}");
    assert!(report.server.contains(char::is_numeric), "{report:?}");
}

#[tokio::test]
async fn stores_that_would_forget_owners_or_are_too_new_are_refused() {
    let keyspace = Lease::fresh();
    let options = options(&keyspace.name);
    ScyllaMessages::connect(&options).await.unwrap();
    let session = session(&keyspace.name).await;
    session.query_unpaged("ALTER TABLE log WITH default_time_to_live = 5", &[]).await.unwrap();
    for refused in [ScyllaMessages::connect(&options).await.map(|_| ()), check(&options).await.map(|_| ())] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, ScyllaError::DefaultTtl { table, ttl_s: 5, .. } if table == "log"), "{error}");
        assert!(error.to_string().contains("ALTER TABLE"), "{error}");
    }
    session.query_unpaged("ALTER TABLE log WITH default_time_to_live = 0", &[]).await.unwrap();
    let newer = "INSERT INTO store_info (name, value) VALUES ('oldest_reader', '99')";
    session.query_unpaged(newer, &[]).await.unwrap();
    for refused in [ScyllaMessages::connect(&options).await.map(|_| ()), check(&options).await.map(|_| ())] {
        let error = refused.unwrap_err();
        assert!(matches!(error, ScyllaError::NewerSchema { needed: 99, .. }), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_store_is_refused_with_a_sentence() {
    let mut nobody = options("test_nobody");
    nobody.nodes = vec!["127.0.0.1:9".into()];
    let error = ScyllaMessages::connect(&nobody).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:9"), "{error}");
    nobody.nodes.clear();
    assert!(matches!(check(&nobody).await, Err(ScyllaError::NoNodes)));
    for name in ["", "1a", "Ab", "a-b", "a;b", &"a".repeat(49)] {
        let refused = check(&options(name)).await;
        assert!(matches!(refused, Err(ScyllaError::BadKeyspaceName { .. })), "{name}");
    }
}
