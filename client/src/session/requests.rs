//! Requests and what becomes of them: answered, refused, repeated, given up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chinwag_schema::{
    error::ErrorCode,
    ids::{ConversationId, EventId},
    model::Pointer,
    wire::native::{
        ChangeResult, Command, Conversations, Created, Joined, Listening, LoggedEvent, LoggedKind, Members,
        OneConversation, Profile, Request, ResumeResult, SendResult, ServerError, ServerFrame, UserRef,
    },
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Event, Session, Timer};
use crate::{conversation::Pointers, error::Error, outbox::Destination, reconnect};

/// An answer is awaited this long.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Commands of the program without an answer; beyond it it hears [`Error::Busy`].
const COMMANDS_MAX: usize = 256;
/// Before what failed for now is tried again, unless the server says when.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(crate) type Answer = Result<Box<RawValue>, Error>;
pub(crate) type Reply = oneshot::Sender<Answer>;

/// What a request is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The program's.
    Command {
        reply: Reply,
        /// Refusals that were for now.
        failures: u32,
    },
    Send {
        message_id: Uuid,
        to: Destination,
    },
    Fill(ConversationId),
    Older(ConversationId),
    Reload(ConversationId),
    Relearn,
    Listen(ConversationId),
    Members(ConversationId),
    Resume,
    /// A page of the list, from behind this membership.
    List(Option<ConversationId>),
    Pointer {
        conversation: ConversationId,
        pointer: Pointer,
        before: Pointers,
    },
    Ignored,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) purpose: Purpose,
    command: Command,
    pub(super) until: Instant,
}

impl Session {
    /// Asks; on no link nothing comes of it.
    pub(super) fn ask(&mut self, purpose: Purpose, command: Command, now: Instant) {
        if !self.linked {
            return;
        }
        let id = self.request_ids.next();
        self.out.push(Request { id: id.clone(), command: command.clone() });
        self.requests.insert(id, InFlight { purpose, command, until: now + ANSWER_TIMEOUT });
    }

    /// Asks for the program: again, under the same id, when the link is lost or the server is busy, for 20 s in all.
    pub(crate) fn command(&mut self, command: Command, reply: Reply, now: Instant) {
        let commands = self.requests.values().filter(|request| matches!(request.purpose, Purpose::Command { .. }));
        if commands.count() >= COMMANDS_MAX {
            let _ = reply.send(Err(Error::Busy));
            return;
        }
        let id = self.request_ids.next();
        if self.linked {
            self.out.push(Request { id: id.clone(), command: command.clone() });
        }
        let purpose = Purpose::Command { reply, failures: 0 };
        self.requests.insert(id, InFlight { purpose, command, until: now + ANSWER_TIMEOUT });
    }

    /// Says a command of the program again.
    pub(super) fn repeat(&mut self, id: &str, _now: Instant) {
        if let Some(request) = self.requests.get(id).filter(|_| self.linked) {
            self.out.push(Request { id: id.to_owned(), command: request.command.clone() });
        }
    }

    pub(super) fn repeat_all(&mut self, now: Instant) {
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Repeat(_)));
        let of_program = |(_, request): &(&String, &InFlight)| matches!(request.purpose, Purpose::Command { .. });
        let ids: Vec<_> = self.requests.iter().filter(of_program).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.repeat(id, now));
    }

    /// Ends everything; the program hears why.
    pub(crate) fn end_requests(&mut self, error: impl Fn() -> Error) {
        for (_, request) in self.requests.drain() {
            if let Purpose::Command { reply, .. } = request.purpose {
                let _ = reply.send(Err(error()));
            }
        }
    }

    /// The link is gone: the program's commands are said again on the next one, the others' occasions come again.
    pub(super) fn lose_requests(&mut self, now: Instant) {
        let lost: Vec<_> =
            self.requests.extract_if(|_, request| !matches!(request.purpose, Purpose::Command { .. })).collect();
        for (_, request) in lost {
            self.given_up(request.purpose, now);
        }
    }

    /// Gives up what has no answer in time.
    pub(super) fn expire(&mut self, now: Instant) {
        let late: Vec<_> = self.requests.extract_if(|_, request| request.until <= now).collect();
        for (_, request) in late {
            match request.purpose {
                Purpose::Command { reply, .. } => drop(reply.send(Err(Error::Timeout))),
                purpose => self.given_up(purpose, now),
            }
        }
    }

    /// Takes a reply. `Err`: it isn't of this protocol.
    pub(crate) fn replied(
        &mut self,
        id: &str,
        outcome: Result<Box<RawValue>, ServerError>,
        now: Instant,
    ) -> Result<(), serde_json::Error> {
        // To a request that was given up, or said twice.
        let Some(request) = self.requests.remove(id) else { return Ok(()) };
        match outcome {
            Ok(result) => self.answered(request, result, now),
            Err(error) => {
                self.refused(id, request, error, now);
                Ok(())
            }
        }
    }

    fn answered(&mut self, request: InFlight, result: Box<RawValue>, now: Instant) -> Result<(), serde_json::Error> {
        match request.purpose {
            Purpose::Command { reply, .. } => {
                self.concerns_us(&request.command, &result, now)?;
                let _ = reply.send(Ok(result));
            }
            Purpose::Send { message_id, to } => self.stored(message_id, &to, read::<SendResult>(&result)?, now),
            Purpose::Fill(id) => self.filled(id, read(&result)?, now),
            Purpose::Older(id) => self.older(id, read(&result)?, now),
            Purpose::Reload(id) => self.reloaded(id, &read::<OneConversation>(&result)?.conversation, now),
            Purpose::Relearn => {
                self.learn(&read::<OneConversation>(&result)?.conversation, now);
            }
            Purpose::Listen(_) => self.listening(&read::<Listening>(&result)?, now),
            Purpose::Members(id) => self.members(id, &read::<Members>(&result)?),
            Purpose::Resume => {
                read::<ResumeResult>(&result)?.resumed.into_iter().for_each(|outcome| self.resumed(outcome, now));
                self.pump(now);
            }
            Purpose::List(_) => self.conversations(read::<Conversations>(&result)?, now),
            Purpose::Pointer { .. } | Purpose::Ignored => {}
        }
        Ok(())
    }

    /// Takes the answers to the program's commands that change what is known here.
    fn concerns_us(&mut self, command: &Command, result: &RawValue, now: Instant) -> Result<(), serde_json::Error> {
        match command {
            Command::Edit { conversation, message, content } => {
                let changed = read::<ChangeResult>(result)?;
                let rest = (LoggedKind::Edited, Some(content.as_str().into()), Some(changed.timestamp));
                self.changed_here(*conversation, *message, &changed, rest, now);
            }
            Command::Delete { conversation, message } => {
                let changed = read::<ChangeResult>(result)?;
                self.changed_here(*conversation, *message, &changed, (LoggedKind::Deleted, None, None), now);
            }
            Command::RoomListen { .. } => self.listening(&read::<Listening>(result)?, now),
            Command::RoomUnlisten { conversation } => {
                if let Some(one) = self.model.conversations.get_mut(conversation) {
                    one.listening = false;
                }
                if self.model.conversations.get(conversation).is_some_and(|one| !one.member) {
                    self.forget(*conversation);
                }
            }
            Command::ChatOpen { .. } | Command::GroupCreate { .. } | Command::RoomCreate { .. } => {
                self.joined(&read::<Created>(result)?.conversation, now);
            }
            Command::GroupJoin { .. } | Command::RoomJoin { .. } => {
                self.joined(&read::<Joined>(result)?.conversation, now);
            }
            Command::GroupLeave { conversation } | Command::RoomLeave { conversation } => self.left(*conversation),
            Command::Conversation { .. } => {
                let info = read::<OneConversation>(result)?.conversation;
                if self.model.conversations.contains_key(&info.id) {
                    self.learn(&info, now);
                }
            }
            Command::Members { conversation, .. } => self.members(*conversation, &read::<Members>(result)?),
            Command::ProfileSet { .. } => {
                self.model.me = Some(read::<Profile>(result)?.user);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the reply to an edit or deletion for the event that this socket isn't sent.
    fn changed_here(
        &mut self,
        conversation: ConversationId,
        target: EventId,
        changed: &ChangeResult,
        (event, content, edited_at): (LoggedKind, Option<Arc<str>>, Option<i64>),
        now: Instant,
    ) {
        let Some(me) = &self.model.me else { return };
        let sender = UserRef { id: me.id, name: me.name.clone() };
        let event = LoggedEvent {
            event,
            conversation,
            epoch: changed.epoch,
            seq: changed.seq,
            id: changed.id,
            timestamp: changed.timestamp,
            sender,
            message_id: None,
            target: Some(target),
            target_seq: None,
            content,
            edited_at,
            deleted: false,
        };
        self.accept(event, now);
    }

    fn refused(&mut self, id: &str, request: InFlight, error: ServerError, now: Instant) {
        let wait = error.retry_after_ms.map(Duration::from_millis);
        match request.purpose {
            Purpose::Command { reply, failures } if error.retryable => {
                let wait = wait.unwrap_or_else(|| reconnect::backoff(failures, reconnect::chance()));
                if now + wait >= request.until {
                    let _ = reply.send(Err(error.into()));
                    return;
                }
                let purpose = Purpose::Command { reply, failures: failures + 1 };
                self.requests.insert(id.to_owned(), InFlight { purpose, ..request });
                self.at(now + wait, Timer::Repeat(id.to_owned()));
            }
            Purpose::Command { reply, .. } => drop(reply.send(Err(error.into()))),
            Purpose::Send { to, .. } if error.retryable => {
                let wait = wait.unwrap_or_else(|| reconnect::backoff(0, reconnect::chance()));
                self.at(now + wait.min(Duration::from_secs(60)), Timer::Pump(to));
            }
            Purpose::Send { message_id, to } => {
                self.sending.remove(&to);
                let error = error.message;
                self.model.outbox.fail(message_id, error.clone());
                self.tell(Event::Failed { message_id, error });
                self.pump(now);
            }
            Purpose::Fill(id) | Purpose::Older(id) if error.code == ErrorCode::UnknownCursor => {
                self.given_up(request.purpose, now);
                self.reload(id, now);
            }
            Purpose::Fill(id) | Purpose::Older(id) if !error.retryable => self.history_refused(id),
            Purpose::Listen(id) if !error.retryable => self.forget(id),
            // Not from there, ever: the next welcome lists anew.
            Purpose::List(_) if !error.retryable => self.unlisted.clear(),
            purpose => self.given_up(purpose, now),
        }
    }

    /// Does what has to be done when a request of ours comes to nothing.
    fn given_up(&mut self, purpose: Purpose, now: Instant) {
        match purpose {
            // Its outcome is unknown: it is sent again under its id.
            Purpose::Send { to, .. } => {
                self.at(now + if self.linked { RETRY_AFTER } else { Duration::ZERO }, Timer::Pump(to));
            }
            Purpose::Fill(id) => {
                if let Some(one) = self.model.conversations.get_mut(&id) {
                    one.filling = false;
                    self.watch(id, now);
                }
            }
            // Who sees the beginning of the window asks again at once.
            Purpose::Older(id) if self.linked => self.at(now + RETRY_AFTER, Timer::Older(id)),
            Purpose::Older(id) => self.not_loading(id),
            Purpose::Pointer { conversation, pointer, before } => {
                if let Some(one) = self.model.conversations.get_mut(&conversation) {
                    one.own.delivered = before.delivered;
                    if pointer == Pointer::Read {
                        one.own.read = before.read;
                    }
                }
            }
            // The only ways on for this conversation: not to be left at that.
            Purpose::Listen(id) if self.linked => self.at(now + RETRY_AFTER, Timer::Listen(id)),
            Purpose::Reload(id) if self.linked => self.at(now + RETRY_AFTER, Timer::Reload(id)),
            Purpose::List(after) if self.linked => self.at(now + RETRY_AFTER, Timer::List(after)),
            Purpose::List(_) | Purpose::Resume => {
                // Nobody is taken for gone because a page is missing; the next welcome tells it all anew.
                self.unlisted.clear();
            }
            _ => {}
        }
    }
}

pub(super) fn read<T: DeserializeOwned>(result: &RawValue) -> Result<T, serde_json::Error> {
    ServerFrame::result(result)
}
