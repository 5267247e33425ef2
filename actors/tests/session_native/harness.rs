//! A client of the native protocol, and what most tests begin with.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use chinwag_schema::wire::Dialect;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::{Client, Engine};

/// A client that matches replies to its requests and keeps events apart.
pub struct Native {
    pub client: Client,
    pub events: RefCell<VecDeque<Value>>,
    requests: Cell<u32>,
    pub welcome: Value,
}

impl Native {
    /// Says hello with the token of an account.
    pub async fn enter(engine: &Engine, name: &str) -> Self {
        Self::enter_with(engine, json!({"token": format!("token-{name}")})).await
    }

    /// Says hello and names positions.
    pub async fn resume(engine: &Engine, name: &str, positions: Value) -> Self {
        Self::enter_with(engine, json!({"token": format!("token-{name}"), "positions": positions})).await
    }

    pub async fn enter_with(engine: &Engine, mut hello: Value) -> Self {
        let client = engine.open(Dialect::Native, None);
        let (events, requests) = Default::default();
        let mut native = Self { client, events, requests, welcome: Value::Null };
        hello["protocol"] = json!(1);
        native.welcome = native.ask("hello", hello).await;
        assert!(native.welcome.get("code").is_none(), "{}", native.welcome);
        native
    }

    pub fn say(&self, kind: &str, mut fields: Value) -> String {
        let id = format!("r{}", self.requests.replace(self.requests.get() + 1));
        fields["id"] = json!(id);
        fields["type"] = json!(kind);
        self.client.send(&fields);
        id
    }

    /// Waits for the reply: the result, or the error.
    pub async fn reply(&self, id: &str) -> Value {
        loop {
            let mut frame = self.client.next().await;
            if frame["id"] == id {
                let part = if frame.get("error").is_some() { "error" } else { "result" };
                return frame[part].take();
            }
            assert!(frame.get("event").is_some(), "an unexpected reply: {frame}");
            self.events.borrow_mut().push_back(frame);
        }
    }

    pub async fn ask(&self, kind: &str, fields: Value) -> Value {
        let id = self.say(kind, fields);
        self.reply(&id).await
    }

    /// Waits for the next event.
    pub async fn event(&self) -> Value {
        let kept = self.events.borrow_mut().pop_front();
        match kept {
            Some(event) => event,
            None => {
                let frame = self.client.next().await;
                assert!(frame.get("event").is_some(), "an unexpected reply: {frame}");
                frame
            }
        }
    }

    /// Waits for the next event of this name; others of no seq are skipped.
    pub async fn event_of(&self, name: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["event"] == name {
                return event;
            }
            assert!(event.get("seq").is_none() || event["event"] == "pointer", "instead of {name}: {event}");
        }
    }

    /// Everything that has come by now: a `ping` is answered after it.
    pub async fn events_so_far(&self) -> Vec<Value> {
        // Conversations and relays live on this thread: let them come to an end first.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.ask("ping", json!({})).await;
        self.events.borrow_mut().drain(..).collect()
    }

    pub async fn send(&self, conversation: &Value, text: &str) -> Value {
        let fields = json!({"conversation": conversation, "message_id": message_id(), "content": text});
        let sent = self.ask("send", fields).await;
        assert!(sent.get("seq").is_some(), "{sent}");
        sent
    }
}

pub fn message_id() -> String {
    Uuid::now_v7().to_string()
}

/// Two users with a chat between them, opened by the first.
pub async fn chat(engine: &Engine) -> (Native, Native, Value) {
    engine.account("ann").await;
    engine.account("bob").await;
    let ann = Native::enter(engine, "ann").await;
    let bob = Native::enter(engine, "bob").await;
    let opened = ann.ask("chat.open", json!({"with": "bob"})).await;
    assert_eq!(opened["created"], true, "{opened}");
    let chat = opened["conversation"]["id"].clone();
    let added = bob.event_of("conversation_added").await;
    assert_eq!(added["conversation"]["id"], chat);
    (ann, bob, chat)
}

pub fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().filter(|event| event["event"] != "pointer").filter_map(|event| event["seq"].as_u64()).collect()
}

pub fn position(conversation: &Value, epoch: &Value, seq: u64) -> Value {
    json!({conversation.as_str().unwrap(): {"epoch": epoch, "seq": seq}})
}
