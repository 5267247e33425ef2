//! Guessing passwords is slow, and a guesser can't lock the owner out.
//!
//! Three rates of attempts that failed (or still run, so that parallel guesses count): per account and address; per account over all
//! addresses; per address over all accounts. The second would let anyone lock an account, so it binds only addresses that already
//! failed for the account and never succeeded: the owner's first try from anywhere, and every try from where the owner was let in
//! before, goes through. Names are counted whether or not they exist.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use chinwag_actors::protection::{KeyedRates, Rate, Wait};
use tokio::time::Instant;

use crate::{config::AddressRates, http::client_addr::ClientAddr};

/// Accounts, addresses and pairs remembered at once.
const KEYS_MAX: usize = 100_000;
/// How long an address where the owner was let in is remembered.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);

/// An account at an address, hashed with a random key.
type Pair = u64;

/// The rates of logins, registrations and connections.
pub struct Throttle {
    enabled: bool,
    hasher: RandomState,
    pairs: KeyedRates<Pair>,
    accounts: KeyedRates<u64>,
    addresses: KeyedRates<IpAddr>,
    registrations: KeyedRates<IpAddr>,
    connections: KeyedRates<IpAddr>,
    /// Pairs that succeeded: a rate of one, used as a bounded memory that forgets.
    known: KeyedRates<Pair>,
    refused_in_all: AtomicU64,
}

/// A login under way; say how it ended.
#[must_use]
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    account: u64,
    pair: Pair,
    now: Instant,
}

impl Attempt<'_> {
    /// The password was right: nothing counts against the account, and the address is known from now on.
    pub fn succeeded(self) {
        let throttle = self.throttle;
        throttle.pairs.forget(self.pair);
        throttle.accounts.undo(self.account);
        throttle.known.forget(self.pair);
        let _ = throttle.known.take(self.pair, self.now);
    }

    /// The password was wrong: the attempt counts.
    pub fn failed(self) {}

    /// Nothing was found out (the queue was full, the store didn't answer).
    pub fn cancelled(self) {
        self.throttle.pairs.undo(self.pair);
        self.throttle.accounts.undo(self.account);
    }
}

impl Throttle {
    /// Makes a throttle; when not `enabled` (`--unlimited`) it lets everything through.
    pub fn new(rates: &AddressRates, enabled: bool) -> Self {
        Self {
            enabled,
            hasher: RandomState::new(),
            pairs: KeyedRates::new(rates.login_account, KEYS_MAX),
            accounts: KeyedRates::new(rates.login_account_total, KEYS_MAX),
            addresses: KeyedRates::new(rates.login_address, KEYS_MAX),
            registrations: KeyedRates::new(rates.registration, KEYS_MAX),
            connections: KeyedRates::new(rates.connections, KEYS_MAX),
            known: KeyedRates::new(Rate::new(1, KNOWN_FOR), KEYS_MAX),
            refused_in_all: AtomicU64::new(0),
        }
    }

    /// Begins a login; `Err` says how long to wait.
    pub fn login(&self, name: &str, from: ClientAddr, now: Instant) -> Result<Attempt<'_>, Wait> {
        let account = self.hasher.hash_one(name);
        let pair = self.hasher.hash_one((name, from.network()));
        let attempt = Attempt { throttle: self, account, pair, now };
        if !self.enabled {
            return Ok(attempt);
        }
        if !from.is_loopback() {
            self.addresses.take(from.network(), now)?;
        }
        let failed_here = self.pairs.recent(pair, now) > 0;
        let known_here = self.known.recent(pair, now) > 0;
        if failed_here && !known_here {
            self.accounts.peek(account, now).inspect_err(|_| {
                self.refused_in_all.fetch_add(1, Ordering::Relaxed);
            })?;
        }
        self.pairs.take(pair, now)?;
        // May be full already: then a first try from here goes through uncounted.
        let _ = self.accounts.take(account, now);
        Ok(attempt)
    }

    /// Counts a registration.
    pub fn register(&self, from: ClientAddr, now: Instant) -> Result<(), Wait> {
        self.of_address(&self.registrations, from, now)
    }

    /// Counts a new socket.
    pub fn connect(&self, from: ClientAddr, now: Instant) -> Result<(), Wait> {
        self.of_address(&self.connections, from, now)
    }

    /// Returns how much was refused so far, by rate: for metrics.
    pub fn refused(&self) -> [(&'static str, u64); 5] {
        [
            ("login_account", self.pairs.refused()),
            ("login_account_total", self.refused_in_all.load(Ordering::Relaxed)),
            ("login_address", self.addresses.refused()),
            ("registration", self.registrations.refused()),
            ("connections", self.connections.refused()),
        ]
    }

    fn of_address(&self, rates: &KeyedRates<IpAddr>, from: ClientAddr, now: Instant) -> Result<(), Wait> {
        if !self.enabled || from.is_loopback() { Ok(()) } else { rates.take(from.network(), now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> AddressRates {
        let per_minute = |count| Rate::new(count, Duration::from_secs(60));
        AddressRates {
            connections: per_minute(10),
            login_account: per_minute(3),
            login_account_total: per_minute(10),
            login_address: per_minute(1000),
            registration: per_minute(2),
        }
    }

    fn address(n: u8) -> ClientAddr {
        ClientAddr::direct(IpAddr::from([192, 0, 2, n]))
    }

    #[test]
    fn guessing_from_one_address_stops_after_a_few_failures() {
        let (throttle, now) = (Throttle::new(&rates(), true), Instant::now());
        for _ in 0..3 {
            throttle.login("ann", address(1), now).unwrap().failed();
        }
        assert_eq!(throttle.login("ann", address(1), now).err(), Some(Wait(Duration::from_secs(60))));
        assert!(throttle.login("bob", address(1), now).is_ok(), "another account is not concerned");
    }

    #[test]
    fn the_owner_gets_in_while_others_guess_from_everywhere() {
        let (throttle, now) = (Throttle::new(&rates(), true), Instant::now());
        throttle.login("ann", address(200), now).unwrap().succeeded();
        for n in 0..100 {
            throttle.login("ann", address(n), now).unwrap().failed();
        }
        assert!(throttle.login("ann", address(1), now).is_err(), "a second guess from the same place waits");
        throttle.login("ann", address(201), now).unwrap().succeeded();
        for _ in 0..2 {
            throttle.login("ann", address(200), now).unwrap().failed();
        }
        throttle.login("ann", address(200), now).unwrap().succeeded();
    }

    #[test]
    fn parallel_guesses_count_before_they_end() {
        let (throttle, now) = (Throttle::new(&rates(), true), Instant::now());
        let running: Vec<_> = (0..5).map(|_| throttle.login("ann", address(1), now)).collect();
        assert_eq!(running.iter().filter(|attempt| attempt.is_ok()).count(), 3);
    }

    #[test]
    fn attempts_that_found_out_nothing_do_not_count() {
        let (throttle, now) = (Throttle::new(&rates(), true), Instant::now());
        for _ in 0..50 {
            throttle.login("ann", address(1), now).unwrap().cancelled();
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address_and_loopback_is_excepted() {
        let (throttle, now) = (Throttle::new(&rates(), true), Instant::now());
        let v6 = |text: &str| ClientAddr::direct(text.parse().unwrap());
        throttle.register(v6("2001:db8::1"), now).unwrap();
        throttle.register(v6("2001:db8::2"), now).unwrap();
        assert!(throttle.register(v6("2001:db8::3"), now).is_err());
        assert!(throttle.register(v6("2001:db8:0:1::3"), now).is_ok());
        for _ in 0..100 {
            throttle.register(v6("::1"), now).unwrap();
            throttle.connect(ClientAddr::direct([127, 0, 0, 1].into()), now).unwrap();
        }
        for _ in 0..10 {
            throttle.connect(address(1), now).unwrap();
        }
        assert!(throttle.connect(address(1), now).is_err());
    }

    #[test]
    fn unlimited_lets_everything_through() {
        let (throttle, now) = (Throttle::new(&rates(), false), Instant::now());
        for _ in 0..100 {
            throttle.login("ann", address(1), now).unwrap().failed();
            throttle.register(address(1), now).unwrap();
        }
    }
}
