//! Up to where a native user has everything, by conversation: what it names when it comes back, to have the rest replayed.
//!
//! Events of a conversation come in order over one socket, so the last one heard says it, whatever stood between. A reply to a message of
//! one's own may overtake events: it counts only when it is next.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chinwag_schema::{
    ids::{ConversationId, Epoch, Seq},
    limits::native::POSITIONS_MAX,
    model::Position,
};
use serde::Deserialize;

/// Where a sequenced event, or the answer to a message, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Place {
    pub conversation: ConversationId,
    pub epoch: Epoch,
    pub seq: Seq,
}

/// Positions of one user.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    reached: HashMap<ConversationId, Reached>,
    /// Rooms that the user listens to without being a member: a hello would only say that something is missing there.
    listened: HashSet<ConversationId>,
}

#[derive(Debug, Clone)]
struct Reached {
    position: Position,
    /// Own messages beyond the position.
    own: BTreeSet<Seq>,
}

impl Reached {
    fn advance(&mut self) {
        self.own.retain(|seq| *seq > self.position.seq);
        while self.own.remove(&self.position.seq.next()) {
            self.position.seq = self.position.seq.next();
        }
    }
}

impl Positions {
    fn at(&mut self, place: Place) -> &mut Reached {
        let start = Position { epoch: place.epoch, seq: place.seq };
        let reached =
            self.reached.entry(place.conversation).or_insert_with(|| Reached { position: start, own: BTreeSet::new() });
        if reached.position.epoch != place.epoch {
            *reached = Reached { position: start, own: BTreeSet::new() };
        }
        reached
    }

    /// Begins a conversation at its head; nothing happens if it is known.
    pub fn begin(&mut self, head: Place) {
        self.at(head);
    }

    /// Begins a room that is only listened to.
    pub fn listen(&mut self, head: Place) {
        self.listened.insert(head.conversation);
        self.begin(head);
    }

    /// Notes an event that was heard, or the end of what was left out.
    pub fn heard(&mut self, place: Place) {
        let reached = self.at(place);
        reached.position.seq = reached.position.seq.max(place.seq);
        reached.advance();
    }

    /// Notes the answer to an own message.
    pub fn answered(&mut self, place: Place) {
        let reached = self.at(place);
        reached.own.insert(place.seq);
        reached.advance();
    }

    /// Returns the position in a conversation.
    pub fn of(&self, conversation: ConversationId) -> Option<Position> {
        self.reached.get(&conversation).map(|reached| reached.position)
    }

    /// Returns the positions that a hello has replayed, as many as it takes: those of the user's own conversations.
    pub fn named(&self) -> BTreeMap<ConversationId, Position> {
        let own = self.reached.iter().filter(|(conversation, _)| !self.listened.contains(conversation));
        own.map(|(conversation, reached)| (*conversation, reached.position)).take(POSITIONS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ConversationId = ConversationId(4);

    fn place(seq: u64) -> Place {
        Place { conversation: HERE, epoch: Epoch(1), seq: Seq(seq) }
    }

    fn seq(positions: &Positions) -> u64 {
        positions.of(HERE).unwrap().seq.0
    }

    #[test]
    fn an_answer_that_overtakes_events_counts_when_they_have_come() {
        let mut positions = Positions::default();
        positions.begin(place(10));
        positions.begin(place(7));
        positions.answered(place(13));
        assert_eq!(seq(&positions), 10, "11 and 12 aren't here yet");
        positions.heard(place(11));
        assert_eq!(seq(&positions), 11);
        positions.heard(place(12));
        assert_eq!(seq(&positions), 13);
        positions.heard(place(15));
        positions.answered(place(16));
        assert_eq!(seq(&positions), 16, "what wasn't for this user isn't waited for");
    }

    #[test]
    fn another_log_begins_anew() {
        let mut positions = Positions::default();
        positions.heard(place(10));
        positions.heard(Place { epoch: Epoch(2), ..place(3) });
        assert_eq!(positions.of(HERE), Some(Position { epoch: Epoch(2), seq: Seq(3) }));
    }

    #[test]
    fn a_hello_names_own_conversations_only() {
        let room = ConversationId(5);
        let mut positions = Positions::default();
        positions.begin(place(10));
        positions.listen(Place { conversation: room, ..place(3) });
        positions.heard(Place { conversation: room, ..place(4) });
        assert_eq!(positions.named().keys().collect::<Vec<_>>(), [&HERE]);
        assert_eq!(positions.of(room).unwrap().seq, Seq(4));
    }

    #[test]
    fn a_frame_tells_its_place() {
        let frame =
            r#"{"event":"message","conversation":"4","epoch":"0000000000000001","seq":5,"id":"9","content":"x"}"#;
        assert_eq!(serde_json::from_str::<Place>(frame).unwrap(), place(5));
    }
}
