//! Appending: seqs, repeats, changes, the fence.

use chinwag_actors::ports::{
    StoreError,
    message_store::{Append, Appended, MessageStore, NewBody},
};
use chinwag_schema::{
    event::{EventBody, LogEvent, MessageBody},
    ids::{ConversationId, EventId, Seq, Term, UserId},
    model::Head,
};
use uuid::Uuid;

use super::{Log, NOW_MS, message, new, new_event};

fn body(event: &LogEvent) -> &MessageBody {
    match &event.body {
        EventBody::Message(body) => body,
        other => panic!("not a message: {other:?}"),
    }
}

pub async fn a_conversation_never_written_to_is_empty(store: &impl MessageStore) {
    let empty = Head { oldest_seq: Seq(1), ..Head::default() };
    assert_eq!(store.heads(&[ConversationId(5)]).await.unwrap(), [empty]);
    assert_eq!(store.claim(ConversationId(5), Term(3)).await.unwrap(), empty);
    assert_eq!(store.heads(&[ConversationId(5)]).await.unwrap(), [empty]);
    assert_eq!(store.totals_at(ConversationId(5), UserId(1), Seq(9)).await.unwrap(), (0, 0));
    assert_eq!(store.find(ConversationId(5), EventId(1)).await.unwrap(), None);
    assert_eq!(store.remove_older_than(NOW_MS, 10).await.unwrap(), 0);
    store.ping().await.unwrap();
}

pub async fn seqs_are_contiguous_and_totals_run(store: &impl MessageStore) {
    let mut log = Log::new(store, 7);
    let events = vec![
        new_event(10, 1, NewBody::Joined),
        message(20, 1, None, "one"),
        message(30, 2, None, "two"),
        new_event(40, 2, NewBody::Left),
        message(50, 1, None, "three"),
    ];
    let appended: Vec<_> = log.append(events).await.into_iter().map(new).collect();
    let seen: Vec<_> = appended.iter().map(|event| (event.seq.0, event.id.0, event.messages, event.own)).collect();
    assert_eq!(seen, [(1, 10, 0, 0), (2, 20, 1, 1), (3, 30, 2, 1), (4, 40, 2, 1), (5, 50, 3, 2)]);
    assert_eq!(log.everything().await, appended);
    let head = Head { seq: Seq(5), messages: 3, oldest_seq: Seq(1), last_id: EventId(50), last_at_ms: NOW_MS + 50 };
    assert_eq!(store.heads(&[ConversationId(7)]).await.unwrap(), [head]);

    let next = new(log.append_one(message(60, 2, None, "four")).await);
    assert_eq!((next.seq, next.messages, next.own), (Seq(6), 4, 2));
}

pub async fn conversations_of_one_call_stand_or_fall_alone(store: &impl MessageStore) {
    store.claim(ConversationId(2), Term(9)).await.unwrap();
    let group = |conversation: i64, id: i64| Append {
        conversation: ConversationId(conversation),
        term: Term(4),
        head: Seq::ZERO,
        events: vec![message(id, 1, Some(id as u128), "text")],
    };
    let results = store.append(vec![group(1, 10), group(2, 20), group(3, 30)]).await.unwrap();
    assert!(matches!(results[0].as_deref(), Ok([Appended::New { .. }])));
    assert!(matches!(results[1], Err(StoreError::Fenced)));
    assert!(matches!(results[2].as_deref(), Ok([Appended::New { .. }])));
    let heads = store.heads(&[ConversationId(1), ConversationId(2), ConversationId(3)]).await.unwrap();
    assert_eq!(heads.iter().map(|head| head.seq.0).collect::<Vec<_>>(), [1, 0, 1]);
}

pub async fn a_smaller_term_or_another_head_is_fenced(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    log.term = Term(5);
    log.say(1, "first").await;
    let attempt = |term: u64, head: u64| {
        let id = 1000 + (term * 10 + head) as i64;
        let group = Append {
            conversation: ConversationId(1),
            term: Term(term),
            head: Seq(head),
            events: vec![message(id, 1, Some(77), "again")],
        };
        async move { store.append(vec![group]).await.unwrap().remove(0) }
    };
    for (term, head) in [(4, 1), (5, 0), (5, 2), (4, 0)] {
        assert!(matches!(attempt(term, head).await, Err(StoreError::Fenced)), "term {term} head {head}");
    }
    assert!(matches!(store.claim(ConversationId(1), Term(4)).await, Err(StoreError::Fenced)));
    assert_eq!(store.claim(ConversationId(1), Term(5)).await.unwrap().seq, Seq(1));
    assert_eq!(store.claim(ConversationId(1), Term(6)).await.unwrap().seq, Seq(1));
    assert!(matches!(attempt(5, 1).await, Err(StoreError::Fenced)), "an owner whose conversation was claimed");
    // What was refused left no trace: its client id is free.
    assert!(matches!(attempt(6, 1).await.as_deref(), Ok([Appended::New { .. }])));
    assert_eq!(store.heads(&[ConversationId(1)]).await.unwrap()[0].seq, Seq(2));
}

pub async fn ids_that_do_not_grow_are_refused(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    log.append_one(message(50, 1, None, "first")).await;
    for ids in [vec![50], vec![49], vec![60, 60], vec![60, 55]] {
        let events = ids.iter().map(|id| message(*id, 1, None, "text")).collect();
        let group = Append { conversation: log.conversation, term: log.term, head: log.head, events };
        assert!(store.append(vec![group]).await.unwrap()[0].is_err(), "{ids:?}");
    }
    assert_eq!(log.everything().await.len(), 1);
}

pub async fn a_repeat_gives_the_first_row(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    let first = new(log.append_one(message(10, 1, Some(1), "hello")).await);
    log.say(2, "between").await;
    let again = log.append_one(message(900, 1, Some(1), "hello")).await;
    assert_eq!(again, Appended::Duplicate { event: first.clone(), same_body: true });
    let other = log.append_one(message(910, 1, Some(1), "something else")).await;
    assert_eq!(other, Appended::Duplicate { event: first, same_body: false });
    assert_eq!(log.everything().await.len(), 2);
    let head = store.heads(&[log.conversation]).await.unwrap()[0];
    assert_eq!((head.seq, head.messages), (Seq(2), 2));
    assert_eq!(store.own_totals(UserId(1), &[log.conversation]).await.unwrap(), [1]);
}

pub async fn a_repeat_within_one_group_gives_the_first_row(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    let appended = log
        .append(vec![
            message(10, 1, Some(1), "a"),
            message(20, 1, Some(1), "a"),
            message(30, 1, Some(2), "b"),
            message(40, 1, Some(1), "c"),
        ])
        .await;
    let first = new(appended[0].clone());
    assert_eq!(appended[1], Appended::Duplicate { event: first.clone(), same_body: true });
    assert_eq!(new(appended[2].clone()).seq, Seq(2));
    assert_eq!(appended[3], Appended::Duplicate { event: first, same_body: false });
    assert_eq!(log.everything().await.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [1, 2]);
}

pub async fn repeats_that_race_are_stored_once(store: &impl MessageStore) {
    // Two nodes that believe to own the conversation: the head decides between them, the loser reads on.
    let racer = |node: i64| async move {
        let (mut appended, mut done, mut id) = (0, 0, node);
        while done < 20 {
            let head = store.heads(&[ConversationId(1)]).await.unwrap()[0];
            id = head.last_id.0 + node;
            let events = vec![message(id, 1, Some(done as u128 + 1), "same")];
            let group = Append { conversation: ConversationId(1), term: Term(1), head: head.seq, events };
            match store.append(vec![group]).await.unwrap().remove(0).as_deref() {
                Ok([Appended::New { .. }]) => (appended, done) = (appended + 1, done + 1),
                Ok([Appended::Duplicate { same_body: true, .. }]) => done += 1,
                Err(StoreError::Fenced) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(id > 0);
        appended
    };
    let (a, b, c) = tokio::join!(racer(1), racer(2), racer(3));
    assert_eq!(a + b + c, 20);
    let log = Log::new(store, 1);
    let seqs: Vec<_> = log.everything().await.iter().map(|event| event.seq.0).collect();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
}

pub async fn the_same_client_id_of_another_sender_is_no_repeat(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    new(log.append_one(message(10, 1, Some(1), "mine")).await);
    new(log.append_one(message(20, 2, Some(1), "yours")).await);
    let mut elsewhere = Log::new(store, 2);
    new(elsewhere.append_one(message(30, 1, Some(1), "elsewhere")).await);
}

pub async fn a_repeat_of_an_edited_message_is_compared_with_the_first_text(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    log.append_one(message(10, 1, Some(1), "first")).await;
    let edit = NewBody::Edited { target_seq: Seq(1), content: "edited".into() };
    log.append_one(new_event(20, 1, edit)).await;
    for (id, text, same) in [(30, "first", true), (40, "edited", false)] {
        match log.append_one(message(id, 1, Some(1), text)).await {
            Appended::Duplicate { event, same_body } => {
                assert_eq!(same_body, same, "{text}");
                assert_eq!(&*body(&event).content, "edited", "as it stands now");
            }
            other => panic!("{other:?}"),
        }
    }
    log.append_one(new_event(50, 1, NewBody::Deleted { target_seq: Seq(1) })).await;
    match log.append_one(message(60, 1, Some(1), "first")).await {
        Appended::Duplicate { event, same_body: true } => assert!(body(&event).deleted),
        other => panic!("{other:?}"),
    }
}

pub async fn edits_change_the_row_and_leave_an_event(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    let first = new(log.append_one(message(10, 1, Some(9), "frist")).await);
    let edit = |text: &str| NewBody::Edited { target_seq: Seq(1), content: text.into() };
    let Appended::New { event, target: Some(target) } = log.append_one(new_event(20, 1, edit("first"))).await else {
        panic!("not appended");
    };
    assert_eq!(event.body, EventBody::Edited { target: first.id, target_seq: Seq(1) });
    assert_eq!((event.seq, event.messages, event.own), (Seq(2), 1, 1), "an edit is no message");
    let edited_at_ms = Some(NOW_MS + 20);
    let stands =
        MessageBody { client_id: Some(Uuid::from_u128(9)), content: "first".into(), edited_at_ms, deleted: false };
    assert_eq!(target, LogEvent { body: EventBody::Message(stands), ..first });
    assert_eq!(log.everything().await, [target, event]);

    // Again, together with its target's own group.
    let appended = log
        .append(vec![
            message(30, 2, None, "x"),
            new_event(40, 2, NewBody::Edited { target_seq: Seq(3), content: "y".into() }),
            new_event(50, 1, edit("FIRST")),
        ])
        .await;
    assert_eq!(appended.len(), 3);
    let all = log.everything().await;
    assert_eq!((&*body(&all[0]).content, &*body(&all[2]).content), ("FIRST", "y"));
}

pub async fn deletions_blank_the_row_and_leave_an_event(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    let first = log.say(1, "secret").await;
    let Appended::New { event, target: Some(target) } =
        log.append_one(new_event(20, 1, NewBody::Deleted { target_seq: Seq(1) })).await
    else {
        panic!("not appended");
    };
    assert_eq!(event.body, EventBody::Deleted { target: first.id, target_seq: Seq(1) });
    assert!(body(&target).deleted && body(&target).content.is_empty());
    assert_eq!(log.everything().await, [target, event]);
    assert_eq!(store.heads(&[log.conversation]).await.unwrap()[0].messages, 1, "it still counts");
}

pub async fn changes_without_a_target_append_nothing(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    log.append(vec![new_event(10, 1, NewBody::Joined), message(20, 1, None, "a"), message(30, 1, None, "b")]).await;
    log.append_one(new_event(40, 1, NewBody::Deleted { target_seq: Seq(3) })).await;
    let edit = |seq: u64| NewBody::Edited { target_seq: Seq(seq), content: "x".into() };
    let delete = |seq: u64| NewBody::Deleted { target_seq: Seq(seq) };
    // A join, a deleted one, the deletion itself, one that isn't there yet, none at all.
    for (n, seq) in [1, 3, 4, 99, 0].into_iter().enumerate() {
        let id = 100 + 10 * n as i64;
        let appended = log.append(vec![new_event(id, 1, edit(seq)), new_event(id + 1, 1, delete(seq))]).await;
        assert_eq!(appended, [Appended::NoTarget, Appended::NoTarget], "seq {seq}");
    }
    assert_eq!(store.heads(&[log.conversation]).await.unwrap()[0].seq, Seq(4));
    // One without a target doesn't leave a hole among others.
    let mixed = log.append(vec![new_event(500, 1, delete(99)), message(510, 1, None, "c")]).await;
    assert_eq!(new(mixed[1].clone()).seq, Seq(5));
}

pub async fn any_text_comes_back_as_it_was(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    let long = "ü".repeat(16 * 1024);
    let texts = ["", "'; DROP TABLE events; --", "%_?\\\"`", "\u{202e}rtl\u{0}nul\n\t", "👩‍👩‍👧", "{}[]<script>", &long];
    for text in texts {
        log.say(1, text).await;
    }
    let all = log.everything().await;
    assert!(all.iter().map(|event| &*body(event).content).eq(texts));
}

pub async fn the_epoch_stays(store: &impl MessageStore) {
    let epoch = store.epoch().await.unwrap();
    Log::new(store, 1).say(1, "text").await;
    assert_eq!(store.epoch().await.unwrap(), epoch);
}
