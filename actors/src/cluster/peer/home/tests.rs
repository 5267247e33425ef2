use chinwag_schema::{
    ids::{NodeId, UserId},
    wire::Dialect,
};

use super::*;
use crate::conversation::messages::ListenOptions;

const HERE: ConversationId = ConversationId(1);

fn caller(index: u32) -> Arc<Caller> {
    let slot = Slot { node: NodeId(1), worker: 0, generation: 1, index };
    let (user, name) = (UserId(i64::from(index)), "ann".into());
    Arc::new(Caller { slot, user, name, dialect: Dialect::Native, guest: false })
}

fn listen(from: Arc<Caller>) -> ConversationMessage {
    let options = ListenOptions { recent: 0, position: None };
    ConversationMessage::Listen { from, options, reply: ReplyTo::nobody() }
}

fn attach(from: Arc<Caller>, after: u64) -> ConversationMessage {
    ConversationMessage::Attach { from, after: Seq(after) }
}

/// Returns what is to be told to the next owner: who, whether as a listener, and from where.
fn left(aftermath: Aftermath) -> Vec<(u32, bool, u64)> {
    let mut left: Vec<_> = aftermath
        .left
        .into_iter()
        .map(|left| match left.message {
            ConversationMessage::Relisten { from, after } => (from.slot.index, true, after.0),
            ConversationMessage::Attach { from, after } => (from.slot.index, false, after.0),
            _ => panic!("neither"),
        })
        .collect();
    left.sort_unstable();
    left
}

#[test]
fn a_listener_is_told_to_owner_after_owner_until_one_takes_it() {
    let mut home = Home::default();
    let ann = caller(1);
    home.forward(HERE, listen(ann.clone()));
    assert!(home.attached(HERE, ann.slot, Seq(7)));
    assert_eq!(left(home.elsewhere(HERE, 0)), [(1, true, 7)]);
    for _ in 0..3 {
        // The table still names the old owner, or the next one is gone as well.
        home.forward(HERE, ConversationMessage::Relisten { from: ann.clone(), after: Seq(7) });
        assert_eq!(left(home.elsewhere(HERE, 0)), [(1, true, 7)]);
        home.forward(HERE, ConversationMessage::Relisten { from: ann.clone(), after: Seq(7) });
        assert_eq!(left(home.down()), [(1, true, 7)]);
    }
}

#[test]
fn a_first_listen_that_nobody_answered_is_not_repeated() {
    let mut home = Home::default();
    let ann = caller(1);
    home.forward(HERE, listen(ann.clone()));
    let aftermath = home.down();
    assert_eq!(aftermath.detached, [(HERE, ann.slot)]);
    assert!(left(aftermath).is_empty(), "its client hears an error, and asks again itself");
}

#[test]
fn a_late_word_of_the_owner_does_not_end_a_place_that_was_asked_for_again() {
    let mut home = Home::default();
    let ann = caller(1);
    home.forward(HERE, listen(ann.clone()));
    home.attached(HERE, ann.slot, Seq(3));
    // Without waiting for the first answer.
    home.forward(HERE, ConversationMessage::Unlisten { from: ann.clone(), reply: ReplyTo::nobody() });
    home.forward(HERE, listen(ann.clone()));
    home.detached(HERE, ann.slot);
    assert!(home.attached(HERE, ann.slot, Seq(5)), "the second attachment finds its place");
    assert_eq!(left(home.down()), [(1, true, 5)]);
}

#[test]
fn each_socket_goes_on_from_what_it_has() {
    let mut home = Home::default();
    let (ann, bob, cid) = (caller(1), caller(2), caller(3));
    home.forward(HERE, attach(ann.clone(), 4));
    home.attached(HERE, ann.slot, Seq(10));
    home.forward(HERE, attach(bob.clone(), 4));
    home.replayed(HERE, bob.slot, Some(Seq(15)));
    home.attached(HERE, bob.slot, Seq(20));
    home.forward(HERE, attach(cid.clone(), 4));
    home.replayed(HERE, cid.slot, Some(Seq(6)));
    assert_eq!(left(home.down()), [(1, false, 10), (2, false, 20), (3, false, 6)]);
}

#[test]
fn nothing_is_asked_for_a_socket_that_closed() {
    let mut home = Home::default();
    let ann = caller(1);
    assert!(!home.closed(ann.slot), "nobody there knows it");
    // Parked, or told again, when it closed.
    assert!(home.forward(HERE, attach(ann.clone(), 1)).is_none());
    assert!(home.forward(HERE, listen(ann.clone())).is_none());
    assert_eq!(home.size(), (0, 0, 0));
}

#[test]
fn closed_sockets_are_not_remembered_for_ever() {
    let mut home = Home::default();
    for index in 0..3 * GONE_SWEPT as u32 {
        home.closed(caller(index).slot);
    }
    let long_ago = Instant::now().checked_sub(2 * GONE_KNOWN).unwrap();
    home.gone.values_mut().for_each(|closed_at| *closed_at = long_ago);
    for index in 0..6 * GONE_SWEPT as u32 {
        home.closed(caller(1_000_000 + index).slot);
    }
    assert!(home.gone.values().all(|closed_at| *closed_at > long_ago), "{}", home.gone.len());
}
