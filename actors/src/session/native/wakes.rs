//! Conversations that wake, fall asleep, or become the user's.

use std::sync::Arc;

use chinwag_schema::{
    error::CloseCode, event::Event, ids::ConversationId, limits::user::CONVERSATIONS_MAX, model::Conversation,
    wire::encoded_event::EncodedEvent,
};
use rustc_hash::FxHashMap;

use super::{Io, Known, NativeSession, Own, Phase};
use crate::{
    conversation::messages::{ConversationMessage, Woken},
    presence::PresenceMessage,
};

/// Wakes that wait for a reply; one per conversation, so as many as a user may be a member of, and some that were left meanwhile.
const WAKES_MAX: usize = CONVERSATIONS_MAX + 1000;
/// Own joins and creations whose wake hasn't come; beyond it the oldest knowledge is dropped, and an event too many is sent.
const OWN_MAX: usize = 256;

/// Wakes that came while heads were being read.
pub(super) type Wakes = FxHashMap<ConversationId, Woken>;

impl NativeSession {
    /// A conversation of this user is awake, or became the user's.
    pub(super) fn woken(&mut self, woken: Woken, io: &Io<'_, '_>) {
        if matches!(self.phase, Phase::Silent | Phase::Over) {
            return;
        }
        if let Some(gathering) = &mut self.gathering {
            if gathering.wakes.len() >= WAKES_MAX {
                return self.close(CloseCode::SLOW_READER, "too many conversations at once", io);
            }
            keep(gathering.wakes.entry(woken.id).or_insert_with(|| woken.clone()), woken);
            return;
        }
        let own = self.rare.as_mut().and_then(|rare| rare.own.get_mut(&woken.id));
        match own {
            Some(Own::Asked(waiting)) => {
                match waiting {
                    Some(waiting) => keep(waiting, woken),
                    None => *waiting = Some(Box::new(woken)),
                }
                return;
            }
            Some(Own::Told) if woken.added.is_some() => {
                self.rare().own.remove(&woken.id);
            }
            _ => {
                if let Some(conversation) = &woken.added {
                    self.added(conversation, &woken, io);
                }
            }
        }
        self.attach(&woken, io);
    }

    /// Handles wakes that waited.
    pub(super) fn release(&mut self, wakes: Wakes, io: &Io<'_, '_>) {
        for (_, woken) in wakes {
            self.woken(woken, io);
        }
    }

    /// The conversation sleeps; this socket was handed everything up to its head.
    pub(super) fn fell_asleep(&mut self, woken: &Woken) {
        if let Some(gathering) = &mut self.gathering {
            gathering.wakes.remove(&woken.id);
        }
        if let Some(known) = self.known.get_mut(&woken.id) {
            known.head = woken.head;
            known.asked = false;
        }
    }

    /// Tells the client of a conversation that became its user's elsewhere.
    fn added(&mut self, conversation: &Arc<Conversation>, woken: &Woken, io: &Io<'_, '_>) {
        let event = Event::Added { conversation: conversation.clone(), epoch: io.node.epoch, head: woken.head };
        io.send_event(&Arc::new(EncodedEvent::new(event, io.now_ms())));
        // Not what was known before: the user may have been gone for a while.
        let other = self.watch_other(conversation, io);
        self.known.insert(woken.id, Known { other, ..Known::at(woken.head) });
    }

    /// Asks for the events after the head that the client was shown.
    fn attach(&mut self, woken: &Woken, io: &Io<'_, '_>) {
        // The relay knows best: an attachment that was asked for may have been lost with a conversation that couldn't load.
        if io.is_attached(woken.id) {
            return;
        }
        let known = self.known.entry(woken.id).or_insert(Known::at(woken.head));
        known.asked = true;
        io.tell(woken.id, ConversationMessage::Attach { from: io.caller(), after: known.head });
    }

    /// Begins a request that makes or joins a conversation: its reply tells of it.
    pub(super) fn own_asked(&mut self, conversation: ConversationId) {
        let own = &mut self.rare().own;
        if own.len() >= OWN_MAX {
            own.retain(|_, own| matches!(own, Own::Asked(_)));
        }
        own.insert(conversation, Own::Asked(None));
    }

    /// Its reply is out. `shown` is the head in it, `new` whether a wake says 'added'; `None`: it failed.
    pub(super) fn own_answered(&mut self, conversation: ConversationId, shown: Option<(Known, bool)>, io: &Io<'_, '_>) {
        let own = self.rare().own.remove(&conversation);
        let waiting = match own {
            Some(Own::Asked(waiting)) => waiting,
            _ => None,
        };
        match (shown, waiting) {
            (None, Some(woken)) => self.woken(*woken, io),
            (None, None) => {}
            (Some((known, new)), waiting) => {
                if new {
                    self.known.insert(conversation, known);
                } else {
                    let place = self.known.entry(conversation).or_insert(known);
                    place.other = place.other.or(known.other);
                }
                let told = waiting.as_ref().is_some_and(|woken| woken.added.is_some());
                if let Some(woken) = waiting {
                    self.attach(&woken, io);
                }
                if new && !told {
                    self.rare().own.insert(conversation, Own::Told);
                }
            }
        }
    }

    /// Watches the other user of a one-to-one chat, and returns it.
    pub(super) fn watch_other(
        &self,
        conversation: &Conversation,
        io: &Io<'_, '_>,
    ) -> Option<chinwag_schema::ids::UserId> {
        let other = conversation.other(io.caller().user)?.user;
        // Full: presence is shed first.
        let _ = io.node.presence.tell(PresenceMessage::Watch { slot: io.slot, users: vec![other] });
        Some(other)
    }
}

/// Keeps the newer of two wakes, and that one of them said 'added'.
fn keep(place: &mut Woken, newer: Woken) {
    let added = newer.added.clone().or(place.added.take());
    *place = Woken { added, ..newer };
}
