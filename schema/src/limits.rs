//! Every fixed bound of the system, in one place, with the reason for its size.
//!
//! What an operator may change (rates, spam rules, socket caps) is in the server's settings, with defaults from here.

use std::time::Duration;

/// Lengths of texts.
pub mod text {
    /// A message, in characters after trimming (both frozen dialects).
    pub const CONTENT_MAX_CHARS: usize = 4096;
    /// A message as typed, in bytes: 4,096 characters of four bytes, and as much again for outer blanks.
    pub const CONTENT_MAX_BYTES: usize = 32 * 1024;
    /// Usernames of the rooms dialect.
    pub const ROOMS_USERNAME_MIN_CHARS: usize = 2;
    pub const ROOMS_USERNAME_MAX_CHARS: usize = 30;
    /// Names of accounts.
    pub const ACCOUNT_NAME_MIN_CHARS: usize = 3;
    pub const ACCOUNT_NAME_MAX_CHARS: usize = 64;
    /// Public rooms.
    pub const ROOM_NAME_MIN_CHARS: usize = 3;
    pub const ROOM_NAME_MAX_CHARS: usize = 50;
    /// Groups and display names.
    pub const GROUP_NAME_MAX_CHARS: usize = 100;
    pub const DISPLAY_NAME_MAX_CHARS: usize = 64;
    /// Passwords, in bytes: longer ones only cost hashing time.
    pub const PASSWORD_MAX_BYTES: usize = 1024;
    pub const PASSWORD_MIN_CHARS: usize = 6;
    /// Request ids of the native protocol, in bytes.
    pub const REQUEST_ID_MAX_BYTES: usize = 64;
}

/// Sockets and frames.
pub mod socket {
    use super::Duration;
    /// Largest reassembled and inflated message from a client, bytes (rooms dialect; 1009 beyond).
    pub const MESSAGE_MAX_BYTES: usize = 64 * 1024;
    /// Smallest message worth compressing, bytes.
    pub const COMPRESS_MIN_BYTES: usize = 1024;
    /// LZ77 window of compressed frames, bits: one compressed frame serves every recipient.
    pub const COMPRESS_WINDOW_BITS: u8 = 10;
    /// Continuation frames of one message: endless tiny fragments end here.
    pub const FRAGMENTS_MAX: usize = 1024;
    /// Bytes that may wait for one slow reader before the ladder begins.
    pub const OUTBOX_MAX_BYTES: usize = 512 * 1024;
    /// Frames that may wait for one slow reader: bounds the queue of tiny frames.
    pub const OUTBOX_MAX_FRAMES: usize = 8192;
    /// Most bytes and frames put into one gathered write.
    pub const WRITE_MAX_BYTES: usize = 256 * 1024;
    pub const WRITE_MAX_FRAMES: usize = 256;
    pub const PING_INTERVAL: Duration = Duration::from_secs(30);
    /// After a delivery to a messenger socket the server pings within this time, at most this often.
    pub const DELIVERY_PING_INTERVAL: Duration = Duration::from_secs(1);
    /// A native socket that hasn't said hello, and a rooms socket that hasn't authenticated.
    pub const NATIVE_HELLO_TIMEOUT: Duration = Duration::from_secs(5);
    pub const ROOMS_AUTH_TIMEOUT: Duration = Duration::from_secs(60);
    /// `auth` frames of one rooms socket; people mistype a few times.
    pub const AUTH_ATTEMPTS_MAX: u32 = 20;
    /// How long a closing handshake or the last writes may take.
    pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
    /// Frames of one socket that wait for the answer of an earlier command; reading stops beyond.
    pub const INBOUND_MAX_WAITING: usize = 64;
    /// Sends of one socket without an answer yet; reading stops beyond.
    pub const UNANSWERED_MAX: usize = 1024;
    /// Control frames and empty fragments per second and socket before it is closed (flood).
    pub const CONTROL_FRAMES_MAX_PER_S: u32 = 200;
}

/// Conversations.
pub mod conversation {
    use super::Duration;
    /// Recent events that an active conversation keeps, for joining and resuming without the store.
    pub const RECENT_MAX_EVENTS: usize = 256;
    pub const RECENT_MAX_BYTES: usize = 512 * 1024;
    /// Events that wait for the write in flight; beyond it a sender hears 'retry later'.
    pub const PENDING_MAX: usize = 4096;
    /// Longest replay; a client further behind gets a `gap` and pages the history.
    pub const REPLAY_MAX_EVENTS: u64 = 1000;
    /// Page size of the history.
    pub const PAGE_MAX: usize = 200;
    pub const PAGE_DEFAULT: usize = 50;
    /// `message_history` of the rooms dialect.
    pub const ROOMS_HISTORY_EVENTS: usize = 20;
    /// Names in `room_joined`.
    pub const ROOMS_MEMBERS_SHOWN: usize = 200;
    /// Listeners beyond which joins, leaves and typing aren't announced (default).
    pub const ANNOUNCE_MAX_LISTENERS: usize = 500;
    pub const MEMBERS_MAX: usize = 100_000;
    pub const TYPING_LAPSE: Duration = Duration::from_secs(3);
    pub const TYPISTS_MAX: usize = 64;
    /// An idle conversation (nobody listens, nothing in flight) sleeps after this time.
    pub const IDLE_BEFORE_SLEEP: Duration = Duration::from_secs(60);
    /// Own messages may be edited for this long in the rooms dialect.
    pub const ROOMS_EDIT_WINDOW: Duration = Duration::from_secs(5 * 60);
    /// How far in the future a message id may be.
    pub const MESSAGE_ID_AHEAD_MAX: Duration = Duration::from_secs(10 * 60);
}

/// Users.
pub mod user {
    /// Conversations that one user may be a member of.
    pub const CONVERSATIONS_MAX: usize = 2_000;
    /// Conversations listed in one page of `welcome`.
    pub const WELCOME_PAGE: usize = 500;
    /// Active rooms created per user.
    pub const ACTIVE_ROOMS_MAX: usize = 10;
    /// Own recent message ids that a guest's socket may edit or delete.
    pub const GUEST_OWN_MAX: usize = 1024;
    /// Users that one socket may watch besides those it shares a chat with.
    pub const WATCHED_MAX: usize = 1000;
}

/// Storage.
pub mod storage {
    use super::Duration;
    /// Events of one grouped append.
    pub const GROUP_MAX_EVENTS: usize = 512;
    /// While many conversations write little each, a group gathers for this long after the write before it: a row alone costs five
    /// times the CPU of one in a group of ten, and an fsync takes about as long anyway.
    pub const LINGER: Duration = Duration::from_millis(2);
    /// Events that wait for no more company: beyond it a row gets hardly cheaper.
    pub const LINGER_MAX_EVENTS: usize = 32;
    /// Appends (conversations) waiting at the storage actor.
    pub const APPENDS_WAITING_MAX: usize = 8192;
    /// Reads in flight at one storage actor.
    pub const READS_IN_FLIGHT_MAX: usize = 64;
    /// Every wait for a store has this deadline.
    pub const DEADLINE: Duration = Duration::from_secs(10);
    /// Cursor moves are gathered for this long.
    pub const CURSOR_FLUSH: Duration = Duration::from_secs(2);
    pub const CURSORS_WAITING_MAX: usize = 100_000;
}

/// The log on Scylla or Cassandra.
pub mod cql {
    use super::Duration;
    /// Seqs of one partition: 16 MiB of the longest messages, some hundred KiB of usual ones.
    pub const BUCKET_EVENTS: u32 = 1_000;
    /// Groups of one append that are written at once: each is a round of consensus, which waits more than it works.
    pub const GROUPS_AT_ONCE: usize = 64;
    /// Reads of one call that run at once.
    pub const READS_AT_ONCE: usize = 32;
    /// Text of one batch: servers refuse writes of 16 MiB, and hold each several times until it is decided.
    pub const BATCH_MAX_BYTES: usize = 1024 * 1024;
    /// Ids looked for by one read; ScyllaDB refuses more than 100.
    pub const IDS_PER_READ: usize = 100;
    /// Buckets of a sender listed by one read: most are active in few.
    pub const SENDER_BUCKETS_PER_READ: i32 = 32;
    /// Logs looked at by retention between two reads.
    pub const AGES_PER_READ: i32 = 100;
    /// Wait for one answer; the servers give up after two seconds.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
    /// Tries to write a batch whose outcome is unknown, each followed by a look at what is there.
    pub const WRITE_TRIES_MAX: usize = 2;
    /// Tries of a claim, or of a change of one message, while others do the same.
    pub const FENCE_TRIES_MAX: usize = 8;
    /// Buckets that a search for the head walks past where it was to be found; one is usual.
    pub const WALK_BUCKETS_MAX: usize = 16;
    /// Logs, and senders in them, of which a node remembers the end: about 10 MiB each.
    pub const KNOWN_LOGS_MAX: usize = 65_536;
    pub const KNOWN_SENDERS_MAX: usize = 131_072;
    /// Longest retention that becomes a TTL. Some servers refuse to store what expires after 2038; beyond it the job removes.
    pub const TTL_MAX: Duration = Duration::from_secs(3 * 365 * 86_400);
}

/// `chinwag copy`: an embedded store into a cluster.
pub mod copy {
    /// Rows of accounts, members and the like in one statement: some MiB at most.
    pub const PAGE_ROWS: usize = 1_000;
    /// Events read, and written in one batch, at once: with this many a condition costs hardly more than a plain write.
    pub const PAGE_MAX_EVENTS: usize = 256;
    /// Text after which a page of events ends.
    pub const PAGE_MAX_BYTES: usize = 512 * 1024;
    /// Logs copied, or compared, beside each other: each holds a page or two, so this bounds memory to about 64 MiB.
    pub const LOGS_AT_ONCE: usize = 32;
    /// Logs between two notes of how far the copy has come.
    pub const LOGS_PER_NOTE: usize = 256;
    /// Senders asked for by one read; ScyllaDB refuses more than 100 keys.
    pub const SENDERS_PER_READ: usize = 100;
    /// Senders of removed messages whose totals are written in one batch.
    pub const SENDERS_PER_BATCH: usize = 500;
    /// How often a log whose servers don't answer is claimed again before the copy ends (it can be resumed), and the first pause, which
    /// doubles.
    pub const TRIES_MAX: u32 = 6;
    pub const PAUSE: super::Duration = super::Duration::from_millis(500);
    /// Differences told by name; a wrong target has millions. All are counted.
    pub const DIFFERENCES_TOLD: usize = 20;
    /// One statement on Postgres.
    pub const STATEMENT_TIMEOUT: super::Duration = super::Duration::from_secs(60);
}

/// Lists in frames of the native protocol. Together they also keep a reply well below what a socket's queue holds.
pub mod native {
    /// Positions named in one `hello` or `resume`.
    pub const POSITIONS_MAX: usize = 500;
    /// Users named in one `users`, `presence.watch` or `presence.unwatch`.
    pub const USERS_MAX: usize = 100;
    /// `client` of `hello`, in characters.
    pub const CLIENT_MAX_CHARS: usize = 64;
    /// `features` of `hello`, how many and how long in bytes.
    pub const FEATURES_MAX: usize = 32;
    pub const FEATURE_MAX_BYTES: usize = 64;
    /// Tokens and tickets, in bytes.
    pub const TOKEN_MAX_BYTES: usize = 8 * 1024;
    /// Rooms listed when no limit is given (rooms dialect likewise), and at most.
    pub const ROOMS_DEFAULT: usize = 20;
    pub const ROOMS_MAX: usize = 200;
    /// How long the request id of a `group.create` is remembered.
    pub const REQUEST_ID_KEPT: std::time::Duration = std::time::Duration::from_secs(10 * 60);
}

/// Between nodes: the directory and the bus.
pub mod cluster {
    use super::Duration;
    /// Largest payload of one envelope: a page of a conversation's history with room to spare.
    pub const ENVELOPE_MAX_BYTES: usize = 1024 * 1024;
    /// What one node's mailbox on Redis may hold, besides its bound in envelopes: 8,192 envelopes of 8 KiB.
    pub const MAILBOX_MAX_BYTES: usize = 64 * 1024 * 1024;
    /// A mailbox that nobody reads goes after this time: as long as a node's lease, so that both end together.
    pub const MAILBOX_KEPT: Duration = Duration::from_secs(10);
    /// Envelopes (with their overhead) that wait in a node for the way to Redis; beyond it a sender hears 'unavailable'.
    pub const SENDING_MAX_BYTES: usize = 16 * 1024 * 1024;
    /// One batch on the way to Redis. A larger one is hardly cheaper, and makes the next ones wait.
    pub const BATCH_MAX_ENVELOPES: usize = 1024;
    pub const BATCH_MAX_BYTES: usize = 256 * 1024;
    /// Envelopes read but not yet taken by the node.
    pub const ARRIVED_MAX: usize = 256;
    /// Every request to Redis has this deadline; a connection that answers nothing for as long is given up.
    pub const REDIS_DEADLINE: Duration = Duration::from_secs(2);
    /// Waits between attempts to reconnect: doubling, with jitter, from the first to the last.
    pub const RECONNECT_MIN: Duration = Duration::from_millis(50);
    pub const RECONNECT_MAX: Duration = Duration::from_secs(2);
    /// Requests in flight on one connection; beyond it callers hear 'unavailable'.
    pub const REQUESTS_IN_FLIGHT_MAX: usize = 1024;
    /// Users put or located in one round trip; more take several.
    pub const USERS_PER_ROUND_TRIP: usize = 16_384;
    /// How long a user's registration is kept without being renewed. It counts only while its node's lease runs, so this is
    /// but the time after which a dead node's registrations are gone.
    pub const REGISTRATION_KEPT: Duration = Duration::from_secs(60 * 60);
    /// A user is found on this many nodes at most, the latest ones.
    pub const NODES_PER_USER_MAX: usize = 64;
}

/// The cluster's accounts on Postgres. An operation waits for a connection, then for its statements, then for the answer: the three
/// together stay below [`storage::DEADLINE`], so that its error says where the time went.
pub mod postgres {
    use super::Duration;
    /// Connections of one node (default). A server comes with 100, for all nodes.
    pub const CONNECTIONS_MAX: u32 = 16;
    /// Connections kept though nobody needs them, so that the next login doesn't wait for one.
    pub const CONNECTIONS_IDLE_MIN: u32 = 2;
    /// An unused connection ends after this time; each costs the server some MiB.
    pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(10 * 60);
    /// Every connection is made anew now and then: names may point elsewhere, and servers' caches only grow.
    pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(60 * 60);
    /// Making a connection, for each host (default).
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
    /// Waiting for a connection (default).
    pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
    /// One statement (default). The slowest of ours take milliseconds.
    pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
    /// What an answer may take beyond the statement's time, before the connection is given up.
    pub const ANSWER_GRACE: Duration = Duration::from_secs(1);
    /// A server that answers nothing for this long on the level of TCP is gone.
    pub const SILENCE_MAX: Duration = Duration::from_secs(10);
    /// How often a transaction is tried that ran into another one, or a statement whose connection was lost.
    pub const ATTEMPTS_MAX: u32 = 5;
    /// Before the second try, up to this; before each further one up to as much more.
    pub const RETRY_PAUSE: Duration = Duration::from_millis(10);
    /// Cursors and last-seen times of one statement: some milliseconds of locks.
    pub const ROWS_PER_STATEMENT: usize = 5_000;
    /// Waiting for another node that migrates; each step may take as long as a large table needs.
    pub const MIGRATION_TURN_WAIT: Duration = Duration::from_secs(10 * 60);
    pub const MIGRATION_MAX: Duration = Duration::from_secs(60 * 60);
    /// Waiting for a table's lock in a migration: everything else on it waits behind.
    pub const MIGRATION_LOCK_WAIT: Duration = Duration::from_secs(10);
}

/// Finding accounts by name in a cluster (`backends/clustered/lookups`).
pub mod lookups {
    use super::Duration;
    /// Names that a node remembers with their ids: about 200 bytes each.
    pub const REMEMBERED_MAX: u64 = 65_536;
    /// And for how long. Neither name nor id ever changes; this bounds how long a node believes in an account that an operator's
    /// return to an older copy of Postgres took away.
    pub const REMEMBERED_FOR: Duration = Duration::from_secs(30);
    /// The same in Redis, for all nodes.
    pub const SHARED_FOR: Duration = Duration::from_secs(5 * 60);
    /// Longer names, in bytes, can't be of an account: they are looked for in Postgres only, and take no room in caches.
    pub const NAME_MAX_BYTES: usize = super::text::ACCOUNT_NAME_MAX_CHARS * 4;
    /// Redis is left out if it takes longer: Postgres answers within a few ms.
    pub const REDIS_DEADLINE: Duration = Duration::from_millis(250);
    /// Names on their way to Redis; further ones aren't shared this time.
    pub const SHARING_MAX: usize = 64;
    /// Names read from Postgres at a time: about 250 KiB.
    pub const PAGE: usize = 5_000;
    /// Names of one request that are looked for at once: one client doesn't take all places that a node has for its reads.
    pub const NAMES_AT_ONCE: usize = 8;
    /// How often the filter is brought up to date while nobody waits for it.
    pub const REFRESH_EVERY: Duration = Duration::from_secs(3);
    /// The least time between two rounds that somebody waits for: 200 small queries a second at most, however many names are asked for.
    pub const ROUND_PAUSE: Duration = Duration::from_millis(5);
    /// The same after one that failed; doubled by each further one, up to the second.
    pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(250);
    pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);
    /// Whoever waits longer than this for a round asks Postgres.
    pub const ROUND_PATIENCE: Duration = Duration::from_secs(2);
    /// Questions that wait for a round; further ones ask Postgres, behind the bounds of account storage.
    pub const WAITING_MAX: usize = 16_384;
    /// Unknown names asked of a node within one second that begin a flood: below it, each may cost Postgres a query.
    pub const FLOOD_BEGINS_AT: u32 = 100;
    /// A flood is over when no second had this many for a while.
    pub const FLOOD_ENDS_BELOW: u32 = 20;
    pub const FLOOD_ENDS_AFTER: Duration = Duration::from_secs(10);
    /// The filter grows by layers, each twice as large as the one before: 1, 2, 4 … times this many names.
    pub const FILTER_FIRST_NAMES: usize = 65_536;
    /// 134 million names in about 240 MiB. Further names make it more often wrong (in the harmless direction), not larger.
    pub const FILTER_LAYERS_MAX: usize = 11;
    /// How often one layer takes an unknown name for a known one: 14.4 bits per name.
    pub const FILTER_FALSE_POSITIVES: f64 = 0.001;
}

/// The link between two nodes.
pub mod link {
    use super::Duration;
    /// Frames and bytes that one link keeps until the other node has them. A second of Redis doing nothing, at 8,000 frames of
    /// 1 KiB, is survived; beyond it the link is down and what is attached through it starts again from the log.
    pub const KEPT_MAX_FRAMES: usize = 32_768;
    pub const KEPT_MAX_BYTES: usize = 8 * 1024 * 1024;
    /// The same while the other node hasn't answered yet: a round trip's worth. The rest is refused, and waits where it can be
    /// answered.
    pub const GREETING_MAX_FRAMES: usize = 1024;
    pub const GREETING_MAX_BYTES: usize = 1024 * 1024;
    /// Frames are gathered into one envelope up to this size: larger ones cost no less per byte.
    pub const GATHER_MAX_BYTES: usize = 64 * 1024;
    /// Envelopes on the way. What comes meanwhile gathers; an acknowledgement names 64 envelopes one by one.
    pub const IN_FLIGHT_MAX: usize = 64;
    /// Payloads kept behind a hole, bytes; what is beyond it is sent again.
    pub const AHEAD_MAX_BYTES: usize = 4 * 1024 * 1024;
    /// An acknowledgement waits for something to travel with: this long, or for this many envelopes.
    pub const ACK_AFTER: Duration = Duration::from_millis(20);
    pub const ACK_AFTER_ENVELOPES: u32 = 16;
    /// When nothing else was sent for this long, a beat says that the node lives.
    pub const BEAT: Duration = Duration::from_secs(1);
    /// The first envelope without an acknowledgement is sent again after this time, then after twice as long, and so on.
    pub const RESEND_MIN: Duration = Duration::from_millis(250);
    pub const RESEND_MAX: Duration = Duration::from_secs(2);
    /// A greeting is repeated in the same manner. Answers to greetings come no closer to each other than the pause.
    pub const GREET_MIN: Duration = Duration::from_millis(250);
    pub const GREET_MAX: Duration = Duration::from_secs(2);
    pub const GREET_PAUSE: Duration = Duration::from_millis(20);
    /// After the bus refused an envelope, nothing is handed to it for this long, doubling while it goes on.
    pub const REFUSED_PAUSE_MIN: Duration = Duration::from_millis(20);
    pub const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(1);
    /// A node that says nothing for this long, or a frame that isn't acknowledged in this time: the link is down. As long as a
    /// request may take.
    pub const PATIENCE: Duration = Duration::from_secs(10);
    /// How long an envelope is valid: as far as the nodes' clocks may differ.
    pub const ENVELOPE_VALID: Duration = Duration::from_secs(30);
}

/// Leases, shards, and what waits for their owners.
pub mod shards {
    use super::Duration;
    /// Lease of a node and its shards. A killed node's shards are claimed after this and as long again of observed absence: served
    /// elsewhere within 10 s. A shorter one would lapse in a pause of a directory that is only slow.
    pub const LEASE: Duration = Duration::from_secs(4);
    /// How often it is renewed: a directory that can't be reached for 3 s costs nobody a lease.
    pub const RENEW_EVERY: Duration = Duration::from_millis(500);
    /// A renewal that failed is tried again after this time.
    pub const RETRY_AFTER: Duration = Duration::from_millis(100);
    /// A renewal may take a quarter of what is left of the lease, within these.
    pub const CALL_DEADLINE_MIN: Duration = Duration::from_millis(250);
    pub const CALL_DEADLINE_MAX: Duration = Duration::from_secs(1);
    /// How often a node looks who lives and who owns what.
    pub const LOOK_EVERY: Duration = Duration::from_secs(1);
    /// And for a while after nodes came or went, or shards were handed over.
    pub const HURRIED_LOOK_EVERY: Duration = Duration::from_millis(200);
    pub const HURRY: Duration = Duration::from_secs(10);
    pub const LOOK_DEADLINE: Duration = Duration::from_secs(1);
    /// Looks further apart than this don't add up to one absence: whoever was missing may have come and gone in between.
    pub const LOOK_GAP_MAX: Duration = Duration::from_millis(2500);
    /// A node is handed shards once every look has shown it for this time.
    pub const SETTLED_AFTER: Duration = Duration::from_secs(2);
    /// If whoever should claim a shard doesn't, the next one in rank does after this time, and so on. Longer than looks are apart,
    /// with room for a slow account store.
    pub const STAND_IN_AFTER: Duration = Duration::from_secs(3);
    /// Waiting for fresh terms.
    pub const TERMS_DEADLINE: Duration = Duration::from_secs(2);
    /// Shards that one node hands over at a time, from the first word to its conversations until the heir has claimed it. Their
    /// conversations wake up there all at once: at about ten hot ones each and 1.6 ms a claim, 0.1 s of claims.
    pub const HANDING_OVER_AT_ONCE: usize = 8;
    /// How long the conversations of a shard may take to stop; then it is given up without them.
    pub const HAND_OVER_MAX: Duration = Duration::from_secs(3);
    /// A node that didn't take what it was offered isn't offered more for this time.
    pub const SHUNNED_FOR: Duration = Duration::from_secs(30);
    /// A shard that was taken instead of a node that drains, or couldn't claim it, isn't handed to that life of it for this time.
    pub const INSTEAD_OF_MAX: Duration = Duration::from_secs(10 * 60);
    /// Telling the directory that this node leaves.
    pub const LEAVE_MAX: Duration = Duration::from_secs(1);
    /// Messages that wait until their shard has an owner that can be reached, in all: some seconds of a busy node's messages.
    pub const PARKED_MAX: usize = 4096;
    /// And how long each of them waits: most changes of an owner are over by then, and clients don't wait much longer.
    pub const PARKED_FOR: Duration = Duration::from_secs(8);
}
