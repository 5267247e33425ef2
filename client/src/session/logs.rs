//! Keeps the logs of the conversations whole: takes events from wherever, fetches holes from the history, and begins again where a log is
//! another one.

use std::time::{Duration, Instant};

use chinwag_schema::{
    ids::{ConversationId, Epoch, Seq},
    model::Pointer,
    wire::native::{
        Command, ConversationInfo, HistoryFrom, HistoryResult, LoggedEvent, Members, Outcome, Resumed, RoomRef,
    },
};

use super::{Event, Session, Timer, requests::Purpose};
use crate::{
    conversation::{Conversation, ENTRIES_MAX},
    log::Taken,
};

/// How long a hole may last before it is fetched.
const HOLE: Duration = Duration::from_secs(1);
/// Events asked for when the reader scrolls up.
const OLDER_PAGE: usize = 50;

impl Session {
    /// Takes a sequenced event.
    pub(super) fn accept(&mut self, event: LoggedEvent, now: Instant) {
        let id = event.conversation;
        let Some(one) = self.model.conversations.get_mut(&id) else {
            // A message to somebody to whom there was no chat yet: it is stored, and will be read with the chat.
            self.settle(&event);
            return;
        };
        one.refused = false;
        let seq = event.seq;
        let known = (seq <= one.position().seq).then(|| event.clone());
        match one.log.accept(event) {
            Taken::OtherLog => return self.reload(id, now),
            Taken::Events(events) => self.apply(id, events, now),
        }
        if let Some(event) = known {
            self.settle(&event);
        }
        self.watch(id, now);
    }

    fn apply(&mut self, id: ConversationId, events: Vec<LoggedEvent>, now: Instant) {
        if events.is_empty() {
            return;
        }
        for event in events {
            let own = self.model.is_own(&event);
            if let Some(one) = self.model.conversations.get_mut(&id) {
                one.apply(&event, own);
            }
            self.settle(&event);
            self.tell(Event::Logged { event, own });
        }
        self.received(id, now);
        self.pump(now);
    }

    /// Sees to it that a hole doesn't stay.
    pub(super) fn watch(&mut self, id: ConversationId, now: Instant) {
        let one = self.model.conversations.get(&id);
        let Some(one) = one.filter(|one| one.log.has_hole() && !one.filling && !one.refused) else { return };
        let watched = |(_, timer): &(Instant, Timer)| matches!(timer, Timer::Hole(of, _) if *of == id);
        if !self.timers.iter().any(watched) {
            let position = one.position().seq;
            self.at(now + HOLE, Timer::Hole(id, position));
        }
    }

    /// Fetches a hole that is still where it was; while it shrinks (a replay on its way) nothing need be fetched.
    pub(super) fn look_at_hole(&mut self, id: ConversationId, before: Seq, now: Instant) {
        match self.model.conversations.get(&id) {
            Some(one) if one.position().seq == before => self.fill(id, now),
            Some(_) => self.watch(id, now),
            None => {}
        }
    }

    /// Fetches what is missing.
    fn fill(&mut self, id: ConversationId, now: Instant) {
        let limit = self.model.limits.page;
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        if !self.linked || one.filling || one.refused || !one.log.has_hole() {
            return;
        }
        one.filling = true;
        let position = one.position();
        let from = Some(HistoryFrom::After(position.seq));
        let command = Command::History { conversation: id, from, limit, epoch: Some(position.epoch) };
        self.ask(Purpose::Fill(id), command, now);
    }

    pub(super) fn filled(&mut self, id: ConversationId, page: HistoryResult, now: Instant) {
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        one.filling = false;
        let before = one.position().seq;
        match one.log.accept_page(page) {
            Taken::OtherLog => return self.reload(id, now),
            Taken::Events(events) => self.apply(id, events, now),
        }
        let Some(one) = self.model.conversations.get(&id) else { return };
        if one.position().seq > before {
            self.fill(id, now);
        } else {
            self.watch(id, now);
        }
        self.pump(now);
    }

    /// Takes what became of a position.
    pub(super) fn resumed(&mut self, resumed: Resumed, now: Instant) {
        let id = resumed.conversation;
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        one.resumed = true;
        let (Some(epoch), Some(head)) = (resumed.epoch, resumed.head) else {
            if resumed.outcome == Outcome::Gone {
                self.left(id);
            }
            return;
        };
        match resumed.outcome {
            Outcome::Gone => self.left(id),
            Outcome::Reset => self.restart(id, epoch, head),
            _ if epoch != one.position().epoch => self.restart(id, epoch, head),
            Outcome::Gap => self.gap(id, epoch, resumed.to.unwrap_or(head), now),
            Outcome::Replayed => {
                one.log.expect(resumed.to.unwrap_or(head));
                self.watch(id, now);
            }
        }
    }

    /// Takes that events up to `to` don't come by themselves.
    pub(super) fn gap(&mut self, id: ConversationId, epoch: Epoch, to: Seq, now: Instant) {
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        let position = one.position();
        if epoch != position.epoch {
            self.reload(id, now);
        } else if to.0.saturating_sub(position.seq.0) > self.fill_max {
            self.restart(id, epoch, to);
            self.relearn(id, now);
        } else {
            one.log.expect(to);
            self.fill(id, now);
        }
    }

    fn restart(&mut self, id: ConversationId, epoch: Epoch, head: Seq) {
        if let Some(one) = self.model.conversations.get_mut(&id) {
            one.restart(epoch, head);
            let position = one.position();
            self.tell(Event::Restarted { conversation: id, position });
        }
    }

    /// Begins again: the log is another one, or the position is void.
    pub(super) fn reload(&mut self, id: ConversationId, now: Instant) {
        self.ask(Purpose::Reload(id), Command::Conversation { which: RoomRef::Conversation(id) }, now);
    }

    pub(super) fn reloaded(&mut self, id: ConversationId, info: &ConversationInfo, now: Instant) {
        let Some(one) = self.model.conversations.get(&id) else { return };
        let position = one.position();
        if (info.epoch, info.head) != (position.epoch, position.seq) {
            self.restart(id, info.epoch, info.head);
        }
        self.learn(info, now);
    }

    /// Asks for the page before the window. `false`: there is none, or it is under way or refused, or there is no connection.
    pub(crate) fn load_older(&mut self, id: ConversationId, now: Instant) -> bool {
        let Some(one) = self.model.conversations.get_mut(&id) else { return false };
        if !self.linked || one.loading || one.refused || one.complete || one.entries.len() + OLDER_PAGE > ENTRIES_MAX {
            return false;
        }
        one.loading = true;
        let (epoch, from) = (Some(one.position().epoch), Some(HistoryFrom::Before(one.from())));
        let command = Command::History { conversation: id, from, limit: OLDER_PAGE, epoch };
        self.ask(Purpose::Older(id), command, now);
        true
    }

    pub(super) fn not_loading(&mut self, id: ConversationId) {
        if let Some(one) = self.model.conversations.get_mut(&id) {
            one.loading = false;
            self.tell(Event::Changed(id));
        }
    }

    /// Takes that the history isn't to be had: asked again it would be refused again, so that has to wait for an event or a welcome.
    pub(super) fn history_refused(&mut self, id: ConversationId) {
        if let Some(one) = self.model.conversations.get_mut(&id) {
            (one.filling, one.loading, one.refused) = (false, false, true);
            self.tell(Event::Changed(id));
        }
    }

    pub(super) fn older(&mut self, id: ConversationId, page: HistoryResult, now: Instant) {
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        // Trimmed or restarted meanwhile: the page doesn't adjoin the window any more.
        let adjoins = page.events.last().is_none_or(|last| last.seq.next() >= one.from());
        if !std::mem::take(&mut one.loading) || !adjoins {
            return;
        }
        let events = page.events.clone();
        if !one.prepend(page) {
            return self.reload(id, now);
        }
        events.iter().for_each(|event| self.settle(event));
        self.tell(Event::Changed(id));
    }

    /// Takes what the server says of a conversation of the user, or of a room that is listened to.
    pub(super) fn learn(&mut self, info: &ConversationInfo, now: Instant) {
        let me = self.model.me_id();
        match self.model.conversations.get_mut(&info.id) {
            None => {
                self.model.conversations.insert(info.id, Conversation::new(info, me));
                self.tell(Event::Added(info.id));
            }
            Some(one) => {
                let new = !one.known;
                if one.position().epoch != info.epoch {
                    self.restart(info.id, info.epoch, info.head);
                }
                let Some(one) = self.model.conversations.get_mut(&info.id) else { return };
                one.learn(info, me);
                one.log.expect(info.head);
                self.tell(if new { Event::Added(info.id) } else { Event::Changed(info.id) });
                self.watch(info.id, now);
            }
        }
        self.received(info.id, now);
    }

    /// The user has become a member.
    pub(super) fn joined(&mut self, info: &ConversationInfo, now: Instant) {
        self.learn(info, now);
        if let Some(one) = self.model.conversations.get_mut(&info.id) {
            one.member = true;
            one.resumed = true;
        }
        if info.role.is_none() {
            self.relearn(info.id, now);
        }
        self.pump(now);
    }

    /// The user is no member any more.
    pub(super) fn left(&mut self, id: ConversationId) {
        match self.model.conversations.get_mut(&id) {
            Some(one) if one.listening => {
                one.member = false;
                one.role = None;
                self.tell(Event::Changed(id));
            }
            Some(_) => self.forget(id),
            None => {}
        }
    }

    pub(super) fn forget(&mut self, id: ConversationId) {
        let unsent: Vec<_> = self.model.pending(id).map(|item| item.message_id).collect();
        if self.model.conversations.remove(&id).is_none() {
            return;
        }
        for message_id in unsent {
            let error = "the conversation isn't yours any more".to_owned();
            self.model.outbox.fail(message_id, error.clone());
            self.tell(Event::Failed { message_id, error });
        }
        self.tell(Event::Removed(id));
    }

    /// Asks who the members are and how far they have got.
    pub(crate) fn ask_members(&mut self, id: ConversationId, now: Instant) {
        let limit = self.model.limits.page;
        self.ask(Purpose::Members(id), Command::Members { conversation: id, after: None, limit }, now);
    }

    pub(super) fn members(&mut self, id: ConversationId, members: &Members) {
        let me = self.model.me_id();
        let Some(one) = self.model.conversations.get_mut(&id) else { return };
        for member in members.members.iter().filter(|member| member.id != me) {
            one.peer(member.id, Pointer::Delivered, member.delivered);
            one.peer(member.id, Pointer::Read, member.read);
            if let Some(with) = one.with.as_mut().filter(|with| with.id == member.id) {
                with.online = member.online.or(with.online);
                with.last_seen = member.last_seen.or(with.last_seen);
            }
        }
        self.tell(Event::Changed(id));
    }
}
