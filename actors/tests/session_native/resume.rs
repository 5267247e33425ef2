//! Positions: what was missed is replayed, paged, or said to be void.

use serde_json::{Value, json};

use crate::{
    common::{Engine, run},
    harness::{Native, chat, message_id, position, seqs},
};

#[test]
fn what_was_missed_is_replayed_after_the_welcome_and_before_live_events() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let epoch = ann.welcome["epoch"].clone();
        ann.send(&chat, "one").await;
        bob.client.vanish();
        for text in ["two", "three"] {
            ann.send(&chat, text).await;
        }
        let bob = Native::resume(&engine, "bob", position(&chat, &epoch, 1)).await;
        let outcome =
            json!([{"conversation": chat, "outcome": "replayed", "epoch": epoch, "head": 3, "from": 2, "to": 3}]);
        assert_eq!(bob.welcome["resumed"], outcome);
        assert_eq!(bob.welcome["conversations"][0]["head"], 3);
        assert!(bob.events.borrow().is_empty(), "the welcome comes first");
        ann.send(&chat, "four").await;
        assert_eq!(seqs(&bob.events_so_far().await), [2, 3, 4]);
    });
}

#[test]
fn positions_that_miss_nothing_are_void_or_unknown_are_told_so() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let epoch = ann.welcome["epoch"].clone();
        engine.account("eve").await;
        ann.send(&chat, "one").await;
        drop(bob);
        let outcome = async |name: &str, epoch: &Value, seq| {
            let socket = Native::resume(&engine, name, position(&chat, epoch, seq)).await;
            (socket.welcome["resumed"][0].clone(), socket)
        };
        let (nothing, socket) = outcome("bob", &epoch, 1).await;
        assert_eq!((&nothing["outcome"], &nothing["from"], &nothing["to"]), (&json!("replayed"), &json!(2), &json!(1)));
        ann.send(&chat, "two").await;
        assert_eq!(seqs(&socket.events_so_far().await), [2]);
        let (ahead, _) = outcome("bob", &epoch, 9).await;
        assert_eq!(ahead, json!({"conversation": chat, "outcome": "reset", "epoch": epoch, "head": 2}));
        let (other, _) = outcome("bob", &json!("00000000000000aa"), 1).await;
        assert_eq!(other["outcome"], "reset");
        let (foreign, eve) = outcome("eve", &epoch, 1).await;
        assert_eq!(foreign, json!({"conversation": chat, "outcome": "gone"}));
        // Nor by `resume`.
        let resumed = eve.ask("resume", json!({"positions": position(&chat, &epoch, 1)})).await;
        assert_eq!(resumed["resumed"][0], json!({"conversation": chat, "outcome": "gone"}));
    });
}

#[test]
fn who_missed_too_much_gets_a_gap_and_pages_it() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let epoch = ann.welcome["epoch"].clone();
        bob.client.vanish();
        for _ in 0..11 {
            let ids: Vec<_> = (0..100)
                .map(|_| ann.say("send", json!({"conversation": chat, "message_id": message_id(), "content": "x"})))
                .collect();
            for id in ids {
                ann.reply(&id).await;
            }
        }
        let bob = Native::resume(&engine, "bob", position(&chat, &epoch, 10)).await;
        let gap = json!({"conversation": chat, "outcome": "gap", "epoch": epoch, "head": 1100, "from": 11, "to": 1100});
        assert_eq!(bob.welcome["resumed"][0], gap);
        ann.send(&chat, "live").await;
        assert_eq!(seqs(&bob.events_so_far().await), [1101]);
        let mut after = 10;
        loop {
            let page = bob.ask("history", json!({"conversation": chat, "after": after, "limit": 200})).await;
            for event in page["events"].as_array().unwrap() {
                assert_eq!(event["seq"], after + 1);
                after += 1;
            }
            if page["complete"] == true {
                break;
            }
        }
        assert_eq!(after, 1101);
    });
}

#[test]
fn resuming_a_conversation_that_is_heard_already_repeats_nothing() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let epoch = ann.welcome["epoch"].clone();
        ann.send(&chat, "one").await;
        ann.send(&chat, "two").await;
        bob.event_of("message").await;
        bob.event_of("message").await;
        let resumed = bob.ask("resume", json!({"positions": position(&chat, &epoch, 0)})).await;
        let outcome = &resumed["resumed"][0];
        assert_eq!((&outcome["outcome"], &outcome["from"], &outcome["to"]), (&json!("gap"), &json!(1), &json!(2)));
        ann.send(&chat, "three").await;
        assert_eq!(seqs(&bob.events_so_far().await), [3]);
    });
}

#[test]
fn no_event_is_lost_between_the_head_shown_and_the_first_live_event() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        // Bob's other socket enters while Ann writes: whatever head it is shown, everything after it comes once.
        for round in 0..10 {
            let before: Vec<_> = (0..10)
                .map(|n| {
                    let content = format!("{round}/{n}");
                    ann.say("send", json!({"conversation": chat, "message_id": message_id(), "content": content}))
                })
                .collect();
            let late = Native::enter(&engine, "bob").await;
            let head = late.welcome["conversations"][0]["head"].as_u64().unwrap();
            for id in before {
                ann.reply(&id).await;
            }
            let last = ann.send(&chat, "last").await["seq"].as_u64().unwrap();
            let mut events = Vec::new();
            while seqs(&events).last().is_none_or(|&seq| seq < last) {
                events.push(late.event().await);
            }
            assert_eq!(seqs(&events), (head + 1..=last).collect::<Vec<_>>());
            late.client.vanish();
        }
        drop(bob);
    });
}
