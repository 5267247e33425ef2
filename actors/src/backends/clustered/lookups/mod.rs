//! Finding accounts by name in a cluster, for whoever writes to somebody: memory, filter, Redis, Postgres.
//!
//! ```text
//! accounts   AccountStore around another one, with the tiers before it     counts    what operators see
//! gate       who is told 'nobody' without Postgres                         keeper    keeps the filter up to date
//! filter     the Bloom filter           flood    whether there is a flood  arrivals  what the filter is made from
//! ```
//! A question goes through the tiers in this order. Each may pass it on; none but the filter may say no, and only the store itself is
//! asked at login, at registration and for guests' names ([`AccountStore::user_by_name`] and the rest go straight through).
//!
//! | tier | answers | bound |
//! |---|---|---|
//! | memory of the node | 'this account' | 65,536 names, 30 s |
//! | filter | 'nobody', while there is a flood | 240 MiB (134 million names) |
//! | Redis | 'this account', if the entry's code is right (`redis/names.rs`) | 5 min; left out when it fails or takes 250 ms |
//! | Postgres | both | the breaker and bounds of account storage |
//!
//! Remembered answers can't become wrong: a name belongs to its account for ever, and nothing that changes (display name, ban, last seen)
//! is kept. What isn't there is never remembered, so somebody who registers is found at once.
//!
//! # Why the filter refuses nobody who exists
//!
//! Claim: if the filter says 'nobody' to a question, no account of this name was committed when the question came.
//!
//! Each row of `users` carries in `added_in` the number of the transaction that added it. Numbers grow in the order in which transactions
//! begin to write, not in which they commit; so what has been read up to some number may later get company below it. A *standing*
//! ([`Standing`]) says of a snapshot: all transactions below `settled` have ended, and `newest` is the largest number seen. Let
//! `next = min(settled, newest + 1)`.
//!
//! 1. *A row that a snapshot doesn't see and a later one does has `added_in >= next` of the earlier.* If its transaction had its number when
//!    the earlier snapshot was taken, it hadn't ended then, so its number is `settled` or more. If it got it later and the server hadn't
//!    crashed between, its number is larger than all that were given, so again `settled` or more. If it had crashed: numbers that left
//!    no trace on disk are given again, but `newest` is that of a row that was seen, hence of a commit that was on disk
//!    (`synchronous_commit` is on for all our connections), and recovery goes on behind it: `newest + 1` or more.
//! 2. *After a round, the filter has all names that the snapshot of its first statement saw.* By induction. The first one
//!    takes a standing, then reads all names by id, each in a later snapshot: what the standing's snapshot saw is there, since rows are never
//!    removed and ids never change. A further round reads all rows from `next` of the standing before it on; by 1, those are all that
//!    weren't there then. Pages are read by (`added_in`, id): a row of the first snapshot lies in one of them.
//!    A row that appears behind the page being read wasn't in the first snapshot, and the next round starts from that.
//! 3. *Numbers compare only within one life of one server.* Every statement says which life it saw (when the server's process was started:
//!    another one after a failover or a restart), and numbers that went back are noticed. In either case the filter is dropped and made anew;
//!    meanwhile all questions pass.
//! 4. A question that the filter would deny waits for the end of a round that *began after it came*, and is denied if the filter still
//!    doesn't have the name. By 2 it has all names committed before the round began. Waiting costs
//!    Postgres one small query for all that wait together, 200 a second at most. When rounds fail, questions pass. ∎
//!
//! So nothing depends on clocks, on the ids that nodes make, or on how late a commit comes. What the proof doesn't cover are numbers that
//! this server didn't give: a dump is loaded while no node runs, and its numbers are cleared (`ops/runbook.md`).
//!
//! A stranger learns nothing: who may ask is told plainly whether somebody has a name, by all tiers in the same words; how
//! long it takes says at most that somebody asked for the name lately.

mod accounts;
mod arrivals;
mod counts;
mod filter;
mod flood;
mod gate;
mod keeper;

pub use accounts::CachedAccounts;
pub use arrivals::{Arrival, Arrivals, Standing};
pub use counts::{FilterState, LookupCounts};

#[cfg(doc)]
use crate::ports::account_store::AccountStore;
