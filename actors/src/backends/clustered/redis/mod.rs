//! [`Directory`](crate::ports::directory::Directory) and [`Bus`](crate::ports::bus::Bus) on one Redis (6.2 or later), alone or behind
//! Sentinel.
//!
//! ```text
//! link       a connection that makes itself again, with deadlines and bounds
//! scripts    what runs inside Redis (lua/)              keys   names of keys, texts of values
//! directory  Directory      users    who is registered where
//! names      ids of accounts by name
//! bus        Bus            sending  batches to mailboxes      mailbox   the reader      batch   their format
//! ```
//! Redis is a hint (invariant 2): everything here may be wiped at any moment. Leases and registrations come back by
//! `Renewed::anew`, mailboxes by their readers, scripts by the next connection.
//!
//! # Keys
//!
//! `P` is the prefix (`chinwag`). What one script touches together has the same hash tag, so that the layout would suit Redis Cluster;
//! clients for it are not supported, because scripts are loaded on one server.
//!
//! | key | type | holds | ends |
//! |---|---|---|---|
//! | `{P}:nodes` | sorted set | `node:incarnation` by the end of its lease | with its longest lease |
//! | `{P}:nodes:lives` | hash | node → incarnation | with the longest lease |
//! | `{P}:nodes:change` | string | when a node last came or went: whoever knows this change isn't sent the table again | 1 hour after it |
//! | `{P}:shards` | hash | shard → `node:term:end` | with its longest lease |
//! | `P:user:{B}:ID` | string | `node:incarnation=end,…` | an hour after it was last put or renewed |
//! | `P:guest:NAME` | string | user | with its hold |
//! | `P:name:NAME` | string | id of the account, sealed | 5 minutes after it was looked up |
//! | `P:mailbox:{N.I}` | stream | batches of envelopes that wait | 10 s after its reader |
//! | `P:mailbox:{N.I}:room` | hash | room left in the stream, in envelopes and bytes | 10 s after its reader |
//! | `P:mailboxes` | set | `N.I` of the mailboxes, for broadcasts | never; at most what broadcasts didn't find gone |
//!
//! The ends of leases are milliseconds of Redis's own clock, read by the scripts (`TIME`): nodes needn't agree on the time. They are
//! values in two tables instead of a key each, so that a node reads or renews all of them by one command. `B` is one of 64
//! buckets of users: all users of a bucket are put by one script and read by one `MGET`.
//!
//! # Costs
//!
//! With 1,000,000 users on 100 nodes (leases of 10 s renewed every 3 s):
//!
//! | what | Redis does | in all |
//! |---|---|---|
//! | renewing leases | 2 scripts per node and renewal | 67 scripts/s |
//! | a user comes or goes | `GET` and `SET` in a script, shared with others of the bucket | under 7 µs, in calls of 1,000 on a busy machine |
//! | keeping registrations | the same, once in 20 min per user | 833 users/s, under 1% of a core |
//! | `locate_users` of n | `MGET` of n keys in at most 64 commands, and whether nodes came or went | 1 round trip |
//! | memory of registrations | a key of about 200 bytes per user | 200 MB |
//! | a node's death | nothing: its incarnation is no longer in the table; its 10,000 keys expire within the hour | 0 |
//! | an envelope | its share of a script with 3 commands per batch and receiver, and of its reader's `XREAD` | `examples/redis_bus_cost.rs` measures it |
//!
//! A user's key never lists more than 64 nodes, and forgets each an hour after it was last renewed, so it doesn't grow with the lives
//! of nodes.

mod batch;
mod bus;
mod check;
mod directory;
mod keys;
mod link;
mod mailbox;
mod names;
mod options;
mod scripts;
mod sending;
mod users;

pub use bus::RedisBus;
pub use check::{RedisReport, check};
pub use directory::RedisDirectory;
pub use names::RedisNames;
pub use options::{RedisError, RedisOptions};
