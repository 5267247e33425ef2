//! The native protocol, session and engine together: what a client of `ops/protocol/native.md` sends and sees.

mod common;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    time::Duration,
};

use chinwag_actors::{
    engine::EngineSettings,
    ports::account_store::MemberRow,
    protection::{ProtectionSettings, Rate},
};
use chinwag_schema::{
    limits::user::WELCOME_PAGE,
    model::{Conversation, ConversationKind, Member, MemberState, Role},
    wire::Dialect,
};
use common::{Client, Engine, run, settings};
use serde_json::{Value, json};
use uuid::Uuid;

/// A client that matches replies to its requests and keeps events apart.
struct Native {
    client: Client,
    events: RefCell<VecDeque<Value>>,
    requests: Cell<u32>,
    welcome: Value,
}

impl Native {
    /// Says hello with the token of an account.
    async fn enter(engine: &Engine, name: &str) -> Self {
        Self::enter_with(engine, json!({"token": format!("token-{name}")})).await
    }

    /// Says hello and names positions.
    async fn resume(engine: &Engine, name: &str, positions: Value) -> Self {
        Self::enter_with(engine, json!({"token": format!("token-{name}"), "positions": positions})).await
    }

    async fn enter_with(engine: &Engine, mut hello: Value) -> Self {
        let client = engine.open(Dialect::Native, None);
        let (events, requests) = Default::default();
        let mut native = Self { client, events, requests, welcome: Value::Null };
        hello["protocol"] = json!(1);
        native.welcome = native.ask("hello", hello).await;
        assert!(native.welcome.get("code").is_none(), "{}", native.welcome);
        native
    }

    fn say(&self, kind: &str, mut fields: Value) -> String {
        let id = format!("r{}", self.requests.replace(self.requests.get() + 1));
        fields["id"] = json!(id);
        fields["type"] = json!(kind);
        self.client.send(&fields);
        id
    }

    /// Waits for the reply: the result, or the error.
    async fn reply(&self, id: &str) -> Value {
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

    async fn ask(&self, kind: &str, fields: Value) -> Value {
        let id = self.say(kind, fields);
        self.reply(&id).await
    }

    /// Waits for the next event.
    async fn event(&self) -> Value {
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
    async fn event_of(&self, name: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["event"] == name {
                return event;
            }
            assert!(event.get("seq").is_none() || event["event"] == "pointer", "instead of {name}: {event}");
        }
    }

    /// Everything that has come by now: a `ping` is answered after it.
    async fn events_so_far(&self) -> Vec<Value> {
        // Conversations and relays live on this thread: let them come to an end first.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.ask("ping", json!({})).await;
        self.events.borrow_mut().drain(..).collect()
    }

    async fn send(&self, conversation: &Value, text: &str) -> Value {
        let fields = json!({"conversation": conversation, "message_id": message_id(), "content": text});
        let sent = self.ask("send", fields).await;
        assert!(sent.get("seq").is_some(), "{sent}");
        sent
    }
}

fn message_id() -> String {
    Uuid::now_v7().to_string()
}

/// Two users with a chat between them, opened by the first.
async fn chat(engine: &Engine) -> (Native, Native, Value) {
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

fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().filter(|event| event["event"] != "pointer").filter_map(|event| event["seq"].as_u64()).collect()
}

fn position(conversation: &Value, epoch: &Value, seq: u64) -> Value {
    json!({conversation.as_str().unwrap(): {"epoch": epoch, "seq": seq}})
}

#[test]
fn hello_is_answered_with_everything_a_client_needs_to_begin() {
    run(|| async {
        let engine = Engine::start().await;
        let identity = engine.account("ann").await;
        let ann = Native::enter(&engine, "ann").await;
        let welcome = &ann.welcome;
        assert_eq!(welcome["user"], json!({"id": identity.user, "name": "ann", "guest": false}));
        assert_eq!(welcome["protocol"], 1);
        assert_eq!((&welcome["conversations"], &welcome["resumed"]), (&json!([]), &json!([])));
        assert_eq!(welcome["limits"]["page"], 200);
        assert!(welcome.get("next").is_none());
        let twice = ann.ask("hello", json!({"protocol": 1, "token": "token-ann"})).await;
        assert_eq!(twice["code"], "bad_request");
        assert_eq!(ann.ask("bye", json!({})).await, json!({}));
        assert_eq!(ann.client.next().await, json!({"close": 1000}));
    });
}

#[test]
fn who_fails_to_say_hello_is_told_why_and_closed() {
    run(|| async {
        let engine =
            Engine::start_with(EngineSettings { guests: false, ..settings() }, ProtectionSettings::default()).await;
        let hello = |fields: Value| {
            let client = engine.open(Dialect::Native, None);
            let mut frame = json!({"id": "h", "type": "hello", "protocol": 1});
            frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            client.send(&frame);
            client
        };
        let cases = [
            (json!({"token": "wrong"}), "unauthorized", 4200),
            (json!({"ticket": "wrong"}), "unauthorized", 4200),
            (json!({"guest": "gus"}), "unauthorized", 4200),
            (json!({"protocol": 2, "token": "x"}), "unsupported_version", 4203),
        ];
        for (fields, code, close) in cases {
            let client = hello(fields);
            assert_eq!(client.next().await["error"]["code"], code);
            assert_eq!(client.next().await, json!({"close": close}));
        }
        // What is merely malformed may be said again.
        let client = hello(json!({}));
        assert_eq!(client.next().await["error"]["code"], "bad_request");
        client.send(&json!({"id": "p", "type": "ping"}));
        assert_eq!(client.next().await["error"]["code"], "unauthorized");
        engine.account("ann").await;
        client.send(&json!({"id": "h2", "type": "hello", "protocol": 1, "ticket": "ticket-ann"}));
        assert_eq!(client.next().await["result"]["user"]["name"], "ann");
        // A node about to stop takes nobody.
        engine.node.begin_drain();
        let client = hello(json!({"token": "token-ann"}));
        assert_eq!(client.next().await["error"]["code"], "draining");
        assert_eq!(client.next().await, json!({"close": 1001}));
    });
}

#[test]
fn frames_that_are_no_requests_leave_the_socket_open() {
    run(|| async {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let ann = Native::enter(&engine, "ann").await;
        for text in ["", "[]", "nonsense", "{\"id\":7}", "{\"type\":\"ping\"}"] {
            ann.client.send_text(text);
            let frame = ann.client.next().await;
            assert_eq!((&frame["id"], &frame["error"]["code"]), (&Value::Null, &json!("bad_request")), "{text}");
        }
        ann.client.send_text("{\"id\":\"x\",\"type\":\"fly\"}");
        let frame = ann.client.next().await;
        assert_eq!((&frame["id"], &frame["error"]["field"]), (&json!("x"), &json!("type")));
        assert!(ann.ask("ping", json!({})).await["server_time"].is_i64());
    });
}

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
fn who_says_nothing_is_closed_in_time_and_what_follows_a_refusal_is_ignored() {
    run(|| async {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let silent = engine.open(Dialect::Native, None);
        let refused = engine.open(Dialect::Native, None);
        for token in ["wrong", "token-ann"] {
            refused.send(&json!({"id": token, "type": "hello", "protocol": 1, "token": token}));
        }
        refused.send(&json!({"id": "p", "type": "ping"}));
        assert_eq!(refused.next().await["error"]["code"], "unauthorized");
        assert_eq!(refused.next().await, json!({"close": 4200}));
        assert_eq!(silent.next().await, json!({"close": 4102}));
        assert!(refused.come().is_empty());
        assert_eq!(engine.node.counters.users.load(std::sync::atomic::Ordering::Relaxed), 0);
    });
}

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
fn edits_and_deletions_show_the_message_as_it_stands() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, bob, chat) = chat(&engine).await;
        let sent = ann.send(&chat, "helo").await;
        bob.event_of("message").await;
        let message = json!({"conversation": chat, "message": sent["id"]});
        let with = |content: &str| {
            let mut fields = message.clone();
            fields["content"] = json!(content);
            fields
        };
        let edited = ann.ask("edit", with("hello")).await;
        assert_eq!(edited["seq"], 2, "{edited}");
        let event = bob.event_of("edited").await;
        assert_eq!((&event["target"], &event["content"]), (&sent["id"], &json!("hello")));
        assert_eq!(bob.ask("edit", with("mine")).await["code"], "forbidden");
        // An edit whose message lies outside the page shows its text all the same.
        let page = bob.ask("history", json!({"conversation": chat, "after": 1})).await;
        assert_eq!(page["events"][0]["content"], "hello");
        let deleted = ann.ask("delete", message).await;
        assert_eq!(deleted["seq"], 3, "{deleted}");
        assert_eq!(bob.event_of("deleted").await["target_seq"], 1);
        let page = bob.ask("history", json!({"conversation": chat})).await;
        assert_eq!((&page["events"][0]["deleted"], &page["events"][0]["content"]), (&json!(true), &json!("")));
        assert_eq!((&page["complete"], &page["head"]), (&json!(true), &json!(3)));
    });
}

#[test]
fn pages_of_history_are_bounded_in_bytes_and_unknown_cursors_are_errors() {
    run(|| async {
        let engine = Engine::start().await;
        let (ann, _bob, chat) = chat(&engine).await;
        let long = "é".repeat(4096);
        for _ in 0..40 {
            ann.send(&chat, &long).await;
        }
        let newest = ann.ask("history", json!({"conversation": chat, "limit": 200})).await;
        let events = newest["events"].as_array().unwrap();
        assert!(events.len() < 40 && events.last().unwrap()["seq"] == 40 && newest["complete"] == false);
        let oldest = ann.ask("history", json!({"conversation": chat, "after": 0, "limit": 200})).await;
        assert!(oldest["events"][0]["seq"] == 1 && oldest["complete"] == false);
        for (field, value) in [("before", json!(42)), ("after", json!(41)), ("epoch", json!("00000000000000aa"))] {
            let refused = ann.ask("history", json!({"conversation": chat, field: value})).await;
            assert_eq!((&refused["code"], &refused["field"]), (&json!("unknown_cursor"), &json!(field)));
        }
        engine.account("eve").await;
        let eve = Native::enter(&engine, "eve").await;
        assert_eq!(eve.ask("history", json!({"conversation": chat})).await["code"], "not_found");
    });
}

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
fn guests_take_no_name_of_an_account() {
    run(|| async {
        let engine = Engine::start().await;
        engine.account("ann").await;
        let client = engine.open(Dialect::Native, None);
        client.send(&json!({"id": "h", "type": "hello", "protocol": 1, "guest": "ann"}));
        assert_eq!(client.next().await["error"]["field"], "guest");
        assert_eq!(client.next().await, json!({"close": 4200}));
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
