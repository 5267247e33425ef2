//! What a copy doesn't begin with.

use std::time::Duration;

use chinwag_actors::{
    backends::{
        copy::{CopyError, copy},
        embedded::{BackupError, Database, EmbeddedDirectory, OpenError},
    },
    ports::directory::{Directory, NodeLease},
    runtime::clock::SystemClock,
};
use chinwag_schema::ids::{Incarnation, NodeId};

use super::{
    Cluster, copied, copied_whole,
    source::{LOBBY, fill},
};
use crate::suite::{Log, accounts::some_users};

#[tokio::test]
async fn what_is_not_an_empty_cluster_or_a_stopped_server_is_refused() {
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::make().await);
    let options = cluster.options(place.path());
    let nothing = copied(&options, &|_| {}).await.unwrap_err();
    assert!(matches!(nothing, CopyError::Source(BackupError::NoStore(_))), "{nothing}");
    assert_eq!(place.path().read_dir().unwrap().count(), 0, "and none is made");

    fill(place.path()).await;
    let database = Database::open(place.path(), &Default::default()).unwrap();
    let served = copied(&options, &|_| {}).await.unwrap_err();
    assert!(matches!(served, CopyError::Source(BackupError::Open(OpenError::InUse { .. }))), "{served}");
    drop(database);

    let directory = EmbeddedDirectory::new();
    let node = NodeLease { node: NodeId(1), incarnation: Incarnation(1) };
    directory.renew_node(node, Duration::from_secs(60)).await.unwrap();
    let running = copy(&options, &directory, &SystemClock, &|_| {}).await.unwrap_err();
    assert!(matches!(running, CopyError::NodesRunning), "{running}");

    let messages = cluster.messages().await;
    Log::new(&messages, LOBBY).say(1, "here before").await;
    let written = copied(&options, &|_| {}).await.unwrap_err();
    assert!(matches!(&written, CopyError::NotEmpty { what, .. } if what == "messages"), "{written}");
    some_users(&cluster.accounts().await, 1).await;
    let inhabited = copied(&options, &|_| {}).await.unwrap_err();
    assert!(matches!(&inhabited, CopyError::NotEmpty { what, .. } if what == "users"), "{inhabited}");
    assert_eq!(cluster.accounts().await.copy_begun_at().await.unwrap(), None, "nothing was begun");

    let (other, cluster) = (tempfile::tempdir().unwrap(), Cluster::make().await);
    assert_eq!(copied_whole(&cluster.options(place.path())).await.differences_count, 0);
    fill(other.path()).await;
    let second = copied(&cluster.options(other.path()), &|_| {}).await.unwrap_err();
    assert!(matches!(second, CopyError::NotEmpty { .. }), "{second}");
    let elsewhere = Cluster::make().await;
    let twice = copied(&elsewhere.options(place.path()), &|_| {}).await.unwrap_err();
    assert!(matches!(twice, CopyError::MovedElsewhere { .. }), "{twice}");
}
