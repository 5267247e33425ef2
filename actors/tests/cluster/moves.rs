//! Conversations that go from node to node.

use chinwag_actors::conversation::messages::ConversationMessage;
use chinwag_schema::ids::ConversationId;
use serde_json::json;

use super::{Native, nodes, owner_and_other};
use crate::common::{World, run};

#[test]
fn who_listens_goes_on_hearing_when_the_owner_hands_its_shards_over() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 3).await;
        let mut sockets = Vec::new();
        for (node, name) in nodes.iter().zip(["ann", "bob", "cid"]) {
            nodes[0].account(name).await;
            sockets.push(Native::enter(node, name).await);
        }
        let group = sockets[0].group().await;
        for socket in &sockets[1..] {
            socket.ask(json!({"id": "join", "type": "group.join", "conversation": group})).await;
        }
        sockets[0].say(&group, "before").await;
        for socket in &sockets[1..] {
            assert_eq!(socket.hear(&group).await.1, "before");
        }
        let (owner, _) = owner_and_other(&nodes, &group);
        owner.node.hand_over_shards().await;
        let id: ConversationId = group.as_str().unwrap().parse().unwrap();
        assert!(!owner.node.owns(id));
        for (n, sender) in sockets.iter().enumerate() {
            let text = format!("{n} after");
            let said = said_until_taken(sender, &group, &text).await;
            for (other, socket) in sockets.iter().enumerate().filter(|(other, _)| *other != n) {
                assert_eq!(socket.hear(&group).await, (said, text.clone()), "heard by {other}");
            }
        }
    });
}

/// While a conversation moves, its senders may hear 'retry'.
async fn said_until_taken(sender: &Native, group: &serde_json::Value, text: &str) -> u64 {
    let message_id = uuid::Uuid::now_v7();
    for attempt in 0..100 {
        let send = json!({"id": format!("say {attempt}"), "type": "send", "conversation": group,
            "message_id": message_id, "content": text});
        let said = sender.ask(send).await;
        if let Some(seq) = said["seq"].as_u64() {
            return seq;
        }
        assert_eq!(said["retryable"], true, "{said}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("never taken");
}

#[test]
fn a_conversation_that_was_busy_wakes_at_its_next_owner_though_nobody_is_attached_yet() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 2).await;
        nodes[0].account("ann").await;
        let ann = Native::enter(&nodes[0], "ann").await;
        let group = ann.group().await;
        ann.client.vanish();
        let (owner, other) = owner_and_other(&nodes, &group);
        let id: ConversationId = group.as_str().unwrap().parse().unwrap();
        owner.node.conversations.tell(id, ConversationMessage::Touch);
        owner.eventually("awake", async || owner.node.conversations.len() == 1).await;
        owner.settle().await;
        owner.node.hand_over_shards().await;
        other.eventually("awake there", async || other.node.conversations.len() == 1).await;
        owner.eventually("gone here", async || owner.node.conversations.is_empty()).await;
    });
}

#[test]
fn what_the_next_owner_sends_to_others_first_comes_once_to_those_that_it_attaches_later() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 3).await;
        for name in ["ann", "bob", "cid"] {
            nodes[0].account(name).await;
        }
        let maker = Native::enter(&nodes[0], "ann").await;
        let group = maker.group().await;
        let id: ConversationId = group.as_str().unwrap().parse().unwrap();
        let (owner, _) = owner_and_other(&nodes, &group);
        let home = nodes.iter().find(|node| node.node.id != owner.node.id).unwrap();
        let (bob, cid) = (Native::enter(home, "bob").await, Native::enter(home, "cid").await);
        for socket in [&bob, &cid] {
            socket.ask(json!({"id": "join", "type": "group.join", "conversation": group})).await;
        }
        let before = maker.say(&group, "before").await;
        for socket in [&bob, &cid] {
            assert_eq!(socket.hear(&group).await.1, "before");
        }
        owner.node.hand_over_shards().await;
        assert!(!owner.node.owns(id));
        // Another socket of the same node is attached at the next owner as soon as it asks; the others' places are asked for in a moment.
        let epoch = nodes[0].node.epoch.to_string();
        let positions = json!({group.as_str().unwrap(): {"epoch": epoch, "seq": before.0}});
        let (again, _) = Native::enter_with(home, "cid", positions).await;
        for n in 0..20 {
            said_until_taken(&again, &group, &format!("{n} after")).await;
        }
        for socket in [&bob, &cid] {
            let mut last = before.0;
            for n in 0..20 {
                let (seq, text) = socket.hear(&group).await;
                assert_eq!(text, format!("{n} after"), "{seq} after {last}");
                assert!(seq > last, "{seq} after {last}");
                last = seq;
            }
        }
    });
}
