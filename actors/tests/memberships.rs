//! Joining and leaving beside everything else that happens in a conversation.

mod common;

use std::time::Duration;

use chinwag_actors::{engine::EngineSettings, protection::ProtectionSettings};
use chinwag_schema::{
    ids::{ConversationId, UserId},
    limits::storage::READS_IN_FLIGHT_MAX,
    model::MemberState,
    wire::Dialect,
};
use common::{Client, Engine, run, settings};
use serde_json::{Value, json};

/// A native socket; events that come while it waits for a reply are kept.
struct Native {
    client: Client,
    events: std::cell::RefCell<Vec<Value>>,
}

impl Native {
    async fn enter(engine: &Engine, name: &str) -> Self {
        let native = Self { client: engine.open(Dialect::Native, None), events: Default::default() };
        native.ask(json!({"id": "hello", "type": "hello", "protocol": 1, "token": format!("token-{name}")})).await;
        native
    }

    async fn ask(&self, frame: Value) -> Value {
        self.client.send(&frame);
        self.reply(frame["id"].as_str().unwrap()).await
    }

    async fn reply(&self, id: &str) -> Value {
        loop {
            let mut frame = self.client.next().await;
            if frame["id"] == *id {
                let part = if frame.get("error").is_some() { "error" } else { "result" };
                return frame[part].take();
            }
            self.events.borrow_mut().push(frame);
        }
    }

    fn post(&self, id: &str, group: &Value) {
        let message_id = uuid::Uuid::now_v7();
        let send = json!({"id": id, "type": "send", "conversation": group, "message_id": message_id, "content": "x"});
        self.client.send(&send);
    }

    async fn group(&self) -> Value {
        self.ask(json!({"id": "make", "type": "group.create", "name": "g"})).await["conversation"]["id"].take()
    }

    async fn history(&self, group: &Value) -> Vec<Value> {
        let mut page = self.ask(json!({"id": "history", "type": "history", "conversation": group, "limit": 200})).await;
        assert_eq!(page["complete"], true);
        page["events"].as_array_mut().unwrap().drain(..).collect()
    }
}

fn of<'a>(events: &'a [Value], event: &str, name: &str) -> Vec<&'a Value> {
    events.iter().filter(|one| one["event"] == *event && one["sender"]["name"] == *name).collect()
}

#[test]
fn a_user_that_joins_twice_at_once_joins_once() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("bob").await;
        let ann = engine.account("ann").await;
        let bob = Native::enter(&engine, "bob").await;
        let group = bob.group().await;
        let sockets = [Native::enter(&engine, "ann").await, Native::enter(&engine, "ann").await];
        for socket in &sockets {
            socket.client.send(&json!({"id": "join", "type": "group.join", "conversation": group}));
        }
        let mut joined =
            [sockets[0].reply("join").await, sockets[1].reply("join").await].map(|reply| reply["joined"] == true);
        joined.sort_unstable();
        assert_eq!(joined, [false, true]);
        assert_eq!(of(&bob.history(&group).await, "member_joined", "ann").len(), 1);
        let id: ConversationId = group.as_str().unwrap().parse().unwrap();
        let rows = engine.node.accounts.call("members", move |s| async move { s.members(id, UserId(0), 10).await });
        let row = rows.await.unwrap().into_iter().find(|row| row.member.user == ann.user).unwrap();
        assert_eq!(row.state, MemberState::Settled);
    });
}

#[test]
fn who_left_hears_and_says_nothing_later() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("bob").await;
        engine.account("ann").await;
        let bob = Native::enter(&engine, "bob").await;
        let group = bob.group().await;
        let ann = Native::enter(&engine, "ann").await;
        ann.ask(json!({"id": "join", "type": "group.join", "conversation": group})).await;
        ann.ask(json!({"id": "p", "type": "ping"})).await;
        ann.client.send(&json!({"id": "leave", "type": "group.leave", "conversation": group}));
        let mut waves = 0;
        let mut after = 2;
        while after > 0 {
            for n in 0..10 {
                bob.post(&format!("b{waves}-{n}"), &group);
                ann.post(&format!("a{waves}-{n}"), &group);
            }
            for n in 0..10 {
                bob.reply(&format!("b{waves}-{n}")).await;
            }
            waves += 1;
            // Two more after the one in which she left.
            if !of(&bob.events.borrow(), "member_left", "ann").is_empty() {
                after -= 1;
            }
        }
        assert_eq!(ann.reply("leave").await["left"], true);
        tokio::time::sleep(Duration::from_millis(100)).await;
        ann.ask(json!({"id": "p2", "type": "ping"})).await;
        let history =
            bob.ask(json!({"id": "h", "type": "history", "conversation": group, "limit": 200})).await["events"].take();
        let history = history.as_array().unwrap();
        let left = of(history, "member_left", "ann")[0]["seq"].as_u64().unwrap();
        assert!(history.last().unwrap()["seq"].as_u64().unwrap() > left, "the test needs messages after it");
        for event in ann.events.borrow().iter().filter(|event| event["event"] == "message") {
            assert!(event["seq"].as_u64().unwrap() < left, "{event}");
        }
        for message in of(history, "message", "ann") {
            assert!(message["seq"].as_u64().unwrap() < left, "{message}");
        }
    });
}

#[test]
fn what_is_said_after_a_join_is_unread_even_if_stored_with_it() {
    run(async || {
        let engine = Engine::start().await;
        engine.account("bob").await;
        engine.account("ann").await;
        let bob = Native::enter(&engine, "bob").await;
        let group = bob.group().await;
        let ann = Native::enter(&engine, "ann").await;
        ann.client.send(&json!({"id": "join", "type": "group.join", "conversation": group}));
        for n in 0..60 {
            bob.post(&format!("b{n}"), &group);
            tokio::task::yield_now().await;
        }
        ann.reply("join").await;
        for n in 0..60 {
            bob.reply(&format!("b{n}")).await;
        }
        let info =
            ann.ask(json!({"id": "i", "type": "conversation", "conversation": group})).await["conversation"].take();
        let history = bob.history(&group).await;
        let joined = of(&history, "member_joined", "ann")[0]["seq"].clone();
        assert_eq!(info["read"], joined, "{info}");
        let later = of(&history, "message", "bob").iter().filter(|m| m["seq"].as_u64() > joined.as_u64()).count();
        assert_eq!(info["unread"], later);
    });
}

#[test]
fn joining_again_shows_where_the_pointers_stand() {
    run(async || {
        let quick = EngineSettings { idle_before_sleep: Duration::from_millis(30), ..settings() };
        let engine = Engine::start_with(quick, ProtectionSettings { enabled: false, ..Default::default() }).await;
        engine.account("ann").await;
        let ann = Native::enter(&engine, "ann").await;
        let group = ann.group().await;
        ann.post("1", &group);
        let seq = ann.reply("1").await["seq"].take();
        ann.ask(json!({"id": "r", "type": "read", "conversation": group, "seq": seq})).await;
        while !engine.node.conversations.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let again = ann.ask(json!({"id": "j", "type": "group.join", "conversation": group})).await;
        assert_eq!(again["joined"], false, "{again}");
        let shown = &again["conversation"];
        assert_eq!((&shown["read"], &shown["delivered"], &shown["unread"]), (&seq, &seq, &json!(0)));
    });
}

#[test]
fn a_change_keeps_its_conversation_awake_however_slow_the_store_is() {
    run(async || {
        let quick = EngineSettings { idle_before_sleep: Duration::from_millis(10), ..settings() };
        let engine = Engine::start_with(quick, ProtectionSettings { enabled: false, ..Default::default() }).await;
        engine.account("ann").await;
        let ann = Native::enter(&engine, "ann").await;
        // The store has no place for others for a tenth of a second each time.
        for _ in 0..READS_IN_FLIGHT_MAX {
            let node = engine.node.clone();
            actix_rt::spawn(async move {
                let slow = |_| async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Ok(())
                };
                while node.accounts.call("slow", slow).await.is_ok() {}
            });
        }
        for _ in 0..3 {
            let group = ann.group().await;
            assert!(group.is_string());
            assert_eq!(ann.ask(json!({"id": "l", "type": "group.leave", "conversation": group})).await["left"], true);
            let again = ann.ask(json!({"id": "j", "type": "group.join", "conversation": group})).await;
            assert_eq!(again["joined"], true, "{again}");
        }
    });
}

#[test]
fn a_join_whose_outcome_nobody_knows_does_not_silence_a_messenger_socket() {
    run(async || {
        let engine = Engine::start().await;
        let (bob, _) = (engine.account("bob").await, engine.account("ann").await);
        let ann = Native::enter(&engine, "ann").await;
        let group = ann.group().await;
        let socket = engine.messenger(&bob);
        // The event of the join can neither be written nor read back.
        engine.database.execute_on_writer("ALTER TABLE events RENAME TO gone").await.unwrap();
        socket.send(&json!({"type": "JOIN_GROUP", "groupId": group, "username": "bob"}));
        socket.send(&json!({"type": "FETCH_FRIENDS_META"}));
        socket.send(&json!({"type": "DISCONNECT"}));
        socket.send(&json!({"type": "FETCH_FRIENDS_META"}));
        engine.settle().await;
        assert_eq!(socket.come(), <[Value; 0]>::default(), "held back for the join");
        let said = [socket.next().await["type"].take(), socket.next().await["type"].take()];
        assert_eq!(said, ["FRIENDS_META", "INFO"]);
        assert_eq!(socket.next().await, json!({"close": 1000}), "nothing behind the end");
    });
}
