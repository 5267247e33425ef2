//! What a durable append costs: rows per second, CPU per row, and this disk's fdatasync in the same run.
//!
//! `cargo run --release -p chinwag-actors --example append_bench [SECONDS PER CASE] [DIRECTORY] [GROUP SIZE]`
//!
//! Each case appends groups of 100-byte messages with client ids, one group in flight, either spread over as many conversations (one
//! message each, as 1:1 traffic does) or all to one. CPU is that of the whole process, checkpoints included, minus making the events.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chinwag_actors::{
    backends::embedded::{Database, DatabaseOptions, EmbeddedMessages},
    ports::message_store::{Append, MessageStore, NewBody, NewEvent},
};
use chinwag_schema::ids::{ConversationId, EventId, Seq, Term, UserId};
use uuid::Uuid;

/// Conversations over which the spread case rotates.
const CONVERSATIONS: usize = 200;

fn main() {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(2.0, |text| text.parse().expect("seconds per case, a number"));
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let sizes = args.next().map_or(vec![1, 10, 50, 200], |text| vec![text.parse().expect("a group size, a number")]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    println!(
        "{:>6} {:>14} {:>10} {:>12} {:>13} {:>14}",
        "group", "conversations", "rows/s", "CPU µs/row", "ms per group", "fdatasync ms"
    );
    for spread in [true, false] {
        for &size in &sizes {
            let dir = tempfile::tempdir_in(&parent).expect("a directory for the store");
            runtime.block_on(case(dir.path(), size, spread, Duration::from_secs_f64(seconds)));
        }
    }
}

async fn case(dir: &Path, size: usize, spread: bool, time: Duration) {
    let database = Database::open(dir, &DatabaseOptions::default()).expect("a store");
    let store = EmbeddedMessages::new(database);
    let sync_ms = median_fdatasync_ms(dir);
    let mut heads = vec![Seq::ZERO; CONVERSATIONS];
    let (mut next_id, mut groups_done) = (0, 0);
    let mut making = Duration::ZERO;
    let (begun, cpu_before) = (Instant::now(), cpu());
    while begun.elapsed() < time {
        let made = Instant::now();
        let mut events = (0..size).map(|_| {
            next_id += 1;
            event(next_id)
        });
        let groups: Vec<_> = if spread {
            events
                .enumerate()
                .map(|(n, event)| append(&heads, (groups_done * size + n) % CONVERSATIONS, vec![event]))
                .collect()
        } else {
            vec![append(&heads, 0, events.by_ref().collect())]
        };
        making += made.elapsed();
        let lengths: Vec<_> =
            groups.iter().map(|group| (group.conversation.0 as usize, group.events.len() as u64)).collect();
        for (result, (conversation, length)) in store.append(groups).await.expect("the store").into_iter().zip(lengths)
        {
            result.expect("the fence");
            heads[conversation].0 += length;
        }
        groups_done += 1;
    }
    let (wall, cpu) = (begun.elapsed(), cpu() - cpu_before - making);
    let rows = groups_done * size;
    println!(
        "{size:>6} {:>14} {:>10.0} {:>12.1} {:>13.2} {sync_ms:>14.2}",
        if spread { "spread" } else { "one" },
        rows as f64 / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / rows as f64,
        wall.as_secs_f64() * 1e3 / groups_done as f64,
    );
}

fn append(heads: &[Seq], conversation: usize, events: Vec<NewEvent>) -> Append {
    Append { conversation: ConversationId(conversation as i64), term: Term(1), head: heads[conversation], events }
}

fn event(id: i64) -> NewEvent {
    NewEvent {
        id: EventId(id),
        at_ms: 1_800_000_000_000 + id,
        sender: UserId(id % 7),
        sender_name: "a sender".into(),
        body: NewBody::Message { client_id: Some(Uuid::now_v7()), content: "0123456789".repeat(10).into() },
    }
}

/// Returns the CPU time of this process so far. Linux.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<u64>().expect("ticks");
    // utime and stime, in ticks of 10 ms.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn median_fdatasync_ms(dir: &Path) -> f64 {
    let mut file = File::create(dir.join("sync")).expect("a file");
    let mut times: Vec<_> = (0..51)
        .map(|_| {
            file.write_all(&[0; 4096]).expect("a write");
            let begun = Instant::now();
            file.sync_data().expect("fdatasync");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
