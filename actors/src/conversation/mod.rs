//! Conversations: one actor per active one, on the node that owns it.
//!
//! The actor assigns nothing by itself: the store gives the seq inside the append, and only then anybody hears of the event
//! (invariant 1). It knows its members, who listens, and the newest events; it doesn't know sockets, dialects' texts or other conversations.

pub mod board;
pub mod change;
pub mod closed;
mod fanout;
pub mod history;
mod listen;
mod listeners;
mod load;
mod log;
pub mod membership;
pub mod messages;
mod moving;
pub mod pointers;
pub mod policy;
mod recent;
pub mod router;
mod typing;
mod work;

use std::{collections::VecDeque, marker::PhantomData, sync::Arc};

use chinwag_schema::{
    error::{ClientError, CloseCode, ErrorCode},
    event::Origin,
    ids::{ConversationId, Seq, Slot, Term, UserId},
    limits::conversation::PENDING_MAX,
    model::{Cursor, Head, Role},
    wire::Dialect,
};
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    cluster::shards::HandedOver,
    engine::Node,
    relay::RelayMessage,
    runtime::{Behaviour, Cx, Kind, Refused},
};
use fanout::Fanout;
use listeners::{Listeners, Place};
use log::Log;
use messages::{Answer, Caller, ConversationMessage, Info, Woken};
use policy::Policy;
use recent::Recent;

/// A conversation of rules `P`.
///
/// Mailbox bound 8,192; when full, senders hear 'retry later', while the ends of sockets are always taken. A panic keeps who listens
/// and how far everyone was served; all else is loaded again, and what was appended meanwhile is delivered then. Events leave in the
/// order of their seq; answers to one socket leave in the order of its requests, as far as they need no read.
pub struct Conversation<P> {
    phase: Phase,
    policy: PhantomData<P>,
}

/// In this time sockets of other nodes are known after a conversation was made or woke.
const JUST_WOKEN: std::time::Duration = std::time::Duration::from_secs(10);

/// Names of those who wrote most lately, as operators see them.
const SENDERS_SHOWN: usize = 5;

/// What outlives a panic.
pub struct ConversationKeep {
    node: Arc<Node>,
    id: ConversationId,
    listeners: Listeners,
    fanout: Fanout,
    /// The shard is being handed over.
    moving: Option<Arc<HandedOver>>,
}

impl ConversationKeep {
    /// Makes the state of a conversation that nobody listens to yet.
    pub fn new(node: Arc<Node>, id: ConversationId) -> Self {
        let listeners = Listeners::new(node.id);
        Self { node, id, listeners, fanout: Fanout::default(), moving: None }
    }

    /// Hands something to the sockets of a place; false when it has too much to do, and should be asked again.
    fn to_place(&self, place: Place, message: RelayMessage) -> bool {
        match place {
            Place::Worker(worker) => {
                !matches!(self.node.relays[usize::from(worker)].tell(message), Err(Refused::Full(_)))
            }
            Place::Node(node) => self.node.cluster.to_node(node, message),
        }
    }

    /// Gives up who listens: the conversation couldn't be loaded again. Members' sockets are attached when it wakes the next time, from
    /// where they were left; those that joined as listeners are known nowhere else, so they must come back by themselves.
    fn let_go(&self) {
        for (slot, listener) in self.listeners.slots() {
            let head = self.fanout.served(Place::of(slot, self.node.id));
            let woken = Woken { id: self.id, head, added: None, requested: false };
            self.to_socket(slot, RelayMessage::Asleep { slot, woken });
            if listener.explicit {
                let (code, reason) = match self.node.closed_rooms.contains(self.id) {
                    true => (CloseCode::GOING_AWAY, closed::REASON),
                    false => (CloseCode::INTERNAL, "a room failed, reconnect"),
                };
                self.to_socket(slot, RelayMessage::Close { slot, code, reason });
            }
        }
        let users: Vec<_> = self.listeners.present().map(|(_, user, _)| user).collect();
        if !users.is_empty() {
            let forget = crate::directory::DirectoryMessage::DropInterest { conversation: self.id, users };
            // Past the bound: an interest that is never dropped would leak.
            let _ = self.node.directory.tell_always(forget);
        }
        self.node.board.remove(self.id);
    }

    /// Sends something that must arrive to the relay of a socket: bounded by the number of sockets, so past the bound.
    fn to_socket(&self, slot: Slot, message: RelayMessage) {
        match Place::of(slot, self.node.id) {
            // Relays live as long as the node.
            Place::Worker(worker) => {
                let _ = self.node.relays[usize::from(worker)].tell_always(message);
            }
            Place::Node(node) => self.node.cluster.to_node_always(node, message),
        }
    }
}

enum Phase {
    /// The store and the directory are asked; messages wait, at most `PENDING_MAX`.
    Waking {
        waiting: VecDeque<ConversationMessage>,
        loaded: Option<Box<Ready>>,
    },
    Ready(Box<Ready>),
    /// No such conversation, or the store doesn't answer: everything is refused with this, and the actor stops.
    Refusing(ClientError),
    /// It lives on another node now, or will: everything is passed on, and the actor stops.
    Moved,
}

/// A loaded conversation.
struct Ready {
    conversation: Arc<chinwag_schema::model::Conversation>,
    origin: Arc<Origin>,
    term: Term,
    head: Head,
    members: FxHashMap<UserId, Member>,
    recent: Recent,
    log: Log,
    typing: typing::Typing,
    changing: membership::Changing,
    work: work::Work,
    numbers: Option<Arc<board::RoomNumbers>>,
    /// When something last happened, for falling asleep.
    busy_at: Instant,
    woke: Woke,
}

/// When a conversation woke or was made, and its head then. Sockets of other nodes, which are known a moment later, are told of that
/// head, so that they get what woke it; and that it is new, if it was made then.
struct Woke {
    at: Instant,
    head: Seq,
    added: Option<Added>,
}

struct Member {
    role: Role,
    /// Read on first use.
    cursor: Option<Cursor>,
    /// The member's messages so far; read on first use.
    own: Option<u64>,
}

/// How a conversation became a member's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Added {
    /// Somebody asked for a chat by name.
    requested: bool,
}

type C<'a, P> = Cx<'a, Conversation<P>>;

impl<P: Policy> Behaviour for Conversation<P> {
    type Message = ConversationMessage;
    type Keep = ConversationKeep;
    const KIND: Kind = P::KIND;
    const MAILBOX: usize = 8192;

    fn new(cx: &mut C<'_, P>) -> Self {
        if cx.keep.node.closed_rooms.contains(cx.keep.id) {
            return Self { phase: Phase::Refusing(closed::closed()), policy: PhantomData };
        }
        load::start(cx);
        Self { phase: Phase::Waking { waiting: VecDeque::new(), loaded: None }, policy: PhantomData }
    }

    fn handle(&mut self, message: ConversationMessage, cx: &mut C<'_, P>) {
        if !self.is_ours(cx) {
            self.go(cx);
        }
        match (&mut self.phase, message) {
            (Phase::Moved, message) => self.passed(message, cx),
            (_, ConversationMessage::HandOver { done }) => self.hand_over(done, cx),
            (Phase::Waking { .. } | Phase::Ready(_), ConversationMessage::Touch)
                if cx.keep.node.closed_rooms.contains(cx.keep.id) =>
            {
                // Whoever waits for an answer hears 'internal error', and the reason when trying again.
                self.phase = Phase::Refusing(closed::closed());
            }
            (Phase::Waking { .. }, ConversationMessage::Loaded(loaded)) => self.loaded(*loaded, cx),
            (Phase::Waking { .. }, ConversationMessage::Interested { sessions }) => self.interested(sessions, cx),
            (Phase::Waking { .. }, ConversationMessage::AskInterest) => self.ask_interest(cx),
            (Phase::Waking { waiting, .. }, message) => {
                if waiting.len() < PENDING_MAX || message.must_arrive() {
                    waiting.push_back(message);
                } else {
                    message.refuse(ClientError::unavailable("the conversation"));
                }
            }
            (Phase::Refusing(error), message) => {
                cx.keep.turn_away(message, error.clone());
                cx.stop_if_idle();
            }
            (Phase::Ready(ready), message) => ready.handle(message, cx),
        }
    }

    fn turn_ended(&mut self, cx: &mut C<'_, P>) {
        if !self.is_ours(cx) {
            self.go(cx);
        }
        match &mut self.phase {
            // Not in `handle`: what came in the same turn goes into one append.
            Phase::Ready(ready) => {
                ready.append_waiting(cx);
                ready.log.count();
            }
            // Again, if something that is no message kept it from stopping.
            Phase::Refusing(_) => cx.stop_if_idle(),
            Phase::Waking { .. } => {}
            Phase::Moved => return cx.stop_if_idle(),
        }
        self.go_if_settled(cx);
    }

    fn stopped(&mut self, cx: &mut C<'_, P>) {
        match &mut self.phase {
            Phase::Ready(ready) => ready.fall_asleep(cx),
            Phase::Waking { .. } | Phase::Refusing(_) => cx.keep.let_go(),
            Phase::Moved => {}
        }
        cx.keep.node.conversations.forget(cx.keep.id, &cx.mailbox());
    }

    fn observe(&self, keep: &ConversationKeep) -> Value {
        let common = json!({
            "conversation": keep.id,
            "sockets": keep.listeners.socket_count(),
            "listening_users": keep.listeners.user_count(),
            "behind_places": keep.fanout.behind(),
        });
        let mut state = match &self.phase {
            Phase::Waking { waiting, .. } => json!({"phase": "waking", "waiting": waiting.len()}),
            Phase::Refusing(error) => json!({"phase": "refusing", "error": error.code}),
            Phase::Moved => json!({"phase": "moved"}),
            Phase::Ready(ready) => {
                let (events, bytes) = ready.recent.size();
                json!({
                    "phase": "ready",
                    "name": ready.conversation.name,
                    "head": ready.head.seq,
                    "messages": ready.head.messages,
                    "term": ready.term,
                    "members": ready.members.len(),
                    "pending": ready.log.pending(),
                    "in_flight": ready.log.in_flight(),
                    "recent_events": events,
                    "recent_bytes": bytes,
                    "last_at_ms": ready.head.last_at_ms,
                    "senders": ready.recent.senders(SENDERS_SHOWN),
                })
            }
        };
        if let (Value::Object(state), Value::Object(common)) = (&mut state, common) {
            state.extend(common);
        }
        state
    }
}

impl Ready {
    fn handle<P: Policy>(&mut self, message: ConversationMessage, cx: &mut C<'_, P>) {
        use ConversationMessage as M;
        match message {
            M::IdleCheck => return self.idle_check(cx),
            M::Retry { batch } => return self.read_back_again(batch, cx),
            M::Redeliver => return self.redeliver(cx),
            M::TypingLapsed { user } => return self.typing_lapsed(user, cx),
            _ => self.busy_at = cx.now(),
        }
        match message {
            M::Post { from, client_id, content, reply } => self.post::<P>(from, client_id, content, reply, cx),
            M::Edit { from, target, content, within_ms, reply } => {
                self.change::<P>(from, target, Some(content), within_ms, reply, cx);
            }
            M::Delete { from, target, reply } => self.change::<P>(from, target, None, None, reply, cx),
            M::Found { change, found } => self.found(*change, found, cx),
            M::Listen { from, options, reply } => self.listen::<P>(from, options, reply, cx),
            M::Unlisten { from, reply } => self.unlisten(&from, reply, cx),
            M::Relisten { from, after } => self.relisten::<P>(from, after, cx),
            M::Attach { from, after } => self.attach::<P>(from, after, cx),
            M::Resume { from, position, max_events, reply } => {
                self.resume::<P>(from, position, max_events, reply, cx);
            }
            M::Join { from, role, reply } => self.join::<P>(from, role, reply, cx),
            M::Leave { from, reply } => self.leave::<P>(from, reply, cx),
            M::MemberStored { change, stored } => self.member_stored(*change, stored, cx),
            M::MemberSettled { change, settled } => self.member_settled(*change, settled, cx),
            M::History { from, query, reply } => self.history::<P>(from, query, reply, cx),
            M::Paged { next, page } => self.paged(*next, page, cx),
            M::Move { .. } | M::Info { .. } => self.with_membership::<P>(message, cx),
            M::Recall { user, loaded, message } => self.recall::<P>(user, loaded, *message, cx),
            M::Totals { moved, totals } => self.totals(*moved, totals, cx),
            M::Members { from, after, limit, reply } => self.read_members::<P>(from, after, limit, reply, cx),
            M::MembersRead { rows, limit, from, reply } => self.members_read(rows, limit, &from, reply, cx),
            M::Listeners { from, limit, reply } => match P::may_read(&from, self.is_member(&from)) {
                Ok(()) => {
                    let listeners = cx.keep.listeners.users(limit);
                    reply.send(Answer::Listeners { info: self.info(&from, cx.keep), listeners });
                }
                Err(error) => reply.fail(error),
            },
            M::Typing { from, active } => self.typing::<P>(&from, active, cx),
            M::Announce { from, requested } => self.announce(&from, requested, cx),
            M::Online { user, slot, dialect, added } => {
                self.online(user, slot, dialect, added.then_some(Added { requested: false }), cx);
            }
            M::Offline { user: _, slot } => self.offline(slot, cx),
            M::Appended(result) => self.appended(result, cx),
            M::ReadBack(result) => self.read_back(result, cx),
            #[cfg(feature = "fault-injection")]
            M::Panic { reply: _reply } => panic!("asked to"),
            // Left over from before a restart of this actor, or handled above.
            M::Loaded(_)
            | M::Touch
            | M::HandOver { .. }
            | M::AskInterest
            | M::Interested { .. }
            | M::IdleCheck
            | M::Retry { .. }
            | M::Redeliver
            | M::TypingLapsed { .. } => {}
        }
    }

    fn is_member(&self, caller: &Caller) -> bool {
        !caller.guest && self.members.contains_key(&caller.user)
    }

    /// Makes the view of the conversation that answers carry.
    fn info(&self, caller: &Caller, keep: &ConversationKeep) -> Arc<Info> {
        let member = if caller.guest { None } else { self.members.get(&caller.user) };
        let membership = member.map(|member| (member.role, member.cursor));
        let unread = member.and_then(|member| Some(member.cursor?.read.unread_until(self.head_mark(member.own?))));
        Arc::new(Info {
            conversation: self.conversation.clone(),
            origin: self.origin.clone(),
            head: self.head,
            listeners: keep.listeners.user_count() as u64,
            member_count: self.members.len() as u64,
            membership,
            unread,
        })
    }

    fn head_mark(&self, own: u64) -> chinwag_schema::model::Mark {
        chinwag_schema::model::Mark { seq: self.head.seq, messages: self.head.messages, own }
    }

    // ---- sockets of members

    /// A conversation that was just made: every socket of its members hears of it.
    fn announce<P: Policy>(&mut self, from: &Caller, requested: bool, cx: &mut C<'_, P>) {
        if !self.is_member(from) {
            return;
        }
        self.woke = Woke { at: cx.now(), head: self.head.seq, added: Some(Added { requested }) };
        for (slot, user, dialect) in cx.keep.listeners.present().collect::<Vec<_>>() {
            self.wake(slot, user, dialect, Some(Added { requested }), cx.keep);
        }
    }

    fn online<P: Policy>(
        &mut self,
        user: UserId,
        slot: Slot,
        dialect: Dialect,
        added: Option<Added>,
        cx: &mut C<'_, P>,
    ) {
        if self.members.contains_key(&user) {
            let new = !cx.keep.listeners.is_present(slot);
            let far = slot.node != cx.keep.node.id;
            cx.keep.listeners.put_present(slot, user, dialect);
            if added.is_none() && far && new && cx.now() - self.woke.at < JUST_WOKEN {
                return self.wake_at(self.woke.head, slot, dialect, self.woke.added, cx.keep);
            }
            // Who is attached hears it already.
            if added.is_some() || cx.keep.listeners.get(slot).is_none() {
                self.wake(slot, user, dialect, added, cx.keep);
            }
        }
    }

    /// Returns what a member's socket has seen when it hears of the conversation: for a new member, what was before it joined.
    fn seen_by(&self, user: UserId, added: bool) -> Seq {
        let joined = self.members.get(&user).and_then(|member| Some(member.cursor?.delivered.seq));
        if added { joined.unwrap_or(self.head.seq).min(self.head.seq) } else { self.head.seq }
    }

    fn offline<P: Policy>(&mut self, slot: Slot, cx: &mut C<'_, P>) {
        cx.keep.listeners.remove_present(slot);
        match slot.node == cx.keep.node.id {
            true => self.detach(slot, None, cx),
            // Its node knows: a word to it could only meet the next attachment.
            false => self.remove(slot, None, cx),
        }
    }

    fn wake(&self, slot: Slot, user: UserId, dialect: Dialect, added: Option<Added>, keep: &ConversationKeep) {
        let head = self.seen_by(user, added.is_some_and(|added| !added.requested));
        self.wake_at(head, slot, dialect, added, keep);
    }

    /// Tells a socket of the conversation, whose events up to `head` it doesn't need.
    fn wake_at(&self, head: Seq, slot: Slot, dialect: Dialect, added: Option<Added>, keep: &ConversationKeep) {
        let wanted = match dialect {
            Dialect::Native | Dialect::Messenger => true,
            // Presence sockets only learn of new chats; rooms sockets choose their room themselves.
            Dialect::Presence => added.is_some(),
            Dialect::Rooms => false,
        };
        if wanted {
            let requested = added.is_some_and(|added| added.requested);
            let added = added.map(|_| self.conversation.clone());
            let woken = Woken { id: keep.id, head, added, requested };
            keep.to_socket(slot, RelayMessage::Wake { slot, woken });
        }
    }

    // ---- sleep

    fn idle_check<P: Policy>(&mut self, cx: &mut C<'_, P>) {
        let idle_after = cx.keep.node.settings.idle_before_sleep;
        // A room that anybody hears stays awake: its listeners are counted, and that count is exact.
        let heard = P::LISTENABLE && cx.keep.listeners.socket_count() > 0;
        let idle = cx.now() - self.busy_at >= idle_after
            && !heard
            && cx.keep.listeners.holding() == 0
            && self.log.is_idle()
            && self.work.is_idle()
            && cx.keep.fanout.behind() == 0;
        if idle {
            cx.stop_if_idle();
        }
        cx.after(idle_after, ConversationMessage::IdleCheck);
    }

    /// Lets go of everything: members' sockets hear that they have all up to the head, and are woken when something happens.
    fn fall_asleep<P: Policy>(&mut self, cx: &mut C<'_, P>) {
        let keep = &mut *cx.keep;
        let woken = Woken { id: keep.id, head: self.head.seq, added: None, requested: false };
        for (slot, _) in keep.listeners.slots() {
            keep.to_socket(slot, RelayMessage::Asleep { slot, woken: woken.clone() });
        }
        let users = self.members.keys().copied().collect();
        let forget = crate::directory::DirectoryMessage::DropInterest { conversation: keep.id, users };
        // Past the bound: an interest that is never dropped would leak.
        let _ = keep.node.directory.tell_always(forget);
        if self.numbers.is_some() {
            keep.node.board.remove(keep.id);
        }
    }
}

/// Says what a store's failure is for whoever asked.
fn store_failed(error: &crate::ports::StoreError) -> ClientError {
    crate::session::dialect::store_error(error)
}

fn unknown_cursor(field: &str) -> ClientError {
    ClientError::new(ErrorCode::UnknownCursor, format!("'{field}' names no position of this conversation")).field(field)
}

/// The newest position of a page, or `before` if it is empty.
fn last_seq(events: &[chinwag_schema::event::LogEvent], before: Seq) -> Seq {
    events.last().map_or(before, |event| event.seq)
}
