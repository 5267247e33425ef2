//! What people see of each other: pointers, typing, profiles, presence.

use serde_json::json;

use crate::{
    common::{Engine, run},
    harness::{Native, chat},
};

#[test]
fn pointers_move_forward_and_count_what_is_unread() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let phone = Native::enter(&engine, "bob").await;
        for text in ["one", "two", "three"] {
            ann.send(&chat, text).await;
        }
        bob.send(&chat, "four").await;
        let point = |kind: &str, seq| (kind.to_owned(), json!({"conversation": chat, "seq": seq}));
        let (kind, fields) = point("read", 1);
        let moved = bob.ask(&kind, fields).await;
        assert_eq!(moved, json!({"conversation": chat, "pointer": "read", "seq": 1, "unread": 2}));
        let (kind, fields) = point("delivered", 3);
        assert_eq!(bob.ask(&kind, fields).await["seq"], 3);
        let (kind, fields) = point("read", 0);
        assert_eq!(bob.ask(&kind, fields).await["seq"], 1, "only forward");
        let (kind, fields) = point("read", 99);
        assert_eq!(bob.ask(&kind, fields).await["code"], "beyond_head");
        for socket in [&ann, &phone] {
            let mut event = socket.event().await;
            while event["event"] == "message" {
                event = socket.event().await;
            }
            assert_eq!((&event["event"], &event["user"]["name"]), (&json!("pointer"), &json!("bob")));
            assert_eq!(event["seq"], 1, "{event}");
        }
        let late = Native::enter(&engine, "bob").await;
        let info = &late.welcome["conversations"][0];
        assert_eq!((&info["read"], &info["delivered"], &info["unread"]), (&json!(1), &json!(3), &json!(2)));
    });
}

#[test]
fn typing_is_told_to_the_others() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        assert_eq!(ann.ask("typing", json!({"conversation": chat, "active": true})).await, json!({}));
        let event = bob.event_of("typing").await;
        assert_eq!((&event["name"], &event["typists"]), (&json!("ann"), &json!(["ann"])));
    });
}

#[test]
fn users_profiles_and_presence() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob) = (engine.account("ann").await, engine.account("bob").await);
        let socket = Native::enter(&engine, "ann").await;
        let set = socket.ask("profile.set", json!({"display_name": "Ann A."})).await;
        assert_eq!(set["user"]["display_name"], "Ann A.");
        assert_eq!(socket.ask("profile.get", json!({})).await, set);
        let users = socket.ask("users", json!({"names": ["bob", "ann", "nobody", "bob"]})).await;
        let names: Vec<_> = users["users"].as_array().unwrap().iter().map(|user| &user["name"]).collect();
        assert_eq!(names, ["bob", "ann"]);
        assert_eq!((&users["users"][0]["online"], &users["users"][1]["online"]), (&json!(false), &json!(true)));
        let watched = socket.ask("presence.watch", json!({"users": [bob.user]})).await;
        assert_eq!(watched["presence"], json!([{"user": {"id": bob.user, "name": "bob"}, "online": false}]));
        let other = Native::enter(&engine, "bob").await;
        let event = socket.event_of("presence").await;
        assert_eq!((&event["user"]["name"], &event["online"]), (&json!("bob"), &json!(true)));
        other.client.vanish();
        assert_eq!(socket.event_of("presence").await["online"], false);
        assert_eq!(socket.ask("presence.unwatch", json!({"users": [bob.user, ann.user]})).await, json!({}));
        let _again = Native::enter(&engine, "bob").await;
        engine.settle().await;
        assert!(socket.events_so_far().await.is_empty());
        let stats = socket.ask("stats", json!({})).await;
        assert_eq!(stats["server"]["users"], 2);
        assert_eq!(stats["user"]["messages"], 0);
    });
}
