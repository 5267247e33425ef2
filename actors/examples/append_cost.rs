//! Whether costs grow with what is stored: CPU per appended row and per first and last page of a history, in one
//! conversation of 1,000,000 messages and in 1,000 conversations of 1,000, each beside the same conversations at their start.
//!
//! `cargo run --release -p chinwag-actors --example append_cost [THOUSANDS OF ROWS] [DIRECTORY]` (1,000: about a minute)
//!
//! Fails when a cost in a full store is more than 1.2 times that at the start, and more than the noise of this measurement. At the start
//! each conversation has a page of history (100 messages), and so pages of its own in the store: before that, newborn conversations
//! share pages, and appending to them is cheaper. An empty store is shown, too, and held to nothing, and so is appending to 200 other
//! conversations beside the long one.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use chinwag_actors::{
    backends::embedded::{Database, DatabaseOptions, EmbeddedMessages},
    ports::message_store::{Append, Direction, Filter, MessageStore, NewBody, NewEvent},
};
use chinwag_schema::ids::{ConversationId, EventId, Seq, Term, UserId};
use uuid::Uuid;

/// Rows that one group has while the store is filled, and while it is measured.
const FILL_GROUP: usize = 500;
const GROUP: usize = 50;
/// Rows appended per measurement; what follows is repeated, alternating between the stores, and medians are compared.
const ROWS: usize = 10_000;
const ROUNDS: usize = 5;
const PAGES: usize = 400;
const PAGE: usize = 50;
/// Messages of a conversation at the start: two pages of history.
const START: usize = 100;
/// Places in the table of a store at its start and of the full one that is held against it, and which of the appends.
const COMPARED: [(usize, usize, usize); 2] = [(1, 2, 1), (3, 4, 0)];
/// Growth allowed, and differences that this clock can't tell from nothing.
const GROWTH_MAX: f64 = 1.2;
const NOISE_US: [f64; 4] = [2.0, 2.0, 20.0, 20.0];
const COSTS: [&str; 4] = ["spread, µs per row", "one, µs per row", "first page, µs", "last page, µs"];

/// A store and what was appended to it.
struct Filled {
    name: &'static str,
    store: EmbeddedMessages,
    heads: Vec<Seq>,
    next_id: i64,
    /// Conversations appended to in turn while it is filled.
    wide: usize,
    costs: [Vec<f64>; 4],
    _dir: tempfile::TempDir,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let rows = args.next().map_or(1_000, |text| text.parse().expect("thousands of rows, a number")) * 1_000;
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mut stores = Vec::new();
    let start = START * 1_000;
    for (name, rows, wide) in [
        ("empty", 0, 1),
        ("1 × 100", START, 1),
        ("1 × 1,000,000", rows, 1),
        ("1,000 × 100", start, 1_000),
        ("1,000 × 1,000", rows, 1_000),
    ] {
        let mut filled = Filled::open(name, wide, &parent);
        filled.fill(rows).await;
        stores.push(filled);
    }
    for _ in 0..ROUNDS {
        for filled in &mut stores {
            filled.measure().await;
        }
    }
    let names: Vec<_> = stores.iter().map(|store| format!("{:>15}", store.name)).collect();
    println!("{:<20}{}", "", names.join(""));
    let mut grew = false;
    for (n, cost) in COSTS.iter().enumerate() {
        let medians: Vec<f64> = stores.iter_mut().map(|filled| median(&mut filled.costs[n])).collect();
        let cells: Vec<_> = medians.iter().map(|median| format!("{median:>15.1}")).collect();
        println!("{cost:<20}{}", cells.join(""));
        for (start, full, _) in COMPARED.iter().filter(|(.., appends)| n > 1 || n == *appends) {
            let (start, full) = (medians[*start], medians[*full]);
            grew |= full > start * GROWTH_MAX && full > start + NOISE_US[n];
        }
    }
    if grew {
        eprintln!("a cost grew with what is stored");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

impl Filled {
    fn open(name: &'static str, wide: usize, parent: &std::path::Path) -> Self {
        let dir = tempfile::tempdir_in(parent).expect("a directory for the store");
        let database = Database::open(dir.path(), &DatabaseOptions::default()).expect("a store");
        let store = EmbeddedMessages::new(database);
        let heads = vec![Seq::ZERO; 1_000 + GROUP];
        Self { name, store, heads, next_id: 0, wide, costs: Default::default(), _dir: dir }
    }

    async fn fill(&mut self, rows: usize) {
        // All conversations in turn, as real ones grow, in few large groups.
        let size = FILL_GROUP.min(rows);
        for group in 0..rows.checked_div(size).unwrap_or(0) {
            let first = group * size % self.wide;
            let (wide, each) = (self.wide, if self.wide == 1 { size } else { 1 });
            self.append((0..size / each).map(|n| (first + n) % wide), each).await;
        }
    }

    /// Appends `each` rows to each of the conversations, as one group.
    async fn append(&mut self, conversations: impl Iterator<Item = usize>, each: usize) {
        let groups: Vec<_> = conversations
            .map(|n| {
                let head = self.heads[n];
                self.heads[n].0 += each as u64;
                let events = (0..each).map(|_| self.event()).collect();
                Append { conversation: conversation(n), term: Term(1), head, events }
            })
            .collect();
        for result in self.store.append(groups).await.expect("the store") {
            result.expect("the fence");
        }
    }

    fn event(&mut self) -> NewEvent {
        self.next_id += 1;
        NewEvent {
            id: EventId(self.next_id),
            at_ms: 1_800_000_000_000 + self.next_id,
            sender: UserId(self.next_id % 7),
            sender_name: "a sender".into(),
            body: NewBody::Message { client_id: Some(Uuid::now_v7()), content: "0123456789".repeat(10).into() },
        }
    }

    async fn measure(&mut self) {
        let before = cpu();
        for group in 0..ROWS / GROUP {
            // 200 conversations, spread over all there are.
            self.append((0..GROUP).map(move |n| (group * GROUP + n) % 200 * 5), 1).await;
        }
        self.costs[0].push(us(cpu() - before) / ROWS as f64);
        let before = cpu();
        for _ in 0..ROWS / GROUP {
            self.append(std::iter::once(0), GROUP).await;
        }
        self.costs[1].push(us(cpu() - before) / ROWS as f64);
        for (cost, from_end) in [(2, false), (3, true)] {
            let before = cpu();
            for page in 0..PAGES {
                let direction = if from_end { Direction::Before(Seq(u64::MAX)) } else { Direction::After(Seq::ZERO) };
                // Of the long conversation, or of each of the many in turn.
                let of = conversation(if self.wide == 1 { 0 } else { page * 5 % 1_000 });
                let page = self.store.page(of, direction, PAGE, Filter::All).await.expect("a page");
                assert_eq!(page.events.len(), PAGE);
            }
            self.costs[cost].push(us(cpu() - before) / PAGES as f64);
        }
    }
}

fn conversation(n: usize) -> ConversationId {
    // Apart, as real ids are.
    ConversationId((n as i64) << 22)
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the CPU time of all threads of this process so far. Linux.
fn cpu() -> Duration {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|run| run.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanos)
}
