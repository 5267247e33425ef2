//! What the condition of an append costs on Scylla or Cassandra: plain inserts of the same rows, the conditional batch alone, and the
//! store's append with all that it reads before, one message at a time and in groups of 10 and 50. Also a claim, and pages.
//!
//! `cargo run --release -p chinwag-actors --example cql_cost HOST:PORT [MESSAGES PER MEASUREMENT]` (1,000: under a minute). Makes the
//! keyspace `chinwag_cost` and leaves it there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chinwag_actors::{
    backends::clustered::scylla::{Replication, ScyllaMessages, ScyllaOptions},
    ports::message_store::{Append, Direction, Filter, MessageStore, NewBody, NewEvent},
};
use chinwag_schema::ids::{ConversationId, EventId, SNOWFLAKE_LOW_BITS, Seq, Term, UserId};
use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    serialize::row::SerializeRow,
    statement::{
        Consistency,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
};
use uuid::Uuid;

const KEYSPACE: &str = "chinwag_cost";
const GROUPS: [usize; 3] = [1, 10, 50];
/// Writers beside each other, each with a conversation of its own.
const WRITERS: [usize; 2] = [1, 16];
/// Measurements of each; medians are shown, as others work on a machine, too.
const ROUNDS: usize = 5;

type Values = Box<dyn SerializeRow + Send + Sync>;

/// The rows of one message written by hand: the event, its id, its sender's total, the head.
struct ByHand {
    session: Session,
    head: PreparedStatement,
    head_if: PreparedStatement,
    claim: PreparedStatement,
    event: PreparedStatement,
    id: PreparedStatement,
    own: PreparedStatement,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let server = args.next().expect("HOST:PORT of a server");
    let messages = args.next().map_or(1_000, |text| text.parse().expect("messages per measurement, a number"));
    let options = ScyllaOptions {
        replication: Replication::Simple { factor: 1 },
        ..ScyllaOptions::new(vec![server.clone()], KEYSPACE)
    };
    let store = Arc::new(ScyllaMessages::connect(&options).await.expect("a store"));
    let by_hand = Arc::new(ByHand::open(&server).await);
    println!("ms per call, median of {ROUNDS}; in brackets, messages per second");
    println!("{:<22} {:>20} {:>20} {:>20} {:>8}", "", "plain", "conditional", "append", "factor");
    for writers in WRITERS {
        for group in GROUPS {
            let calls = (messages / group / writers).max(4);
            let mut times = [const { Vec::new() }; 3];
            for _ in 0..ROUNDS {
                times[0].push(beside(writers, |_| plain(by_hand.clone(), false, calls, group)).await);
                times[1].push(beside(writers, |_| plain(by_hand.clone(), true, calls, group)).await);
                times[2].push(beside(writers, |_| append(store.clone(), calls, group)).await);
            }
            let medians = times.map(|mut times| {
                times.sort();
                times[times.len() / 2].as_secs_f64()
            });
            let shown = medians.map(|time| {
                let rate = (calls * writers * group) as f64 / time;
                format!("{:.2} ({rate:.0})", time * 1000.0 / calls as f64)
            });
            let name = format!("{writers} × groups of {group}");
            let factor = medians[1] / medians[0];
            println!("{name:<22} {:>20} {:>20} {:>20} {factor:>8.1}", shown[0], shown[1], shown[2]);
        }
    }
    rest(&store).await;
}

/// Runs as many as `writers` beside each other; returns how long all took.
async fn beside<F: Future<Output = ()>>(writers: usize, run: impl Fn(usize) -> F) -> Duration {
    let begun = Instant::now();
    futures_util::future::join_all((0..writers).map(run)).await;
    begun.elapsed()
}

/// Returns a conversation that nobody has had.
fn fresh() -> i64 {
    rand::random::<i64>() >> 1 & !((1 << SNOWFLAKE_LOW_BITS) - 1)
}

fn text() -> String {
    "0123456789".repeat(10)
}

async fn plain(by_hand: Arc<ByHand>, conditional: bool, calls: usize, group: usize) {
    let conversation = fresh();
    if conditional {
        by_hand.session.execute_unpaged(&by_hand.claim, (conversation,)).await.expect("a claim");
    }
    for call in 0..calls {
        by_hand.write(conversation, call, group, conditional).await;
    }
}

async fn append(store: Arc<ScyllaMessages>, calls: usize, group: usize) {
    let conversation = ConversationId(fresh());
    for call in 0..calls {
        let events = (0..group).map(|n| event((call * group + n) as i64 + 1)).collect();
        let head = Seq((call * group) as u64);
        let groups = vec![Append { conversation, term: Term(1), head, events }];
        store.append(groups).await.expect("the store").remove(0).expect("the fence");
    }
}

fn event(id: i64) -> NewEvent {
    NewEvent {
        id: EventId(id),
        at_ms: 1_800_000_000_000 + id,
        sender: UserId(1),
        sender_name: "a sender".into(),
        body: NewBody::Message { client_id: Some(Uuid::now_v7()), content: text().into() },
    }
}

/// What isn't an append: claims, and pages of a long log.
async fn rest(store: &ScyllaMessages) {
    let claims = 100;
    let conversations: Vec<_> = (0..claims).map(|_| ConversationId(fresh())).collect();
    for (what, term) in [("first claim", 1), ("claim of the next owner", 2)] {
        let begun = Instant::now();
        for conversation in &conversations {
            store.claim(*conversation, Term(term)).await.expect("a claim");
        }
        println!("{what}: {:.2} ms", begun.elapsed().as_secs_f64() * 1000.0 / f64::from(claims));
    }
    let conversation = ConversationId(fresh());
    for group in 0..10 {
        let events = (0..500).map(|n| event(group * 500 + n + 1)).collect();
        let groups = vec![Append { conversation, term: Term(1), head: Seq(group as u64 * 500), events }];
        store.append(groups).await.expect("the store").remove(0).expect("the fence");
    }
    for (what, direction) in
        [("first page of 50", Direction::After(Seq::ZERO)), ("last", Direction::Before(Seq(u64::MAX)))]
    {
        let begun = Instant::now();
        for _ in 0..100 {
            store.page(conversation, direction, 50, Filter::All).await.expect("a page");
        }
        println!("{what}: {:.2} ms", begun.elapsed().as_secs_f64() * 10.0);
    }
}

impl ByHand {
    async fn open(server: &str) -> Self {
        let session = SessionBuilder::new().known_node(server).use_keyspace(KEYSPACE, true).build().await;
        let session = session.expect("a session");
        let prepare = async |text: &str| {
            let mut statement = session.prepare(text).await.expect("a statement");
            statement.set_consistency(Consistency::Quorum);
            statement
        };
        let head = "UPDATE log SET head = ?, head_messages = ?, head_id = ?, head_at_ms = ?, first_at_ms = 1 \
                    WHERE conversation = ? AND bucket = 0";
        Self {
            head: prepare(head).await,
            head_if: prepare(&format!("{head} IF term = 1 AND head = ?")).await,
            claim: prepare("UPDATE log SET term = 1, head = 0 WHERE conversation = ? AND bucket = 0 IF term = null").await,
            event: prepare(
                "INSERT INTO log (conversation, bucket, part, number, message_id, event_id, at_ms, what, sender, sender_name, messages, \
                 own, client_id, content, digest) VALUES (?, 0, 0, ?, 0x, ?, ?, 0, 1, 'a sender', ?, ?, ?, ?, ?)",
            )
            .await,
            id: prepare("INSERT INTO log (conversation, bucket, part, number, message_id, seq) VALUES (?, 0, 1, 1, ?, ?)").await,
            own: prepare("UPDATE log SET own = ? WHERE conversation = ? AND bucket = 0 AND part = 2 AND number = 1 AND message_id = 0x")
                .await,
            session,
        }
    }

    async fn write(&self, conversation: i64, call: usize, group: usize, conditional: bool) {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_consistency(Consistency::Quorum);
        let mut values: Vec<Values> = Vec::new();
        let before = (call * group) as i64;
        let head = before + group as i64;
        if conditional {
            batch.append_statement(self.head_if.clone());
            values.push(Box::new((head, head, head, head, conversation, before)));
        } else {
            batch.append_statement(self.head.clone());
            values.push(Box::new((head, head, head, head, conversation)));
        }
        for seq in before + 1..=head {
            let id = Uuid::now_v7().as_bytes().to_vec();
            batch.append_statement(self.event.clone());
            values.push(Box::new((conversation, seq, seq, seq, seq, seq, id.clone(), text(), vec![7_u8; 16])));
            batch.append_statement(self.id.clone());
            values.push(Box::new((conversation, id, seq)));
        }
        batch.append_statement(self.own.clone());
        values.push(Box::new((head, conversation)));
        let result = self.session.batch(&batch, values).await.expect("a batch");
        if conditional {
            let rows = result.into_rows_result().expect("an answer");
            assert!(rows.first_row::<(bool,)>().expect("an answer").0, "the condition holds");
        }
    }
}
