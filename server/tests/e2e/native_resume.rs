//! Coming back natively: replayed, gap, reset, gone; and the timeouts before hello.

use std::time::{Duration, Instant};

use crate::harness::{Native, Server, User, Value, json};

fn room(native: &mut Native, name: &str) -> Value {
    native.ask("room.create", &json!({"name": name}))["conversation"]["id"].clone()
}

fn resume(server: &Server, user: &User, conversation: &Value, epoch: &Value, seq: u64) -> (Native, Value) {
    let id = conversation.as_str().unwrap();
    let native = server.native_with(&json!({"token": user.token, "positions": {id: {"epoch": epoch, "seq": seq}}}));
    let resumed = native.welcome["resumed"][0].clone();
    assert_eq!(resumed["conversation"], *conversation);
    (native, resumed)
}

#[test]
fn what_was_missed_is_replayed_and_live_events_follow_without_hole_or_repeat() {
    let server = Server::start_with(&["--unlimited"]);
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let (mut a, mut b) = (server.native(&ann), server.native(&bob));
    let lobby = room(&mut a, "Lobby");
    b.ask("room.join", &json!({"conversation": lobby}));
    let seen = a.post(&lobby, "seen")["seq"].as_u64().unwrap();
    b.message("seen");
    drop(b);
    for n in 0..50 {
        a.post(&lobby, &format!("missed {n}"));
    }
    // More comes while the replay is under way.
    let epoch = a.welcome["epoch"].clone();
    let live: Vec<String> = (0..100)
        .map(|n| a.begin("send", &json!({"conversation": lobby, "message_id": crate::harness::message_id(), "content": format!("live {n}")})))
        .collect();
    let (mut b, resumed) = resume(&server, &bob, &lobby, &epoch, seen);
    for id in &live {
        a.reply(id).unwrap();
    }
    assert_eq!((&resumed["outcome"], &resumed["from"]), (&json!("replayed"), &json!(seen + 1)));
    b.message("live 99");
    let heard: Vec<u64> = b
        .log
        .iter()
        .filter(|frame| frame["conversation"] == lobby && frame["seq"].is_u64() && frame["event"] != "pointer")
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(heard, (seen + 1..=seen + 150).collect::<Vec<_>>());
    assert_eq!(b.log[0]["result"]["user"]["name"], "bob", "the reply comes first");

    // Up to date: nothing follows.
    let head = seen + 150;
    let (mut c, resumed) = resume(&server, &bob, &lobby, &epoch, head);
    assert_eq!(
        (&resumed["outcome"], &resumed["from"], &resumed["to"]),
        (&json!("replayed"), &json!(head + 1), &json!(head))
    );
    a.post(&lobby, "the next");
    assert_eq!(c.message("the next")["seq"], head + 1);
}

#[test]
fn too_much_is_a_gap_and_strange_positions_are_reset_or_gone() {
    let server = Server::start_with(&["--unlimited"]);
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut a = server.native(&ann);
    let lobby = room(&mut a, "Lobby");
    let private = a.ask("group.create", &json!({"name": "private"}))["conversation"]["id"].clone();
    server.native(&bob).ask("room.join", &json!({"conversation": lobby}));
    let epoch = a.welcome["epoch"].clone();
    for _ in 0..11 {
        let ids: Vec<String> = (0..100)
            .map(|n| a.begin("send", &json!({"conversation": lobby, "message_id": crate::harness::message_id(), "content": format!("line {n}")})))
            .collect();
        for id in ids {
            a.reply(&id).unwrap();
        }
    }
    let head = a.ask("conversation", &json!({"conversation": lobby}))["conversation"]["head"].as_u64().unwrap();
    let (mut b, resumed) = resume(&server, &bob, &lobby, &epoch, 2);
    assert_eq!((&resumed["outcome"], &resumed["from"], &resumed["to"]), (&json!("gap"), &json!(3), &json!(head)));
    a.post(&lobby, "after the gap");
    assert_eq!(b.message("after the gap")["seq"], head + 1);
    assert!(!b.has(|frame| frame["event"] == "message" && frame["seq"].as_u64() <= Some(head)), "nothing of the gap");

    let (_, resumed) = resume(&server, &bob, &lobby, &epoch, head + 100);
    assert_eq!(resumed["outcome"], "reset", "beyond the head");
    let (_, resumed) = resume(&server, &bob, &lobby, &json!("0123456789abcdef"), 2);
    assert_eq!((&resumed["outcome"], &resumed["epoch"]), (&json!("reset"), &epoch));
    for unknown in [private, json!("4"), json!("7351029384756301824")] {
        let (_, resumed) = resume(&server, &bob, &unknown, &epoch, 1);
        assert_eq!(resumed, json!({"conversation": unknown, "outcome": "gone"}), "another's group is like none");
    }
    // The same by `resume` on a socket that is welcome.
    let resumed = b.ask("resume", &json!({"positions": {lobby.as_str().unwrap(): {"epoch": epoch, "seq": head + 1}}}));
    assert_eq!(resumed["resumed"][0]["outcome"], "replayed");
}

#[test]
fn positions_survive_a_kill_of_the_server() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut a = server.native(&ann);
    let lobby = room(&mut a, "Lobby");
    server.native(&bob).ask("room.join", &json!({"conversation": lobby}));
    let seq = a.post(&lobby, "seen")["seq"].as_u64().unwrap();
    a.post(&lobby, "missed");
    let epoch = a.welcome["epoch"].clone();
    let server = server.restart_after(&[]);
    let (mut b, resumed) = resume(&server, &bob, &lobby, &epoch, seq);
    assert_eq!(resumed["outcome"], "replayed");
    assert_eq!(b.message("missed")["seq"], seq + 1);
}

#[test]
fn a_listener_resumes_where_it_was() {
    let server = Server::start();
    let mut a = server.native(&server.user("ann"));
    let lobby = room(&mut a, "Lobby");
    let guest = json!({"guest": "guesty"});
    let mut g = server.native_with(&guest);
    g.ask("room.listen", &json!({"conversation": lobby}));
    let seq = a.post(&lobby, "seen")["seq"].clone();
    g.message("seen");
    drop(g);
    a.post(&lobby, "missed");
    let mut g = server.native_with(&guest);
    let position = json!({"epoch": a.welcome["epoch"], "seq": seq});
    let listening = g.ask("room.listen", &json!({"name": "Lobby", "position": position}));
    assert_eq!(listening["resumed"]["outcome"], "replayed");
    g.message("missed");
}

#[test]
fn silence_strange_versions_and_wrong_credentials_have_their_close_codes() {
    let server = Server::start();
    let mut newer = server.native_silent();
    let error = newer.hello(&json!({"protocol": 2, "token": "x"})).unwrap_err();
    assert_eq!((&error["code"], &error["limit"]), (&json!("unsupported_version"), &json!(1)));
    assert_eq!(newer.wait_close(), 4203);
    let mut wrong = server.native_silent();
    assert_eq!(wrong.hello(&json!({"token": "nonsense"})).unwrap_err()["code"], "unauthorized");
    assert_eq!(wrong.wait_close(), 4200);
    let begun = Instant::now();
    let mut silent = server.native_silent();
    let mut chatty = server.native_silent();
    let mut talk = 0;
    while chatty.close_within(Duration::from_millis(500)).is_none() {
        // Frames other than hello don't count: the time doesn't begin anew.
        chatty.begin("ping", &json!({}));
        talk += 1;
        assert!(talk < 40, "a socket without a hello lives on");
    }
    assert_eq!((silent.wait_close(), chatty.wait_close()), (4102, 4102));
    assert!(chatty.has(|frame| frame["error"]["code"] == "unauthorized"));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(4_900), "{took:?}");
}

#[test]
fn bye_closes_with_1000() {
    let server = Server::start();
    let mut ann = server.native(&server.user("ann"));
    ann.ask("bye", &json!({}));
    assert_eq!(ann.wait_close(), 1000);
}
