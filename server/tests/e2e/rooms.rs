//! The rooms dialect: rooms, messages, typing, commands.

use std::time::{Duration, Instant};

use crate::harness::{Server, Value, json};

#[test]
fn a_socket_is_welcomed_and_heard_only_after_auth() {
    let server = Server::start();
    let mut client = server.rooms_silent();
    let welcome = client.log[0].clone();
    assert_eq!(welcome["type"], "system");
    let timestamp = welcome["timestamp"].as_str().unwrap();
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
    for frame in [
        json!({"type": "create_room", "roomName": "Lobby"}),
        json!({"type": "join_room", "roomName": "Lobby"}),
        json!({"type": "leave_room"}),
        json!({"type": "send_message", "content": "hi"}),
        json!({"type": "typing_start"}),
        json!({"type": "typing_stop"}),
        json!({"type": "command", "command": "stats"}),
        json!({"type": "edit_message", "messageId": "1", "content": "hi"}),
        json!({"type": "delete_message", "messageId": "1"}),
    ] {
        client.send(&frame);
        client.wait_error("UNAUTHORIZED");
    }
    client.send(&json!({"type": "auth", "username": "rita"}));
    let user = client.wait_type("auth_success")["user"].clone();
    assert_eq!(user["username"], "rita");
    client.send(&json!({"type": "command", "command": "rooms"}));
    assert_eq!(client.wait_type("room_list")["count"], 0, "nothing was created");
}

#[test]
fn the_others_see_who_joins_and_leaves_and_the_mover_does_not() {
    let server = Server::start();
    let mut ann = server.rooms_in("ann", "Lobby");
    let mut bob = server.rooms_in("bob", "Lobby");
    let joined = ann.wait_type("user_joined");
    assert_eq!((&joined["user"]["username"], &joined["memberCount"]), (&json!("bob"), &json!(2)));
    let room = bob.log.iter().find(|frame| frame["type"] == "room_joined").unwrap();
    assert_eq!((&room["room"]["memberCount"], &room["room"]["name"]), (&json!(2), &json!("Lobby")));
    let mut members: Vec<Value> = room["members"].as_array().unwrap().clone();
    members.sort_by_key(ToString::to_string);
    assert_eq!(members, ["ann", "bob"]);

    // Creating another room leaves the old one first.
    bob.send(&json!({"type": "create_room", "roomName": "Den"}));
    bob.wait("room_joined", |frame| frame["type"] == "room_joined" && frame["room"]["name"] == "Den");
    bob.wait_type("room_created");
    let left = ann.wait_type("user_left");
    assert_eq!((&left["user"]["username"], &left["memberCount"]), (&json!("bob"), &json!(1)));
    bob.send(&json!({"type": "leave_room"}));
    assert_eq!(bob.wait_type("room_left")["roomName"], "Den");
    assert!(!bob.has(|frame| frame["type"] == "user_joined" || frame["type"] == "user_left"));

    // A socket that vanishes leaves, too.
    let cleo = server.rooms_in("cleo", "Lobby");
    ann.wait_type("user_joined");
    drop(cleo);
    assert_eq!(ann.wait_type("user_left")["user"]["username"], "cleo");
    ann.say("still here");
    assert!(!bob.has(|frame| frame["type"] == "message"), "who has left hears nothing");
}

#[test]
fn joining_shows_the_last_twenty_messages_oldest_first() {
    let server = Server::start_with(&["--rate-rooms-messages", "1000/s"]);
    let mut ann = server.rooms_in("ann", "Lobby");
    for n in 0..25 {
        ann.say(&format!("line {n}"));
    }
    let mut bob = server.rooms_in("bob", "Lobby");
    let history = bob.wait_type("message_history");
    let rows = history["messages"].as_array().unwrap();
    let lines: Vec<&str> = rows.iter().map(|row| row["content"].as_str().unwrap()).collect();
    assert_eq!(lines, (5..25).map(|n| format!("line {n}")).collect::<Vec<_>>());
    let row = &history["messages"][0];
    assert_eq!((&row["username"], &row["type"], &row["edited"]), (&json!("ann"), &json!("message"), &json!(false)));
    assert!(!ann.has(|frame| frame["type"] == "message_history"), "an empty history isn't sent");
}

#[test]
fn typing_reaches_the_others_and_lapses_after_three_seconds() {
    let server = Server::start();
    let mut ann = server.rooms_in("ann", "Lobby");
    let mut bob = server.rooms_in("bob", "Lobby");
    let typing = |names: Value| move |frame: &Value| frame["type"] == "typing_update" && frame["typingUsers"] == names;
    let begun = Instant::now();
    ann.send(&json!({"type": "typing_start"}));
    bob.wait("ann types", typing(json!(["ann"])));
    bob.wait("it lapses", typing(json!([])));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(2_900), "{took:?}");
    // A message ends it at once, and `typing_stop` does. Again when the machine was too slow to tell that from lapsing.
    for end in [json!({"type": "send_message", "content": "done"}), json!({"type": "typing_stop"})] {
        let at_once = (0..5).any(|_| {
            let begun = Instant::now();
            ann.send(&json!({"type": "typing_start"}));
            bob.wait("ann types", typing(json!(["ann"])));
            ann.send(&end);
            bob.wait("it ends", typing(json!([])));
            begun.elapsed() < Duration::from_millis(2_900)
        });
        assert!(at_once, "{end}");
    }
    assert!(!ann.has(|frame| frame["type"] == "typing_update"), "never to the typist");
}

#[test]
fn edits_and_deletions_reach_the_room_and_the_history() {
    let server = Server::start();
    let mut ann = server.rooms_in("ann", "Lobby");
    let mut bob = server.rooms_in("bob", "Lobby");
    let (first, second) = (ann.say("frist")["id"].clone(), ann.say("secret")["id"].clone());
    ann.send(&json!({"type": "edit_message", "messageId": first, "content": "first"}));
    for client in [&mut ann, &mut bob] {
        let edited = client.wait_type("message_edited")["message"].clone();
        assert_eq!((&edited["id"], &edited["content"], &edited["edited"]), (&first, &json!("first"), &json!(true)));
    }
    ann.send(&json!({"type": "delete_message", "messageId": second}));
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.wait_type("message_deleted")["messageId"], second);
    }
    // Not one's own.
    for frame in [
        json!({"type": "edit_message", "messageId": first, "content": "mine now"}),
        json!({"type": "delete_message", "messageId": first}),
    ] {
        bob.send(&frame);
        bob.wait_error("UNAUTHORIZED");
    }
    let mut cleo = server.rooms_in("cleo", "Lobby");
    let history = cleo.wait_type("message_history")["messages"].clone();
    assert_eq!((&history[0]["content"], &history[0]["edited"]), (&json!("first"), &json!(true)));
    assert_eq!(history[1]["content"], "[Message deleted]");
    assert!(!cleo.has(|frame| frame.to_string().contains("secret")));
}

#[test]
fn commands_answer_in_their_forms() {
    let server = Server::start();
    let mut ann = server.rooms_in("ann", "Lobby");
    let _bob = server.rooms_in("bob", "Lobby");
    let _cleo = server.rooms_in("cleo", "Den");
    ann.say("one");
    for frame in [json!({"type": "command", "command": "rooms"}), json!({"type": "command", "command": "/rooms 5"})] {
        ann.send(&frame);
        let list = ann.wait_type("room_list");
        assert_eq!(list["count"], 2);
        let first = &list["rooms"][0];
        assert_eq!((&first["name"], &first["users"], &first["messages"]), (&json!("Lobby"), &json!(2), &json!(1)));
    }
    ann.send(&json!({"type": "command", "command": "rooms", "args": ["1"]}));
    assert_eq!(ann.wait_type("room_list")["count"], 1);
    ann.send(&json!({"type": "command", "command": "users"}));
    let users = ann.wait_type("user_list");
    assert_eq!((&users["room"], &users["count"]), (&json!("Lobby"), &json!(2)));
    ann.send(&json!({"type": "command", "command": "stats"}));
    let stats = ann.wait("stats", |frame| frame["type"] == "system" && frame["data"]["server"].is_object());
    assert_eq!(
        (&stats["data"]["user"]["totalMessages"], &stats["data"]["currentRoom"]["name"]),
        (&json!(1), &json!("Lobby"))
    );
    ann.send(&json!({"type": "command", "command": "me"}));
    let me = ann.wait("me", |frame| frame["type"] == "system" && frame["data"]["connectionId"].is_string());
    assert_eq!((&me["data"]["username"], &me["data"]["currentRoom"]), (&json!("ann"), &json!("Lobby")));
    ann.send(&json!({"type": "command", "command": "help"}));
    ann.wait_type("system");
    ann.send(&json!({"type": "command", "command": "clear"}));
    ann.wait_type("CLEAR_SCREEN");
    ann.send(&json!({"type": "command", "command": "dance"}));
    assert_eq!(ann.wait_error("INVALID_COMMAND")["error"]["message"], "Unknown command: dance");
    ann.send(&json!({"type": "leave_room"}));
    ann.wait_type("room_left");
    ann.send(&json!({"type": "command", "command": "users"}));
    let users = ann.wait_type("user_list");
    assert_eq!((&users["room"], &users["count"]), (&Value::Null, &json!(3)));
    let room_of = |name: &str| {
        let users = users["users"].as_array().unwrap();
        users.iter().find(|user| user["username"] == name).unwrap()["currentRoom"].clone()
    };
    assert_eq!((room_of("ann"), room_of("cleo")), (Value::Null, json!("Den")));
}

#[test]
fn rooms_that_exist_do_not_exist_or_were_not_joined_have_their_errors() {
    let server = Server::start();
    let mut ann = server.rooms_in("ann", "Lobby");
    let mut bob = server.rooms("bob");
    let expect = |client: &mut crate::harness::Client, frame: Value, code: &str, message: &str| {
        client.send(&frame);
        assert_eq!(client.wait_error(code)["error"]["message"], message);
    };
    expect(&mut bob, json!({"type": "create_room", "roomName": " Lobby "}), "ROOM_EXISTS", "Room already exists");
    expect(&mut bob, json!({"type": "join_room", "roomName": "Nowhere"}), "ROOM_NOT_FOUND", "Room not found");
    expect(&mut bob, json!({"type": "send_message", "content": "hi"}), "INVALID_MESSAGE", "You must join a room first");
    expect(&mut bob, json!({"type": "leave_room"}), "INVALID_MESSAGE", "You are not in a room");
    // Silently ignored outside a room: the next answer is to the next frame.
    bob.send(&json!({"type": "typing_start"}));
    bob.send(&json!({"type": "join_room", "roomName": "Lobby"}));
    bob.wait_type("room_joined");
    assert_eq!(bob.left_over().len(), 0, "{:?}", bob.left_over());
    ann.wait_type("user_joined");
}
