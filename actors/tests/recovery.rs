//! A panic in any actor's handler is counted, answered with an error, and the next message works.
#![cfg(feature = "fault-injection")]

mod common;

use chinwag_actors::{
    conversation::messages::ConversationMessage,
    ports::message_store::{Append, MessageStore, NewBody, NewEvent},
    relay::ReplyTo,
    runtime::metrics::KindSnapshot,
    session::{
        Tag,
        native::{NativeTag, What},
    },
};
use chinwag_schema::{
    ids::{ConversationId, EventId},
    wire::Dialect,
};
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
            chat.send(
                &json!({"type": "ONE_TO_ONE_CHAT", "from": "ann", "to": "bob", "content": text, "chatId": "ann-bob"}),
            );
            chat.send(&json!({"type": "GROUP_CHAT", "from": "ann", "to": group, "content": text}));
            rooms.send(&json!({"type": "send_message", "content": text}));
        };
        let kinds: Vec<_> = {
            say("before");
            until(&other, |frame| frame["type"] == "MESSAGE").await;
            engine.node.runtime.metrics().kinds().iter().map(|kind| kind.snapshot().kind).collect()
        };
        for wanted in [
            "account_storage",
            "direct",
            "directory",
            "group",
            "message_storage",
            "presence",
            "relay",
            "room",
            "server_mailbox",
            "session",
            "supervisor",
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
        assert_eq!(
            (failed["error"]["code"].as_str(), failed["error"]["retryable"].as_bool()),
            (Some("internal"), Some(true))
        );
        let message = json!({"id": "4", "type": "send", "conversation": room, "content": "again",
            "message_id": uuid::Uuid::now_v7()});
        ann.send(&message);
        assert_eq!(reply("4").await["result"]["duplicate"], false);
        assert_eq!(snapshot(&engine, "room").restarts, 1);
    });
}

/// A guest in a new room, and the room's id.
async fn room(engine: &Engine, name: &str) -> (Client, ConversationId) {
    let rooms = engine.rooms("visitor").await;
    rooms.send(&json!({"type": "create_room", "roomName": name}));
    let created = until(&rooms, |frame| frame["type"] == "room_created").await;
    let id = created["room"]["id"].as_str().unwrap().parse().unwrap();
    (rooms, id)
}

#[test]
fn listeners_stay_and_miss_nothing_when_somebody_else_appended() {
    run(async || {
        let engine = Engine::start().await;
        let (rooms, id) = room(&engine, "Fenced").await;
        let node = &engine.node;
        let event = NewEvent {
            id: EventId(node.ids.event(node.runtime.unix_ms()).unwrap().0),
            at_ms: node.runtime.unix_ms(),
            sender: chinwag_schema::ids::UserId(77),
            sender_name: "stranger".into(),
            body: NewBody::Message { client_id: None, content: "behind your back".into() },
        };
        let term = node.shards.term(id.shard()).unwrap();
        let append = Append { conversation: id, term, head: chinwag_schema::ids::Seq(0), events: vec![event] };
        let foreign = |store: std::sync::Arc<dyn MessageStore>| async move { store.append(vec![append]).await };
        node.messages.call("append", foreign).await.unwrap()[0].as_ref().unwrap();
        // The owner still believes in the old head: this one is refused, and the room loaded again.
        rooms.send(&json!({"type": "send_message", "content": "refused"}));
        until(&rooms, |frame| frame["type"] == "error").await;
        until(&rooms, |frame| frame["message"]["content"] == "behind your back").await;
        rooms.send(&json!({"type": "send_message", "content": "and on"}));
        until(&rooms, |frame| frame["message"]["content"] == "and on").await;
    });
}

#[test]
fn nobody_listens_in_vain_to_a_room_that_gave_up() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let (rooms, id) = room(&engine, "Hopeless").await;
        let ann = engine.open(Dialect::Native, None);
        ann.send(&json!({"id": "1", "type": "hello", "protocol": 1, "token": "token-ann"}));
        until(&ann, |frame| frame["id"] == "1").await;
        ann.send(&json!({"id": "2", "type": "room.join", "name": "Hopeless"}));
        until(&ann, |frame| frame["id"] == "2").await;
        ann.send(&json!({"id": "3", "type": "ping"}));
        until(&ann, |frame| frame["id"] == "3").await;
        let actor = engine.node.runtime.metrics().kind_named("room").unwrap().busiest(1).remove(0);
        (0..9).for_each(|_| actor.inject_panic());
        // Who only listens can't be found again.
        until(&rooms, |frame| frame["close"] == 1011).await;
        assert_eq!(snapshot(&engine, "room").stopped_by_budget, 1);
        // A member's socket is.
        let other = engine.rooms("other").await;
        other.send(&json!({"type": "join_room", "roomName": "Hopeless"}));
        until(&other, |frame| frame["type"] == "room_joined").await;
        other.send(&json!({"type": "send_message", "content": "anybody here?"}));
        until(&ann, |frame| frame["content"] == "anybody here?").await;
        assert!(engine.node.board.line(id).is_some_and(|line| line.users == 2));
    });
}

#[test]
fn a_session_that_gave_up_leaves_nothing_behind() {
    run(async || {
        let engine = Engine::start().await;
        let ann = engine.account("ann").await;
        let socket = engine.messenger(&ann);
        engine.settle().await;
        let actor = engine.node.runtime.metrics().kind_named("session").unwrap().busiest(1).remove(0);
        (0..9).for_each(|_| actor.inject_panic());
        until(&socket, |frame| frame["close"] == 1011).await;
        engine.goes_offline(&ann).await;
        assert_eq!(engine.node.directory.observe().await.unwrap()["sockets"], 0);
        assert_eq!(engine.node.local_sockets().len(), 0);
    });
}

#[test]
fn who_left_right_before_presence_panicked_goes_offline() {
    run(async || {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.account("ann").await, engine.account("bob").await);
        let (socket, _stays) = (engine.messenger(&ann), engine.messenger(&bob));
        engine.settle().await;
        socket.vanish();
        engine.settle().await;
        // Within the grace period, whose timer ends with the panic.
        engine.node.runtime.metrics().kind_named("presence").unwrap().busiest(1)[0].inject_panic();
        engine.goes_offline(&ann).await;
    });
}

#[test]
fn a_session_that_waits_for_a_store_goes_on_after_a_panic() {
    run(async || {
        let engine = Engine::start().await;
        let (rooms, _) = room(&engine, "Busy").await;
        rooms.send(&json!({"type": "join_room", "roomName": "Busy"}));
        // In the same turn: the look-up of the room is void now, and nothing may wait for it.
        engine.node.runtime.metrics().kind_named("session").unwrap().busiest(1)[0].inject_panic();
        rooms.send(&json!({"type": "command", "command": "me"}));
        until(&rooms, |frame| frame["data"]["username"] == "visitor").await;
    });
}
