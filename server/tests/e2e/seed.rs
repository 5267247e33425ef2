//! `chinwag seed`: the demonstration is there, once.

use crate::harness::{Server, json, run};

#[test]
fn the_demonstration_can_be_logged_into_and_read_and_a_second_run_adds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let first = run(&directory, &["seed"]);
    assert!(first.status.success(), "{first:?}");
    let printed = String::from_utf8(first.stdout).unwrap();
    let password = printed.split("password ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a password");
    let again = run(&directory, &["seed"]);
    assert!(again.status.success(), "{again:?}");
    let said = String::from_utf8(again.stdout).unwrap();
    assert!(said.contains("exists already") && !said.contains("shown only now"), "{said}");

    let server = Server::start_in(directory, &[]);
    let ann = server.login("ann", password);
    let mut native = server.native(&ann);
    assert_eq!(native.welcome["user"]["display_name"], "Ann Archer");
    let conversations = native.welcome["conversations"].as_array().unwrap().clone();
    let count = |kind: &str| conversations.iter().filter(|info| info["kind"] == kind).count();
    assert_eq!((count("room"), count("group"), count("direct")), (2, 1, 2), "once each");
    for info in &conversations {
        let events = native.history(&info["id"]);
        let messages = events.iter().filter(|event| event["event"] == "message").count();
        assert!((4..=12).contains(&messages), "{info}");
        assert_eq!(events.len() as u64, info["head"].as_u64().unwrap());
        assert!(events.windows(2).all(|pair| pair[0]["timestamp"].as_i64() <= pair[1]["timestamp"].as_i64()));
    }
    let direct = conversations.iter().find(|info| info["with"]["name"] == "bob").unwrap();
    assert_eq!((&direct["unread"], &direct["with"]["display_name"]), (&json!(2), &json!("Bob")));

    // The other dialects see it, and can go on in it.
    let mut rita = server.rooms("rita");
    rita.send(&json!({"type": "join_room", "roomName": "Lobby"}));
    let history = rita.wait_type("message_history");
    assert_eq!(history["messages"].as_array().unwrap().len(), 12);
    rita.say("what a pleasant place");
    native.message("what a pleasant place");
    let (mut mia, summary) = server.messenger_ready(&server.login("bob", password));
    assert_eq!(summary["groups"].as_array().unwrap().len(), 2, "a group and a room: {summary}");
    mia.send(&json!({"type": "GET_ONE_TO_ONE_HISTORY", "from": "bob", "to": "ann", "chatId": "ann-bob"}));
    assert_eq!(mia.wait_type("ONE_TO_ONE_CHAT_HISTORY")["messages"].as_array().unwrap().len(), 4);
}
