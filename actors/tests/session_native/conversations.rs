//! Groups, rooms, and the list of conversations, however long it is.

use chinwag_actors::ports::account_store::MemberRow;
use chinwag_schema::{
    limits::user::WELCOME_PAGE,
    model::{Conversation, ConversationKind, Member, MemberState, Role},
};
use serde_json::json;

use crate::{
    common::{Engine, run},
    harness::{Native, position, seqs},
};

#[test]
fn a_group_is_made_once_by_its_request_and_joined_by_its_id() {
    run(|| async {
        let engine = Engine::start().await;
        for name in ["ann", "bob"] {
            engine.account(name).await;
        }
        let (ann, bob) = (Native::enter(&engine, "ann").await, Native::enter(&engine, "bob").await);
        let phone = Native::enter(&engine, "bob").await;
        let create = json!({"id": "g1", "type": "group.create", "name": "Friends"});
        ann.client.send(&create);
        let made = ann.reply("g1").await;
        assert_eq!((&made["created"], &made["conversation"]["role"]), (&json!(true), &json!("admin")), "{made}");
        let group = made["conversation"]["id"].clone();
        ann.client.send(&create);
        let again = ann.reply("g1").await;
        assert_eq!((&again["created"], &again["conversation"]["id"]), (&json!(false), &group));

        let joined = bob.ask("group.join", json!({"conversation": group})).await;
        assert_eq!((&joined["joined"], &joined["conversation"]["members"]), (&json!(true), &json!(2)), "{joined}");
        let head = joined["conversation"]["head"].as_u64().unwrap();
        assert_eq!(phone.event_of("conversation_added").await["conversation"]["id"], group);
        assert_eq!(ann.event_of("member_joined").await["sender"]["name"], "bob");
        assert_eq!(bob.ask("group.join", json!({"conversation": group})).await["joined"], false);
        assert_eq!(bob.ask("room.join", json!({"conversation": group})).await["code"], "not_found");

        let sent = ann.send(&group, "welcome").await;
        assert_eq!(sent["seq"], head + 1);
        for socket in [&bob, &phone] {
            assert_eq!(socket.event_of("message").await["seq"], head + 1);
        }
        assert!(bob.events_so_far().await.iter().all(|event| event["event"] != "conversation_added"));

        let members = bob.ask("members", json!({"conversation": group})).await;
        let names: Vec<_> = members["members"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
        assert_eq!(names, ["ann", "bob"]);
        assert_eq!(members["members"][0]["online"], true);

        assert_eq!(bob.ask("group.leave", json!({"conversation": group})).await["left"], true);
        assert_eq!(phone.event_of("member_left").await["sender"]["name"], "bob");
        assert_eq!(phone.event_of("conversation_removed").await["conversation"], group);
        ann.send(&group, "gone?").await;
        for socket in [&bob, &phone] {
            assert!(socket.events_so_far().await.iter().all(|event| event["event"] != "message"));
        }
        assert_eq!(bob.ask("conversation", json!({"conversation": group})).await["code"], "not_found");
        // Back again: the other device hears of it anew.
        assert_eq!(bob.ask("group.join", json!({"conversation": group})).await["joined"], true);
        assert_eq!(phone.event_of("conversation_added").await["conversation"]["id"], group);
        ann.send(&group, "there you are").await;
        assert_eq!(bob.event_of("message").await["content"], "there you are");
        assert_eq!(phone.event_of("message").await["content"], "there you are");
    });
}

#[test]
fn rooms_are_listened_to_by_guests_and_joined_by_accounts() {
    run(|| async {
        let engine = Engine::start().await;
        for name in ["ann", "bob"] {
            engine.account(name).await;
        }
        let (ann, bob) = (Native::enter(&engine, "ann").await, Native::enter(&engine, "bob").await);
        let made = ann.ask("room.create", json!({"name": "Kitchen"})).await;
        assert_eq!(made["created"], true, "{made}");
        let room = made["conversation"]["id"].clone();
        assert_eq!(ann.ask("room.create", json!({"name": "Kitchen"})).await["created"], false);
        assert_eq!(bob.ask("room.create", json!({"name": "Kitchen"})).await["code"], "already_exists");
        assert_eq!(bob.ask("room.join", json!({"name": "Kitchen"})).await["joined"], true);

        let guest = Native::enter_with(&engine, json!({"guest": "gus"})).await;
        assert_eq!(guest.welcome["user"]["guest"], true);
        let listening = guest.ask("room.listen", json!({"name": "Kitchen"})).await;
        let names = listening["names"].as_array().unwrap();
        assert!(names.contains(&json!("gus")), "{listening}");
        let head = listening["conversation"]["head"].as_u64().unwrap();
        assert!(listening["conversation"].get("unread").is_none());
        ann.send(&room, "hello all").await;
        assert_eq!(guest.event_of("message").await["seq"], head + 1);
        let said = guest.send(&room, "hi").await;
        assert_eq!(bob.event_of("message").await["content"], "hello all");
        assert_eq!(bob.event_of("message").await["sender"]["name"], "gus");
        // Guests change what is their own, and nothing durable is theirs.
        let edit = json!({"conversation": room, "message": said["id"], "content": "hi!"});
        assert_eq!(guest.ask("edit", edit.clone()).await["seq"], head + 3);
        let other = Native::enter_with(&engine, json!({"guest": "gus"})).await;
        assert_eq!(other.ask("edit", edit).await["code"], "forbidden");
        // Nor does a copy of a message make it one's own.
        let history = other.ask("history", json!({"conversation": room})).await;
        let seen = history["events"].as_array().unwrap().iter().find(|event| event["id"] == said["id"]).unwrap();
        let copied = json!({"conversation": room, "message_id": seen["message_id"], "content": "hi"});
        assert_eq!(other.ask("send", copied).await["duplicate"], true);
        let delete = json!({"conversation": room, "message": said["id"]});
        assert_eq!(other.ask("delete", delete).await["code"], "forbidden");
        for (kind, fields) in [
            ("room.join", json!({"name": "Kitchen"})),
            ("group.create", json!({"name": "x"})),
            ("chat.open", json!({"with": "ann"})),
            ("read", json!({"conversation": room, "seq": 1})),
            ("profile.set", json!({"display_name": "G"})),
        ] {
            assert_eq!(guest.ask(kind, fields).await["code"], "forbidden", "{kind}");
        }
        let rooms = guest.ask("rooms", json!({})).await;
        assert_eq!(rooms["rooms"][0]["name"], "Kitchen");
        // Unlistened: silence.
        assert_eq!(guest.ask("room.unlisten", json!({"conversation": room})).await, json!({}));
        guest.events_so_far().await;
        ann.send(&room, "still there?").await;
        assert_eq!(seqs(&guest.events_so_far().await), [] as [u64; 0]);
        // With a position, what was missed follows the reply.
        let position = json!({"epoch": ann.welcome["epoch"], "seq": head + 3});
        let back = guest.ask("room.listen", json!({"conversation": room, "position": position})).await;
        assert_eq!((&back["resumed"]["outcome"], &back["resumed"]["to"]), (&json!("replayed"), &json!(head + 4)));
        assert_eq!(guest.event_of("message").await["content"], "still there?");
    });
}

#[test]
fn more_conversations_come_by_pages_and_are_heard_at_once() {
    run(|| async {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let ann = Native::enter(&engine, "ann").await;
        for n in 0..5 {
            let made = ann.ask("group.create", json!({"name": format!("group {n}")})).await;
            assert_eq!(made["created"], true);
        }
        let page = ann.ask("conversations", json!({"limit": 2})).await;
        assert_eq!(page["conversations"].as_array().unwrap().len(), 2);
        let rest = ann.ask("conversations", json!({"limit": 200, "after": page["next"]})).await;
        assert_eq!(rest["conversations"].as_array().unwrap().len(), 3);
        assert!(rest.get("next").is_none());
        let last = &rest["conversations"][2]["id"];
        let phone = Native::enter(&engine, "ann").await;
        assert_eq!(phone.welcome["conversations"].as_array().unwrap().len(), 5);
        ann.send(last, "hello").await;
        assert_eq!(phone.event_of("message").await["conversation"], *last);
    });
}

#[test]
fn conversations_beyond_the_first_page_are_heard_and_resumed() {
    run(|| async {
        let engine = Engine::start().await;
        let identity = engine.account("ann").await;
        // More groups than a welcome lists, straight into the store.
        let (ids, now_ms) = (engine.node.ids.clone(), engine.node.runtime.unix_ms());
        let member = Member { user: identity.user, name: identity.name.clone() };
        let row = MemberRow { member, role: Role::Member, state: MemberState::Settled };
        let mut made = Vec::new();
        for n in 0..WELCOME_PAGE + 2 {
            let group = Conversation {
                id: ids.conversation(now_ms, ConversationKind::Group).unwrap(),
                kind: ConversationKind::Group,
                name: Some(format!("group {n}").into()),
                created_by: identity.user,
                created_at_ms: now_ms,
                pair: None,
            };
            made.push(group.id);
            let row = row.clone();
            let stored = engine.node.accounts.call("group", move |store| async move {
                store.create_conversation(&group).await?;
                store.put_member(group.id, &row).await
            });
            stored.await.unwrap();
        }
        let last = json!(made.last().unwrap());
        let ann = Native::enter(&engine, "ann").await;
        assert_eq!(ann.welcome["conversations"].as_array().unwrap().len(), WELCOME_PAGE);
        assert_eq!(ann.welcome["next"], json!(made[WELCOME_PAGE - 1]));
        let phone = Native::enter(&engine, "ann").await;
        ann.send(&last, "one").await;
        assert_eq!(phone.event_of("message").await["seq"], 1, "listed or not");
        let page = phone.ask("conversations", json!({"after": phone.welcome["next"]})).await;
        assert_eq!((page["conversations"].as_array().unwrap().len(), page.get("next")), (2, None));
        assert_eq!(page["conversations"][1]["head"], 1);
        ann.send(&last, "two").await;
        assert_eq!(seqs(&phone.events_so_far().await), [2]);
        let epoch = &ann.welcome["epoch"];
        let late = Native::resume(&engine, "ann", position(&last, epoch, 1)).await;
        assert_eq!(late.welcome["resumed"][0]["outcome"], "replayed");
        assert_eq!(seqs(&late.events_so_far().await), [2]);
        let resumed = ann.ask("resume", json!({"positions": position(&json!(made[0]), epoch, 0)})).await;
        assert_eq!(resumed["resumed"][0]["outcome"], "replayed");
    });
}
