//! Tickets: what a browser puts into the URL of a socket instead of its token. Each works once, for 30 s at most.
//!
//! On a lone node a ticket is a random number, and what it stands for is kept here. In a cluster, where the socket may go to another
//! node than the request for its ticket, it is a signed text (`tokens.rs`), and only which ones were spent is kept: one that was
//! stolen on its way works at each node once, within its 30 s.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::UserId,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::tokens::Identity;
use crate::hex;

/// How long a ticket lives.
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Unspent tickets at once: 10,000 clients that reconnect together get one each.
const TICKETS_MAX: usize = 20_000;
/// Unspent tickets of one user.
const TICKETS_PER_USER_MAX: usize = 32;

struct Ticket {
    identity: Identity,
    expires: Instant,
}

#[derive(Default)]
struct Inner {
    /// By hash, so that looking one up tells nothing by its time.
    tickets: HashMap<[u8; 32], Ticket>,
    /// All live the same time: the front expires first.
    order: VecDeque<([u8; 32], Instant, UserId)>,
    per_user: HashMap<UserId, usize>,
    /// Ids of signed tickets that were spent here, and when each expires anyway.
    spent: HashSet<String>,
    spent_order: VecDeque<(String, Instant)>,
}

impl Inner {
    /// Forgets what expired.
    fn purge(&mut self, now: Instant) {
        while self.spent_order.front().is_some_and(|(_, expires)| *expires <= now) {
            if let Some((id, _)) = self.spent_order.pop_front() {
                self.spent.remove(&id);
            }
        }
        while let Some(&(hash, expires, user)) = self.order.front() {
            if expires > now {
                break;
            }
            self.order.pop_front();
            self.tickets.remove(&hash);
            if let Some(count) = self.per_user.get_mut(&user) {
                *count -= 1;
                if *count == 0 {
                    self.per_user.remove(&user);
                }
            }
        }
    }
}

/// The tickets of this node.
#[derive(Default)]
pub struct Tickets {
    inner: Mutex<Inner>,
}

impl Tickets {
    /// Issues a ticket for this identity.
    ///
    /// # Errors
    /// `RateLimited` when this user has 32, or all users 20,000, that have not expired.
    pub fn issue(&self, identity: Identity, now: Instant) -> Result<String, ClientError> {
        let bytes = hex::random_32();
        let (user, hash) = (identity.user, Sha256::digest(bytes).into());
        self.count(user, hash, now)?.tickets.insert(hash, Ticket { identity, expires: now + TICKET_TTL });
        Ok(hex::encode(&bytes))
    }

    /// Counts a signed ticket for this user.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn count_signed(&self, user: UserId, now: Instant) -> Result<(), ClientError> {
        self.count(user, [0; 32], now).map(|_| ())
    }

    fn count(&self, user: UserId, hash: [u8; 32], now: Instant) -> Result<MutexGuard<'_, Inner>, ClientError> {
        let mut inner = self.lock();
        inner.purge(now);
        let mine = inner.per_user.get(&user).copied().unwrap_or(0);
        if mine >= TICKETS_PER_USER_MAX || inner.order.len() >= TICKETS_MAX {
            let wait = inner.order.front().map_or(TICKET_TTL, |(_, expires, _)| *expires - now);
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            return Err(ClientError::new(ErrorCode::RateLimited, "Too many unspent tickets").retry_after_ms(ms));
        }
        *inner.per_user.entry(user).or_default() += 1;
        inner.order.push_back((hash, now + TICKET_TTL, user));
        Ok(inner)
    }

    /// Notes that a signed ticket is spent; false when it was already, or when too many are.
    pub fn spend_signed(&self, id: String, now: Instant) -> bool {
        let mut inner = self.lock();
        inner.purge(now);
        if inner.spent.len() >= TICKETS_MAX || !inner.spent.insert(id.clone()) {
            return false;
        }
        // Longer than it lives: the clock that it was signed by may be behind.
        inner.spent_order.push_back((id, now + TICKET_TTL * 2));
        true
    }

    /// Spends a ticket; `None` when it is unknown, spent or expired.
    pub fn spend(&self, text: &str, now: Instant) -> Option<Identity> {
        if text.len() != 64 {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(hex::decode(text)?).into();
        // Its place in `order` stays until it would have expired: spending doesn't renew the user's allowance.
        let ticket = self.lock().tickets.remove(&hash)?;
        (ticket.expires > now).then_some(ticket.identity)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: i64) -> Identity {
        Identity {
            user: UserId(user),
            name: "ann".into(),
            jti: "j".into(),
            family: 1,
            issued_at_ms: 0,
            expires_at_ms: 1,
        }
    }

    #[test]
    fn a_ticket_works_once() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.issue(identity(1), now).unwrap();
        assert_eq!(tickets.spend(&ticket, now).unwrap().user, UserId(1));
        assert_eq!(tickets.spend(&ticket, now), None);
        assert_eq!(tickets.spend("nonsense", now), None);
        assert_eq!(tickets.spend(&"é".repeat(32), now), None);
    }

    #[test]
    fn a_signed_ticket_works_once_here_and_is_forgotten_when_it_has_expired() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        assert!(tickets.spend_signed("a".into(), now));
        assert!(!tickets.spend_signed("a".into(), now + TICKET_TTL));
        assert!(tickets.spend_signed("b".into(), now + TICKET_TTL * 2));
        assert_eq!(tickets.lock().spent.len(), 1, "the first one is forgotten");
        for _ in 0..TICKETS_PER_USER_MAX {
            tickets.count_signed(UserId(1), now).unwrap();
        }
        assert!(tickets.count_signed(UserId(1), now).is_err(), "as many as of the other kind");
    }

    #[test]
    fn a_ticket_expires_after_thirty_seconds() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let (early, late) = (tickets.issue(identity(1), now).unwrap(), tickets.issue(identity(1), now).unwrap());
        assert!(tickets.spend(&early, now + Duration::from_millis(29_999)).is_some());
        assert_eq!(tickets.spend(&late, now + TICKET_TTL), None);
    }

    #[test]
    fn tickets_are_bounded_per_user_and_in_all() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        for _ in 0..TICKETS_PER_USER_MAX {
            tickets.issue(identity(1), now).unwrap();
        }
        assert_eq!(tickets.issue(identity(1), now).unwrap_err().retry_after_ms, Some(30_000));
        for user in 0..TICKETS_MAX - TICKETS_PER_USER_MAX {
            tickets.issue(identity(2 + user as i64), now).unwrap();
        }
        assert_eq!(tickets.issue(identity(-1), now).unwrap_err().code, ErrorCode::RateLimited);
        assert!(tickets.issue(identity(1), now + TICKET_TTL).is_ok());
        assert_eq!(tickets.lock().tickets.len(), 1, "the expired ones are gone");
    }
}
