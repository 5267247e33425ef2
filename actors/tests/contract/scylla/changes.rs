//! Edits and deletions of messages in older buckets, and owners that die in between.

use chinwag_actors::ports::message_store::{Appended, Direction, Filter, MessageStore, NewBody};
use chinwag_schema::{
    event::{EventBody, MessageBody},
    ids::{ConversationId, EventId, Seq, Term},
};

use super::{
    keyspaces::{Salted, session},
    messages, with,
};
use crate::suite::{Log, NOW_MS, message, new_event};

const ONE: ConversationId = ConversationId(1);

fn edit(id: i64, target: u64, text: &str) -> chinwag_actors::ports::message_store::NewEvent {
    new_event(id, 1, NewBody::Edited { target_seq: Seq(target), content: text.into() })
}

async fn now(store: &impl MessageStore, seq: u64) -> MessageBody {
    let page = store.page(ONE, Direction::After(Seq(seq - 1)), 1, Filter::All).await.unwrap();
    match &page.events[0].body {
        EventBody::Message(body) => body.clone(),
        other => panic!("{other:?}"),
    }
}

/// Says a text seven times: the last two are in the second bucket.
async fn seven<S: MessageStore>(store: &S) -> Log<'_, S> {
    let mut log = Log::new(store, ONE.0);
    log.append((1..=7).map(|n| message(n * 10, 1, Some(n as u128), "first")).collect()).await;
    log
}

#[tokio::test]
async fn a_message_in_an_older_bucket_is_changed_as_any_other() {
    let stored = messages().await;
    let mut log = seven(&stored.store).await;
    let appended = log.append(vec![edit(100, 2, "a"), edit(110, 6, "b"), edit(120, 2, "c"), edit(130, 3, "d")]).await;
    let Appended::New { target: Some(target), .. } = &appended[2] else { panic!("{appended:?}") };
    assert!(matches!(&target.body, EventBody::Message(body) if &*body.content == "c"));
    let gone = new_event(140, 1, NewBody::Deleted { target_seq: Seq(3) });
    let appended = log.append(vec![gone, edit(150, 3, "too late")]).await;
    assert_eq!(appended[1], Appended::NoTarget);
    for (seq, text) in [(1, "first"), (2, "c"), (3, ""), (6, "b"), (7, "first")] {
        assert_eq!(&*now(&stored.store, seq).await.content, text, "{seq}");
    }
    assert!(now(&stored.store, 3).await.deleted);
    assert_eq!(now(&stored.store, 2).await.edited_at_ms, Some(NOW_MS + 120));
}

#[tokio::test]
async fn a_text_that_was_deleted_is_in_no_row_any_more() {
    let stored = messages().await;
    let mut log = seven(&stored.store).await;
    log.append(vec![edit(100, 2, "secret one"), edit(110, 7, "secret two"), edit(120, 2, "secret three")]).await;
    for (id, seq) in [(130, 2), (140, 7)] {
        log.append_one(new_event(id, 1, NewBody::Deleted { target_seq: Seq(seq) })).await;
    }
    let session = session(&stored.keyspace.name).await;
    let mut rows = 0;
    for bucket in 0..4_i64 {
        let text = "SELECT content FROM log WHERE conversation = ? AND bucket = ? AND part = 0";
        let found = session.query_unpaged(text, (stored.store.id(ONE).0, bucket)).await.unwrap();
        for row in found.into_rows_result().unwrap().rows::<(Option<String>,)>().unwrap() {
            let content = row.unwrap().0.unwrap_or_default();
            assert!(!content.contains("secret"), "{content}");
            rows += 1;
        }
    }
    assert_eq!(rows, 12);
}

/// Does what an owner does up to the batch of an edit (seq 8, of message 2) and dies.
async fn half_an_edit<S: MessageStore>(store: &Salted<S>, keyspace: &str, text: &str) {
    let (session, id) = (session(keyspace).await, store.id(ONE).0);
    for (column, seq) in [("change_done", 7_i64), ("change_begun", 8)] {
        let text = format!("UPDATE logs USING TIMESTAMP {seq} SET {column} = {seq} WHERE conversation = ?");
        session.query_unpaged(text, (id,)).await.unwrap();
    }
    let text = format!(
        "BEGIN BATCH UPDATE log SET head = 8, head_id = 100, head_at_ms = 1 WHERE conversation = {id} AND bucket = 1 \
         IF term = 1 AND head = 7; \
         INSERT INTO log (conversation, bucket, part, number, message_id, event_id, at_ms, what, sender, sender_name, messages, \
         own, content, target_seq, target_id) VALUES ({id}, 1, 0, 8, 0x, 100, 1, 1, 1, 'user 1', 7, 7, '{text}', 2, 20); APPLY BATCH"
    );
    let rows = session.query_unpaged(text, &[]).await.unwrap().into_rows_result().unwrap();
    assert_eq!(rows.first_row::<(bool,)>().unwrap(), (true,));
}

#[tokio::test]
async fn an_edit_whose_owner_died_is_seen_at_once_and_finished_by_the_next() {
    let stored = messages().await;
    seven(&stored.store).await;
    half_an_edit(&stored.store, &stored.keyspace.name, "edited").await;
    let node = stored.node().await;
    // Seen: alone, on a page with its event, by its id.
    assert_eq!(&*now(&node, 2).await.content, "edited");
    let page = node.page(ONE, Direction::Before(Seq(u64::MAX)), 100, Filter::All).await.unwrap();
    assert!(matches!(&page.events[1].body, EventBody::Message(body) if &*body.content == "edited"));
    assert!(matches!(page.events[7].body, EventBody::Edited { target_seq: Seq(2), .. }));
    let found = node.find(ONE, EventId(20)).await.unwrap().unwrap();
    assert_eq!(found, page.events[1]);

    // Finished: the row has it, the event hasn't any more, and a later change isn't taken back.
    assert_eq!(node.claim(ONE, Term(2)).await.unwrap().seq, Seq(8));
    let row = |bucket: i64, seq: i64| {
        let (id, keyspace) = (stored.store.id(ONE).0, &stored.keyspace.name);
        async move {
            let text = "SELECT content FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number = ?";
            let rows = session(keyspace).await.query_unpaged(text, (id, bucket, seq)).await.unwrap();
            rows.into_rows_result().unwrap().single_row::<(Option<String>,)>().unwrap().0
        }
    };
    assert_eq!(row(0, 2).await.as_deref(), Some("edited"));
    assert_eq!(row(1, 8).await, None);
    let mut log = Log::new(&node, ONE.0);
    (log.term, log.head) = (Term(2), Seq(8));
    log.append_one(edit(200, 2, "later")).await;
    assert_eq!(node.claim(ONE, Term(3)).await.unwrap().seq, Seq(9));
    assert_eq!(&*now(&node, 2).await.content, "later");
}

#[tokio::test]
async fn an_edit_that_never_came_changes_nothing() {
    let stored = messages().await;
    seven(&stored.store).await;
    let (session, id) = (session(&stored.keyspace.name).await, stored.store.id(ONE).0);
    session
        .query_unpaged("UPDATE logs USING TIMESTAMP 12 SET change_begun = 12 WHERE conversation = ?", (id,))
        .await
        .unwrap();
    let node = stored.node().await;
    assert_eq!(&*now(&node, 2).await.content, "first");
    let mut log = Log::new(&node, ONE.0);
    (log.term, log.head) = (Term(2), Seq(7));
    log.append((1..=8).map(|n| message(100 + n, 1, None, "text")).collect()).await;
    assert_eq!(&*now(&stored.store, 2).await.content, "first");
    log.append_one(edit(200, 2, "edited")).await;
    assert_eq!(&*now(&stored.store, 2).await.content, "edited");
}

#[tokio::test]
async fn an_edited_text_does_not_outlive_its_message() {
    let stored = with(|options| options.retention = Some(std::time::Duration::from_secs(1000))).await;
    seven(&stored.store).await;
    let mut log = Log::new(&stored.store, ONE.0);
    log.head = Seq(7);
    log.append(vec![edit(100, 2, "x"), edit(110, 7, "y")]).await;
    let session = session(&stored.keyspace.name).await;
    for (bucket, seq) in [(0_i64, 2_i64), (1, 7)] {
        let text = "SELECT TTL(content), TTL(at_ms) FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number = ?";
        let rows = session.query_unpaged(text, (stored.store.id(ONE).0, bucket, seq)).await.unwrap();
        let (content, message): (i32, i32) = rows.into_rows_result().unwrap().single_row().unwrap();
        assert!(content <= message && message <= 1000, "{content} {message}");
    }
}
