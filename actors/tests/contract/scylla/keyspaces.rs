//! Keyspaces of tests.
//!
//! To make one takes seconds, so a few are kept on the server, also between runs, and lent to one test at a time. Each borrower finds its
//! conversations under numbers that no other has had ([`Salted`]), and the retention's list empty. What tests of opening make is dropped.

use std::{
    fs::File,
    sync::atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use chinwag_actors::ports::{
    StoreResult,
    message_store::{Append, Appended, Direction, Filter, MessageStore, Page},
};
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, Epoch, EventId, Seq, Term, UserId},
    model::Head,
};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use sha2::{Digest, Sha256};

const SCHEMA: &str = include_str!("../../../../migrations/scylla/00000000000001_first.cql");

/// Returns the servers' addresses.
pub fn servers() -> Vec<String> {
    let servers = std::env::var("TEST_SCYLLA").expect("TEST_SCYLLA names a Scylla or Cassandra, host:port");
    servers.split(',').map(|one| one.trim().to_owned()).collect()
}

/// Opens a session of the test's own.
pub async fn session(keyspace: &str) -> Session {
    SessionBuilder::new().known_nodes(servers()).use_keyspace(keyspace, true).build().await.unwrap()
}

/// A keyspace that this test has to itself.
pub struct Lease {
    pub name: String,
    /// Made now, and gone afterwards; otherwise locked until the test, or its process, ends.
    lock: Option<File>,
}

impl Lease {
    /// Borrows a keyspace with buckets of this size.
    pub fn borrow(bucket_events: u32) -> Self {
        // Other servers and other schemas have other keyspaces.
        let of = Sha256::digest(format!("{:?} {SCHEMA}", servers()));
        let of: String = of[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        for number in 0.. {
            let name = format!("test_{of}_{bucket_events}_{number}");
            let lock = File::create(std::env::temp_dir().join(format!("chinwag-{name}.lock"))).unwrap();
            if lock.try_lock().is_ok() {
                return Self { name, lock: Some(lock) };
            }
        }
        unreachable!("there are more keyspaces than tests")
    }

    /// Takes a name that nobody has.
    pub fn fresh() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { name: format!("test_fresh_{process}_{number}_{:08x}", rand::random::<u32>()), lock: None }
    }

    /// Forgets the conversations of earlier borrowers.
    pub async fn clean(&self) {
        let session = session(&self.name).await;
        let rows = session.query_unpaged("SELECT day, slot, at_ms, conversation FROM ages", &[]).await.unwrap();
        let rows = rows.into_rows_result().unwrap();
        let remove = "DELETE FROM ages WHERE day = ? AND slot = ? AND at_ms = ? AND conversation = ?";
        let remove = session.prepare(remove).await.unwrap();
        for row in rows.rows::<(i64, i8, i64, i64)>().unwrap() {
            session.execute_unpaged(&remove, row.unwrap()).await.unwrap();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.lock.is_some() {
            return;
        }
        let name = self.name.clone();
        // A test's runtime can't wait here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                if let Ok(session) = SessionBuilder::new().known_nodes(servers()).build().await {
                    let _ = session.query_unpaged(format!("DROP KEYSPACE IF EXISTS {name}"), &[]).await;
                }
            });
        });
        let _ = dropped.join();
    }
}

/// A store whose conversations are stored under other numbers.
pub struct Salted<S> {
    pub store: S,
    pub salt: i64,
}

impl<S> Salted<S> {
    /// Returns the number under which a conversation is stored.
    pub fn id(&self, conversation: ConversationId) -> ConversationId {
        ConversationId(self.salt + conversation.0)
    }
}

#[async_trait]
impl<S: MessageStore> MessageStore for Salted<S> {
    async fn epoch(&self) -> StoreResult<Epoch> {
        self.store.epoch().await
    }

    async fn claim(&self, conversation: ConversationId, term: Term) -> StoreResult<Head> {
        self.store.claim(self.id(conversation), term).await
    }

    async fn append(&self, mut groups: Vec<Append>) -> StoreResult<Vec<StoreResult<Vec<Appended>>>> {
        for group in &mut groups {
            group.conversation = self.id(group.conversation);
        }
        self.store.append(groups).await
    }

    async fn page(
        &self,
        conversation: ConversationId,
        direction: Direction,
        limit: usize,
        filter: Filter,
    ) -> StoreResult<Page> {
        self.store.page(self.id(conversation), direction, limit, filter).await
    }

    async fn find(&self, conversation: ConversationId, id: EventId) -> StoreResult<Option<LogEvent>> {
        self.store.find(self.id(conversation), id).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> StoreResult<Vec<Head>> {
        let ids: Vec<_> = conversations.iter().map(|id| self.id(*id)).collect();
        self.store.heads(&ids).await
    }

    async fn own_totals(&self, user: UserId, conversations: &[ConversationId]) -> StoreResult<Vec<u64>> {
        let ids: Vec<_> = conversations.iter().map(|id| self.id(*id)).collect();
        self.store.own_totals(user, &ids).await
    }

    async fn totals_at(&self, conversation: ConversationId, user: UserId, upto: Seq) -> StoreResult<(u64, u64)> {
        self.store.totals_at(self.id(conversation), user, upto).await
    }

    async fn remove_older_than(&self, cutoff_ms: i64, limit: usize) -> StoreResult<usize> {
        self.store.remove_older_than(cutoff_ms, limit).await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.store.ping().await
    }
}
