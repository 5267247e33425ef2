//! The directory and the account store, as one node reaches them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use chinwag_actors::{
    backends::embedded::EmbeddedDirectory,
    cluster::shards::Terms,
    ports::{
        StoreError, StoreResult,
        directory::{Directory, NodeLease, Owner, Renewed},
    },
};
use chinwag_schema::{
    ids::{NodeId, Shard, Term, UserId},
    model::Name,
};
use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;

/// How the directory is for one node, or for all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Fine,
    /// Every call fails at once.
    Refused,
    /// Nothing can be written.
    ReadOnly,
    /// Every call hangs and does nothing.
    Silent,
    /// The next renewal does its work, and its answer waits; then as `Silent`.
    AnswerHeld,
}

/// The directory as one node reaches it.
pub struct Line {
    pub inner: Arc<Mutex<Arc<EmbeddedDirectory>>>,
    pub reach: Arc<AtomicU8>,
    pub thawed: Arc<Notify>,
}

impl Line {
    fn reach(&self) -> Reach {
        [Reach::Fine, Reach::Refused, Reach::ReadOnly, Reach::Silent, Reach::AnswerHeld]
            [usize::from(self.reach.load(SeqCst))]
    }

    async fn to(&self) -> StoreResult<Arc<EmbeddedDirectory>> {
        match self.reach() {
            Reach::Fine | Reach::ReadOnly | Reach::AnswerHeld => Ok(self.inner.lock().unwrap().clone()),
            Reach::Refused => Err(StoreError::Unavailable("refused".into())),
            Reach::Silent => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Directory for Line {
    async fn renew_node(&self, node: NodeLease, lease: Duration) -> StoreResult<Renewed> {
        if self.reach() == Reach::ReadOnly {
            return Err(StoreError::Unavailable("read only".into()));
        }
        self.to().await?.renew_node(node, lease).await
    }

    async fn leave(&self, node: NodeLease) -> StoreResult<()> {
        self.to().await?.leave(node).await
    }

    async fn nodes(&self) -> StoreResult<Vec<NodeLease>> {
        self.to().await?.nodes().await
    }

    async fn claim_shards(&self, claims: &[(Shard, Owner)], lease: Duration) -> StoreResult<Vec<Owner>> {
        let holders = self.to().await?.claim_shards(claims, lease).await;
        if self.reach() == Reach::AnswerHeld {
            self.thawed.notified().await;
        }
        holders
    }

    async fn release_shards(&self, shards: &[(Shard, Owner)]) -> StoreResult<()> {
        self.to().await?.release_shards(shards).await
    }

    async fn owners(&self) -> StoreResult<Vec<(Shard, Owner)>> {
        self.to().await?.owners().await
    }

    async fn put_users(&self, _: NodeLease, _: &[(UserId, bool)]) -> StoreResult<()> {
        unreachable!("a keeper knows no users")
    }

    async fn locate_users(&self, _: &[UserId]) -> StoreResult<Vec<Vec<NodeId>>> {
        unreachable!("a keeper knows no users")
    }

    async fn hold_guest_names(&self, _: &[(Name, UserId)], _: Duration) -> StoreResult<Vec<UserId>> {
        unreachable!("a keeper knows no guests")
    }

    async fn guest_name_holder(&self, _: &str) -> StoreResult<Option<UserId>> {
        unreachable!("a keeper knows no guests")
    }

    async fn release_guest_name(&self, _: &str, _: UserId) -> StoreResult<()> {
        unreachable!("a keeper knows no guests")
    }

    async fn ping(&self) -> StoreResult<()> {
        self.to().await?.ping().await
    }
}

/// The account store's terms, for all nodes or as one node gets none.
#[derive(Clone, Default)]
pub struct FakeTerms {
    pub given: Arc<Mutex<BTreeMap<Shard, u64>>>,
    pub fails: Arc<Mutex<bool>>,
}

impl FakeTerms {
    pub fn given(&self, shard: Shard) -> Term {
        Term(self.given.lock().unwrap().get(&shard).copied().unwrap_or(0))
    }
}

impl Terms for FakeTerms {
    fn next_terms(&self, shards: Vec<Shard>) -> LocalBoxFuture<'static, StoreResult<Vec<Term>>> {
        let result = if *self.fails.lock().unwrap() {
            Err(StoreError::Unavailable("no terms".into()))
        } else {
            let mut given = self.given.lock().unwrap();
            Ok(shards
                .into_iter()
                .map(|shard| {
                    let term = given.entry(shard).or_default();
                    *term += 1;
                    Term(*term)
                })
                .collect())
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            result
        })
    }

    fn raise_terms(&self, terms: Vec<(Shard, Term)>) -> LocalBoxFuture<'static, StoreResult<()>> {
        let mut given = self.given.lock().unwrap();
        for (shard, term) in terms {
            let known = given.entry(shard).or_default();
            *known = (*known).max(term.0);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
