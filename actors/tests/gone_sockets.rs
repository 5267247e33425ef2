//! Sockets that close while something is done for them: nothing of them stays behind.

mod common;

use std::{sync::Arc, time::Duration};

use chinwag_actors::conversation::messages::{Caller, ConversationMessage};
use chinwag_schema::{
    ids::{ConversationId, NodeId, Seq, Slot},
    wire::Dialect,
};
use common::{Client, Engine, run, settings};
use serde_json::{Value, json};

async fn reply(client: &Client, frame: Value) -> Value {
    client.send(&frame);
    loop {
        let mut next = client.next().await;
        if next["id"] == frame["id"] {
            assert!(next.get("error").is_none(), "{frame}: {next}");
            return next["result"].take();
        }
    }
}

async fn enter(engine: &Engine, name: &str) -> (Client, Value) {
    let client = engine.open(Dialect::Native, None);
    let hello = json!({"id": "hello", "type": "hello", "protocol": 1, "token": format!("token-{name}")});
    let welcome = reply(&client, hello).await;
    (client, welcome)
}

async fn observed(engine: &Engine, kind: &str) -> Value {
    let actor = engine.node.runtime.metrics().kind_named(kind).unwrap().busiest(1).remove(0);
    actor.request_observation().await.unwrap()
}

#[test]
fn a_listener_that_leaves_while_its_replay_is_read_does_not_listen() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let (ann, welcome) = enter(&engine, "ann").await;
        let room =
            reply(&ann, json!({"id": "make", "type": "room.create", "name": "Long"})).await["conversation"]["id"]
                .take();
        for n in 0..300 {
            let message_id = uuid::Uuid::now_v7();
            let send = json!({"id": format!("s{n}"), "type": "send", "conversation": room, "message_id": message_id, "content": "x"});
            reply(&ann, send).await;
        }
        let bob = engine.open(Dialect::Native, None);
        reply(&bob, json!({"id": "hello", "type": "hello", "protocol": 1, "guest": "bob"})).await;
        let position = json!({"epoch": welcome["epoch"], "seq": 1});
        // The store must be asked for the replay; the socket closes in the same breath.
        bob.send(&json!({"id": "2", "type": "room.listen", "conversation": room, "position": position}));
        bob.vanish();
        engine.settle().await;
        // Time for the replay to come back and to do harm; what comes and goes in it does none.
        tokio::time::sleep(Duration::from_millis(200)).await;
        engine
            .eventually("only ann's", async || {
                let state = observed(&engine, "room").await;
                (&state["sockets"], &state["listening_users"]) == (&json!(1), &json!(1))
            })
            .await;
    });
}

#[test]
fn a_socket_that_closed_while_its_conversation_woke_up_is_not_attached() {
    run(async || {
        let quick =
            chinwag_actors::engine::EngineSettings { idle_before_sleep: Duration::from_millis(30), ..settings() };
        let engine = Engine::start_with(
            quick,
            chinwag_actors::protection::ProtectionSettings { enabled: false, ..Default::default() },
        )
        .await;
        let identity = engine.account("ann").await;
        let (ann, _) = enter(&engine, "ann").await;
        let group =
            reply(&ann, json!({"id": "make", "type": "group.create", "name": "Sleepers"})).await["conversation"]["id"]
                .take();
        let id: ConversationId = group.as_str().unwrap().parse().unwrap();
        while !engine.node.conversations.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // As a session of hers tells it right before its end.
        let slot = Slot { node: NodeId(1), worker: 0, generation: 9, index: 99 };
        let from =
            Arc::new(Caller { slot, user: identity.user, name: identity.name, dialect: Dialect::Native, guest: false });
        engine.node.conversations.tell(id, ConversationMessage::Attach { from, after: Seq(0) });
        let info = reply(&ann, json!({"id": "info", "type": "conversation", "conversation": group})).await;
        assert_eq!(info["conversation"]["members"], 1, "{info}");
        let state = observed(&engine, "group").await;
        assert_eq!(state["sockets"], 1, "only the one that lives: {state}");
    });
}

#[test]
fn a_socket_that_closes_during_its_hello_watches_nobody() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("ann").await;
        engine.account("bob").await;
        let (bob, _) = enter(&engine, "bob").await;
        reply(&bob, json!({"id": "open", "type": "chat.open", "with": "ann"})).await;
        let ann = engine.open(Dialect::Native, None);
        // Her chats are being read when the socket is gone.
        ann.send(&json!({"id": "hello", "type": "hello", "protocol": 1, "token": "token-ann"}));
        ann.vanish();
        tokio::time::sleep(Duration::from_millis(200)).await;
        engine.settle().await;
        engine
            .eventually("only bob's", async || engine.node.presence.observe().await.unwrap()["watching_sockets"] == 1)
            .await;
    });
}

#[test]
fn a_replay_larger_than_the_queue_of_a_socket_is_told_as_a_gap() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let (ann, welcome) = enter(&engine, "ann").await;
        let make = json!({"id": "make", "type": "room.create", "name": "Heavy"});
        let room = reply(&ann, make).await["conversation"]["id"].take();
        let content = "x".repeat(2000);
        for n in 0..300 {
            let message_id = uuid::Uuid::now_v7();
            let id = format!("s{n}");
            reply(
                &ann,
                json!({"id": id, "type": "send", "conversation": room, "message_id": message_id, "content": content}),
            )
            .await;
        }
        let bob = engine.open(Dialect::Native, None);
        reply(&bob, json!({"id": "hello", "type": "hello", "protocol": 1, "guest": "bob"})).await;
        let position = json!({"epoch": welcome["epoch"], "seq": 1});
        let listen = json!({"id": "l", "type": "room.listen", "conversation": room, "position": position});
        let resumed = reply(&bob, listen).await["resumed"].take();
        assert_eq!(resumed["outcome"], "gap", "{resumed}");
    });
}

/// As when a chat that slept is attached to a socket only after that has written to it.
#[test]
fn a_socket_attached_after_it_wrote_is_not_sent_its_own_messages() {
    run(async || {
        let engine = Engine::start().await;
        let identity = engine.account("ann").await;
        let (ann, welcome) = enter(&engine, "ann").await;
        let (elsewhere, _) = enter(&engine, "ann").await;
        let make = json!({"id": "make", "type": "group.create", "name": "Notes"});
        let group = reply(&ann, make).await["conversation"]["id"].take();
        for (client, content) in [(&ann, "mine"), (&elsewhere, "from my other socket"), (&ann, "mine again")] {
            let message_id = uuid::Uuid::now_v7();
            let send = json!({"id": content, "type": "send", "conversation": group, "message_id": message_id, "content": content});
            reply(client, send).await;
        }
        let slot = Slot { node: NodeId(1), worker: 0, generation: 1, index: 0 };
        assert_eq!(welcome["session"], slot.to_string());
        reply(&ann, json!({"id": "before", "type": "ping"})).await;
        ann.come();
        let id: ConversationId = group.as_str().unwrap().parse().unwrap();
        let tell = |message| engine.node.conversations.tell(id, message);
        let (user, name) = (identity.user, identity.name);
        tell(ConversationMessage::Offline { user, slot });
        let from = Arc::new(Caller { slot, user, name, dialect: Dialect::Native, guest: false });
        tell(ConversationMessage::Attach { from, after: Seq(0) });
        elsewhere.send(&json!({"id": "last", "type": "send", "conversation": group, "message_id": uuid::Uuid::now_v7(), "content": "last"}));
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "last") {
            heard.extend(ann.next().await["content"].as_str().map(str::to_owned));
        }
        assert_eq!(heard, ["from my other socket", "last"]);
    });
}
