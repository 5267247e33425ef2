//! Every malformed frame that the golden files know gets its error; the socket lives on and nothing was stored.

use crate::harness::{Server, Value, json, message_id};

/// Reads the cases of a golden file: name, frame, answer.
fn cases(text: &str) -> Vec<(String, String, Value)> {
    let cases: Vec<Value> = serde_json::from_str(text).expect("a golden file");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let cases = cases.into_iter().map(|case| (text(&case["case"]), text(&case["in"]), case["answer"].clone()));
    // One with its middle left out can't be run.
    let whole = cases.filter(|(_, frame, _)| !frame.contains(" bytes …>"));
    whole.map(|(name, frame, answer)| (name, expand(&frame), answer)).collect()
}

/// Writes out `<5000 × x>`.
fn expand(text: &str) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let repeat = || {
            let (inner, after) = rest[at + 1..].split_once('>')?;
            let (count, what) = inner.split_once(" × ")?;
            Some((what.repeat(count.parse().ok()?), after))
        };
        let Some((repeated, after)) = repeat() else {
            whole.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        };
        whole.push_str(&rest[..at]);
        whole.push_str(&repeated);
        rest = after;
    }
    whole + rest
}

#[test]
fn malformed_rooms_frames() {
    let server = Server::start();
    let mut ann = server.rooms_in("ann", "Lobby");
    let cases = cases(include_str!("../../../schema/golden/rooms/bad_client.json"));
    assert!(cases.len() > 50);
    for (name, frame, expected) in cases {
        ann.send_text(&frame);
        let answer = ann.wait(&name, |_| true);
        assert_eq!((&answer["type"], &answer["error"]), (&json!("error"), &expected["error"]), "{name}");
    }
    // Well formed, but wrong here.
    for (frame, code) in [
        (json!({"type": "edit_message", "messageId": "7401", "content": "hi"}), "UNAUTHORIZED"),
        (json!({"type": "join_room", "roomName": "Nowhere"}), "ROOM_NOT_FOUND"),
    ] {
        ann.send(&frame);
        ann.wait_error(code);
    }
    let mut bob = server.rooms_silent();
    bob.send(&json!({"type": "auth", "username": "bob"}));
    bob.wait_type("auth_success");
    bob.send(&json!({"type": "command", "command": "rooms"}));
    let rooms = bob.wait_type("room_list");
    assert_eq!((&rooms["count"], &rooms["rooms"][0]["messages"]), (&json!(1), &json!(0)), "nothing was stored");
    bob.send(&json!({"type": "join_room", "roomName": "Lobby"}));
    bob.wait_type("room_joined");
    bob.say("hello");
    assert!(!bob.has(|frame| frame["type"] == "message_history"));
}

#[test]
fn malformed_messenger_frames() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let (mut client, _) = server.messenger_ready(&ann);
    let cases = cases(include_str!("../../../schema/golden/messenger/bad_client.json"));
    assert!(cases.len() > 50);
    for (name, frame, expected) in cases {
        client.send_text(&frame);
        assert_eq!(client.wait(&name, |_| true), expected, "{name}");
    }
    client.send(&json!({"type": "INIT_DATA"}));
    let summary = client.wait_type("INIT_DATA");
    assert_eq!((&summary["chatIds"], &summary["groups"]), (&json!([]), &json!([])), "nothing was stored");
    client.send(&json!({"type": "ONE_TO_ONE_CHAT", "from": "ann", "to": "bob", "content": "hi", "chatId": "ann-bob"}));
    crate::harness::eventually("the first message", || {
        let (_, summary) = server.messenger_ready(&bob);
        (summary["offlineMessages"][0]["count"] == 1).then_some(())
    });
}

#[test]
fn malformed_native_frames() {
    let server = Server::start();
    let mut ann = server.native(&server.user("ann"));
    let lobby = ann.ask("room.create", &json!({"name": "Lobby"}))["conversation"].clone();
    let head = ann.ask("conversation", &json!({"conversation": lobby["id"]}))["conversation"]["head"].clone();
    let cases = cases(include_str!("../../../schema/golden/native/bad_requests.json"));
    assert!(cases.len() > 100);
    for (name, frame, expected) in cases {
        ann.send_text(&frame);
        assert_eq!(ann.wait(&name, |_| true), expected, "{name}");
        // Before hello, too; a strange version closes there.
        if expected["error"]["code"] != "unsupported_version" {
            // Each on a socket of its own: there are five seconds for a hello, not for all of these.
            let mut silent = server.native_silent();
            silent.send_text(&frame);
            assert_eq!(silent.wait(&name, |_| true), expected, "{name} before hello");
        }
    }
    let position = json!({"epoch": ann.welcome["epoch"], "seq": 1});
    let many: Value = (1..=501).map(|id| (id.to_string(), position.clone())).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(ann.refused("resume", &json!({"positions": many})), "too_large");
    // Well formed, but wrong here.
    let nothing = json!("7351029384756301824");
    for (kind, fields, code) in [
        ("hello", json!({"protocol": 1, "guest": "guesty"}), "bad_request"),
        ("send", json!({"conversation": nothing, "message_id": message_id(), "content": "x"}), "not_found"),
        ("send", json!({"to": "nobody", "message_id": message_id(), "content": "x"}), "not_found"),
        ("send", json!({"to": "ann", "message_id": message_id(), "content": "x"}), "bad_request"),
        ("chat.open", json!({"with": "nobody"}), "not_found"),
        ("edit", json!({"conversation": lobby["id"], "message": "77", "content": "x"}), "not_found"),
        ("delete", json!({"conversation": lobby["id"], "message": "77"}), "not_found"),
        ("read", json!({"conversation": lobby["id"], "seq": 1000}), "beyond_head"),
        ("history", json!({"conversation": lobby["id"], "after": 1000}), "unknown_cursor"),
        ("room.join", json!({"name": "Nowhere"}), "not_found"),
        ("group.join", json!({"conversation": nothing}), "not_found"),
    ] {
        assert_eq!(ann.refused(kind, &fields), code, "{kind} {fields}");
    }
    let listed = ann.ask("conversations", &json!({}))["conversations"].as_array().unwrap().clone();
    assert_eq!((listed.len(), &listed[0]["head"]), (1, &head), "nothing was stored");
    ann.post(&lobby["id"], "and on it goes");
}
