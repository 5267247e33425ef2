//! Rates and spam rules of the rooms dialect.

use crate::harness::{Client, Server, eventually, json};

#[test]
fn the_eleventh_message_within_a_second_blocks_for_a_minute_and_the_socket_stays() {
    let server = Server::start();
    let mut ann = server.rooms_in("ann", "Lobby");
    for n in 0..15 {
        ann.send(&json!({"type": "send_message", "content": format!("line {n}")}));
    }
    // The rate is exact: a machine that needs a second for eleven of them stays below it, and gets more at once.
    eventually("more than ten in a second", || {
        (0..30).for_each(|_| ann.send(&json!({"type": "send_message", "content": "more"})));
        ann.ping();
        ann.has(|frame| frame["error"]["code"] == "RATE_LIMIT").then_some(())
    });
    let error = ann.wait_error("RATE_LIMIT")["error"].clone();
    assert_eq!(error["message"], "Rate limit exceeded");
    assert!((59..=60).contains(&error["retryAfter"].as_u64().unwrap()), "{error}");
    ann.wait_room_message("line 9");
    // The block is the user's, on every socket; another user isn't concerned.
    let mut again = server.rooms_in("ann", "Lobby");
    again.send(&json!({"type": "send_message", "content": "here?"}));
    again.wait_error("RATE_LIMIT");
    let mut bob = server.rooms_in("bob", "Lobby");
    bob.say("I am fine");
    ann.wait_room_message("I am fine");
    // What was accepted was stored, and nothing else; the history shows twenty at most.
    let of_ann = |client: &Client| client.log.iter().filter(|frame| frame["message"]["username"] == "ann").count();
    let shown = bob.wait_type("message_history")["messages"].as_array().unwrap().len();
    let accepted = of_ann(&ann);
    assert!(accepted >= 10 && (shown == 20 || shown + of_ann(&bob) == accepted), "{shown} of {accepted}");
}

#[test]
fn spam_is_refused_with_its_reasons_and_not_stored() {
    let server = Server::start();
    let mut ann = server.rooms_in("ann", "Lobby");
    ann.say("hello there");
    ann.send(&json!({"type": "send_message", "content": "BUY BUY BUY BUY BUY http://BIT.LY/X"}));
    let error = ann.wait_error("INVALID_MESSAGE")["error"].clone();
    assert!(error["message"].as_str().unwrap().starts_with("Message looks like spam: "), "{error}");
    // One rule alone doesn't refuse.
    ann.say("SELECT THE LOUD VOICE, PLEASE");
    ann.say("hello there");
    let mut bob = server.rooms_in("bob", "Lobby");
    let history = bob.wait_type("message_history")["messages"].as_array().unwrap().clone();
    let texts: Vec<_> = history.iter().map(|row| row["content"].as_str().unwrap()).collect();
    assert_eq!(texts, ["hello there", "SELECT THE LOUD VOICE, PLEASE", "hello there"]);
}

#[test]
fn creating_rooms_and_commands_have_their_rates() {
    let server = Server::start();
    let mut ann = server.rooms("ann");
    for n in 0..5 {
        ann.send(&json!({"type": "create_room", "roomName": format!("Room {n}")}));
        ann.wait_type("room_created");
    }
    ann.send(&json!({"type": "create_room", "roomName": "Room 5"}));
    let error = ann.wait_error("RATE_LIMIT")["error"].clone();
    assert!((3500..=3600).contains(&error["retryAfter"].as_u64().unwrap()), "{error}");
    for _ in 0..20 {
        ann.send(&json!({"type": "command", "command": "clear"}));
        ann.wait_type("CLEAR_SCREEN");
    }
    ann.send(&json!({"type": "command", "command": "clear"}));
    ann.wait_error("RATE_LIMIT");
    let mut bob = server.rooms("bob");
    bob.send(&json!({"type": "join_room", "roomName": "Room 5"}));
    bob.wait_error("ROOM_NOT_FOUND");
}

#[test]
fn unlimited_switches_rates_and_spam_rules_off_and_health_says_so() {
    let server = Server::start_with(&["--unlimited"]);
    let mut ann = server.rooms_in("ann", "Lobby");
    for _ in 0..50 {
        ann.say("BUY BUY BUY BUY BUY http://BIT.LY/X");
    }
    assert!(!ann.has(|frame| frame["type"] == "error"));
    let health = crate::harness::http(&server.http, "GET /health", &[], "");
    assert!(health.body.to_lowercase().contains("unlimited"), "{health:?}");
}

#[test]
fn messenger_users_may_send_a_hundred_a_second_and_hear_how_long_to_wait() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let (mut client, mut other) = (server.messenger(&ann), server.native(&bob));
    let message = |content: &str| json!({"type": "ONE_TO_ONE_CHAT", "from": "ann", "to": "bob", "content": content, "chatId": "ann-bob"});
    (0..100).for_each(|n| client.send(&message(&format!("line {n}"))));
    // The rate is exact: a machine that needs a second for a hundred of them stays below it, and gets more at once.
    eventually("more than a hundred in a second", || {
        (0..200).for_each(|_| client.send(&message("more")));
        client.ping();
        client.has(|frame| frame["type"] == "ERROR").then_some(())
    });
    client.wait_msg("ERROR", "Rate limit exceeded, retry in 1 s.");
    other.message("line 99");
    // No block: a second later it goes on.
    eventually("a message after the second", || {
        client.send(&message("later"));
        client.ping();
        other.ping();
        other.has(|frame| frame["content"] == "later").then_some(())
    });
}
