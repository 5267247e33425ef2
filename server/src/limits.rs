//! How many sockets one user and one address may have open on this node.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::UserId,
};

use crate::{config::Config, http::ClientAddr};

/// Counts what is open per key; a key without anything open costs nothing.
struct Open<K> {
    max: usize,
    counts: Mutex<HashMap<K, usize>>,
}

impl<K: Hash + Eq + Copy> Open<K> {
    fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, key: K, what: &str) -> Result<Place<K>, ClientError> {
        let mut counts = self.counts();
        let count = counts.entry(key).or_default();
        if *count >= self.max {
            let text = format!("Too many connections of this {what}");
            return Err(ClientError::new(ErrorCode::LimitReached, text).limit(self.max as u64));
        }
        *count += 1;
        Ok(Place { open: self.clone(), key })
    }
}

/// A place that an open socket takes; dropping it gives it back.
struct Place<K: Hash + Eq + Copy> {
    open: Arc<Open<K>>,
    key: K,
}

impl<K: Hash + Eq + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// A socket's place among those of its user; keep it while the socket is open.
#[must_use]
pub struct UserPlace(#[expect(dead_code, reason = "held for its Drop")] Place<UserId>);

/// A socket's place among those of its address; keep it while the socket is open. Loopback takes none.
#[must_use]
pub struct AddressPlace(#[expect(dead_code, reason = "held for its Drop")] Option<Place<IpAddr>>);

/// The sockets of this node, counted.
pub struct SocketCounts {
    users: Arc<Open<UserId>>,
    addresses: Arc<Open<IpAddr>>,
}

impl SocketCounts {
    /// Makes empty counts with the bounds of the settings.
    pub fn new(config: &Config) -> Self {
        Self { users: Open::new(config.max_sockets_per_user), addresses: Open::new(config.max_sockets_per_address) }
    }

    /// Takes a place for a socket of this user.
    ///
    /// # Errors
    /// `LimitReached` with the limit.
    pub fn of_user(&self, user: UserId) -> Result<UserPlace, ClientError> {
        self.users.take(user, "user").map(UserPlace)
    }

    /// Takes a place for a socket from this address, loopback excepted.
    ///
    /// # Errors
    /// `LimitReached` with the limit.
    pub fn of_address(&self, from: ClientAddr) -> Result<AddressPlace, ClientError> {
        if from.is_loopback() {
            return Ok(AddressPlace(None));
        }
        self.addresses.take(from.network(), "address").map(|place| AddressPlace(Some(place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(per_user: usize, per_address: usize) -> SocketCounts {
        SocketCounts { users: Open::new(per_user), addresses: Open::new(per_address) }
    }

    #[test]
    fn a_closed_socket_gives_its_place_back() {
        let counts = counts(2, 100);
        let (one, _two) = (counts.of_user(UserId(1)).unwrap(), counts.of_user(UserId(1)).unwrap());
        assert_eq!(counts.of_user(UserId(1)).err().unwrap().limit, Some(2));
        let _other = counts.of_user(UserId(2)).unwrap();
        drop(one);
        assert!(counts.of_user(UserId(1)).is_ok());
    }

    #[test]
    fn addresses_count_by_network_and_loopback_is_excepted() {
        let counts = counts(1, 1);
        let from = |text: &str| counts.of_address(ClientAddr::direct(text.parse().unwrap()));
        let _one = from("2001:db8::1").unwrap();
        assert_eq!(from("2001:db8::2").err().unwrap().code, ErrorCode::LimitReached);
        let _loopback = [from("127.0.0.1").unwrap(), from("127.0.0.1").unwrap()];
        assert_eq!(counts.addresses.counts().len(), 1);
        drop(_one);
        assert!(counts.addresses.counts().is_empty(), "nothing is remembered");
    }
}
