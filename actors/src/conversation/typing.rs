//! Who types. Ephemeral: never stored, shed first, and quiet in large rooms.

use std::{sync::Arc, time::Duration};

use chinwag_schema::{
    event::Event,
    ids::{Slot, UserId},
    limits::conversation::{TYPING_LAPSE, TYPISTS_MAX},
    model::Name,
};
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

use super::{
    C, ConversationKeep, Ready,
    messages::{Caller, ConversationMessage},
    policy::Policy,
};

/// Who goes on typing is told again after this time at the earliest: a client may repeat itself as fast as it can write.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Who types now, at most `TYPISTS_MAX` of them, in the order in which they began.
#[derive(Default)]
pub(super) struct Typing {
    typists: IndexMap<UserId, Typist, FxBuildHasher>,
}

struct Typist {
    name: Name,
    slot: Slot,
    until: Instant,
    /// When its timer looks whether it ended.
    looks_at: Instant,
    /// When the others were told last.
    told: Instant,
}

impl Ready {
    pub(super) fn typing<P: Policy>(&mut self, from: &Arc<Caller>, active: bool, cx: &mut C<'_, P>) {
        let hears = cx.keep.listeners.get(from.slot).is_some();
        if !hears || P::may_post(from, self.is_member(from)).is_err() {
            return;
        }
        if !active {
            return self.stop_typing(from.user, cx);
        }
        let full = self.typing.typists.len() >= TYPISTS_MAX && !self.typing.typists.contains_key(&from.user);
        if full {
            return;
        }
        let (now, until) = (cx.now(), cx.now() + TYPING_LAPSE);
        match self.typing.typists.get_mut(&from.user) {
            Some(typist) => {
                // Its timer looks at `until`. The others know already, if they were told just now.
                typist.until = until;
                if now < typist.told + TOLD_AGAIN_AFTER {
                    return;
                }
                (typist.told, typist.slot) = (now, from.slot);
            }
            None => {
                let typist = Typist { name: from.name.clone(), slot: from.slot, until, looks_at: until, told: now };
                self.typing.typists.insert(from.user, typist);
                cx.after(TYPING_LAPSE, ConversationMessage::TypingLapsed { user: from.user });
            }
        }
        self.tell_typing(from.name.clone(), true, Some(from.slot), cx.unix_ms(), cx.keep);
    }

    pub(super) fn typing_lapsed<P: Policy>(&mut self, user: UserId, cx: &mut C<'_, P>) {
        let now = cx.now();
        match self.typing.typists.get_mut(&user) {
            // The timer of an earlier beginning: another one runs.
            Some(typist) if now < typist.looks_at => {}
            Some(typist) if now < typist.until => {
                typist.looks_at = typist.until;
                cx.after(typist.until - now, ConversationMessage::TypingLapsed { user });
            }
            Some(_) => self.stop_typing(user, cx),
            None => {}
        }
    }

    /// Ends a user's typing: asked to, by a message, or because its socket left.
    pub(super) fn stop_typing<P: Policy>(&mut self, user: UserId, cx: &mut C<'_, P>) {
        if let Some(typist) = self.typing.typists.shift_remove(&user) {
            self.tell_typing(typist.name, false, Some(typist.slot), cx.unix_ms(), cx.keep);
        }
    }

    fn tell_typing(&self, who: Name, active: bool, except: Option<Slot>, now_ms: i64, keep: &ConversationKeep) {
        if keep.listeners.user_count() > keep.node.settings.announce_max_listeners {
            return;
        }
        let typists = self.typing.typists.values().map(|typist| typist.name.clone()).collect();
        let event = Event::Typing { origin: self.origin.clone(), who, active, typists };
        self.deliver_ephemeral(event, except, now_ms, keep);
    }
}
