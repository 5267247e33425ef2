//! Empties the outbox (`ops/protocol/native.md`, section 6): one message of a conversation after the other, so that a refused or delayed one
//! doesn't change their order, until the server has stored or refused it.

use std::{sync::Arc, time::Instant};

use chinwag_schema::{
    ids::ConversationId,
    names,
    wire::native::{Command, LoggedEvent, LoggedKind, SendResult, SendTo, UserRef},
};
use uuid::Uuid;

use super::{Event, Session, requests::Purpose};
use crate::{
    error::Error,
    outbox::{Destination, Pending, PendingState},
};

impl Session {
    /// Puts a message into the outbox, and sends it when it can be.
    pub(crate) fn send(&mut self, to: Destination, content: &str, now: Instant) -> Result<Uuid, Error> {
        let content = names::content(content)?.to_owned();
        // A chat that is known has one queue, whichever way it is written to.
        let to = match to {
            Destination::User(name) => match self.model.chat_with(&name) {
                Some(chat) => Destination::Conversation(chat.id),
                None => Destination::User(name),
            },
            to => to,
        };
        let written_at = self.unix_ms(now);
        let message_id = self.message_ids.next(written_at);
        let state = PendingState::Waiting;
        self.model.outbox.add(Pending { message_id, to, content, written_at, state })?;
        self.model.wrote(message_id);
        self.pump(now);
        Ok(message_id)
    }

    /// Sends a message again that the server has refused: as a new one, for the old one may be refused for its age.
    pub(crate) fn send_again(&mut self, message_id: Uuid, now: Instant) -> Result<Option<Uuid>, Error> {
        let failed = |item: &&Pending| matches!(item.state, PendingState::Failed(_));
        let Some(item) = self.model.outbox.get(message_id).filter(failed).cloned() else { return Ok(None) };
        // First the new one: one too many is better than none.
        let new = self.send(item.to, &item.content, now)?;
        self.model.outbox.remove(message_id);
        Ok(Some(new))
    }

    /// Gives up a message that isn't on its way. `None`: there is none, or it may be stored already.
    pub(crate) fn discard(&mut self, message_id: Uuid) -> Option<Pending> {
        let item = self.model.outbox.get(message_id)?;
        let on_its_way = self.linked && self.sending.contains(&item.to);
        if item.state == PendingState::Stored || (item.state == PendingState::Waiting && on_its_way) {
            return None;
        }
        self.model.outbox.remove(message_id)
    }

    /// Sends the first message of each destination that has none under way.
    pub(super) fn pump(&mut self, now: Instant) {
        if !self.linked {
            return;
        }
        let mut due = Vec::new();
        for (to, item) in self.model.outbox.heads() {
            if !self.sending.contains(to) && self.is_ready(to) {
                due.push(item.clone());
            }
        }
        for Pending { message_id, to, content, .. } in due {
            let send_to = match &to {
                Destination::Conversation(id) => SendTo::Conversation(*id),
                Destination::User(name) => SendTo::To(name.clone()),
            };
            self.sending.insert(to.clone());
            let command = Command::Send { to: send_to, message_id, content };
            self.ask(Purpose::Send { message_id, to }, command, now);
        }
    }

    /// Says whether sending can't make a message twice. A guest is another user on each socket, so the server can't tell a repeat: what was
    /// missed must have come first, and settled what had got through.
    fn is_ready(&self, to: &Destination) -> bool {
        match to {
            Destination::Conversation(id) if self.model.is_guest() => {
                self.model.conversations.get(id).is_none_or(|one| one.resumed && !one.log.has_hole())
            }
            _ => true,
        }
    }

    /// Takes the reply to a send, for the event that this socket isn't sent.
    pub(super) fn stored(&mut self, message_id: Uuid, to: &Destination, result: SendResult, now: Instant) {
        self.sending.remove(to);
        let content = self.model.outbox.get(message_id).map(|item| Arc::<str>::from(&*item.content));
        self.tell_stored(message_id, result.conversation, result.seq);
        if let (Some(content), Some(me)) = (content, &self.model.me) {
            let event = LoggedEvent {
                event: LoggedKind::Message,
                conversation: result.conversation,
                epoch: result.epoch,
                seq: result.seq,
                id: result.id,
                timestamp: result.timestamp,
                sender: UserRef { id: me.id, name: me.name.clone() },
                message_id: Some(message_id),
                target: None,
                target_seq: None,
                content: Some(content),
                edited_at: None,
                deleted: false,
            };
            self.accept(event, now);
        }
        self.pump(now);
    }

    fn tell_stored(&mut self, message_id: Uuid, conversation: ConversationId, seq: chinwag_schema::ids::Seq) {
        if self.model.outbox.get(message_id).is_some_and(|item| item.state != PendingState::Stored) {
            self.model.outbox.stored(message_id);
            self.tell(Event::Stored { message_id, conversation, seq });
        }
    }

    /// Takes a message that is in the log out of the outbox.
    pub(super) fn settle(&mut self, event: &LoggedEvent) {
        let Some(message_id) = event.message_id.filter(|_| event.event == LoggedKind::Message) else { return };
        if self.model.outbox.get(message_id).is_some() && self.model.is_own(event) {
            self.tell_stored(message_id, event.conversation, event.seq);
            self.model.outbox.remove(message_id);
        }
    }
}
