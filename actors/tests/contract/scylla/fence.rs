//! Who may write: claims, pauses, races.

use chinwag_actors::ports::{
    StoreError,
    message_store::{Append, Appended, Direction, Filter, MessageStore},
};
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, EventId, Seq, Term},
};

use super::{BUCKET_EVENTS, keyspaces::session, messages};
use crate::suite::{Log, message, new};

const ONE: ConversationId = ConversationId(1);
const BUCKET: u64 = BUCKET_EVENTS as u64;

fn owner<S: MessageStore>(store: &S, term: u64) -> Log<'_, S> {
    let mut log = Log::new(store, ONE.0);
    log.term = Term(term);
    log
}

/// Appends one message as the owner would that believes in this term and head.
async fn attempt(store: &impl MessageStore, term: u64, head: u64, id: i64) -> Result<LogEvent, StoreError> {
    let events = vec![message(id, 1, Some(id as u128), "text")];
    let group = Append { conversation: ONE, term: Term(term), head: Seq(head), events };
    store.append(vec![group]).await.unwrap().remove(0).map(|mut appended| new(appended.remove(0)))
}

async fn ids(store: &impl MessageStore) -> Vec<i64> {
    let page = store.page(ONE, Direction::After(Seq::ZERO), 1000, Filter::All).await.unwrap();
    assert!(page.complete);
    let seqs: Vec<_> = page.events.iter().map(|event| event.seq.0).collect();
    assert_eq!(seqs, (1..=page.events.len() as u64).collect::<Vec<_>>(), "no hole, nothing twice");
    page.events.iter().map(|event| event.id.0).collect()
}

#[tokio::test]
async fn an_owner_paused_at_the_end_of_a_bucket_writes_nothing_after_a_claim() {
    let stored = messages().await;
    let (paused, next) = (&stored.store, stored.node().await);
    let mut log = owner(paused, 1);
    for _ in 0..BUCKET {
        log.say(1, "before").await;
    }
    assert_eq!(next.claim(ONE, Term(2)).await.unwrap().seq, Seq(BUCKET));
    // It still believes in what it knew, and goes to a bucket that nobody has written to.
    assert!(matches!(attempt(paused, 1, BUCKET, 500).await, Err(StoreError::Fenced)));
    let mut after = owner(&next, 2);
    after.head = Seq(BUCKET);
    // Through the buckets that the paused one may have claimed meanwhile.
    for id in 0..3 * BUCKET as i64 {
        assert_eq!(new(after.append_one(message(1000 + id, 2, None, "after")).await).seq, after.head);
        assert!(matches!(attempt(paused, 1, after.head.0, 900 + id).await, Err(StoreError::Fenced)));
    }
    let ids = ids(paused).await;
    assert_eq!(ids.len() as u64, 4 * BUCKET);
    assert!(ids.iter().all(|id| *id <= 50 || *id >= 1000));
}

#[tokio::test]
async fn an_owner_paused_before_any_seq_writes_nothing_after_a_claim() {
    let stored = messages().await;
    let next = stored.node().await;
    for done in 0..=2 * BUCKET {
        // Old owners and new ones in turn, at every distance from the end of a bucket.
        let term = 10 * (done + 1);
        stored.store.claim(ONE, Term(term)).await.unwrap();
        let claimed = next.claim(ONE, Term(term + 1)).await.unwrap();
        assert_eq!(claimed.seq, Seq(done));
        assert!(matches!(attempt(&stored.store, term, done, 10 * done as i64 + 11).await, Err(StoreError::Fenced)));
        assert_eq!(attempt(&next, term + 1, done, 10 * done as i64 + 12).await.unwrap().seq, Seq(done + 1));
    }
    assert!(ids(&next).await.iter().all(|id| *id % 10 == 2));
}

#[tokio::test]
async fn two_owners_of_one_term_that_race_for_every_seq_lose_nothing() {
    let stored = messages().await;
    let other = stored.node().await;
    let race = |store, node: i64| async move {
        let (mut acknowledged, mut rounds) = (Vec::new(), 0);
        while acknowledged.len() < 25 {
            rounds += 1;
            let head = MessageStore::heads(store, &[ONE]).await.unwrap()[0];
            // Different ids at every attempt, as every attempt may be one that nobody has heard of.
            let id = head.last_id.0 + 10 + node;
            if let Ok(event) = attempt(store, 7, head.seq.0, id).await {
                assert_eq!((event.seq, event.id), (head.seq.next(), EventId(id)));
                acknowledged.push(id);
            }
        }
        (acknowledged, rounds)
    };
    let ((mut a, tries_a), (b, tries_b)) = tokio::join!(race(&stored.store, 1), race(&other, 2));
    assert!(tries_a + tries_b > 50, "they never met");
    a.extend(b);
    a.sort_unstable();
    assert_eq!(ids(&other).await, a);
}

#[tokio::test]
async fn an_append_that_arrived_is_not_called_fenced_because_its_answer_was_lost() {
    let stored = messages().await;
    let twin = stored.node().await;
    let events: Vec<_> = (1..=3).map(|n| message(n * 10, 1, Some(n as u128), "text")).collect();
    let group = Append { conversation: ONE, term: Term(1), head: Seq::ZERO, events };
    twin.claim(ONE, Term(1)).await.unwrap();
    let first = stored.store.append(vec![group.clone()]).await.unwrap().remove(0).unwrap();
    // The same batch from who doesn't know of it: what is stored is its own.
    let again = twin.append(vec![group]).await.unwrap().remove(0).unwrap();
    assert_eq!(first, again);
    assert_eq!(ids(&twin).await, [10, 20, 30]);
    assert_eq!(attempt(&twin, 1, 3, 40).await.unwrap().seq, Seq(4));
}

#[tokio::test]
async fn a_first_claim_fences_partitions_that_do_not_exist() {
    let stored = messages().await;
    stored.store.claim(ONE, Term(5)).await.unwrap();
    let session = session(&stored.keyspace.name).await;
    for bucket in [0_i64, 1] {
        let text = "SELECT DISTINCT term FROM log WHERE conversation = ? AND bucket = ?";
        let rows = session.query_unpaged(text, (stored.store.id(ONE).0, bucket)).await.unwrap();
        let (term,): (i64,) = rows.into_rows_result().unwrap().single_row().unwrap();
        assert_eq!(term, 5, "bucket {bucket}");
    }
    let other = stored.node().await;
    assert!(matches!(attempt(&other, 4, 0, 10).await, Err(StoreError::Fenced)));
    assert!(matches!(other.claim(ONE, Term(4)).await, Err(StoreError::Fenced)));
}

#[tokio::test]
async fn the_head_is_found_however_late_its_place_was_written_down() {
    let stored = messages().await;
    let mut log = owner(&stored.store, 1);
    for _ in 0..3 * BUCKET + 2 {
        log.say(1, "text").await;
    }
    // As if the writes of it had been lost.
    let text = "UPDATE logs USING TIMESTAMP 100 SET head_bucket = 0 WHERE conversation = ?";
    session(&stored.keyspace.name).await.query_unpaged(text, (stored.store.id(ONE).0,)).await.unwrap();
    let node = stored.node().await;
    assert_eq!(node.heads(&[ONE]).await.unwrap()[0].seq, log.head);
    let last = node.page(ONE, Direction::Before(Seq(u64::MAX)), 1, Filter::All).await.unwrap();
    assert_eq!(last.events[0].seq, log.head);
    assert_eq!(ids(&node).await.len() as u64, log.head.0);
    assert_eq!(node.claim(ONE, Term(2)).await.unwrap().seq, log.head);
    assert!(matches!(attempt(&stored.store, 1, log.head.0, 9000).await, Err(StoreError::Fenced)));
    assert_eq!(attempt(&node, 2, log.head.0, 9001).await.unwrap().seq, log.head.next());
}

#[tokio::test]
async fn a_repeat_does_not_refuse_the_rest_of_its_group() {
    let stored = messages().await;
    let mut log = owner(&stored.store, 1);
    log.append_one(message(10, 1, Some(1), "a")).await;
    let group = vec![message(20, 1, Some(2), "b"), message(30, 1, Some(1), "a"), message(40, 1, Some(3), "c")];
    let appended = log.append(group).await;
    assert!(matches!(appended[1], Appended::Duplicate { same_body: true, .. }));
    assert_eq!([&appended[0], &appended[2]].map(|one| new(one.clone()).seq.0), [2, 3]);
}

#[tokio::test]
async fn what_the_next_owner_appends_goes_on_where_the_last_one_ended() {
    let stored = messages().await;
    let nodes = [&stored.store, &stored.node().await, &stored.node().await];
    let (mut head, mut totals) = (Seq::ZERO, [0_u64; 3]);
    for turn in 0..12_u64 {
        let mut log = owner(nodes[turn as usize % 3], turn + 1);
        log.head = head;
        let sender = turn % 2 + 1;
        for n in 0..=turn % 3 {
            let id = (turn * 100 + n + 1) as i64;
            let event = new(log.append_one(message(id, sender as i64, Some(id as u128), "text")).await);
            totals[0] += 1;
            totals[sender as usize] += 1;
            assert_eq!((event.messages, event.own), (totals[0], totals[sender as usize]));
        }
        head = log.head;
    }
    assert_eq!(ids(nodes[0]).await.len() as u64, head.0);
}
