//! History, pointers, edits and deletions natively.

use crate::harness::{Native, Server, Value, json};

fn room_with(native: &mut Native, messages: u64) -> Value {
    let lobby = native.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    for n in 0..messages {
        native.post(&lobby, &format!("line {n}"));
    }
    lobby
}

fn seqs(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

#[test]
fn history_pages_both_ways_and_says_where_it_ends() {
    let server = Server::start_with(&["--unlimited"]);
    let mut ann = server.native(&server.user("ann"));
    // The creator's joining may be an event of its own.
    let lobby = room_with(&mut ann, 25);
    let newest = ann.ask("history", &json!({"conversation": lobby, "limit": 10}));
    let head = newest["head"].as_u64().unwrap();
    assert_eq!(seqs(&newest), (head - 9..=head).collect::<Vec<_>>());
    assert_eq!((&newest["complete"], &newest["oldest_seq"]), (&json!(false), &json!(1)));

    let mut before = head + 1;
    let mut backwards = Vec::new();
    loop {
        let page = ann.ask("history", &json!({"conversation": lobby, "before": before, "limit": 10}));
        let mut page_seqs = seqs(&page);
        before = page_seqs.first().copied().unwrap();
        page_seqs.extend(backwards);
        backwards = page_seqs;
        if page["complete"] == true {
            break;
        }
    }
    assert_eq!(backwards, (1..=head).collect::<Vec<_>>());
    let forwards: Vec<u64> = ann.history(&lobby).iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(forwards, backwards);
    let at_head = ann.ask("history", &json!({"conversation": lobby, "after": head}));
    assert_eq!((seqs(&at_head), &at_head["complete"]), (Vec::new(), &json!(true)));

    for cursor in [
        json!({"before": head + 2}),
        json!({"after": head + 1}),
        json!({"epoch": "0123456789abcdef"}),
        json!({"before": 0}),
    ] {
        let mut frame = cursor.clone();
        frame["conversation"] = lobby.clone();
        assert_eq!(ann.refused("history", &frame), "unknown_cursor", "{cursor}");
    }
}

#[test]
fn unread_counts_are_exact_across_edits_own_messages_and_reconnects() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let (mut a, mut b) = (server.native(&ann), server.native(&bob));
    let lobby = room_with(&mut a, 2);
    b.ask("room.join", &json!({"conversation": lobby}));
    let info =
        |native: &mut Native| native.ask("conversation", &json!({"conversation": lobby}))["conversation"].clone();
    // Joining reads nothing that came before it... or everything: either way the count is arithmetic from here.
    let base = info(&mut b)["unread"].as_u64().unwrap();
    let third = a.post(&lobby, "three");
    a.post(&lobby, "four");
    b.post(&lobby, "mine");
    a.ask("edit", &json!({"conversation": lobby, "message": third["id"], "content": "3"}));
    a.ask("delete", &json!({"conversation": lobby, "message": third["id"]}));
    assert_eq!(info(&mut b)["unread"], base + 2, "edits, deletions and own messages don't count");

    let moved = b.ask("read", &json!({"conversation": lobby, "seq": third["seq"]}));
    assert_eq!((&moved["pointer"], &moved["seq"], &moved["unread"]), (&json!("read"), &third["seq"], &json!(1)));
    let now = info(&mut b);
    assert_eq!(
        (&now["read"], &now["delivered"], &now["unread"]),
        (&third["seq"], &third["seq"], &json!(1)),
        "read is delivered"
    );
    // Backwards moves nothing and says where it stands.
    let back = b.ask("read", &json!({"conversation": lobby, "seq": 1}));
    assert_eq!((&back["seq"], &back["unread"]), (&third["seq"], &json!(1)));
    let head = now["head"].as_u64().unwrap();
    assert_eq!(b.refused("read", &json!({"conversation": lobby, "seq": head + 1})), "beyond_head");
    assert_eq!(b.refused("delivered", &json!({"conversation": lobby, "seq": head + 1})), "beyond_head");

    let again = server.native(&bob);
    let listed = again.listed(&lobby);
    assert_eq!((&listed["read"], &listed["unread"], &listed["head"]), (&third["seq"], &json!(1), &json!(head)));
    // The pointers are durable within seconds; a stop writes them.
    b.ask("read", &json!({"conversation": lobby, "seq": head}));
    a.event("pointer", |event| event["user"]["name"] == "bob" && event["pointer"] == "read" && event["seq"] == head);
    let mut server = server;
    server.terminate();
    assert!(server.wait_for_end().success());
    let server = server.restart_after(&[]);
    let listed = server.native(&bob).listed(&lobby).clone();
    assert_eq!((&listed["read"], &listed["unread"]), (&json!(head), &json!(0)));
}

#[test]
fn deleted_content_is_blank_everywhere_and_edits_show_the_newest_text() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let (mut a, mut b) = (server.native(&ann), server.native(&bob));
    let lobby = room_with(&mut a, 0);
    b.ask("room.join", &json!({"conversation": lobby}));
    let position = json!({"epoch": a.welcome["epoch"], "seq": 0});
    let secret = a.post(&lobby, "my secret");
    let typo = a.post(&lobby, "tpyo");
    let deleted = a.ask("delete", &json!({"conversation": lobby, "message": secret["id"]}));
    assert_eq!(b.event("deleted", |_| true)["target"], secret["id"]);
    a.ask("edit", &json!({"conversation": lobby, "message": typo["id"], "content": "tyop"}));
    let edit = json!({"conversation": lobby, "message": typo["id"], "content": "typo"});
    let edited = a.ask("edit", &edit);
    b.event("edited", |event| event["content"] == "typo");
    // Repeats of both succeed and change nothing.
    a.ask("delete", &json!({"conversation": lobby, "message": secret["id"]}));
    a.ask("edit", &edit);
    let head = a.ask("conversation", &json!({"conversation": lobby}))["conversation"]["head"].clone();
    assert_eq!((head, deleted["seq"].as_u64() < edited["seq"].as_u64()), (edited["seq"].clone(), true));
    assert_eq!(b.refused("delete", &json!({"conversation": lobby, "message": typo["id"]})), "forbidden");
    assert_eq!(b.refused("edit", &json!({"conversation": lobby, "message": typo["id"], "content": "ha"})), "forbidden");

    let check = |events: &[Value], whence: &str| {
        let of =
            |id: &Value| events.iter().find(|event| event["id"] == *id).unwrap_or_else(|| panic!("{whence}: {id}"));
        assert_eq!(
            (&of(&secret["id"])["content"], &of(&secret["id"])["deleted"]),
            (&json!(""), &json!(true)),
            "{whence}"
        );
        assert_eq!(of(&typo["id"])["content"], "typo", "{whence}");
        assert!(!Value::from(events.to_vec()).to_string().contains("secret"), "{whence}");
        assert!(!Value::from(events.to_vec()).to_string().contains("tpyo"), "{whence}");
    };
    check(&b.history(&lobby), "history");
    let mut again = server.native_with(&json!({"token": bob.token, "positions": {lobby.as_str().unwrap(): position}}));
    again.event("edited", |event| event["seq"] == edited["seq"]);
    check(&again.log[1..], "replay");
    let server = server.restart_after(&[]);
    check(&server.native(&bob).history(&lobby), "after a restart");
}
