//! Giving everything up: because the lease ran out, because the node drains and leaves, or because its name was taken.

use std::sync::atomic::Ordering::Relaxed;

use chinwag_schema::limits::shards::LEAVE_MAX;
use tokio::{sync::oneshot, time::timeout};

use super::{Life, S, Shards, ShardsMessage};
use crate::{
    cluster::shards::ShardEvent,
    ports::{StoreError, StoreResult},
};

impl Shards {
    pub(super) fn drain(&mut self, done: oneshot::Sender<()>, cx: &mut S<'_>) {
        cx.keep.drained.push(done);
        if cx.keep.life == Life::Serving {
            cx.keep.life = Life::Draining;
            tracing::info!("hands its shards over");
        }
        self.hurry(cx);
        self.act(cx);
        self.look(cx);
    }

    /// Gives up what is ours and was proven to be, with a word to its conversations.
    pub(super) fn lose_all(&mut self, cx: &mut S<'_>) {
        let keep = &mut *cx.keep;
        keep.leaving.clear();
        let held: Vec<_> = keep.table.held().map(|(shard, _)| shard).collect();
        held.iter().for_each(|&shard| keep.table.lose(shard));
        if !held.is_empty() {
            keep.table.counts.lost.fetch_add(held.len() as u64, Relaxed);
            (keep.tell)(ShardEvent::Lost(held));
        }
    }

    /// Claims nothing and renews nothing any more.
    pub(super) fn end(&mut self, cx: &mut S<'_>) {
        cx.keep.life = Life::Ended;
        self.lose_all(cx);
        self.ready.clear();
        self.releases.clear();
        self.offers.clear();
        self.offered.clear();
        self.call_due = false;
    }

    /// Tells the directory that this node leaves, if somebody waits for it.
    pub(super) fn leave(&mut self, cx: &S<'_>) {
        if cx.keep.left.is_empty() {
            return;
        }
        let (port, me) = (cx.keep.port.clone(), cx.keep.me);
        let leave = async move {
            match timeout(LEAVE_MAX, port.leave(me)).await {
                Ok(result) => result,
                Err(_) => Err(StoreError::Unavailable(format!("the directory did not answer within {LEAVE_MAX:?}"))),
            }
        };
        cx.pipe(leave, ShardsMessage::Left);
    }

    /// Answers who waits for the drain, once nothing is left to hand over.
    pub(super) fn answer_drain(&mut self, cx: &mut S<'_>) {
        if cx.keep.drained.is_empty() {
            return;
        }
        let busy = self.calling && cx.keep.life != Life::Ended;
        let nothing = self.ready.is_empty() && self.fetching.is_empty() && self.raising.is_empty();
        let given = self.releases.is_empty() && self.offers.is_empty() && self.offered.is_empty();
        if !busy && nothing && given && cx.keep.table.held().next().is_none() {
            cx.keep.drained.drain(..).for_each(|done| {
                // Whoever asked may have gone.
                let _ = done.send(());
            });
        }
    }

    pub(super) fn leave_when_done(&mut self, done: oneshot::Sender<()>, cx: &mut S<'_>) {
        cx.keep.left.push(done);
        self.end(cx);
        // After the call in flight, which would register this node again.
        if !self.calling {
            self.leave(cx);
        }
    }

    pub(super) fn left(result: StoreResult<()>, cx: &mut S<'_>) {
        if let Err(error) = result {
            tracing::warn!(%error, "the directory wasn't told that this node leaves: its lease runs out by itself");
        }
        cx.keep.left.drain(..).for_each(|done| {
            // Whoever asked may have gone.
            let _ = done.send(());
        });
    }
}
