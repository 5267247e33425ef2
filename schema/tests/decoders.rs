//! No decoder panics, whatever comes; and what it takes, it takes again.

use chinwag_schema::wire::{messenger, native, rooms};
use proptest::prelude::*;
use serde_json::{Value, json};

fn decode_everywhere(text: &str) {
    if let Ok(request) = native::decode(text) {
        let again = String::from_utf8(request.encode()).unwrap();
        assert_eq!(native::decode(&again), Ok(request));
    }
    let _ = rooms::decode(text).map_err(|rejected| rooms::ServerFrame::error(rejected.authenticated()).encode(0));
    let _ = messenger::decode(text).map_err(|error| error.encode());
    let _ = native::ServerFrame::decode(text);
    let _ = serde_json::from_str::<rooms::ServerFrame>(text);
    let _ = serde_json::from_str::<messenger::ServerFrame>(text);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9]{1,20}".prop_map(Value::from),
        Just(json!("019adb4e-2f00-7abc-8def-0123456789ab")),
        Just(json!("00c0ffee00c0ffee")),
        Just(json!({"epoch": "00c0ffee00c0ffee", "seq": 7})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[0-9a-z]{1,8}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

const KEYS: [&str; 38] = [
    "id",
    "protocol",
    "token",
    "ticket",
    "guest",
    "client",
    "features",
    "positions",
    "position",
    "conversation",
    "to",
    "with",
    "message_id",
    "message",
    "content",
    "before",
    "after",
    "limit",
    "epoch",
    "seq",
    "active",
    "name",
    "ids",
    "names",
    "users",
    "display_name",
    "username",
    "password",
    "roomName",
    "command",
    "args",
    "messageId",
    "from",
    "chatId",
    "groupId",
    "groupName",
    "by",
    "event",
];

const TYPES: [&str; 51] = [
    "hello",
    "ping",
    "bye",
    "conversations",
    "resume",
    "send",
    "edit",
    "delete",
    "history",
    "delivered",
    "read",
    "typing",
    "chat.open",
    "group.create",
    "group.join",
    "group.leave",
    "room.create",
    "room.join",
    "room.leave",
    "room.listen",
    "room.unlisten",
    "rooms",
    "members",
    "conversation",
    "users",
    "presence.watch",
    "presence.unwatch",
    "profile.get",
    "profile.set",
    "stats",
    "auth",
    "create_room",
    "join_room",
    "leave_room",
    "send_message",
    "typing_start",
    "typing_stop",
    "command",
    "edit_message",
    "delete_message",
    "INIT_DATA",
    "NEW_ONE_TO_ONE_CHAT",
    "ONE_TO_ONE_CHAT",
    "GET_ONE_TO_ONE_HISTORY",
    "CREATE_GROUP_CHAT",
    "JOIN_GROUP_CHAT",
    "JOIN_GROUP",
    "LEAVE_GROUP",
    "GROUP_CHAT",
    "GET_GROUP_CHAT_HISTORY",
    "OFFLINE_MESSAGES_ACK",
];

fn frame() -> impl Strategy<Value = String> {
    let fields = prop::collection::vec((prop::sample::select(&KEYS[..]), value()), 0..8);
    (prop::sample::select(&TYPES[..]), fields).prop_map(|(kind, fields)| {
        let mut frame = serde_json::Map::new();
        frame.insert("id".to_owned(), json!("1"));
        frame.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
        frame.insert("type".to_owned(), json!(kind));
        Value::Object(frame).to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text(text in any::<String>()) {
        decode_everywhere(&text);
    }

    #[test]
    fn any_json(value in value()) {
        decode_everywhere(&value.to_string());
    }

    #[test]
    fn any_fields_of_any_command(text in frame()) {
        decode_everywhere(&text);
    }

    #[test]
    fn frames_cut_anywhere_and_with_a_wrong_character(text in frame(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let place = text.floor_char_boundary(at.index(text.len()));
        decode_everywhere(&text[..place]);
        decode_everywhere(&format!("{}{with}{}", &text[..place], text[place..].chars().as_str()));
    }
}
