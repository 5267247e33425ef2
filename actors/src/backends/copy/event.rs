//! An event as both stores keep it, whole: with what no port shows (the digest that repeats are compared by).

use sha2::{Digest, Sha256};

use super::canonical::Canonical;

/// A row of a log. Kinds have the same numbers in both stores: 0 message, 1 edited, 2 deleted, 3 joined, 4 left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub seq: i64,
    pub id: i64,
    pub at_ms: i64,
    pub kind: i8,
    pub sender: i64,
    pub sender_name: String,
    /// Messages of the log up to and including this event.
    pub messages: i64,
    /// Those of its sender.
    pub own: i64,
    pub client_id: Option<Vec<u8>>,
    /// As it stands: edited, or blanked.
    pub content: String,
    /// Of the text first sent, if the message has a client id.
    pub digest: Option<Vec<u8>>,
    /// Seq and id of what an edit or a deletion changed.
    pub target: Option<(i64, i64)>,
    pub edited_at_ms: Option<i64>,
    pub deleted: bool,
}

impl Event {
    /// Says whether it counts in the totals.
    pub(crate) const fn is_message(&self) -> bool {
        self.kind == 0
    }

    /// Adds everything to a checksum, each field so that it can't run into the next.
    pub(crate) fn feed(&self, sum: &mut Sha256) {
        let Self { seq, id, at_ms, kind, sender, sender_name, messages, own, client_id, content, digest, .. } = self;
        for number in [seq, id, at_ms, sender, messages, own] {
            number.feed(sum);
        }
        kind.feed(sum);
        sender_name.feed(sum);
        client_id.feed(sum);
        content.feed(sum);
        digest.feed(sum);
        self.target.map(|(seq, _)| seq).feed(sum);
        self.target.map(|(_, id)| id).feed(sum);
        self.edited_at_ms.feed(sum);
        self.deleted.feed(sum);
    }

    /// Names the fields in which another event differs; empty if it is the same.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let fields = [
            ("seq", self.seq == other.seq),
            ("id", self.id == other.id),
            ("time", self.at_ms == other.at_ms),
            ("kind", self.kind == other.kind),
            ("sender", self.sender == other.sender),
            ("sender's name", self.sender_name == other.sender_name),
            ("messages so far", self.messages == other.messages),
            ("sender's messages so far", self.own == other.own),
            ("message id", self.client_id == other.client_id),
            ("text", self.content == other.content),
            ("digest", self.digest == other.digest),
            ("target", self.target == other.target),
            ("time of the edit", self.edited_at_ms == other.edited_at_ms),
            ("deletion", self.deleted == other.deleted),
        ];
        fields.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
    }
}

/// Returns the checksum of one log whose events were fed.
pub(crate) fn finished(sum: Sha256) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&sum.finalize());
    bytes
}
