//! What frames say, without a socket.

use chinwag_schema::ids::Seq;
use serde_json::{Value, json};

use super::*;

const MARK: Mark = Mark { run: 1, sender: 2, n: 3, due_us: 4 };

fn hear(state: &mut State, frame: &Value) -> Heard {
    state.hear(frame.to_string().as_bytes()).unwrap()
}

/// A sequenced event, its fields in the order of the server.
fn event(name: &str, more: &str) -> Vec<u8> {
    let text = MARK.text(0);
    let sender = r#""sender":{"id":"7351","name":"ann"}"#;
    format!(
        r#"{{"event":"{name}","conversation":"7352","epoch":"00c0ffee00c0ffee","seq":45,"id":"7400","timestamp":1,{sender},{more}"content":"{text}"}}"#
    )
    .into_bytes()
}

#[test]
fn a_new_message_is_heard_and_an_edit_is_none() {
    let mut state = State::default();
    assert_eq!(state.hear(&event("message", "")).unwrap(), Heard::Message(MARK));
    let edit = event("edited", r#""target":"7399","target_seq":44,"#);
    assert_eq!(state.hear(&edit).unwrap(), Heard::Other);
    let reordered: Value = serde_json::from_slice(&event("message", "")).unwrap();
    assert!(!reordered.to_string().starts_with(r#"{"event""#), "the order of the fields is another");
    assert_eq!(hear(&mut state, &reordered), Heard::Message(MARK));
}

#[test]
fn other_events_say_what_they_are() {
    let mut state = State::default();
    let user = json!({"id": "7", "name": "bob"});
    let presence = json!({"event": "presence", "user": user, "online": true});
    assert_eq!(hear(&mut state, &presence), Heard::Presence { name: "bob".into(), online: true });
    let gap = json!({"event": "gap", "conversation": "4", "epoch": "00c0ffee00c0ffee", "from": 1, "to": 2});
    let heard = Heard::Gap { conversation: ConversationId(4), left_out: Some((Seq(1), Seq(2))) };
    assert_eq!(hear(&mut state, &gap), heard);
    assert_eq!(hear(&mut state, &json!({"event": "of a newer server"})), Heard::Other);
    assert!(state.hear(b"not JSON").is_err());
}

#[test]
fn answers_find_their_messages_in_any_order() {
    let mut state = State::default();
    let marks: Vec<Mark> = (1..=5).map(|n| Mark { n, ..MARK }).collect();
    state.unanswered.extend((10..).zip(marks.iter().copied()));
    let stored = |id: &str| json!({"id": id, "result": {"conversation": "4", "epoch": "00c0ffee00c0ffee", "seq": 9, "id": "5", "timestamp": 1, "duplicate": false}});
    assert_eq!(hear(&mut state, &stored("12")), Heard::Stored { mark: marks[2], seq: Some(9) });
    assert_eq!(hear(&mut state, &stored("10")), Heard::Stored { mark: marks[0], seq: Some(9) });
    assert_eq!(hear(&mut state, &stored("10")), Heard::Other, "answered already");
    let refused = |id: &str, code: &str, retryable: bool| json!({"id": id, "error": {"code": code, "message": "why", "retryable": retryable}});
    let known = Heard::Refused { mark: Some(marks[1]), reason: "too_large".into() };
    assert_eq!(hear(&mut state, &refused("11", "too_large", false)), known);
    // Its outcome is unknown: it may well be stored.
    let unknown = Heard::Refused { mark: None, reason: "timeout".into() };
    assert_eq!(hear(&mut state, &refused("13", "timeout", true)), unknown);
    let limited = Heard::Refused { mark: Some(marks[4]), reason: "rate_limited".into() };
    assert_eq!(hear(&mut state, &refused("14", "rate_limited", true)), limited);
    assert!(state.unanswered.is_empty());
}
