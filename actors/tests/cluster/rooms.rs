//! Rooms whose listeners are on different nodes.

use serde_json::json;

use super::nodes;
use crate::common::{Client, World, run};

/// Waits for the next message in the room.
async fn hear(client: &Client) -> (String, String) {
    loop {
        let frame = client.next().await;
        if frame["type"] == "message" {
            let text = |field: &str| frame["message"][field].as_str().unwrap_or_default().to_owned();
            return (text("username"), text("content"));
        }
    }
}

#[test]
fn a_room_is_one_whatever_node_its_listeners_are_on() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 3).await;
        let names = ["ann", "bob", "cid"];
        let mut clients = Vec::new();
        for (node, name) in nodes.iter().zip(names) {
            let client = node.rooms(name).await;
            let frame = match clients.is_empty() {
                true => json!({"type": "create_room", "roomName": "hall"}),
                false => json!({"type": "join_room", "roomName": "hall"}),
            };
            client.send(&frame);
            client.expect("room_joined").await;
            clients.push(client);
        }
        for round in 0..10 {
            for (sender, client) in clients.iter().enumerate() {
                let text = format!("{round} of {}", names[sender]);
                client.send(&json!({"type": "send_message", "content": text}));
                for listener in &clients {
                    assert_eq!(hear(listener).await, (names[sender].to_owned(), text.clone()));
                }
            }
        }
    });
}
