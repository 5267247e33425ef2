//! The bus and the directory as the nodes of a simulation see them: on a fake clock, with the faults of [`SimBus`], and cut off at will.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use chinwag_actors::{
    backends::embedded::EmbeddedDirectory,
    ports::{
        StoreError, StoreResult,
        bus::{Bus, Payload},
        directory::{Directory, NodeLease, Owner, Renewed},
    },
};
use chinwag_schema::{
    ids::{NodeId, Shard, UserId},
    model::Name,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::bus::SimBus;

/// One life of a node can reach neither bus nor directory while this is set.
pub type Cut = Arc<AtomicBool>;

/// What all nodes' buses share.
pub struct Net {
    begun: Instant,
    state: Mutex<State>,
    sent: Notify,
}

struct State {
    bus: SimBus<Payload>,
    mailboxes: BTreeMap<NodeId, (mpsc::Sender<Payload>, Cut)>,
}

impl Net {
    /// Makes a net and starts what moves envelopes in it.
    pub fn start(seed: u64) -> Arc<Self> {
        let state = State { bus: SimBus::new(seed), mailboxes: BTreeMap::new() };
        let net = Arc::new(Self { begun: Instant::now(), state: Mutex::new(state), sent: Notify::new() });
        let moving = Arc::downgrade(&net);
        actix_rt::spawn(async move {
            while let Some(net) = moving.upgrade() {
                let next = net.move_on();
                match next {
                    Some(at) => tokio::select! {
                        () = sleep_until(net.begun + at) => {}
                        () = net.sent.notified() => {}
                    },
                    None => net.sent.notified().await,
                }
            }
        });
        net
    }

    /// Changes the faults, or asks for the counts.
    pub fn with<R>(&self, change: impl FnOnce(&mut SimBus<Payload>) -> R) -> R {
        change(&mut self.state().bus)
    }

    /// Returns how long the simulation has been going on.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Delivers what has arrived by now; returns when the next envelope does.
    fn move_on(&self) -> Option<Duration> {
        let mut state = self.state();
        let State { bus, mailboxes } = &mut *state;
        bus.advance(self.begun.elapsed());
        for (&node, (mailbox, cut)) in mailboxes {
            for payload in bus.take(node) {
                if !cut.load(Relaxed) {
                    // A full mailbox loses, as a real one does.
                    let _ = mailbox.try_send(payload);
                }
            }
        }
        bus.next_arrival()
    }
}

/// The bus of one life of a node.
pub struct NodeBus {
    pub me: NodeId,
    pub net: Arc<Net>,
    pub cut: Cut,
}

impl NodeBus {
    fn send_now(&self, to: NodeLease, payload: Payload) -> StoreResult<()> {
        reachable(&self.cut)?;
        let now = self.net.begun.elapsed();
        let sent = self.net.state().bus.send(self.me, to, payload, now);
        self.net.sent.notify_one();
        sent
    }
}

#[async_trait]
impl Bus for NodeBus {
    async fn send(&self, to: NodeLease, payload: Payload) -> StoreResult<()> {
        self.send_now(to, payload)
    }

    async fn send_many(&self, envelopes: Vec<(NodeLease, Payload)>) -> Vec<StoreResult<()>> {
        envelopes.into_iter().map(|(to, payload)| self.send_now(to, payload)).collect()
    }

    async fn broadcast(&self, payload: Payload) -> StoreResult<()> {
        reachable(&self.cut)?;
        let everyone = self.net.with(|bus| bus.leases());
        for to in everyone {
            let _ = self.send_now(to, payload.clone());
        }
        Ok(())
    }

    async fn subscribe(&self, node: NodeLease, bound: usize) -> StoreResult<mpsc::Receiver<Payload>> {
        reachable(&self.cut)?;
        let (mailbox, receiver) = mpsc::channel(bound.max(1));
        let mut state = self.net.state();
        state.bus.subscribe(node, bound);
        state.mailboxes.insert(node.node, (mailbox, self.cut.clone()));
        Ok(receiver)
    }

    async fn unsubscribe(&self, node: NodeLease) -> StoreResult<()> {
        reachable(&self.cut)?;
        self.net.state().mailboxes.remove(&node.node);
        Ok(())
    }

    async fn ping(&self) -> StoreResult<()> {
        reachable(&self.cut)
    }
}

fn reachable(cut: &Cut) -> StoreResult<()> {
    if cut.load(Relaxed) { Err(StoreError::Unavailable("cut off".to_owned())) } else { Ok(()) }
}

/// The directory as one life of a node sees it; `down` cuts all of them off.
pub struct NodeDirectory {
    pub inner: Arc<EmbeddedDirectory>,
    pub cut: Cut,
    pub down: Cut,
}

impl NodeDirectory {
    fn reach(&self) -> StoreResult<&EmbeddedDirectory> {
        reachable(&self.cut)?;
        reachable(&self.down)?;
        Ok(&self.inner)
    }
}

#[async_trait]
impl Directory for NodeDirectory {
    async fn renew_node(&self, node: NodeLease, lease: Duration) -> StoreResult<Renewed> {
        self.reach()?.renew_node(node, lease).await
    }

    async fn leave(&self, node: NodeLease) -> StoreResult<()> {
        self.reach()?.leave(node).await
    }

    async fn nodes(&self) -> StoreResult<Vec<NodeLease>> {
        self.reach()?.nodes().await
    }

    async fn claim_shards(&self, claims: &[(Shard, Owner)], lease: Duration) -> StoreResult<Vec<Owner>> {
        self.reach()?.claim_shards(claims, lease).await
    }

    async fn release_shards(&self, shards: &[(Shard, Owner)]) -> StoreResult<()> {
        self.reach()?.release_shards(shards).await
    }

    async fn owners(&self) -> StoreResult<Vec<(Shard, Owner)>> {
        self.reach()?.owners().await
    }

    async fn put_users(&self, node: NodeLease, users: &[(UserId, bool)]) -> StoreResult<()> {
        self.reach()?.put_users(node, users).await
    }

    async fn locate_users(&self, users: &[UserId]) -> StoreResult<Vec<Vec<NodeId>>> {
        self.reach()?.locate_users(users).await
    }

    async fn hold_guest_names(&self, names: &[(Name, UserId)], hold: Duration) -> StoreResult<Vec<UserId>> {
        self.reach()?.hold_guest_names(names, hold).await
    }

    async fn guest_name_holder(&self, name: &str) -> StoreResult<Option<UserId>> {
        self.reach()?.guest_name_holder(name).await
    }

    async fn release_guest_name(&self, name: &str, user: UserId) -> StoreResult<()> {
        self.reach()?.release_guest_name(name, user).await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.reach()?.ping().await
    }
}
