//! Whole nodes, with their accounts on Postgres: people write to each other while a flood of unknown names is on.

use std::cell::RefCell;

use chinwag_actors::session::authenticator::Identity;
use chinwag_schema::{limits::native::USERS_MAX, wire::Dialect};
use serde_json::{Value, json};

use super::node;
use crate::{
    common::{Client, Engine, World, run},
    postgres::TestDatabase,
    redis::Prefix,
};

/// A native socket; events that come while it waits for a reply are kept.
struct Native {
    client: Client,
    events: RefCell<Vec<Value>>,
}

impl Native {
    async fn enter(engine: &Engine, who: &Identity) -> Self {
        let native = Self { client: engine.open(Dialect::Native, None), events: RefCell::default() };
        let token = format!("token-{}", who.name);
        let welcome = native.ask(json!({"id": "hello", "type": "hello", "protocol": 1, "token": token})).await;
        assert!(welcome["result"]["session"].is_string(), "{welcome}");
        native
    }

    /// Returns the whole frame with the answer.
    async fn ask(&self, frame: Value) -> Value {
        self.client.send(&frame);
        loop {
            let answer = self.client.next().await;
            if answer["id"] == frame["id"] {
                return answer;
            }
            self.events.borrow_mut().push(answer);
        }
    }

    async fn write_to(&self, name: &str, text: &str) -> Value {
        let id = uuid::Uuid::now_v7();
        self.ask(json!({"id": "s", "type": "send", "to": name, "message_id": id, "content": text})).await
    }

    /// Waits for the next message; returns its text.
    async fn hear(&self) -> Value {
        loop {
            let kept = {
                let mut events = self.events.borrow_mut();
                events.iter().position(|event| event["event"] == "message").map(|at| events.remove(at))
            };
            if let Some(mut message) = kept {
                return message["content"].take();
            }
            let frame = self.client.next().await;
            self.events.borrow_mut().push(frame);
        }
    }
}

/// Waits until every shard has an owner that both nodes agree on.
async fn settled(nodes: [&Engine; 2]) {
    nodes[0]
        .eventually("shared", async || {
            let counts = nodes.map(|node| node.node.shards.counts());
            counts.iter().map(|[owned, ..]| owned).sum::<usize>() == 256
                && counts.iter().all(|[owned, _, others, _]| *owned > 0 && owned + others == 256)
        })
        .await;
}

#[test]
fn who_registers_on_one_node_during_a_flood_is_written_to_from_another() {
    run(async || {
        let (database, prefix) = (TestDatabase::make().await, Prefix::shared());
        let accounts = [node(&database, &prefix.options()).await, node(&database, &prefix.options()).await];
        let world = World::new();
        let a = world.node_on(1, 100, accounts[0].clone()).await;
        let b = world.node_on(2, 200, accounts[1].clone()).await;
        settled([&a, &b]).await;
        let ann = Native::enter(&a, &a.account("ann").await).await;

        let asking = Native::enter(&a, &a.account("flooder").await).await;
        let flood = actix_rt::spawn(async move {
            for wave in 0.. {
                let names: Vec<_> = (0..USERS_MAX).map(|n| format!("nobody {wave} {n}")).collect();
                let answer = asking.ask(json!({"id": "u", "type": "users", "names": names})).await;
                assert_eq!(answer["result"]["users"], json!([]), "{answer}");
            }
        });
        a.eventually("flooded", async || accounts[0].counts().filter > 0).await;

        for n in 0..20 {
            let name = format!("newcomer {n}");
            let refused = ann.write_to(&name, "too early").await;
            assert_eq!(refused["error"]["code"], "not_found", "{refused}");
            let newcomer = Native::enter(&b, &b.account(&name).await).await;
            let said = ann.write_to(&name, &format!("welcome {n}")).await;
            assert!(said["result"]["seq"].is_number(), "{said}");
            assert_eq!(newcomer.hear().await, format!("welcome {n}"));
            let answered = newcomer.write_to("ann", "thanks").await;
            assert!(answered["result"]["seq"].is_number(), "{answered}");
            assert_eq!(ann.hear().await, "thanks");
        }
        let counts = accounts[0].counts();
        assert!(counts.flood && counts.floods == 1 && counts.filter > 20, "{counts:?}");
        assert!(!flood.is_finished(), "the flood went on, and was answered rightly");
        flood.abort();
    });
}
