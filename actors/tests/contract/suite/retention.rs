//! Removing what is old.

use chinwag_actors::ports::message_store::{Appended, Direction, Filter, MessageStore, NewEvent};
use chinwag_schema::ids::{ConversationId, EventId, Seq, UserId};

use super::{Log, message, new};

/// Makes a message of a given age.
fn aged(id: i64, sender: i64, at_ms: i64, client_id: Option<u128>) -> NewEvent {
    NewEvent { at_ms, ..message(id, sender, client_id, "text") }
}

pub async fn retention_removes_a_prefix_in_slices(store: &impl MessageStore) {
    let mut old = Log::new(store, 1);
    // The clock jumped back at 8: what lies behind a young event stays.
    let times = [10, 20, 30, 40, 50, 60, 200, 5, 300, 400];
    let events =
        times.iter().enumerate().map(|(n, at_ms)| aged(n as i64 * 10 + 10, 1, *at_ms, Some(n as u128))).collect();
    old.append(events).await;
    let mut young = Log::new(store, 2);
    young.append(vec![aged(10, 1, 500, None)]).await;

    assert_eq!(store.remove_older_than(100, 4).await.unwrap(), 4);
    let head = store.heads(&[ConversationId(1)]).await.unwrap()[0];
    assert_eq!((head.oldest_seq, head.seq, head.messages), (Seq(5), Seq(10), 10));
    assert_eq!(store.remove_older_than(100, 4).await.unwrap(), 2);
    assert_eq!(store.remove_older_than(100, 4).await.unwrap(), 0);
    let page = store.page(ConversationId(1), Direction::Before(Seq(u64::MAX)), 100, Filter::All).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [7, 8, 9, 10]);
    assert!(page.complete);
    assert_eq!(page.oldest_seq, Seq(7));
    assert_eq!(store.find(ConversationId(1), EventId(60)).await.unwrap(), None);
    assert_eq!(store.find(ConversationId(1), EventId(70)).await.unwrap().unwrap().seq, Seq(7));
    assert_eq!(store.heads(&[ConversationId(2)]).await.unwrap()[0].oldest_seq, Seq(1));

    // Ids of what is left still catch repeats.
    let again = old.append_one(aged(1000, 1, 600, Some(9))).await;
    assert!(matches!(again, Appended::Duplicate { same_body: true, .. }));
    // And the next event goes behind the head.
    assert_eq!(new(old.append_one(aged(1010, 1, 600, None)).await).seq, Seq(11));
}

pub async fn totals_survive_retention(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    log.append((1..=30).map(|n| aged(n * 10, 1 + n % 3, n, None)).collect()).await;
    let mut before = Vec::new();
    for user in 1..=3 {
        for upto in 0..=30 {
            before.push(store.totals_at(ConversationId(1), UserId(user), Seq(upto)).await.unwrap());
        }
    }
    assert_eq!(store.remove_older_than(21, 1000).await.unwrap(), 20);
    let mut kept = before.iter();
    for user in 1..=3 {
        for upto in 0..=30 {
            let now = store.totals_at(ConversationId(1), UserId(user), Seq(upto)).await.unwrap();
            let then = kept.next().unwrap();
            if upto >= 20 {
                assert_eq!(now, *then, "user {user} at {upto}");
            }
        }
    }
    assert_eq!(store.own_totals(UserId(1), &[ConversationId(1)]).await.unwrap(), [10]);
    let next = new(log.append_one(aged(1000, 1, 100, None)).await);
    assert_eq!((next.messages, next.own), (31, 11));
}

pub async fn a_log_emptied_by_retention_goes_on(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    log.append((1..=5).map(|n| aged(n * 10, 1, n, None)).collect()).await;
    assert_eq!(store.remove_older_than(100, 1000).await.unwrap(), 5);
    let head = store.heads(&[ConversationId(1)]).await.unwrap()[0];
    assert_eq!((head.seq, head.oldest_seq, head.messages, head.last_id), (Seq(5), Seq(6), 5, EventId(50)));
    assert_eq!(store.totals_at(ConversationId(1), UserId(1), Seq(5)).await.unwrap(), (5, 5));
    assert_eq!(store.find(ConversationId(1), EventId(50)).await.unwrap(), None);

    let next = new(log.append_one(aged(60, 1, 200, None)).await);
    assert_eq!((next.seq, next.messages, next.own), (Seq(6), 6, 6));
    assert_eq!(store.heads(&[ConversationId(1)]).await.unwrap()[0].oldest_seq, Seq(6));
    assert_eq!(store.remove_older_than(150, 1000).await.unwrap(), 0, "the first that is stored is young");
    assert_eq!(store.remove_older_than(201, 1000).await.unwrap(), 1);
}
