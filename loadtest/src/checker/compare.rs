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
    /// The run's messages with their seqs, oldest first.
    pub messages: Vec<(Key, Seq)>,
    /// Where the seqs of all events, this run's or not, don't follow each other.
    pub holes: Vec<(Seq, Seq)>,
}

/// What a sender was told of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it may be stored or not.
    Unknown,
    /// That it is stored, and where ([`Seq::ZERO`]: that wasn't said).
    Stored(Seq),
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
    /// In the order in which it was told of them.
    gaps: Vec<Gap>,
    pub stay: Stay,
}

/// What a receiver was told that it won't hear.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// Stretches that it had heard before.
    after: usize,
    /// The first and the last seq; `None`: nobody said which.
    left_out: Option<(Seq, Seq)>,
}

impl Gap {
    fn has(&self, seq: Seq) -> bool {
        self.left_out.is_none_or(|(from, to)| (from..=to).contains(&seq))
    }
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    first: Key,
    count: u32,
}

impl Heard {
    /// Adds a message.
    pub fn push(&mut self, key: Key) {
        let after_gap = self.ends_in_gap();
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

    /// Adds a gap: the first and the last seq that are left out, if that was said.
    pub fn gap(&mut self, left_out: Option<(Seq, Seq)>) {
        let after = self.stretches.len();
        match (self.gaps.last_mut().filter(|last| last.after == after), left_out) {
            // One after the other, as a slow reader has them: one.
            (Some(Gap { left_out: Some((_, end)), .. }), Some((from, to))) if from.0.checked_sub(1) == Some(end.0) => {
                *end = to
            }
            _ => self.gaps.push(Gap { after, left_out }),
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

    /// Returns what was heard, each with the gaps before it.
    fn iter(&self) -> impl Iterator<Item = (Key, &[Gap])> {
        self.stretches.iter().enumerate().flat_map(move |(index, &Stretch { first, count })| {
            let gaps = self.gaps_after(index);
            (0..count).map(move |n| (Key { n: first.n + n, ..first }, if n == 0 { gaps } else { &[] }))
        })
    }

    /// Returns the gaps that it was told of when it had heard so many stretches.
    fn gaps_after(&self, stretches: usize) -> &[Gap] {
        let from = self.gaps.partition_point(|gap| gap.after < stretches);
        let to = self.gaps.partition_point(|gap| gap.after <= stretches);
        &self.gaps[from..to]
    }

    /// Returns how many stretches are kept.
    #[cfg(test)]
    pub fn stretches(&self) -> usize {
        self.stretches.len()
    }

    fn ends_in_gap(&self) -> bool {
        self.gaps.last().is_some_and(|gap| gap.after == self.stretches.len())
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
    /// The history: indices in `sent`, each once, and seqs.
    stored: Vec<(usize, Seq)>,
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
        for (key, seq) in history {
            let Some(&at) = index.get(key) else {
                violations.add(format!("{name}: {key} is in the history, where nobody sent it"));
                continue;
            };
            if position[at] != NOWHERE {
                violations.add(format!("{name}: {key} is in the history twice"));
                continue;
            }
            match sent[at].fate {
                Fate::Refused => {
                    violations.add(format!("{name}: {key} is in the history although it was refused"));
                }
                Fate::Stored(told) if told != Seq::ZERO && told != *seq => {
                    violations
                        .add(format!("{name}: {key} was acknowledged at seq {told} and is in the history at {seq}"));
                }
                Fate::Stored(_) | Fate::Unknown => {}
            }
            if let Some(before) = last_of.insert(key.sender, at)
                && before > at
            {
                violations.add(format!("{name}: {key} is in the history behind {}, sent later", sent[before].key));
            }
            position[at] = stored.len();
            stored.push((at, *seq));
            last = last.max(at + 1);
            newest.push(last);
        }
        for (message, position) in sent.iter().zip(&position) {
            if matches!(message.fate, Fate::Stored(_)) && *position == NOWHERE {
                violations.add(format!("{name}: {} was acknowledged and is not in the history", message.key));
            }
        }
        Self { name, sent, echoes, violations, index, stored, position, newest }
    }

    /// Holds what a receiver heard to the history. `joined_at` messages had been sent when it had joined; `receiver` is its index as a
    /// sender.
    pub fn receiver(&mut self, receiver: u32, joined_at: usize, heard: &Heard) {
        // The position that must come next; none before the first.
        let mut next = None;
        for (key, gaps) in heard.iter() {
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
                None => self.missed_at_start(receiver, joined_at, position, gaps),
                Some(next) if position >= next => self.missed(receiver, next, position, gaps),
                Some(_) if gaps.is_empty() => self.add(receiver, format_args!("heard {key} again, or too late")),
                Some(_) => self.add(receiver, format_args!("heard {key} again after a gap")),
            }
            next = Some(next.unwrap_or(0).max(position + 1));
        }
        if heard.stay == Stay::Stayed {
            let gaps = heard.gaps_after(heard.stretches.len());
            match next {
                Some(next) => self.missed(receiver, next, self.stored.len(), gaps),
                None => self.missed_at_start(receiver, joined_at, self.stored.len(), gaps),
            }
        }
    }

    /// Notes what a receiver left out from one position up to another, and wasn't told of.
    fn missed(&mut self, receiver: u32, from: usize, to: usize, gaps: &[Gap]) {
        self.missed_but(receiver, from, to, gaps, |_| false);
    }

    /// Notes what a receiver left out up to the first that it heard. What was sent before it had joined may have gone by.
    fn missed_at_start(&mut self, receiver: u32, joined_at: usize, to: usize, gaps: &[Gap]) {
        let newest = to.checked_sub(1).map_or(0, |last| self.newest[last]);
        if newest > joined_at {
            self.missed_but(receiver, 0, to, gaps, |at| at < joined_at);
        }
    }

    fn missed_but(&mut self, receiver: u32, from: usize, to: usize, gaps: &[Gap], excused: impl Fn(usize) -> bool) {
        let (mut first, mut count) = (None, 0_u64);
        for &(at, seq) in &self.stored[from..to] {
            let key = self.sent[at].key;
            let own = !self.echoes && key.sender == receiver;
            if own || excused(at) || gaps.iter().any(|gap| gap.has(seq)) {
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
