//! Everything that is said to the servers, prepared once.
//!
//! Tables and columns are explained in `migrations/scylla`.

use std::sync::Arc;

use scylla::{
    client::session::Session,
    errors::PrepareError,
    policies::retry::FallthroughRetryPolicy,
    statement::{Consistency, SerialConsistency, prepared::PreparedStatement},
};

/// Rows in one page of an answer: bounds what a server and this process hold at once.
const PAGE_ROWS: i32 = 512;

/// Columns of a [`super::rows::StoredEvent`].
macro_rules! event_columns {
    () => {
        "number, event_id, at_ms, what, sender, sender_name, messages, own, client_id, content, digest, target_seq, target_id, \
         edited_at_ms, deleted, changed_seq, TTL(at_ms) AS ttl_s"
    };
}

/// Columns of a [`super::rows::Statics`].
macro_rules! static_columns {
    () => {
        "term, head, head_messages, head_id, head_at_ms, first_at_ms, removed_below"
    };
}

/// How sure reads and writes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Levels {
    /// Of what is written and read without a condition, and of what a condition commits.
    pub plain: Consistency,
    /// Of reads that finish what another writer has begun.
    pub serial_read: Consistency,
    pub serial: SerialConsistency,
}

impl Levels {
    /// Returns the levels of a whole cluster, or of one datacenter.
    pub(super) const fn new(one_datacenter: bool) -> Self {
        if one_datacenter {
            Self {
                plain: Consistency::LocalQuorum,
                serial_read: Consistency::LocalSerial,
                serial: SerialConsistency::LocalSerial,
            }
        } else {
            Self { plain: Consistency::Quorum, serial_read: Consistency::Serial, serial: SerialConsistency::Serial }
        }
    }
}

/// What kind of statement it is: how sure, and whether the driver may repeat it.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Reads, and writes that change nothing when repeated.
    Plain,
    /// A read that finishes what another writer has begun.
    SerialRead,
    /// With a condition, or part of a batch with one: never repeated by the driver, which couldn't tell a refusal by somebody else from
    /// one by its own first try.
    Conditional,
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident: $kind:ident, $text:expr;)*) => {
        /// The prepared statements.
        pub(super) struct Statements {
            $($(#[$doc])* pub $name: PreparedStatement,)*
        }

        impl Statements {
            /// Prepares all.
            pub(super) async fn prepare(session: &Session, levels: Levels) -> Result<Self, PrepareError> {
                Ok(Self { $($name: prepare(session, levels, Kind::$kind, $text).await?,)* })
            }
        }
    };
}

/// Prepares one statement.
pub(super) async fn prepare(
    session: &Session,
    levels: Levels,
    kind: Kind,
    text: &str,
) -> Result<PreparedStatement, PrepareError> {
    let mut statement = session.prepare(text).await?;
    statement.set_page_size(PAGE_ROWS);
    statement.set_consistency(match kind {
        Kind::SerialRead => levels.serial_read,
        Kind::Plain | Kind::Conditional => levels.plain,
    });
    match kind {
        Kind::Plain | Kind::SerialRead => statement.set_is_idempotent(true),
        Kind::Conditional => {
            statement.set_serial_consistency(Some(levels.serial));
            statement.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy::new())));
        }
    }
    Ok(statement)
}

statements! {
    // ---- what a bucket says about itself
    statics: Plain, concat!("SELECT DISTINCT ", static_columns!(), " FROM log WHERE conversation = ? AND bucket = ?");
    statics_serial: SerialRead, concat!("SELECT DISTINCT ", static_columns!(), " FROM log WHERE conversation = ? AND bucket = ?");
    /// (term, base, conversation, bucket)
    first_claim: Conditional,
        "UPDATE log USING TTL 0 SET term = ?, head = ? WHERE conversation = ? AND bucket = ? IF term = null";
    /// (term, conversation, bucket, stored term)
    raise_term: Conditional, "UPDATE log USING TTL 0 SET term = ? WHERE conversation = ? AND bucket = ? IF term = ?";

    // ---- parts of an append
    /// (head, messages, id, at, first at, conversation, bucket, term, old head)
    advance: Conditional,
        "UPDATE log USING TTL 0 SET head = ?, head_messages = ?, head_id = ?, head_at_ms = ?, first_at_ms = ? \
         WHERE conversation = ? AND bucket = ? IF term = ? AND head = ?";
    /// [`super::batch::InsertEvent`]
    insert_event: Conditional,
        "INSERT INTO log (conversation, bucket, part, number, message_id, event_id, at_ms, what, sender, sender_name, messages, own, \
         client_id, content, digest, target_seq, target_id, edited_at_ms, deleted, changed_seq) \
         VALUES (:conversation, :bucket, 0, :number, 0x, :event_id, :at_ms, :what, :sender, :sender_name, :messages, :own, \
         :client_id, :content, :digest, :target_seq, :target_id, :edited_at_ms, :deleted, :changed_seq) USING TTL :ttl_s";
    /// (conversation, bucket, sender, message id, seq, TTL)
    insert_id: Conditional,
        "INSERT INTO log (conversation, bucket, part, number, message_id, seq) VALUES (?, ?, 1, ?, ?, ?) USING TTL ?";
    /// (own, conversation, bucket, sender)
    put_own: Conditional,
        "UPDATE log USING TTL 0 SET own = ? WHERE conversation = ? AND bucket = ? AND part = 2 AND number = ? AND message_id = 0x";
    /// (TTL, content, edited at, deleted, changed seq, conversation, bucket, seq)
    change_event: Conditional,
        "UPDATE log USING TTL ? SET content = ?, edited_at_ms = ?, deleted = ?, changed_seq = ? \
         WHERE conversation = ? AND bucket = ? AND part = 0 AND number = ? AND message_id = 0x";

    // ---- changes of events in older buckets
    /// As `change_event`, then (event id, changed seq as read).
    change_event_if: Conditional,
        "UPDATE log USING TTL ? SET content = ?, edited_at_ms = ?, deleted = ?, changed_seq = ? \
         WHERE conversation = ? AND bucket = ? AND part = 0 AND number = ? AND message_id = 0x IF event_id = ? AND changed_seq = ?";
    /// (conversation, bucket, seq, event id)
    take_text: Conditional,
        "UPDATE log SET content = null WHERE conversation = ? AND bucket = ? AND part = 0 AND number = ? \
         AND message_id = 0x IF event_id = ?";
    /// (timestamp, seq, conversation)
    begin_change: Plain, "UPDATE logs USING TIMESTAMP ? SET change_begun = ? WHERE conversation = ?";
    end_change: Plain, "UPDATE logs USING TIMESTAMP ? SET change_done = ? WHERE conversation = ?";
    /// (conversation, bucket, after, up to)
    changes: Plain,
        concat!("SELECT ", event_columns!(), " FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number > ? \
         AND number <= ?");

    // ---- reading events
    /// (conversation, bucket, seq)
    event: Plain,
        concat!("SELECT ", event_columns!(), " FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number = ?");
    event_serial: SerialRead,
        concat!("SELECT ", event_columns!(), " FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number = ?");
    /// (conversation, bucket, from, before, limit)
    newest: Plain,
        concat!("SELECT ", event_columns!(), " FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number >= ? \
         AND number < ? ORDER BY part DESC, number DESC, message_id DESC LIMIT ?");
    oldest: Plain,
        concat!("SELECT ", event_columns!(), " FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number >= ? \
         AND number < ? LIMIT ?");
    // Filtering is bounded by the bucket.
    newest_messages: Plain,
        concat!("SELECT ", event_columns!(), " FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number >= ? \
         AND number < ? AND what = 0 ORDER BY part DESC, number DESC, message_id DESC LIMIT ? ALLOW FILTERING");
    oldest_messages: Plain,
        concat!("SELECT ", event_columns!(), " FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number >= ? \
         AND number < ? AND what = 0 LIMIT ? ALLOW FILTERING");
    /// (conversation, bucket, event id)
    by_id: Plain,
        concat!("SELECT ", event_columns!(), " FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND event_id = ? \
         ALLOW FILTERING");
    /// (conversation, bucket, [(part, sender, message id)]). All of the key, as ScyllaDB mixes no kinds of restriction.
    ids: Plain,
        "SELECT number, message_id, seq FROM log WHERE conversation = ? AND bucket = ? AND (part, number, message_id) IN ?";

    // ---- totals
    /// (conversation, bucket, sender)
    own: Plain, "SELECT own FROM log WHERE conversation = ? AND bucket = ? AND part = 2 AND number = ? AND message_id = 0x";
    /// (conversation, bucket, up to, sender)
    own_before: Plain,
        "SELECT own FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number <= ? AND sender = ? \
         ORDER BY part DESC, number DESC, message_id DESC LIMIT 1 ALLOW FILTERING";
    /// (conversation, bucket, after, sender)
    own_after: Plain,
        "SELECT own, what FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number > ? AND sender = ? LIMIT 1 \
         ALLOW FILTERING";
    /// (conversation, sender, before bucket, limit)
    sender_buckets: Plain,
        "SELECT bucket, first_at_ms FROM senders WHERE conversation = ? AND sender = ? AND bucket < ? LIMIT ?";
    /// (conversation, sender, bucket, first at)
    put_sender: Plain, "INSERT INTO senders (conversation, sender, bucket, first_at_ms) VALUES (?, ?, ?, ?)";

    // ---- where a log is
    log: Plain,
        "SELECT head_bucket, oldest_seq, expiring, change_begun, change_done FROM logs WHERE conversation = ?";
    /// (timestamp, bucket, conversation)
    put_head_bucket: Plain, "UPDATE logs USING TIMESTAMP ? SET head_bucket = ? WHERE conversation = ?";
    put_oldest: Plain, "UPDATE logs USING TIMESTAMP ? SET oldest_seq = ? WHERE conversation = ?";
    put_expiring: Plain, "UPDATE logs USING TIMESTAMP 1 SET expiring = true WHERE conversation = ?";

    // ---- retention
    put_age: Plain, "INSERT INTO ages (day, slot, at_ms, conversation) VALUES (?, ?, ?, ?)";
    remove_age: Plain, "DELETE FROM ages WHERE day = ? AND slot = ? AND at_ms = ? AND conversation = ?";
    /// (day, slot, before, limit)
    ages: Plain, "SELECT at_ms, conversation FROM ages WHERE day = ? AND slot = ? AND at_ms < ? LIMIT ?";
    put_day: Plain, "INSERT INTO age_days (one, day) VALUES (0, ?)";
    remove_day: Plain, "DELETE FROM age_days WHERE one = 0 AND day = ?";
    days: Plain, "SELECT day FROM age_days WHERE one = 0 AND day <= ?";
    /// (below, conversation, bucket, below as read)
    removed_below: Conditional,
        "UPDATE log USING TTL 0 SET removed_below = ? WHERE conversation = ? AND bucket = ? IF removed_below = ?";
    /// (conversation, bucket, below)
    remove_events: Conditional, "DELETE FROM log WHERE conversation = ? AND bucket = ? AND part = 0 AND number < ?";
    /// (conversation, bucket, sender, message id)
    remove_id: Conditional,
        "DELETE FROM log WHERE conversation = ? AND bucket = ? AND part = 1 AND number = ? AND message_id = ?";
    /// (conversation, bucket)
    remove_ids: Conditional, "DELETE FROM log WHERE conversation = ? AND bucket = ? AND part = 1";

    ping: Plain, "SELECT value FROM store_info WHERE name = 'epoch'";
}
