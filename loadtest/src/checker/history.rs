//! Compares what was acknowledged with the history read afterwards: nothing lost, nothing repeated, in order.

use std::collections::{HashMap, HashSet};

use chinwag_schema::{
    ids::{ConversationId, Seq},
    wire::native::{LoggedEvent, LoggedKind},
};
use uuid::Uuid;

/// A message as its sender knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub conversation: ConversationId,
    /// Which sender, for the order.
    pub sender: usize,
    pub message_id: Uuid,
    pub content: String,
    /// Where the server said it stands; `None`: no answer, it may be there once or not at all.
    pub acknowledged: Option<Seq>,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, and not in the history.
    Lost(Uuid),
    /// In the history more than once.
    Repeated(Uuid),
    /// Elsewhere than acknowledged, or with another text.
    Changed(Uuid),
    /// A seq is missing, or comes twice.
    Hole { conversation: ConversationId, after: Seq, next: Seq },
    /// A sender's acknowledged messages stand in another order than it sent them in.
    Order { sender: usize, message_id: Uuid },
}

/// Follows the seqs of a history.
#[derive(Debug, Default)]
pub struct Sequence(Option<Seq>);

impl Sequence {
    /// Returns the seq before this one if something is missing between them, or this one shouldn't come any more. A history may begin
    /// anywhere: retention removes what is old.
    pub fn hole_before(&mut self, seq: Seq) -> Option<Seq> {
        self.0.replace(seq).filter(|last| seq.0.checked_sub(1) != Some(last.0))
    }
}

/// Checks one conversation's history (all of it, in the order in which it was read) against what was sent to it. `sent` is in each
/// sender's order.
pub fn check(conversation: ConversationId, sent: &[Sent], history: &[LoggedEvent]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut sequence = Sequence::default();
    let mut stored: HashMap<Uuid, &LoggedEvent> = HashMap::new();
    for event in history {
        if let Some(after) = sequence.hole_before(event.seq) {
            violations.push(Violation::Hole { conversation, after, next: event.seq });
        }
        if let (LoggedKind::Message, Some(id)) = (event.event, event.message_id)
            && stored.insert(id, event).is_some()
        {
            violations.push(Violation::Repeated(id));
        }
    }
    let mut newest: HashMap<usize, Seq> = HashMap::new();
    let mut seen = HashSet::new();
    for message in sent.iter().filter(|message| message.conversation == conversation) {
        // The same message sent again, after an unknown outcome, is one message.
        let first = seen.insert(message.message_id);
        let Some(acknowledged) = message.acknowledged else { continue };
        match stored.get(&message.message_id) {
            None => violations.push(Violation::Lost(message.message_id)),
            Some(event) if event.seq != acknowledged || event.content.as_deref() != Some(&*message.content) => {
                violations.push(Violation::Changed(message.message_id));
            }
            Some(event) if first => {
                let newest = newest.entry(message.sender).or_default();
                if event.seq <= *newest {
                    let (sender, message_id) = (message.sender, message.message_id);
                    violations.push(Violation::Order { sender, message_id });
                }
                *newest = event.seq;
            }
            Some(_) => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use chinwag_schema::{
        ids::{Epoch, EventId, UserId},
        wire::native::UserRef,
    };

    use super::*;

    const HERE: ConversationId = ConversationId(4);

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn event(seq: u64, n: u128) -> LoggedEvent {
        LoggedEvent {
            event: LoggedKind::Message,
            conversation: HERE,
            epoch: Epoch(1),
            seq: Seq(seq),
            id: EventId(i64::try_from(seq).unwrap()),
            timestamp: 0,
            sender: UserRef { id: UserId(1), name: "ann".into() },
            message_id: Some(id(n)),
            target: None,
            target_seq: None,
            content: Some(format!("m{n}").into()),
            edited_at: None,
            deleted: false,
        }
    }

    fn sent(n: u128, seq: Option<u64>) -> Sent {
        let acknowledged = seq.map(Seq);
        Sent { conversation: HERE, sender: 0, message_id: id(n), content: format!("m{n}"), acknowledged }
    }

    #[test]
    fn a_whole_history_passes_and_unanswered_messages_may_be_there_or_not() {
        let history = [event(1, 1), event(2, 2), event(3, 3)];
        assert_eq!(check(HERE, &[sent(1, Some(1)), sent(2, None), sent(3, Some(3)), sent(9, None)], &history), []);
    }

    #[test]
    fn each_broken_history_is_found() {
        let sent = [sent(1, Some(1)), sent(2, Some(2))];
        assert_eq!(check(HERE, &sent, &[event(1, 1)]), [Violation::Lost(id(2))]);
        let twice = [event(1, 1), event(2, 2), event(3, 2)];
        assert!(check(HERE, &sent, &twice).contains(&Violation::Repeated(id(2))));
        let hole = [event(1, 1), event(3, 2)];
        assert!(check(HERE, &sent, &hole).contains(&Violation::Hole {
            conversation: HERE,
            after: Seq(1),
            next: Seq(3)
        }));
        let mut changed = event(2, 2);
        changed.content = Some("other".into());
        assert_eq!(check(HERE, &sent, &[event(1, 1), changed]), [Violation::Changed(id(2))]);
    }

    #[test]
    fn a_senders_order_is_kept() {
        let swapped = [event(1, 2), event(2, 1)];
        let sent = [sent(1, Some(2)), sent(2, Some(1))];
        assert_eq!(check(HERE, &sent, &swapped), [Violation::Order { sender: 0, message_id: id(2) }]);
    }
}
