//! Copies that end in the middle, and go on.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use chinwag_actors::{
    backends::{
        clustered::postgres::PostgresOptions,
        copy::{CopyError, CopyOptions, Step},
        embedded::{Database, EmbeddedAccounts, EmbeddedMessages},
    },
    ports::account_store::AccountStore,
};
use chinwag_schema::ids::UserId;

use super::{
    Cluster, copied, copied_whole, given_up, scylla_options,
    source::{self, LOBBY, LONG, fill},
};
use crate::scylla::keyspaces;

const CHILD: [&str; 3] = ["CHINWAG_TEST_COPY_FROM", "CHINWAG_TEST_COPY_DATABASE", "CHINWAG_TEST_COPY_KEYSPACE"];

/// Copies, and says how far it is. Run by the test below, as a process of its own.
#[test]
#[ignore = "the process that the test of copies kills"]
fn child_that_copies() {
    let [Ok(from), Ok(database), Ok(keyspace)] = CHILD.map(std::env::var) else { return };
    let options =
        CopyOptions { from: from.into(), postgres: PostgresOptions::new(database), scylla: scylla_options(&keyspace) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(copied(&options, &|progress| println!("{:?} {}", progress.step, progress.done)));
    println!("ended: {:?}", done.map(|summary| summary.differences_count).map_err(|error| error.to_string()));
}

/// Kills the process that copies as soon as it has told so much of a step.
fn killed(cluster: &Cluster, from: &std::path::Path, step: Step, after: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "copy::interrupted::child_that_copies", "--ignored", "--nocapture"])
        .env(CHILD[0], from)
        .env(CHILD[1], &cluster.database.url)
        .env(CHILD[2], &cluster.keyspace.name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let wanted = format!("{step:?} ");
    let reached = told.by_ref().inspect(|line| assert!(!line.starts_with("ended"), "{line}")).any(|line| {
        line.split_once(&wanted).and_then(|(_, count)| count.parse::<u64>().ok()).is_some_and(|done| done >= after)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(reached, "the process ended before {step:?} {after}");
}

#[tokio::test]
async fn a_copy_that_is_killed_again_and_again_is_whole_in_the_end() {
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::make().await);
    fill(place.path()).await;
    let before = {
        let database = Database::open(place.path(), &Default::default()).unwrap();
        source::read(&EmbeddedAccounts::new(database.clone()), &EmbeddedMessages::new(database)).await
    };
    let options = cluster.options(place.path());
    for (step, after) in [(Step::Accounts, 14), (Step::Messages, 20), (Step::Messages, 2), (Step::Verifying, 60)] {
        killed(&cluster, place.path(), step, after);
        assert!(cluster.accounts().await.copy_begun_at().await.unwrap().is_some(), "no node may start: {step:?}");
    }
    let summary = copied_whole(&options).await;
    assert_eq!(summary.differences_count, 0, "{summary}");
    assert_eq!(before, cluster.everything().await);
    assert_eq!(cluster.accounts().await.copy_begun_at().await.unwrap(), None);
}

#[tokio::test]
async fn a_store_that_was_opened_in_between_is_not_gone_on_with() {
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::make().await);
    fill(place.path()).await;
    let options = cluster.options(place.path());
    given_up(&options, Step::Messages, 1).await;
    // As soon as what was given up has let go of it.
    let database = loop {
        if let Ok(database) = Database::open(place.path(), &Default::default()) {
            break database;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    EmbeddedAccounts::new(database.clone()).set_display_name(UserId(1), Some("changed")).await.unwrap();
    drop(database);
    let refused = loop {
        match copied(&options, &|_| {}).await.unwrap_err() {
            CopyError::CopyRunning { .. } => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            other => break other,
        }
    };
    assert!(matches!(refused, CopyError::OtherSource { .. }), "{refused}");
}

#[tokio::test]
async fn what_was_changed_in_the_cluster_is_named_and_nothing_is_released() {
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::make().await);
    fill(place.path()).await;
    let options = cluster.options(place.path());
    given_up(&options, Step::Verifying, 1).await;
    let log = keyspaces::session(&cluster.keyspace.name).await;
    let of = |conversation: i64, seq: i64| {
        let bucket = (seq - 1) / i64::from(super::BUCKET_EVENTS);
        format!("conversation = {conversation} AND bucket = {bucket}")
    };
    let cql = [
        format!(
            "UPDATE log SET content = 'forged' WHERE {} AND part = 0 AND number = 17 AND message_id = 0x",
            of(LONG, 17)
        ),
        format!("DELETE FROM log WHERE {} AND part = 0 AND number = 23", of(LONG, 23)),
        format!("DELETE FROM log WHERE {} AND part = 1 AND number = 2", of(LONG, 1)),
        format!("UPDATE log SET own = 99 WHERE {} AND part = 2 AND number = 3 AND message_id = 0x", of(LONG, 101)),
        format!(
            "UPDATE log SET own = 99 WHERE {} AND part = 2 AND number = 77 AND message_id = 0x",
            of(source::MIDDLE, 7)
        ),
        format!("UPDATE log SET head_messages = 99 WHERE {}", of(LOBBY, 30)),
    ];
    for statement in cql {
        log.query_unpaged(statement, ()).await.unwrap();
    }
    let sql = "UPDATE users SET display_name = 'forged' WHERE id = 3; DELETE FROM members WHERE conversation = 103 AND user_id = 5; \
               INSERT INTO revoked_tokens (jti, expires_at_ms) VALUES ('another', 1)";
    cluster.database.client().await.batch_execute(sql).await.unwrap();

    let summary = copied_whole(&options).await;
    let expected = [
        "users: id 3: display_name".to_owned(),
        "members: conversation 103, user 5: is missing in the cluster".to_owned(),
        "revoked_tokens: jti another: is only in the cluster".to_owned(),
        format!("conversation {LOBBY}: messages in all"),
        format!("conversation {LONG}, event 17: text"),
        format!("conversation {LONG}, event 23: is missing in the cluster"),
        format!("conversation {LONG}, event 1: the message id by which repeats are found"),
        format!("conversation {LONG}: messages of sender 3 up to event 105"),
        format!("conversation {}: messages of sender 77 that were removed", source::MIDDLE),
    ];
    for one in &expected {
        assert!(summary.differences.contains(one), "{one} is not told: {summary}");
    }
    assert_eq!(summary.differences_count, expected.len() as u64, "{summary}");
    assert!(summary.compared.iter().any(|one| one.what == "events" && one.source.sum != one.target.sum));
    assert!(cluster.accounts().await.copy_begun_at().await.unwrap().is_some(), "no node may start");
    assert!(!place.path().join("moved").exists(), "the store may still be served");
}
