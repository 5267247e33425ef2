//! Who is let in, who isn't, and how a socket ends; frames that are no requests.

use chinwag_actors::{engine::EngineSettings, protection::ProtectionSettings};
use chinwag_schema::wire::Dialect;
use serde_json::{Value, json};

use crate::{
    common::{Engine, run, settings},
    harness::Native,
};

#[test]
fn hello_is_answered_with_everything_a_client_needs_to_begin() {
    run(|| async {
        let engine = Engine::start().await;
        let identity = engine.account("ann").await;
        let ann = Native::enter(&engine, "ann").await;
        let welcome = &ann.welcome;
        assert_eq!(welcome["user"], json!({"id": identity.user, "name": "ann", "guest": false}));
        assert_eq!(welcome["protocol"], 1);
        assert_eq!((&welcome["conversations"], &welcome["resumed"]), (&json!([]), &json!([])));
        assert_eq!(welcome["limits"]["page"], 200);
        assert!(welcome.get("next").is_none());
        let twice = ann.ask("hello", json!({"protocol": 1, "token": "token-ann"})).await;
        assert_eq!(twice["code"], "bad_request");
        assert_eq!(ann.ask("bye", json!({})).await, json!({}));
        assert_eq!(ann.client.next().await, json!({"close": 1000}));
    });
}

#[test]
fn who_fails_to_say_hello_is_told_why_and_closed() {
    run(|| async {
        let engine =
            Engine::start_with(EngineSettings { guests: false, ..settings() }, ProtectionSettings::default()).await;
        let hello = |fields: Value| {
            let client = engine.open(Dialect::Native, None);
            let mut frame = json!({"id": "h", "type": "hello", "protocol": 1});
            frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            client.send(&frame);
            client
        };
        let cases = [
            (json!({"token": "wrong"}), "unauthorized", 4200),
            (json!({"ticket": "wrong"}), "unauthorized", 4200),
            (json!({"guest": "gus"}), "unauthorized", 4200),
            (json!({"protocol": 2, "token": "x"}), "unsupported_version", 4203),
        ];
        for (fields, code, close) in cases {
            let client = hello(fields);
            assert_eq!(client.next().await["error"]["code"], code);
            assert_eq!(client.next().await, json!({"close": close}));
        }
        // What is merely malformed may be said again.
        let client = hello(json!({}));
        assert_eq!(client.next().await["error"]["code"], "bad_request");
        client.send(&json!({"id": "p", "type": "ping"}));
        assert_eq!(client.next().await["error"]["code"], "unauthorized");
        engine.account("ann").await;
        client.send(&json!({"id": "h2", "type": "hello", "protocol": 1, "ticket": "ticket-ann"}));
        assert_eq!(client.next().await["result"]["user"]["name"], "ann");
        // A node about to stop takes nobody.
        engine.node.begin_drain();
        let client = hello(json!({"token": "token-ann"}));
        assert_eq!(client.next().await["error"]["code"], "draining");
        assert_eq!(client.next().await, json!({"close": 1001}));
    });
}

#[test]
fn who_says_nothing_is_closed_in_time_and_what_follows_a_refusal_is_ignored() {
    run(|| async {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let silent = engine.open(Dialect::Native, None);
        let refused = engine.open(Dialect::Native, None);
        for token in ["wrong", "token-ann"] {
            refused.send(&json!({"id": token, "type": "hello", "protocol": 1, "token": token}));
        }
        refused.send(&json!({"id": "p", "type": "ping"}));
        assert_eq!(refused.next().await["error"]["code"], "unauthorized");
        assert_eq!(refused.next().await, json!({"close": 4200}));
        assert_eq!(silent.next().await, json!({"close": 4102}));
        assert!(refused.come().is_empty());
        assert_eq!(engine.node.counters.users.load(std::sync::atomic::Ordering::Relaxed), 0);
    });
}

#[test]
fn guests_take_no_name_of_an_account() {
    run(|| async {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let client = engine.open(Dialect::Native, None);
        client.send(&json!({"id": "h", "type": "hello", "protocol": 1, "guest": "ann"}));
        assert_eq!(client.next().await["error"]["field"], "guest");
        assert_eq!(client.next().await, json!({"close": 4200}));
    });
}

#[test]
fn frames_that_are_no_requests_leave_the_socket_open() {
    run(|| async {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let ann = Native::enter(&engine, "ann").await;
        for text in ["", "[]", "nonsense", "{\"id\":7}", "{\"type\":\"ping\"}"] {
            ann.client.send_text(text);
            let frame = ann.client.next().await;
            assert_eq!((&frame["id"], &frame["error"]["code"]), (&Value::Null, &json!("bad_request")), "{text}");
        }
        ann.client.send_text("{\"id\":\"x\",\"type\":\"fly\"}");
        let frame = ann.client.next().await;
        assert_eq!((&frame["id"], &frame["error"]["field"]), (&json!("x"), &json!("type")));
        assert!(ann.ask("ping", json!({})).await["server_time"].is_i64());
    });
}
