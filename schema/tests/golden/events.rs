//! Every event, told in every dialect.

use std::sync::Arc;

use chinwag_schema::{
    event::{Event, EventBody, LogEvent, MessageBody, Origin},
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::{Conversation, ConversationKind, Member, Name, Pointer},
    wire::{Dialect, encode_event, messenger, native, rooms},
};
use uuid::Uuid;

use crate::harness::{NOW_MS, compare, written};

pub const CLIENT_ID: Uuid = Uuid::from_u128(0x019a_db4e_2f00_7abc_8def_0123_4567_89ab);
pub const ANN: UserId = UserId(7351);
pub const BOB: UserId = UserId(7350);
pub const EPOCH: Epoch = Epoch(0x00c0_ffee_00c0_ffee);

pub fn name(text: &str) -> Name {
    text.into()
}

pub fn origin(kind: ConversationKind) -> Arc<Origin> {
    let (id, shown, chat_id) = match kind {
        ConversationKind::Room => (9_007_199_254_740_993, Some(name("Lobby 1")), None),
        ConversationKind::Group => (8001, Some(name("Chess \"club\"")), None),
        ConversationKind::Direct => (8002, None, Some(Arc::from("ann-bob"))),
    };
    Arc::new(Origin { conversation: ConversationId(id), kind, name: shown, chat_id, epoch: EPOCH })
}

pub fn row(seq: u64, body: EventBody) -> LogEvent {
    LogEvent {
        seq: Seq(seq),
        id: EventId(7400 + seq as i64),
        at_ms: NOW_MS - 60_000 + seq as i64,
        sender: ANN,
        sender_name: name("ann"),
        messages: seq,
        own: seq,
        body,
    }
}

pub fn message(content: &str) -> MessageBody {
    MessageBody { client_id: Some(CLIENT_ID), content: content.into(), edited_at_ms: None, deleted: false }
}

pub fn chat() -> Conversation {
    Conversation {
        id: ConversationId(8002),
        kind: ConversationKind::Direct,
        name: None,
        created_by: BOB,
        created_at_ms: NOW_MS - 3_600_000,
        pair: Some([Member { user: BOB, name: name("bob") }, Member { user: ANN, name: name("ann") }]),
    }
}

pub fn group() -> Conversation {
    Conversation {
        id: ConversationId(8001),
        kind: ConversationKind::Group,
        name: Some(name("Chess \"club\"")),
        created_by: ANN,
        created_at_ms: NOW_MS - 3_600_000,
        pair: None,
    }
}

pub fn bodies() -> Vec<(&'static str, EventBody, Option<LogEvent>)> {
    let edited = MessageBody { edited_at_ms: Some(NOW_MS), ..message("hi!") };
    let deleted = MessageBody { deleted: true, ..message("still in the row") };
    let plain = MessageBody { client_id: None, ..message("hi") };
    let (target, target_seq) = (EventId(7401), Seq(1));
    vec![
        ("message", EventBody::Message(message("hi")), None),
        ("message without a client id", EventBody::Message(plain), None),
        (
            "message with markup, controls and emoji",
            EventBody::Message(message("<b>\"\\\u{202e}\u{7}\n\u{1f600}\u{2028}é")),
            None,
        ),
        ("message edited since", EventBody::Message(edited.clone()), None),
        ("message deleted since", EventBody::Message(deleted.clone()), None),
        ("edit", EventBody::Edited { target, target_seq }, Some(row(1, EventBody::Message(edited)))),
        (
            "edit of what was deleted since",
            EventBody::Edited { target, target_seq },
            Some(row(1, EventBody::Message(deleted))),
        ),
        ("edit of what retention removed", EventBody::Edited { target, target_seq }, None),
        ("deletion", EventBody::Deleted { target, target_seq }, None),
        ("member joined", EventBody::Joined, None),
        ("member left", EventBody::Left, None),
    ]
}

fn all() -> Vec<(String, Event)> {
    let mut events = Vec::new();
    let kinds = [ConversationKind::Room, ConversationKind::Group, ConversationKind::Direct];
    for kind in kinds {
        let origin = origin(kind);
        let mut add = |what: &str, event| events.push((format!("{kind:?}: {what}"), event));
        for (what, body, target) in bodies() {
            add(what, Event::Sequenced { origin: origin.clone(), event: row(5, body), target });
        }
        for (what, present) in [("listener came", true), ("listener went", false)] {
            let (origin, name) = (origin.clone(), name("bob"));
            add(what, Event::Listening { origin, user: BOB, name, present, listeners: 3 });
        }
        let typists = vec![name("ann"), name("bob")];
        add("typing", Event::Typing { origin: origin.clone(), who: name("bob"), active: true, typists });
        add("typing ended", Event::Typing { origin: origin.clone(), who: name("bob"), active: false, typists: vec![] });
        for pointer in [Pointer::Delivered, Pointer::Read] {
            let (origin, name) = (origin.clone(), name("bob"));
            add(&format!("pointer {pointer:?}"), Event::Pointer { origin, user: BOB, name, pointer, seq: Seq(4) });
        }
        add("gap", Event::Gap { origin: origin.clone(), from: Seq(6), to: Seq(905) });
        add("removed", Event::Removed { conversation: origin.conversation });
    }
    let mut add = |what: &str, event| events.push((what.to_owned(), event));
    add("online", Event::Presence { user: BOB, name: name("bob"), online: true, last_seen_ms: None });
    add("offline", Event::Presence { user: BOB, name: name("bob"), online: false, last_seen_ms: Some(NOW_MS) });
    add("chat added", Event::Added { conversation: Arc::new(chat()), epoch: EPOCH, head: Seq(0) });
    add("group added", Event::Added { conversation: Arc::new(group()), epoch: EPOCH, head: Seq(7) });
    add("notification", Event::Notification { message: "Back in five minutes".into(), at_ms: NOW_MS - 5 });
    add("drain", Event::Drain { reconnect_after_ms: 1234 });
    events
}

#[test]
fn events_are_told_as_each_dialect_spells_them() {
    for (dialect, file) in [
        (Dialect::Native, "native/events.json"),
        (Dialect::Rooms, "rooms/events.json"),
        (Dialect::Messenger, "messenger/events.json"),
        (Dialect::Presence, "messenger/presence_events.json"),
    ] {
        let cases: Vec<_> =
            all().iter().map(|(case, event)| written(case, encode_event(dialect, event, NOW_MS))).collect();
        compare(file, &cases);
    }
}

#[test]
fn clients_read_the_events_with_the_same_types() {
    for (case, event) in all() {
        let native = encode_event(Dialect::Native, &event, NOW_MS).expect("the native protocol tells everything");
        let again = match native::ServerFrame::decode(std::str::from_utf8(&native).unwrap()).unwrap() {
            native::ServerFrame::Logged(event) => event.encode(),
            native::ServerFrame::Notice(notice) => notice.encode(),
            native::ServerFrame::Reply { .. } => panic!("{case} is no reply"),
        };
        assert_eq!(native, again, "{case}");
        if let Some(rooms) = encode_event(Dialect::Rooms, &event, NOW_MS) {
            let frame: rooms::ServerFrame = serde_json::from_slice(&rooms).unwrap();
            assert_eq!(rooms, frame.encode(NOW_MS), "{case}");
        }
        for dialect in [Dialect::Messenger, Dialect::Presence] {
            if let Some(messenger) = encode_event(dialect, &event, NOW_MS) {
                let frame: messenger::ServerFrame = serde_json::from_slice(&messenger).unwrap();
                assert_eq!(messenger, frame.encode(), "{case}");
            }
        }
    }
}

#[test]
fn a_deleted_text_is_on_no_wire() {
    for (case, event) in all().iter().filter(|(case, _)| case.contains("deleted since")) {
        for dialect in [Dialect::Native, Dialect::Rooms, Dialect::Messenger, Dialect::Presence] {
            let text = encode_event(dialect, event, NOW_MS).unwrap_or_default();
            assert!(!String::from_utf8(text).unwrap().contains("still in the row"), "{case} in {dialect:?}");
        }
    }
}
