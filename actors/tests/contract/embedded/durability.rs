//! Kill -9: what was acknowledged is there, once and in order (reliability, L D O).

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chinwag_actors::{
    backends::embedded::EmbeddedMessages,
    ports::message_store::{Append, Appended, MessageStore},
};
use chinwag_schema::{
    event::EventBody,
    ids::{ConversationId, Term},
};
use uuid::Uuid;

use crate::suite::{Log, message};

const CHILD_DIR: &str = "CHINWAG_TEST_CHILD_DIR";
const CONVERSATIONS: i64 = 3;

/// Appends to a few conversations in groups for ever and prints what is acknowledged. Run by the test below, as a process of its own.
#[test]
#[ignore = "the process that the durability test kills"]
fn child_that_appends() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = super::Database::open(dir.as_ref(), &Default::default()).unwrap();
        let store = EmbeddedMessages::new(database);
        let ids: Vec<_> = (1..=CONVERSATIONS).map(ConversationId).collect();
        loop {
            let heads = store.heads(&ids).await.unwrap();
            let groups = ids.iter().zip(&heads).map(|(conversation, head)| {
                let events = (1..=7).map(|n| {
                    let id = head.last_id.0 + n;
                    message(id, 1, Some(id as u128), &format!("text of {conversation} {id}"))
                });
                Append { conversation: *conversation, term: Term(1), head: head.seq, events: events.collect() }
            });
            let groups: Vec<_> = groups.collect();
            let results = store.append(groups.clone()).await.unwrap();
            for (group, result) in groups.iter().zip(results) {
                for appended in result.unwrap() {
                    let Appended::New { event, .. } = appended else { panic!("{appended:?}") };
                    println!("ack {} {} {}", group.conversation, event.seq, event.id);
                }
            }
        }
    });
}

#[test]
fn kill_9_loses_and_repeats_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(i64, u64, i64)> = Vec::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::durability::child_that_appends", "--ignored", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let pid = child.id();
        let heard = Arc::new(AtomicUsize::new(0));
        let count = heard.clone();
        let reader = std::thread::spawn(move || {
            let acks = output.lines().map_while(Result::ok).filter_map(|line| {
                count.fetch_add(1, Ordering::Relaxed);
                let mut words = line.strip_prefix("ack ")?.split(' ').map(str::to_owned);
                // The last line may have been cut off by the kill: then it wasn't heard.
                Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
            });
            acks.collect::<Vec<(i64, u64, i64)>>()
        });
        let begun = Instant::now();
        while heard.load(Ordering::Relaxed) < 100 {
            assert!(begun.elapsed() < Duration::from_secs(30), "the child appends nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Random enough: the phase against the commits differs each time.
        std::thread::sleep(Duration::from_millis(rand::random_range(0..250)));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut acks = reader.join().unwrap();
        // An id that was cut in the middle of its digits.
        acks.pop();
        println!("round {round}: process {pid} was killed after {} acknowledgements", acks.len());
        assert!(acks.len() > 20, "an empty round shows nothing");
        acknowledged.extend(acks);
        verify(&dir, &acknowledged);
    }
}

fn verify(dir: &tempfile::TempDir, acknowledged: &[(i64, u64, i64)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = EmbeddedMessages::new(super::open(dir));
        for conversation in 1..=CONVERSATIONS {
            let mut log = Log::new(&store, conversation);
            log.head = store.heads(&[log.conversation]).await.unwrap()[0].seq;
            let mut rows = Vec::new();
            loop {
                use chinwag_actors::ports::message_store::{Direction, Filter};
                let after = rows.last().map_or(Default::default(), |event: &chinwag_schema::event::LogEvent| event.seq);
                let page = store.page(log.conversation, Direction::After(after), 1000, Filter::All).await.unwrap();
                rows.extend(page.events);
                if page.complete {
                    break;
                }
            }
            assert_eq!(rows.len() as u64, log.head.0, "the head is the last row");
            for (n, row) in rows.iter().enumerate() {
                assert_eq!(row.seq.0, n as u64 + 1, "no holes");
                assert_eq!((row.messages, row.own), (n as u64 + 1, n as u64 + 1));
                let EventBody::Message(body) = &row.body else { panic!("{row:?}") };
                assert_eq!(body.client_id, Some(Uuid::from_u128(row.id.0 as u128)));
                assert_eq!(*body.content, format!("text of {conversation} {}", row.id));
            }
            assert!(rows.windows(2).all(|two| two[0].id < two[1].id), "once, in order");
            for (_, seq, id) in acknowledged.iter().filter(|ack| ack.0 == conversation) {
                let row = rows.get(*seq as usize - 1).expect("an acknowledged row is missing");
                assert_eq!(row.id.0, *id);
            }
        }
    });
}
