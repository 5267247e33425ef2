//! What a run sent, what was acknowledged, and what each receiver heard; at the end compared with the histories.
//!
//! The rules, for each conversation with its history H (the run's messages in it, oldest first):
//! * every acknowledged message is in H exactly once and at the seq that was told, every sender's in its order, and no refused one is; no
//!   seq is missing in the history;
//! * what a receiver heard is a piece of H without holes, repetition or exchange (without its own messages where the protocol doesn't send
//!   those back), and one that stayed to the end heard everything that was sent after it had joined;
//! * a receiver that was told of a gap needn't hear what lies in it, and everything else.
//!
//! Owns what was noted; the comparison itself is pure and elsewhere. A delivery takes no lock that others want, and
//! no memory while one sender is heard after its last message.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use chinwag_schema::ids::Seq;

use super::{
    compare::{Conversation, Fate, Heard, History, Key, Message, Stay, Violations},
    read,
};
use crate::{
    content::Mark,
    peer::{Login, To},
    report::model::Checked,
    run::Run,
};

/// How often [`Ledger::settle`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A conversation under check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaceId(u32);

/// What the tasks of a run note.
#[derive(Debug, Default)]
pub struct Ledger {
    places: Mutex<Vec<Arc<Place>>>,
    /// Where the messages are whose fate isn't known: place, and index in what was sent there.
    under_way: Mutex<HashMap<Key, (PlaceId, usize)>>,
}

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub checked: Checked,
    /// The first 20, one sentence each, and how many more there are.
    pub violations: Vec<String>,
}

/// What is noted of one conversation.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) to: To,
    pub(super) reader: Login,
    echoes: bool,
    /// The run that writes here, known with its first message.
    run: OnceLock<u32>,
    sent: Mutex<Vec<Message>>,
    ears: Mutex<Vec<Arc<Hearing>>>,
}

/// What is noted of one receiver.
#[derive(Debug)]
struct Hearing {
    receiver: u32,
    /// How much had been sent when it had joined.
    joined_at: usize,
    /// How many messages it heard.
    count: AtomicU64,
    /// It has heard all of so many sent messages; saves [`Ledger::settle`] looking again.
    complete_at: AtomicUsize,
    /// Written by its ear alone, so the lock is free.
    heard: Mutex<Heard>,
}

impl Ledger {
    /// Adds a conversation. `reader` can read its history over the native protocol (of a room anybody can; a guest is one without a token);
    /// `echoes`: senders hear their own messages.
    pub fn place(&self, to: To, reader: Login, echoes: bool) -> PlaceId {
        let (run, sent, ears) = (OnceLock::new(), Mutex::default(), Mutex::default());
        let mut places = lock(&self.places);
        places.push(Arc::new(Place { to, reader, echoes, run, sent, ears }));
        PlaceId(u32::try_from(places.len() - 1).expect("fewer than 2^32 places"))
    }

    /// Notes a message before it is written.
    pub fn sent(&self, place: PlaceId, mark: Mark) {
        let at = self.at(place);
        at.run.get_or_init(|| mark.run);
        let key = Key::of(&mark);
        let index = {
            let mut sent = lock(&at.sent);
            sent.push(Message { key, fate: Fate::Unknown });
            sent.len() - 1
        };
        lock(&self.under_way).insert(key, (place, index));
    }

    /// Notes that the server acknowledged it, and at which seq, if it said so.
    pub fn stored(&self, mark: &Mark, seq: Option<u64>) {
        self.decide(mark, Fate::Stored(seq.map_or(Seq::ZERO, Seq)));
    }

    /// Notes that the server refused it: it must not be anywhere.
    pub fn refused(&self, mark: &Mark) {
        self.decide(mark, Fate::Refused);
    }

    fn decide(&self, mark: &Mark, fate: Fate) {
        let Some((place, index)) = lock(&self.under_way).remove(&Key::of(mark)) else { return };
        lock(&self.at(place).sent)[index].fate = fate;
    }

    /// Begins to listen: `receiver` is the receiver's own index as a sender (`u32::MAX` if it never sends). Call it after the join was
    /// answered.
    pub fn listen(&self, place: PlaceId, receiver: u32) -> Ear {
        let place = self.at(place);
        let joined_at = lock(&place.sent).len();
        let hearing = Arc::new(Hearing {
            receiver,
            joined_at,
            count: AtomicU64::new(0),
            complete_at: AtomicUsize::new(usize::MAX),
            heard: Mutex::default(),
        });
        lock(&place.ears).push(hearing.clone());
        Ear { place, hearing }
    }

    /// Waits until every receiver that listens has heard every message (but its own and refused ones), or nothing has come for `patience`.
    /// Call it when everything was sent, while the receivers still read.
    pub async fn settle(&self, patience: Duration) {
        let (mut heard, mut last) = (u64::MAX, Instant::now());
        loop {
            let now = self.heard();
            if now != heard {
                (heard, last) = (now, Instant::now());
            } else if self.is_settled() || last.elapsed() >= patience {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reads all histories (over native sockets of their readers) and compares.
    ///
    /// # Errors
    /// If a history can't be read; what the others would have shown is lost.
    pub async fn verify(&self, run: &Run) -> anyhow::Result<Verdict> {
        let places = lock(&self.places).clone();
        let (mut checked, mut violations) = (Checked::default(), Violations::default());
        read::histories(run, places, |place, history| {
            checked.histories += 1;
            place.judge(&history, &mut checked, &mut violations);
        })
        .await?;
        Ok(Verdict { checked, violations: violations.sentences() })
    }

    fn at(&self, place: PlaceId) -> Arc<Place> {
        lock(&self.places)[place.0 as usize].clone()
    }

    /// Returns how many deliveries were noted.
    fn heard(&self) -> u64 {
        let of = |place: &Arc<Place>| -> u64 { lock(&place.ears).iter().map(|ear| ear.count.load(Relaxed)).sum() };
        lock(&self.places).iter().map(of).sum()
    }

    fn is_settled(&self) -> bool {
        let places = lock(&self.places).clone();
        places.iter().all(|place| place.is_settled())
    }
}

impl Place {
    /// Says whether each of its receivers that listen heard the last message of every sender.
    fn is_settled(&self) -> bool {
        let sent = lock(&self.sent);
        // Of each sender: index and number.
        let mut last: HashMap<u32, (usize, u32)> = HashMap::new();
        for (index, message) in sent.iter().enumerate().filter(|(_, message)| message.fate != Fate::Refused) {
            last.insert(message.key.sender, (index, message.key.n));
        }
        lock(&self.ears).iter().all(|ear| {
            if ear.complete_at.load(Relaxed) == sent.len() {
                return true;
            }
            let heard = lock(&ear.heard);
            let own = |sender| !self.echoes && sender == ear.receiver;
            let wanted = last.iter().filter(|(sender, (index, _))| *index >= ear.joined_at && !own(**sender));
            let wanted = wanted.map(|(sender, (_, n))| (*sender, *n)).collect();
            let complete = heard.stay != Stay::Listening || heard.has_all(wanted);
            if complete {
                ear.complete_at.store(sent.len(), Relaxed);
            }
            complete
        })
    }

    fn judge(&self, history: &History, checked: &mut Checked, violations: &mut Violations) {
        let (sent, ears) = (lock(&self.sent), lock(&self.ears));
        checked.messages += sent.len() as u64;
        checked.deliveries += ears.iter().map(|ear| ear.count.load(Relaxed)).sum::<u64>();
        let mut conversation = Conversation::new(self.name(), &sent, history, self.echoes, violations);
        for ear in ears.iter() {
            conversation.receiver(ear.receiver, ear.joined_at, &lock(&ear.heard));
        }
    }

    /// Returns what violations call it.
    pub(super) fn name(&self) -> String {
        match &self.to {
            To::Place(place) => format!("'{}'", place.name),
            To::User(other) => format!("chat of {} and {other}", self.reader.name),
        }
    }
}

/// What one receiver hears of one conversation. Dropped while listening: it left, and what came last is not missed.
#[derive(Debug)]
pub struct Ear {
    place: Arc<Place>,
    hearing: Arc<Hearing>,
}

impl Ear {
    /// Notes a message. Those of other runs are passed over.
    pub fn heard(&mut self, mark: &Mark) {
        if self.place.run.get() == Some(&mark.run) {
            lock(&self.hearing.heard).push(Key::of(mark));
            self.hearing.count.fetch_add(1, Relaxed);
        }
    }

    /// Notes that the server told of a gap: the first and the last seq that it left out, if it said so.
    pub fn gap(&mut self, left_out: Option<(Seq, Seq)>) {
        lock(&self.hearing.heard).gap(left_out);
    }

    /// Ends listening at the end of the run: it must have heard everything.
    pub fn stayed(self) {
        lock(&self.hearing.heard).stay = Stay::Stayed;
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut heard = lock(&self.hearing.heard);
        if heard.stay == Stay::Listening {
            heard.stay = Stay::Left;
        }
    }
}

/// A task that panicked leaves notes that are whole: each is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
