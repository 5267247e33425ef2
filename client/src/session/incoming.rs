//! What the server says: each frame goes to whom it concerns, and what passes (who types, listens, is online) is noted here.

use std::time::Instant;

use chinwag_schema::{
    model::Pointer,
    wire::native::{Notice, ServerFrame},
};

use super::{Event, Session, TYPING_SHOWN, Timer};

impl Session {
    /// Takes a frame of the welcomed link. Returns how long to wait before another link is opened, if the server asks for that.
    /// `Err`: it isn't of this protocol.
    pub(crate) fn frame(&mut self, frame: ServerFrame, now: Instant) -> Result<Option<u64>, serde_json::Error> {
        match frame {
            ServerFrame::Reply { id: Some(id), outcome } => self.replied(&id, outcome, now)?,
            // An answer to a frame of ours that was too broken to have an id: none of ours is.
            ServerFrame::Reply { id: None, .. } => {}
            ServerFrame::Logged(event) => self.accept(event, now),
            ServerFrame::Notice(Notice::Drain { reconnect_after_ms }) => return Ok(Some(reconnect_after_ms)),
            ServerFrame::Notice(notice) => self.notice(notice, now),
        }
        Ok(None)
    }

    fn notice(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Pointer { conversation, user, pointer, seq } => {
                let me = self.model.me_id();
                let Some(one) = self.model.conversations.get_mut(&conversation) else { return };
                if user.id != me {
                    one.peer(user.id, pointer, seq);
                } else if pointer == Pointer::Read && seq > one.own.read {
                    // Another device of ours.
                    one.own.read = seq;
                    one.own.delivered = one.own.delivered.max(seq);
                    if seq >= one.position().seq {
                        one.unread = 0;
                    } else {
                        self.relearn(conversation, now);
                    }
                }
                self.tell(Event::Changed(conversation));
            }
            Notice::Typing { conversation, typists, .. } => {
                let me = self.model.me.as_ref().map(|me| me.name.clone());
                let Some(one) = self.model.conversations.get_mut(&conversation) else { return };
                one.typists = typists.into_iter().filter(|name| Some(name) != me.as_ref()).collect();
                self.timers.retain(|(_, timer)| *timer != Timer::TypingLapse(conversation));
                self.at(now + TYPING_SHOWN, Timer::TypingLapse(conversation));
                self.tell(Event::Changed(conversation));
            }
            Notice::Presence { user, online, last_seen } => {
                let chats = self.model.conversations.values_mut();
                let one = chats.into_iter().find(|one| one.with.as_ref().is_some_and(|with| with.id == user.id));
                if let Some(one) = one
                    && let Some(with) = &mut one.with
                {
                    (with.online, with.last_seen) = (Some(online), last_seen.or(with.last_seen));
                    let id = one.id;
                    self.tell(Event::Changed(id));
                }
            }
            Notice::Listener { conversation, user, listening, listeners } => {
                let Some(one) = self.model.conversations.get_mut(&conversation) else { return };
                one.listeners = listeners;
                one.listener_names.retain(|name| *name != user.name);
                if listening {
                    one.listener_names.push(user.name);
                }
                self.tell(Event::Changed(conversation));
            }
            Notice::ConversationAdded { conversation } => self.joined(&conversation, now),
            Notice::ConversationRemoved { conversation } => self.left(conversation),
            Notice::Gap { conversation, epoch, to, .. } => self.gap(conversation, epoch, to, now),
            Notice::Notification { message, timestamp } => {
                self.tell(Event::Notification { message: message.to_string(), timestamp });
            }
            Notice::Drain { .. } | Notice::Unknown => {}
        }
    }
}
