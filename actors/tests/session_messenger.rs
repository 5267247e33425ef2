//! The messenger dialect's chat and presence sockets, from frames in to frames out, on a whole node.

mod common;

use std::time::Duration;

use chinwag_actors::{
    protection::{ProtectionSettings, Rate},
    session::authenticator::Identity,
};
use chinwag_schema::{names, wire::Dialect};
use common::{Client, Engine, PATIENCE, run, settings};
use serde_json::{Value, json};

fn message(from: &str, to: &str, content: &str) -> Value {
    let chat = names::chat_id(from, to);
    json!({"type": "ONE_TO_ONE_CHAT", "from": from, "to": to, "content": content, "chatId": chat})
}

fn msg(kind: &str, text: &str) -> Value {
    json!({"type": kind, "msg": text})
}

async fn init(client: &Client) -> Value {
    client.send(&json!({"type": "INIT_DATA"}));
    client.expect("INIT_DATA").await
}

/// Waits until the client's last summary entry for a conversation has this count (0: none); pointers follow deliveries soon, not at once.
async fn summary_becomes(engine: &Engine, user: &Identity, count: u64) {
    let until = std::time::Instant::now() + PATIENCE;
    let mut found = u64::MAX;
    while found != count {
        assert!(std::time::Instant::now() < until, "the summary never became {count}, but {found}");
        let client = engine.messenger(user);
        client.send(&json!({"type": "INIT_DATA"}));
        let mut data = client.next().await;
        // What comes live is ignored, and not confirmed.
        while data["type"] != "INIT_DATA" {
            data = client.next().await;
        }
        let summary = data["offlineMessages"].clone();
        client.vanish();
        found = summary.as_array().unwrap().iter().map(|entry| entry["count"].as_u64().unwrap()).sum();
        if found != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn two(engine: &Engine) -> (Identity, Identity) {
    (engine.account("ann").await, engine.account("bob").await)
}

#[test]
fn a_new_chat_is_announced_to_both_sides_once() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let (one, other) = (engine.messenger(&ann), engine.messenger(&bob));
        init(&other).await;
        one.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "bob"}));
        let started = json!({"type": "NEW_ONE_TO_ONE_CHAT_AP", "to": "bob", "msg": "Chat request sent to bob.", "chatId": "ann-bob"});
        one.expect_frame(started).await;
        let asked = json!({"type": "NEW_ONE_TO_ONE_CHAT_AP", "from": "ann", "msg": "First message from ann.", "chatId": "ann-bob"});
        other.expect_frame(asked).await;
        for (client, me, to) in [(&one, "ann", "bob"), (&other, "bob", "ann")] {
            client.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": me, "to": to}));
            client.expect_frame(msg("ERROR", &format!("Chat with {to} already exists."))).await;
        }
        assert_eq!(init(&other).await["chatIds"], json!(["ann-bob"]));
        assert_eq!((one.come(), other.come()), (vec![], vec![]));
    });
}

#[test]
fn a_chat_with_somebody_offline_is_found_at_the_next_init_data() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let one = engine.messenger(&ann);
        one.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "bob"}));
        one.expect_frame(msg("INFO", "User bob is not online.")).await;
        // The chat answers after it announced itself: nobody else was there to hear it.
        one.send(&json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "ann", "to": "bob", "chatId": "ann-bob"}));
        one.expect("ONE_TO_ONE_CHAT_HISTORY").await;
        let other = engine.messenger(&bob);
        other.send(&json!({"type": "INIT_DATA"}));
        other
            .expect_frame(json!({"type": "INIT_DATA", "chatIds": ["ann-bob"], "groups": [], "offlineMessages": []}))
            .await;
    });
}

#[test]
fn what_names_somebody_else_or_nobody_is_refused() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, _) = two(&engine).await;
        let client = engine.messenger(&ann);
        for (frame, text) in [
            (json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "bob", "to": "ann"}), "'from' must be your own username."),
            (json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann"}), "Both 'from' and 'to' usernames are required."),
            (
                json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "ann"}),
                "You cannot start a chat with yourself.",
            ),
            (json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "zed"}), "User zed does not exist."),
            (message("ann", "zed", "hi"), "User zed does not exist."),
            (message("bob", "ann", "hi"), "'from' must be your own username."),
            (
                json!({"type": "ONE_TO_ONE_CHAT", "from": "ann", "to": "bob", "content": "x", "chatId": "bob-carl"}),
                "Chat ID does not belong to these users.",
            ),
            (json!({"type": "CREATE_GROUP_CHAT", "groupName": "g", "by": "bob"}), "'by' must be your own username."),
            (
                json!({"type": "JOIN_GROUP_CHAT", "groupId": "17", "username": "ann"}),
                "Group chat with ID 17 does not exist.",
            ),
            (
                json!({"type": "GROUP_CHAT", "from": "ann", "to": "17", "content": "x"}),
                "You are not a member of group 17.",
            ),
            (json!({"type": "GET_GROUP_CHAT_HISTORY", "groupId": 17}), "You are not a member of group 17."),
            (json!({"type": "LEAVE_GROUP", "groupId": 17, "username": "ann"}), "You are not a member of group 17."),
            (json!({"type": "DANCE"}), "Unknown message type: DANCE."),
        ] {
            client.send(&frame);
            client.expect_frame(msg("ERROR", text)).await;
        }
        assert_eq!(init(&client).await["chatIds"], json!([]));
    });
}

#[test]
fn messages_reach_the_other_and_the_senders_other_sockets_without_init_data() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let (one, twin, other) = (engine.messenger(&ann), engine.messenger(&ann), engine.messenger(&bob));
        engine.settle().await;
        one.send(&message("ann", "bob", "first"));
        one.send(&message("ann", "bob", "second"));
        for content in ["first", "second"] {
            for client in [&other, &twin] {
                let frame = client.expect("MESSAGE").await;
                assert_eq!((&frame["from"], &frame["content"]), (&json!("ann"), &json!(content)));
                assert_eq!(frame["chatId"], "ann-bob");
                assert!(frame["messageId"].is_string());
            }
        }
        other.send(&message("bob", "ann", "back"));
        for client in [&one, &twin] {
            assert_eq!(client.expect("MESSAGE").await["content"], "back");
        }
        // Nothing else was said, least of all to the senders about their own messages.
        assert_eq!((one.come(), twin.come(), other.come()), (vec![], vec![], vec![]));
    });
}

#[test]
fn what_waited_offline_is_summarised_until_it_is_acknowledged() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let one = engine.messenger(&ann);
        for n in 0..3 {
            one.send(&message("ann", "bob", &format!("m{n}")));
        }
        summary_becomes(&engine, &bob, 3).await;

        let other = engine.messenger(&bob);
        let data = init(&other).await;
        assert_eq!(
            data["offlineMessages"],
            json!([{"partitionKey": "ann-bob", "count": 3, "messageType": "ONE_TO_ONE", "from": "ann"}])
        );
        // A live message that certainly arrived takes nothing of it away.
        one.send(&message("ann", "bob", "live"));
        other.expect("MESSAGE").await;
        other.ping_and_pong();
        other.close_cleanly();
        summary_becomes(&engine, &bob, 4).await;

        let other = engine.messenger(&bob);
        init(&other).await;
        one.send(&message("ann", "bob", "live too"));
        other.expect("MESSAGE").await;
        other.send(&json!({"type": "OFFLINE_MESSAGES_ACK"}));
        other.expect_frame(msg("SUCCESS", "Offline messages acknowledged.")).await;
        assert_eq!(init(&other).await["offlineMessages"], json!([]));
        // The sender's own messages never wait for it.
        assert_eq!(init(&one).await["offlineMessages"], json!([]));
    });
}

#[test]
fn a_pong_or_a_clean_close_means_delivered_and_silence_does_not() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let (one, other) = (engine.messenger(&ann), engine.messenger(&bob));
        init(&other).await;
        one.send(&message("ann", "bob", "unconfirmed"));
        other.expect("MESSAGE").await;
        other.vanish();
        summary_becomes(&engine, &bob, 1).await;

        let other = engine.messenger(&bob);
        init(&other).await;
        other.send(&json!({"type": "OFFLINE_MESSAGES_ACK"}));
        other.expect("SUCCESS").await;
        one.send(&message("ann", "bob", "confirmed"));
        other.expect("MESSAGE").await;
        other.ping_and_pong();
        summary_becomes(&engine, &bob, 0).await;
        one.send(&message("ann", "bob", "goodbye"));
        other.expect("MESSAGE").await;
        other.close_cleanly();
        summary_becomes(&engine, &bob, 0).await;
    });
}

#[test]
fn what_arrived_counts_as_delivered_though_the_socket_closes_before_the_look_up_ends() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let (one, other) = (engine.messenger(&ann), engine.messenger(&bob));
        one.send(&message("ann", "bob", "first"));
        other.expect("MESSAGE").await;
        other.close_cleanly();
        other.vanish();
        summary_becomes(&engine, &bob, 0).await;

        // The chat isn't new any more: whether something lies below the pointer has to be looked up. No `INIT_DATA` says it.
        let other = engine.messenger(&bob);
        one.send(&message("ann", "bob", "goodbye"));
        other.expect("MESSAGE").await;
        other.close_cleanly();
        other.vanish();
        summary_becomes(&engine, &bob, 0).await;

        // What waited still does, and what came after it with it: the pointer is cumulative.
        one.send(&message("ann", "bob", "missed"));
        summary_becomes(&engine, &bob, 1).await;
        let other = engine.messenger(&bob);
        one.send(&message("ann", "bob", "live"));
        other.expect("MESSAGE").await;
        other.close_cleanly();
        other.vanish();
        tokio::time::sleep(Duration::from_millis(50)).await;
        summary_becomes(&engine, &bob, 2).await;
    });
}

#[test]
fn reading_the_history_counts_as_delivered_and_pages_backwards() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let one = engine.messenger(&ann);
        for n in 0..5 {
            one.send(&message("ann", "bob", &format!("m{n}")));
        }
        summary_becomes(&engine, &bob, 5).await;
        let other = engine.messenger(&bob);
        let mut ask =
            json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "bob", "to": "ann", "chatId": "ann-bob", "limit": 2});
        other.send(&ask);
        let page = other.expect("ONE_TO_ONE_CHAT_HISTORY").await;
        let texts = |page: &Value| {
            page["messages"].as_array().unwrap().iter().map(|row| row["text"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&page), ["m3", "m4"]);
        assert_eq!((&page["messages"][0]["from"], &page["messages"][0]["to"]), (&json!("ann"), &json!("bob")));
        assert_eq!((&page["isOnline"], &page["lastSeenTime"]), (&json!(true), &Value::Null));
        assert_eq!(init(&other).await["offlineMessages"], json!([]));
        ask["before"] = page["messages"][0]["messageId"].clone();
        other.send(&ask);
        assert_eq!(texts(&other.expect("ONE_TO_ONE_CHAT_HISTORY").await), ["m1", "m2"]);
        ask["before"] = json!("1");
        assert_eq!(other.ask(ask).await["type"], "ERROR");

        one.vanish();
        engine.goes_offline(&ann).await;
        let ask = json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "bob", "to": "ann", "chatId": "ann-bob"});
        let page = other.ask(ask).await;
        assert_eq!(page["isOnline"], false);
        assert!(page["lastSeenTime"].is_string(), "{page}");
        let friends = other.ask(json!({"type": "FETCH_FRIENDS_META"})).await;
        assert_eq!(friends["type"], "FRIENDS_META");
        assert_eq!(friends["friends"][0]["username"], "ann");
        assert_eq!(friends["friends"][0]["lastSeenTime"], page["lastSeenTime"]);
    });
}

#[test]
fn a_history_before_the_first_message_is_empty() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, _) = two(&engine).await;
        let one = engine.messenger(&ann);
        one.send(&json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "ann", "to": "bob", "chatId": "ann-bob"}));
        let empty = json!({"type": "ONE_TO_ONE_CHAT_HISTORY", "messages": [], "isOnline": false, "lastSeenTime": null});
        one.expect_frame(empty).await;
        assert_eq!(init(&one).await["chatIds"], json!([]));
    });
}

#[test]
fn groups_are_created_joined_written_read_and_left() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let (one, other) = (engine.messenger(&ann), engine.messenger(&bob));
        let group = one.ask(json!({"type": "CREATE_GROUP_CHAT", "groupName": "hikers", "by": "ann"})).await;
        assert_eq!(group["type"], "GROUP_CHAT_CREATED");
        let id = group["groupId"].clone();
        assert_eq!(init(&one).await["groups"], json!([]), "its creator joins by itself");
        let number: u64 = id.as_str().unwrap().parse().unwrap();
        let outsider = json!({"type": "GROUP_CHAT", "from": "ann", "to": id, "content": "not yet"});
        assert_eq!(one.ask(outsider).await["type"], "ERROR");

        one.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": id, "username": "ann"}));
        one.expect_frame(msg("SUCCESS", "User ann has joined the group.")).await;
        one.send(&json!({"type": "JOIN_GROUP", "groupId": id, "username": "ann"}));
        one.expect_frame(msg("ERROR", "User ann is already a member of the group.")).await;
        other.send(&json!({"type": "JOIN_GROUP", "groupId": number, "username": "bob"}));
        other.expect_frame(msg("SUCCESS", "User bob has joined the group.")).await;
        one.expect_frame(json!({"type": "GROUP_MEMBER_JOINED", "groupId": id, "username": "bob"})).await;

        one.send(&json!({"type": "GROUP_CHAT", "from": "ann", "groupId": id, "content": "hello"}));
        let frame = other.expect("GROUP_CHAT").await;
        assert_eq!((&frame["from"], &frame["groupId"], &frame["content"]), (&json!("ann"), &id, &json!("hello")));
        let history = other.ask(json!({"type": "GET_GROUP_CHAT_HISTORY", "groupId": id})).await;
        assert_eq!(history["messages"].as_array().unwrap().len(), 1);
        assert_eq!(history["messages"][0]["messageId"], frame["messageId"]);
        assert_eq!(init(&other).await["groups"], json!([id]));

        other.send(&json!({"type": "LEAVE_GROUP", "groupId": id, "username": "bob"}));
        other.expect_frame(msg("SUCCESS", "User bob has left the group.")).await;
        one.expect_frame(json!({"type": "GROUP_MEMBER_LEFT", "groupId": id, "username": "bob"})).await;
        assert_eq!(other.ask(json!({"type": "GET_GROUP_CHAT_HISTORY", "groupId": id})).await["type"], "ERROR");
        assert_eq!(other.come(), Vec::<Value>::new());
    });
}

#[test]
fn what_is_said_right_behind_a_join_or_a_leave_comes_after_it() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let (one, other) = (engine.messenger(&ann), engine.messenger(&bob));
        let id = one.ask(json!({"type": "CREATE_GROUP_CHAT", "groupName": "g", "by": "ann"})).await["groupId"].clone();
        one.send(&json!({"type": "JOIN_GROUP", "groupId": id, "username": "ann"}));
        one.expect("SUCCESS").await;
        // Without waiting for answers.
        other.send(&json!({"type": "JOIN_GROUP", "groupId": id, "username": "bob"}));
        other.send(&json!({"type": "GROUP_CHAT", "from": "bob", "to": id, "content": "here I am"}));
        other.send(&json!({"type": "LEAVE_GROUP", "groupId": id, "username": "bob"}));
        other.send(&json!({"type": "GROUP_CHAT", "from": "bob", "to": id, "content": "gone"}));
        other.expect_frame(msg("SUCCESS", "User bob has joined the group.")).await;
        other.expect_frame(msg("SUCCESS", "User bob has left the group.")).await;
        other.expect_frame(msg("ERROR", &format!("You are not a member of group {}.", id.as_str().unwrap()))).await;
        one.expect("GROUP_MEMBER_JOINED").await;
        assert_eq!(one.expect("GROUP_CHAT").await["content"], "here I am");
        one.expect("GROUP_MEMBER_LEFT").await;
    });
}

#[test]
fn a_public_room_is_joined_written_and_read_as_a_group() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, _) = two(&engine).await;
        let guest = engine.rooms("guest").await;
        guest.send(&json!({"type": "create_room", "roomName": "den"}));
        let id = guest.expect("room_joined").await["room"]["id"].clone();
        guest.expect("room_created").await;
        let one = engine.messenger(&ann);
        one.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": id, "username": "ann"}));
        one.expect("SUCCESS").await;
        guest.expect("user_joined").await;
        one.send(&json!({"type": "GROUP_CHAT", "from": "ann", "to": id, "content": "from afar"}));
        assert_eq!(guest.expect("message").await["message"]["content"], "from afar");
        guest.send(&json!({"type": "send_message", "content": "welcome"}));
        assert_eq!(one.expect("GROUP_CHAT").await["content"], "welcome");
        let history = one.ask(json!({"type": "GET_GROUP_CHAT_HISTORY", "groupId": id})).await;
        assert_eq!(history["messages"].as_array().unwrap().len(), 2);
        assert_eq!(init(&one).await["groups"], json!([id]));
    });
}

#[test]
fn too_many_messages_are_refused_for_a_moment() {
    run(|| async {
        let protection = ProtectionSettings { messages: Rate::new(2, Duration::from_secs(30)), ..Default::default() };
        let engine = Engine::start_with(settings(), protection).await;
        let (ann, bob) = two(&engine).await;
        let (one, other) = (engine.messenger(&ann), engine.messenger(&bob));
        for n in 0..3 {
            one.send(&message("ann", "bob", &format!("m{n}")));
        }
        let refused = one.expect("ERROR").await["msg"].as_str().unwrap().to_owned();
        let wait_s = refused.strip_prefix("Rate limit exceeded, retry in ").and_then(|rest| rest.strip_suffix(" s."));
        assert!((20..=30).contains(&wait_s.unwrap().parse().unwrap()), "{refused}");
        for n in 0..2 {
            assert_eq!(other.expect("MESSAGE").await["content"], format!("m{n}"));
        }
    });
}

#[test]
fn disconnect_says_so_and_closes() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, _) = two(&engine).await;
        let one = engine.messenger(&ann);
        one.send(&json!({"type": "DISCONNECT"}));
        one.expect_frame(msg("INFO", "You have been disconnected.")).await;
        one.expect_frame(json!({"close": 1000})).await;
    });
}

#[test]
fn presence_sockets_hear_those_they_share_a_chat_with() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = two(&engine).await;
        let carl = engine.account("carl").await;
        let one = engine.messenger(&ann);
        one.send(&message("ann", "bob", "hi"));
        summary_becomes(&engine, &bob, 1).await;
        engine.goes_offline(&bob).await;

        let watching = engine.open(Dialect::Presence, Some(&ann));
        let refused = watching.ask(json!({"type": "hello"})).await;
        assert_eq!(refused["type"], "ERROR");
        engine.watches(1).await;
        let stranger = engine.messenger(&carl);
        init(&stranger).await;
        let other = engine.messenger(&bob);
        watching.expect_frame(json!({"type": "STATUS_CHANGE", "username": "bob", "status": "ONLINE"})).await;
        other.vanish();
        watching.expect_frame(json!({"type": "STATUS_CHANGE", "username": "bob", "status": "OFFLINE"})).await;

        // A chat that begins now is watched from now on.
        stranger.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "carl", "to": "ann"}));
        stranger.expect("NEW_ONE_TO_ONE_CHAT_AP").await;
        one.expect("NEW_ONE_TO_ONE_CHAT_AP").await;
        engine.watches(2).await;
        stranger.vanish();
        watching.expect_frame(json!({"type": "STATUS_CHANGE", "username": "carl", "status": "OFFLINE"})).await;
    });
}

#[test]
fn without_an_identity_the_socket_is_closed() {
    run(|| async {
        let engine = Engine::start().await;
        for dialect in [Dialect::Messenger, Dialect::Presence] {
            let client = engine.open(dialect, None);
            client.expect_frame(json!({"close": 4200})).await;
        }
    });
}
