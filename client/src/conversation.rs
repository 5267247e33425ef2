//! One conversation as this client knows it: a window of its log without holes, from some seq up to the position, and what is said about it
//! beside the log (unread, pointers, who types). Pure; told everything by the session.

use std::{collections::BTreeMap, sync::Arc};

use chinwag_schema::{
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::{ConversationKind, Name, Pointer, Position, Role},
    wire::native::{ConversationInfo, HistoryResult, LoggedEvent, LoggedKind, OtherUser},
};

use crate::log::Log;

/// Entries of a window; beyond it the oldest quarter is forgotten and can be paged again.
pub const ENTRIES_MAX: usize = 20_000;
/// Entries kept of a conversation that nobody looks at.
pub(crate) const IDLE_MAX: usize = 400;
/// Newest edits and deletions that are remembered for pages that were asked for before they came.
const CHANGES_MAX: usize = 400;
/// Members whose pointers are kept.
const PEERS_MAX: usize = 256;

/// How far somebody has got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pointers {
    /// Everything up to here is on one of their devices.
    pub delivered: Seq,
    /// Everything up to here was on their screen.
    pub read: Seq,
}

/// A conversation. Read what you like; it changes by what the server says and by [`Client`](crate::Client)'s methods.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub id: ConversationId,
    pub kind: ConversationKind,
    /// Of rooms and groups their name, of chats the other user's. Empty until the server has said it.
    pub name: Name,
    /// The other user of a one-to-one chat.
    pub with: Option<OtherUser>,
    /// Whether the user is a (durable) member.
    pub member: bool,
    pub role: Option<Role>,
    /// Whether this client listens in a public room.
    pub listening: bool,
    /// Users that hear a room now, ourselves included.
    pub listeners: u64,
    /// Names of them, at most 200 when listening began, and who came since.
    pub listener_names: Vec<Name>,
    pub members: u64,
    /// Messages, joins and leaves of the window, ascending; edits and deletions are worked in.
    pub entries: Vec<LoggedEvent>,
    /// Whether nothing older than the window exists.
    pub complete: bool,
    /// Others' messages beyond `own.read`.
    pub unread: u64,
    /// Where the user has got to.
    pub own: Pointers,
    /// Where others have got to, as far as the server has said.
    pub peers: BTreeMap<UserId, Pointers>,
    /// Who types, oneself left out; empty 4 s after the server said so last.
    pub typists: Vec<Name>,
    /// The newest message.
    pub last: Option<LoggedEvent>,
    /// Unix ms.
    pub created_at: i64,
    pub(crate) log: Log,
    /// Lowest seq of the window.
    from: Seq,
    changes: BTreeMap<EventId, LoggedEvent>,
    /// `unread` as the server counted it ends here.
    counted_to: Seq,
    /// Whether the server has described it: not yet, if all we have is a position of an earlier run.
    pub(crate) known: bool,
    /// Whether this link has said what was missed: from then on an own message that isn't in the log isn't stored.
    pub(crate) resumed: bool,
    pub(crate) loading: bool,
    pub(crate) filling: bool,
    /// Whether the server has refused its history, for good as far as it knows.
    pub(crate) refused: bool,
}

impl Conversation {
    /// Makes one of which all that is known is a position of an earlier run.
    pub(crate) fn restored(id: ConversationId, position: Position, listening: bool) -> Self {
        Self {
            id,
            kind: if listening { ConversationKind::Room } else { ConversationKind::Group },
            name: "".into(),
            with: None,
            member: !listening,
            role: None,
            listening,
            listeners: 0,
            listener_names: Vec::new(),
            members: 0,
            entries: Vec::new(),
            complete: false,
            unread: 0,
            own: Pointers { delivered: position.seq, read: position.seq },
            peers: BTreeMap::new(),
            typists: Vec::new(),
            last: None,
            created_at: 0,
            log: Log::new(position),
            from: position.seq.next(),
            changes: BTreeMap::new(),
            counted_to: Seq::ZERO,
            known: false,
            resumed: false,
            loading: false,
            filling: false,
            refused: false,
        }
    }

    /// Makes one of what the server says; everything up to its head counts as had.
    pub(crate) fn new(info: &ConversationInfo, me: UserId) -> Self {
        let mut made = Self::restored(info.id, Position { epoch: info.epoch, seq: info.head }, false);
        made.own = Pointers::default();
        made.member = false;
        made.learn(info, me);
        made
    }

    /// Returns the position up to which everything is here.
    pub fn position(&self) -> Position {
        self.log.position()
    }

    /// Returns the lowest seq of the window: what lies below can be paged unless [`complete`](Self::complete).
    pub fn from(&self) -> Seq {
        self.from
    }

    /// Returns what to write above it: the display name, the name, or the id.
    pub fn title(&self) -> String {
        let shown = self.with.as_ref().and_then(|with| with.display_name.as_deref()).unwrap_or(&self.name);
        if shown.is_empty() { format!("#{}", self.id) } else { shown.to_owned() }
    }

    /// Returns when something last happened, Unix ms.
    pub fn activity_ms(&self) -> i64 {
        self.last.as_ref().map_or(self.created_at, |last| last.timestamp)
    }

    /// Returns how far somebody else has got, the furthest of each pointer.
    pub fn furthest_peer(&self) -> Pointers {
        self.peers.values().fold(Pointers::default(), |far, peer| Pointers {
            delivered: far.delivered.max(peer.delivered),
            read: far.read.max(peer.read),
        })
    }

    /// Takes what the server says about the conversation; the position stays.
    pub(crate) fn learn(&mut self, info: &ConversationInfo, me: UserId) {
        self.known = true;
        self.kind = info.kind;
        self.created_at = info.created_at;
        let other = info.users.as_ref().and_then(|users| users.iter().find(|user| user.id != me));
        if let Some(with) = &info.with {
            self.with = Some(with.clone());
        } else if let (None, Some(other)) = (&self.with, other) {
            let (id, name) = (other.id, other.name.clone());
            self.with = Some(OtherUser { id, name, display_name: None, online: None, last_seen: None });
        }
        let name = info.name.as_ref().or(self.with.as_ref().map(|with| &with.name));
        if let Some(name) = name {
            self.name = name.clone();
        }
        self.members = info.members.unwrap_or(self.members);
        self.listeners = info.listeners.unwrap_or(self.listeners);
        if let Some(last) = &info.last
            && self.last.as_ref().is_none_or(|known| last.seq >= known.seq)
        {
            self.last = Some(last.clone());
        }
        if info.role.is_some() {
            self.member = true;
            self.role = info.role;
        }
        self.own.read = self.own.read.max(info.read.unwrap_or_default());
        self.own.delivered = self.own.delivered.max(info.delivered.unwrap_or_default());
        if let Some(unread) = info.unread {
            // What was applied beyond the head that the answer knew counts, too.
            let later = self.entries.iter().rev().take_while(|entry| entry.seq > info.head);
            let later = later.filter(|entry| self.counts(entry, entry.sender.id == me)).count();
            self.unread = unread + later as u64;
            self.counted_to = info.head;
        }
    }

    /// Starts again at the head of a log: what was kept is void.
    pub(crate) fn restart(&mut self, epoch: Epoch, head: Seq) {
        if epoch != self.log.position().epoch {
            self.own = Pointers::default();
            self.peers.clear();
            self.last = None;
            self.counted_to = Seq::ZERO;
        }
        self.log = Log::new(Position { epoch, seq: head });
        self.entries.clear();
        self.changes.clear();
        self.from = head.next();
        self.complete = false;
        self.loading = false;
    }

    /// Applies an event that follows the position.
    pub(crate) fn apply(&mut self, event: &LoggedEvent, is_own: bool) {
        match event.event {
            LoggedKind::Edited | LoggedKind::Deleted => return self.change(event),
            LoggedKind::Unknown => return,
            LoggedKind::MemberJoined => self.members += 1,
            LoggedKind::MemberLeft => self.members = self.members.saturating_sub(1),
            LoggedKind::Message => {
                self.typists.retain(|name| *name != event.sender.name);
                if self.counts(event, is_own) && event.seq > self.counted_to {
                    self.unread += 1;
                }
                self.last = Some(event.clone());
            }
        }
        self.entries.push(event.clone());
        if self.entries.len() > ENTRIES_MAX {
            self.keep_newest(ENTRIES_MAX / 4 * 3);
        }
    }

    /// Puts an older page before the window. `false`: it is of another log.
    pub(crate) fn prepend(&mut self, page: HistoryResult) -> bool {
        if page.epoch != self.log.position().epoch {
            return false;
        }
        let from = self.from;
        let mut older: Vec<_> = page.events.into_iter().filter(|event| event.seq < from).collect();
        for event in &older {
            if matches!(event.event, LoggedKind::Edited | LoggedKind::Deleted) {
                self.note(event);
            }
        }
        self.complete = page.complete || older.is_empty();
        if let Some(first) = older.first() {
            self.from = first.seq;
        }
        older.retain(|event| {
            matches!(event.event, LoggedKind::Message | LoggedKind::MemberJoined | LoggedKind::MemberLeft)
        });
        older.iter_mut().for_each(|event| renew(&self.changes, event));
        older.append(&mut self.entries);
        self.entries = older;
        if self.last.is_none() {
            self.last = self.entries.iter().rfind(|event| event.event == LoggedKind::Message).cloned();
        }
        true
    }

    /// Forgets the older part of a long window, which can be paged again.
    pub(crate) fn trim(&mut self) {
        if self.entries.len() > IDLE_MAX {
            self.keep_newest(IDLE_MAX / 2);
        }
    }

    fn keep_newest(&mut self, count: usize) {
        self.entries.drain(..self.entries.len().saturating_sub(count));
        self.from = self.entries.first().map_or(self.from, |first| first.seq);
        self.complete = false;
    }

    /// Notes how far somebody else has got.
    pub(crate) fn peer(&mut self, user: UserId, pointer: Pointer, seq: Seq) {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&user) {
            return;
        }
        let peer = self.peers.entry(user).or_default();
        peer.delivered = peer.delivered.max(seq);
        if pointer == Pointer::Read {
            peer.read = peer.read.max(seq);
        }
    }

    fn counts(&self, event: &LoggedEvent, is_own: bool) -> bool {
        event.event == LoggedKind::Message && event.seq > self.own.read && !is_own
    }

    fn change(&mut self, event: &LoggedEvent) {
        self.note(event);
        let Some(target) = event.target else { return };
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.id == target) {
            renew(&self.changes, entry);
        }
        if let Some(last) = &mut self.last {
            renew(&self.changes, last);
        }
    }

    fn note(&mut self, event: &LoggedEvent) {
        let Some(target) = event.target else { return };
        if self.changes.get(&target).is_none_or(|known| known.seq < event.seq) {
            self.changes.insert(target, event.clone());
        }
        if self.changes.len() > CHANGES_MAX {
            // The oldest message: pages with it are the last to be asked for again, and come changed then.
            self.changes.pop_first();
        }
    }
}

/// Gives a message its newest text.
fn renew(changes: &BTreeMap<EventId, LoggedEvent>, entry: &mut LoggedEvent) {
    let Some(change) = changes.get(&entry.id).filter(|_| !entry.deleted) else { return };
    if change.event == LoggedKind::Deleted || change.deleted {
        entry.deleted = true;
        entry.content = Some(Arc::from(""));
    } else if let Some(content) = change.content.as_ref().filter(|_| change.edited_at >= entry.edited_at) {
        entry.content = Some(content.clone());
        entry.edited_at = change.edited_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{EPOCH, ME, OTHER_EPOCH, edited, group, message};

    fn page(events: Vec<LoggedEvent>, complete: bool) -> HistoryResult {
        let conversation = crate::testing::CONVERSATION;
        HistoryResult { conversation, epoch: EPOCH, events, complete, oldest_seq: Seq(1), head: Seq(10) }
    }

    fn texts(conversation: &Conversation) -> Vec<&str> {
        conversation.entries.iter().filter_map(|entry| entry.content.as_deref()).collect()
    }

    #[test]
    fn unread_counts_others_messages_beyond_what_the_server_counted() {
        let mut team = Conversation::new(&group(10), ME);
        team.apply(&message(11, "hi"), false);
        let mut mine = message(12, "mine");
        mine.sender.id = ME;
        team.apply(&mine, true);
        assert_eq!(team.unread, 1);
        // An answer that knew the head 11 counted one; 12 is ours. One that knew the head 10 counted neither.
        team.learn(&ConversationInfo { unread: Some(0), ..group(10) }, ME);
        assert_eq!(team.unread, 1);
        team.learn(&ConversationInfo { unread: Some(1), read: Some(Seq(10)), ..group(11) }, ME);
        assert_eq!(team.unread, 1);
        team.learn(&ConversationInfo { unread: Some(0), ..group(12) }, ME);
        assert_eq!(team.unread, 0);
    }

    #[test]
    fn a_change_reaches_messages_that_are_here_and_those_paged_later() {
        let mut team = Conversation::new(&group(10), ME);
        team.apply(&message(11, "frist"), false);
        team.apply(&edited(12, 11, "first"), false);
        assert_eq!(texts(&team), ["first"]);
        assert_eq!(team.last.as_ref().unwrap().content.as_deref(), Some("first"));
        team.apply(&edited(13, 9, "nine!"), false);
        assert!(team.prepend(page(vec![message(9, "nine"), message(10, "ten")], false)));
        assert_eq!(texts(&team), ["nine!", "ten", "first"]);
        assert_eq!(team.from(), Seq(9));
        let deleted = LoggedEvent { event: LoggedKind::Deleted, content: None, ..edited(14, 9, "") };
        team.apply(&deleted, false);
        assert!(team.entries[0].deleted);
        assert_eq!(texts(&team), ["", "ten", "first"]);
    }

    #[test]
    fn a_page_of_another_log_is_refused_and_an_empty_one_is_the_end() {
        let mut team = Conversation::new(&group(10), ME);
        assert!(!team.prepend(HistoryResult { epoch: OTHER_EPOCH, ..page(vec![message(10, "x")], false) }));
        assert!(team.entries.is_empty());
        assert!(team.prepend(page(Vec::new(), false)) && team.complete);
    }

    #[test]
    fn windows_are_bounded_and_say_what_they_forgot() {
        let mut team = Conversation::new(&group(0), ME);
        for seq in 1..=ENTRIES_MAX as u64 + 1 {
            team.apply(&message(seq, "x"), false);
        }
        assert_eq!(team.entries.len(), ENTRIES_MAX / 4 * 3);
        assert_eq!(team.from(), team.entries[0].seq);
        team.trim();
        assert_eq!((team.entries.len(), team.complete), (IDLE_MAX / 2, false));
    }
}
