//! Random runs: a correct one breaks no rule, and no single wrong delivery goes unseen.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::tests::{Room, hear, key, mark};
use super::*;

/// A run: who sent what, how the server ordered it, and what each receiver should have heard.
#[derive(Debug, Clone)]
struct Played {
    sent: Vec<Key>,
    history: Vec<Key>,
    receivers: Vec<Receiver>,
}

#[derive(Debug, Clone)]
struct Receiver {
    /// As a sender.
    index: u32,
    /// How much had been sent when it joined.
    joined_at: usize,
    /// What it hears before and after a gap.
    pieces: Vec<Vec<Key>>,
    /// The first and the last seq of the gap.
    gap: (Seq, Seq),
    stays: bool,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Drop,
    Repeat,
    Swap,
}

/// A receiver by chance: its index as a sender, where in the history it joins, leaves, and has a gap, each if at all.
type Draft = (u32, Index, Option<Index>, Option<(Index, Index)>);

fn played() -> impl Strategy<Value = Played> {
    let senders = vec(0_u32..4, 1..40);
    let receiver = (0_u32..6, any::<Index>(), any::<Option<Index>>(), any::<Option<(Index, Index)>>());
    (senders, vec(any::<Index>(), 40), vec(receiver, 1..5))
        .prop_map(|(senders, shuffle, drafts)| play(&senders, &shuffle, drafts))
}

fn play(senders: &[u32], shuffle: &[Index], drafts: Vec<Draft>) -> Played {
    let mut count = [0; 4];
    let sent: Vec<Key> = senders
        .iter()
        .map(|&sender| {
            count[sender as usize] += 1;
            key(sender, count[sender as usize])
        })
        .collect();
    // The server takes what is under way in any order, each sender's in its own.
    let mut left = sent.clone();
    let history: Vec<Key> = (0..sent.len())
        .map(|n| {
            let sender = left[shuffle[n].index(left.len())].sender;
            let first = left.iter().position(|key| key.sender == sender).unwrap();
            left.remove(first)
        })
        .collect();
    let receivers = drafts.into_iter().map(|draft| receiver(&sent, &history, draft)).collect();
    Played { sent, history, receivers }
}

fn receiver(sent: &[Key], history: &[Key], (index, join, leave, gap): Draft) -> Receiver {
    let from = join.index(history.len() + 1);
    let to = leave.map_or(history.len(), |leave| from + leave.index(history.len() - from + 1));
    // A gap has at least one message.
    let gap = gap.filter(|_| from < to);
    let hears = |from: usize, to: usize| history[from..to].iter().copied().filter(|key| key.sender != index).collect();
    // The first has seq 1.
    let seq = |at: usize| Seq(at as u64 + 1);
    let (pieces, gap) = match gap {
        None => (vec![hears(from, to)], (seq(0), seq(0))),
        Some((a, b)) => {
            let a = from + a.index(to - from);
            let b = a + 1 + b.index(to - a);
            (vec![hears(from, a), hears(b, to)], (seq(a), seq(b - 1)))
        }
    };
    // Everything that it didn't hear at first had been sent before it joined.
    let joined_at = history[..from].iter().map(|key| sent.iter().position(|one| one == key).unwrap() + 1).max();
    Receiver { index, joined_at: joined_at.unwrap_or(0), pieces, gap, stays: leave.is_none() }
}

fn violations(played: &Played) -> Vec<String> {
    let room = Room::new(false);
    let mut ears: Vec<Option<Ear>> = played.receivers.iter().map(|_| None).collect();
    for at in 0..=played.sent.len() {
        for (ear, receiver) in ears.iter_mut().zip(&played.receivers).filter(|(_, receiver)| receiver.joined_at == at) {
            *ear = Some(room.ledger.listen(room.place, receiver.index));
        }
        if let Some(key) = played.sent.get(at) {
            room.sent(&[*key]);
            room.ledger.stored(&mark(*key), None);
        }
    }
    for (mut ear, receiver) in ears.into_iter().flatten().zip(&played.receivers) {
        for (n, piece) in receiver.pieces.iter().enumerate() {
            if n > 0 {
                ear.gap(Some(receiver.gap));
            }
            hear(&mut ear, piece);
        }
        if receiver.stays {
            ear.stayed();
        }
    }
    room.violations(&played.history)
}

/// Does one thing wrong, if there is a delivery with which that can be seen.
fn spoil(played: &mut Played, fault: Fault, which: Index) -> bool {
    let mut places = Vec::new();
    for (r, receiver) in played.receivers.iter().enumerate() {
        let heard: usize = receiver.pieces.iter().map(Vec::len).sum();
        for (p, piece) in receiver.pieces.iter().enumerate() {
            let before: usize = receiver.pieces[..p].iter().map(Vec::len).sum();
            for at in 0..piece.len() {
                let seen = match fault {
                    // Whoever begins one later or ends one earlier may have come later or gone earlier.
                    Fault::Drop => before + at > 0 && (before + at + 1 < heard || receiver.stays),
                    Fault::Repeat => true,
                    Fault::Swap => at + 1 < piece.len(),
                };
                if seen {
                    places.push((r, p, at));
                }
            }
        }
    }
    if places.is_empty() {
        return false;
    }
    let (r, p, at) = places[which.index(places.len())];
    let piece = &mut played.receivers[r].pieces[p];
    match fault {
        Fault::Drop => drop(piece.remove(at)),
        Fault::Repeat => piece.insert(at, piece[at]),
        Fault::Swap => piece.swap(at, at + 1),
    }
    true
}

proptest! {
    #[test]
    fn a_correct_run_breaks_no_rule(played in played()) {
        prop_assert_eq!(violations(&played), Vec::<String>::new());
    }

    #[test]
    fn one_wrong_delivery_is_seen(
        mut played in played(),
        fault in prop_oneof![Just(Fault::Drop), Just(Fault::Repeat), Just(Fault::Swap)],
        which in any::<Index>(),
    ) {
        prop_assume!(spoil(&mut played, fault, which));
        prop_assert!(!violations(&played).is_empty(), "not seen: {played:?}");
    }

    #[test]
    fn a_lost_or_repeated_row_of_the_history_is_seen(mut played in played(), lose in any::<bool>(), which in any::<Index>()) {
        let at = which.index(played.history.len());
        if lose {
            played.history.remove(at);
        } else {
            played.history.push(played.history[at]);
        }
        prop_assert!(!violations(&played).is_empty(), "not seen: {played:?}");
    }
}
