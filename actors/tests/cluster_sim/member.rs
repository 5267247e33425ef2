//! A native client that does what the protocol tells clients to do: it keeps what it wants to say until that is answered, comes back
//! to any node when its socket or node is gone, names its positions, and pages what it is told to page.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use chinwag_actors::{runtime::Mailbox, session::SessionMessage};
use chinwag_schema::{ids::ConversationId, wire::Dialect};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::nodes::{Cluster, Life};
use crate::common::Client;

/// How long a client waits for the answer to its hello, and to anything else, before it says the same again.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// How long a hole may stay before it is fetched.
const HOLE_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A conversation as a member knows it.
#[derive(Default)]
pub struct Log {
    /// Everything up to here is known.
    pub position: u64,
    epoch: Value,
    /// Texts by seq; events that aren't messages have none.
    pub texts: BTreeMap<u64, Option<String>>,
    waiting: BTreeMap<u64, Option<String>>,
    hole_since: Option<Instant>,
    fetching: bool,
}

impl Log {
    /// Takes an event, from whatever source.
    fn take(&mut self, seq: u64, text: Option<String>) {
        if seq <= self.position {
            let known = self.texts.get(&seq).unwrap_or_else(|| panic!("{seq} came, but begins before the log"));
            assert_eq!(*known, text, "{seq} came twice, as two events");
            return;
        }
        self.waiting.insert(seq, text);
        while let Some(text) = self.waiting.remove(&(self.position + 1)) {
            self.position += 1;
            self.texts.insert(self.position, text);
        }
        self.hole_since = (!self.waiting.is_empty()).then(|| self.hole_since.unwrap_or_else(Instant::now));
    }
}

/// A message that isn't acknowledged yet.
struct Pending {
    group: String,
    id: Uuid,
    text: String,
    /// When it was last said on the socket there is.
    said: Option<Instant>,
    not_before: Instant,
}

/// A user of the simulation.
pub struct Member {
    pub name: String,
    pub logs: RefCell<BTreeMap<String, Log>>,
    /// Acknowledged: text and seq.
    pub acknowledged: RefCell<Vec<(String, String, u64)>>,
    pending: RefCell<Option<Pending>>,
    pub left_to_say: Cell<u32>,
    pub sockets: Cell<u32>,
    /// Where it is, with its session.
    at: RefCell<Option<(Rc<Life>, Mailbox<SessionMessage>)>>,
    /// The newest event of each conversation that this socket was sent.
    newest: RefCell<BTreeMap<String, u64>>,
    pub sent_again: Cell<u32>,
    rng: RefCell<SmallRng>,
    requests: Cell<u64>,
}

impl Member {
    pub fn new(name: &str, seed: u64, to_say: u32) -> Self {
        Self {
            name: name.to_owned(),
            logs: RefCell::default(),
            acknowledged: RefCell::default(),
            pending: RefCell::default(),
            left_to_say: Cell::new(to_say),
            sockets: Cell::new(0),
            at: RefCell::default(),
            newest: RefCell::default(),
            sent_again: Cell::new(0),
            rng: RefCell::new(SmallRng::seed_from_u64(seed)),
            requests: Cell::new(0),
        }
    }

    /// Says whether everything was said and acknowledged.
    pub fn is_done(&self) -> bool {
        self.left_to_say.get() == 0 && self.pending.borrow().is_none()
    }

    /// Lives until the simulation ends.
    pub async fn live(&self, cluster: &Cluster) {
        while !cluster.ended.get() {
            let node = cluster.any_node(&mut self.rng.borrow_mut());
            let client = node.engine.open(Dialect::Native, None);
            self.sockets.set(self.sockets.get() + 1);
            *self.at.borrow_mut() = Some((node.clone(), client.session.session.clone()));
            if let Some(pending) = &mut *self.pending.borrow_mut() {
                pending.said = None;
            }
            self.logs.borrow_mut().values_mut().for_each(|log| log.fetching = false);
            self.newest.borrow_mut().clear();
            if self.enter(&client).await {
                self.talk(cluster, &client, || node.gone.get()).await;
            }
            client.vanish();
            let pause = self.rng.borrow_mut().random_range(10..500);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Says hello; returns whether it was welcome.
    async fn enter(&self, client: &Client) -> bool {
        let positions: BTreeMap<_, _> = self
            .logs
            .borrow()
            .iter()
            .map(|(id, log)| (id.clone(), json!({"epoch": log.epoch, "seq": log.position})))
            .collect();
        let token = format!("token-{}", self.name);
        client.send(&json!({"id": "hello", "type": "hello", "protocol": 1, "token": token, "positions": positions}));
        let until = Instant::now() + HELLO_PATIENCE;
        loop {
            let Ok(frame) = timeout(until.saturating_duration_since(Instant::now()), client.next()).await else {
                return false;
            };
            if frame["id"] == "hello" {
                if frame["error"].is_object() {
                    assert_eq!(frame["error"]["retryable"], true, "{frame}");
                    return false;
                }
                self.welcomed(client, &frame["result"]);
                return true;
            }
            if frame["close"].is_number() {
                return false;
            }
            self.event(&frame);
        }
    }

    fn welcomed(&self, client: &Client, welcome: &Value) {
        for info in welcome["conversations"].as_array().unwrap() {
            let mut logs = self.logs.borrow_mut();
            // The first time, everything from now on is to be heard.
            logs.entry(text_of(&info["id"])).or_insert_with(|| Log {
                position: info["head"].as_u64().unwrap(),
                epoch: info["epoch"].clone(),
                ..Log::default()
            });
        }
        for resumed in welcome["resumed"].as_array().into_iter().flatten() {
            match resumed["outcome"].as_str().unwrap() {
                "replayed" => {}
                "gap" => self.fetch(client, &text_of(&resumed["conversation"])),
                outcome => panic!("{}: {outcome}: {resumed}", self.name),
            }
        }
    }

    /// Talks and listens until the socket or its node is gone.
    async fn talk(&self, cluster: &Cluster, client: &Client, gone: impl Fn() -> bool) {
        let mut look = Instant::now();
        while !gone() && !cluster.ended.get() {
            if Instant::now() >= look {
                look = Instant::now() + LOOK_EVERY;
                self.mend_holes(client);
                self.say(cluster, client);
            }
            let Ok(frame) = timeout(look.saturating_duration_since(Instant::now()), client.next()).await else {
                continue;
            };
            if frame["close"].is_number() {
                return;
            }
            if frame["event"].is_string() {
                self.event(&frame);
                if frame["event"] == "gap" {
                    self.fetch(client, &text_of(&frame["conversation"]));
                }
                continue;
            }
            match frame["id"].as_str().unwrap() {
                id if id.starts_with("say") => self.said(&frame),
                id if id.starts_with("page") => self.paged(client, &frame),
                id => panic!("nobody asked for {id}"),
            }
        }
    }

    fn event(&self, frame: &Value) {
        if let Some(seq) = frame["seq"].as_u64()
            && frame["event"] != "pointer"
        {
            let conversation = text_of(&frame["conversation"]);
            let before = self.newest.borrow_mut().insert(conversation.clone(), seq).unwrap_or(0);
            // It may happen, when an owner goes while sockets ask for places; clients tell by the seq.
            self.sent_again.set(self.sent_again.get() + u32::from(seq <= before));
            self.take(&conversation, seq, content(frame));
        }
    }

    fn take(&self, conversation: &str, seq: u64, text: Option<String>) {
        let mut logs = self.logs.borrow_mut();
        logs.get_mut(conversation).unwrap_or_else(|| panic!("{} isn't in {conversation}", self.name)).take(seq, text);
    }

    /// Shows what its node knows, for whoever looks for the reason of a failure.
    pub async fn explain(&self) {
        let pending = self
            .pending
            .borrow()
            .as_ref()
            .map(|pending| (pending.group.clone(), pending.said.map(|said| said.elapsed())));
        let positions: Vec<_> = self.logs.borrow().values().map(|log| log.position).collect();
        eprintln!("{}: at {positions:?}, {} sockets, waits for {pending:?}", self.name, self.sockets.get());
        let Some((life, session)) = self.at.borrow().clone() else { return };
        if self.is_done() && positions.iter().all(|&position| position > 0) && pending.is_none() {
            return;
        }
        eprintln!("  on {}, shards {:?}", life.number, life.engine.node.shards.counts());
        eprintln!("  session {:?}", timeout(ANSWER_PATIENCE, session.observe()).await);
        for log in self.logs.borrow().keys() {
            let id: ConversationId = log.parse().unwrap();
            eprintln!("  {log} {:?} ours {}", id.shard(), life.engine.node.owns(id));
        }
    }

    // --- saying ---------------------------------------------------------------------------------------------------

    fn say(&self, cluster: &Cluster, client: &Client) {
        let mut pending = self.pending.borrow_mut();
        if pending.is_none() && self.left_to_say.get() > 0 && self.rng.borrow_mut().random_bool(cluster.eagerness) {
            let logs = self.logs.borrow();
            let Some(group) = logs.keys().nth(self.rng.borrow_mut().random_range(0..logs.len().max(1))) else { return };
            let text = format!("{} {}", self.name, self.left_to_say.get());
            self.left_to_say.set(self.left_to_say.get() - 1);
            let id = cluster.message_id(&mut self.rng.borrow_mut());
            *pending = Some(Pending { group: group.clone(), id, text, said: None, not_before: Instant::now() });
        }
        let Some(pending) = &mut *pending else { return };
        let waits = pending.said.is_some_and(|said| said.elapsed() < ANSWER_PATIENCE);
        if waits || Instant::now() < pending.not_before {
            return;
        }
        pending.said = Some(Instant::now());
        let Pending { group, id, text, .. } = pending;
        client.send(&json!({"id": self.request("say"), "type": "send", "conversation": group, "message_id": id, "content": text}));
    }

    fn said(&self, frame: &Value) {
        let mut slot = self.pending.borrow_mut();
        // A second answer, to a send that was repeated.
        let Some(pending) = &mut *slot else { return };
        if let Some(seq) = frame["result"]["seq"].as_u64() {
            if frame["result"]["conversation"] != pending.group.as_str() {
                return;
            }
            let said = (pending.group.clone(), pending.text.clone(), seq);
            *slot = None;
            self.take(&said.0, seq, Some(said.1.clone()));
            self.acknowledged.borrow_mut().push(said);
        } else {
            let error = &frame["error"];
            assert_eq!(error["retryable"], true, "{}: {frame}", self.name);
            pending.said = None;
            let wait = error["retry_after_ms"].as_u64().unwrap_or(1000);
            pending.not_before = Instant::now() + Duration::from_millis(wait);
        }
    }

    // --- paging ---------------------------------------------------------------------------------------------------

    fn mend_holes(&self, client: &Client) {
        let holes: Vec<String> = {
            let logs = self.logs.borrow();
            let old =
                logs.iter().filter(|(_, log)| log.hole_since.is_some_and(|since| since.elapsed() > HOLE_PATIENCE));
            old.map(|(id, _)| id.clone()).collect()
        };
        holes.iter().for_each(|id| self.fetch(client, id));
    }

    /// Asks for what follows the position.
    fn fetch(&self, client: &Client, conversation: &str) {
        let mut logs = self.logs.borrow_mut();
        let log = logs.get_mut(conversation).unwrap();
        if std::mem::replace(&mut log.fetching, true) {
            return;
        }
        let request = format!("{} {conversation}", self.request("page"));
        client.send(&json!({"id": request, "type": "history", "conversation": conversation, "after": log.position, "limit": 200}));
    }

    fn paged(&self, client: &Client, frame: &Value) {
        let conversation = frame["id"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
        self.logs.borrow_mut().get_mut(&conversation).unwrap().fetching = false;
        let Some(events) = frame["result"]["events"].as_array() else {
            assert_eq!(frame["error"]["retryable"], true, "{}: {frame}", self.name);
            // Asked again: a hole is looked for all the time.
            let mut logs = self.logs.borrow_mut();
            logs.get_mut(&conversation).unwrap().hole_since = Some(Instant::now());
            return;
        };
        for event in events {
            self.take(&conversation, event["seq"].as_u64().unwrap(), content(event));
        }
        if frame["result"]["complete"] == false {
            self.fetch(client, &conversation);
        }
    }

    fn request(&self, kind: &str) -> String {
        self.requests.set(self.requests.get() + 1);
        format!("{kind} {}", self.requests.get())
    }
}

fn content(frame: &Value) -> Option<String> {
    (frame["event"] == "message").then(|| text_of(&frame["content"]))
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}
