//! What a run sent, what was acknowledged, and what each receiver heard; at the end compared with the histories.
//!
//! The rules, for each conversation with its history H (the run's messages in it, oldest first):
//! * every acknowledged message is in H exactly once, every sender's in its order;
//! * what a receiver heard is a piece of H without holes, repetition or exchange (without its own messages where the protocol doesn't send
//!   those back), and one that stayed to the end heard everything that was sent after it had joined;
//! * a receiver that was told of a gap begins anew after it.

use std::time::Duration;

use crate::{
    content::Mark,
    peer::{Login, To},
    report::model::Checked,
    run::Run,
};

/// A conversation under check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaceId(u32);

/// What the tasks of a run note.
#[derive(Debug, Default)]
pub struct Ledger {}

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub checked: Checked,
    pub violations: Vec<String>,
}

impl Ledger {
    /// Adds a conversation. `reader` can read its history over the native protocol; `echoes`: senders hear their own messages.
    pub fn place(&self, to: To, reader: Login, echoes: bool) -> PlaceId {
        todo!()
    }

    /// Notes a message before it is written.
    pub fn sent(&self, place: PlaceId, mark: Mark) {
        todo!()
    }

    /// Notes that the server acknowledged it.
    pub fn stored(&self, mark: &Mark) {
        todo!()
    }

    /// Notes that the server refused it: it must not be anywhere.
    pub fn refused(&self, mark: &Mark) {
        todo!()
    }

    /// Begins to listen: `receiver` is the receiver's own index as a sender (`u32::MAX` if it never sends). Call it after the join was
    /// answered.
    pub fn listen(&self, place: PlaceId, receiver: u32) -> Ear {
        todo!()
    }

    /// Waits until every receiver that stays has heard every acknowledged message, or nothing has come for `patience`.
    pub async fn settle(&self, patience: Duration) {
        todo!()
    }

    /// Reads all histories (over native sockets of their readers) and compares.
    pub async fn verify(&self, run: &Run) -> anyhow::Result<Verdict> {
        todo!()
    }
}

/// What one receiver hears of one conversation. Dropped while listening: it left, and what came last is not missed.
#[derive(Debug)]
pub struct Ear {}

impl Ear {
    /// Notes a message.
    pub fn heard(&mut self, mark: &Mark) {
        todo!()
    }

    /// Notes that the server told of a gap.
    pub fn gap(&mut self) {
        todo!()
    }

    /// Ends listening at the end of the run: it must have heard everything.
    pub fn stayed(self) {
        todo!()
    }
}
