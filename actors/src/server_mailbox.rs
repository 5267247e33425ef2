//! The mailbox of this node: what goes to other nodes, and what comes from them.
//!
//! Envelopes are hints (invariant 2). In the embedded mode the bus loops them back, so that revocations and broadcasts take the
//! same way on one node as on many.

use std::sync::Arc;

use bytes::Bytes;
use chinwag_schema::{
    envelope::{Body, Envelope as Hint},
    error::CloseCode,
    event::Event,
    wire::encoded_event::EncodedEvent,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    cluster::{
        Cluster,
        envelope::{Envelope, Kind as EnvelopeKind, Refusal},
        peer::PeerMessage,
    },
    directory::DirectoryMessage,
    message_kinds,
    ports::{StoreResult, bus::Bus, directory::NodeLease},
    presence::PresenceMessage,
    runtime::{Behaviour, Cx, Kind, Mailbox},
};

/// Envelopes that may wait in this node's mailbox on the bus.
pub const MAILBOX_MAX: usize = 8192;

/// Whom an envelope goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Node(NodeLease),
    /// Every node, this one included.
    All,
}

/// What the mailbox is told.
pub enum ServerMailboxMessage {
    /// Sends something to other nodes (and to this one with [`To::All`]).
    Forward {
        to: To,
        body: Body,
    },
    /// An envelope came.
    Arrived(Bytes),
    Sent(StoreResult<()>),
    Subscribed(StoreResult<mpsc::Receiver<Bytes>>),
    Resubscribe,
}

message_kinds!(ServerMailboxMessage { Forward, Arrived, Sent, Subscribed, Resubscribe });

/// What the actor works with.
pub struct ServerMailboxKeep {
    pub node: NodeLease,
    pub bus: Arc<dyn Bus>,
    pub cluster: Arc<Cluster>,
    pub directory: Mailbox<DirectoryMessage>,
    pub presence: Mailbox<PresenceMessage>,
}

/// The server mailbox actor. Its own bound is 16,384 messages; when full, forwards are dropped (revocations are also in the account
/// store). A restart subscribes anew.
#[derive(Default)]
pub struct ServerMailbox {
    sent: u64,
    arrived: u64,
    failed: u64,
    malformed: u64,
    /// Dropped envelopes, by reason ([`Refusal::KINDS`]).
    refused: [u64; Refusal::KINDS.len()],
    subscribed: bool,
}

impl Behaviour for ServerMailbox {
    type Message = ServerMailboxMessage;
    type Keep = ServerMailboxKeep;
    const KIND: Kind = "server_mailbox";
    const MAILBOX: usize = 16_384;
    const ESSENTIAL: bool = true;

    fn new(cx: &mut Cx<'_, Self>) -> Self {
        subscribe(cx);
        Self::default()
    }

    fn handle(&mut self, message: ServerMailboxMessage, cx: &mut Cx<'_, Self>) {
        match message {
            ServerMailboxMessage::Forward { to, body } => {
                let payload = cx.keep.cluster.hint(body, cx.unix_ms());
                let bus = cx.keep.bus.clone();
                let send = async move {
                    match to {
                        To::Node(node) => bus.send(node, payload).await,
                        To::All => bus.broadcast(payload).await,
                    }
                };
                cx.pipe(send, ServerMailboxMessage::Sent);
            }
            ServerMailboxMessage::Arrived(payload) => self.arrived(&payload, cx),
            ServerMailboxMessage::Sent(Ok(())) => self.sent += 1,
            ServerMailboxMessage::Sent(Err(error)) => {
                self.failed += 1;
                tracing::warn!(%error, "an envelope was not sent");
            }
            ServerMailboxMessage::Subscribed(Ok(mut envelopes)) => {
                self.subscribed = true;
                let mailbox = cx.mailbox();
                cx.pipe(
                    async move {
                        while let Some(payload) = envelopes.recv().await {
                            // Past the bound, for the sake of revocations: the bus bounds what waits, and each is handled quickly.
                            let _ = mailbox.tell_always(ServerMailboxMessage::Arrived(payload));
                        }
                    },
                    |()| ServerMailboxMessage::Resubscribe,
                );
            }
            ServerMailboxMessage::Subscribed(Err(error)) => {
                tracing::warn!(%error, "the bus doesn't answer");
                cx.after(std::time::Duration::from_secs(1), ServerMailboxMessage::Resubscribe);
            }
            ServerMailboxMessage::Resubscribe => {
                self.subscribed = false;
                subscribe(cx);
            }
        }
    }

    fn observe(&self, keep: &ServerMailboxKeep) -> Value {
        json!({
            "node": keep.node.node.0,
            "subscribed": self.subscribed,
            "sent": self.sent,
            "arrived": self.arrived,
            "failed": self.failed,
            "malformed": self.malformed,
            "refused": Refusal::KINDS.into_iter().zip(self.refused).collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

impl ServerMailbox {
    fn arrived(&mut self, payload: &Bytes, cx: &mut Cx<'_, Self>) {
        let envelope = match Envelope::open(payload, &cx.keep.cluster.keys, cx.keep.node, cx.unix_ms()) {
            Ok(envelope) => envelope,
            Err(refusal) => {
                self.refused[refusal.kind()] += 1;
                // Of an earlier life of this node: nothing to worry about.
                if !matches!(refusal, Refusal::Incarnation(_)) {
                    tracing::warn!(%refusal, "an envelope was dropped");
                }
                return;
            }
        };
        self.arrived += 1;
        if envelope.kind != EnvelopeKind::Hint {
            if let Some(peer) = cx.keep.cluster.peer_or_start(envelope.from.node) {
                // Past the bound: the bus bounds what waits, and the link what was sent and not acknowledged.
                let _ = peer.tell_always(PeerMessage::Arrived(Box::new(envelope)));
            }
            return;
        }
        for frame in envelope.frames() {
            match Hint::decode(&frame) {
                Ok(hint) => hinted(hint, cx),
                Err(error) => {
                    self.malformed += 1;
                    tracing::warn!(%error, "a hint was dropped");
                }
            }
        }
    }
}

fn subscribe(cx: &mut Cx<'_, ServerMailbox>) {
    let (bus, node) = (cx.keep.bus.clone(), cx.keep.node);
    cx.pipe(async move { bus.subscribe(node, MAILBOX_MAX).await }, ServerMailboxMessage::Subscribed);
}

fn hinted(hint: Hint, cx: &mut Cx<'_, ServerMailbox>) {
    let now_ms = cx.unix_ms();
    let keep = &*cx.keep;
    // Past the bound: revocations must reach their sockets, and operators' broadcasts are few.
    let tell = |message| {
        let _ = keep.directory.tell_always(message);
    };
    match hint.body {
        Body::UserRevoked { user } => {
            tell(DirectoryMessage::CloseUser { user, code: CloseCode::REVOKED, reason: "credentials revoked" });
        }
        Body::TokenRevoked { token_id } => {
            tell(DirectoryMessage::CloseToken { token_id, code: CloseCode::REVOKED, reason: "logged out" });
        }
        Body::Notification { message } => {
            let event = Event::Notification { message: message.into(), at_ms: now_ms };
            tell(DirectoryMessage::NotifyAll { event: Arc::new(EncodedEvent::new(event, now_ms)) });
        }
        Body::PresenceChanged { users } => {
            if hint.from != keep.node.node {
                let _ = keep.presence.tell(PresenceMessage::FarChanged { users });
            }
        }
    }
}
