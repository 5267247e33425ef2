//! Measures the accounts on Postgres beside those on SQLite: look-ups of logins, memberships of who connects, cursors.
//!
//! ```sh
//! TEST_POSTGRES_URL=postgres://… cargo run --release -p chinwag-actors --example account_bench [SECONDS]
//! ```
//! It fills an empty database (it stays filled) and a temporary directory with 2,000 users in 20 groups of 100 and a chat each.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use chinwag_actors::{
    backends::{
        clustered::postgres::{PostgresAccounts, PostgresOptions},
        embedded::{Database, DatabaseOptions, EmbeddedAccounts},
    },
    ports::account_store::{AccountStore, MemberRow},
};
use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    model::{Conversation, ConversationKind, Cursor, Mark, Member, MemberState, Role, User},
};
use futures_util::future::join_all;

const USERS: i64 = 2_000;
const GROUPS: i64 = 20;
const CURSORS: i64 = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let time = Duration::from_secs_f64(seconds);
    let dir = std::env::temp_dir().join(format!("account-bench-{}", std::process::id()));
    let database = Database::open(&dir, &DatabaseOptions::default()).expect("a temporary directory");
    measure("SQLite", Arc::new(EmbeddedAccounts::new(database)), time).await;
    std::fs::remove_dir_all(&dir).expect("it was made above");
    let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names an empty database");
    let postgres = PostgresAccounts::connect(&PostgresOptions::new(url)).await.expect("a connection");
    measure("Postgres", Arc::new(postgres), time).await;
}

async fn measure(name: &str, store: Arc<dyn AccountStore>, time: Duration) {
    let begun = Instant::now();
    fill(&*store).await;
    println!("{name}: filled in {:.1?}", begun.elapsed());
    for at_once in [1, 16, 64] {
        let store = &*store;
        let look_ups = rate(at_once, time, |n| async move {
            assert!(store.credentials(&format!("user {}", 1 + n % USERS)).await.expect("an answer").is_some());
        });
        let look_ups = look_ups.await;
        let connects = rate(at_once, time, |n| async move {
            let user = UserId(1 + n % USERS);
            let (page, users) = store.memberships_and_users(user, ConversationId(0), 500).await.expect("an answer");
            assert_eq!((page.len(), users.len()), (2, 2));
        });
        println!("  {at_once:>2} at once: {look_ups:>8.0} logins' look-ups/s, {:>8.0} connects/s", connects.await);
    }
    let mut took = Vec::new();
    let until = Instant::now() + time;
    let mut seq = 0;
    while Instant::now() < until {
        seq += 1;
        let mark = Mark { seq: Seq(seq), messages: seq, own: 0 };
        let cursors: Vec<_> = (0..CURSORS)
            .map(|n| (ConversationId(1 + n % GROUPS), UserId(1 + n), Cursor { delivered: mark, read: mark }))
            .collect();
        let begun = Instant::now();
        store.put_cursors(&cursors).await.expect("stored");
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    println!("  put_cursors of {CURSORS}: median {:.1?} of {}", took[took.len() / 2], took.len());
}

/// Returns how many times a second `work` was done, by so many at once.
async fn rate<F: Future<Output = ()>>(at_once: i64, time: Duration, work: impl Fn(i64) -> F) -> f64 {
    let until = Instant::now() + time;
    let work = &work;
    let one = |n: i64| async move {
        let mut done = 0;
        while Instant::now() < until {
            work(n * 7919 + done).await;
            done += 1;
        }
        done
    };
    let done: i64 = join_all((0..at_once).map(one)).await.into_iter().sum();
    done as f64 / time.as_secs_f64()
}

async fn fill(store: &dyn AccountStore) {
    let name = |id: i64| format!("user {id}");
    let ids: Vec<_> = (1..=USERS).collect();
    for some in ids.chunks(64) {
        let created = some.iter().map(|&id| async move {
            let user = User {
                id: UserId(id),
                name: name(id).into(),
                display_name: None,
                created_at_ms: 0,
                last_seen_ms: None,
                banned: false,
            };
            store.create_user(&user, "hash").await.expect("an empty database");
        });
        join_all(created).await;
    }
    for id in 1..=GROUPS {
        let group = Conversation {
            id: ConversationId(id),
            kind: ConversationKind::Group,
            name: Some("group".into()),
            created_by: UserId(1),
            created_at_ms: 0,
            pair: None,
        };
        store.create_conversation(&group).await.expect("a group");
    }
    for some in ids.chunks(64) {
        let joined = some.iter().map(|&id| async move {
            let member = Member { user: UserId(id), name: name(id).into() };
            let row = MemberRow { member, role: Role::Member, state: MemberState::Settled };
            store.put_member(ConversationId(1 + (id - 1) % GROUPS), &row).await.expect("a member");
            if id % 2 == 1 {
                let pair = [id, id + 1].map(|id| Member { user: UserId(id), name: name(id).into() });
                let chat = Conversation {
                    id: ConversationId(1_000 + id),
                    kind: ConversationKind::Direct,
                    name: None,
                    created_by: UserId(id),
                    created_at_ms: 0,
                    pair: Some(pair),
                };
                store.open_direct(&chat).await.expect("a chat");
            }
        });
        join_all(joined).await;
    }
}
