//! Members of one conversation on different nodes.

use std::{collections::BTreeMap, time::Duration};

use chinwag_actors::engine::EngineSettings;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use serde_json::json;

use super::{Native, nodes, owner_and_other, settled};
use crate::common::{Engine, World, run, settings};

#[test]
fn members_on_all_nodes_hear_the_same_messages_in_order() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 3).await;
        let names = ["ann", "bob", "cid"];
        for name in names {
            nodes[0].account(name).await;
        }
        let mut sockets = Vec::new();
        for (node, name) in nodes.iter().zip(names) {
            sockets.push(Native::enter(node, name).await);
        }
        let group = sockets[0].group().await;
        for socket in &sockets[1..] {
            let joined = socket.ask(json!({"id": "join", "type": "group.join", "conversation": group})).await;
            assert_eq!(joined["joined"], true, "{joined}");
        }
        for round in 0..20 {
            for (sender, socket) in sockets.iter().enumerate() {
                let text = format!("{round} of {}", names[sender]);
                let seq = socket.say(&group, &text).await;
                for (other, listener) in sockets.iter().enumerate().filter(|(other, _)| *other != sender) {
                    assert_eq!(listener.hear(&group).await, (seq.0, text.clone()), "heard by {}", names[other]);
                }
            }
        }
    });
}

#[test]
fn a_first_message_reaches_a_user_of_another_node() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 2).await;
        for name in ["ann", "bob"] {
            nodes[0].account(name).await;
        }
        let (ann, bob) = (Native::enter(&nodes[0], "ann").await, Native::enter(&nodes[1], "bob").await);
        let message_id = uuid::Uuid::now_v7();
        let send = json!({"id": "s", "type": "send", "to": "bob", "message_id": message_id, "content": "hi"});
        let said = ann.ask(send).await;
        let chat = said["conversation"].clone();
        assert_eq!(bob.hear(&chat).await, (1, "hi".to_owned()));
        bob.say(&chat, "hi yourself").await;
        assert_eq!(ann.hear(&chat).await, (2, "hi yourself".to_owned()));
    });
}

#[test]
fn a_client_that_comes_back_on_another_node_gets_what_it_missed() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 3).await;
        for name in ["ann", "bob"] {
            nodes[0].account(name).await;
        }
        let (ann, bob) = (Native::enter(&nodes[0], "ann").await, Native::enter(&nodes[1], "bob").await);
        let group = ann.group().await;
        bob.ask(json!({"id": "join", "type": "group.join", "conversation": group})).await;
        let seq = ann.say(&group, "one").await;
        assert_eq!(bob.hear(&group).await.0, seq.0);
        bob.client.vanish();
        ann.say(&group, "two").await;
        ann.say(&group, "three").await;
        let epoch = nodes[0].node.epoch.to_string();
        let id = group.as_str().unwrap();
        let positions = json!({id: {"epoch": epoch, "seq": seq.0}});
        let (bob, _) = Native::enter_with(&nodes[2], "bob", positions).await;
        assert_eq!(bob.hear(&group).await.1, "two");
        assert_eq!(bob.hear(&group).await.1, "three");
        ann.say(&group, "four").await;
        assert_eq!(bob.hear(&group).await.1, "four");
    });
}

#[test]
fn a_messenger_socket_elsewhere_hears_the_message_that_wakes_its_chat() {
    run(async || {
        let world = World::new();
        let mut nodes = Vec::new();
        for node in [1, 2] {
            let settings = EngineSettings { idle_before_sleep: Duration::from_millis(300), ..settings() };
            nodes.push(world.node_in(node, u64::from(node), world.surroundings(), settings).await.unwrap());
        }
        settled(&nodes).await;
        let (ann, bob) = (nodes[0].account("ann").await, nodes[0].account("bob").await);
        let opening = Native::enter(&nodes[0], "ann").await;
        let chat = opening.ask(json!({"id": "open", "type": "chat.open", "with": "bob"})).await;
        opening.client.vanish();
        let (owner, other) = owner_and_other(&nodes, &chat["conversation"]["id"]);
        // That it is new has been told.
        owner.eventually("asleep", async || owner.node.conversations.is_empty()).await;
        let (one, two) = (owner.messenger(&ann), other.messenger(&bob));
        for client in [&one, &two] {
            client.send(&json!({"type": "INIT_DATA"}));
            client.expect("INIT_DATA").await;
        }
        for n in 0..5 {
            owner.eventually("asleep", async || owner.node.conversations.is_empty()).await;
            let content = format!("wake up {n}");
            let to =
                json!({"type": "ONE_TO_ONE_CHAT", "from": "ann", "to": "bob", "chatId": "ann-bob", "content": content});
            one.send(&to);
            assert_eq!(two.next().await["content"], content);
        }
    });
}

#[test]
fn a_socket_opened_while_the_conversation_is_awake_elsewhere_hears_it() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 2).await;
        for name in ["ann", "bob"] {
            nodes[0].account(name).await;
        }
        let ann = Native::enter(&nodes[0], "ann").await;
        let group = ann.group().await;
        let (owner, other) = owner_and_other(&nodes, &group);
        let bob = Native::enter(owner, "bob").await;
        bob.ask(json!({"id": "join", "type": "group.join", "conversation": group})).await;
        ann.say(&group, "awake").await;
        let second = Native::enter(other, "bob").await;
        assert_ne!(second.node, bob.node);
        // Its attachment is on its way; what is said until then is replayed.
        ann.say(&group, "both").await;
        assert_eq!(second.hear(&group).await.1, "both");
        assert_eq!(bob.hear(&group).await.1, "awake");
        assert_eq!(bob.hear(&group).await.1, "both");
    });
}

#[test]
fn a_message_to_a_thousand_members_is_one_frame_per_node_and_no_row_per_member() {
    run(async || {
        let world = World::new();
        let nodes = nodes(&world, 3).await;
        nodes[0].account("ann").await;
        let ann = Native::enter(&nodes[0], "ann").await;
        let group = ann.group().await;
        let (owner, _) = owner_and_other(&nodes, &group);
        let ann = Native::enter(owner, "ann").await;
        let mut members = Vec::new();
        for n in 0..999 {
            let name = format!("member{n}");
            nodes[0].account(&name).await;
            let member = Native::enter(&nodes[n % 3], &name).await;
            member.ask(json!({"id": "join", "type": "group.join", "conversation": group})).await;
            // The others are members who aren't here.
            match n % 17 {
                0 => members.push(member),
                _ => member.client.vanish(),
            }
        }
        ann.say(&group, "first").await;
        for member in &members {
            assert_eq!(member.hear(&group).await.1, "first");
        }
        // The frames of joining and of going, however many.
        let mut frames = frames_sent(owner, &nodes).await;
        let mut still = 0;
        while still < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let now = frames_sent(owner, &nodes).await;
            still = if now == frames { still + 1 } else { 0 };
            frames = now;
        }
        let before = rows(nodes[0].database.path());
        for n in 0..10 {
            ann.say(&group, &format!("message {n}")).await;
        }
        for member in &members {
            for n in 0..10 {
                assert_eq!(member.hear(&group).await.1, format!("message {n}"));
            }
        }
        assert_eq!(frames_sent(owner, &nodes).await - frames, 20, "ten messages for two other nodes");
        let after = rows(nodes[0].database.path());
        let grown = after.iter().filter(|(table, count)| before[*table] != **count);
        let grown: BTreeMap<_, _> = grown.map(|(table, count)| (&**table, count - before[table])).collect();
        let of = |table| grown.get(table).copied().unwrap_or_default();
        assert_eq!((of("events"), of("message_ids")), (10, 10), "{grown:?}");
        // Totals are written every 64 events: the conversation's and the sender's.
        assert!(grown.values().sum::<i64>() <= 22, "rows of ten messages: {grown:?}");
    });
}

#[derive(diesel::QueryableByName)]
struct Table {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

/// Counts the rows of all tables of a database.
fn rows(path: &std::path::Path) -> BTreeMap<String, i64> {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables: Vec<Table> = diesel::sql_query(tables).load(&mut conn).unwrap();
    let count = |Table { name }: Table| {
        let counted: Count =
            diesel::sql_query(format!("SELECT count(*) AS count FROM \"{name}\"")).get_result(&mut conn).unwrap();
        (name, counted.count)
    };
    tables.into_iter().map(count).collect()
}

/// Counts the frames that a node has sent to the others.
async fn frames_sent(from: &Engine, nodes: &[Engine]) -> u64 {
    let mut sent = 0;
    for node in nodes.iter().filter(|node| node.node.id != from.node.id) {
        let peer = from.node.cluster.peer(node.node.id).unwrap();
        sent += peer.observe().await.unwrap()["frames_sent"].as_u64().unwrap();
    }
    sent
}

#[test]
fn first_messages_sent_before_any_shard_has_an_owner_reach_users_of_other_nodes() {
    run(async || {
        let world = World::new();
        let mut nodes = Vec::new();
        for node in 1..=3 {
            nodes.push(world.node(node, u64::from(node) * 100).await);
        }
        let mut pairs = Vec::new();
        for n in 0..12 {
            let [from, to] = [format!("ann{n}"), format!("bob{n}")];
            for name in [&from, &to] {
                nodes[0].account(name).await;
            }
            pairs.push((Native::enter(&nodes[n % 3], &from).await, Native::enter(&nodes[(n + 1) % 3], &to).await, to));
        }
        for (ann, _, to) in &pairs {
            let message_id = uuid::Uuid::now_v7();
            ann.client.send(&json!({"id": "s", "type": "send", "to": to, "message_id": message_id, "content": "hi"}));
        }
        for (ann, bob, to) in &pairs {
            let said = ann.reply("s").await;
            let chat = said["conversation"].clone();
            assert_eq!(bob.hear(&chat).await, (1, "hi".to_owned()), "{to}: {said}");
        }
    });
}
