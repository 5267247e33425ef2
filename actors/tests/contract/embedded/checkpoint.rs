//! Heads and totals are stored now and then only: what is read is exact all the same, whenever a store is opened anew.

use chinwag_actors::{
    backends::embedded::EmbeddedMessages,
    ports::{
        StoreError,
        message_store::{Append, Appended, MessageStore, NewBody, NewEvent},
    },
};
use chinwag_schema::ids::{Seq, Term, UserId};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::{
    acknowledged::{Acknowledged, HERE, NEXT},
    open,
};
use crate::suite::{NOW_MS, message, new_event};

/// Fails unless the head that is stored is this.
macro_rules! assert_stored_head {
    ($log:expr, $head:literal) => {
        $log.stored
            .database
            .execute_on_writer(concat!(
                "DROP TABLE IF EXISTS temp.stored; CREATE TEMP TABLE stored (head INTEGER CHECK (head = ",
                $head,
                ")); INSERT INTO temp.stored SELECT head FROM log_heads WHERE conversation = 1"
            ))
            .await
            .unwrap()
    };
}

/// What the other tests rely on: where the checkpoints lie.
#[tokio::test]
async fn appends_leave_the_stored_head_alone_until_it_is_far_behind() {
    let mut log = Acknowledged::new().await;
    assert_stored_head!(log, 0);
    log.say(1).await;
    assert_stored_head!(log, 1);
    for _ in 1..64 {
        log.say(1).await;
    }
    assert_stored_head!(log, 1);
    log.say(1).await;
    assert_stored_head!(log, 65);
    log.say(2).await;
    log.stored.store.claim(HERE, Term(1)).await.unwrap();
    assert_stored_head!(log, 65);
    log.stored.store.claim(HERE, Term(2)).await.unwrap();
    assert_stored_head!(log, 66);
    log.verify_all(&log.stored.store).await;
}

#[tokio::test]
async fn whatever_was_appended_is_counted_after_each_crash() {
    let mut log = Acknowledged::new().await;
    for k in 1..200_i64 {
        // User 5 is rare: mostly further back than the checkpoint.
        log.say(if k % 40 == 3 { 5 } else { 1 + k % 3 }).await;
        log.verify(&log.stored.store).await;
        let copy = log.copy();
        let store = EmbeddedMessages::new(open(&copy));
        log.verify_all(&store).await;
        // The fence holds from what is stored, and a new owner goes on at the same place.
        let group = |term: u64, head: i64| {
            let events = vec![message(log.next_id(), 5, None, "on")];
            vec![Append { conversation: HERE, term: Term(term), head: Seq(head as u64), events }]
        };
        assert!(matches!(store.append(group(0, k)).await.unwrap()[0], Err(StoreError::Fenced)));
        for head in [k - 1, k + 1] {
            assert!(matches!(store.append(group(1, head)).await.unwrap()[0], Err(StoreError::Fenced)));
        }
        assert_eq!(store.claim(HERE, Term(2)).await.unwrap(), log.head());
        log.verify(&store).await;
        assert!(matches!(store.append(group(1, k)).await.unwrap()[0], Err(StoreError::Fenced)));
        let appended = store.append(group(2, k)).await.unwrap().remove(0).unwrap().remove(0);
        let Appended::New { event, .. } = appended else { panic!("{appended:?}") };
        let expected = (k as u64 + 1, k as u64 + 1, log.own(5) + 1);
        assert_eq!((event.seq.0, event.messages, event.own), expected);
    }
}

#[tokio::test]
async fn a_term_that_an_append_took_over_fences_after_a_crash() {
    let mut log = Acknowledged::new().await;
    for _ in 0..10 {
        log.say(1).await;
    }
    log.term = Term(7);
    log.say(1).await;
    assert_stored_head!(log, 11);
    log.say(1).await;
    log = log.crash();
    assert!(matches!(log.stored.store.claim(HERE, Term(6)).await, Err(StoreError::Fenced)));
    let events = vec![message(log.next_id(), 1, None, "late")];
    let late = Append { conversation: HERE, term: Term(6), head: Seq(12), events };
    assert!(matches!(log.stored.store.append(vec![late]).await.unwrap()[0], Err(StoreError::Fenced)));
    log.say(1).await;
    log.verify_all(&log.stored.store).await;
}

#[tokio::test]
async fn whatever_was_appended_is_counted_after_each_reopening() {
    // Before each append, so that nothing is ever remembered, and around each checkpoint.
    for every in [1, 63, 64, 65] {
        let mut log = Acknowledged::new().await;
        for k in 1..200 {
            log.say(1 + k % 4).await;
            if k % every == 0 {
                log = log.reopen();
            }
            log.verify(&log.stored.store).await;
        }
        log = log.reopen();
        log.verify_all(&log.stored.store).await;
    }
}

#[tokio::test]
async fn readers_see_what_each_append_wrote_whatever_its_size() {
    let mut log = Acknowledged::new().await;
    for size in [1, 62, 1, 63, 64, 65, 1, 1, 128, 200, 2] {
        let id = log.next_id();
        let events = (0..size).map(|n| match n % 5 {
            3 => new_event(id + n, 4, NewBody::Joined),
            4 => new_event(id + n, 2, NewBody::Edited { target_seq: Seq(1), content: format!("edit {id} {n}").into() }),
            sender => message(id + n, 1 + sender, None, "text"),
        });
        log.append(events.collect()).await;
        log.verify(&log.stored.store).await;
    }
    log.verify_all(&log.stored.store).await;
}

#[tokio::test]
async fn a_log_that_retention_emptied_counts_on_from_where_it_was() {
    for (appends, slice) in [(1, 10), (5, 2), (63, 1000), (64, 1000), (65, 10), (66, 64), (130, 7)] {
        let mut log = Acknowledged::new().await;
        for n in 0..appends {
            log.say(1 + n % 3).await;
        }
        // The last events count nothing, but are the head.
        for body in [NewBody::Joined, NewBody::Deleted { target_seq: Seq(1) }, NewBody::Left] {
            let id = log.next_id();
            log.append(vec![new_event(id, 4, body)]).await;
        }
        log.verify(&log.stored.store).await;
        log.retain(log.all.len(), slice).await;
        log.verify_all(&log.stored.store).await;
        log = if slice % 2 == 0 { log.crash() } else { log };
        log.verify_all(&log.stored.store).await;
        for n in 0..70 {
            log.say(1 + n % 5).await;
            log.verify(&log.stored.store).await;
        }
        log = log.crash();
        log.verify_all(&log.stored.store).await;
        log.retain(log.all.len() - 1, slice).await;
        log.verify_all(&log.stored.store).await;
    }
}

#[tokio::test]
async fn retention_keeps_the_totals_of_what_it_removes_beyond_the_checkpoint() {
    for removed in [1, 2, 30, 63] {
        let mut log = Acknowledged::new().await;
        // The stored head is 1; user 5 spoke at 2 and 3 only.
        for sender in [1, 5, 5] {
            log.say(sender).await;
        }
        for _ in 3..64 {
            log.say(2).await;
        }
        assert_stored_head!(log, 1);
        log.retain(removed, 1000).await;
        log.verify_all(&log.stored.store).await;
        log = log.crash();
        log.verify_all(&log.stored.store).await;
        log.say(5).await;
        log.verify_all(&log.stored.store).await;
    }
}

#[derive(Debug, Clone)]
enum Op {
    /// Appends a group of (sender, what) to the one conversation, and as many messages to its neighbour.
    Append(Vec<(i64, What)>),
    /// Removes this part (of 8) of what is stored, in slices.
    Retain(usize, usize),
    Reopen,
    Crash,
    Claim,
}

#[derive(Debug, Clone)]
enum What {
    Message,
    Edit(u64),
    Delete(u64),
    Join,
    Leave,
}

fn op() -> impl Strategy<Value = Op> {
    let what = prop_oneof![
        8 => Just(What::Message),
        1 => (0..300u64).prop_map(What::Edit),
        1 => (0..300u64).prop_map(What::Delete),
        1 => Just(What::Join),
        1 => Just(What::Leave),
    ];
    // Mostly a few, now and then about as many as lie between two checkpoints.
    let size = prop_oneof![6 => 1..6usize, 3 => 10..40usize, 1 => 60..70usize];
    let sender = prop_oneof![8 => 1..4i64, 1 => Just(4i64)];
    prop_oneof![
        10 => (proptest::collection::vec((sender, what), 70), size)
            .prop_map(|(mut events, size)| { events.truncate(size); Op::Append(events) }),
        2 => (1..=8usize, 1..100usize).prop_map(|(part, slice)| Op::Retain(part, slice)),
        2 => Just(Op::Reopen),
        2 => Just(Op::Crash),
        1 => Just(Op::Claim),
    ]
}

#[tokio::test]
async fn any_life_of_a_store_keeps_its_counts() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let strategy = proptest::collection::vec(op(), 10..30);
    // The runner is synchronous: it makes the cases, we play them, and a failing one is reported as it is.
    for _ in 0..40 {
        let ops = strategy.new_tree(&mut runner).unwrap().current();
        println!("{ops:?}");
        play(&ops).await;
    }
}

async fn play(ops: &[Op]) {
    let mut log = Acknowledged::new().await;
    let mut neighbour = 0;
    for op in ops {
        match op {
            Op::Append(events) => {
                let id = log.next_id();
                let event = |(n, (sender, what)): (usize, &(i64, What))| {
                    let id = id + n as i64;
                    let body = match what {
                        What::Message => return message(id, *sender, Some(id as u128), "text"),
                        What::Edit(seq) => {
                            NewBody::Edited { target_seq: Seq(*seq), content: format!("edit {id}").into() }
                        }
                        What::Delete(seq) => NewBody::Deleted { target_seq: Seq(*seq) },
                        What::Join => NewBody::Joined,
                        What::Leave => NewBody::Left,
                    };
                    new_event(id, *sender, body)
                };
                log.append(events.iter().enumerate().map(event).collect()).await;
                let events = (1..=events.len() as i64).map(|n| NewEvent {
                    // Later than all that retention removes here.
                    at_ms: 2 * NOW_MS,
                    ..message(neighbour + n, 1, None, "text")
                });
                let events: Vec<_> = events.collect();
                let (head, more) = (Seq(neighbour as u64), events.len() as i64);
                let group = Append { conversation: NEXT, term: Term(1), head, events };
                log.stored.store.append(vec![group]).await.unwrap().remove(0).unwrap();
                neighbour += more;
            }
            Op::Retain(part, slice) => {
                let stored = log.all.len() - log.removed;
                let count = log.removed + stored * part / 8;
                if count < log.all.len() {
                    log.retain(count, *slice).await;
                } else {
                    // All of it, but not the neighbour.
                    while log.stored.store.remove_older_than(2 * NOW_MS, *slice).await.unwrap() > 0 {}
                    log.removed = count;
                }
            }
            Op::Reopen => log = log.reopen(),
            Op::Crash => log = log.crash(),
            Op::Claim => {
                log.term.0 += 1;
                assert_eq!(log.stored.store.claim(HERE, log.term).await.unwrap(), log.head());
            }
        }
        log.verify_all(&log.stored.store).await;
        let head = log.stored.store.heads(&[NEXT]).await.unwrap()[0];
        assert_eq!((head.seq.0, head.messages, head.oldest_seq), (neighbour as u64, neighbour as u64, Seq(1)));
        assert_eq!(log.stored.store.own_totals(UserId(1), &[NEXT]).await.unwrap(), [neighbour as u64]);
    }
}
