//! Sending natively: idempotent, ordered, refused where it must be.

use crate::harness::{Native, Server, Value, json, message_id};

fn room(native: &mut Native) -> Value {
    native.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone()
}

#[test]
fn the_same_message_id_on_two_sockets_at_once_is_one_message() {
    let server = Server::start();
    let ann = server.user("ann");
    let (mut one, mut two) = (server.native(&ann), server.native(&ann));
    let lobby = room(&mut one);
    for round in 0..20 {
        let frame = json!({"conversation": lobby, "message_id": message_id(), "content": format!("round {round}")});
        let ids = (one.begin("send", &frame), two.begin("send", &frame), one.begin("send", &frame));
        let mut replies = vec![one.reply(&ids.0).unwrap(), two.reply(&ids.1).unwrap(), one.reply(&ids.2).unwrap()];
        replies.sort_by_key(|reply| reply["duplicate"] == true);
        let flags: Vec<&Value> = replies.iter().map(|reply| &reply["duplicate"]).collect();
        assert_eq!(flags, [&json!(false), &json!(true), &json!(true)]);
        for field in ["conversation", "epoch", "seq", "id", "timestamp"] {
            assert!(replies.iter().all(|reply| reply[field] == replies[0][field]), "{replies:?}");
        }
    }
    assert_eq!(one.texts(&lobby), (0..20).map(|round| format!("round {round}")).collect::<Vec<_>>());
}

#[test]
fn a_repeat_survives_a_restart_and_an_edit() {
    let server = Server::start();
    let ann = server.user("ann");
    let mut native = server.native(&ann);
    let lobby = room(&mut native);
    let frame = json!({"conversation": lobby, "message_id": message_id(), "content": "once"});
    let first = native.ask("send", &frame);
    native.ask("edit", &json!({"conversation": lobby, "message": first["id"], "content": "edited"}));
    let server = server.restart_after(&[]);
    let mut native = server.native(&ann);
    let again = native.ask("send", &frame);
    assert_eq!((&again["seq"], &again["id"], &again["duplicate"]), (&first["seq"], &first["id"], &json!(true)));
    assert_eq!(again["timestamp"], first["timestamp"]);
    assert_eq!(native.texts(&lobby), ["edited"]);
}

#[test]
fn message_ids_with_another_body_or_of_another_time_are_refused() {
    let server = Server::start();
    let mut native = server.native(&server.user("ann"));
    let lobby = room(&mut native);
    let id = message_id();
    let send = |id: &str, content: &str| json!({"conversation": lobby, "message_id": id, "content": content});
    native.ask("send", &send(&id, "one"));
    assert_eq!(native.refused("send", &send(&id, "two")), "message_id_reused");
    let at = |seconds: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let timestamp = uuid::Timestamp::from_unix(uuid::NoContext, (now + seconds) as u64, 0);
        uuid::Uuid::new_v7(timestamp).to_string()
    };
    assert_eq!(native.refused("send", &send(&at(660), "ahead")), "message_id_ahead");
    native.ask("send", &send(&at(540), "a little ahead"));
    native.ask("send", &send(&at(-86_400), "kept in an outbox"));
    assert_eq!(native.texts(&lobby), ["one", "a little ahead", "kept in an outbox"]);

    // With retention, ids from before it are expired.
    let server = Server::start_with(&["--retention-days", "1"]);
    let mut native = server.native(&server.user("ann"));
    let lobby = room(&mut native);
    let frame = json!({"conversation": lobby, "message_id": at(-100_000), "content": "old"});
    assert_eq!(native.refused("send", &frame), "message_id_expired");
    assert_eq!(native.texts(&lobby), [""; 0]);
}

#[test]
fn the_same_message_id_of_another_sender_or_conversation_is_another_message() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.native(&server.user("ann")), server.native(&server.user("bob")));
    let lobby = room(&mut ann);
    bob.ask("room.join", &json!({"conversation": lobby}));
    let den = ann.ask("room.create", &json!({"name": "Den"}))["conversation"]["id"].clone();
    let id = message_id();
    let send = |to: &Value| json!({"conversation": to, "message_id": id, "content": "hi"});
    for reply in [ann.ask("send", &send(&lobby)), bob.ask("send", &send(&lobby)), ann.ask("send", &send(&den))] {
        assert_eq!(reply["duplicate"], false);
    }
    assert_eq!((ann.texts(&lobby).len(), ann.texts(&den).len()), (2, 1));
}

#[test]
fn many_unanswered_sends_keep_their_order_without_holes() {
    let server = Server::start_with(&["--unlimited"]);
    let (mut ann, mut bob) = (server.native(&server.user("ann")), server.native(&server.user("bob")));
    let lobby = room(&mut ann);
    bob.ask("room.join", &json!({"conversation": lobby}));
    let head = bob.ask("conversation", &json!({"conversation": lobby}))["conversation"]["head"].as_u64().unwrap();
    let mut begun = Vec::new();
    for n in 0..300 {
        let frame =
            |who: &str| json!({"conversation": lobby, "message_id": message_id(), "content": format!("{who} {n}")});
        begun.push((ann.begin("send", &frame("ann")), bob.begin("send", &frame("bob"))));
    }
    let mut seqs = Vec::new();
    for (a, b) in begun {
        seqs.push((ann.reply(&a).unwrap()["seq"].as_u64().unwrap(), bob.reply(&b).unwrap()["seq"].as_u64().unwrap()));
    }
    assert!(seqs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "each sender's order");
    let mut all: Vec<u64> = seqs.iter().flat_map(|&(a, b)| [a, b]).collect();
    all.sort_unstable();
    assert_eq!(all, (head + 1..=head + 600).collect::<Vec<_>>());
    ann.message("bob 299");
    let live: Vec<u64> = ann
        .log
        .iter()
        .filter(|frame| frame["event"] == "message")
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert!(live.windows(2).all(|pair| pair[0] < pair[1]), "live events in order");
}

#[test]
fn what_a_group_create_repeats_is_the_first_group() {
    let server = Server::start();
    let ann = server.user("ann");
    let (mut one, mut two) = (server.native(&ann), server.native(&ann));
    // Both clients call their request `r2`: `hello` was `r1`.
    let first = one.ask("group.create", &json!({"name": "crew"}));
    let again = two.ask("group.create", &json!({"name": "crew"}));
    assert_eq!((&first["created"], &again["created"]), (&json!(true), &json!(false)));
    assert_eq!(first["conversation"]["id"], again["conversation"]["id"]);
    let other = two.ask("group.create", &json!({"name": "crew"}));
    assert_ne!(other["conversation"]["id"], first["conversation"]["id"], "another request, another group");
}

#[test]
fn typing_ends_with_a_message_and_lapses() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.native(&server.user("ann")), server.native(&server.user("bob")));
    let lobby = room(&mut ann);
    bob.ask("room.join", &json!({"conversation": lobby}));
    // Typing isn't kept for a socket that is only being attached: once it has heard a message, it hears everything.
    ann.post(&lobby, "are you there?");
    bob.event("message", |event| event["content"] == "are you there?");
    let typists = |names: Value| move |event: &Value| event["typists"] == names;
    ann.ask("typing", &json!({"conversation": lobby, "active": true}));
    bob.event("typing", typists(json!(["ann"])));
    ann.post(&lobby, "hi");
    bob.event("typing", typists(json!([])));
    ann.ask("typing", &json!({"conversation": lobby, "active": true}));
    bob.event("typing", typists(json!(["ann"])));
    bob.event("typing", typists(json!([])));
}

#[test]
fn a_socket_lost_before_the_answer_is_made_good_by_the_same_id() {
    let server = Server::start();
    let ann = server.user("ann");
    let mut first = server.native(&ann);
    let lobby = room(&mut first);
    let position = json!({"epoch": first.welcome["epoch"], "seq": 0});
    let mut outbox = Vec::new();
    for n in 0..20 {
        let frame = json!({"conversation": lobby, "message_id": message_id(), "content": format!("line {n}")});
        first.begin("send", &frame);
        outbox.push(frame);
    }
    // Nobody reads the replies.
    drop(first);
    let mut second = server.native_with(&json!({"token": ann.token, "positions": {lobby.as_str().unwrap(): position}}));
    for frame in &outbox {
        second.ask("send", frame);
    }
    let mut sorted = second.texts(&lobby);
    sorted.sort_by_key(|text| text[5..].parse::<u32>().unwrap());
    assert_eq!(sorted, (0..20).map(|n| format!("line {n}")).collect::<Vec<_>>(), "each once");
}
