//! Presence across nodes: changes go to the others in batches, and who is on none of them is asked of the directory.

use std::time::Duration;

use chinwag_schema::{
    envelope::{Body, PresenceChange},
    ids::{NodeId, UserId},
};
use tokio::sync::oneshot;

use super::{Presence, PresenceMessage, Status, tell_watchers};
use crate::{
    ports::{StoreError, StoreResult},
    runtime::Cx,
};

/// Changes gather for this long before the other nodes hear of them.
const BROADCAST_EVERY: Duration = Duration::from_millis(200);
/// Changes in one envelope; more go into the next, and beyond ten such they are shed: whoever asks is answered rightly all the same.
const CHANGES_MAX: usize = 2000;
const WAITING_MAX: usize = 10 * CHANGES_MAX;

/// When to ask again for what the directory couldn't tell.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

type P<'a> = Cx<'a, Presence>;

/// Why users were looked for on other nodes.
pub enum Purpose {
    /// Their last socket here closed; on none: they are offline.
    Left(Vec<PresenceChange>),
    /// Somebody asked; those that are here are known.
    Ask(Vec<UserId>, oneshot::Sender<Vec<Status>>),
    /// A node was lost: who of the watched is still there?
    NodesLost,
}

fn locate(users: Vec<UserId>, purpose: Purpose, cx: &mut P<'_>) {
    let port = cx.keep.port.clone();
    let asked = users.clone();
    cx.pipe(async move { port.locate_users(&asked).await }, move |nodes| PresenceMessage::Located {
        users,
        nodes,
        purpose,
    });
}

pub(super) fn located(users: Vec<UserId>, nodes: StoreResult<Vec<Vec<NodeId>>>, purpose: Purpose, cx: &mut P<'_>) {
    let me = cx.keep.cluster.me.node;
    let there: StoreResult<Vec<bool>> =
        nodes.map(|nodes| nodes.iter().map(|nodes| nodes.iter().any(|node| *node != me)).collect());
    match purpose {
        Purpose::Left(changes) => {
            // The directory doesn't answer: better a moment too early than online for ever.
            let there = there.unwrap_or_else(|_| vec![false; changes.len()]);
            for (change, there) in changes.into_iter().zip(there) {
                let back = cx.keep.known.users.contains_key(&change.user);
                if there {
                    far_online(change.user, true, cx);
                } else if !back {
                    super::changed(change, cx);
                }
            }
        }
        Purpose::Ask(asked, reply) => {
            let there = there.unwrap_or_default();
            let mut far: Vec<UserId> =
                users.into_iter().zip(there).filter(|(_, there)| *there).map(|(user, _)| user).collect();
            far.sort_unstable();
            answer(&asked, &far, reply, cx);
        }
        Purpose::NodesLost => {
            let there = match there {
                Ok(there) => there,
                Err(error) => {
                    tracing::warn!(%error, "who was on a lost node isn't known yet");
                    return cx.after(AGAIN_AFTER, PresenceMessage::NodesLost);
                }
            };
            let gone = users.into_iter().zip(there).filter(|(_, there)| !*there).map(|(user, _)| user);
            for user in gone.collect::<Vec<_>>() {
                let online = cx.keep.known.watchers.get(&user).is_some_and(|watched| watched.far_online);
                if online && !cx.keep.known.users.contains_key(&user) {
                    far_online(user, false, cx);
                    let change = PresenceChange { user, name: name_of(user, cx), online: false, last_seen_ms: None };
                    tell_watchers(cx.keep, change, cx.unix_ms());
                }
            }
        }
    }
}

/// The last socket of a user closed, and nobody came back in time.
pub(super) fn left(change: PresenceChange, cx: &mut P<'_>) {
    if cx.keep.cluster.has_peers() {
        locate(vec![change.user], Purpose::Left(vec![change]), cx);
    } else {
        super::changed(change, cx);
    }
}

pub(super) fn ask(users: Vec<UserId>, reply: oneshot::Sender<Vec<Status>>, cx: &mut P<'_>) {
    let elsewhere: Vec<UserId> = match cx.keep.cluster.has_peers() {
        true => users.iter().copied().filter(|user| !cx.keep.known.users.contains_key(user)).collect(),
        false => Vec::new(),
    };
    if elsewhere.is_empty() {
        answer(&users, &[], reply, cx);
    } else {
        locate(elsewhere, Purpose::Ask(users, reply), cx);
    }
}

/// Answers; `far` are those on other nodes, sorted.
fn answer(users: &[UserId], far: &[UserId], reply: oneshot::Sender<Vec<Status>>, cx: &mut P<'_>) {
    for &user in far {
        far_online(user, true, cx);
    }
    let known = &cx.keep.known;
    let status = |user: &UserId| Status {
        online: known.users.contains_key(user) || far.binary_search(user).is_ok(),
        last_seen_ms: known.seen.get(user).copied(),
    };
    // Nobody waits any more: the socket has gone.
    let _ = reply.send(users.iter().map(status).collect());
}

/// Another node says who came and went there.
pub(super) fn changed(users: Vec<PresenceChange>, cx: &mut P<'_>) {
    for change in users {
        let here = cx.keep.known.users.contains_key(&change.user);
        let Some(watched) = cx.keep.known.watchers.get_mut(&change.user) else { continue };
        let news = watched.far_online != change.online;
        watched.far_online = change.online;
        watched.name = Some(change.name.clone());
        if !here && news {
            tell_watchers(cx.keep, change, cx.unix_ms());
        }
    }
}

/// Other nodes were lost: who is on none any more is offline.
pub(super) fn nodes_lost(cx: &mut P<'_>) {
    let known = &cx.keep.known;
    let doubtful =
        known.watchers.iter().filter(|(user, watched)| watched.far_online && !known.users.contains_key(user));
    let users: Vec<UserId> = doubtful.map(|(&user, _)| user).collect();
    if !users.is_empty() {
        locate(users, Purpose::NodesLost, cx);
    }
}

fn far_online(user: UserId, online: bool, cx: &mut P<'_>) {
    if let Some(watched) = cx.keep.known.watchers.get_mut(&user) {
        watched.far_online = online;
    }
}

fn name_of(user: UserId, cx: &P<'_>) -> chinwag_schema::model::Name {
    let watched = cx.keep.known.watchers.get(&user);
    watched.and_then(|watched| watched.name.clone()).unwrap_or_else(|| "".into())
}

/// Tells the other nodes, with what else happens in the next moment.
pub(super) fn tell(change: PresenceChange, cx: &mut P<'_>) {
    if !cx.keep.cluster.is_clustered() || cx.keep.known.changes.len() >= WAITING_MAX {
        return;
    }
    cx.keep.known.changes.push(change);
    if !std::mem::replace(&mut cx.keep.known.broadcasting, true) {
        cx.after(BROADCAST_EVERY, PresenceMessage::Broadcast);
    }
}

pub(super) fn broadcast(cx: &mut P<'_>) {
    let changes = &mut cx.keep.known.changes;
    let users: Vec<PresenceChange> = changes.drain(..changes.len().min(CHANGES_MAX)).collect();
    let more = !changes.is_empty();
    cx.keep.known.broadcasting = more;
    if more {
        cx.after(BROADCAST_EVERY, PresenceMessage::Broadcast);
    }
    if users.is_empty() || !cx.keep.cluster.has_peers() {
        return;
    }
    let cluster = cx.keep.cluster.clone();
    let hint = cluster.hint(Body::PresenceChanged { users }, cx.unix_ms());
    cx.pipe(async move { cluster.bus.broadcast(hint).await }, PresenceMessage::Sent);
}

pub(super) fn sent(sent: Result<(), StoreError>) {
    if let Err(error) = sent {
        // A hint: whoever asks is answered by the directory.
        tracing::debug!(%error, "changes of presence were not sent");
    }
}
