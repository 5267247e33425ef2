//! Attacks on rights: what is another's looks as if it didn't exist, and names in frames prove nothing.

use crate::harness::{Client, Native, Server, Value, json, message_id};

fn group_of(native: &mut Native) -> Value {
    native.ask("group.create", &json!({"name": "secret crew"}))["conversation"]["id"].clone()
}

#[test]
fn anothers_group_and_chat_look_as_if_they_did_not_exist() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.native(&server.user("ann")), server.native(&server.user("bob")));
    let group = group_of(&mut ann);
    let in_group = ann.post(&group, "between us");
    let sent = ann.ask("send", &json!({"to": "bob", "message_id": message_id(), "content": "just you"}));
    let mut eve = server.native(&server.user("eve"));
    for (conversation, event) in [(&group, &in_group["id"]), (&sent["conversation"], &sent["id"])] {
        // Of the same kind, which the lowest bits say.
        let id: u64 = conversation.as_str().unwrap().parse().unwrap();
        let nothing = json!((id - (1 << 40)).to_string());
        for (kind, rest) in [
            ("history", json!({})),
            ("history", json!({"after": 0})),
            ("conversation", json!({})),
            ("members", json!({})),
            ("read", json!({"seq": 1})),
            ("delivered", json!({"seq": 1})),
            ("send", json!({"message_id": message_id(), "content": "boo"})),
            ("edit", json!({"message": event, "content": "boo"})),
            ("delete", json!({"message": event})),
            ("room.join", json!({})),
            ("room.listen", json!({})),
        ] {
            let mut frame = rest.clone();
            frame["conversation"] = conversation.clone();
            let error = eve.request(kind, &frame).expect_err(kind);
            frame["conversation"] = nothing.clone();
            if frame.get("message_id").is_some() {
                frame["message_id"] = json!(message_id());
            }
            let unknown = eve.request(kind, &frame).expect_err(kind);
            assert_eq!(error["code"], "not_found", "{kind}: {error}");
            assert_eq!(error, unknown, "{kind}: the same as for what doesn't exist");
        }
    }
    // Typing is answered before anybody looks: the same for all.
    for conversation in [&group, &sent["conversation"], &json!("7351029384756301824")] {
        assert_eq!(eve.ask("typing", &json!({"conversation": conversation, "active": true})), json!({}));
    }
    assert_eq!(eve.refused("group.join", &json!({"conversation": sent["conversation"]})), "not_found");
    assert_eq!((bob.history(&sent["conversation"]).len(), ann.texts(&group)), (1, vec!["between us".to_owned()]));
    ann.ask("ping", &json!({}));
    assert!(!ann.has(|frame| frame["event"] == "typing"));
    assert!(!eve.has(|frame| frame.to_string().contains("between us") || frame.to_string().contains("just you")));
}

#[test]
fn messenger_clients_cannot_read_or_write_what_is_anothers() {
    let server = Server::start();
    let (ann, _bob, eve) = (server.user("ann"), server.user("bob"), server.user("eve"));
    let mut a = server.native(&ann);
    let group = group_of(&mut a);
    a.post(&group, "between us");
    let chat =
        a.ask("send", &json!({"to": "bob", "message_id": message_id(), "content": "just you"}))["conversation"].clone();
    let (mut e, _) = server.messenger_ready(&eve);
    for frame in [
        json!({"type": "GET_GROUP_CHAT_HISTORY", "groupId": group}),
        json!({"type": "GROUP_CHAT", "from": "eve", "to": group, "content": "boo"}),
        json!({"type": "GROUP_CHAT", "from": "ann", "to": group, "content": "boo"}),
        json!({"type": "LEAVE_GROUP", "groupId": group, "username": "ann"}),
        json!({"type": "JOIN_GROUP_CHAT", "groupId": group, "username": "bob"}),
        json!({"type": "JOIN_GROUP_CHAT", "groupId": chat, "username": "eve"}),
        json!({"type": "CREATE_GROUP_CHAT", "groupName": "boo", "by": "ann"}),
        json!({"type": "NEW_ONE_TO_ONE_CHAT", "from": "ann", "to": "bob"}),
        json!({"type": "ONE_TO_ONE_CHAT", "from": "ann", "to": "bob", "content": "boo", "chatId": "ann-bob"}),
        json!({"type": "ONE_TO_ONE_CHAT", "from": "eve", "to": "bob", "content": "boo", "chatId": "ann-bob"}),
        json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "ann", "to": "bob", "chatId": "ann-bob"}),
        json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "eve", "to": "bob", "chatId": "ann-bob"}),
    ] {
        e.send(&frame);
        let answer = e.wait("an answer", |_| true);
        assert_eq!(answer["type"], "ERROR", "{frame}: {answer}");
    }
    assert_eq!(a.texts(&group), ["between us"]);
    assert_eq!(a.texts(&chat), ["just you"]);
    assert_eq!(a.ask("members", &json!({"conversation": group}))["members"].as_array().unwrap().len(), 1);
}

#[test]
fn nothing_comes_after_leaving() {
    let server = Server::start_with(&["--unlimited"]);
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let (mut a, mut b) = (server.native(&ann), server.native(&bob));
    let mut messenger = server.messenger(&bob);
    let group = group_of(&mut a);
    b.ask("group.join", &json!({"conversation": group}));
    let epoch = b.welcome["epoch"].clone();
    for round in 0..10 {
        let before = a.post(&group, &format!("before {round}"))["seq"].clone();
        // Leaving while messages are in flight: once it is said, nothing later may come.
        let flying: Vec<String> = (0..20)
            .map(|n| a.begin("send", &json!({"conversation": group, "message_id": message_id(), "content": format!("flying {round}.{n}")})))
            .collect();
        b.ask("group.leave", &json!({"conversation": group}));
        let heard = b.log.len();
        for id in flying {
            a.reply(&id).unwrap();
        }
        a.post(&group, &format!("after {round}"));
        assert_eq!(b.refused("history", &json!({"conversation": group})), "not_found");
        assert_eq!(
            b.refused("send", &json!({"conversation": group, "message_id": message_id(), "content": "x"})),
            "not_found"
        );
        let resumed =
            b.ask("resume", &json!({"positions": {group.as_str().unwrap(): {"epoch": epoch, "seq": before}}}));
        assert_eq!(resumed["resumed"][0]["outcome"], "gone");
        // A later message to both, so that whatever was under way has arrived.
        a.ask("send", &json!({"to": "bob", "message_id": message_id(), "content": format!("marker {round}")}));
        b.message(&format!("marker {round}"));
        let late: Vec<&Value> =
            b.log[heard..].iter().filter(|frame| frame["conversation"] == group && frame["seq"].is_u64()).collect();
        assert!(late.is_empty(), "{late:?}");
        messenger.wait("marker", |frame| frame["content"] == format!("marker {round}"));
        assert!(!messenger.has(|frame| frame["content"] == format!("after {round}")), "no socket of the user's");
        b.ask("group.join", &json!({"conversation": group}));
    }
}

#[test]
fn senders_sequences_and_ids_in_frames_change_nothing() {
    let server = Server::start();
    let ann = server.user("ann");
    let mut a = server.native(&ann);
    let lobby = a.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    let sent = a.ask(
        "send",
        &json!({
            "conversation": lobby, "message_id": message_id(), "content": "it is me",
            "sender": {"id": "1", "name": "root"}, "from": "root", "user": "1", "seq": 4000, "epoch": "0123456789abcdef",
            "timestamp": 1, "role": "admin", "duplicate": true,
        }),
    );
    assert!(sent["seq"].as_u64().unwrap() < 10);
    let mut rita: Client = server.rooms_in("rita", "Lobby");
    rita.send(&json!({
        "type": "send_message", "content": "me too", "userId": ann.id, "username": "ann", "id": "5", "roomId": "1",
        "timestamp": "1970-01-01T00:00:00.000Z",
    }));
    let message = rita.wait_room_message("me too");
    assert_eq!(message["username"], "rita");
    let history = a.history(&lobby);
    let senders: Vec<&Value> =
        history.iter().filter(|event| event["event"] == "message").map(|event| &event["sender"]["name"]).collect();
    assert_eq!(senders, ["ann", "rita"]);
    assert!(history.iter().all(|event| event["timestamp"].as_i64().unwrap() > 1_700_000_000_000));
}

#[test]
fn guests_cannot_do_what_needs_an_account() {
    let server = Server::start();
    let mut ann = server.native(&server.user("ann"));
    let lobby = ann.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    let mut guest = server.native_with(&json!({"guest": "guesty"}));
    for (kind, fields) in [
        ("chat.open", json!({"with": "ann"})),
        ("send", json!({"to": "ann", "message_id": message_id(), "content": "hi"})),
        ("group.create", json!({"name": "crew"})),
        ("room.join", json!({"conversation": lobby})),
        ("read", json!({"conversation": lobby, "seq": 1})),
        ("profile.set", json!({"display_name": "Root"})),
    ] {
        let code = guest.refused(kind, &fields);
        assert!(["forbidden", "not_found"].contains(&code.as_str()), "{kind}: {code}");
    }
    guest.ask("room.listen", &json!({"conversation": lobby}));
    guest.post(&lobby, "hi from a guest");
    ann.message("hi from a guest");
    let mut silent = server.native_silent();
    assert_eq!(silent.hello(&json!({"guest": "ann"})).unwrap_err()["code"], "unauthorized", "a registered name");
}
