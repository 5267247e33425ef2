//! Turns answers of conversations into frames, in the dialect of the socket that asked. Only the tag says which: a session asks with its
//! own dialect's tags.

use chinwag_schema::wire::Dialect;

use super::{Tag, messenger, native, outbox::Outbox, rooms};
use crate::conversation::messages::Answer;

/// Sends what the client sees of an answer. Called by the relay, in order with the events of the conversation, so it must not wait.
pub fn answer(_dialect: Dialect, tag: &Tag, answer: Answer, outbox: &Outbox, now_ms: i64) {
    match tag {
        Tag::Native(tag) => native::render(tag, answer, outbox, now_ms),
        Tag::Rooms(tag) => rooms::render(tag, answer, outbox, now_ms),
        Tag::Messenger(tag) => messenger::render(tag, answer, outbox),
        Tag::Silent => {}
    }
}
