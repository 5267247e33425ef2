//! What follows from a look: who is known to own what, and what the plan says.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use chinwag_schema::{
    ids::{NodeId, Shard, Term},
    limits::shards::{HANDING_OVER_AT_ONCE, HURRIED_LOOK_EVERY, LOOK_EVERY, SHUNNED_FOR, TERMS_DEADLINE},
};
use tokio::time::timeout;

use super::{Leaving, Life, Looked, S, Shards, ShardsMessage, Termed};
use crate::{
    cluster::shards::{
        OFFERED, ShardEvent, all,
        lease::{ShardState, TERM_MAX},
        plan::{self, Hand, Known, View},
        sight::{Changed, Seen},
    },
    ports::{StoreError, StoreResult, directory::Owner},
};

impl Shards {
    pub(super) fn looked(&mut self, looked: Looked, cx: &mut S<'_>) {
        self.looking = false;
        if cx.keep.life == Life::Ended {
            return;
        }
        match looked.result {
            Ok((nodes, owners)) => {
                if std::mem::take(&mut self.blind) {
                    tracing::info!("the directory shows nodes and owners again");
                }
                let now = cx.keep.clock.now();
                let changed = cx.keep.sight.look(now, &nodes, &owners);
                self.look_after_offers(looked.sent, now, cx);
                self.tell_what_changed(changed, now, cx);
                self.act(cx);
            }
            Err(error) => {
                cx.keep.sight.missed();
                if !std::mem::replace(&mut self.blind, true) {
                    tracing::warn!(%error, "the directory doesn't show nodes and owners");
                }
                self.wait_for_look(HURRIED_LOOK_EVERY, cx);
            }
        }
        if std::mem::take(&mut self.look_again) {
            self.wait_for_look(Duration::ZERO, cx);
        }
    }

    fn tell_what_changed(&mut self, changed: Changed, now: Duration, cx: &mut S<'_>) {
        let mut owners = Vec::new();
        for shard in all() {
            let is_ours = matches!(cx.keep.table.noted(shard), ShardState::Ours(_) | ShardState::HandingOver(_));
            if is_ours {
                // The answers to renewals say more.
                continue;
            }
            match cx.keep.sight.seen(shard, now) {
                Seen::Owned(owner) if owner.node != cx.keep.me.node && owner.term != OFFERED => {
                    owners.extend(self.put_owner(shard, owner, cx));
                }
                _ => cx.keep.table.lose(shard),
            }
        }
        if changed != Changed::default() {
            self.hurry(cx);
            let Changed { joined, lost } = changed;
            tracing::info!(?joined, ?lost, "nodes came or went");
            (cx.keep.tell)(ShardEvent::NodesChanged { joined, lost });
        }
        if !owners.is_empty() {
            (cx.keep.tell)(ShardEvent::OwnersChanged(owners));
        }
    }

    /// Notes another owner; returns the shard if it had a different one.
    pub(super) fn put_owner(&self, shard: Shard, owner: Owner, cx: &S<'_>) -> Option<Shard> {
        let changes = cx.keep.table.noted(shard) != ShardState::Anothers(owner.node);
        if changes {
            cx.keep.table.put_owner(shard, owner.node);
        }
        changes.then_some(shard)
    }

    /// Notes which offers were taken, and who let one pass, or passed it on because it drains too.
    fn look_after_offers(&mut self, sent: Duration, now: Duration, cx: &S<'_>) {
        let shunned = &mut self.shunned;
        self.offered.retain(|&shard, offer| {
            let seen = cx.keep.sight.seen(shard, now);
            let waits = seen == Seen::Owned(Owner { node: offer.to, term: OFFERED });
            if waits || sent < offer.since {
                return true;
            }
            let passed_on = matches!(seen, Seen::Owned(Owner { term: OFFERED, .. }));
            if passed_on || matches!(seen, Seen::Absent { .. }) {
                tracing::warn!(
                    shard = shard.0,
                    node = offer.to.0,
                    passed_on,
                    "a node didn't keep the shard that it was offered"
                );
                shunned.insert(offer.to, now + SHUNNED_FOR);
            }
            false
        });
        shunned.retain(|_, until| now < *until);
    }

    /// Decides by what was seen last, and does it.
    pub(super) fn act(&mut self, cx: &mut S<'_>) {
        if cx.keep.life == Life::Ended {
            return;
        }
        let now = cx.keep.clock.now();
        cx.keep.instead_of.retain(|_, (_, until)| now < *until);
        let live: Vec<_> = cx.keep.sight.live(now).collect();
        let shunned: Vec<_> = self.shunned.keys().copied().collect();
        let shards = std::array::from_fn(|index| {
            let shard = Shard(u8::try_from(index).expect("256 shards"));
            Known { seen: cx.keep.sight.seen(shard, now), hand: self.hand(shard, cx) }
        });
        let offer = Seen::Owned(cx.keep.mine(OFFERED));
        let is_offered = shards.iter().any(|known| known.seen == offer);
        let under_way = cx.keep.leaving.len() + self.offers.len() + self.offered.len();
        let plan = plan::decide(&View {
            me: cx.keep.me.node,
            draining: cx.keep.life == Life::Draining,
            now,
            live: &live,
            shunned: &shunned,
            room: HANDING_OVER_AT_ONCE.saturating_sub(under_way),
            shards: &shards,
        });

        for (shard, to) in plan.hand_over {
            let Some(term) = cx.keep.table.term(shard) else { continue };
            cx.keep.leaving.insert(shard, Leaving { term, to });
            self.ask_to_hand_over(shard, term, to, cx);
        }
        for (shard, to) in plan.pass_on {
            self.give_up(shard, OFFERED, to, cx);
        }
        if !plan.claim.is_empty() && self.fetching.is_empty() {
            self.fetch_terms(plan.claim, cx);
        }
        if !self.offered.is_empty() || cx.keep.life == Life::Draining || is_offered {
            self.hurry(cx);
        }
        let every = if now < self.hurry_until { HURRIED_LOOK_EVERY } else { LOOK_EVERY };
        self.wait_for_look(plan.due.map_or(every, |due| every.min(due - now)), cx);
    }

    fn hand<'a>(&self, shard: Shard, cx: &'a S<'_>) -> Hand<'a> {
        let busy = self.fetching.contains(&shard)
            || self.ready.contains_key(&shard)
            || self.raising.contains(&shard)
            || self.releases.contains_key(&shard)
            || self.offers.contains_key(&shard);
        match cx.keep.table.noted(shard) {
            _ if busy => Hand::Busy,
            ShardState::HandingOver(_) => Hand::Busy,
            ShardState::Ours(_) => {
                Hand::Held { instead_of: cx.keep.instead_of.get(&shard).map_or(&[], |(first, _)| first) }
            }
            ShardState::Anothers(_) | ShardState::Nobodys => Hand::Empty,
        }
    }

    fn fetch_terms(&mut self, shards: Vec<Shard>, cx: &S<'_>) {
        self.fetching.extend(&shards);
        let (terms, asked_at) = (cx.keep.terms.next_terms(shards.clone()), cx.keep.clock.now());
        let fetch = async move {
            let result = within(TERMS_DEADLINE, terms).await;
            Termed { asked_at, shards, result }
        };
        cx.pipe(fetch, ShardsMessage::Termed);
    }

    pub(super) fn termed(&mut self, termed: Termed, cx: &mut S<'_>) {
        let Termed { asked_at, shards, result } = termed;
        self.fetching.clear();
        let error = match result {
            Ok(terms) if terms.len() == shards.len() => {
                for (shard, term) in shards.into_iter().zip(terms) {
                    if term <= OFFERED || term > TERM_MAX {
                        tracing::error!(shard = shard.0, term = term.0, "the account store gave an impossible term");
                    } else if cx.keep.life == Life::Serving && self.hand(shard, cx) == Hand::Empty {
                        self.ready.insert(shard, super::Fresh { term, asked_at });
                        self.call_due = true;
                    }
                }
                return;
            }
            Ok(terms) => StoreError::Corrupt(format!("{} terms of {} shards", terms.len(), shards.len())),
            Err(error) => error,
        };
        tracing::warn!(%error, shards = shards.len(), "shards can't be claimed: the account store gives no terms");
    }

    /// The conversations of a shard have stopped, or their time is over: gives it to its heir.
    pub(super) fn handed_over(&mut self, shard: Shard, term: Term, cx: &mut S<'_>) {
        if cx.keep.leaving.get(&shard).is_none_or(|leaving| leaving.term != term) {
            return;
        }
        let Some(Leaving { term, to }) = cx.keep.leaving.remove(&shard) else { return };
        cx.keep.table.lose(shard);
        cx.keep.table.counts.handed_over.fetch_add(1, Relaxed);
        self.give_up(shard, term, to, cx);
    }

    fn give_up(&mut self, shard: Shard, term: Term, to: Option<NodeId>, cx: &S<'_>) {
        self.releases.insert(shard, cx.keep.mine(term));
        if let Some(to) = to {
            self.offers.insert(shard, to);
        }
        self.call_due = true;
    }

    /// Our term is too small for the store. The shard is offered to ourselves, so that nobody else claims it meanwhile.
    pub(super) fn fenced(&mut self, shard: Shard, term: Term, found: Option<Term>, cx: &mut S<'_>) {
        if !Self::is_ours(cx, shard, term) {
            return;
        }
        tracing::warn!(
            shard = shard.0,
            term = term.0,
            ?found,
            "the store knows a later owner: the shard is claimed anew"
        );
        cx.keep.leaving.remove(&shard);
        cx.keep.table.lose(shard);
        cx.keep.table.counts.lost.fetch_add(1, Relaxed);
        (cx.keep.tell)(ShardEvent::Lost(vec![shard]));
        let Some(found) = found else {
            return self.give_up(shard, term, Some(cx.keep.me.node), cx);
        };
        self.raising.insert(shard);
        let raise = cx.keep.terms.raise_terms(vec![(shard, found)]);
        cx.pipe(within(TERMS_DEADLINE, raise), move |result| ShardsMessage::Raised { shard, term, result });
    }

    pub(super) fn raised(&mut self, shard: Shard, term: Term, result: StoreResult<()>, cx: &S<'_>) {
        self.raising.remove(&shard);
        if let Err(error) = result {
            tracing::warn!(shard = shard.0, %error, "later terms couldn't be raised above the one in the log");
        }
        if cx.keep.life != Life::Ended {
            self.give_up(shard, term, Some(cx.keep.me.node), cx);
        }
    }

    /// Looks again after this time, unless an earlier look is due.
    fn wait_for_look(&mut self, time: Duration, cx: &S<'_>) {
        let at = cx.keep.clock.now() + time;
        if self.look_at.is_some_and(|due| due <= at) {
            return;
        }
        self.look_at = Some(at);
        self.looks = self.looks.wrapping_add(1);
        cx.after(time, ShardsMessage::LookDue(self.looks));
    }
}

async fn within<T>(deadline: Duration, future: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    let late = || Err(StoreError::Unavailable(format!("the account store did not answer within {deadline:?}")));
    timeout(deadline, future).await.unwrap_or_else(|_| late())
}
