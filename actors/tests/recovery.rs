//! A panic in any actor's handler is counted, answered with an error, and the next message works.
#![cfg(feature = "fault-injection")]

mod common;

use chinwag_actors::{
    conversation::messages::ConversationMessage,
    runtime::metrics::KindSnapshot,
    relay::ReplyTo,
    session::{
        Tag,
        native::{NativeTag, What},
    },
};
use chinwag_schema::{ids::ConversationId, wire::Dialect};
use common::{Client, Engine, run};
use serde_json::{Value, json};

/// Waits for a frame of which `wanted` is true; others are passed over.
async fn until(client: &Client, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let frame = client.next().await;
        if wanted(&frame) {
            return frame;
        }
    }
}

fn snapshot(engine: &Engine, kind: &str) -> KindSnapshot {
    engine.node.runtime.metrics().kind_named(kind).unwrap_or_else(|| panic!("no actor of kind {kind}")).snapshot()
}

#[test]
fn every_kind_of_actor_survives_a_panic_and_goes_on() {
    run(async || {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.account("ann").await, engine.account("bob").await);
        let rooms = engine.rooms("visitor").await;
        rooms.send(&json!({"type": "create_room", "roomName": "Survivors"}));
        until(&rooms, |frame| frame["type"] == "room_created").await;
        let chat = engine.messenger(&ann);
        let other = engine.messenger(&bob);
        chat.send(&json!({"type": "CREATE_GROUP_CHAT", "groupName": "g", "by": "ann"}));
        let group = until(&chat, |frame| frame["type"] == "GROUP_CHAT_CREATED").await["groupId"].clone();
        for (client, name) in [(&chat, "ann"), (&other, "bob")] {
            client.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": group, "username": name}));
            until(client, |frame| frame["type"] == "SUCCESS").await;
        }
        let presence = engine.open(Dialect::Presence, Some(&ann));
        let say = |text: &str| {
            chat.send(&json!({"type": "ONE_TO_ONE_CHAT", "from": "ann", "to": "bob", "content": text, "chatId": "ann-bob"}));
            chat.send(&json!({"type": "GROUP_CHAT", "from": "ann", "to": group, "content": text}));
            rooms.send(&json!({"type": "send_message", "content": text}));
        };
        let kinds: Vec<_> = {
            say("before");
            until(&other, |frame| frame["type"] == "MESSAGE").await;
            engine.node.runtime.metrics().kinds().iter().map(|kind| kind.snapshot().kind).collect()
        };
        for wanted in [
            "account_storage", "direct", "directory", "group", "message_storage", "presence", "relay", "room",
            "server_mailbox", "session", "supervisor",
        ] {
            assert!(kinds.contains(&wanted), "{wanted} is not among {kinds:?}");
        }
        for kind in kinds {
            let actors = engine.node.runtime.metrics().kind_named(kind).unwrap().busiest(100);
            let before = snapshot(&engine, kind);
            for actor in &actors {
                actor.inject_panic();
            }
            let text = format!("after the panic of {kind}");
            say(&text);
            let mut missing = vec!["MESSAGE", "GROUP_CHAT"];
            while !missing.is_empty() {
                let frame = until(&other, |frame| frame["content"] == *text).await;
                assert_eq!(frame["from"], "ann");
                missing.retain(|kind| frame["type"] != *kind);
            }
            until(&rooms, |frame| frame["message"]["content"] == *text).await;
            let after = snapshot(&engine, kind);
            assert_eq!(after.restarts, before.restarts + actors.len() as u64, "{kind}");
            assert_eq!(after.stopped_by_budget, 0, "{kind}");
        }
        drop(presence);
    });
}

#[test]
fn a_request_whose_handler_panics_is_answered_with_an_error_and_its_message_can_be_sent_again() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let ann = engine.open(Dialect::Native, None);
        ann.send(&json!({"id": "1", "type": "hello", "protocol": 1, "token": "token-ann"}));
        let reply = async |id: &str| until(&ann, |frame| frame["id"] == *id).await;
        reply("1").await;
        ann.send(&json!({"id": "2", "type": "room.create", "name": "Fragile"}));
        let room = reply("2").await["result"]["conversation"]["id"].as_str().unwrap().to_owned();
        let id: ConversationId = room.parse().unwrap();
        let tag = Tag::Native(NativeTag { id: "3".into(), what: What::Send });
        let to = ReplyTo::new(engine.node.relays[0].clone(), ann.session.slot, tag);
        engine.node.conversations.tell(id, ConversationMessage::Panic { reply: to });
        let failed = reply("3").await;
        assert_eq!((failed["error"]["code"].as_str(), failed["error"]["retryable"].as_bool()), (Some("internal"), Some(true)));
        let message = json!({"id": "4", "type": "send", "conversation": room, "content": "again",
            "message_id": uuid::Uuid::now_v7()});
        ann.send(&message);
        assert_eq!(reply("4").await["result"]["duplicate"], false);
        assert_eq!(snapshot(&engine, "room").restarts, 1);
    });
}
