//! Presence: who is online, with a grace period, and who wants to know.

mod far;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chinwag_schema::{
    envelope::PresenceChange,
    event::Event,
    ids::{NodeId, Slot, UserId},
    limits::user::WATCHED_MAX,
    model::Name,
    wire::encoded_event::EncodedEvent,
};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    cluster::Cluster,
    message_kinds,
    ports::{StoreResult, directory::Directory},
    relay::RelayMessage,
    runtime::{Behaviour, Cx, Kind, Mailbox},
    storage::accounts::Accounts,
};

pub use far::Purpose;

/// Last-seen times are gathered for this long.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// Users watched by one socket: those it named and those it shares a chat with.
const WATCHED_PER_SLOT_MAX: usize = WATCHED_MAX + chinwag_schema::limits::user::CONVERSATIONS_MAX;

/// Whether a user is online, and since when not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub online: bool,
    /// Last seen on this node, Unix ms; the account's row knows earlier times.
    pub last_seen_ms: Option<i64>,
}

/// What presence is told.
pub enum PresenceMessage {
    /// A user's socket opened.
    Opened {
        user: UserId,
        name: Name,
    },
    /// A user's socket closed.
    Closed {
        user: UserId,
    },
    /// The socket wants to hear of these users from now on.
    Watch {
        slot: Slot,
        users: Vec<UserId>,
    },
    Unwatch {
        slot: Slot,
        users: Vec<UserId>,
    },
    /// The socket is gone.
    Forget {
        slot: Slot,
    },
    /// Says how these users stand, in their order. Sessions ask by way of the directory ([`Node::ask_presence`]).
    ///
    /// [`Node::ask_presence`]: crate::engine::Node::ask_presence
    Ask {
        users: Vec<UserId>,
        reply: oneshot::Sender<Vec<Status>>,
    },
    /// Another node says so.
    FarChanged {
        users: Vec<PresenceChange>,
    },
    /// Another node is gone, and whoever was on it.
    NodesLost,
    // ---- own
    GraceOver {
        user: UserId,
        round: u32,
    },
    Flush,
    Flushed(Vec<(UserId, i64)>, StoreResult<()>),
    /// The directory said on which nodes these users are.
    Located {
        users: Vec<UserId>,
        nodes: StoreResult<Vec<Vec<NodeId>>>,
        purpose: Purpose,
    },
    Broadcast,
    Sent(StoreResult<()>),
}

message_kinds!(PresenceMessage {
    Opened,
    Closed,
    Watch,
    Unwatch,
    Forget,
    Ask,
    FarChanged,
    NodesLost,
    GraceOver,
    Flush,
    Flushed,
    Located,
    Broadcast,
    Sent,
});

/// What presence works with, and what outlives a panic.
pub struct PresenceKeep {
    pub accounts: Accounts,
    pub cluster: Arc<Cluster>,
    pub port: Arc<dyn Directory>,
    pub relays: Arc<[Mailbox<RelayMessage>]>,
    pub grace: Duration,
    pub known: Known,
}

/// Who is online and who wants to know.
#[derive(Default)]
pub struct Known {
    users: FxHashMap<UserId, Online>,
    watchers: FxHashMap<UserId, Watched>,
    watched: FxHashMap<Slot, FxHashSet<UserId>>,
    seen: BTreeMap<UserId, i64>,
    flushing: bool,
    /// What the other nodes are to hear with the next envelope.
    changes: Vec<PresenceChange>,
    broadcasting: bool,
}

/// A user whom sockets of this node watch.
#[derive(Default)]
struct Watched {
    slots: FxHashSet<Slot>,
    /// Another node said so.
    far_online: bool,
    name: Option<Name>,
}

struct Online {
    name: Name,
    sockets: usize,
    /// When the last socket closed, Unix ms.
    closed_at_ms: Option<i64>,
    /// Counts grace periods, so that an old timer doesn't end a new one.
    round: u32,
}

/// The presence actor. Mailbox bound 65,536; when full, watching is refused silently (presence is shed under load), opening and closing
/// never are. A panic keeps who is online.
pub struct Presence;

impl Behaviour for Presence {
    type Message = PresenceMessage;
    type Keep = PresenceKeep;
    const KIND: Kind = "presence";
    const MAILBOX: usize = 65_536;
    const ESSENTIAL: bool = true;

    fn new(cx: &mut Cx<'_, Self>) -> Self {
        // After a panic the timers are void: grace periods begin anew, and what waits to be stored is.
        cx.keep.known.flushing = false;
        cx.keep.known.broadcasting = false;
        let leaving = cx.keep.known.users.iter().filter(|(_, online)| online.sockets == 0);
        let leaving: Vec<_> = leaving.map(|(&user, online)| (user, online.round)).collect();
        for (user, round) in leaving {
            cx.after(cx.keep.grace, PresenceMessage::GraceOver { user, round });
        }
        let presence = Self;
        if !cx.keep.known.seen.is_empty() {
            presence.flush_soon(cx);
        }
        presence
    }

    fn handle(&mut self, message: PresenceMessage, cx: &mut Cx<'_, Self>) {
        match message {
            PresenceMessage::Opened { user, name } => {
                let online = cx.keep.known.users.entry(user);
                let new = matches!(online, std::collections::hash_map::Entry::Vacant(_));
                let online =
                    online.or_insert_with(|| Online { name: name.clone(), sockets: 0, closed_at_ms: None, round: 0 });
                let back = !new && online.sockets == 0;
                online.sockets += 1;
                online.round = online.round.wrapping_add(1);
                if back {
                    // Another node may have called the user offline meanwhile.
                    far::tell(PresenceChange { user, name, online: true, last_seen_ms: None }, cx);
                } else if new {
                    changed(PresenceChange { user, name, online: true, last_seen_ms: None }, cx);
                }
            }
            PresenceMessage::Closed { user } => {
                let (now_ms, grace) = (cx.unix_ms(), cx.keep.grace);
                let Some(online) = cx.keep.known.users.get_mut(&user) else { return };
                online.sockets = online.sockets.saturating_sub(1);
                if online.sockets == 0 {
                    online.round = online.round.wrapping_add(1);
                    online.closed_at_ms = Some(now_ms);
                    let round = online.round;
                    cx.keep.known.seen.insert(user, now_ms);
                    cx.after(grace, PresenceMessage::GraceOver { user, round });
                    self.flush_soon(cx);
                }
            }
            PresenceMessage::GraceOver { user, round } => {
                let over = |online: &mut Online| online.sockets == 0 && online.round == round;
                if cx.keep.known.users.get_mut(&user).is_some_and(over) {
                    let Online { name, closed_at_ms, .. } =
                        cx.keep.known.users.remove(&user).expect("was there a line ago");
                    far::left(PresenceChange { user, name, online: false, last_seen_ms: closed_at_ms }, cx);
                }
            }
            PresenceMessage::Watch { slot, users } => {
                let known = &mut cx.keep.known;
                let watched = known.watched.entry(slot).or_default();
                for user in users {
                    if watched.len() < WATCHED_PER_SLOT_MAX && watched.insert(user) {
                        known.watchers.entry(user).or_default().slots.insert(slot);
                    }
                }
            }
            PresenceMessage::Unwatch { slot, users } => {
                let known = &mut cx.keep.known;
                for user in users {
                    if known.watched.get_mut(&slot).is_some_and(|watched| watched.remove(&user)) {
                        unwatch(&mut known.watchers, user, slot);
                    }
                }
            }
            PresenceMessage::Forget { slot } => {
                let known = &mut cx.keep.known;
                for user in known.watched.remove(&slot).into_iter().flatten() {
                    unwatch(&mut known.watchers, user, slot);
                }
            }
            PresenceMessage::Ask { users, reply } => far::ask(users, reply, cx),
            PresenceMessage::FarChanged { users } => far::changed(users, cx),
            PresenceMessage::NodesLost => far::nodes_lost(cx),
            PresenceMessage::Located { users, nodes, purpose } => far::located(users, nodes, purpose, cx),
            PresenceMessage::Broadcast => far::broadcast(cx),
            PresenceMessage::Sent(sent) => far::sent(sent),
            PresenceMessage::Flush => {
                let seen: Vec<_> = cx.keep.known.seen.iter().map(|(&user, &at)| (user, at)).collect();
                let accounts = cx.keep.accounts.clone();
                let store = seen.clone();
                cx.pipe(
                    async move {
                        accounts.call("set_last_seen", move |s| async move { s.set_last_seen(&store).await }).await
                    },
                    move |result| PresenceMessage::Flushed(seen, result),
                );
            }
            PresenceMessage::Flushed(seen, result) => {
                cx.keep.known.flushing = false;
                match result {
                    Ok(()) => {
                        for (user, at) in seen {
                            if cx.keep.known.seen.get(&user) == Some(&at) {
                                cx.keep.known.seen.remove(&user);
                            }
                        }
                    }
                    Err(error) => tracing::warn!(%error, users = seen.len(), "last-seen times not stored yet"),
                }
                if !cx.keep.known.seen.is_empty() {
                    self.flush_soon(cx);
                }
            }
        }
    }

    fn observe(&self, keep: &PresenceKeep) -> Value {
        json!({
            "online": keep.known.users.len(),
            "watching_sockets": keep.known.watched.len(),
            "watched_users": keep.known.watchers.len(),
            "last_seen_waiting": keep.known.seen.len(),
        })
    }
}

impl Presence {
    fn flush_soon(&self, cx: &mut Cx<'_, Self>) {
        if !std::mem::replace(&mut cx.keep.known.flushing, true) {
            cx.after(FLUSH_EVERY, PresenceMessage::Flush);
        }
    }
}

fn unwatch(watchers: &mut FxHashMap<UserId, Watched>, user: UserId, slot: Slot) {
    if let Some(watched) = watchers.get_mut(&user) {
        watched.slots.remove(&slot);
        if watched.slots.is_empty() {
            watchers.remove(&user);
        }
    }
}

/// Tells who watches here, and the other nodes.
fn changed(change: PresenceChange, cx: &mut Cx<'_, Presence>) {
    tell_watchers(cx.keep, change.clone(), cx.unix_ms());
    far::tell(change, cx);
}

fn tell_watchers(keep: &PresenceKeep, change: PresenceChange, now_ms: i64) {
    let PresenceChange { user, name, online, last_seen_ms } = change;
    let Some(Watched { slots, .. }) = keep.known.watchers.get(&user) else { return };
    let event = Arc::new(EncodedEvent::new(Event::Presence { user, name, online, last_seen_ms }, now_ms));
    for (worker, relay) in keep.relays.iter().enumerate() {
        let slots: Vec<_> = slots.iter().copied().filter(|slot| usize::from(slot.worker) == worker).collect();
        if !slots.is_empty() {
            // Full: presence is shed before messages.
            let _ = relay.tell(RelayMessage::Send { slots, event: event.clone() });
        }
    }
}
