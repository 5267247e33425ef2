//! The messenger dialect: chats, groups, what waited while one was away.

use crate::harness::{Client, Server, Value, eventually, json};

fn chat(from: &str, to: &str, content: &str, chat_id: &str) -> Value {
    json!({"type": "ONE_TO_ONE_CHAT", "from": from, "to": to, "content": content, "chatId": chat_id})
}

fn offline(summary: &Value) -> Vec<Value> {
    summary["offlineMessages"].as_array().expect("a list").clone()
}

fn init_data(client: &mut Client) -> Value {
    client.send(&json!({"type": "INIT_DATA"}));
    client.wait_type("INIT_DATA")
}

#[test]
fn what_waited_is_summarised_until_it_is_acknowledged() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut sender = server.native(&bob);
    let group = sender.ask("group.create", &json!({"name": "crew"}))["conversation"]["id"].clone();
    let (mut away, _) = server.messenger_ready(&ann);
    away.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": group, "username": "ann"}));
    away.wait_type("SUCCESS");
    away.close();

    for n in 0..3 {
        sender.ask(
            "send",
            &json!({"to": "ann", "message_id": crate::harness::message_id(), "content": format!("one {n}")}),
        );
    }
    for n in 0..2 {
        sender.post(&group, &format!("all {n}"));
    }

    let (back, summary) = server.messenger_ready(&ann);
    assert_eq!((&summary["chatIds"], &summary["groups"]), (&json!(["ann-bob"]), &json!([group])));
    let mut waiting = offline(&summary);
    waiting.sort_by_key(|entry| entry["count"].as_u64());
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert_eq!((&waiting[0]["count"], &waiting[0]["messageType"]), (&json!(2), &json!("GROUP")));
    assert_eq!((&waiting[0]["partitionKey"], &waiting[0]["groupName"]), (&group, &json!("crew")));
    assert_eq!((&waiting[1]["count"], &waiting[1]["messageType"]), (&json!(3), &json!("ONE_TO_ONE")));
    assert_eq!((&waiting[1]["partitionKey"], &waiting[1]["from"]), (&json!("ann-bob"), &json!("bob")));
    back.close();

    let (mut again, summary) = server.messenger_ready(&ann);
    assert_eq!(offline(&summary).len(), 2, "seeing the summary acknowledges nothing");
    again.send(&json!({"type": "OFFLINE_MESSAGES_ACK"}));
    again.wait_msg("SUCCESS", "Offline messages acknowledged.");
    assert_eq!(offline(&init_data(&mut again)), Vec::<Value>::new());
    again.close();
    let (mut later, summary) = server.messenger_ready(&ann);
    assert_eq!(offline(&summary), Vec::<Value>::new());

    later.send(&json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "ann", "to": "bob", "chatId": "ann-bob"}));
    let history = later.wait_type("ONE_TO_ONE_CHAT_HISTORY");
    let texts: Vec<&Value> = history["messages"].as_array().unwrap().iter().map(|row| &row["text"]).collect();
    assert_eq!(texts, ["one 0", "one 1", "one 2"]);
}

#[test]
fn an_acknowledgement_covers_only_what_this_socket_has_seen() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut sender = server.messenger(&bob);
    sender.send(&chat("bob", "ann", "first", "ann-bob"));
    let (mut first, summary) = eventually("a summary of the message", || {
        let (client, summary) = server.messenger_ready(&ann);
        (!offline(&summary).is_empty()).then_some((client, summary))
    });
    assert_eq!(offline(&summary)[0]["count"], 1);
    // Another socket's summary doesn't widen the first one's.
    first.send(&json!({"type": "OFFLINE_MESSAGES_ACK"}));
    first.wait_type("SUCCESS");
    first.close();
    sender.send(&chat("bob", "ann", "second", "ann-bob"));
    eventually("the second message waits", || {
        let (_, summary) = server.messenger_ready(&ann);
        offline(&summary).first().filter(|entry| entry["count"] == 1).cloned()
    });
}

#[test]
fn reading_the_history_and_live_delivery_empty_the_summary() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut sender = server.native(&bob);
    let send = |content: &str| json!({"to": "ann", "message_id": crate::harness::message_id(), "content": content});
    sender.ask("send", &send("while away"));
    let (mut reader, summary) = server.messenger_ready(&ann);
    assert_eq!(offline(&summary)[0]["count"], 1);
    reader.send(&json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "ann", "to": "bob", "chatId": "ann-bob"}));
    reader.wait_type("ONE_TO_ONE_CHAT_HISTORY");
    assert_eq!(offline(&init_data(&mut reader)), Vec::<Value>::new(), "read is delivered");

    sender.ask("send", &send("live"));
    reader.wait("live", |frame| frame["type"] == "MESSAGE" && frame["content"] == "live");
    reader.close();
    // The pointer moves by way of the chat: soon, not at once.
    eventually("a clean close says that it arrived", || {
        let (_, summary) = server.messenger_ready(&ann);
        offline(&summary).is_empty().then_some(())
    });
}

#[test]
fn starting_a_chat_tells_both_sides_in_the_texts_that_clients_match() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    server.user("cleo");
    let (mut a, _) = server.messenger_ready(&ann);
    let (mut b, _) = server.messenger_ready(&bob);
    a.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "bob"}));
    let mine = a.wait_type("NEW_ONE_TO_ONE_CHAT_AP");
    assert_eq!(
        (&mine["to"], &mine["msg"], &mine["chatId"]),
        (&json!("bob"), &json!("Chat request sent to bob."), &json!("ann-bob"))
    );
    let theirs = b.wait_type("NEW_ONE_TO_ONE_CHAT_AP");
    assert_eq!((&theirs["from"], &theirs["msg"]), (&json!("ann"), &json!("First message from ann.")));
    a.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "bob"}));
    a.wait_msg("ERROR", "Chat with bob already exists.");
    a.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "cleo"}));
    a.wait_msg("INFO", "User cleo is not online.");
    a.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "ann"}));
    a.wait_msg("ERROR", "You cannot start a chat with yourself.");
    a.send(&json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "nobody"}));
    a.wait_msg("ERROR", "User nobody does not exist.");
    a.send(&json!({"type": "DISCONNECT"}));
    a.wait_msg("INFO", "You have been disconnected.");
    assert_eq!(a.wait_close(), 1000);
}

#[test]
fn two_chats_with_the_same_chat_id_stay_apart() {
    let server = Server::start();
    let users = ["aaa-bbb", "ccc", "aaa", "bbb-ccc"].map(|name| server.user(name));
    let [mut one, mut two, mut three, mut four] = users.each_ref().map(|user| server.messenger_ready(user).0);
    one.send(&chat("aaa-bbb", "ccc", "first pair", "aaa-bbb-ccc"));
    three.send(&chat("aaa", "bbb-ccc", "second pair", "aaa-bbb-ccc"));
    assert_eq!(two.wait_type("MESSAGE")["content"], "first pair");
    assert_eq!(four.wait_type("MESSAGE")["content"], "second pair");
    for (client, me, other, text) in
        [(&mut two, "ccc", "aaa-bbb", "first pair"), (&mut four, "bbb-ccc", "aaa", "second pair")]
    {
        client.send(&json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": me, "to": other, "chatId": "aaa-bbb-ccc"}));
        let history = client.wait_type("ONE_TO_ONE_CHAT_HISTORY");
        let texts: Vec<&Value> = history["messages"].as_array().unwrap().iter().map(|row| &row["text"]).collect();
        assert_eq!(texts, [text]);
    }
    assert!(!one.has(|frame| frame["content"] == "second pair"));
}

#[test]
fn history_pages_backwards() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut sender = server.native(&bob);
    for n in 0..7 {
        sender.ask("send", &json!({"to": "ann", "message_id": crate::harness::message_id(), "content": n.to_string()}));
    }
    let mut reader = server.messenger(&ann);
    let mut page = |before: Option<Value>| -> Vec<Value> {
        let mut frame =
            json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "ann", "to": "bob", "chatId": "ann-bob", "limit": 3});
        if let Some(before) = before {
            frame["before"] = before;
        }
        reader.send(&frame);
        reader.wait_type("ONE_TO_ONE_CHAT_HISTORY")["messages"].as_array().unwrap().clone()
    };
    let texts = |rows: &[Value]| rows.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let newest = page(None);
    assert_eq!(texts(&newest), ["4", "5", "6"]);
    let middle = page(Some(newest[0]["messageId"].clone()));
    assert_eq!(texts(&middle), ["1", "2", "3"]);
    assert_eq!(texts(&page(Some(middle[0]["messageId"].clone()))), ["0"]);
}

#[test]
fn a_public_room_has_no_secrets_and_a_group_needs_membership() {
    let server = Server::start();
    let mut rita = server.rooms_in("rita", "Lobby");
    let message = rita.say("hello messenger");
    let lobby = message["roomId"].clone();
    let (mut mia, _) = server.messenger_ready(&server.user("mia"));
    let group =
        server.native(&server.user("ann")).ask("group.create", &json!({"name": "crew"}))["conversation"]["id"].clone();
    // The same for a group of others and for none.
    for group in [group.as_str().unwrap(), "7351029384756301825"] {
        mia.send(&json!({"type": "GET_GROUP_CHAT_HISTORY", "groupId": group}));
        mia.wait_msg("ERROR", &format!("You are not a member of group {group}."));
    }
    mia.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": "7351029384756301825", "username": "mia"}));
    mia.wait_msg("ERROR", "Group chat with ID 7351029384756301825 does not exist.");
    mia.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": lobby, "username": "mia"}));
    mia.wait_type("SUCCESS");
    mia.send(&json!({"type": "GET_GROUP_CHAT_HISTORY", "groupId": lobby}));
    let rows = mia.wait_type("GROUP_CHAT_HISTORY")["messages"].clone();
    assert_eq!(
        (&rows[0]["messageId"], &rows[0]["from"], &rows[0]["text"]),
        (&message["id"], &json!("rita"), &json!("hello messenger"))
    );
    assert_eq!(rows[0]["timestamp"], message["timestamp"]);
}

#[test]
fn the_account_routes_answer_in_the_texts_that_clients_match_under_all_prefixes() {
    let server = Server::start();
    for (n, prefix) in ["/api/auth", "/auth", "/api/auth/api/auth"].into_iter().enumerate() {
        let post = |path: &str, body: Value| {
            let answer = server.post(&format!("{prefix}/{path}"), None, &body);
            (answer.status, answer.json())
        };
        let name = format!("user{n}");
        let (status, body) = post("register", json!({"username": format!(" {name} "), "password": "secret1"}));
        assert_eq!((status, body), (201, json!({"message": "User registered successfully", "username": name})));
        let error = |status: u16, text: &str| (status, json!(text));
        for (path, body, expected) in [
            ("register", json!({"username": name, "password": "secret1"}), error(409, "Username already exists")),
            ("register", json!({"username": name}), error(400, "Username and password are required")),
            (
                "register",
                json!({"username": "ab", "password": "secret1"}),
                error(400, "Username must be at least 3 characters long"),
            ),
            (
                "register",
                json!({"username": "abc", "password": "12345"}),
                error(400, "Password must be at least 6 characters long"),
            ),
            ("login", json!({"username": name, "password": "wrong1"}), error(401, "Invalid username or password")),
            ("login", json!({"password": "secret1"}), error(400, "Username and password are required")),
            ("logout", json!({}), error(401, "No token provided")),
        ] {
            let (status, body) = post(path, body);
            assert_eq!((status, body["error"].clone()), expected, "{prefix}/{path}");
        }
        let (status, body) = post("login", json!({"username": name, "password": "secret1"}));
        assert_eq!((status, &body["message"], &body["username"]), (200, &json!("Login successful"), &json!(name)));
        let token = body["token"].as_str().unwrap();
        let bye = server.post(&format!("{prefix}/logout"), Some(token), &json!({}));
        assert_eq!((bye.status, bye.json()["message"].clone()), (200, json!("Logout successful")));
        let again = server.post(&format!("{prefix}/logout"), Some(token), &json!({}));
        assert_eq!((again.status, again.json()["error"].clone()), (401, json!("Invalid token")));
    }
}
