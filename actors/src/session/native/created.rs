//! Which groups were made by which requests, so that a repeat of a `group.create` makes no second one.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use chinwag_schema::{
    ids::{ConversationId, UserId},
    limits::native::REQUEST_ID_KEPT,
};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// Requests remembered at once; beyond it the oldest is forgotten early.
const REQUESTS_MAX: usize = 50_000;

type Key = (UserId, Box<str>);

/// The creations of the last ten minutes on this node, by (user, request id).
#[derive(Default)]
pub struct CreatedGroups(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_request: FxHashMap<Key, ConversationId>,
    /// In the order in which they came.
    ages: VecDeque<(Instant, Key)>,
}

impl CreatedGroups {
    /// Returns the id that the request's group has, which is `new` if this is the first time.
    pub fn id_of(&self, user: UserId, request: &str, new: ConversationId, now: Instant) -> ConversationId {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, _)) = inner.ages.front() {
            if now.saturating_duration_since(*at) < REQUEST_ID_KEPT && inner.ages.len() < REQUESTS_MAX {
                break;
            }
            if let Some((_, key)) = inner.ages.pop_front() {
                inner.by_request.remove(&key);
            }
        }
        let key: Key = (user, request.into());
        if let Some(&known) = inner.by_request.get(&key) {
            return known;
        }
        inner.ages.push_back((now, key.clone()));
        inner.by_request.insert(key, new);
        new
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_keeps_its_group_for_ten_minutes() {
        let groups = CreatedGroups::default();
        let now = Instant::now();
        let id = |user, request, new, at| groups.id_of(UserId(user), request, ConversationId(new), at).0;
        assert_eq!(id(1, "a", 10, now), 10);
        assert_eq!(id(1, "a", 11, now + Duration::from_secs(599)), 10);
        assert_eq!(id(2, "a", 12, now), 12, "another user's request of the same id is another");
        assert_eq!(id(1, "a", 13, now + Duration::from_secs(600)), 13);
    }

    #[test]
    fn no_more_than_the_bound_is_remembered() {
        let groups = CreatedGroups::default();
        let now = Instant::now();
        for n in 0..i64::try_from(REQUESTS_MAX).unwrap() + 10 {
            groups.id_of(UserId(1), &n.to_string(), ConversationId(n), now);
        }
        let inner = groups.0.lock().unwrap();
        assert_eq!((inner.by_request.len(), inner.ages.len()), (REQUESTS_MAX, REQUESTS_MAX));
    }
}
