//! Messages: sending, editing, deleting, typing. All go to the current room.

use std::sync::atomic::Ordering::Relaxed;

use chinwag_schema::{
    ids::EventId,
    limits::conversation::ROOMS_EDIT_WINDOW,
    wire::{
        Dialect,
        rooms::{ErrorCode, ErrorInfo},
    },
};

use super::{Io, RoomsSession, RoomsTag, Tag, fail, rate_limited};
use crate::{conversation::messages::ConversationMessage, protection::SpamReason};

/// Typing frames of one socket that are heard in a second.
const TYPING_MAX_PER_S: u32 = 20;

impl RoomsSession {
    pub(super) fn send_message(&mut self, content: String, io: &mut Io<'_, '_>) {
        let Some(room) = &self.room else {
            return fail(ErrorInfo::must_join(), io);
        };
        let (caller, now) = (io.caller(), io.tools.now());
        if let Err(wait) = io.node.protection.message(Dialect::Rooms, caller.user, now) {
            return rate_limited(wait, io);
        }
        if let Err(reasons) = io.node.protection.spam(caller.user, &content, now) {
            io.node.counters.spam.fetch_add(1, Relaxed);
            return fail(spam(&reasons), io);
        }
        self.messages += 1;
        let reply = io.reply_to(Tag::Rooms(RoomsTag::Send { guest: caller.guest }));
        let content = content.into();
        io.tell(room.id, ConversationMessage::Post { from: caller, client_id: None, content, reply });
    }

    pub(super) fn edit_message(&mut self, target: EventId, content: String, io: &mut Io<'_, '_>) {
        let Some(room) = &self.room else {
            return fail(ErrorInfo::must_join(), io);
        };
        let caller = io.caller();
        if caller.guest && !self.own.contains(&target) {
            return fail(not_own("edit"), io);
        }
        if let Err(wait) = io.node.protection.message(Dialect::Rooms, caller.user, io.tools.now()) {
            return rate_limited(wait, io);
        }
        let within_ms = i64::try_from(ROOMS_EDIT_WINDOW.as_millis()).ok();
        let reply = io.reply_to(Tag::Rooms(RoomsTag::Change));
        let content = content.into();
        io.tell(room.id, ConversationMessage::Edit { from: caller, target, content, within_ms, reply });
    }

    pub(super) fn delete_message(&mut self, target: EventId, io: &mut Io<'_, '_>) {
        let Some(room) = &self.room else {
            return fail(ErrorInfo::must_join(), io);
        };
        let caller = io.caller();
        if caller.guest && !self.own.contains(&target) {
            return fail(not_own("delete"), io);
        }
        let reply = io.reply_to(Tag::Rooms(RoomsTag::Change));
        io.tell(room.id, ConversationMessage::Delete { from: caller, target, reply });
    }

    /// Outside a room nobody is there to see it.
    pub(super) fn typing(&mut self, active: bool, io: &mut Io<'_, '_>) {
        let second = io.now_ms() / 1000;
        let count = if self.typing.0 == second { self.typing.1 + 1 } else { 1 };
        self.typing = (second, count);
        if count > TYPING_MAX_PER_S {
            // Nothing answers these frames, so nothing else slows a client that floods the room with them.
            return;
        }
        if let Some(room) = &self.room {
            io.tell(room.id, ConversationMessage::Typing { from: io.caller(), active });
        }
    }
}

/// Guests share their user id with all who name the same guest, so that only the socket proves whose a message is.
fn not_own(what: &str) -> ErrorInfo {
    let text = format!("You can only {what} messages that you sent from this connection");
    ErrorInfo::new(ErrorCode::Unauthorized, text).field("messageId")
}

fn spam(reasons: &[SpamReason]) -> ErrorInfo {
    let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
    ErrorInfo::invalid(format!("Message looks like spam: {}", reasons.join(", "))).field("content")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spam_is_refused_with_its_reasons() {
        let error = spam(&[SpamReason::Capitals, SpamReason::LinkShortener]);
        assert_eq!(error.message, "Message looks like spam: too many capital letters, it contains a shortened link");
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidMessage, Some("content")));
    }
}
