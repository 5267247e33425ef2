//! Renewing, claiming and giving up: the one call of the directory that is in flight at a time, and what becomes of it.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use chinwag_schema::{
    ids::{NodeId, Shard},
    limits::shards::{CALL_DEADLINE_MAX, CALL_DEADLINE_MIN, INSTEAD_OF_MAX, LEASE, RENEW_EVERY, RETRY_AFTER},
};

use super::{
    Life, Offered, S, Shards, ShardsMessage,
    call::{Call, Called, Claim, Why},
};
use crate::{
    cluster::shards::{OFFERED, ShardEvent, plan, sight::Seen},
    ports::{
        StoreError,
        directory::{Owner, Renewed},
    },
};

impl Shards {
    /// Makes the call, if none is in flight; what waits for one goes with the next.
    pub(super) fn call(&mut self, cx: &mut S<'_>) {
        if self.calling || cx.keep.life == Life::Ended {
            return;
        }
        self.call_due = false;
        if !cx.keep.table.lease_runs() {
            self.lapse(cx);
        }
        let call = self.next_call(cx);
        let deadline = match cx.keep.table.lease_left() {
            // Early failures leave time for many tries, late ones for several.
            Some(left) if !left.is_zero() => (left / 4).clamp(CALL_DEADLINE_MIN, CALL_DEADLINE_MAX),
            _ => CALL_DEADLINE_MAX,
        };
        self.calling = true;
        cx.pipe(call.run(cx.keep.port.clone(), cx.keep.me, deadline), ShardsMessage::Called);
    }

    fn next_call(&mut self, cx: &S<'_>) -> Call {
        let sent = cx.keep.clock.now();
        // An older term may have been overtaken: who fetched a later one may have had the shard and lost it again.
        self.ready.retain(|_, fresh| sent < fresh.asked_at + LEASE);
        let renewed = cx.keep.table.held().map(|(shard, term)| (shard, cx.keep.mine(term), Why::Renew));
        let gained = self.ready.iter().map(|(&shard, fresh)| (shard, cx.keep.mine(fresh.term), Why::Gain));
        let offers = self.offers.iter().map(|(&shard, &node)| (shard, Owner { node, term: OFFERED }, Why::Offer));
        let claims =
            renewed.chain(gained).chain(offers).map(|(shard, owner, why)| Claim { shard, owner, why }).collect();

        let offer = cx.keep.mine(OFFERED);
        let taken = self.ready.keys().filter(|&&shard| cx.keep.sight.seen(shard, sent) == Seen::Owned(offer));
        let releases = self.releases.iter().map(|(&shard, &owner)| (shard, owner));
        Call { sent, releases: releases.chain(taken.map(|&shard| (shard, offer))).collect(), claims }
    }

    /// The lease ran out before it was renewed: others may have claimed and written since.
    fn lapse(&mut self, cx: &mut S<'_>) {
        let held = cx.keep.table.held().count();
        if held > 0 {
            cx.keep.table.counts.lapses.fetch_add(1, Relaxed);
            tracing::error!(
                shards = held,
                "this node's lease ran out before it could be renewed: its shards are given up"
            );
            self.lose_all(cx);
        }
    }

    pub(super) fn called(&mut self, called: Called, cx: &mut S<'_>) {
        self.calling = false;
        let Called { call, result } = called;
        if cx.keep.life == Life::Ended {
            return self.leave(cx);
        }
        match result {
            Ok((renewed, holders)) => {
                cx.keep.table.counts.renewals.fetch_add(1, Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the directory answers again");
                }
                if cx.keep.clock.now() < call.sent + LEASE {
                    self.apply(&call, renewed, &holders, cx);
                } else {
                    // This node was stopped: by now nothing of it holds.
                    self.lapse(cx);
                }
                self.wait_for_tick(RENEW_EVERY, cx);
                self.act(cx);
            }
            Err(StoreError::AlreadyExists) => {
                tracing::error!("another process took this node's name while its lease had run out: this one must end");
                self.end(cx);
                (cx.keep.tell)(ShardEvent::Displaced);
            }
            Err(error) => {
                cx.keep.table.counts.failures.fetch_add(1, Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    let left_ms = cx.keep.table.lease_left().map(|left| left.as_millis());
                    tracing::warn!(%error, left_ms, "the directory doesn't renew this node's lease");
                }
                self.wait_for_tick(RETRY_AFTER, cx);
            }
        }
    }

    /// Does what the answer says: first what is lost, then the lease, then what is gained, so that nobody takes the new lease for
    /// the proof of what is lost.
    fn apply(&mut self, call: &Call, renewed: Renewed, holders: &[Owner], cx: &mut S<'_>) {
        for (shard, owner) in &call.releases {
            if self.releases.get(shard) == Some(owner) {
                self.releases.remove(shard);
            }
            cx.keep.sight.forget(*shard);
        }
        let answers = || call.claims.iter().zip(holders.iter().copied());
        let refused = |why| answers().filter(move |(claim, holder)| claim.why == why && claim.owner != *holder);
        let granted = |why| answers().filter(move |(claim, holder)| claim.why == why && claim.owner == *holder);

        let mut lost = Vec::new();
        for (claim, _) in refused(Why::Renew) {
            // Unless it was given up while the call was under way.
            if Self::is_ours(cx, claim.shard, claim.owner.term) {
                cx.keep.leaving.remove(&claim.shard);
                cx.keep.table.lose(claim.shard);
                lost.push(claim.shard);
            }
        }
        cx.keep.table.renew_until(call.sent + LEASE);
        let mut gained = Vec::new();
        for (claim, _) in granted(Why::Gain) {
            self.ready.remove(&claim.shard);
            cx.keep.table.own(claim.shard, claim.owner.term);
            self.note_who_ranks_before(claim.shard, cx);
            gained.push((claim.shard, claim.owner.term));
        }
        for (claim, _) in refused(Why::Gain) {
            self.ready.remove(&claim.shard);
        }
        self.note_offers(granted(Why::Offer).map(|(claim, _)| (claim.shard, claim.owner.node)), cx);
        call.claims.iter().filter(|claim| claim.why == Why::Offer).for_each(|claim| {
            self.offers.remove(&claim.shard);
        });

        let mut owners = Vec::new();
        for (claim, holder) in answers() {
            cx.keep.sight.note(claim.shard, holder);
            if claim.why != Why::Offer && claim.owner != holder && holder.term != OFFERED {
                owners.extend(self.put_owner(claim.shard, holder, cx));
            }
        }
        let keep = &mut *cx.keep;
        keep.table.counts.lost.fetch_add(lost.len() as u64, Relaxed);
        keep.table.counts.gained.fetch_add(gained.len() as u64, Relaxed);
        if !lost.is_empty() {
            tracing::warn!(shards = lost.len(), "the directory names other owners for shards of this node");
            (keep.tell)(ShardEvent::Lost(lost));
        }
        if !gained.is_empty() {
            (keep.tell)(ShardEvent::Gained(gained));
        }
        if !owners.is_empty() {
            (keep.tell)(ShardEvent::OwnersChanged(owners));
        }
        if renewed.anew {
            tracing::warn!("the directory had forgotten this node: everything is registered again");
            (keep.tell)(ShardEvent::DirectoryAnew);
        }
    }

    fn note_who_ranks_before(&self, shard: Shard, cx: &mut S<'_>) {
        let keep = &mut *cx.keep;
        let now = keep.clock.now();
        let me = keep.me.node;
        let live = keep.sight.live(now).map(|live| live.lease);
        let before: Vec<_> = live.filter(|lease| plan::ranks_before(shard, lease.node, me)).collect();
        if before.is_empty() {
            keep.instead_of.remove(&shard);
        } else {
            keep.instead_of.insert(shard, (before, now + INSTEAD_OF_MAX));
        }
    }

    fn note_offers(&mut self, offers: impl Iterator<Item = (Shard, NodeId)>, cx: &S<'_>) {
        let since = cx.keep.clock.now();
        let mut by_heir = BTreeMap::<NodeId, Vec<Shard>>::new();
        for (shard, to) in offers {
            by_heir.entry(to).or_default().push(shard);
        }
        for (to, shards) in by_heir {
            self.hurry(cx);
            if to != cx.keep.me.node {
                self.offered.extend(shards.iter().map(|&shard| (shard, Offered { to, since })));
                (cx.keep.tell)(ShardEvent::Offered { to, shards });
            }
        }
    }

    /// Calls again after this time, or at once if something waits for it.
    fn wait_for_tick(&mut self, time: Duration, cx: &S<'_>) {
        self.ticks = self.ticks.wrapping_add(1);
        cx.after(time, ShardsMessage::Tick(self.ticks));
    }
}
