//! Pages of history, and messages as they stand after changes.

use serde_json::json;

use crate::{
    common::{Engine, run},
    harness::{Native, chat},
};

#[test]
fn edits_and_deletions_show_the_message_as_it_stands() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let sent = ann.send(&chat, "helo").await;
        bob.event_of("message").await;
        let message = json!({"conversation": chat, "message": sent["id"]});
        let with = |content: &str| {
            let mut fields = message.clone();
            fields["content"] = json!(content);
            fields
        };
        let edited = ann.ask("edit", with("hello")).await;
        assert_eq!(edited["seq"], 2, "{edited}");
        let event = bob.event_of("edited").await;
        assert_eq!((&event["target"], &event["content"]), (&sent["id"], &json!("hello")));
        assert_eq!(bob.ask("edit", with("mine")).await["code"], "forbidden");
        // An edit whose message lies outside the page shows its text all the same.
        let page = bob.ask("history", json!({"conversation": chat, "after": 1})).await;
        assert_eq!(page["events"][0]["content"], "hello");
        let deleted = ann.ask("delete", message).await;
        assert_eq!(deleted["seq"], 3, "{deleted}");
        assert_eq!(bob.event_of("deleted").await["target_seq"], 1);
        let page = bob.ask("history", json!({"conversation": chat})).await;
        assert_eq!((&page["events"][0]["deleted"], &page["events"][0]["content"]), (&json!(true), &json!("")));
        assert_eq!((&page["complete"], &page["head"]), (&json!(true), &json!(3)));
    });
}

#[test]
fn pages_of_history_are_bounded_in_bytes_and_unknown_cursors_are_errors() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, _bob, chat) = chat(&engine).await;
        let long = "é".repeat(4096);
        for _ in 0..40 {
            ann.send(&chat, &long).await;
        }
        let newest = ann.ask("history", json!({"conversation": chat, "limit": 200})).await;
        let events = newest["events"].as_array().unwrap();
        assert!(events.len() < 40 && events.last().unwrap()["seq"] == 40 && newest["complete"] == false);
        let oldest = ann.ask("history", json!({"conversation": chat, "after": 0, "limit": 200})).await;
        assert!(oldest["events"][0]["seq"] == 1 && oldest["complete"] == false);
        for (field, value) in [("before", json!(42)), ("after", json!(41)), ("epoch", json!("00000000000000aa"))] {
            let refused = ann.ask("history", json!({"conversation": chat, field: value})).await;
            assert_eq!((&refused["code"], &refused["field"]), (&json!("unknown_cursor"), &json!(field)));
        }
        engine.account("eve").await;
        let eve = Native::enter(&engine, "eve").await;
        assert_eq!(eve.ask("history", json!({"conversation": chat})).await["code"], "not_found");
    });
}
