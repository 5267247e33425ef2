//! Clients of different dialects in the same conversations.

use crate::harness::{Server, Value, json};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

#[test]
fn all_dialects_talk_in_one_public_room_with_the_same_ids_in_the_same_order() {
    let server = Server::start();
    let mut rita = server.rooms_in("rita", "Lobby");
    let (mut ann, mut bob) = (server.native(&server.user("ann")), server.native(&server.user("bob")));
    let (mut mia, _) = server.messenger_ready(&server.user("mia"));
    let lobby = ann.ask("room.join", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    bob.ask("room.join", &json!({"conversation": lobby}));
    mia.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": lobby, "username": "mia"}));
    mia.wait_msg("SUCCESS", "User mia has joined the group.");

    // All at once, so that the order isn't decided here.
    let mut requests = Vec::new();
    for n in 0..5 {
        for (who, native) in [("ann", &mut ann), ("bob", &mut bob)] {
            let content = format!("{who} {n}");
            let id = crate::harness::message_id();
            requests.push((
                who,
                native.begin("send", &json!({"conversation": lobby, "message_id": id, "content": content})),
            ));
        }
        mia.send(&json!({"type": "GROUP_CHAT", "from": "mia", "to": lobby, "content": format!("mia {n}")}));
        rita.send(&json!({"type": "send_message", "content": format!("rita {n}")}));
    }
    for (who, id) in requests {
        let native = if who == "ann" { &mut ann } else { &mut bob };
        native.reply(&id).expect("is acknowledged");
    }
    for n in 0..5 {
        for who in ["ann", "bob", "mia", "rita"] {
            let content = format!("{who} {n}");
            let room_message = rita.wait_room_message(&content);
            assert_eq!((&room_message["username"], &room_message["roomId"]), (&json!(who), &lobby));
            if who != "mia" {
                let group = mia.wait(&content, |frame| frame["type"] == "GROUP_CHAT" && frame["content"] == content);
                assert_eq!((&group["from"], &group["groupId"]), (&json!(who), &lobby));
            }
            for (name, native) in [("ann", &mut ann), ("bob", &mut bob)] {
                if who != name {
                    assert_eq!(native.message(&content)["sender"]["name"], who);
                }
            }
        }
    }

    let history = ann.history(&lobby);
    let seqs: Vec<u64> = history.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=history.len() as u64).collect::<Vec<_>>(), "contiguous");
    let messages: Vec<&Value> = history.iter().filter(|event| event["event"] == "message").collect();
    assert_eq!(messages.len(), 20);
    let ids_but = |name: &str| -> Vec<String> {
        messages.iter().filter(|event| event["sender"]["name"] != name).map(|event| text(&event["id"])).collect()
    };
    let seen = |log: &[Value], path: &str| -> Vec<String> {
        log.iter().filter_map(|frame| frame.pointer(path)).map(text).collect()
    };
    assert_eq!(seen(&rita.log, "/message/id"), ids_but(""), "rooms");
    assert_eq!(seen(&mia.log, "/messageId"), ids_but("mia"), "messenger");
    for (name, native) in [("ann", &ann), ("bob", &bob)] {
        let heard: Vec<Value> = native.log.iter().filter(|frame| frame["event"] == "message").cloned().collect();
        assert_eq!(seen(&heard, "/id"), ids_but(name), "{name}");
    }
    for who in ["ann", "bob", "mia", "rita"] {
        let said = messages.iter().filter(|event| event["sender"]["name"] == who).map(|event| text(&event["content"]));
        assert_eq!(
            said.collect::<Vec<_>>(),
            (0..5).map(|n| format!("{who} {n}")).collect::<Vec<_>>(),
            "a sender's order"
        );
    }
}

#[test]
fn a_name_in_the_messenger_dialect_alone_is_shown_in_rooms() {
    let server = Server::start();
    let mut rita = server.rooms_in("rita", "Lobby");
    let mut zoe = server.native(&server.user("Zoë Ümläut"));
    let lobby = zoe.ask("room.listen", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    let joined = rita.wait_type("user_joined");
    assert_eq!((&joined["user"]["username"], &joined["memberCount"]), (&json!("Zoë Ümläut"), &json!(2)));
    zoe.post(&lobby, "grüß dich");
    assert_eq!(rita.wait_room_message("grüß dich")["username"], "Zoë Ümläut");
}

#[test]
fn messenger_and_native_clients_share_a_group() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.native(&server.user("ann")), server.native(&server.user("bob")));
    let (mut mia, _) = server.messenger_ready(&server.user("mia"));
    let (mut max, _) = server.messenger_ready(&server.user("max"));

    mia.send(&json!({"type": "CREATE_GROUP_CHAT", "groupName": "crew", "by": "mia"}));
    let crew = mia.wait_type("GROUP_CHAT_CREATED")["groupId"].clone();
    mia.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": crew, "username": "mia"}));
    mia.wait_msg("SUCCESS", "User mia has joined the group.");
    ann.ask("group.join", &json!({"conversation": crew}));
    assert_eq!(mia.wait_type("GROUP_MEMBER_JOINED")["username"], "ann");
    bob.ask("group.join", &json!({"conversation": crew}));
    // The alias, and the id as a number would lose digits in JavaScript only.
    max.send(&json!({"type": "JOIN_GROUP", "groupId": text(&crew).parse::<u64>().unwrap(), "username": "max"}));
    max.wait_msg("SUCCESS", "User max has joined the group.");
    ann.event("member_joined", |event| event["sender"]["name"] == "max");
    max.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": crew, "username": "max"}));
    max.wait_msg("ERROR", "User max is already a member of the group.");

    let sent = ann.post(&crew, "from ann");
    for client in [&mut mia, &mut max] {
        let frame = client.wait_type("GROUP_CHAT");
        assert_eq!(
            frame,
            json!({"type": "GROUP_CHAT", "from": "ann", "groupId": crew, "content": "from ann", "messageId": sent["id"]})
        );
    }
    assert_eq!(bob.message("from ann")["id"], sent["id"]);
    max.send(&json!({"type": "GROUP_CHAT", "from": "max", "groupId": crew, "content": "from max"}));
    let id = mia.wait("from max", |frame| frame["content"] == "from max")["messageId"].clone();
    for native in [&mut ann, &mut bob] {
        assert_eq!(native.message("from max")["id"], id);
    }

    max.send(&json!({"type": "LEAVE_GROUP", "groupId": crew, "username": "max"}));
    max.wait_msg("SUCCESS", "User max has left the group.");
    assert_eq!(mia.wait_type("GROUP_MEMBER_LEFT")["username"], "max");
    ann.event("member_left", |event| event["sender"]["name"] == "max");

    mia.send(&json!({"type": "GET_GROUP_CHAT_HISTORY", "groupId": crew}));
    let history = mia.wait_type("GROUP_CHAT_HISTORY");
    let rows: Vec<_> =
        history["messages"].as_array().unwrap().iter().map(|row| (text(&row["from"]), text(&row["text"]))).collect();
    assert_eq!(rows, [("ann".into(), "from ann".into()), ("max".into(), "from max".to_owned())]);
}

#[test]
fn messenger_and_native_clients_chat_one_to_one() {
    let server = Server::start();
    let (ann_user, mia_user) = (server.user("ann"), server.user("mia"));
    let mut ann = server.native(&ann_user);
    let mut mia = server.messenger(&mia_user);
    let mut other = server.messenger(&mia_user);

    // Without INIT_DATA; the first message makes the chat.
    mia.send(&json!({"type": "ONE_TO_ONE_CHAT", "from": "mia", "to": "ann", "content": "psst", "chatId": "ann-mia"}));
    let added = ann.event("conversation_added", |_| true);
    let chat = added["conversation"]["id"].clone();
    let heard = ann.message("psst");
    assert_eq!((&heard["conversation"], &heard["sender"]["name"]), (&chat, &json!("mia")));
    assert_eq!(other.wait_type("MESSAGE")["messageId"], heard["id"], "the sender's other socket hears it, too");

    let sent = ann.ask("send", &json!({"to": "mia", "message_id": crate::harness::message_id(), "content": "yes?"}));
    assert_eq!(sent["conversation"], chat);
    for client in [&mut mia, &mut other] {
        let frame = client.wait("yes?", |frame| frame["content"] == "yes?");
        assert_eq!(
            frame,
            json!({"type": "MESSAGE", "from": "ann", "content": "yes?", "chatId": "ann-mia", "messageId": sent["id"]})
        );
    }

    mia.send(&json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "mia", "to": "ann", "chatId": "ann-mia"}));
    let history = mia.wait_type("ONE_TO_ONE_CHAT_HISTORY");
    let ids: Vec<_> = history["messages"].as_array().unwrap().iter().map(|row| row["messageId"].clone()).collect();
    assert_eq!(ids, [heard["id"].clone(), sent["id"].clone()]);
    assert_eq!(history["isOnline"], true);
    assert!(!mia.has(|frame| frame["content"] == "psst"), "no answer on success");
}
