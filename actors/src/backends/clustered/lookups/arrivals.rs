//! What the filter is made from: all names, and those that came since.

use async_trait::async_trait;
use chinwag_schema::{ids::UserId, model::Name};

use crate::ports::StoreResult;

/// An account, and in which transaction it was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub added_in: i64,
    pub id: UserId,
    pub name: Name,
}

/// How far the additions had come when a statement looked (its snapshot).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which life of which server this is: numbers of transactions of two lives don't compare.
    pub life: i64,
    /// All transactions with smaller numbers have ended.
    pub settled: i64,
    /// The largest number among the accounts that the statement saw; 0 for none.
    pub newest: i64,
}

impl Standing {
    /// Returns the number from which on accounts may appear that this statement didn't see. Whatever it saw is durable, so after a crash
    /// the server, which may give numbers again that left no trace, goes on behind `newest`.
    pub fn next(self) -> i64 {
        self.settled.min(self.newest.saturating_add(1))
    }

    /// Says whether `later` can have come after this in one life of a server. What can't is another server, or one that was put back.
    pub fn goes_on_as(self, later: Self) -> bool {
        later.life == self.life && later.settled >= self.settled && later.newest >= self.newest
    }
}

/// The accounts as the filter reads them. Accounts are never removed or renamed.
#[async_trait]
pub trait Arrivals: Send + Sync + 'static {
    /// Pages all names by ascending id.
    async fn names(&self, after: UserId, limit: usize) -> StoreResult<Vec<(UserId, Name)>>;

    /// Pages the accounts by ascending (`added_in`, id), those added before there were such numbers left out; and says how far the
    /// additions have come. One statement: both are of the same moment.
    async fn arrived(&self, after: (i64, UserId), limit: usize) -> StoreResult<(Standing, Vec<Arrival>)>;
}
