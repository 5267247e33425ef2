//! Each rule, fed with what keeps it and with what breaks it.

use super::*;
use crate::{peer, run::Run};

const RUN: u32 = 7;

/// A room in which everything is noted by hand.
pub(super) struct Room {
    pub ledger: Ledger,
    pub place: PlaceId,
}

pub(super) fn key(sender: u32, n: u32) -> Key {
    Key { sender, n }
}

pub(super) fn mark(key: Key) -> Mark {
    Mark { run: RUN, sender: key.sender, n: key.n, due_us: 0 }
}

impl Room {
    pub fn new(echoes: bool) -> Self {
        let ledger = Ledger::default();
        let to = To::Place(peer::Place { name: "room".into(), id: 1 });
        let place = ledger.place(to, Login { name: "reader".into(), token: None }, echoes);
        Self { ledger, place }
    }

    pub fn sent(&self, keys: &[Key]) {
        keys.iter().for_each(|key| self.ledger.sent(self.place, mark(*key)));
    }

    fn stored(&self, keys: &[Key]) {
        keys.iter().for_each(|key| self.ledger.stored(&mark(*key), None));
    }

    /// Somebody who only listens.
    fn ear(&self) -> Ear {
        self.ledger.listen(self.place, u32::MAX)
    }

    /// Returns what is wrong if these are the run's messages in the history.
    pub fn violations(&self, messages: &[Key]) -> Vec<String> {
        self.judge(&history(messages)).0
    }

    fn judge(&self, history: &History) -> (Vec<String>, Checked) {
        let (mut checked, mut violations) = (Checked::default(), Violations::default());
        self.ledger.at(self.place).judge(history, &mut checked, &mut violations);
        (violations.sentences(), checked)
    }

    #[track_caller]
    fn finds(&self, history: &[Key], expected: &[&str]) {
        assert_eq!(self.violations(history), expected);
    }
}

/// A history of nothing else: the first has seq 1.
fn history(messages: &[Key]) -> History {
    History { messages: messages.iter().copied().zip((1..).map(Seq)).collect(), holes: Vec::new() }
}

pub(super) fn hear(ear: &mut Ear, keys: &[Key]) {
    keys.iter().for_each(|key| ear.heard(&mark(*key)));
}

/// The messages 1 to `last` of sender 0.
fn keys(last: u32) -> Vec<Key> {
    (1..=last).map(|n| key(0, n)).collect()
}

/// Sender 0 sent three messages, all acknowledged, while `listening` listened to the end.
fn three(heard: &[Key]) -> Room {
    let room = Room::new(false);
    let mut ear = room.ear();
    room.sent(&keys(3));
    room.stored(&keys(3));
    hear(&mut ear, heard);
    ear.stayed();
    room
}

#[test]
fn a_whole_run_keeps_all_rules() {
    let history = history(&keys(3));
    let checked = Checked { messages: 3, deliveries: 3, histories: 0 };
    assert_eq!(three(&keys(3)).judge(&history), (Vec::new(), checked));
}

#[test]
fn seqs_of_the_history_follow_each_other() {
    let history = History { holes: vec![(Seq(7), Seq(9))], ..history(&keys(3)) };
    assert_eq!(three(&keys(3)).judge(&history).0, ["'room': in the history seq 9 follows seq 7"]);
}

#[test]
fn an_acknowledged_message_must_be_in_the_history_once() {
    let room = three(&[key(0, 1), key(0, 3)]);
    room.finds(&[key(0, 1), key(0, 3)], &["'room': message 2 of sender 0 was acknowledged and is not in the history"]);
    let twice = [key(0, 1), key(0, 2), key(0, 2), key(0, 3)];
    three(&keys(3)).finds(&twice, &["'room': message 2 of sender 0 is in the history twice"]);
}

#[test]
fn an_acknowledged_message_is_where_it_was_said_to_be() {
    let room = Room::new(false);
    room.sent(&keys(3));
    for (n, seq) in [(1, Some(1)), (2, Some(3)), (3, None)] {
        room.ledger.stored(&mark(key(0, n)), seq);
    }
    room.finds(&keys(3), &["'room': message 2 of sender 0 was acknowledged at seq 3 and is in the history at 2"]);
}

#[test]
fn a_senders_order_is_kept_in_the_history() {
    let swapped = [key(0, 2), key(0, 1), key(0, 3)];
    three(&swapped)
        .finds(&swapped, &["'room': message 1 of sender 0 is in the history behind message 2 of sender 0, sent later"]);
}

#[test]
fn a_message_of_another_room_or_of_nobody_must_not_be_in_the_history() {
    let mut history = keys(3);
    history.push(key(9, 1));
    three(&keys(3)).finds(&history, &["'room': message 1 of sender 9 is in the history, where nobody sent it"]);
}

#[test]
fn a_refused_message_must_not_be_anywhere() {
    let room = Room::new(false);
    let mut ear = room.ear();
    room.sent(&keys(1));
    room.ledger.refused(&mark(key(0, 1)));
    hear(&mut ear, &keys(1));
    ear.stayed();
    room.finds(&keys(1), &["'room': message 1 of sender 0 is in the history although it was refused"]);
    room.finds(&[], &["'room': a listener heard message 1 of sender 0, which is not in the history"]);
}

#[test]
fn a_message_without_an_answer_may_be_stored_or_not_but_then_it_is_heard() {
    let room = Room::new(false);
    let mut ear = room.ear();
    room.sent(&keys(3));
    room.stored(&[key(0, 1), key(0, 3)]);
    hear(&mut ear, &[key(0, 1), key(0, 3)]);
    ear.stayed();
    room.finds(&[key(0, 1), key(0, 3)], &[]);
    room.finds(&keys(3), &["'room': a listener did not hear 1 message, the first of them message 2 of sender 0"]);
}

#[test]
fn a_receiver_hears_without_holes_repetition_or_exchange() {
    let hole = three(&[key(0, 1), key(0, 3)]);
    hole.finds(&keys(3), &["'room': a listener did not hear 1 message, the first of them message 2 of sender 0"]);
    let again = three(&[key(0, 1), key(0, 2), key(0, 2), key(0, 3)]);
    again.finds(&keys(3), &["'room': a listener heard message 2 of sender 0 again, or too late"]);
    let swapped = three(&[key(0, 2), key(0, 1), key(0, 3)]);
    swapped.finds(
        &keys(3),
        &[
            "'room': a listener did not hear 1 message, the first of them message 1 of sender 0",
            "'room': a listener heard message 1 of sender 0 again, or too late",
        ],
    );
    let stranger = three(&[key(0, 1), key(5, 5), key(0, 2), key(0, 3)]);
    stranger.finds(&keys(3), &["'room': a listener heard message 5 of sender 5, which was not sent here"]);
}

#[test]
fn who_stays_hears_the_end_and_who_leaves_need_not() {
    let stayed = three(&keys(1));
    stayed.finds(
        &keys(3),
        &["'room': a listener did not hear 2 messages at the end, the first of them message 2 of sender 0"],
    );
    three(&[]).finds(
        &keys(3),
        &["'room': a listener did not hear 3 messages at the end, the first of them message 1 of sender 0"],
    );
    let room = Room::new(false);
    let (mut ear, deaf) = (room.ear(), room.ear());
    room.sent(&keys(3));
    hear(&mut ear, &keys(1));
    drop((ear, deaf));
    room.finds(&keys(3), &[]);
}

#[test]
fn who_joins_late_hears_what_is_sent_from_then_on() {
    let room = Room::new(false);
    room.sent(&keys(2));
    let (mut late, mut too_late) = (room.ledger.listen(room.place, 4), room.ledger.listen(room.place, 5));
    room.sent(&[key(0, 3), key(0, 4)]);
    // The second was still under way when it joined.
    hear(&mut late, &[key(0, 2), key(0, 3), key(0, 4)]);
    hear(&mut too_late, &[key(0, 4)]);
    late.stayed();
    too_late.stayed();
    room.finds(&keys(4), &["'room': receiver 5 did not hear 1 message, the first of them message 3 of sender 0"]);
}

/// Six messages, and somebody who hears some of them, then of gaps, then some.
fn gapped(before: &[Key], gaps: &[Option<(u64, u64)>], after: &[Key]) -> Room {
    let room = Room::new(false);
    let mut ear = room.ear();
    room.sent(&keys(6));
    hear(&mut ear, before);
    gaps.iter().for_each(|gap| ear.gap(gap.map(|(from, to)| (Seq(from), Seq(to)))));
    hear(&mut ear, after);
    ear.stayed();
    room
}

#[test]
fn a_gap_excuses_what_it_left_out_and_nothing_else() {
    let all = keys(6);
    for (before, gap, after) in [
        (&all[..1], (2, 4), &all[4..]),
        (&all[..0], (1, 3), &all[3..]),
        (&all[..2], (3, 6), &all[..0]),
        (&all[..2], (7, 9), &all[2..]),
    ] {
        gapped(before, &[Some(gap)], after).finds(&all, &[]);
        gapped(before, &[None], after).finds(&all, &[]);
    }
    gapped(&all[..1], &[Some((2, 3)), Some((4, 4))], &all[4..]).finds(&all, &[]);
    gapped(&all[..1], &[Some((2, 2)), Some((4, 4))], &all[4..])
        .finds(&all, &["'room': a listener did not hear 1 message, the first of them message 3 of sender 0"]);
}

#[test]
fn what_is_lost_beside_a_gap_is_missed() {
    let all = keys(6);
    gapped(&all[..1], &[Some((3, 4))], &all[4..])
        .finds(&all, &["'room': a listener did not hear 1 message, the first of them message 2 of sender 0"]);
    gapped(&all[..1], &[Some((2, 3))], &all[4..])
        .finds(&all, &["'room': a listener did not hear 1 message, the first of them message 4 of sender 0"]);
    gapped(&all[..0], &[Some((2, 3))], &all[3..])
        .finds(&all, &["'room': a listener did not hear 1 message, the first of them message 1 of sender 0"]);
    gapped(&all[..2], &[Some((3, 5))], &[]).finds(
        &all,
        &["'room': a listener did not hear 1 message at the end, the first of them message 6 of sender 0"],
    );
}

#[test]
fn after_a_gap_the_rules_go_on() {
    let all = keys(6);
    gapped(&all[..2], &[None], &all[1..])
        .finds(&all, &["'room': a listener heard message 2 of sender 0 again after a gap"]);
    gapped(&all[..1], &[None], &[key(0, 3), key(0, 5), key(0, 6)])
        .finds(&all, &["'room': a listener did not hear 1 message, the first of them message 4 of sender 0"]);
    gapped(&all[..1], &[None], &all[3..5]).finds(
        &all,
        &["'room': a listener did not hear 1 message at the end, the first of them message 6 of sender 0"],
    );
}

#[test]
fn senders_hear_themselves_only_where_the_protocol_says_so() {
    for echoes in [false, true] {
        let room = Room::new(echoes);
        let (mut quiet, mut echo) = (room.ledger.listen(room.place, 0), room.ledger.listen(room.place, 0));
        let all = [key(0, 1), key(1, 1), key(0, 2), key(0, 3), key(1, 2), key(0, 4)];
        room.sent(&all);
        hear(&mut quiet, &[key(1, 1), key(1, 2)]);
        hear(&mut echo, &all);
        quiet.stayed();
        echo.stayed();
        let found = room.violations(&all);
        if echoes {
            assert_eq!(found.len(), 3, "before, between and behind: {found:?}");
        } else {
            // What it heard of itself is in the history in the right order: no rule is broken by hearing more.
            assert_eq!(found, <[String; 0]>::default());
        }
    }
}

#[test]
fn messages_of_other_runs_are_passed_over() {
    let room = Room::new(false);
    let mut ear = room.ear();
    ear.heard(&Mark { run: RUN + 1, ..mark(key(0, 1)) });
    room.sent(&keys(1));
    ear.heard(&Mark { run: RUN + 1, ..mark(key(0, 1)) });
    hear(&mut ear, &keys(1));
    ear.stayed();
    room.finds(&keys(1), &[]);
}

#[test]
fn the_first_violations_are_listed_and_the_others_counted() {
    let room = Room::new(false);
    room.sent(&keys(30));
    room.stored(&keys(30));
    let found = room.violations(&[]);
    assert_eq!((found.len(), &*found[20]), (21, "… and 10 more"));
}

#[test]
fn a_stretch_of_one_sender_takes_no_memory_per_message() {
    let room = Room::new(false);
    let mut ear = room.ear();
    room.sent(&keys(10_000));
    hear(&mut ear, &keys(10_000));
    assert_eq!(lock(&ear.hearing.heard).stretches(), 1);
    ear.stayed();
    room.finds(&keys(10_000), &[]);
}

#[tokio::test(start_paused = true)]
async fn settling_waits_for_the_last_message_of_every_sender() {
    let room = Room::new(false);
    let (mut ear, left) = (room.ledger.listen(room.place, 1), room.ear());
    drop(left);
    let all = [key(0, 1), key(1, 1), key(0, 2), key(2, 1)];
    room.sent(&all);
    room.ledger.refused(&mark(key(2, 1)));
    let patience = Duration::from_secs(3600);
    let settle = room.ledger.settle(patience);
    tokio::pin!(settle);
    for heard in [key(0, 1), key(0, 2)] {
        assert!(tokio::time::timeout(Duration::from_secs(5), &mut settle).await.is_err(), "{heard} is missing");
        hear(&mut ear, &[heard]);
    }
    // Not its own, and not what was refused.
    tokio::time::timeout(Duration::from_secs(1), settle).await.unwrap();
    ear.stayed();
}

#[tokio::test(start_paused = true)]
async fn settling_gives_up_when_nothing_comes() {
    let room = Room::new(false);
    let ear = room.ear();
    room.sent(&keys(1));
    let settle = room.ledger.settle(Duration::ZERO);
    tokio::time::timeout(Duration::from_secs(1), settle).await.unwrap();
    ear.stayed();
}

#[tokio::test]
async fn nothing_noted_is_nothing_wrong() {
    let run = Run::new(1, peer::Protocol::Native, false, Vec::new());
    assert_eq!(run.ledger.verify(&run).await.unwrap(), Verdict::default());
}
