//! What two nodes tell each other, as JSON inside an envelope of their link.
//!
//! The *home* of a socket is the node on which it lives, the *owner* of a conversation the one that appends to it. Commands go from home
//! to owner, answers and events come back, all in order.

use std::sync::Arc;

use bytes::Bytes;
use chinwag_schema::{
    error::CloseCode,
    event::{Event, EventBody, LogEvent},
    ids::{ConversationId, EventId, Seq, Slot, UserId},
    model::{Pointer, Position, Role},
    wire::{Dialect, encoded_event::EncodedEvent},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::gather::{Question, Told};
use crate::{
    conversation::messages::{Answer, Batch, Caller, ConversationMessage, HistoryQuery, ListenOptions, Woken},
    relay::{RelayMessage, ReplyTo},
};

/// One thing that a node tells another.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    // ---- from a home to an owner
    /// Something for a conversation; answered with [`Self::Answered`] of the same number, but for 0, for which nobody waits.
    Command {
        n: u64,
        conversation: ConversationId,
        command: Command,
    },
    /// A socket of a member of these conversations opened: those that are awake want to know.
    Online {
        user: UserId,
        slot: Slot,
        dialect: Dialect,
        conversations: Vec<ConversationId>,
    },
    /// The answer to [`Self::Online`] for conversations that the receiver of that doesn't own.
    Astray {
        user: UserId,
        slot: Slot,
        dialect: Dialect,
        conversations: Vec<ConversationId>,
    },
    /// Sockets of members: the answer to [`Self::Interest`]. `added` to [`Self::Joined`].
    Sockets {
        conversation: ConversationId,
        sockets: Vec<(UserId, Slot, Dialect)>,
        added: bool,
    },
    /// The conversation was awake at an earlier owner: it wakes at this one.
    Touch {
        conversation: ConversationId,
    },
    /// A socket is gone.
    Gone {
        user: UserId,
        slot: Slot,
    },

    // ---- from an owner to a home
    Answered {
        n: u64,
        answer: Answer,
    },
    /// The conversation isn't this node's (any more): whoever asked must find its owner and ask again.
    Elsewhere {
        n: u64,
        conversation: ConversationId,
    },
    /// Events for all sockets there that are attached to the conversation.
    Deliver {
        conversation: ConversationId,
        events: Vec<Sent>,
    },
    /// The beginning of a replay that is too long for one frame; [`Self::Attach`] has the rest.
    Replay {
        conversation: ConversationId,
        slot: Slot,
        events: Vec<Shared>,
    },
    Attach {
        conversation: ConversationId,
        slot: Slot,
        replay: Vec<Shared>,
        upto: Seq,
    },
    Detach {
        conversation: ConversationId,
        slot: Slot,
    },
    Send {
        slots: Vec<Slot>,
        event: Shared,
    },
    Wake {
        slot: Slot,
        woken: Woken,
    },
    Asleep {
        slot: Slot,
        woken: Woken,
    },
    Close {
        slot: Slot,
        code: u16,
    },
    /// A conversation woke up and wants to know the sockets of these members.
    Interest {
        conversation: ConversationId,
        users: Vec<UserId>,
    },
    /// A user became a member.
    Joined {
        conversation: ConversationId,
        user: UserId,
    },

    // ---- from any node to any
    /// A question to a node, and its answer.
    Ask {
        n: u64,
        question: Question,
    },
    Told {
        n: u64,
        told: Told,
    },
    /// Shards were offered to the receiver.
    Look,
    /// An event for all sockets of these users.
    Notify {
        users: Vec<UserId>,
        event: Shared,
    },
}

/// An event of a batch, and the socket that doesn't get it.
#[derive(Serialize, Deserialize)]
pub struct Sent(pub Shared, pub Option<Slot>);

/// An event with the time of sending; encoded for its sockets where they live.
pub struct Shared(pub Arc<EncodedEvent>);

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.event(), self.0.now_ms()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (event, now_ms) = <(Event, i64)>::deserialize(deserializer)?;
        Ok(Self(Arc::new(EncodedEvent::new(event, now_ms))))
    }
}

/// A [`ConversationMessage`] of a session, without its reply.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Post { from: Arc<Caller>, client_id: Option<Uuid>, content: Arc<str> },
    Edit { from: Arc<Caller>, target: EventId, content: Arc<str>, within_ms: Option<i64> },
    Delete { from: Arc<Caller>, target: EventId },
    Listen { from: Arc<Caller>, options: ListenOptions },
    Relisten { from: Arc<Caller>, after: Seq },
    Unlisten { from: Arc<Caller> },
    Attach { from: Arc<Caller>, after: Seq },
    Resume { from: Arc<Caller>, position: Position, max_events: u64 },
    Join { from: Arc<Caller>, role: Role },
    Leave { from: Arc<Caller> },
    History { from: Arc<Caller>, query: HistoryQuery },
    Move { from: Arc<Caller>, pointer: Pointer, seq: Seq, clamp: bool },
    Typing { from: Arc<Caller>, active: bool },
    Info { from: Arc<Caller> },
    Members { from: Arc<Caller>, after: UserId, limit: usize },
    Listeners { from: Arc<Caller>, limit: usize },
    Announce { from: Arc<Caller>, requested: bool },
}

impl Command {
    /// Takes a message apart; gives it back when it is none that travels (a conversation's own work, news from its node's directory).
    pub fn of(message: ConversationMessage) -> Result<(Self, ReplyTo), Box<ConversationMessage>> {
        use ConversationMessage as M;
        Ok(match message {
            M::Post { from, client_id, content, reply } => (Self::Post { from, client_id, content }, reply),
            M::Edit { from, target, content, within_ms, reply } => {
                (Self::Edit { from, target, content, within_ms }, reply)
            }
            M::Delete { from, target, reply } => (Self::Delete { from, target }, reply),
            M::Listen { from, options, reply } => (Self::Listen { from, options }, reply),
            M::Unlisten { from, reply } => (Self::Unlisten { from }, reply),
            M::Resume { from, position, max_events, reply } => (Self::Resume { from, position, max_events }, reply),
            M::Join { from, role, reply } => (Self::Join { from, role }, reply),
            M::Leave { from, reply } => (Self::Leave { from }, reply),
            M::History { from, query, reply } => (Self::History { from, query }, reply),
            M::Move { from, pointer, seq, clamp, reply } => (Self::Move { from, pointer, seq, clamp }, reply),
            M::Info { from, reply } => (Self::Info { from }, reply),
            M::Members { from, after, limit, reply } => (Self::Members { from, after, limit }, reply),
            M::Listeners { from, limit, reply } => (Self::Listeners { from, limit }, reply),
            M::Relisten { from, after } => (Self::Relisten { from, after }, ReplyTo::nobody()),
            M::Attach { from, after } => (Self::Attach { from, after }, ReplyTo::nobody()),
            M::Typing { from, active } => (Self::Typing { from, active }, ReplyTo::nobody()),
            M::Announce { from, requested } => (Self::Announce { from, requested }, ReplyTo::nobody()),
            other => return Err(Box::new(other)),
        })
    }

    /// Puts the message together again where its conversation lives.
    pub fn into_message(self, reply: ReplyTo) -> ConversationMessage {
        use ConversationMessage as M;
        match self {
            Self::Post { from, client_id, content } => M::Post { from, client_id, content, reply },
            Self::Edit { from, target, content, within_ms } => M::Edit { from, target, content, within_ms, reply },
            Self::Delete { from, target } => M::Delete { from, target, reply },
            Self::Listen { from, options } => M::Listen { from, options, reply },
            Self::Unlisten { from } => M::Unlisten { from, reply },
            Self::Resume { from, position, max_events } => M::Resume { from, position, max_events, reply },
            Self::Join { from, role } => M::Join { from, role, reply },
            Self::Leave { from } => M::Leave { from, reply },
            Self::History { from, query } => M::History { from, query, reply },
            Self::Move { from, pointer, seq, clamp } => M::Move { from, pointer, seq, clamp, reply },
            Self::Info { from } => M::Info { from, reply },
            Self::Members { from, after, limit } => M::Members { from, after, limit, reply },
            Self::Listeners { from, limit } => M::Listeners { from, limit, reply },
            Self::Relisten { from, after } => M::Relisten { from, after },
            Self::Attach { from, after } => M::Attach { from, after },
            Self::Typing { from, active } => M::Typing { from, active },
            Self::Announce { from, requested } => M::Announce { from, requested },
        }
    }

    /// Says whether it asks for a place in the conversation.
    pub fn attaches(&self) -> bool {
        matches!(self, Self::Listen { .. } | Self::Relisten { .. } | Self::Attach { .. } | Self::Resume { .. })
    }

    /// Returns who asks.
    pub fn from(&self) -> &Arc<Caller> {
        match self {
            Self::Post { from, .. }
            | Self::Edit { from, .. }
            | Self::Delete { from, .. }
            | Self::Listen { from, .. }
            | Self::Relisten { from, .. }
            | Self::Unlisten { from }
            | Self::Attach { from, .. }
            | Self::Resume { from, .. }
            | Self::Join { from, .. }
            | Self::Leave { from }
            | Self::History { from, .. }
            | Self::Move { from, .. }
            | Self::Typing { from, .. }
            | Self::Info { from }
            | Self::Members { from, .. }
            | Self::Listeners { from, .. }
            | Self::Announce { from, .. } => from,
        }
    }
}

impl Frame {
    /// Makes the frames of what a conversation hands to sockets of another node, none of them longer than an envelope can be.
    ///
    /// # Panics
    /// On an answer: those are told to the peer's `ReplyTo`, not to a relay.
    pub fn of_relay(message: RelayMessage) -> Vec<Self> {
        vec![match message {
            RelayMessage::Deliver { conversation, owner: _, events } => {
                let parts = in_parts(events, |(event, _)| event);
                let deliver = |events: Vec<(Arc<EncodedEvent>, Option<Slot>)>| Self::Deliver {
                    conversation,
                    events: events.into_iter().map(|(event, except)| Sent(Shared(event), except)).collect(),
                };
                return parts.into_iter().map(deliver).collect();
            }
            RelayMessage::Attach { conversation, owner: _, slot, replay, upto } => {
                let mut parts = in_parts(replay, |event| event);
                let last = parts.pop().unwrap_or_default().into_iter().map(Shared).collect();
                let replay = |events: Vec<Arc<EncodedEvent>>| Self::Replay {
                    conversation,
                    slot,
                    events: events.into_iter().map(Shared).collect(),
                };
                let mut frames: Vec<Self> = parts.into_iter().map(replay).collect();
                frames.push(Self::Attach { conversation, slot, replay: last, upto });
                return frames;
            }
            RelayMessage::Detach { conversation, slot } => Self::Detach { conversation, slot },
            RelayMessage::Send { slots, event } => Self::Send { slots, event: Shared(event) },
            RelayMessage::Wake { slot, woken } => Self::Wake { slot, woken },
            RelayMessage::Asleep { slot, woken } => Self::Asleep { slot, woken },
            RelayMessage::Close { slot, code, reason: _ } => Self::Close { slot, code: code.0 },
            RelayMessage::Answer { .. } => unreachable!("answers have a number of their own"),
        }]
    }

    /// Writes the frame.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain data serialises").into()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it isn't one: another version's, or a defect.
    pub fn decode(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }
}

/// Text of the events in one frame, bytes. A text may be six times as long as JSON, and an event has another half KiB around it:
/// with [`PART_MAX_EVENTS`] that stays below the largest frame.
const PART_MAX_BYTES: usize = 96 * 1024;
const PART_MAX_EVENTS: usize = 256;

/// Cuts a list of events so that each part fits a frame.
fn in_parts<T>(events: Vec<T>, event: impl Fn(&T) -> &EncodedEvent) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for one in events {
        let length = text_bytes(event(&one).event());
        match parts.last_mut() {
            Some(part) if part.len() < PART_MAX_EVENTS && bytes + length <= PART_MAX_BYTES => {
                bytes += length;
                part.push(one);
            }
            _ => {
                bytes = length;
                parts.push(vec![one]);
            }
        }
    }
    parts
}

fn text_bytes(event: &Event) -> usize {
    let of = |event: &LogEvent| match &event.body {
        EventBody::Message(message) => message.content.len(),
        _ => 0,
    };
    match event {
        Event::Sequenced { event, target, .. } => of(event) + target.as_ref().map_or(0, of),
        _ => 0,
    }
}

/// Returns the batch that a relay takes.
pub fn batch(events: Vec<Sent>) -> Batch {
    events.into_iter().map(|Sent(event, except)| (event.0, except)).collect()
}

/// Returns why a socket is closed, from the code alone.
pub fn close_reason(code: CloseCode) -> &'static str {
    match code {
        CloseCode::INTERNAL => "a room failed, reconnect",
        CloseCode::REVOKED => "credentials revoked",
        CloseCode::SLOW_READER => "too many events at once",
        _ => "closed by the server",
    }
}

#[cfg(test)]
mod tests;
