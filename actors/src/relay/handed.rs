//! What a messenger socket was handed, and what of it has certainly arrived.
//!
//! Nothing in the dialect acknowledges a single message, so pings do: a pong proves that everything written before its ping arrived.

use std::cell::RefCell;

use chinwag_schema::ids::{ConversationId, Seq};

/// Positions up to which a socket was handed the events of conversations. Costs a pointer while nothing is open.
#[derive(Debug, Default)]
pub(super) struct Handed(RefCell<Option<Box<Open>>>);

pub(super) type Positions = Vec<(ConversationId, Seq)>;

#[derive(Debug, Default)]
struct Open {
    /// Since the last ping that began a round.
    since_ping: Positions,
    /// Before a ping whose pong isn't there yet. A ping sent meanwhile begins no round of its own.
    pinged: Positions,
    /// Certainly arrived, and not yet taken by the session.
    arrived: Positions,
}

impl Handed {
    /// Notes that an event was queued for the socket.
    pub(super) fn note(&self, conversation: ConversationId, seq: Seq) {
        let mut open = self.0.borrow_mut();
        advance(&mut open.get_or_insert_default().since_ping, conversation, seq);
    }

    /// Notes that a ping was queued behind all that was handed so far.
    pub(super) fn ping_goes_out(&self) {
        if let Some(open) = &mut *self.0.borrow_mut()
            && open.pinged.is_empty()
        {
            open.pinged = std::mem::take(&mut open.since_ping);
        }
    }

    /// Says whether something was handed that no ping has followed yet.
    pub(super) fn wants_ping(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(|open| !open.since_ping.is_empty())
    }

    /// Notes that the pong to the ping that began the round came back.
    pub(super) fn pong_came(&self) {
        if let Some(open) = &mut *self.0.borrow_mut() {
            for (conversation, seq) in std::mem::take(&mut open.pinged) {
                advance(&mut open.arrived, conversation, seq);
            }
        }
    }

    /// Notes that everything arrived: the client closed cleanly.
    pub(super) fn all_arrived(&self) {
        self.pong_came();
        self.ping_goes_out();
        self.pong_came();
    }

    /// Takes the positions that have certainly arrived.
    pub(super) fn take_arrived(&self) -> Positions {
        let mut place = self.0.borrow_mut();
        let Some(open) = &mut *place else { return Positions::new() };
        let arrived = std::mem::take(&mut open.arrived);
        if open.since_ping.is_empty() && open.pinged.is_empty() {
            *place = None;
        }
        arrived
    }

    /// Returns the positions handed, arrived or not, as far as they weren't taken.
    pub(super) fn so_far(&self) -> Positions {
        let mut all = Positions::new();
        if let Some(open) = &*self.0.borrow() {
            for &(conversation, seq) in open.arrived.iter().chain(&open.pinged).chain(&open.since_ping) {
                advance(&mut all, conversation, seq);
            }
        }
        all
    }
}

fn advance(positions: &mut Positions, conversation: ConversationId, seq: Seq) {
    match positions.iter_mut().find(|(known, _)| *known == conversation) {
        Some((_, known)) => *known = seq.max(*known),
        None => positions.push((conversation, seq)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: ConversationId = ConversationId(6);
    const GROUP: ConversationId = ConversationId(9);

    #[test]
    fn a_pong_proves_what_came_before_its_ping_and_nothing_later() {
        let handed = Handed::default();
        handed.note(CHAT, Seq(1));
        handed.note(CHAT, Seq(2));
        assert!(handed.wants_ping());
        handed.ping_goes_out();
        assert!(!handed.wants_ping());
        handed.note(CHAT, Seq(3));
        handed.note(GROUP, Seq(1));
        // A second ping before the first pong: the first pong must not prove what came between.
        handed.ping_goes_out();
        handed.pong_came();
        assert_eq!(handed.take_arrived(), [(CHAT, Seq(2))]);
        assert_eq!(handed.so_far(), [(CHAT, Seq(3)), (GROUP, Seq(1))]);
        assert!(handed.wants_ping());
        handed.pong_came();
        assert_eq!(handed.take_arrived(), [], "a pong that nobody asked for proves nothing");
    }

    #[test]
    fn a_clean_close_proves_everything_and_nothing_is_kept() {
        let handed = Handed::default();
        handed.note(CHAT, Seq(1));
        handed.ping_goes_out();
        handed.note(CHAT, Seq(2));
        handed.note(GROUP, Seq(7));
        handed.all_arrived();
        assert_eq!(handed.take_arrived(), [(CHAT, Seq(2)), (GROUP, Seq(7))]);
        assert!(handed.0.borrow().is_none());
    }
}
