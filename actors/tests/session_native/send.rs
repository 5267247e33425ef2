//! Messages on their way: whom they reach, in which order, and what is refused.

use std::time::Duration;

use chinwag_actors::{
    engine::EngineSettings,
    protection::{ProtectionSettings, Rate},
};
use serde_json::json;

use crate::{
    common::{Engine, run, settings},
    harness::{Native, chat, message_id, seqs},
};

#[test]
fn a_message_reaches_the_other_side_and_the_senders_other_devices_but_not_its_own_socket() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let phone = Native::enter(&engine, "ann").await;
        assert_eq!(phone.welcome["conversations"][0]["id"], chat);
        assert_eq!(phone.welcome["conversations"][0]["with"]["online"], true);
        let sent = ann.send(&chat, "hi").await;
        assert_eq!((&sent["seq"], &sent["duplicate"]), (&json!(1), &json!(false)));
        for other in [&bob, &phone] {
            let event = other.event_of("message").await;
            assert_eq!((&event["seq"], &event["content"], &event["id"]), (&json!(1), &json!("hi"), &sent["id"]));
            assert_eq!(event["sender"]["name"], "ann");
        }
        assert_eq!(seqs(&ann.events_so_far().await), [] as [u64; 0]);
        // What the others say comes, in order and without holes.
        for n in 0..20 {
            bob.send(&chat, &format!("{n}")).await;
        }
        assert_eq!(seqs(&ann.events_so_far().await), (2..22).collect::<Vec<_>>());
        assert_eq!(seqs(&phone.events_so_far().await), (2..22).collect::<Vec<_>>());
    });
}

#[test]
fn a_repeated_send_gets_the_first_reply() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let frame = json!({"conversation": chat, "message_id": message_id(), "content": "once"});
        let first = ann.ask("send", frame.clone()).await;
        let mut again = ann.ask("send", frame.clone()).await;
        assert_eq!(again["duplicate"].take(), true);
        again["duplicate"] = json!(false);
        assert_eq!(again, first);
        let mut other = frame;
        other["content"] = json!("something else");
        assert_eq!(ann.ask("send", other).await["code"], "message_id_reused");
        bob.event_of("message").await;
        assert_eq!(seqs(&bob.events_so_far().await), [] as [u64; 0]);
    });
}

#[test]
fn sends_without_waiting_keep_their_order() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let texts: Vec<String> = (0..40).map(|n| format!("message {n}")).collect();
        let ids: Vec<_> = texts
            .iter()
            .map(|text| ann.say("send", json!({"conversation": chat, "message_id": message_id(), "content": text})))
            .collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(ann.reply(id).await["seq"], n + 1);
        }
        for text in &texts {
            assert_eq!(bob.event_of("message").await["content"], **text);
        }
    });
}

#[test]
fn a_message_to_a_name_opens_the_chat() {
    run(|| async {
        let engine = Engine::start().await;
        for name in ["ann", "bob"] {
            engine.account(name).await;
        }
        let (ann, bob) = (Native::enter(&engine, "ann").await, Native::enter(&engine, "bob").await);
        let to = |name: &str, text: &str| json!({"to": name, "message_id": message_id(), "content": text});
        let first = ann.ask("send", to("bob", "hi")).await;
        let second = ann.ask("send", to("bob", "there")).await;
        assert_eq!((&first["seq"], &second["seq"]), (&json!(1), &json!(2)));
        assert_eq!(first["conversation"], second["conversation"]);
        // Both hear of the chat: no reply told the sender.
        for socket in [&ann, &bob] {
            assert_eq!(socket.event_of("conversation_added").await["conversation"]["id"], first["conversation"]);
        }
        assert_eq!(bob.event_of("message").await["content"], "hi");
        assert_eq!(ann.ask("send", to("ann", "me")).await["field"], "to");
        assert_eq!(ann.ask("send", to("nobody", "hm")).await["code"], "not_found");
    });
}

#[test]
fn a_conversation_that_slept_goes_on_where_it_was() {
    run(|| async {
        let quick = EngineSettings { idle_before_sleep: Duration::from_millis(30), ..settings() };
        let engine = Engine::start_with(quick, ProtectionSettings { enabled: false, ..Default::default() }).await;
        let (ann, bob, chat) = chat(&engine).await;
        let phone = Native::enter(&engine, "bob").await;
        for n in 1..=5u64 {
            while !engine.node.conversations.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let late = Native::enter(&engine, "bob").await;
            assert_eq!(late.welcome["conversations"][0]["head"], n * 2 - 2);
            assert_eq!(ann.send(&chat, "awake?").await["seq"], n * 2 - 1);
            assert_eq!(bob.event_of("message").await["seq"], n * 2 - 1);
            bob.send(&chat, "now I am").await;
            assert_eq!(ann.event_of("message").await["seq"], n * 2);
            for socket in [&phone, &late] {
                assert_eq!(socket.event_of("message").await["seq"], n * 2 - 1);
                assert_eq!(socket.event_of("message").await["seq"], n * 2);
            }
            assert_eq!(seqs(&ann.events_so_far().await), [] as [u64; 0]);
            assert_eq!(seqs(&bob.events_so_far().await), [] as [u64; 0]);
            late.client.vanish();
        }
    });
}

#[test]
fn rates_say_how_long_to_wait_and_spam_says_why() {
    run(|| async {
        let protection = ProtectionSettings { messages: Rate::new(3, Duration::from_secs(60)), ..Default::default() };
        let engine = Engine::start_with(settings(), protection).await;
        let (ann, _bob, chat) = chat(&engine).await;
        let spam = "BUY BUY BUY BUY BUY BUY http://bit.ly/x";
        let fields = json!({"conversation": chat, "message_id": message_id(), "content": spam});
        assert_eq!(ann.ask("send", fields).await["code"], "spam");
        ann.send(&chat, "fine").await;
        let fields = json!({"conversation": chat, "message_id": message_id(), "content": "too much"});
        let refused = ann.ask("send", fields).await;
        assert_eq!((&refused["code"], &refused["retryable"]), (&json!("rate_limited"), &json!(true)));
        assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0 && ms <= 60_000));
    });
}
