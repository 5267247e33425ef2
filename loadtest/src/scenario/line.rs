//! The two ends of a workload, over the real server or the bare one: the same code drives both, so that only the servers differ.

use std::sync::Arc;

use anyhow::bail;
use futures_util::FutureExt as _;

use crate::{
    checker::ledger::{Ear, PlaceId},
    content::Mark,
    limit::line::BareLine,
    peer::{Heard, Peer, To},
    run::{
        Run,
        meter::{Counter, Timer},
    },
};

/// Who writes messages.
pub trait Poster: Send + 'static {
    /// Says whether its server tells when a message is stored.
    fn hears_acknowledgements(&self) -> bool;

    /// Writes a message with this mark.
    fn post(&mut self, mark: &Mark) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Waits until its server says of the next message that it is stored (the bare fan: that it is written). Reads whatever else comes.
    /// Nothing is lost if it is cancelled.
    fn acknowledged(&mut self) -> impl Future<Output = anyhow::Result<Mark>> + Send;
}

/// Who hears messages.
pub trait Listener: Send + 'static {
    /// Waits for the next message. Nothing is lost if it is cancelled.
    fn heard(&mut self) -> impl Future<Output = anyhow::Result<Mark>> + Send;
}

/// A poster of the real server. What it does is in the ledger.
pub struct PeerPoster {
    pub run: Arc<Run>,
    pub peer: Peer,
    pub to: To,
    pub place: PlaceId,
    /// Bytes of text.
    pub bytes: usize,
}

impl Poster for PeerPoster {
    fn hears_acknowledgements(&self) -> bool {
        self.run.protocol != crate::peer::Protocol::Messenger
    }

    async fn post(&mut self, mark: &Mark) -> anyhow::Result<()> {
        self.run.ledger.sent(self.place, *mark);
        self.run.meter.count(Counter::Sent, 1);
        self.peer.post(&self.to, mark, self.bytes).await
    }

    async fn acknowledged(&mut self) -> anyhow::Result<Mark> {
        loop {
            match self.peer.next().await? {
                Heard::Stored { mark, seq } => {
                    self.run.ledger.stored(&mark, seq);
                    self.run.meter.time(Timer::Acknowledged, self.run.since(&mark));
                    return Ok(mark);
                }
                Heard::Refused { mark, reason } => {
                    if let Some(mark) = mark {
                        self.run.ledger.refused(&mark);
                    }
                    bail!("the server refused a message: {reason}");
                }
                _ => {}
            }
        }
    }
}

/// A listener of the real server. What it hears is checked against the ledger.
pub struct PeerListener {
    pub run: Arc<Run>,
    pub peer: Peer,
    pub ear: Ear,
}

impl PeerListener {
    /// Ends listening: it must have heard everything. What has come beyond that is heard, too.
    pub fn stayed(mut self) -> Peer {
        while let Some(Ok(_)) = self.heard().now_or_never() {}
        self.ear.stayed();
        self.peer
    }
}

impl Listener for PeerListener {
    async fn heard(&mut self) -> anyhow::Result<Mark> {
        loop {
            match self.peer.next().await? {
                Heard::Message(mark) if mark.run == self.run.id => {
                    self.ear.heard(&mark);
                    self.run.delivered(&mark);
                    return Ok(mark);
                }
                Heard::Gap { left_out, .. } => {
                    self.ear.gap(left_out);
                    bail!(
                        "the server left out messages for a listener: this machine reads too slowly for this workload"
                    );
                }
                _ => {}
            }
        }
    }
}

impl Poster for BareLine {
    fn hears_acknowledgements(&self) -> bool {
        self.echoes()
    }

    async fn post(&mut self, mark: &Mark) -> anyhow::Result<()> {
        Self::post(self, mark).await
    }

    async fn acknowledged(&mut self) -> anyhow::Result<Mark> {
        self.next().await
    }
}

impl Listener for BareLine {
    async fn heard(&mut self) -> anyhow::Result<Mark> {
        self.next().await
    }
}
