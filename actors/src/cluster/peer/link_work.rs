//! The peer's link: envelopes in and out, and what to do when it breaks.

use std::time::Duration;

use bytes::Bytes;
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::{Incarnation, NodeId},
    limits::link::ENVELOPE_VALID,
};

use super::{P, PeerMessage, arrived, go_on};
use crate::{
    cluster::{
        envelope::{Envelope, Versions},
        frame::Frame,
        link::{Class, Event, Link, Refused, Ticket},
    },
    conversation::messages::{Answer, ConversationMessage},
    directory::DirectoryMessage,
    engine::Node,
    ports::StoreResult,
};

/// How often the link looks at its clock: shorter than its shortest wait for an acknowledgement would cost more than it gains.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// The same for a node that isn't there.
const IDLE_TICK: Duration = Duration::from_millis(500);

/// Makes the link to `peer`.
pub(super) fn new(node: &Node, peer: NodeId) -> Link {
    Link::new(node.cluster.me, peer, node.cluster.epochs.clone(), Versions::HERE, now(node))
}

/// Time on a clock that goes on while the process is stopped.
pub(super) fn now(node: &Node) -> Duration {
    node.runtime.clock().boot_time()
}

/// Writes a frame into the link.
pub(super) fn send(frame: &Frame, class: Class, cx: &mut P<'_>) {
    let Err(refused) = cx.keep.link.send(frame.encode(), class, now(&cx.keep.node)) else { return };
    match (class, refused) {
        (_, Refused::TooLong) => too_long(frame, cx),
        // May be lost.
        (Class::Ephemeral, _) => {}
        (Class::Kept, Refused::Overflow) => events(cx),
        (Class::Kept, refused) => {
            if let Frame::Command { n, conversation, .. } = frame {
                // Only this one: it is asked again in a moment, what waits goes on waiting.
                let aftermath = cx.keep.home.elsewhere(*conversation, *n);
                return go_on(aftermath, cx);
            }
            tracing::debug!(node = cx.keep.peer.0, %refused, "a frame found no way to another node");
            reset(cx);
        }
    }
}

/// A frame that no envelope can hold; conversations cut what they deliver, so it is an answer, a long page most likely.
fn too_long(frame: &Frame, cx: &mut P<'_>) {
    let Frame::Answered { n, .. } = frame else {
        return tracing::error!(node = cx.keep.peer.0, "a frame for another node is too long, and was dropped");
    };
    let error = ClientError::new(ErrorCode::TooLarge, "the page is too large: ask for fewer events").field("limit");
    send(&Frame::Answered { n: *n, answer: Answer::Failed(error) }, Class::Kept, cx);
}

/// Begins anew: what is on its way is lost, and both sides know it.
pub(super) fn reset(cx: &mut P<'_>) {
    let (life, now) = (cx.keep.life, now(&cx.keep.node));
    cx.keep.link.peer_gone(now);
    if let Some(life) = life {
        cx.keep.link.peer_incarnation(life, now);
    }
    events(cx);
    // Also when there was no session to break: what was accepted here waits for answers that can't come.
    broken(cx);
}

/// Takes what the link has to say of the time before now.
pub(super) fn settle(cx: &mut P<'_>) {
    cx.keep.link.tick(now(&cx.keep.node));
    events(cx);
}

/// Takes what the directory knows of the node's lease.
pub(super) fn seen(life: Option<Incarnation>, cx: &mut P<'_>) {
    cx.keep.life = life;
    match life {
        Some(life) => cx.keep.link.peer_incarnation(life, now(&cx.keep.node)),
        None => cx.keep.link.peer_gone(now(&cx.keep.node)),
    }
    events(cx);
    flush(cx);
}

/// Takes an envelope.
pub(super) fn arrived(envelope: &Envelope, cx: &mut P<'_>) {
    cx.keep.link.received(envelope, now(&cx.keep.node));
    events(cx);
}

/// Looks at the clock.
pub(super) fn tick(cx: &mut P<'_>) {
    cx.keep.link.tick(now(&cx.keep.node));
    events(cx);
    cx.after(if cx.keep.life.is_some() { TICK } else { IDLE_TICK }, PeerMessage::Tick);
}

/// Takes what the bus said of a batch.
pub(super) fn sent(results: Vec<(Ticket, StoreResult<()>)>, cx: &mut P<'_>) {
    cx.keep.sending = false;
    for (ticket, result) in results {
        if let Err(error) = result {
            tracing::debug!(node = cx.keep.peer.0, %error, "an envelope was not sent");
            cx.keep.link.not_sent(ticket, now(&cx.keep.node));
        }
    }
}

/// Hands what waits to the bus, if the last batch is there.
pub(super) fn flush(cx: &mut P<'_>) {
    events(cx);
    if cx.keep.sending {
        return;
    }
    let envelopes = cx.keep.link.outgoing(now(&cx.keep.node));
    events(cx);
    if envelopes.is_empty() {
        return;
    }
    cx.keep.sending = true;
    let expires_ms = cx.unix_ms() + i64::try_from(ENVELOPE_VALID.as_millis()).expect("seconds");
    let cluster = cx.keep.node.cluster.clone();
    let tickets: Vec<_> = envelopes.iter().map(Ticket::of).collect();
    let sealed: Vec<(_, Bytes)> =
        envelopes.iter().map(|envelope| (envelope.to, envelope.seal(&cluster.keys, expires_ms))).collect();
    cx.pipe(
        async move {
            let results = cluster.bus.send_many(sealed).await;
            tickets.into_iter().zip(results).collect()
        },
        PeerMessage::Sent,
    );
}

/// Does what the link says, in order.
fn events(cx: &mut P<'_>) {
    while let Some(event) = cx.keep.link.next_event() {
        match event {
            Event::Up { version } => {
                tracing::info!(node = cx.keep.peer.0, version, "linked to another node");
                // What was said of sockets while there was no link is lost: our conversations look for their members again.
                let _ = cx.keep.node.directory.tell_always(DirectoryMessage::Linked);
            }
            Event::Frame(bytes) => match Frame::decode(&bytes) {
                Ok(frame) => arrived::handle(frame, cx),
                Err(error) => {
                    cx.keep.malformed += 1;
                    tracing::error!(node = cx.keep.peer.0, %error, "a frame of another node can't be read");
                }
            },
            Event::Down(why) => {
                tracing::warn!(node = cx.keep.peer.0, %why, "the link to another node broke");
                broken(cx);
            }
        }
    }
}

/// What was on its way is lost: our sockets' questions are answered 'retry' and their places asked for again; their sockets are gone
/// here until they are told again.
fn broken(cx: &mut P<'_>) {
    for (slot, user, conversations) in cx.keep.owned.take_all() {
        for conversation in conversations {
            cx.keep.node.conversations.tell_active(conversation, ConversationMessage::Offline { user, slot });
        }
    }
    let aftermath = cx.keep.home.down();
    go_on(aftermath, cx);
}
