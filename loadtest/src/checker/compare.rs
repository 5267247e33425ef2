//! Holds what receivers heard of a conversation, and what its senders were told, to its history. Pure: knows no sockets and no clocks.

use std::{collections::HashMap, fmt};

use chinwag_schema::ids::Seq;

use crate::content::Mark;

/// Violations that are listed; the others are counted.
const LISTED_MAX: usize = 20;
/// Not in the history.
const NOWHERE: usize = usize::MAX;

/// A message of a run: its sender's index and its number among that sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub sender: u32,
    pub n: u32,
}

impl Key {
    /// Returns the key of a message of this run.
    pub fn of(mark: &Mark) -> Self {
        Self { sender: mark.sender, n: mark.n }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of sender {}", self.n, self.sender)
    }
}

/// A conversation's history, as far as a run is concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The run's messages, oldest first.
    pub messages: Vec<Key>,
    /// Where the seqs of all events, this run's or not, don't follow each other.
    pub holes: Vec<(Seq, Seq)>,
}

/// What a sender was told of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it may be stored or not.
    Unknown,
    Stored,
    Refused,
}

/// A message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub key: Key,
    pub fate: Fate,
}

/// Whether a receiver is there to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stay {
    /// Nobody said yet.
    #[default]
    Listening,
    /// It left: what came last isn't missed.
    Left,
    /// It must have heard everything.
    Stayed,
}

/// What a receiver heard, in order. A stretch of one sender's consecutive messages takes 12 bytes, however long it is.
#[derive(Debug, Default)]
pub struct Heard {
    stretches: Vec<Stretch>,
    /// Stretches before which it was told of a gap, ascending.
    gaps: Vec<usize>,
    pub stay: Stay,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    first: Key,
    count: u32,
}

impl Heard {
    /// Adds a message.
    pub fn push(&mut self, key: Key) {
        let after_gap = self.gaps.last() == Some(&self.stretches.len());
        if let Some(Stretch { first, count }) = self.stretches.last_mut()
            && !after_gap
            && first.sender == key.sender
            && u64::from(first.n) + u64::from(*count) == u64::from(key.n)
        {
            *count += 1;
            return;
        }
        self.stretches.push(Stretch { first: key, count: 1 });
    }

    /// Adds a gap.
    pub fn gap(&mut self) {
        if self.gaps.last() != Some(&self.stretches.len()) {
            self.gaps.push(self.stretches.len());
        }
    }

    /// Says whether of each sender the message with this number was heard, or a gap came last and nobody knows. Looks from the end: that is
    /// where they should be.
    pub fn has_all(&self, mut wanted: HashMap<u32, u32>) -> bool {
        for Stretch { first, count } in self.stretches.iter().rev() {
            if wanted.is_empty() {
                break;
            }
            if wanted.get(&first.sender).is_some_and(|n| *n >= first.n && n - first.n < *count) {
                wanted.remove(&first.sender);
            }
        }
        wanted.is_empty() || self.ends_in_gap()
    }

    /// Returns what was heard, each with whether a gap lies before it.
    fn iter(&self) -> impl Iterator<Item = (Key, bool)> {
        let mut gaps = self.gaps.iter().peekable();
        self.stretches.iter().enumerate().flat_map(move |(index, &Stretch { first, count })| {
            let after_gap = gaps.next_if(|gap| **gap == index).is_some();
            (0..count).map(move |n| (Key { n: first.n + n, ..first }, after_gap && n == 0))
        })
    }

    /// Returns how many stretches are kept.
    #[cfg(test)]
    pub fn stretches(&self) -> usize {
        self.stretches.len()
    }

    fn ends_in_gap(&self) -> bool {
        self.gaps.last() == Some(&self.stretches.len())
    }
}

/// Broken promises, as sentences.
#[derive(Debug, Default)]
pub struct Violations {
    listed: Vec<String>,
    more: u64,
}

impl Violations {
    fn add(&mut self, sentence: String) {
        if self.listed.len() < LISTED_MAX {
            self.listed.push(sentence);
        } else {
            self.more += 1;
        }
    }

    /// Returns the first 20, and a last one that says how many more there are.
    pub fn sentences(mut self) -> Vec<String> {
        if self.more > 0 {
            self.listed.push(format!("… and {} more", self.more));
        }
        self.listed
    }
}

/// A conversation whose history was read and held to what its senders know; its receivers follow.
pub struct Conversation<'a> {
    name: String,
    sent: &'a [Message],
    echoes: bool,
    violations: &'a mut Violations,
    /// Where a message is in `sent`.
    index: HashMap<Key, usize>,
    /// The history: indices in `sent`, each once.
    stored: Vec<usize>,
    /// Where a sent message stands in `stored`, or [`NOWHERE`].
    position: Vec<usize>,
    /// One more than the largest index in `stored` up to each position: whether anything that was sent after a join lies before a
    /// position is seen at once.
    newest: Vec<usize>,
}

impl<'a> Conversation<'a> {
    /// Holds the history to what was sent, in the order in which it was noted.
    pub fn new(
        name: String,
        sent: &'a [Message],
        History { messages: history, holes }: &History,
        echoes: bool,
        violations: &'a mut Violations,
    ) -> Self {
        for (last, next) in holes {
            violations.add(format!("{name}: in the history seq {} follows seq {}", next.0, last.0));
        }
        let mut index = HashMap::with_capacity(sent.len());
        for (at, message) in sent.iter().enumerate() {
            if index.insert(message.key, at).is_some() {
                violations.add(format!("{name}: the scenario sent {} twice", message.key));
            }
        }
        let (mut stored, mut position) = (Vec::with_capacity(history.len()), vec![NOWHERE; sent.len()]);
        let (mut newest, mut last_of, mut last) = (Vec::with_capacity(history.len()), HashMap::new(), 0);
        for key in history {
            let Some(&at) = index.get(key) else {
                violations.add(format!("{name}: {key} is in the history, where nobody sent it"));
                continue;
            };
            if position[at] != NOWHERE {
                violations.add(format!("{name}: {key} is in the history twice"));
                continue;
            }
            if sent[at].fate == Fate::Refused {
                violations.add(format!("{name}: {key} is in the history although it was refused"));
            }
            if let Some(before) = last_of.insert(key.sender, at)
                && before > at
            {
                violations.add(format!("{name}: {key} is in the history behind {}, sent later", sent[before].key));
            }
            position[at] = stored.len();
            stored.push(at);
            last = last.max(at + 1);
            newest.push(last);
        }
        for (message, position) in sent.iter().zip(&position) {
            if message.fate == Fate::Stored && *position == NOWHERE {
                violations.add(format!("{name}: {} was acknowledged and is not in the history", message.key));
            }
        }
        Self { name, sent, echoes, violations, index, stored, position, newest }
    }

    /// Holds what a receiver heard to the history. `joined_at` messages had been sent when it had joined; `receiver` is its index as a
    /// sender.
    pub fn receiver(&mut self, receiver: u32, joined_at: usize, heard: &Heard) {
        // The position that must come next; none where a piece begins.
        let mut next = None;
        let mut floor = 0;
        for (key, after_gap) in heard.iter() {
            if after_gap {
                (floor, next) = (next.unwrap_or(floor), None);
            }
            let Some(&at) = self.index.get(&key) else {
                self.add(receiver, format_args!("heard {key}, which was not sent here"));
                continue;
            };
            let position = self.position[at];
            if position == NOWHERE {
                self.add(receiver, format_args!("heard {key}, which is not in the history"));
                continue;
            }
            match next {
                None if position < floor => self.add(receiver, format_args!("heard {key} again after a gap")),
                None if floor > 0 || after_gap => {}
                None => self.missed_at_start(receiver, joined_at, position),
                Some(next) if position < next => self.add(receiver, format_args!("heard {key} again, or too late")),
                Some(next) => self.missed(receiver, next, position),
            }
            next = Some(next.unwrap_or(floor).max(position + 1));
        }
        if heard.stay == Stay::Stayed && !heard.ends_in_gap() {
            match next {
                Some(next) => self.missed(receiver, next, self.stored.len()),
                None => self.missed_at_start(receiver, joined_at, self.stored.len()),
            }
        }
    }

    /// Notes what a receiver left out from one position up to another.
    fn missed(&mut self, receiver: u32, from: usize, to: usize) {
        self.missed_but(receiver, from, to, |_| false);
    }

    /// Notes what a receiver left out up to the first that it heard. What was sent before it had joined may have gone by.
    fn missed_at_start(&mut self, receiver: u32, joined_at: usize, to: usize) {
        let newest = to.checked_sub(1).map_or(0, |last| self.newest[last]);
        if newest > joined_at {
            self.missed_but(receiver, 0, to, |at| at < joined_at);
        }
    }

    fn missed_but(&mut self, receiver: u32, from: usize, to: usize, excused: impl Fn(usize) -> bool) {
        let (mut first, mut count) = (None, 0_u64);
        for &at in &self.stored[from..to] {
            let key = self.sent[at].key;
            if excused(at) || (!self.echoes && key.sender == receiver) {
                continue;
            }
            first.get_or_insert(key);
            count += 1;
        }
        let Some(first) = first else { return };
        let what = if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
        let end = if to == self.stored.len() { " at the end" } else { "" };
        self.add(receiver, format_args!("did not hear {what}{end}, the first of them {first}"));
    }

    fn add(&mut self, receiver: u32, what: fmt::Arguments<'_>) {
        let who = if receiver == u32::MAX { "a listener".to_owned() } else { format!("receiver {receiver}") };
        self.violations.add(format!("{}: {who} {what}", self.name));
    }
}
