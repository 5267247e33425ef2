//! The position in one conversation's log (`ops/protocol/native.md`, section 5): takes events from wherever they come, live, replayed or from
//! a page, and hands them out once each, in order. Pure: no socket, no clock.

use std::collections::BTreeMap;

use chinwag_schema::{
    ids::{Epoch, Seq},
    model::Position,
    wire::native::{HistoryResult, LoggedEvent},
};

/// Events kept beyond a hole; what comes beyond them is fetched together with the hole.
pub(crate) const WAITING_MAX: usize = 1000;

/// What is to be done with what came.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// To be applied now, in this order; often none.
    Events(Vec<LoggedEvent>),
    /// It is of another log than ours: begin again.
    OtherLog,
}

/// Up to where everything has come, and what has come too early.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    epoch: Epoch,
    position: u64,
    waiting: BTreeMap<u64, LoggedEvent>,
    expected: u64,
}

impl Log {
    /// Makes the log of a client that has everything up to `position`.
    pub(crate) const fn new(position: Position) -> Self {
        Self { epoch: position.epoch, position: position.seq.0, waiting: BTreeMap::new(), expected: 0 }
    }

    /// Returns the last position up to which everything has come.
    pub(crate) const fn position(&self) -> Position {
        Position { epoch: self.epoch, seq: Seq(self.position) }
    }

    /// Takes a single event.
    pub(crate) fn accept(&mut self, event: LoggedEvent) -> Taken {
        if event.epoch != self.epoch {
            return Taken::OtherLog;
        }
        let seq = event.seq.0;
        if seq <= self.position {
            return Taken::Events(Vec::new());
        }
        if seq > self.position + 1 {
            self.expect(event.seq);
            if self.waiting.len() < WAITING_MAX {
                self.waiting.insert(seq, event);
            }
            return Taken::Events(Vec::new());
        }
        let mut applied = vec![event];
        self.position = seq;
        self.follow(&mut applied);
        Taken::Events(applied)
    }

    /// Takes a page of `history` with `after` = a position that we have.
    pub(crate) fn accept_page(&mut self, page: HistoryResult) -> Taken {
        if page.epoch != self.epoch {
            return Taken::OtherLog;
        }
        let mut applied = Vec::new();
        // Retention removed what lies below: that is no hole.
        self.skip_to(page.oldest_seq.0.saturating_sub(1), &mut applied);
        for event in page.events {
            let seq = event.seq.0;
            // A page has no holes of its own; what it leaves out isn't there.
            self.skip_to(seq.saturating_sub(1), &mut applied);
            if seq == self.position + 1 {
                self.waiting.remove(&seq);
                self.position = seq;
                applied.push(event);
                self.follow(&mut applied);
            }
        }
        if page.complete {
            self.skip_to(page.head.0, &mut applied);
        }
        Taken::Events(applied)
    }

    /// Notes that the log goes at least up to `seq`.
    pub(crate) fn expect(&mut self, seq: Seq) {
        self.expected = self.expected.max(seq.0);
    }

    /// Says whether something is known to be missing.
    pub(crate) const fn has_hole(&self) -> bool {
        self.expected > self.position
    }

    fn follow(&mut self, applied: &mut Vec<LoggedEvent>) {
        while let Some(next) = self.waiting.remove(&(self.position + 1)) {
            self.position += 1;
            applied.push(next);
        }
    }

    /// Takes everything up to `seq` for come: what waited there is applied.
    fn skip_to(&mut self, seq: u64, applied: &mut Vec<LoggedEvent>) {
        if seq <= self.position {
            return;
        }
        let later = self.waiting.split_off(&(seq + 1));
        applied.extend(std::mem::replace(&mut self.waiting, later).into_values());
        self.position = seq;
        self.follow(applied);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{EPOCH, OTHER_EPOCH, message};

    const NONE: [u64; 0] = [];

    fn log(seq: u64) -> Log {
        Log::new(Position { epoch: EPOCH, seq: Seq(seq) })
    }

    fn seqs(taken: Taken) -> Vec<u64> {
        match taken {
            Taken::Events(events) => events.into_iter().map(|event| event.seq.0).collect(),
            Taken::OtherLog => panic!("another log"),
        }
    }

    fn page(events: &[u64], oldest: u64, head: u64, complete: bool) -> HistoryResult {
        let events: Vec<_> = events.iter().map(|&seq| message(seq, "x")).collect();
        let conversation = crate::testing::CONVERSATION;
        HistoryResult { conversation, epoch: EPOCH, events, complete, oldest_seq: Seq(oldest), head: Seq(head) }
    }

    #[test]
    fn events_beyond_a_hole_wait_for_it() {
        let mut log = log(10);
        assert_eq!(seqs(log.accept(message(12, "b"))), NONE);
        assert!(log.has_hole());
        assert_eq!(seqs(log.accept(message(11, "a"))), [11, 12]);
        assert!(!log.has_hole());
        assert_eq!(seqs(log.accept(message(12, "b"))), NONE);
    }

    #[test]
    fn an_event_of_another_epoch_is_of_another_log() {
        let mut event = message(11, "a");
        event.epoch = OTHER_EPOCH;
        assert_eq!(log(10).accept(event), Taken::OtherLog);
    }

    #[test]
    fn what_retention_removed_is_no_hole() {
        let mut log = log(10);
        assert_eq!(seqs(log.accept(message(50, "z"))), NONE);
        assert_eq!(seqs(log.accept_page(page(&[41, 42], 41, 50, false))), [41, 42]);
        assert!(log.has_hole());
        assert_eq!(seqs(log.accept_page(page(&[43, 45, 49], 41, 50, true))), [43, 45, 49, 50]);
        assert_eq!(log.position().seq, Seq(50));
    }

    #[test]
    fn a_hole_with_more_behind_it_than_is_kept_is_filled_by_pages() {
        let mut log = log(0);
        let many = WAITING_MAX as u64 + 100;
        for seq in 2..=many {
            assert_eq!(seqs(log.accept(message(seq, "x"))), NONE);
        }
        let mut all = seqs(log.accept(message(1, "x")));
        while log.has_hole() {
            let after = log.position().seq.0;
            let next: Vec<u64> = (after + 1..=many).take(50).collect();
            let complete = next.last() == Some(&many);
            all.extend(seqs(log.accept_page(page(&next, 1, many, complete))));
        }
        assert_eq!(all, (1..=many).collect::<Vec<_>>());
    }

    /// What a client sees of a log: events in any order, any number of times, some never; pages to fill what is missing.
    fn arrivals() -> impl Strategy<Value = (u64, Vec<u64>)> {
        (1..60u64).prop_flat_map(|head| (Just(head), prop::collection::vec(1..=head, 0..200)))
    }

    proptest! {
        #[test]
        fn whatever_way_events_come_each_is_applied_once_in_order((head, order) in arrivals(), page_size in 1..7usize) {
            let mut log = log(0);
            let mut applied = Vec::new();
            for seq in order {
                applied.extend(seqs(log.accept(message(seq, "x"))));
            }
            log.expect(Seq(head));
            while log.has_hole() {
                let after = log.position().seq.0;
                let next: Vec<u64> = (after + 1..=head).take(page_size).collect();
                let complete = next.last() == Some(&head);
                applied.extend(seqs(log.accept_page(page(&next, 1, head, complete))));
                prop_assert!(log.position().seq.0 > after, "no progress");
            }
            prop_assert_eq!(applied, (1..=head).collect::<Vec<_>>());
            prop_assert!(log.waiting.is_empty());
        }
    }
}
