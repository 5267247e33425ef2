//! The rooms dialect, from frames in to frames out, on a whole node.

mod common;

use std::time::Duration;

use chinwag_actors::protection::{ProtectionSettings, Rate};
use chinwag_schema::wire::Dialect;
use common::{Client, Engine, run, settings};
use serde_json::{Value, json};

async fn create(client: &Client, room: &str) -> Value {
    let joined = client.ask(json!({"type": "create_room", "roomName": room})).await;
    assert_eq!(joined["type"], "room_joined", "{joined}");
    client.expect("room_created").await
}

/// Joins a room without history.
async fn join(client: &Client, room: &str) -> Value {
    client.send(&json!({"type": "join_room", "roomName": room}));
    client.expect("room_joined").await
}

fn error(code: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"code": code, "message": message}})
}

#[test]
fn a_socket_is_welcomed_and_must_log_in_first() {
    run(|| async {
        let engine = Engine::start().await;
        let client = engine.open(Dialect::Rooms, None);
        let welcome = client.expect("system").await;
        assert!(welcome["timestamp"].as_str().unwrap().ends_with('Z'));
        client.send(&json!({"type": "join_room", "roomName": "den"}));
        client.expect_frame(error("UNAUTHORIZED", "Authentication required")).await;
        client.send_text("not json");
        assert_eq!(client.next().await["error"]["code"], "INVALID_MESSAGE");
        client.send(&json!({"type": "dance"}));
        assert_eq!(client.next().await["error"]["message"], "Unknown message type: dance");
        client.send(&json!({"type": "auth", "username": "x"}));
        assert_eq!(client.next().await["error"]["message"], "Username must be at least 2 characters");
        client.send(&json!({"type": "auth", "username": "ann"}));
        assert_eq!(client.expect("auth_success").await["user"]["username"], "ann");
        client.send(&json!({"type": "auth", "username": "bob"}));
        client.expect_frame(error("INVALID_MESSAGE", "Already authenticated")).await;
    });
}

#[test]
fn sockets_of_one_guest_share_an_identity_and_registered_names_need_proof() {
    run(|| async {
        let engine = Engine::start().await;
        let carl = engine.account("carl").await;
        let (one, two) = (engine.rooms("guest").await, engine.rooms("guest").await);
        let me = |client| async move { Client::ask(client, json!({"type": "command", "command": "me"})).await };
        assert_eq!(me(&one).await["data"]["userId"], me(&two).await["data"]["userId"]);

        let client = engine.open(Dialect::Rooms, None);
        client.expect("system").await;
        let refused = client.ask(json!({"type": "auth", "username": "carl"})).await;
        assert_eq!((&refused["type"], &refused["error"]["code"]), (&json!("error"), &json!("USER_EXISTS")));
        for secret in [json!({"token": "token-dave"}), json!({"password": "wrong"})] {
            let mut login = json!({"type": "auth", "username": "carl"});
            login.as_object_mut().unwrap().extend(secret.as_object().unwrap().clone());
            let refused = client.ask(login).await;
            assert_eq!((&refused["type"], &refused["error"]["code"]), (&json!("auth_error"), &json!("UNAUTHORIZED")));
        }
        // Another user's token proves nothing about this name.
        engine.account("dave").await;
        let refused = client.ask(json!({"type": "auth", "username": "carl", "token": "token-dave"})).await;
        assert_eq!(refused["type"], "auth_error");
        client.send(&json!({"type": "auth", "username": "carl", "password": "password-carl"}));
        let success = client.expect("auth_success").await;
        assert_eq!(success["user"], json!({"userId": carl.user.to_string(), "username": "carl"}));
    });
}

#[test]
fn without_guests_only_accounts_get_in() {
    run(|| async {
        let settings = chinwag_actors::engine::EngineSettings { guests: false, ..settings() };
        let engine = Engine::start_with(settings, ProtectionSettings::default()).await;
        engine.account("carl").await;
        for name in ["carl", "nobody"] {
            let client = engine.open(Dialect::Rooms, None);
            client.expect("system").await;
            client.send(&json!({"type": "auth", "username": name}));
            assert_eq!(client.expect("auth_error").await["error"]["code"], "UNAUTHORIZED");
        }
    });
}

#[test]
fn rooms_are_created_joined_and_left() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.rooms("ann").await, engine.rooms("bob").await);
        bob.send(&json!({"type": "join_room", "roomName": "den"}));
        bob.expect_frame(error("ROOM_NOT_FOUND", "Room not found")).await;
        ann.send(&json!({"type": "leave_room"}));
        ann.expect_frame(error("INVALID_MESSAGE", "You are not in a room")).await;

        ann.send(&json!({"type": "create_room", "roomName": "  den "}));
        let joined = ann.expect("room_joined").await;
        assert_eq!((&joined["room"]["memberCount"], &joined["members"]), (&json!(1), &json!(["ann"])));
        let created = ann.expect("room_created").await;
        assert_eq!(created["room"], json!({"id": joined["room"]["id"], "name": "den"}));
        bob.send(&json!({"type": "create_room", "roomName": "den"}));
        bob.expect_frame(error("ROOM_EXISTS", "Room already exists")).await;

        let joined = join(&bob, "den").await;
        assert_eq!((&joined["room"]["memberCount"], &joined["members"]), (&json!(2), &json!(["ann", "bob"])));
        let told = ann.expect("user_joined").await;
        assert_eq!((&told["user"]["username"], &told["memberCount"]), (&json!("bob"), &json!(2)));

        // Creating another room leaves this one first, without a `room_left`.
        create(&bob, "attic").await;
        let told = ann.expect("user_left").await;
        assert_eq!((&told["user"]["username"], &told["memberCount"]), (&json!("bob"), &json!(1)));

        ann.send(&json!({"type": "leave_room"}));
        ann.expect_frame(json!({"type": "room_left", "roomName": "den"})).await;
        ann.send(&json!({"type": "send_message", "content": "hello?"}));
        ann.expect_frame(error("INVALID_MESSAGE", "You must join a room first")).await;
    });
}

#[test]
fn messages_reach_everyone_in_the_room_the_sender_included_and_stay_in_its_history() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.rooms("ann").await, engine.rooms("bob").await);
        create(&ann, "den").await;
        join(&bob, "den").await;
        ann.expect("user_joined").await;
        ann.send(&json!({"type": "send_message", "content": " <b>hi</b> "}));
        let mine = ann.expect("message").await["message"].clone();
        let theirs = bob.expect("message").await["message"].clone();
        assert_eq!(mine, theirs);
        assert_eq!((&mine["content"], &mine["username"]), (&json!(" <b>hi</b> "), &json!("ann")));
        assert_eq!((&mine["type"], &mine["edited"]), (&json!("message"), &json!(false)));

        let carl = engine.rooms("carl").await;
        join(&carl, "den").await;
        let history = carl.expect("message_history").await["messages"].clone();
        assert_eq!(history.as_array().unwrap().len(), 1);
        assert_eq!((&history[0]["id"], &history[0]["content"]), (&mine["id"], &mine["content"]));
        assert_eq!(history[0].get("roomId"), None);
    });
}

#[test]
fn history_shows_the_last_twenty_messages_oldest_first() {
    run(|| async {
        let engine = Engine::start().await;
        let ann = engine.rooms("ann").await;
        create(&ann, "den").await;
        for n in 0..25 {
            ann.send(&json!({"type": "send_message", "content": format!("message {n}")}));
        }
        for _ in 0..25 {
            ann.expect("message").await;
        }
        let bob = engine.rooms("bob").await;
        join(&bob, "den").await;
        let history = bob.expect("message_history").await["messages"].clone();
        let contents: Vec<_> = history.as_array().unwrap().iter().map(|row| row["content"].clone()).collect();
        assert_eq!(contents.len(), 20);
        assert_eq!((&contents[0], &contents[19]), (&json!("message 5"), &json!("message 24")));
    });
}

#[test]
fn own_messages_are_edited_and_deleted_and_others_are_not() {
    run(|| async {
        let engine = Engine::start().await;
        engine.account("carl").await;
        let (carl, guest, twin) =
            (engine.rooms("carl").await, engine.rooms("guest").await, engine.rooms("guest").await);
        create(&carl, "den").await;
        join(&guest, "den").await;
        carl.expect("user_joined").await;
        join(&twin, "den").await;

        for author in [&carl, &guest] {
            author.send(&json!({"type": "send_message", "content": "typo"}));
            let id = author.expect("message").await["message"]["id"].clone();
            for other in [&carl, &guest, &twin] {
                if !std::ptr::eq(other, author) {
                    other.expect("message").await;
                }
            }
            let edit = json!({"type": "edit_message", "messageId": id, "content": "right"});
            for stranger in [&carl, &twin] {
                if !std::ptr::eq(stranger, author) {
                    let refused = stranger.ask(edit.clone()).await;
                    assert_eq!(refused["error"]["code"], "UNAUTHORIZED", "{refused}");
                }
            }
            author.send(&edit);
            for client in [&carl, &guest, &twin] {
                let edited = client.expect("message_edited").await["message"].clone();
                assert_eq!((&edited["id"], &edited["content"]), (&id, &json!("right")));
                assert_eq!(edited["edited"], true);
            }
            author.send(&json!({"type": "delete_message", "messageId": id}));
            for client in [&carl, &guest, &twin] {
                assert_eq!(client.expect("message_deleted").await["messageId"], id);
            }
        }
        carl.send(&json!({"type": "delete_message", "messageId": "12"}));
        assert_eq!(carl.next().await["error"]["message"], "Message not found");

        let late = engine.rooms("late").await;
        join(&late, "den").await;
        let history = late.expect("message_history").await;
        assert_eq!(history["messages"][0]["content"], "[Message deleted]");
    });
}

#[test]
fn typing_is_shown_to_the_others_and_ends_with_the_message() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.rooms("ann").await, engine.rooms("bob").await);
        ann.send(&json!({"type": "typing_start"}));
        create(&ann, "den").await;
        join(&bob, "den").await;
        ann.expect("user_joined").await;
        ann.send(&json!({"type": "typing_start"}));
        bob.expect_frame(json!({"type": "typing_update", "typingUsers": ["ann"]})).await;
        ann.send(&json!({"type": "typing_stop"}));
        bob.expect_frame(json!({"type": "typing_update", "typingUsers": []})).await;
        ann.send(&json!({"type": "typing_start"}));
        bob.expect("typing_update").await;
        ann.send(&json!({"type": "send_message", "content": "done"}));
        let mut kinds = [bob.next().await["type"].clone(), bob.next().await["type"].clone()];
        kinds.sort_by_key(ToString::to_string);
        assert_eq!(kinds, [json!("message"), json!("typing_update")]);
        // Nobody hears of its own typing.
        ann.expect("message").await;
        assert_eq!(ann.come(), Vec::<Value>::new());
    });
}

#[test]
fn commands_answer_with_their_data() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.rooms("ann").await, engine.rooms("bob").await);
        create(&ann, "den").await;
        ann.send(&json!({"type": "send_message", "content": "hi"}));
        ann.expect("message").await;
        let command = |line: &str| json!({"type": "command", "command": line});

        let rooms = bob.ask(command("/rooms 5")).await;
        assert_eq!((&rooms["type"], &rooms["count"]), (&json!("room_list"), &json!(1)));
        let room = &rooms["rooms"][0];
        assert_eq!((&room["name"], &room["users"], &room["messages"]), (&json!("den"), &json!(1), &json!(1)));

        let users = bob.ask(command("users")).await;
        let shown: Vec<_> = users["users"].as_array().unwrap().iter().map(|user| &user["currentRoom"]).collect();
        assert_eq!((&users["room"], shown), (&Value::Null, vec![&json!("den"), &Value::Null]));
        let users = ann.ask(command("users")).await;
        assert_eq!((&users["room"], &users["count"]), (&json!("den"), &json!(1)));
        assert_eq!(users["users"][0].get("currentRoom"), None);

        let stats = ann.ask(command("stats")).await;
        assert_eq!(stats["data"]["user"]["totalMessages"], 1);
        assert_eq!(stats["data"]["user"]["roomsJoined"], 1);
        assert_eq!(stats["data"]["server"]["activeConnections"], 2);
        assert_eq!(stats["data"]["server"]["uniqueUsers"], 2);
        assert_eq!(
            (&stats["data"]["currentRoom"]["name"], &stats["data"]["currentRoom"]["users"]),
            (&json!("den"), &json!(1))
        );
        assert_eq!(bob.ask(command("stats")).await["data"]["currentRoom"], Value::Null);

        let me = bob.ask(command("me")).await;
        assert!(me["message"].as_str().unwrap().starts_with("Your information:\n{"));
        assert_eq!((&me["data"]["username"], &me["data"]["currentRoom"]), (&json!("bob"), &json!("None")));
        assert_eq!(bob.ask(command("clear")).await["type"], "CLEAR_SCREEN");
        assert_eq!(bob.ask(command("help")).await["type"], "system");
        bob.send(&command("/dance"));
        bob.expect_frame(error("INVALID_COMMAND", "Unknown command: dance")).await;
    });
}

#[test]
fn rates_and_spam_are_refused_and_the_socket_stays_open() {
    run(|| async {
        let protection = ProtectionSettings {
            rooms_messages: Rate::new(3, Duration::from_secs(60)),
            room_creation: Rate::new(1, Duration::from_secs(3600)),
            commands: Rate::new(1, Duration::from_secs(60)),
            ..ProtectionSettings::default()
        };
        let engine = Engine::start_with(settings(), protection).await;
        let ann = engine.rooms("ann").await;
        create(&ann, "den").await;
        let refused = ann.ask(json!({"type": "create_room", "roomName": "attic"})).await;
        assert_eq!(refused["error"]["code"], "RATE_LIMIT");
        // An hour from the first one, whenever that was.
        assert!((3500..=3600).contains(&refused["error"]["retryAfter"].as_u64().unwrap()), "{refused}");
        // A name that is taken doesn't count, and the room is still the current one.
        let refused = ann.ask(json!({"type": "create_room", "roomName": "den"})).await;
        assert_eq!(refused["error"]["code"], "ROOM_EXISTS");

        let spam = ["BUYBUYBUYBUY"; 5].join(" ");
        let refused = ann.ask(json!({"type": "send_message", "content": spam})).await;
        assert_eq!(refused["error"]["code"], "INVALID_MESSAGE");
        assert!(refused["error"]["message"].as_str().unwrap().contains("too many capital letters"));
        for content in ["one", "two"] {
            ann.send(&json!({"type": "send_message", "content": content}));
            ann.expect("message").await;
        }
        let refused = ann.ask(json!({"type": "send_message", "content": "four"})).await;
        assert_eq!((&refused["error"]["code"], &refused["error"]["retryAfter"]), (&json!("RATE_LIMIT"), &json!(60)));

        assert_eq!(ann.ask(json!({"type": "command", "command": "me"})).await["type"], "system");
        assert_eq!(ann.ask(json!({"type": "command", "command": "me"})).await["error"]["code"], "RATE_LIMIT");
    });
}

#[test]
fn a_socket_that_vanishes_leaves_its_room() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.rooms("ann").await, engine.rooms("bob").await);
        create(&ann, "den").await;
        join(&bob, "den").await;
        ann.expect("user_joined").await;
        bob.vanish();
        assert_eq!(ann.expect("user_left").await["memberCount"], 1);
        engine.settle().await;
        let users = ann.ask(json!({"type": "command", "command": "users"})).await;
        assert_eq!(users["count"], 1);
    });
}

#[test]
fn a_socket_that_does_not_log_in_is_closed() {
    run(|| async {
        let engine = Engine::start().await;
        let (silent, ann) = (engine.open(Dialect::Rooms, None), engine.rooms("ann").await);
        silent.expect("system").await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(silent.come(), Vec::<Value>::new());
        tokio::time::advance(Duration::from_secs(2)).await;
        silent.expect_frame(json!({"close": 4102})).await;
        assert_eq!(ann.come(), Vec::<Value>::new());
    });
}

#[test]
fn commands_sent_at_once_are_carried_out_in_order() {
    run(|| async {
        let engine = Engine::start().await;
        let client = engine.open(Dialect::Rooms, None);
        for frame in [
            json!({"type": "auth", "username": "ann"}),
            json!({"type": "create_room", "roomName": "den"}),
            json!({"type": "send_message", "content": "one"}),
            json!({"type": "create_room", "roomName": "attic"}),
            json!({"type": "send_message", "content": "two"}),
            json!({"type": "join_room", "roomName": "den"}),
            json!({"type": "leave_room"}),
        ] {
            client.send(&frame);
        }
        let mut kinds = Vec::new();
        while kinds.last() != Some(&json!("room_left")) {
            kinds.push(client.next().await["type"].clone());
        }
        // A message that its sender no longer waits for may be durable only after the room was left; all else has one order.
        kinds.retain(|kind| kind != "message" && kind != "message_history");
        let expected = [
            "system",
            "auth_success",
            "room_joined",
            "room_created",
            "room_joined",
            "room_created",
            "room_joined",
            "room_left",
        ];
        assert_eq!(kinds, expected);
    });
}

#[test]
fn a_flood_of_typing_is_heard_by_nobody() {
    run(async || {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.rooms("ann").await, engine.rooms("bob").await);
        ann.send(&json!({"type": "create_room", "roomName": "Typists"}));
        ann.expect("room_joined").await;
        ann.expect("room_created").await;
        bob.send(&json!({"type": "join_room", "roomName": "Typists"}));
        bob.expect("room_joined").await;
        ann.expect("user_joined").await;
        let begun = std::time::Instant::now();
        for _ in 0..60 {
            (0..20).for_each(|_| bob.send(&json!({"type": "typing_start"})));
            (0..20).for_each(|_| bob.send(&json!({"type": "typing_stop"})));
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        bob.send(&json!({"type": "send_message", "content": "done"}));
        let mut heard = 0;
        while ann.next().await["type"] == "typing_update" {
            heard += 1;
        }
        // Of 2,400: 20 in each second that it took, and as many in the ones that it began and ended in.
        let heard_max = 20 * (begun.elapsed().as_secs() + 2);
        assert!((1..=heard_max).contains(&heard), "{heard} of at most {heard_max}");
    });
}

#[test]
fn a_socket_that_goes_on_guessing_who_it_is_gets_closed() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let client = engine.open(Dialect::Rooms, None);
        client.expect("system").await;
        for _ in 0..20 {
            client.send(&json!({"type": "auth", "username": "ann", "password": "wrong"}));
            client.expect("auth_error").await;
        }
        client.send(&json!({"type": "auth", "username": "ann", "password": "password-ann"}));
        assert_eq!(client.next().await, json!({"close": 1008}));
    });
}
