//! Which commits wait for their fsync.

use chinwag_actors::{backends::clustered::postgres::PostgresOptions, ports::account_store::AccountStore};
use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    model::{ConversationKind, Cursor, Mark, MemberState},
};
use tokio_postgres::Client;

use super::{TestDatabase, connect};
use crate::suite::accounts::{conversation, member, some_users};

/// Notes, while a transaction commits, whether it will wait.
const NOTE: &str = "CREATE TABLE noted (setting TEXT);
    CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON members DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION note();
    CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON users DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION note();";

async fn noted(client: &Client) -> Vec<String> {
    let rows = client.query("DELETE FROM noted RETURNING setting", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn commits_wait_for_the_disk_except_those_of_what_is_repaired_anyway() {
    let database = TestDatabase::make().await;
    // A database whose owner preferred speed.
    let client = database.client().await;
    client.batch_execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", database.name)).await.unwrap();
    let options = PostgresOptions { connections_max: 1, ..database.options() };
    let store = connect(&options).await.unwrap();
    some_users(&store, 1).await;
    let group = ConversationId(1);
    store.create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    client.batch_execute(NOTE).await.unwrap();

    for round in 1..4 {
        assert!(store.put_member(group, &member(1, MemberState::Settled)).await.unwrap());
        assert_eq!(noted(&client).await, ["on"], "a join, round {round}");
        let mark = Mark { seq: Seq(round), messages: round, own: 0 };
        store.put_cursors(&[(group, UserId(1), Cursor { delivered: mark, read: mark })]).await.unwrap();
        assert_eq!(noted(&client).await, ["off"], "a cursor");
        store.put_cursors(&[(group, UserId(1), Cursor { delivered: mark, read: mark })]).await.unwrap();
        assert!(noted(&client).await.is_empty(), "one that doesn't move writes nothing");
        store.set_display_name(UserId(1), Some("name")).await.unwrap();
        assert_eq!(noted(&client).await, ["on"]);
        store.set_last_seen(&[(UserId(1), 1000 + round.cast_signed())]).await.unwrap();
        assert_eq!(noted(&client).await, ["off"], "a time of last sight");
        store.set_password(UserId(1), "hash", 1).await.unwrap();
        assert_eq!(noted(&client).await, ["on"]);
        assert!(store.remove_member(group, UserId(1)).await.unwrap());
        assert_eq!(noted(&client).await, ["on"], "a leave");
    }
}

#[tokio::test]
async fn who_asked_for_more_than_the_disk_keeps_it() {
    let database = TestDatabase::make().await;
    let client = database.client().await;
    let remote = format!("ALTER DATABASE {} SET synchronous_commit = remote_apply", database.name);
    client.batch_execute(&remote).await.unwrap();
    let store = database.open().await;
    client.batch_execute(NOTE.split("CREATE CONSTRAINT").next().unwrap()).await.unwrap();
    let trigger = "CREATE CONSTRAINT TRIGGER note AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED
                   FOR EACH ROW EXECUTE FUNCTION note()";
    client.batch_execute(trigger).await.unwrap();
    some_users(&store, 1).await;
    assert_eq!(noted(&client).await, ["remote_apply"]);
}
