//! Which messages have certainly arrived, and how far the delivered pointer may follow.
//!
//! The pointer is cumulative: moving it to a live message says that everything before was delivered too. What waited while the user was
//! away wasn't, until it is acknowledged or read in a history. So a live message that arrived moves the pointer only if nothing of
//! others lies between the pointer and the place from which on this socket hears everything.

use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    limits::user::CONVERSATIONS_MAX,
    model::Mark,
};
use rustc_hash::FxHashMap;

use super::{Io, MessengerSession, session, summary::delivered};
use crate::{engine::Node, ports::StoreResult, relay::ReplyTo};

/// What is known about the conversations of one socket. At most [`CONVERSATIONS_MAX`] of each.
#[derive(Default)]
pub(super) struct Delivery {
    live: FxHashMap<ConversationId, Live>,
    /// Heads in the last `INIT_DATA`, of conversations with unseen messages.
    reported: FxHashMap<ConversationId, Seq>,
}

/// A conversation that this socket hears.
#[derive(Debug, Clone, Copy)]
struct Live {
    /// From here on the socket is handed everything.
    base: Seq,
    /// It fell asleep here, all handed.
    slept_at: Option<Seq>,
    below: Below,
    /// Live messages that arrived while the pointer couldn't follow.
    arrived: Seq,
}

/// What lies between the delivered pointer and `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// Not looked up yet.
    Unknown,
    Asked,
    /// Messages of others: the pointer waits for an acknowledgement.
    Unseen,
    /// Nothing of others: the pointer follows.
    Nothing,
}

/// What to do about a live message that arrived.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Move(Seq),
    LookUp { base: Seq },
    Wait,
}

impl Delivery {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// The socket hears everything after `head` from now on.
    pub(super) fn attached(&mut self, conversation: ConversationId, head: Seq) {
        if let Some(live) = self.live.get_mut(&conversation)
            && live.slept_at.is_some_and(|at| at >= head)
        {
            live.slept_at = None;
            return;
        }
        if self.live.len() < CONVERSATIONS_MAX || self.live.contains_key(&conversation) {
            let below = if head == Seq::ZERO { Below::Nothing } else { Below::Unknown };
            self.live.insert(conversation, Live { base: head, slept_at: None, below, arrived: Seq::ZERO });
        }
    }

    pub(super) fn asleep(&mut self, conversation: ConversationId, head: Seq) {
        if let Some(live) = self.live.get_mut(&conversation) {
            live.slept_at = Some(head);
        }
    }

    /// `INIT_DATA` showed these heads, with so many unseen messages below.
    pub(super) fn reported(&mut self, heads: impl Iterator<Item = (ConversationId, Seq, u64)>) {
        self.reported.clear();
        for (conversation, head, unseen) in heads.take(CONVERSATIONS_MAX) {
            if unseen > 0 {
                self.reported.insert(conversation, head);
            } else if let Some(live) = self.live.get_mut(&conversation)
                && live.base <= head
            {
                live.below = Below::Nothing;
            }
        }
    }

    /// A live message up to `seq` certainly arrived.
    fn arrived(&mut self, conversation: ConversationId, seq: Seq) -> Step {
        let Some(live) = self.live.get_mut(&conversation) else { return Step::Wait };
        match live.below {
            Below::Nothing => Step::Move(seq),
            Below::Unseen | Below::Asked => {
                live.arrived = live.arrived.max(seq);
                Step::Wait
            }
            Below::Unknown => {
                live.arrived = live.arrived.max(seq);
                live.below = Below::Asked;
                Step::LookUp { base: live.base }
            }
        }
    }

    /// The look-up below `base` came back; returns how far the pointer goes now.
    fn looked_up(&mut self, conversation: ConversationId, base: Seq, unseen: Option<u64>) -> Option<Seq> {
        let live = self.live.get_mut(&conversation).filter(|live| live.base == base && live.below == Below::Asked)?;
        live.below = match unseen {
            Some(0) => Below::Nothing,
            Some(_) => Below::Unseen,
            // The store didn't answer: the next message asks again.
            None => Below::Unknown,
        };
        (live.below == Below::Nothing).then_some(live.arrived)
    }

    /// Takes what arrived while it isn't known yet what lies below: `(conversation, base, arrived)`. For a socket that is gone.
    fn take_unsettled(&mut self) -> Vec<(ConversationId, Seq, Seq)> {
        let open = self.live.drain().filter(|(_, live)| live.arrived > Seq::ZERO);
        let open = open.filter(|(_, live)| matches!(live.below, Below::Unknown | Below::Asked));
        open.map(|(conversation, live)| (conversation, live.base, live.arrived)).collect()
    }

    /// Returns the pointers that an acknowledgement moves: to what the last `INIT_DATA` reported, and on to what was handed live since if
    /// nothing lies between. `handed` is what the socket was handed and isn't certified yet. Follow with [`Self::acknowledged`].
    pub(super) fn acknowledge(&mut self, handed: &[(ConversationId, Seq)]) -> Vec<(ConversationId, Seq)> {
        let mut moves = self.reported.clone();
        for (conversation, live) in &mut self.live {
            let mut last = live.arrived;
            if let Some((_, seq)) = handed.iter().find(|(known, _)| known == conversation) {
                last = last.max(*seq);
            }
            let reached = moves.get(conversation).is_some_and(|&reported| reported >= live.base);
            if (reached || live.below == Below::Nothing) && last > Seq::ZERO {
                let place = moves.entry(*conversation).or_default();
                *place = last.max(*place);
            }
            if reached {
                live.below = Below::Nothing;
            } else if moves.contains_key(conversation) && live.below == Below::Unseen {
                live.below = Below::Unknown;
            }
        }
        moves.into_iter().collect()
    }

    /// All pointers of an acknowledgement moved: a later one doesn't move them again.
    pub(super) fn acknowledged(&mut self) {
        self.reported.clear();
    }

    /// The newest page of a history was read, up to `seq`.
    pub(super) fn history_read(&mut self, conversation: ConversationId, seq: Seq) {
        if let Some(live) = self.live.get_mut(&conversation)
            && seq >= live.base
        {
            live.below = Below::Nothing;
        }
        if self.reported.get(&conversation).is_some_and(|&reported| reported <= seq) {
            self.reported.remove(&conversation);
        }
    }
}

impl MessengerSession {
    /// Moves the delivered pointers for what certainly arrived.
    pub(super) fn certify(&mut self, arrived: Vec<(ConversationId, Seq)>, io: &mut Io<'_, '_>) {
        if io.caller.is_none() {
            return;
        }
        for (conversation, seq) in arrived {
            match self.delivery.arrived(conversation, seq) {
                Step::Wait => {}
                Step::Move(seq) => io.tell(conversation, delivered(seq, ReplyTo::nobody(), io)),
                Step::LookUp { base } => look_up(conversation, base, io),
            }
        }
    }

    /// The socket is gone: look-ups under way would end with it, but what arrived has arrived.
    pub(super) fn settle_arrived(&mut self, io: &Io<'_, '_>) {
        if io.caller.is_none() {
            return;
        }
        for (conversation, base, seq) in self.delivery.take_unsettled() {
            let (node, user) = (io.node.clone(), io.caller().user);
            let moved = delivered(seq, ReplyTo::nobody(), io);
            let settled = async move {
                if matches!(unseen_below(&node, conversation, user, base).await, Ok(0)) {
                    node.conversations.tell(conversation, moved);
                }
            };
            io.aside(settled, |(), _, _| {});
        }
    }
}

fn look_up(conversation: ConversationId, base: Seq, io: &Io<'_, '_>) {
    let (node, user) = (io.node.clone(), io.caller().user);
    let unseen = async move { unseen_below(&node, conversation, user, base).await };
    io.aside(unseen, move |unseen, conn, io| {
        if let Some(seq) = session(conn).delivery.looked_up(conversation, base, unseen.ok()) {
            io.tell(conversation, delivered(seq, ReplyTo::nobody(), io));
        }
    });
}

/// Counts others' messages between a user's delivered pointer and `base`.
async fn unseen_below(node: &Node, conversation: ConversationId, user: UserId, base: Seq) -> StoreResult<u64> {
    let cursor = node.accounts.cursor(conversation, user).await?;
    let totals = node.messages.call("totals_at", move |s| async move { s.totals_at(conversation, user, base).await });
    let (messages, own) = totals.await?;
    Ok(cursor.delivered.unread_until(Mark { seq: base, messages, own }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: ConversationId = ConversationId(6);

    fn attached(head: u64) -> Delivery {
        let mut delivery = Delivery::default();
        delivery.attached(CHAT, Seq(head));
        delivery
    }

    #[test]
    fn live_messages_of_a_new_chat_move_the_pointer() {
        let mut delivery = attached(0);
        assert_eq!(delivery.arrived(CHAT, Seq(1)), Step::Move(Seq(1)));
    }

    #[test]
    fn the_pointer_does_not_jump_over_what_waited_offline() {
        let mut delivery = attached(3);
        assert_eq!(delivery.arrived(CHAT, Seq(4)), Step::LookUp { base: Seq(3) });
        assert_eq!(delivery.arrived(CHAT, Seq(5)), Step::Wait, "asked once");
        assert_eq!(delivery.looked_up(CHAT, Seq(3), Some(2)), None);
        assert_eq!(delivery.arrived(CHAT, Seq(6)), Step::Wait);
        delivery.reported([(CHAT, Seq(6), 5)].into_iter());
        assert_eq!(delivery.acknowledge(&[(CHAT, Seq(7))]), [(CHAT, Seq(7))]);
        assert_eq!(delivery.arrived(CHAT, Seq(8)), Step::Move(Seq(8)));
    }

    #[test]
    fn nothing_below_lets_the_pointer_follow() {
        let mut delivery = attached(3);
        assert_eq!(delivery.arrived(CHAT, Seq(4)), Step::LookUp { base: Seq(3) });
        assert_eq!(delivery.looked_up(CHAT, Seq(3), None), None, "the store didn't answer");
        assert_eq!(delivery.arrived(CHAT, Seq(5)), Step::LookUp { base: Seq(3) });
        assert_eq!(delivery.looked_up(CHAT, Seq(3), Some(0)), Some(Seq(5)));
        assert_eq!(delivery.arrived(CHAT, Seq(6)), Step::Move(Seq(6)));
    }

    #[test]
    fn an_empty_summary_says_that_nothing_lies_below() {
        let mut delivery = attached(3);
        delivery.reported([(CHAT, Seq(3), 0)].into_iter());
        assert_eq!(delivery.arrived(CHAT, Seq(4)), Step::Move(Seq(4)));
    }

    #[test]
    fn an_acknowledgement_covers_what_was_reported_and_never_more() {
        let mut delivery = attached(9);
        delivery.reported([(CHAT, Seq(5), 2), (ConversationId(10), Seq(4), 1)].into_iter());
        // Head 9 at the attachment: 6 to 9 were neither reported nor handed.
        let mut moves = delivery.acknowledge(&[(CHAT, Seq(10))]);
        moves.sort();
        assert_eq!(moves, [(CHAT, Seq(5)), (ConversationId(10), Seq(4))]);
        assert_eq!(delivery.acknowledge(&[]).len(), 2, "a pointer couldn't be moved: the client tries again");
        delivery.acknowledged();
        assert_eq!(delivery.acknowledge(&[(CHAT, Seq(10))]), [], "the summaries are gone");
    }

    #[test]
    fn without_a_summary_live_messages_are_acknowledged_alone() {
        let mut delivery = attached(0);
        assert_eq!(delivery.acknowledge(&[(CHAT, Seq(2))]), [(CHAT, Seq(2))]);
        let mut delivery = attached(4);
        assert_eq!(delivery.acknowledge(&[(CHAT, Seq(5))]), [], "what lies below isn't known");
    }

    #[test]
    fn sleep_keeps_what_is_known_unless_more_was_written_meanwhile() {
        let mut delivery = attached(0);
        delivery.asleep(CHAT, Seq(4));
        delivery.attached(CHAT, Seq(4));
        assert_eq!(delivery.arrived(CHAT, Seq(5)), Step::Move(Seq(5)));
        delivery.asleep(CHAT, Seq(5));
        delivery.attached(CHAT, Seq(8));
        assert_eq!(delivery.arrived(CHAT, Seq(9)), Step::LookUp { base: Seq(8) });
    }

    #[test]
    fn reading_the_history_settles_what_lies_below() {
        let mut delivery = attached(4);
        delivery.reported([(CHAT, Seq(4), 4)].into_iter());
        delivery.history_read(CHAT, Seq(4));
        assert_eq!(delivery.arrived(CHAT, Seq(5)), Step::Move(Seq(5)));
        assert_eq!(delivery.acknowledge(&[]), []);
    }
}
