//! One other node, as this one sees it: the link to it, what our sockets have there, and what its sockets have here.
//!
//! Everything between two nodes goes through this actor and its link, in order: a socket's commands, a conversation's events, answers
//! and attachments can't overtake each other (invariant 13, across nodes).

mod arrived;
mod home;
mod link_work;
mod owned;

use std::sync::Arc;

use chinwag_schema::{
    error::CloseCode,
    event::Class as EventClass,
    ids::{ConversationId, Incarnation, NodeId, Slot, UserId},
    wire::{Dialect, encoded_event::EncodedEvent},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    envelope::Envelope,
    frame::{Frame, Shared},
    gather::{Question, Told},
    link::{Class, Link, LinkGauge, LinkState, Ticket},
};
use crate::{
    conversation::messages::{Answer, ConversationMessage},
    directory::{DirectoryMessage, Following},
    engine::Node,
    message_kinds,
    ports::StoreResult,
    relay::RelayMessage,
    runtime::{Behaviour, Cx, Kind},
};

use home::{Aftermath, Home};
use owned::Owned;

/// What a peer is told.
pub enum PeerMessage {
    /// Something for a conversation that the other node owns. Answered through its own reply.
    Forward {
        conversation: ConversationId,
        message: ConversationMessage,
    },
    /// Something for sockets that live there.
    Relay(RelayMessage),
    /// An answer to a question that came from there.
    Answered {
        n: u64,
        answer: Answer,
    },
    /// A socket of ours with these conversations opened; the other node owns some of them.
    Online {
        user: UserId,
        slot: Slot,
        dialect: Dialect,
        conversations: Vec<ConversationId>,
    },
    /// A conversation of ours woke up: members with sockets there.
    Interest {
        conversation: ConversationId,
        users: Vec<UserId>,
    },
    /// A user with sockets there became a member of a conversation of ours.
    Joined {
        conversation: ConversationId,
        user: UserId,
    },
    /// Our directory says which sockets these members have.
    Sockets {
        conversation: ConversationId,
        sockets: Vec<(UserId, Slot, Dialect)>,
        added: bool,
    },
    /// A conversation whose sockets live there has left this node.
    Moved {
        conversation: ConversationId,
    },
    /// Asks the other node; dropped without an answer when the link breaks.
    Ask {
        question: Question,
        reply: oneshot::Sender<Told>,
    },
    /// Our answer to a question from there.
    Tell {
        n: u64,
        told: Told,
    },
    /// Shards were offered to the other node: it should look.
    Look,
    /// A socket of ours closed.
    Closed {
        user: UserId,
        slot: Slot,
    },
    /// An event for users with sockets there.
    Notify {
        users: Vec<UserId>,
        event: Arc<EncodedEvent>,
    },
    /// An envelope came from there.
    Arrived(Box<Envelope>),
    /// Its lease runs, with this incarnation; `None`: it has run out.
    Seen(Option<Incarnation>),
    // ---- own
    Sent(Vec<(Ticket, StoreResult<()>)>),
    Tick,
    /// What a broken link left is told again.
    Again,
    /// Conversations of a socket of ours that the other node doesn't own.
    Astray {
        user: UserId,
        slot: Slot,
        dialect: Dialect,
        conversations: Vec<ConversationId>,
    },
}

message_kinds!(PeerMessage {
    Forward,
    Relay,
    Answered,
    Online,
    Interest,
    Joined,
    Sockets,
    Moved,
    Ask,
    Tell,
    Look,
    Closed,
    Notify,
    Arrived,
    Seen,
    Sent,
    Tick,
    Again,
    Astray,
});

/// What a peer works with, and what outlives a panic.
pub struct PeerKeep {
    node: Arc<Node>,
    peer: NodeId,
    link: Link,
    /// What metrics know of it.
    gauge: Arc<LinkGauge>,
    home: Home,
    owned: Owned,
    /// Envelopes are on their way to the bus: one batch at a time, so that they arrive in order.
    sending: bool,
    /// The life of the other node that the directory knows.
    life: Option<Incarnation>,
    malformed: u64,
    built: bool,
    /// Places that a broken link left: told again in a moment.
    again: Vec<(ConversationId, ConversationMessage)>,
}

impl PeerKeep {
    /// Makes the state of a node that was heard of for the first time.
    pub fn new(node: Arc<Node>, peer: NodeId, gauge: Arc<LinkGauge>) -> Self {
        let link = link_work::new(&node, peer);
        Self {
            node,
            peer,
            link,
            gauge,
            home: Home::default(),
            owned: Owned::default(),
            sending: false,
            life: None,
            malformed: 0,
            built: false,
            again: Vec::new(),
        }
    }
}

/// The peer actor. Mailbox bound 65,536; when full, conversations keep their events and try again, commands hear `unavailable`, answers
/// and the ends of sockets pass. A panic breaks the link, and everything is asked again.
pub struct Peer;

type P<'a> = Cx<'a, Peer>;

impl Behaviour for Peer {
    type Message = PeerMessage;
    type Keep = PeerKeep;
    const KIND: Kind = "peer";
    const MAILBOX: usize = 65_536;
    const ESSENTIAL: bool = true;

    fn new(cx: &mut P<'_>) -> Self {
        cx.keep.sending = false;
        if std::mem::replace(&mut cx.keep.built, true) {
            // Nobody knows what the panic lost; what came behind it isn't handled, as if it were lost, too.
            while cx.keep.link.next_event().is_some() {}
            link_work::reset(cx);
        }
        cx.after(link_work::TICK, PeerMessage::Tick);
        if !cx.keep.again.is_empty() {
            cx.after(AGAIN_AFTER, PeerMessage::Again);
        }
        Self
    }

    fn handle(&mut self, message: PeerMessage, cx: &mut P<'_>) {
        match message {
            PeerMessage::Forward { conversation, message } => {
                // First: what the link says of its last session isn't meant for this.
                link_work::settle(cx);
                if let Some(frame) = cx.keep.home.forward(conversation, message) {
                    send(frame, cx);
                }
            }
            PeerMessage::Relay(message) => {
                let class = class_of(&message);
                for frame in Frame::of_relay(message) {
                    link_work::send(&frame, class, cx);
                }
            }
            PeerMessage::Answered { n, answer } => send(Frame::Answered { n, answer }, cx),
            PeerMessage::Online { user, slot, dialect, conversations } => {
                cx.keep.home.announced(slot);
                send(Frame::Online { user, slot, dialect, conversations }, cx);
            }
            PeerMessage::Interest { conversation, users } => send(Frame::Interest { conversation, users }, cx),
            PeerMessage::Joined { conversation, user } => send(Frame::Joined { conversation, user }, cx),
            PeerMessage::Sockets { conversation, sockets, added } => {
                sockets.iter().for_each(|(_, slot, _)| cx.keep.home.announced(*slot));
                send(Frame::Sockets { conversation, sockets, added }, cx);
            }
            PeerMessage::Moved { conversation } => send(Frame::Elsewhere { n: 0, conversation }, cx),
            // Dropped: nobody needs to wait for a node that isn't there.
            PeerMessage::Ask { .. } if cx.keep.link.state() != LinkState::Up => {}
            PeerMessage::Ask { question, reply } => {
                let n = cx.keep.home.ask(reply);
                link_work::send(&Frame::Ask { n, question }, Class::Ephemeral, cx);
            }
            PeerMessage::Tell { n, told } => link_work::send(&Frame::Told { n, told }, Class::Ephemeral, cx),
            PeerMessage::Look => link_work::send(&Frame::Look, Class::Ephemeral, cx),
            PeerMessage::Closed { user, slot } => {
                if cx.keep.home.closed(slot) {
                    send(Frame::Gone { user, slot }, cx);
                }
            }
            PeerMessage::Notify { users, event } => {
                link_work::send(&Frame::Notify { users, event: Shared(event) }, Class::Ephemeral, cx);
            }
            PeerMessage::Arrived(envelope) => link_work::arrived(&envelope, cx),
            PeerMessage::Seen(incarnation) => link_work::seen(incarnation, cx),
            PeerMessage::Sent(results) => link_work::sent(results, cx),
            PeerMessage::Tick => link_work::tick(cx),
            PeerMessage::Again => {
                for (conversation, message) in std::mem::take(&mut cx.keep.again) {
                    cx.keep.node.conversations.tell(conversation, message);
                }
            }
            PeerMessage::Astray { user, slot, dialect, conversations } => {
                let following = Following { user, slot, dialect };
                let followed = DirectoryMessage::Followed { following, conversations: Ok(conversations) };
                // Past the bound: the number of sockets bounds it.
                let _ = cx.keep.node.directory.tell_always(followed);
            }
        }
    }

    fn turn_ended(&mut self, cx: &mut P<'_>) {
        link_work::flush(cx);
        cx.keep.gauge.copy(&cx.keep.link);
    }

    fn observe(&self, keep: &PeerKeep) -> Value {
        let (waiting, conversations, sockets) = keep.home.size();
        let (counts, (frames_kept, bytes_kept)) = (keep.link.counts(), keep.link.kept());
        json!({
            "node": keep.peer.0,
            "link": match keep.link.state() {
                LinkState::Absent => "absent",
                LinkState::Greeting => "greeting",
                LinkState::Incompatible(_) => "incompatible",
                LinkState::Up => "up",
            },
            "frames_kept": frames_kept,
            "bytes_kept": bytes_kept,
            "waiting": waiting,
            "conversations_there": conversations,
            "sockets_known_there": sockets,
            "sockets_known_here": keep.owned.len(),
            "frames_sent": counts.frames_sent,
            "frames_received": counts.frames_received,
            "envelopes_sent": counts.envelopes_sent,
            "envelopes_resent": counts.resent,
            "malformed": keep.malformed,
            "ups": counts.ups,
            "downs": counts.downs,
        })
    }
}

/// Writes a frame into the link.
fn send(frame: Frame, cx: &mut P<'_>) {
    link_work::send(&frame, Class::Kept, cx);
}

/// Typing and the like may be lost.
fn class_of(message: &RelayMessage) -> Class {
    let ephemeral = |event: &EncodedEvent| matches!(event.class(), EventClass::Ephemeral);
    match message {
        RelayMessage::Deliver { events, .. } if events.iter().all(|(event, _)| ephemeral(event)) => Class::Ephemeral,
        RelayMessage::Send { event, .. } if ephemeral(event) => Class::Ephemeral,
        _ => Class::Kept,
    }
}

/// Tells what a broken link leaves behind to whoever comes next.
fn go_on(aftermath: Aftermath, cx: &mut P<'_>) {
    for (conversation, slot) in aftermath.detached {
        if let Some(relay) = cx.keep.node.relays.get(usize::from(slot.worker)) {
            let _ = relay.tell_always(RelayMessage::Detach { conversation, slot });
        }
    }
    for left in aftermath.left {
        later(left.conversation, left.message, cx);
    }
}

/// Tells a conversation something in a moment, wherever it is then.
fn later(conversation: ConversationId, message: ConversationMessage, cx: &mut P<'_>) {
    if cx.keep.again.is_empty() {
        cx.after(AGAIN_AFTER, PeerMessage::Again);
    }
    cx.keep.again.push((conversation, message));
}

/// How long the directory may take to know of another owner.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(200);

/// Closes sockets of ours whose relay can't take more.
fn close(slots: Vec<Slot>, cx: &P<'_>) {
    for slot in slots {
        cx.keep.node.close_socket(slot, CloseCode::OVERLOADED, "too many events at once");
    }
}
