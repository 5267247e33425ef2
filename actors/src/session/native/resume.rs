//! Positions: what a client missed, asked of the owners, and the reply when all have answered.

use std::{collections::BTreeMap, time::Duration};

use chinwag_schema::{
    error::{ClientError, CloseCode, ErrorCode},
    ids::{ConversationId, Epoch, Seq},
    limits::conversation::REPLAY_MAX_EVENTS,
    model::{ConversationKind, Head, Position},
    wire::native::{Outcome, ResumeResult, Resumed, Welcome},
};
use rustc_hash::FxHashMap;

use super::{Io, Known, NativeSession, Phase, What, answer, refuse, render, wakes::Wakes};
use crate::{
    conversation::messages::{Answer, ConversationMessage},
    session::dialect::store_error,
    snowflake::kind_of,
};

/// Events that one `hello` or `resume` may have replayed, over all its conversations; the rest is told as gaps. Below what a corked
/// socket may gather ([`crate::relay::CORKED_MAX_EVENTS`]).
pub(super) const REPLAY_TOTAL_MAX: u64 = 5000;
/// How long the owners may take.
const DEADLINE: Duration = Duration::from_secs(10);

type Positions = BTreeMap<ConversationId, Position>;

/// A reply in the making. Meanwhile the socket is corked, frames are held back, and wakes wait.
pub(super) struct Gathering {
    pub wakes: Wakes,
    round: u32,
    id: Box<str>,
    reply: Reply,
    entries: Vec<Entry>,
    /// Owners that haven't answered.
    missing: usize,
}

enum Reply {
    /// Heads are being read; nothing else is known yet.
    Listing,
    Welcome(Box<Welcome>),
    Resume,
}

struct Entry {
    conversation: ConversationId,
    position: Position,
    /// The stored head.
    head: Head,
    /// The store said that the user is a member.
    member: bool,
    result: Option<Result<Resumed, ClientError>>,
}

/// What is known of a position before any owner is asked.
enum Verdict {
    Known(Resumed),
    /// The owner is asked, who may replay so many events.
    Ask(u64),
}

impl Gathering {
    /// Begins one whose reply is a list that is being read.
    pub(super) fn listing(round: u32) -> Self {
        Self {
            wakes: Wakes::default(),
            round,
            id: Box::default(),
            reply: Reply::Listing,
            entries: Vec::new(),
            missing: 0,
        }
    }

    /// Returns the request that waits for owners.
    pub(super) fn request(&self) -> Option<&str> {
        Some(&*self.id).filter(|id| !id.is_empty())
    }
}

impl Entry {
    fn behind(&self) -> u64 {
        self.head.seq.0.saturating_sub(self.position.seq.0)
    }

    /// Takes what may be replayed for it out of the budget.
    fn spend(&self, budget: &mut u64) -> u64 {
        let behind = self.behind();
        if behind <= REPLAY_MAX_EVENTS && behind <= *budget {
            *budget -= behind;
            REPLAY_MAX_EVENTS
        } else {
            0
        }
    }

    /// Says what became of a position, from the stored head alone; nothing is replayed.
    fn by_head(&self, epoch: Epoch) -> Resumed {
        let Position { epoch: given, seq } = self.position;
        let head = self.head.seq;
        if given != epoch || seq > head {
            Resumed::reset(self.conversation, epoch, head)
        } else if seq == head {
            Resumed::replayed(self.conversation, epoch, seq, head)
        } else {
            Resumed::gap(self.conversation, epoch, seq, head)
        }
    }

    /// Says what became of the position of somebody who is no member. A room stays known: `room.listen` replays it.
    fn of_stranger(&self, epoch: Epoch) -> Resumed {
        if kind_of(self.conversation) == Some(ConversationKind::Room) && self.head.seq > Seq::ZERO {
            self.by_head(epoch)
        } else {
            Resumed::gone(self.conversation)
        }
    }

    /// Says what became of a member's position, if no owner need be asked.
    fn of_member(&self, epoch: Epoch, budget: &mut u64) -> Verdict {
        let resumed = self.by_head(epoch);
        match resumed.outcome {
            Outcome::Gap => match self.spend(budget) {
                0 => Verdict::Known(resumed),
                most => Verdict::Ask(most),
            },
            _ => Verdict::Known(resumed),
        }
    }
}

impl NativeSession {
    /// Goes on with a `hello` whose list was read: `heads` are those of the conversations named by position.
    pub(super) fn gather_welcome(
        &mut self,
        id: Box<str>,
        welcome: Welcome,
        positions: Positions,
        heads: &FxHashMap<ConversationId, Head>,
        io: &mut Io<'_, '_>,
    ) {
        let guest = io.caller().guest;
        let (epoch, next) = (io.node.epoch, welcome.next);
        let mut budget = REPLAY_TOTAL_MAX;
        let mut asked = Vec::new();
        let mut entries = entries(positions, heads);
        for (index, entry) in entries.iter_mut().enumerate() {
            let verdict = if let Some(known) = self.known.get(&entry.conversation) {
                entry.member = true;
                // The head that the list shows, so that both say the same.
                entry.head.seq = known.head;
                entry.of_member(epoch, &mut budget)
            } else if !guest && next.is_some_and(|last| entry.conversation > last) {
                // Beyond the first page: its owner knows the members.
                Verdict::Ask(entry.spend(&mut budget))
            } else {
                Verdict::Known(entry.of_stranger(epoch))
            };
            match verdict {
                Verdict::Known(resumed) => entry.result = Some(Ok(resumed)),
                Verdict::Ask(most) => asked.push((index, most)),
            }
        }
        self.gather(id, Reply::Welcome(Box::new(welcome)), entries, &asked, io);
    }

    /// `resume`: as in the welcome, but the owners are asked always, since what was listed may have changed.
    pub(super) fn resume(&mut self, id: Box<str>, positions: Positions, io: &mut Io<'_, '_>) {
        self.cork(io);
        self.round = self.round.wrapping_add(1);
        self.gathering = Some(Box::new(Gathering::listing(self.round)));
        let ids: Vec<_> = positions.keys().copied().collect();
        let messages = io.node.messages.clone();
        let heads = async move {
            let named = ids.clone();
            let heads = messages.call("heads", move |store| async move { store.heads(&named).await }).await?;
            Ok(ids.into_iter().zip(heads).collect::<FxHashMap<_, _>>())
        };
        self.then(
            id,
            heads,
            move |heads: crate::ports::StoreResult<_>, id, session, io| match heads {
                Err(error) => {
                    refuse(&*id, &store_error(&error), io);
                    let wakes = session.gathering.take().map(|gathering| gathering.wakes).unwrap_or_default();
                    session.uncork(io);
                    session.release(wakes, io);
                }
                Ok(heads) => {
                    let guest = io.caller().guest;
                    let mut budget = REPLAY_TOTAL_MAX;
                    let mut asked = Vec::new();
                    let mut entries = entries(positions, &heads);
                    for (index, entry) in entries.iter_mut().enumerate() {
                        if guest || kind_of(entry.conversation).is_none() {
                            entry.result = Some(Ok(entry.of_stranger(io.node.epoch)));
                        } else if session.hears(entry.conversation, io) {
                            // Live events go to this socket already: it pages what it missed before them, and nothing comes twice.
                            asked.push((index, 0));
                        } else {
                            asked.push((index, entry.spend(&mut budget)));
                        }
                    }
                    session.gather(id, Reply::Resume, entries, &asked, io);
                }
            },
            io,
        );
    }

    /// Says whether events of a conversation go to this socket, or will as soon as its owner comes to it.
    fn hears(&self, conversation: ConversationId, io: &Io<'_, '_>) -> bool {
        io.is_attached(conversation)
            || self.known.get(&conversation).is_some_and(|known| known.asked)
            || self.rare.as_ref().is_some_and(|rare| rare.listening.contains(&conversation))
    }

    /// Asks the owners, and replies when they have answered.
    fn gather(&mut self, id: Box<str>, reply: Reply, entries: Vec<Entry>, asked: &[(usize, u64)], io: &mut Io<'_, '_>) {
        let wakes = self.gathering.take().map(|gathering| gathering.wakes).unwrap_or_default();
        let round = self.round;
        for &(index, max_events) in asked {
            let Entry { conversation, position, .. } = entries[index];
            let reply = self.reply(id.clone(), What::Resume { conversation, round }, io);
            io.tell(conversation, ConversationMessage::Resume { from: io.caller(), position, max_events, reply });
        }
        self.gathering = Some(Box::new(Gathering { wakes, round, id, reply, entries, missing: asked.len() }));
        if asked.is_empty() {
            return self.gathered(io);
        }
        io.hold_inbound();
        io.after(DEADLINE, move |conn, io| {
            let session = super::this(conn);
            if session.gathering.as_ref().is_some_and(|gathering| gathering.round == round) {
                session.gathered(io);
            }
        });
    }

    /// An owner answered (or refused).
    pub(super) fn resumed(&mut self, conversation: ConversationId, round: u32, answer: Answer, io: &mut Io<'_, '_>) {
        let result = match answer {
            Answer::Resumed { info, outcome } => Ok(render::resumed(&info, outcome)),
            Answer::Failed(error) => Err(error),
            _ => Err(ClientError::internal()),
        };
        if let Ok(Resumed { head: Some(head), to, .. }) = result {
            // It is attached there.
            let known = self.known.entry(conversation).or_insert(Known::at(head));
            known.asked = true;
            known.head = to.unwrap_or(head);
        }
        let Some(gathering) = self.gathering.as_mut().filter(|gathering| gathering.round == round) else { return };
        let Some(entry) = gathering.entries.iter_mut().find(|entry| entry.conversation == conversation) else { return };
        if entry.result.is_none() {
            entry.result = Some(result);
            gathering.missing -= 1;
        }
        if gathering.missing == 0 {
            self.gathered(io);
        }
    }

    /// Replies: all owners have answered, or the deadline passed.
    fn gathered(&mut self, io: &mut Io<'_, '_>) {
        let Some(gathering) = self.gathering.take() else { return };
        let Gathering { mut wakes, id, reply, entries, .. } = *gathering;
        let epoch = io.node.epoch;
        let mut resumed = Vec::with_capacity(entries.len());
        let mut failed = None;
        for entry in entries {
            match &entry.result {
                Some(Ok(result)) => resumed.push(*result),
                Some(Err(error)) if matches!(error.code, ErrorCode::NotFound | ErrorCode::Forbidden) => {
                    resumed.push(entry.of_stranger(epoch));
                }
                // The store knows enough. Events after its head come when the conversation is attached ([`super::wakes`]).
                _ if entry.member => resumed.push(entry.by_head(epoch)),
                Some(Err(error)) => failed = Some(error.clone()),
                None => failed = Some(ClientError::new(ErrorCode::Timeout, "a conversation did not answer in time")),
            }
        }
        io.resume_inbound();
        match (reply, failed) {
            (Reply::Listing, _) => {}
            (Reply::Resume, None) => answer(&id, &ResumeResult { resumed }, io),
            (Reply::Resume, Some(error)) => refuse(&*id, &error, io),
            (Reply::Welcome(_), Some(error)) => {
                refuse(&*id, &error, io);
                return self.close(CloseCode::OVERLOADED, "conversations do not answer", io);
            }
            (Reply::Welcome(mut welcome), None) => {
                welcome.resumed = resumed;
                for info in &welcome.conversations {
                    if let Some(woken) = wakes.get_mut(&info.id) {
                        // The list tells of it.
                        woken.added = None;
                    }
                }
                self.phase = Phase::Welcome;
                answer(&id, &*welcome, io);
            }
        }
        self.uncork(io);
        self.release(wakes, io);
    }
}

fn entries(positions: Positions, heads: &FxHashMap<ConversationId, Head>) -> Vec<Entry> {
    positions
        .into_iter()
        .map(|(conversation, position)| Entry {
            conversation,
            position,
            head: heads.get(&conversation).copied().unwrap_or_default(),
            member: false,
            result: None,
        })
        .collect()
}
