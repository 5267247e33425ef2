//! Who is registered where: the users' keys, and keeping them while their node lives.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chinwag_schema::{
    ids::UserId,
    limits::cluster::{NODES_PER_USER_MAX, REGISTRATION_KEPT, USERS_PER_ROUND_TRIP},
};
use fred::prelude::{Error, Value};
use futures_util::future::try_join_all;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{
    keys::{Keys, USER_BUCKETS, lease_text, user_bucket},
    link::Connection,
    scripts::Script,
};
use crate::ports::directory::NodeLease;

/// Everybody is renewed once in this time: two renewals may fail before anything is lost.
const RENEW_WITHIN: Duration = Duration::from_secs(REGISTRATION_KEPT.as_secs() / 3);

/// What is noted about a user, as `put_users.lua` reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    Here,
    Gone,
    /// Here still: nothing happens if the user has gone meanwhile.
    Renew,
}

impl Note {
    const fn text(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Gone => "gone",
            Self::Renew => "renew",
        }
    }
}

/// Puts users' keys: one script per bucket, all sent together.
pub(super) async fn put(
    connection: &Connection,
    keys: &Keys,
    node: NodeLease,
    users: impl IntoIterator<Item = (UserId, Note)>,
) -> Result<(), Error> {
    let head = || {
        let kept_s = REGISTRATION_KEPT.as_secs().to_string();
        vec![lease_text(node).into(), kept_s.into(), NODES_PER_USER_MAX.to_string().into()]
    };
    let mut buckets: FxHashMap<usize, (Vec<String>, Vec<Value>)> = FxHashMap::default();
    for (user, note) in users {
        let (names, args) = buckets.entry(user_bucket(user)).or_insert_with(|| (Vec::new(), head()));
        names.push(keys.user(user));
        args.push(Value::from_static_str(note.text()));
    }
    try_join_all(buckets.into_values().map(|(names, args)| connection.call(Script::PutUsers, names, args))).await?;
    Ok(())
}

/// Reads users' keys, in the order asked for: one `MGET` per bucket, all sent together.
pub(super) async fn read(connection: &Connection, keys: &Keys, users: &[UserId]) -> Result<Vec<Option<String>>, Error> {
    use fred::interfaces::KeysInterface as _;

    let mut buckets: Vec<Vec<usize>> = vec![Vec::new(); USER_BUCKETS];
    for (index, &user) in users.iter().enumerate() {
        buckets[user_bucket(user)].push(index);
    }
    buckets.retain(|bucket| !bucket.is_empty());
    let reads = buckets.iter().map(|bucket| {
        let names: Vec<String> = bucket.iter().map(|&index| keys.user(users[index])).collect();
        connection.client.mget::<Vec<Option<String>>, _>(names)
    });
    let values = try_join_all(reads).await?;
    let mut found = vec![None; users.len()];
    for (index, value) in buckets.into_iter().flatten().zip(values.into_iter().flatten()) {
        found[index] = value;
    }
    Ok(found)
}

/// The users registered from here, to be renewed little by little. About 50 bytes per user with sockets here.
#[derive(Default)]
pub(super) struct Registrations(Mutex<HashMap<NodeLease, Registered>>);

struct Registered {
    users: BTreeSet<UserId>,
    /// The last one renewed: renewing goes round in order of ids.
    last: UserId,
    renewed: Instant,
}

impl Registrations {
    fn of_nodes(&self) -> MutexGuard<'_, HashMap<NodeLease, Registered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, node: NodeLease, users: &[(UserId, bool)], now: Instant) {
        let mut nodes = self.of_nodes();
        let registered = nodes.entry(node).or_insert_with(|| Registered {
            users: BTreeSet::new(),
            last: UserId(i64::MIN),
            renewed: now,
        });
        for (user, present) in users {
            if *present {
                registered.users.insert(*user);
            } else {
                registered.users.remove(user);
            }
        }
    }

    pub(super) fn forget(&self, node: NodeLease) {
        self.of_nodes().remove(&node);
    }

    /// Returns the users to renew now: their share of the time since the last call.
    pub(super) fn due(&self, node: NodeLease, now: Instant) -> Vec<UserId> {
        let mut nodes = self.of_nodes();
        let Some(registered) = nodes.get_mut(&node) else { return Vec::new() };
        let passed = now.duration_since(registered.renewed).as_secs_f64() / RENEW_WITHIN.as_secs_f64();
        let share = (registered.users.len() as f64 * passed.min(1.0)).ceil() as usize;
        registered.renewed = now;
        let share = share.min(USERS_PER_ROUND_TRIP);
        let after = registered.users.range((Bound::Excluded(registered.last), Bound::Unbounded));
        let due: Vec<UserId> = after.chain(&registered.users).take(share).copied().collect();
        registered.last = due.last().copied().unwrap_or(registered.last);
        due
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chinwag_schema::ids::{Incarnation, NodeId};

    use super::*;

    const NODE: NodeLease = NodeLease { node: NodeId(1), incarnation: Incarnation(1) };

    fn put(registrations: &Registrations, users: impl IntoIterator<Item = i64>, present: bool, now: Instant) {
        let users: Vec<_> = users.into_iter().map(|id| (UserId(id), present)).collect();
        registrations.note(NODE, &users, now);
    }

    #[test]
    fn everybody_is_renewed_well_before_the_registration_ends() {
        let registrations = Registrations::default();
        let mut now = Instant::now();
        put(&registrations, 0..100_000, true, now);
        let mut renewed = HashSet::new();
        let end = now + RENEW_WITHIN;
        while now < end {
            now += Duration::from_secs(3);
            let due = registrations.due(NODE, now);
            assert!(due.len() <= 251, "{} at once", due.len());
            renewed.extend(due);
        }
        assert_eq!(renewed.len(), 100_000);
    }

    #[test]
    fn those_who_left_are_not_renewed_and_newcomers_are() {
        let registrations = Registrations::default();
        let start = Instant::now();
        assert!(registrations.due(NODE, start).is_empty());
        put(&registrations, [1, 2, 3, 4], true, start);
        put(&registrations, [2], false, start);
        assert_eq!(registrations.due(NODE, start + RENEW_WITHIN / 3), [UserId(1)]);
        put(&registrations, [0, 2], true, start);
        let due = registrations.due(NODE, start + 4 * RENEW_WITHIN);
        assert_eq!(due, [2, 3, 4, 0, 1].map(UserId));
        registrations.forget(NODE);
        assert!(registrations.due(NODE, start + 8 * RENEW_WITHIN).is_empty());
    }

    #[test]
    fn after_a_long_pause_one_call_does_not_renew_without_bound() {
        let registrations = Registrations::default();
        let start = Instant::now();
        put(&registrations, 0..3 * USERS_PER_ROUND_TRIP as i64, true, start);
        assert_eq!(registrations.due(NODE, start + 9 * RENEW_WITHIN).len(), USERS_PER_ROUND_TRIP);
    }
}
