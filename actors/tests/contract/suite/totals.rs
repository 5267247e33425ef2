//! Running totals, on which unread counts stand.

use chinwag_actors::ports::message_store::{MessageStore, NewBody};
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, Seq, UserId},
};

use super::{Log, message, new_event};

/// Counts what `totals_at` should say, from rows.
fn count(events: &[LogEvent], user: i64, upto: u64) -> (u64, u64) {
    let messages = events.iter().filter(|event| event.seq.0 <= upto && event.body.is_message());
    (messages.clone().count() as u64, messages.filter(|event| event.sender == UserId(user)).count() as u64)
}

pub async fn totals_are_exact_at_every_position(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    for n in 0..60 {
        let id = log.next_id();
        let sender = 1 + (n * n) % 4;
        let body = match n % 7 {
            3 => NewBody::Joined,
            5 => NewBody::Edited { target_seq: Seq(1), content: format!("edit {n}").into() },
            6 => NewBody::Left,
            _ => NewBody::Message { client_id: None, content: "text".into() },
        };
        log.append_one(new_event(id, sender, body)).await;
    }
    let all = log.everything().await;
    for user in 1..=5 {
        for upto in 0..=61 {
            let totals = store.totals_at(ConversationId(1), UserId(user), Seq(upto)).await.unwrap();
            assert_eq!(totals, count(&all, user, upto), "user {user} at {upto}");
        }
        assert_eq!(
            store.totals_at(ConversationId(1), UserId(user), Seq(u64::MAX)).await.unwrap(),
            count(&all, user, 61)
        );
    }
}

pub async fn totals_of_rare_senders_are_exact_far_from_their_messages(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    // User 1 says something at 500 and 2,500; user 2 all the rest up to 3,000.
    let events = (1..=3000).map(|n| message(n * 10, if n == 500 || n == 2500 { 1 } else { 2 }, None, "text"));
    let events: Vec<_> = events.collect();
    for some in events.chunks(500) {
        log.append(some.to_vec()).await;
    }
    for (upto, own) in [(1, 0), (499, 0), (500, 1), (501, 1), (1500, 1), (2499, 1), (2500, 2), (2999, 2), (3000, 2)] {
        let totals = store.totals_at(ConversationId(1), UserId(1), Seq(upto)).await.unwrap();
        assert_eq!(totals, (upto, own), "at {upto}");
    }
}

pub async fn own_totals_and_heads_come_in_the_order_asked_for(store: &impl MessageStore) {
    for conversation in 1..=3 {
        let mut log = Log::new(store, conversation);
        for _ in 0..conversation {
            log.say(7, "text").await;
        }
        log.say(8, "text").await;
    }
    let asked = [3, 99, 1, 2, 3].map(ConversationId);
    assert_eq!(store.own_totals(UserId(7), &asked).await.unwrap(), [3, 0, 1, 2, 3]);
    let heads = store.heads(&asked).await.unwrap();
    assert_eq!(heads.iter().map(|head| head.seq.0).collect::<Vec<_>>(), [4, 0, 2, 3, 4]);
}
