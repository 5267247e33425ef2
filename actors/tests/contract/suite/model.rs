//! Any sequence of operations does what a naive model does: a list of rows that counts by looking.

use std::sync::atomic::{AtomicI64, Ordering};

use chinwag_actors::ports::message_store::{Appended, Direction, Filter, MessageStore, NewBody, NewEvent};
use chinwag_schema::ids::{ConversationId, EventId, Seq, UserId};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::{Log, message, new_event};

#[derive(Debug, Clone)]
enum Op {
    /// Appends a group of (sender, what).
    Append(Vec<(i64, What)>),
    /// Removes this many of the stored events, in slices of 3.
    Retain(usize),
}

#[derive(Debug, Clone)]
enum What {
    Message { client_id: Option<u128>, text: u8 },
    Edit(u64),
    Delete(u64),
    Join,
}

fn op() -> impl Strategy<Value = Op> {
    let what = prop_oneof![
        6 => (proptest::option::of(0..12u128), 0..3u8).prop_map(|(client_id, text)| What::Message { client_id, text }),
        1 => (0..30u64).prop_map(What::Edit),
        1 => (0..30u64).prop_map(What::Delete),
        1 => Just(What::Join),
    ];
    prop_oneof![
        8 => proptest::collection::vec((1..4i64, what), 1..8).prop_map(Op::Append),
        1 => (0..6usize).prop_map(Op::Retain),
    ]
}

/// One row of the model.
#[derive(Debug, Clone)]
struct Row {
    id: i64,
    at_ms: i64,
    sender: i64,
    /// The text now and at first, of messages; `None` once deleted.
    text: Option<String>,
    first: Option<String>,
    client_id: Option<u128>,
    is_message: bool,
    stored: bool,
}

// Times grow over all cases, so that retention of one doesn't touch the next.
static CLOCK_MS: AtomicI64 = AtomicI64::new(1);

pub async fn a_store_does_what_a_naive_model_does(store: &impl MessageStore) {
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let conversation = AtomicI64::new(0);
    let mut runner = TestRunner::new(config);
    let strategy = proptest::collection::vec(op(), 1..12);
    // The runner is synchronous: it makes the cases, we play them, and a failing one is reported as it is.
    for _ in 0..runner.config().cases {
        let tree = strategy.new_tree(&mut runner).unwrap();
        play(store, conversation.fetch_add(1, Ordering::Relaxed), &tree.current()).await;
    }
}

async fn play(store: &impl MessageStore, conversation: i64, ops: &[Op]) {
    println!("conversation {conversation}: {ops:?}");
    let mut log = Log::new(store, conversation);
    let mut rows: Vec<Row> = Vec::new();
    for op in ops {
        match op {
            Op::Append(events) => append(&mut log, &mut rows, events).await,
            Op::Retain(count) => {
                let stored: Vec<_> = rows.iter().filter(|row| row.stored).map(|row| row.at_ms).collect();
                let Some(cutoff) = stored.get(*count) else { continue };
                let mut removed = 0;
                loop {
                    match store.remove_older_than(*cutoff, 3).await.unwrap() {
                        0 => break,
                        some => removed += some,
                    }
                }
                let gone = rows.iter_mut().filter(|row| row.stored && row.at_ms < *cutoff);
                let mut expected = 0;
                for row in gone {
                    (row.stored, row.client_id) = (false, None);
                    expected += 1;
                }
                // Conversations of earlier cases are older and may go too.
                assert!(removed >= expected);
            }
        }
    }
    compare(store, &log, &rows).await;
}

async fn append<S: MessageStore>(log: &mut Log<'_, S>, rows: &mut Vec<Row>, events: &[(i64, What)]) {
    let new_events: Vec<_> = events
        .iter()
        .map(|(sender, what)| {
            let id = log.next_id();
            let event = match what {
                What::Message { client_id, text } => message(id, *sender, *client_id, &format!("text {text}")),
                What::Edit(seq) => {
                    let content = format!("edit {id}").into();
                    new_event(id, *sender, NewBody::Edited { target_seq: Seq(*seq), content })
                }
                What::Delete(seq) => new_event(id, *sender, NewBody::Deleted { target_seq: Seq(*seq) }),
                What::Join => new_event(id, *sender, NewBody::Joined),
            };
            NewEvent { at_ms: CLOCK_MS.fetch_add(1, Ordering::Relaxed), ..event }
        })
        .collect();
    let appended = log.append(new_events.clone()).await;
    for (((sender, what), event), result) in events.iter().zip(&new_events).zip(&appended) {
        let mut row = Row {
            id: event.id.0,
            at_ms: event.at_ms,
            sender: *sender,
            text: None,
            first: None,
            client_id: None,
            is_message: false,
            stored: true,
        };
        match what {
            What::Message { client_id, text } => {
                let text = format!("text {text}");
                let first = rows
                    .iter()
                    .position(|row| row.client_id.is_some() && row.client_id == *client_id && row.sender == *sender);
                if let Some(at) = first {
                    let same_body = rows[at].first.as_ref() == Some(&text);
                    let Appended::Duplicate { event, same_body: said } = result else { panic!("{result:?}") };
                    assert_eq!((event.seq.0, *said), (at as u64 + 1, same_body));
                    continue;
                }
                (row.text, row.first) = (Some(text.clone()), Some(text));
                (row.client_id, row.is_message) = (*client_id, true);
            }
            What::Edit(seq) | What::Delete(seq) => {
                let target = (*seq as usize).checked_sub(1).and_then(|at| rows.get_mut(at));
                let Some(target) = target.filter(|row| row.stored && row.is_message && row.text.is_some()) else {
                    assert_eq!(*result, Appended::NoTarget);
                    continue;
                };
                target.text = matches!(what, What::Edit(_)).then(|| format!("edit {}", event.id));
            }
            What::Join => {}
        }
        let Appended::New { event, .. } = result else { panic!("{result:?}") };
        rows.push(row);
        assert_eq!(event.seq.0 as usize, rows.len());
    }
}

async fn compare<S: MessageStore>(store: &S, log: &Log<'_, S>, rows: &[Row]) {
    let conversation = ConversationId(log.conversation.0);
    let count = |user: i64, upto: usize| {
        let messages = rows.iter().take(upto).filter(|row| row.is_message);
        (messages.clone().count() as u64, messages.filter(|row| row.sender == user).count() as u64)
    };
    let oldest = rows.iter().position(|row| row.stored).unwrap_or(rows.len());
    let head = store.heads(&[conversation]).await.unwrap()[0];
    assert_eq!((head.seq.0, head.oldest_seq.0), (rows.len() as u64, oldest as u64 + 1));
    assert_eq!(head.messages, count(0, rows.len()).0);
    for user in 1..=4 {
        for upto in oldest..=rows.len() {
            let totals = store.totals_at(conversation, UserId(user), Seq(upto as u64)).await.unwrap();
            assert_eq!(totals, count(user, upto), "user {user} at {upto}");
        }
        assert_eq!(store.own_totals(UserId(user), &[conversation]).await.unwrap(), [count(user, rows.len()).1]);
    }
    let all = log.everything().await;
    assert_eq!(all.len(), rows.len() - oldest);
    for (event, (at, row)) in all.iter().zip(rows.iter().enumerate().skip(oldest)) {
        assert_eq!((event.seq.0 as usize, event.id.0, event.sender.0), (at + 1, row.id, row.sender));
        assert_eq!((event.messages, event.own), count(row.sender, at + 1));
        if let chinwag_schema::event::EventBody::Message(body) = &event.body {
            assert_eq!((&*body.content, body.deleted), (row.text.as_deref().unwrap_or(""), row.text.is_none()));
        }
        assert_eq!(store.find(conversation, EventId(row.id)).await.unwrap().as_ref(), Some(event));
    }
    // Paging through in either direction gives the same, in pages of 3.
    for filter in [Filter::All, Filter::Messages] {
        let expected: Vec<_> =
            all.iter().filter(|event| filter == Filter::All || event.body.is_message()).cloned().collect();
        let (mut up, mut at) = (Vec::new(), Seq::ZERO);
        loop {
            let page = store.page(conversation, Direction::After(at), 3, filter).await.unwrap();
            at = page.events.last().map_or(at, |event| event.seq);
            up.extend(page.events);
            if page.complete {
                break;
            }
        }
        assert_eq!(up, expected);
        let (mut down, mut at) = (Vec::new(), Seq(u64::MAX));
        loop {
            let page = store.page(conversation, Direction::Before(at), 3, filter).await.unwrap();
            at = page.events.first().map_or(at, |event| event.seq);
            down.splice(0..0, page.events);
            if page.complete {
                break;
            }
        }
        assert_eq!(down, expected);
    }
}
