//! Several nodes in one process: one store, one directory and one bus, each node with its own actors, shards and links.

#[path = "../common/mod.rs"]
mod common;

mod chats;
mod moves;
mod rooms;

use std::cell::RefCell;

use chinwag_schema::{
    ids::{ConversationId, NodeId, Seq},
    wire::Dialect,
};
use common::{Client, Engine, World};
use serde_json::{Value, json};

/// Starts `count` nodes, 1 to `count`, and waits until every shard has an owner that all agree on.
async fn nodes(world: &World, count: u16) -> Vec<Engine> {
    let mut nodes = Vec::new();
    for node in 1..=count {
        nodes.push(world.node(node, u64::from(node) * 100).await);
    }
    settled(&nodes).await;
    nodes
}

/// Waits until all shards are shared among exactly these nodes.
async fn settled(nodes: &[Engine]) {
    let first = nodes.first().unwrap();
    first
        .eventually("shared", async || {
            let counts: Vec<_> = nodes.iter().map(|node| node.node.shards.counts()).collect();
            let owned: usize = counts.iter().map(|[owned, ..]| owned).sum();
            owned == 256 && counts.iter().all(|[owned, _, others, _]| *owned > 0 && owned + others == 256)
        })
        .await;
}

/// Returns which of the nodes owns a conversation, and one that doesn't.
fn owner_and_other<'a>(nodes: &'a [Engine], conversation: &Value) -> (&'a Engine, &'a Engine) {
    let id: ConversationId = conversation.as_str().unwrap().parse().unwrap();
    let owner = nodes.iter().find(|node| node.node.owns(id)).expect("every shard has an owner");
    let other = nodes.iter().find(|node| !node.node.owns(id)).expect("more than one node");
    (owner, other)
}

/// A native socket; events that come while it waits for a reply are kept.
struct Native {
    client: Client,
    events: RefCell<Vec<Value>>,
    node: NodeId,
}

impl Native {
    async fn enter(engine: &Engine, name: &str) -> Self {
        Self::enter_with(engine, name, json!({})).await.0
    }

    /// Enters with the positions of an earlier life; returns the welcome as well.
    async fn enter_with(engine: &Engine, name: &str, positions: Value) -> (Self, Value) {
        let client = engine.open(Dialect::Native, None);
        let native = Self { client, events: RefCell::default(), node: engine.node.id };
        let token = format!("token-{name}");
        let hello = json!({"id": "hello", "type": "hello", "protocol": 1, "token": token, "positions": positions});
        let welcome = native.ask(hello).await;
        assert!(welcome["session"].is_string(), "{welcome}");
        (native, welcome)
    }

    async fn ask(&self, frame: Value) -> Value {
        self.client.send(&frame);
        self.reply(frame["id"].as_str().unwrap()).await
    }

    /// Waits for the reply to a frame that was sent.
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

    async fn group(&self) -> Value {
        self.ask(json!({"id": "make", "type": "group.create", "name": "g"})).await["conversation"]["id"].take()
    }

    /// Sends a text; returns its seq.
    async fn say(&self, conversation: &Value, text: &str) -> Seq {
        let message_id = uuid::Uuid::now_v7();
        let send = json!({"id": "say", "type": "send", "conversation": conversation, "message_id": message_id,
            "content": text});
        let said = self.ask(send).await;
        Seq(said["seq"].as_u64().unwrap_or_else(|| panic!("{said}")))
    }

    /// Waits for the next message of a conversation; returns (seq, text).
    async fn hear(&self, conversation: &Value) -> (u64, String) {
        let is = |frame: &Value| frame["event"] == "message" && frame["conversation"] == *conversation;
        loop {
            let kept = {
                let mut events = self.events.borrow_mut();
                events.iter().position(is).map(|at| events.remove(at))
            };
            if let Some(frame) = kept {
                return (frame["seq"].as_u64().unwrap(), frame["content"].as_str().unwrap().to_owned());
            }
            let frame = self.client.next().await;
            self.events.borrow_mut().push(frame);
        }
    }
}
