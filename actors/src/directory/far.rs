//! What the directory does because there are other nodes: it registers who is here, says where members are, and tells owners elsewhere of
//! sockets that open.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chinwag_schema::{
    error::ClientError,
    ids::{ConversationId, NodeId, Slot, UserId},
    model::Name,
    wire::{Dialect, encoded_event::EncodedEvent},
};

use tokio::sync::oneshot;

use super::{Directory, DirectoryMessage, GUEST_NAME_HELD};
use crate::{
    cluster::{Cluster, peer::PeerMessage, shards::ShardState},
    ports::{StoreError, StoreResult},
    runtime::{Cx, Mailbox},
    session::entrance,
};

/// After the directory was wiped: long enough for the other nodes to register their users again.
pub(super) const FIND_ALL_AFTER: Duration = Duration::from_secs(6);
/// When to try again to read of whom a socket's user is a member.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

type D<'a> = Cx<'a, Directory>;

/// Why users are looked for on other nodes.
pub enum Purpose {
    /// A conversation woke up and wants to know its members' sockets.
    Interest(ConversationId),
    /// A user became a member.
    Joined(ConversationId),
    /// Something for all their sockets.
    Notify(Arc<EncodedEvent>),
}

/// Looks for users on other nodes, and tells those what it is for.
pub(super) fn find(users: Vec<UserId>, purpose: Purpose, cx: &mut D<'_>) {
    if !cx.keep.cluster.has_peers() || users.is_empty() {
        return;
    }
    let (port, asked) = (cx.keep.port.clone(), users.clone());
    cx.pipe(
        async move {
            let nodes = port.locate_users(&users).await?;
            Ok(by_node(users, nodes))
        },
        move |found| DirectoryMessage::Found { asked, found, purpose },
    );
}

/// Looks for the members of all conversations that are awake here: the directory had forgotten who is where.
pub(super) fn find_all(cx: &mut D<'_>) {
    let mut by_conversation: BTreeMap<ConversationId, Vec<UserId>> = BTreeMap::new();
    for (&user, here) in &cx.keep.here.users {
        for &conversation in &here.interested {
            by_conversation.entry(conversation).or_default().push(user);
        }
    }
    for (conversation, users) in by_conversation {
        find(users, Purpose::Interest(conversation), cx);
    }
}

/// Gives the id of a guest's name, the same on all nodes.
pub(super) fn guest(name: Name, reply: oneshot::Sender<Result<UserId, ClientError>>, cx: &mut D<'_>) {
    let now = cx.now();
    let known = cx.keep.here.guests.get(&name).is_some_and(|guest| guest.holds_name(now));
    if known || !cx.keep.cluster.is_clustered() {
        // Nobody waits any more: the socket has gone.
        let _ = reply.send(super::guest(name, None, cx));
        return;
    }
    let Ok(fresh) = cx.keep.ids.user(cx.unix_ms()) else {
        let _ = reply.send(Err(ClientError::unavailable("the server")));
        return;
    };
    let (port, wanted) = (cx.keep.port.clone(), name.clone());
    cx.pipe(async move { port.hold_guest_name(&wanted, fresh, GUEST_NAME_HELD).await }, move |held| {
        DirectoryMessage::Held { name, held, reply }
    });
}

/// Holds the names of our guests for another while.
pub(super) fn hold_names(cx: &mut D<'_>) {
    if !cx.keep.cluster.is_clustered() || cx.keep.here.guests.is_empty() {
        return;
    }
    let (port, guests) = (cx.keep.port.clone(), &cx.keep.here.guests);
    let names: Vec<_> = guests.iter().map(|(name, guest)| (name.clone(), guest.user)).collect();
    actix_rt::spawn(async move {
        if let Err(error) = port.hold_guest_names(&names, GUEST_NAME_HELD).await {
            tracing::warn!(%error, "the names of guests could not be held; another node may give them away");
        }
    });
}

fn by_node(users: Vec<UserId>, nodes: Vec<Vec<NodeId>>) -> BTreeMap<NodeId, Vec<UserId>> {
    let mut found: BTreeMap<NodeId, Vec<UserId>> = BTreeMap::new();
    for (user, nodes) in users.into_iter().zip(nodes) {
        for node in nodes {
            found.entry(node).or_default().push(user);
        }
    }
    found
}

pub(super) fn found(
    asked: Vec<UserId>,
    found: StoreResult<BTreeMap<NodeId, Vec<UserId>>>,
    purpose: Purpose,
    cx: &D<'_>,
) {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "users on other nodes could not be looked for");
            // Notices are shed; members must hear of their conversations, so that is tried until it works.
            return match purpose {
                Purpose::Notify(_) => {}
                _ => cx.after(AGAIN_AFTER, DirectoryMessage::Find { users: asked, purpose }),
            };
        }
    };
    let purpose = &purpose;
    for (node, users) in found {
        let Some(peer) = cx.keep.cluster.peer(node) else { continue };
        // Past the bounds but for notices, which are shed: one per activation or membership.
        match purpose {
            Purpose::Interest(conversation) => {
                let _ = peer.tell_always(PeerMessage::Interest { conversation: *conversation, users });
            }
            Purpose::Joined(conversation) => {
                for user in users {
                    let _ = peer.tell_always(PeerMessage::Joined { conversation: *conversation, user });
                }
            }
            Purpose::Notify(event) => {
                let _ = peer.tell(PeerMessage::Notify { users, event: event.clone() });
            }
        }
    }
}

/// Another node's conversation asks which of these users' sockets are here.
pub(super) fn asked(
    peer: &Mailbox<PeerMessage>,
    conversation: ConversationId,
    users: Vec<UserId>,
    added: bool,
    cx: &D<'_>,
) {
    let here = &cx.keep.here.users;
    let mut sockets = Vec::new();
    for user in users {
        let open = here.get(&user).into_iter().flat_map(|here| &here.sockets);
        sockets.extend(open.map(|socket| (user, socket.slot, socket.dialect)));
    }
    if !sockets.is_empty() {
        let _ = peer.tell_always(PeerMessage::Sockets { conversation, sockets, added });
    }
}

/// Registers what changed, if nothing is on its way. `all` is said when the directory forgot this node.
pub(super) fn register(all: bool, cx: &mut D<'_>) {
    let here = &mut cx.keep.here;
    if all {
        let present = here.users.iter().filter(|(_, user)| !user.sockets.is_empty()).map(|(&user, _)| (user, true));
        here.unregistered.extend(present);
    }
    if !cx.keep.cluster.is_clustered() {
        // Nobody asks.
        here.unregistered.clear();
        return;
    }
    if here.registering || here.unregistered.is_empty() {
        return;
    }
    here.registering = true;
    let (port, node) = (cx.keep.port.clone(), cx.keep.node);
    let users: Vec<_> = cx.keep.here.unregistered.drain().collect();
    cx.pipe(
        async move {
            let done = port.put_users(node, &users).await;
            (done, users)
        },
        |(done, users)| DirectoryMessage::Registered { done, users },
    );
}

pub(super) fn registered(done: StoreResult<()>, users: Vec<(UserId, bool)>, cx: &mut D<'_>) {
    let here = &mut cx.keep.here;
    here.registering = false;
    here.registered = done.is_ok();
    match done {
        Ok(()) => register(false, cx),
        Err(error) => {
            // Again in a moment. What changed meanwhile is newer.
            tracing::debug!(%error, users = users.len(), "users could not be registered yet");
            for (user, present) in users {
                here.unregistered.entry(user).or_insert(present);
            }
        }
    }
}

/// A socket opened whose user may be a member of conversations owned elsewhere: reads which. The user is registered first: a conversation
/// that wakes up meanwhile either finds the registration, or is awake already when it is told.
pub(super) fn follow(user: UserId, slot: Slot, dialect: Dialect, cx: &mut D<'_>) {
    if !is_open(user, slot, cx) {
        return;
    }
    let (port, node, accounts) = (cx.keep.port.clone(), cx.keep.node, cx.keep.accounts.clone());
    cx.pipe(
        async move {
            port.put_users(node, &[(user, true)]).await?;
            let memberships = entrance::memberships(&accounts, user).await?;
            Ok(memberships.into_iter().map(|membership| membership.conversation.id).collect())
        },
        move |conversations| DirectoryMessage::Followed { user, slot, dialect, conversations },
    );
}

pub(super) fn followed(
    user: UserId,
    slot: Slot,
    dialect: Dialect,
    conversations: Result<Vec<ConversationId>, StoreError>,
    cx: &mut D<'_>,
) {
    if !is_open(user, slot, cx) {
        let here = &mut cx.keep.here;
        if here.users.get(&user).is_none_or(|user| user.sockets.is_empty()) {
            // Its registration may have come after the end of it.
            here.unregistered.insert(user, false);
        }
        return;
    }
    let conversations = match conversations {
        Ok(conversations) => conversations,
        Err(error) => {
            tracing::warn!(%error, "a user's conversations could not be read; again in two seconds");
            return cx.after(AGAIN_AFTER, DirectoryMessage::Follow { user, slot, dialect });
        }
    };
    let mut by_owner: BTreeMap<NodeId, Vec<ConversationId>> = BTreeMap::new();
    let mut nobodys = Vec::new();
    for conversation in conversations {
        match cx.keep.shards.state(conversation.shard()) {
            ShardState::Anothers(owner) => by_owner.entry(owner).or_default().push(conversation),
            ShardState::Ours(_) => {}
            // Whoever takes it may be about to look for its members, or have done so.
            ShardState::HandingOver(_) | ShardState::Nobodys => nobodys.push(conversation),
        }
    }
    if !nobodys.is_empty() {
        let conversations = Ok(nobodys);
        cx.after(AGAIN_AFTER, DirectoryMessage::Followed { user, slot, dialect, conversations });
    }
    for (owner, conversations) in by_owner {
        if let Some(peer) = cx.keep.cluster.peer(owner) {
            // Past the bound: the number of sockets bounds it.
            let _ = peer.tell_always(PeerMessage::Online { user, slot, dialect, conversations });
        }
    }
}

fn is_open(user: UserId, slot: Slot, cx: &D<'_>) -> bool {
    let open = |user: &super::UserHere| user.sockets.iter().any(|socket| socket.slot == slot);
    cx.keep.here.users.get(&user).is_some_and(open)
}

/// A socket closed: the nodes that know it hear so.
pub(super) fn gone(user: UserId, slot: Slot, cluster: &Cluster) {
    cluster.everyone(|peer| {
        let _ = peer.tell_always(PeerMessage::Closed { user, slot });
    });
}
