//! One user's session, from one socket to the next: what the server says goes in, requests and [events](Event) come out. Knows no socket and
//! reads no clock; [`driver`](crate::driver) gives it both.

mod incoming;
mod logs;
mod requests;
mod sending;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use chinwag_schema::{
    ids::{ConversationId, Seq},
    model::{Pointer, Position},
    wire::native::{
        Command, Conversations, Credentials, Hello, Listening, LoggedEvent, Request, RoomRef, VERSION, Welcome,
    },
};
use uuid::Uuid;

use crate::{
    conversation::Conversation,
    ids::{MessageIds, RequestIds},
    model::{Connection, Model},
    outbox::Destination,
};
use requests::{InFlight, Purpose};

/// Events that wait to be taken; beyond it the socket isn't read, and in the end the server says what was left out.
pub(crate) const EVENTS_MAX: usize = 1024;
/// Conversations whose newest message is asked for after a welcome, if that didn't tell it.
const PREVIEWS_MAX: usize = 30;
const CLIENT: &str = concat!("chinwag-client/", env!("CARGO_PKG_VERSION"));
/// Delivered pointers are gathered for this long.
const DELIVERED_AFTER: Duration = Duration::from_millis(300);
/// The server says again that somebody types every 2 s.
const TYPING_SHOWN: Duration = Duration::from_secs(4);

/// What a program hears, in order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection changed.
    Connection(Connection),
    /// The server has said who the user is and what is new.
    Welcome,
    /// A sequenced event: each one after the position comes once, in the order of its conversation's log. `own`: the user here wrote it, on this
    /// device or another.
    Logged {
        event: LoggedEvent,
        own: bool,
    },
    /// The server has an own message, durably. Its [`Event::Logged`] comes as well, when the log has come so far.
    Stored {
        message_id: Uuid,
        conversation: ConversationId,
        seq: Seq,
    },
    /// The server won't take a message; it stays in the outbox until it is given up or tried again.
    Failed {
        message_id: Uuid,
        error: String,
    },
    /// What was known of a conversation's log is void, or too much was missed: the window is empty at `position`.
    Restarted {
        conversation: ConversationId,
        position: Position,
    },
    /// A conversation came to be known, or became the user's.
    Added(ConversationId),
    Removed(ConversationId),
    /// Something else about a conversation changed: who types, pointers, presence, an older page.
    Changed(ConversationId),
    /// An operator's broadcast.
    Notification {
        message: String,
        timestamp: i64,
    },
}

/// What is done at some time.
#[derive(Debug, Clone, PartialEq)]
enum Timer {
    /// Looks whether the hole that began behind this position is still there.
    Hole(ConversationId, Seq),
    Pump(Destination),
    Repeat(String),
    Delivered(ConversationId),
    TypingLapse(ConversationId),
    Listen(ConversationId),
    Reload(ConversationId),
    /// An older page may be asked for again.
    Older(ConversationId),
    /// The list, from behind this membership.
    List(Option<ConversationId>),
}

/// A session.
pub(crate) struct Session {
    pub(crate) model: Model,
    /// Holes that are larger aren't filled.
    fill_max: u64,
    requests: HashMap<String, InFlight>,
    request_ids: RequestIds,
    message_ids: MessageIds,
    out: Vec<Request>,
    events: VecDeque<Event>,
    timers: Vec<(Instant, Timer)>,
    /// Whether there is a welcomed socket.
    linked: bool,
    /// Destinations with a send that isn't answered, or that wait to try again.
    sending: BTreeSet<Destination>,
    /// Memberships of which the list under way hasn't told yet.
    unlisted: BTreeSet<ConversationId>,
    /// The server's time at some moment of ours.
    clock: (Instant, i64),
    typing: Option<(ConversationId, Instant)>,
}

impl Session {
    /// Makes one that isn't connected. `unix_ms`: what the clock here says.
    pub(crate) fn new(model: Model, fill_max: u64, now: Instant, unix_ms: i64) -> Self {
        let mut message_ids = MessageIds::default();
        model.outbox.newest_waiting().into_iter().for_each(|newest| message_ids.after(newest));
        Self {
            model,
            fill_max,
            requests: HashMap::new(),
            request_ids: RequestIds::new(),
            message_ids,
            out: Vec::new(),
            events: VecDeque::new(),
            timers: Vec::new(),
            linked: false,
            sending: BTreeSet::new(),
            unlisted: BTreeSet::new(),
            clock: (now, unix_ms),
            typing: None,
        }
    }

    // ---- for the driver
    /// Takes what is to be sent now.
    pub(crate) fn take_out(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_MAX
    }

    /// Returns when [`tick`](Self::tick) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let timers = self.timers.iter().map(|(at, _)| *at);
        timers.chain(self.requests.values().map(|request| request.until)).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.expire(now);
        let (due, later) = std::mem::take(&mut self.timers).into_iter().partition(|(at, _)| *at <= now);
        self.timers = later;
        for (_, timer) in due {
            match timer {
                Timer::Hole(id, position) => self.look_at_hole(id, position, now),
                Timer::Pump(to) => {
                    self.sending.remove(&to);
                    self.pump(now);
                }
                Timer::Repeat(id) => self.repeat(&id, now),
                Timer::Delivered(id) => self.say_delivered(id, now),
                Timer::TypingLapse(id) => self.lapse_typing(id, now),
                Timer::Listen(id) => self.listen_again(id, now),
                Timer::Reload(id) => self.reload(id, now),
                Timer::Older(id) => self.not_loading(id),
                Timer::List(after) => self.list(after, now),
            }
        }
    }

    fn at(&mut self, when: Instant, timer: Timer) {
        if !self.timers.iter().any(|(_, known)| *known == timer) {
            self.timers.push((when, timer));
        }
    }

    fn tell(&mut self, event: Event) {
        // Who falls behind needs to hear but once that something changed.
        let repeated = matches!(event, Event::Changed(_) | Event::Connection(_)) && self.events.back() == Some(&event);
        if !repeated {
            self.events.push_back(event);
        }
    }

    pub(crate) fn become_(&mut self, connection: Connection) {
        if self.model.connection != connection {
            self.model.connection = connection.clone();
            self.tell(Event::Connection(connection));
        }
    }

    // ---- the life of a link
    /// Makes a hello; also returns the positions that it has no room for, as many at a time as one request may name.
    pub(crate) fn hello(&mut self, credentials: Credentials) -> (Request, Vec<BTreeMap<ConversationId, Position>>) {
        let kept = self.model.conversations.values().filter(|one| one.member).map(|one| (one.id, one.position()));
        let all: Vec<_> = kept.collect();
        let mut parts = all.chunks(self.model.limits.positions.max(1)).map(|part| part.iter().copied().collect());
        let positions = parts.next().unwrap_or_default();
        let client = Some(CLIENT.to_owned());
        let hello = Hello { protocol: VERSION, credentials, client, features: Vec::new(), positions };
        let later = parts.collect();
        (Request { id: self.request_ids.next(), command: Command::Hello(hello) }, later)
    }

    /// Takes a welcome. What was asked on another link is asked again on this one.
    pub(crate) fn welcomed(&mut self, welcome: Welcome, unsaid: Vec<BTreeMap<ConversationId, Position>>, now: Instant) {
        self.unlinked(now);
        self.linked = true;
        self.clock = (now, welcome.server_time);
        self.model.limits = welcome.limits;
        self.model.me = Some(welcome.user);
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Older(_) | Timer::List(_)));
        for conversation in self.model.conversations.values_mut() {
            (conversation.resumed, conversation.loading, conversation.refused) = (false, false, false);
        }
        let members = self.model.conversations.values().filter(|one| one.member).map(|one| one.id);
        self.unlisted = members.collect();
        let resumed: BTreeSet<_> = welcome.resumed.iter().map(|outcome| outcome.conversation).collect();
        for outcome in welcome.resumed {
            self.resumed(outcome, now);
        }
        for info in &welcome.conversations {
            self.unlisted.remove(&info.id);
            // A guest's are known by their rooms alone; whoever wasn't named has its head for a position.
            self.learn(info, now);
            if !resumed.contains(&info.id)
                && let Some(one) = self.model.conversations.get_mut(&info.id)
            {
                one.resumed = true;
            }
        }
        self.listed(welcome.next, now);
        for positions in unsaid {
            self.ask(Purpose::Resume, Command::Resume { positions }, now);
        }
        let rooms: Vec<_> = self.model.conversations.values().filter(|one| one.listening).collect();
        let rooms: Vec<_> = rooms.into_iter().map(|one| one.id).collect();
        rooms.into_iter().for_each(|id| self.listen_again(id, now));
        let chats: Vec<_> = self.model.conversations.keys().copied().collect();
        chats.into_iter().for_each(|id| self.received(id, now));
        self.preview(now);
        self.become_(Connection::Online);
        self.tell(Event::Welcome);
        self.repeat_all(now);
        self.pump(now);
    }

    /// The link is gone.
    pub(crate) fn unlinked(&mut self, now: Instant) {
        if !std::mem::take(&mut self.linked) {
            return;
        }
        self.out.clear();
        self.typing = None;
        self.model.conversations.values_mut().for_each(|one| one.typists.clear());
        self.lose_requests(now);
    }

    /// Takes a part of the list of memberships.
    fn conversations(&mut self, page: Conversations, now: Instant) {
        for info in &page.conversations {
            self.unlisted.remove(&info.id);
            self.learn(info, now);
        }
        self.listed(page.next, now);
    }

    fn listed(&mut self, next: Option<ConversationId>, now: Instant) {
        if next.is_some() {
            return self.list(next, now);
        }
        for id in std::mem::take(&mut self.unlisted) {
            self.left(id);
        }
    }

    fn list(&mut self, after: Option<ConversationId>, now: Instant) {
        let limit = self.model.limits.page;
        self.ask(Purpose::List(after), Command::Conversations { after, limit }, now);
    }

    /// Takes what is said of a room that is listened to from now on.
    pub(crate) fn listening(&mut self, answer: &Listening, now: Instant) {
        let id = answer.conversation.id;
        self.learn(&answer.conversation, now);
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        one.listening = true;
        one.listeners = answer.listeners;
        one.listener_names.clone_from(&answer.names);
        let unknown = one.last.is_none() && one.position().seq > Seq::ZERO;
        match answer.resumed {
            Some(resumed) => self.resumed(resumed, now),
            None => one.resumed = true,
        }
        if unknown {
            self.relearn(id, now);
        }
        self.pump(now);
    }

    fn listen_again(&mut self, id: ConversationId, now: Instant) {
        let Some(one) = self.model.conversations.get(&id).filter(|one| one.listening) else { return };
        // What members missed was named in the hello.
        let position = Some(one.position()).filter(|_| !one.member);
        let command = Command::RoomListen { room: RoomRef::Conversation(id), position };
        self.ask(Purpose::Listen(id), command, now);
    }

    /// Asks for the newest message of conversations of which it wasn't told.
    fn preview(&mut self, now: Instant) {
        let all = self.model.conversations.values();
        let mut unknown: Vec<&Conversation> =
            all.filter(|one| one.known && one.last.is_none() && one.position().seq > Seq::ZERO).collect();
        unknown.sort_by_key(|one| std::cmp::Reverse((one.unread, one.position().seq)));
        let ids: Vec<_> = unknown.iter().take(PREVIEWS_MAX).map(|one| one.id).collect();
        ids.into_iter().for_each(|id| self.relearn(id, now));
    }

    /// Asks anew what only the server counts.
    fn relearn(&mut self, id: ConversationId, now: Instant) {
        self.ask(Purpose::Relearn, Command::Conversation { which: RoomRef::Conversation(id) }, now);
    }

    // ---- pointers
    /// Says soon that what came is here.
    fn received(&mut self, id: ConversationId, now: Instant) {
        let Some(one) = self.model.conversations.get(&id) else { return };
        let due = one.member && one.unread > 0 && one.position().seq > one.own.delivered;
        if due && !self.model.is_guest() {
            self.at(now + DELIVERED_AFTER, Timer::Delivered(id));
        }
    }

    fn say_delivered(&mut self, id: ConversationId, now: Instant) {
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        let (seq, before) = (one.position().seq, one.own);
        if seq > before.delivered && self.linked {
            one.own.delivered = seq;
            let command = Command::Delivered { conversation: id, seq };
            self.ask(Purpose::Pointer { conversation: id, pointer: Pointer::Delivered, before }, command, now);
        }
    }

    /// Notes, and says, that everything up to the position was on the screen.
    pub(crate) fn seen(&mut self, id: ConversationId, now: Instant) {
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        let (seq, before) = (one.position().seq, one.own);
        let moved = seq > before.read;
        if one.unread == 0 && !moved {
            return;
        }
        one.unread = 0;
        if moved && !one.member {
            one.own.read = seq;
        } else if moved && self.linked {
            one.own = crate::conversation::Pointers { delivered: before.delivered.max(seq), read: seq };
            let command = Command::Read { conversation: id, seq };
            self.ask(Purpose::Pointer { conversation: id, pointer: Pointer::Read, before }, command, now);
        }
        self.tell(Event::Changed(id));
    }

    /// Says whether the user types: at most every 2 s.
    pub(crate) fn typing(&mut self, id: ConversationId, active: bool, now: Instant) {
        let said = self.typing.filter(|(of, _)| *of == id).map(|(_, at)| at);
        let due = match (active, said) {
            (true, Some(at)) => now >= at + Duration::from_secs(2),
            (true, None) => true,
            (false, said) => said.is_some(),
        };
        if !due || !self.linked {
            return;
        }
        self.typing = active.then_some((id, now));
        self.ask(Purpose::Ignored, Command::Typing { conversation: id, active }, now);
    }

    fn lapse_typing(&mut self, id: ConversationId, _now: Instant) {
        if let Some(one) = self.model.conversations.get_mut(&id)
            && !one.typists.is_empty()
        {
            one.typists.clear();
            self.tell(Event::Changed(id));
        }
    }

    /// The server's time, nearly; Unix ms.
    fn unix_ms(&self, now: Instant) -> i64 {
        let (at, unix_ms) = self.clock;
        unix_ms + i64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
