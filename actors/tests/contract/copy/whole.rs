//! A copy that nothing interrupts.

use chinwag_actors::{
    backends::embedded::{Database, EmbeddedAccounts, EmbeddedMessages, OpenError},
    ports::{
        StoreError,
        account_store::{AccountStore, Rotation},
        message_store::{Appended, MessageStore, NewBody},
    },
};
use chinwag_schema::{
    event::EventBody,
    ids::{ConversationId, EventId, Seq, Shard, Term},
};

use super::{
    Cluster, copied, copied_whole, reopened,
    source::{self, ALL, CHAT, EMPTIED, END, LOBBY, MIDDLE, RESERVED_MS, fill, go_on, said},
};
use crate::suite::{NOW_MS, message, new, new_event};

#[tokio::test]
async fn a_cluster_shows_what_the_store_showed_and_goes_on_from_there() {
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::make().await);
    let epoch = fill(place.path()).await;
    let before = {
        let database = Database::open(place.path(), &Default::default()).unwrap();
        source::read(&EmbeddedAccounts::new(database.clone()), &EmbeddedMessages::new(database)).await
    };
    let summary = copied_whole(&cluster.options(place.path())).await;
    assert_eq!((summary.differences_count, &summary.differences[..]), (0, &[][..]), "{summary}");
    for compared in &summary.compared {
        assert_eq!(compared.source, compared.target, "{}", compared.what);
        assert!(compared.source.rows > 0, "{}", compared.what);
    }
    let after = cluster.everything().await;
    for ((place, before), after) in ALL.iter().zip(&before.conversations).zip(&after.conversations) {
        assert_eq!(before, after, "conversation {place}");
    }
    assert_eq!(before, after);

    let (accounts, messages) = (cluster.accounts().await, cluster.messages().await);
    assert_eq!((messages.epoch().await.unwrap(), accounts.log_epoch(epoch).await.unwrap()), (epoch, epoch));
    assert_eq!(accounts.copy_begun_at().await.unwrap(), None, "nodes may start");
    tokens_go_on(&accounts).await;
    // Ids begin after all that the source may have given, terms after all that it gave.
    assert_eq!(accounts.reserve_ids(0, 1).await.unwrap(), RESERVED_MS);
    assert!(accounts.next_term(9).await.unwrap() > 70);
    let owned = ConversationId(LOBBY);
    assert!(matches!(messages.claim(owned, Term(3)).await, Err(StoreError::Fenced)), "the source's owner");
    logs_go_on(&accounts, &messages).await;
}

async fn tokens_go_on(accounts: &impl AccountStore) {
    let rotate =
        async |old| accounts.rotate_refresh_token(&[old; 32], [old + 100; 32], i64::MAX, NOW_MS).await.unwrap();
    assert!(matches!(rotate(1).await, Rotation::Rotated { family: 10, .. }));
    assert!(matches!(rotate(3).await, Rotation::Rotated { family: 20, .. }));
    assert!(matches!(rotate(2).await, Rotation::Reused { family: 20, .. }), "it was spent before");
    assert_eq!(rotate(99).await, Rotation::Refused);
}

async fn logs_go_on(accounts: &impl AccountStore, messages: &impl MessageStore) {
    for place in [LOBBY, CHAT, MIDDLE, END, EMPTIED] {
        let conversation = ConversationId(place);
        let head = messages.heads(&[conversation]).await.unwrap()[0];
        let mut log = go_on(messages, place).await;
        let Shard(shard) = conversation.shard();
        log.term = Term(accounts.next_term(shard).await.unwrap());
        assert_eq!(messages.claim(conversation, log.term).await.unwrap(), head);
        let own = messages.own_totals(crate::suite::accounts::user(1, "").id, &[conversation]).await.unwrap()[0];
        let event = new(log.append_one(message(9000, 1, None, "after")).await);
        assert_eq!((event.seq, event.messages, event.own), (Seq(head.seq.0 + 1), head.messages + 1, own + 1));
    }
    let mut log = go_on(messages, LOBBY).await;
    log.term = Term(accounts.next_term(log.conversation.shard().0).await.unwrap());
    // A message that was sent before the copy and is sent again: the first one, as it stands now.
    for (id, seq, text, same) in [(101, 4, "edited again", true), (110, 13, "text 110 – ünïcode \u{0} 🎉", true)]
    {
        let sender = if id == 110 { source::GUEST } else { 1 + id % 4 };
        let mut repeat = said(LOBBY, id, sender, &format!("text {id} – ünïcode \u{0} 🎉"));
        repeat.id = EventId(9100 + id);
        let Appended::Duplicate { event, same_body } = log.append_one(repeat).await else { panic!("{id} is new") };
        let EventBody::Message(body) = event.body else { panic!("{:?}", event.body) };
        assert_eq!((event.seq, event.id, &*body.content, same_body), (Seq(seq), EventId(id), text, same));
    }
    let mut other = said(LOBBY, 102, 1 + 102 % 4, "another text under the same id");
    other.id = EventId(9300);
    assert!(matches!(log.append_one(other).await, Appended::Duplicate { same_body: false, .. }));
    // Copied messages are changed as others are, deleted ones not.
    let change = |id, target_seq, text: &str| {
        new_event(id, 1, NewBody::Edited { target_seq: Seq(target_seq), content: text.into() })
    };
    assert_eq!(log.append_one(change(9400, 5, "deleted before")).await, Appended::NoTarget);
    new(log.append_one(change(9401, 4, "edited in the cluster")).await);
    let found = messages.find(log.conversation, EventId(101)).await.unwrap().unwrap();
    let EventBody::Message(body) = found.body else { panic!("{:?}", found.body) };
    assert_eq!(&*body.content, "edited in the cluster");
}

#[tokio::test]
async fn a_moved_store_is_refused_until_its_mark_goes_and_has_another_epoch_then() {
    let (place, cluster) = (tempfile::tempdir().unwrap(), Cluster::make().await);
    let epoch = fill(place.path()).await;
    let options = cluster.options(place.path());
    assert_eq!(copied_whole(&options).await.differences_count, 0);
    let refused = Database::open(place.path(), &Default::default()).err().unwrap();
    assert!(matches!(refused, OpenError::Moved { .. }), "{refused}");
    assert!(refused.to_string().contains("moved to a cluster"), "{refused}");
    let again = copied(&options, &|_| {}).await.unwrap_err();
    assert!(matches!(again, super::CopyError::Done { .. }), "{again}");
    let (_, messages) = reopened(place.path());
    assert_ne!(messages.epoch().await.unwrap(), epoch);
}
