//! Up to where each conversation is on the paper. What the client has goes further: its events wait to be printed, and a run that is killed
//! loses those. The next run must go on behind the last line that was printed.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use chinwag_client::{Conversation, ConversationId, Position, Resume, Seq};

/// The last printed position of each conversation.
#[derive(Debug, Default)]
pub struct Printed {
    positions: BTreeMap<ConversationId, Position>,
    earlier: BTreeSet<ConversationId>,
}

impl Printed {
    /// Begins where an earlier run has left off.
    pub fn after(resume: &Resume) -> Self {
        Self { positions: resume.positions.clone(), earlier: resume.positions.keys().copied().collect() }
    }

    /// Says whether an earlier run was there: what came since is printed by itself.
    pub fn is_of_earlier_run(&self, id: ConversationId) -> bool {
        self.earlier.contains(&id)
    }

    /// Notes that everything up to here was printed.
    pub fn to(&mut self, id: ConversationId, position: Position) {
        self.positions.insert(id, position);
    }

    /// Notes where a conversation begins for this run, unless something of it was printed already.
    pub fn begin(&mut self, id: ConversationId, position: Position) {
        self.positions.entry(id).or_insert(position);
    }

    pub fn forget(&mut self, id: ConversationId) {
        self.positions.remove(&id);
        self.earlier.remove(&id);
    }

    /// Returns what the client says of where it is, put back to what was printed; `began`: where a conversation began of which nothing was.
    pub fn resume(&mut self, mut ahead: Resume, began: impl Fn(ConversationId) -> Option<Position>) -> Resume {
        for (&id, position) in &mut ahead.positions {
            match self.positions.entry(id) {
                Entry::Occupied(printed) => *position = *printed.get(),
                Entry::Vacant(vacant) => *position = *vacant.insert(began(id).unwrap_or(*position)),
            }
        }
        ahead
    }
}

/// Returns what lies before the window of a conversation.
pub fn before_window(conversation: &Conversation) -> Position {
    Position { seq: Seq(conversation.from().0.saturating_sub(1)), ..conversation.position() }
}

#[cfg(test)]
mod tests {
    use chinwag_client::Epoch;

    use super::*;

    const ROOM: ConversationId = ConversationId(7);
    const NEW: ConversationId = ConversationId(8);

    fn at(seq: u64) -> Position {
        Position { epoch: Epoch(1), seq: Seq(seq) }
    }

    fn resume(positions: &[(ConversationId, u64)]) -> Resume {
        let positions = positions.iter().map(|&(id, seq)| (id, at(seq))).collect();
        Resume { positions, rooms: vec![ROOM] }
    }

    #[test]
    fn the_next_run_goes_on_behind_the_last_printed_line_and_not_where_the_client_is() {
        let mut printed = Printed::after(&resume(&[(ROOM, 10)]));
        let began = |id| (id == NEW).then(|| at(3));
        // All of it waits to be printed.
        let ahead = resume(&[(ROOM, 500), (NEW, 20)]);
        assert_eq!(printed.resume(ahead.clone(), began), resume(&[(ROOM, 10), (NEW, 3)]));
        assert!(!printed.is_of_earlier_run(NEW));
        printed.to(ROOM, at(11));
        // An older page moves the window's beginning, which isn't what was printed.
        assert_eq!(printed.resume(ahead.clone(), |_| Some(at(0))), resume(&[(ROOM, 11), (NEW, 3)]));
        printed.to(ROOM, at(500));
        printed.to(NEW, at(20));
        assert_eq!(printed.resume(ahead.clone(), began), ahead);
    }

    #[test]
    fn what_was_left_is_left_out_and_begins_anew() {
        let mut printed = Printed::after(&resume(&[(ROOM, 10)]));
        assert!(printed.is_of_earlier_run(ROOM));
        printed.forget(ROOM);
        assert!(!printed.is_of_earlier_run(ROOM));
        assert_eq!(printed.resume(resume(&[]), |_| None), resume(&[]));
        printed.begin(ROOM, at(40));
        printed.begin(ROOM, at(50));
        assert_eq!(printed.resume(resume(&[(ROOM, 60)]), |_| None), resume(&[(ROOM, 40)]));
    }
}
