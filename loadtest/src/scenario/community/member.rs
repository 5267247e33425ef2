//! One user of a community: hears its conversations, and does what falls due on it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{sync::mpsc, time::timeout_at};

use super::{Kind, Scene};
use crate::{
    checker::ledger::Ear,
    content::Mark,
    peer::{Heard, Lost, Peer, Protocol},
    run::{
        Run,
        meter::{Counter, Timer},
    },
};

/// How long a user whose connection is to be lost waits for acknowledgements before: without them nobody knows what became of its
/// messages, and they aren't checked.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// What falls due on a user.
#[derive(Debug)]
pub enum Act {
    /// Writes a message.
    Write { voice: u32, due: Instant },
    /// Reads the newest page of a history.
    Read { spot: usize, due: Instant },
    /// Loses its connection, and comes back after some time.
    Reconnect { away: Duration },
    /// Lets go of this: by then all before is done.
    Rest(mpsc::Sender<()>),
}

/// A user, without its connection.
pub struct Member {
    run: Arc<Run>,
    scene: Arc<Scene>,
    index: usize,
    protocol: Protocol,
    /// What it hears, by conversation.
    ears: HashMap<usize, Ear>,
    /// Messages of each of its voices so far.
    said: HashMap<u32, u32>,
    /// Messages that no answer has come to.
    unanswered: usize,
    /// When it lost its connection last, and when it began to come back: it writes nothing while it is away, and what it missed then came
    /// late by its own absence.
    lost: Instant,
    back: Instant,
}

impl Member {
    /// Makes a user that isn't anywhere yet.
    pub fn new(run: Arc<Run>, scene: Arc<Scene>, index: usize) -> Self {
        let protocol = scene.plan.people[index].protocol;
        let (ears, said, lost, back) = (HashMap::new(), HashMap::new(), run.origin, run.origin);
        Self { run, scene, index, protocol, ears, said, unanswered: 0, lost, back }
    }

    /// Joins the groups and rooms that others made, and listens to all conversations.
    pub async fn join(&mut self, peer: &mut Peer) -> anyhow::Result<()> {
        self.join_all(peer, true).await.with_context(|| format!("{} can't join", peer.name()))
    }

    /// Lives until there is nothing more to do: by then everything must have been heard.
    pub async fn live(mut self, mut peer: Peer, mut acts: mpsc::Receiver<Act>) {
        loop {
            let done = tokio::select! {
                heard = peer.next() => match heard {
                    Ok(heard) => {
                        self.hear(heard);
                        Ok(())
                    }
                    Err(error) => Err(error.context("a socket ended")),
                },
                act = acts.recv() => match act {
                    Some(Act::Write { voice, due }) => self.write(&mut peer, voice, due).await.context("not written"),
                    Some(Act::Read { spot, due }) => self.read(&mut peer, spot, due).await.context("history not read"),
                    Some(Act::Reconnect { away }) => match self.reconnect(peer, away).await {
                        Ok(back) => {
                            peer = back;
                            Ok(())
                        }
                        Err(error) => return self.note(&error.context("not connected anew")),
                    },
                    Some(Act::Rest(resting)) => {
                        drop(resting);
                        Ok(())
                    }
                    None => return self.leave(peer).await,
                },
            };
            let Err(error) = done else { continue };
            self.note(&error);
            match self.reconnect(peer, Duration::ZERO).await {
                Ok(back) => peer = back,
                Err(error) => return self.note(&error.context("not connected anew")),
            }
        }
    }

    fn note(&self, error: &anyhow::Error) {
        if !self.run.is_stopping() {
            self.run.meter.error(format!("{error}: {}", error.root_cause()));
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message(mark) => self.hear_message(&mark),
            Heard::Stored { mark, seq } => {
                self.run.meter.time(Timer::Acknowledged, self.run.since(&mark));
                self.run.ledger.stored(&mark, seq);
                self.unanswered = self.unanswered.saturating_sub(1);
            }
            Heard::Refused { mark, reason } => {
                self.run.meter.error(format!("message refused: {reason}"));
                if let Some(mark) = mark {
                    self.run.ledger.refused(&mark);
                }
                self.unanswered = self.unanswered.saturating_sub(1);
            }
            // A rooms peer has entered its room anew, to read its history.
            Heard::Gap { .. } if self.protocol == Protocol::Rooms => {
                self.ears.clear();
                self.listen_all();
            }
            Heard::Gap { conversation, left_out } => {
                self.run.meter.error("messages left out by the server, which said so");
                let there = |(spot, _): &(&usize, &mut Ear)| self.scene.spots[**spot].conversation == conversation;
                if let Some((_, ear)) = self.ears.iter_mut().find(there) {
                    ear.gap(left_out);
                }
            }
            Heard::Presence { .. } | Heard::Other => {}
        }
    }

    fn hear_message(&mut self, mark: &Mark) {
        let voice = self.scene.plan.voices.get(mark.sender as usize);
        let Some(voice) = voice.filter(|voice| mark.run == self.run.id && voice.person != self.index) else { return };
        if mark.due_us >= self.run.us(self.back) {
            self.run.delivered(mark);
        }
        match self.ears.get_mut(&voice.spot) {
            Some(ear) => ear.heard(mark),
            None => self.run.meter.error("a message of a conversation that its receiver isn't in"),
        }
    }

    async fn write(&mut self, peer: &mut Peer, voice: u32, due: Instant) -> anyhow::Result<()> {
        let spot = self.scene.plan.voices[voice as usize].spot;
        let said = self.said.entry(voice).or_default();
        *said += 1;
        let mark = self.run.mark(voice, *said, counts_from(due, self.lost, self.back));
        self.run.ledger.sent(self.scene.spots[spot].id, mark);
        self.run.meter.count(Counter::Sent, 1);
        self.unanswered += usize::from(self.protocol != Protocol::Messenger);
        peer.post(&self.scene.to(self.index, spot), &mark, self.scene.bytes).await
    }

    async fn read(&mut self, peer: &mut Peer, spot: usize, due: Instant) -> anyhow::Result<()> {
        peer.newest_page(&self.scene.to(self.index, spot)).await?;
        self.run.meter.time(Timer::History, counts_from(due, self.lost, self.back).elapsed());
        Ok(())
    }

    /// Loses the connection and comes back. Over the native protocol what was missed is replayed; over the others the user hears only
    /// what comes from then on.
    async fn reconnect(&mut self, mut peer: Peer, away: Duration) -> anyhow::Result<Peer> {
        let until = Instant::now() + ANSWERED_WITHIN;
        while self.unanswered > 0 {
            let Ok(Ok(heard)) = timeout_at(until.into(), peer.next()).await else { break };
            self.hear(heard);
        }
        self.lost = Instant::now();
        let mut lost = Lost::default();
        match self.protocol {
            // It never says what is stored: a lost connection could take messages with it that nobody would know of.
            Protocol::Messenger => peer.close().await,
            Protocol::Native | Protocol::Rooms => lost = peer.lose(),
        }
        lost.heard.into_iter().for_each(|heard| self.hear(heard));
        self.unanswered = 0;
        if self.protocol != Protocol::Native {
            self.ears.clear();
        }
        self.run.sleep(away).await;
        self.back = Instant::now();
        let login = &self.scene.logins[self.index];
        let mut peer = Peer::connect_resuming(self.protocol, &self.run, self.index, login, lost.positions).await?;
        self.join_all(&mut peer, false).await?;
        Ok(peer)
    }

    /// Joins what has to be joined (each time: rooms, but for messenger users, who are members; once: groups, and what this user hasn't
    /// made itself), and listens.
    async fn join_all(&mut self, peer: &mut Peer, first: bool) -> anyhow::Result<()> {
        for &spot in &self.scene.plan.people[self.index].spots {
            let made = first && self.scene.plan.spots[spot].people[0] == self.index;
            let lasts = self.scene.spots[spot].kind == Kind::Group || self.protocol == Protocol::Messenger;
            if let Some(place) = self.scene.spots[spot].place.as_ref().filter(|_| !made && (first || !lasts)) {
                let begun = Instant::now();
                peer.join(place).await?;
                self.run.meter.time(Timer::Join, begun.elapsed());
            }
        }
        self.listen_all();
        Ok(())
    }

    /// Begins to listen where it doesn't yet.
    fn listen_all(&mut self) {
        for &spot in &self.scene.plan.people[self.index].spots {
            if !self.ears.contains_key(&spot) {
                let ear = self.run.ledger.listen(self.scene.spots[spot].id, self.voice_in(spot));
                self.ears.insert(spot, ear);
            }
        }
    }

    /// Returns the user's index as a sender in a conversation.
    fn voice_in(&self, spot: usize) -> u32 {
        let voices = &self.scene.plan.voices;
        let own = voices.iter().position(|voice| voice.spot == spot && voice.person == self.index);
        own.map_or(u32::MAX, |own| own as u32)
    }

    async fn leave(self, peer: Peer) {
        self.ears.into_values().for_each(Ear::stayed);
        peer.close().await;
    }
}

/// Returns from when the delay of something is counted that was due at `due`, and done after an absence. Of the waiting before, for answers
/// of the server, nothing is left out.
fn counts_from(due: Instant, lost: Instant, back: Instant) -> Instant {
    if due < lost { due + (back - lost) } else { due.max(back) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_leave_out_an_absence_and_nothing_else() {
        let origin = Instant::now();
        let second = |n| origin + Duration::from_secs(n);
        // Away from 10 to 13.
        for (due, from) in [(8, 11), (10, 13), (12, 13), (13, 13), (20, 20)] {
            assert_eq!(counts_from(second(due), second(10), second(13)), second(from), "due at {due}");
        }
    }
}
