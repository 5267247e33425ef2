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
    ports::StoreResult,
    runtime::{Cx, Mailbox},
    session::entrance,
};

/// After the directory was wiped: long enough for the other nodes to register their users again.
pub(super) const FIND_ALL_AFTER: Duration = Duration::from_secs(6);
/// After a link came up: others come up in the same moment.
pub(super) const LINKED_AFTER: Duration = Duration::from_secs(1);
/// A user takes 22 bytes of a frame, a socket about 120; the largest frame has 1 MiB.
const USERS_PER_FRAME: usize = 20_000;
const SOCKETS_PER_FRAME: usize = 5_000;
/// When to try again to read of whom a socket's user is a member.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

type D<'a> = Cx<'a, Directory>;

/// A socket whose user's conversations may be owned elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Following {
    pub user: UserId,
    pub slot: Slot,
    pub dialect: Dialect,
}

/// Why users are looked for on other nodes.
pub enum Purpose {
    /// A conversation woke up and wants to know its members' sockets.
    Interest(ConversationId),
    /// A user became a member.
    Joined(ConversationId),
    /// All conversations that are awake want to know the sockets of their members.
    All,
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

/// Will look for the members of all awake conversations again, however often that is wanted until then.
pub(super) fn find_all_later(delay: Duration, cx: &mut D<'_>) {
    if !std::mem::replace(&mut cx.keep.here.finding_all, true) {
        cx.after(delay, DirectoryMessage::FindAll);
    }
}

/// Looks for the members of all conversations that are awake here: who is where was forgotten. One look-up for all.
pub(super) fn find_all(cx: &mut D<'_>) {
    cx.keep.here.finding_all = false;
    let watched = cx.keep.here.users.iter().filter(|(_, here)| !here.interested.is_empty());
    let users = watched.map(|(&user, _)| user).collect();
    find(users, Purpose::All, cx);
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
            Purpose::Interest(conversation) => interest(&peer, *conversation, &users),
            Purpose::All => {
                let mut by_conversation: BTreeMap<ConversationId, Vec<UserId>> = BTreeMap::new();
                for user in users {
                    let interested = cx.keep.here.users.get(&user).into_iter().flat_map(|here| &here.interested);
                    interested.for_each(|&conversation| by_conversation.entry(conversation).or_default().push(user));
                }
                by_conversation.iter().for_each(|(&conversation, users)| interest(&peer, conversation, users));
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

/// Asks a node for the sockets of these members, in frames that an envelope can hold.
fn interest(peer: &Mailbox<PeerMessage>, conversation: ConversationId, users: &[UserId]) {
    for users in users.chunks(USERS_PER_FRAME) {
        let _ = peer.tell_always(PeerMessage::Interest { conversation, users: users.to_vec() });
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
    for sockets in sockets.chunks(SOCKETS_PER_FRAME) {
        let _ = peer.tell_always(PeerMessage::Sockets { conversation, sockets: sockets.to_vec(), added });
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
        here.following.clear();
        return;
    }
    if here.registering || (here.unregistered.is_empty() && here.following.is_empty()) {
        return;
    }
    here.registering = true;
    let (users, following): (Vec<_>, _) = (here.unregistered.drain().collect(), std::mem::take(&mut here.following));
    let (port, node) = (cx.keep.port.clone(), cx.keep.node);
    cx.pipe(
        async move {
            let done = if users.is_empty() { Ok(()) } else { port.put_users(node, &users).await };
            (done, users)
        },
        |(done, users)| DirectoryMessage::Registered { done, users, following },
    );
}

pub(super) fn registered(done: StoreResult<()>, users: Vec<(UserId, bool)>, following: Vec<Following>, cx: &mut D<'_>) {
    let here = &mut cx.keep.here;
    here.registering = false;
    here.registered = done.is_ok();
    match done {
        Ok(()) => {
            following.into_iter().for_each(|following| follow(following, cx));
            register(false, cx);
        }
        Err(error) => {
            // Again in a moment. What changed meanwhile is newer.
            tracing::debug!(%error, users = users.len(), "users could not be registered yet");
            for (user, present) in users {
                here.unregistered.entry(user).or_insert(present);
            }
            here.following.extend(following);
        }
    }
}

/// Reads of which conversations the user of a socket is a member, to tell their owners. The user is registered: a conversation that wakes up
/// meanwhile either finds the registration, or is awake already when it is told.
fn read(following: Following, cx: &mut D<'_>) {
    let accounts = cx.keep.accounts.clone();
    cx.pipe(
        async move {
            let memberships = entrance::memberships(&accounts, following.user).await?;
            Ok(memberships.into_iter().map(|membership| membership.conversation.id).collect())
        },
        move |conversations| DirectoryMessage::Followed { following, conversations },
    );
}

/// Tries again to read.
pub(super) fn follow(following: Following, cx: &mut D<'_>) {
    if is_open(following, cx) {
        read(following, cx);
    }
}

pub(super) fn followed(following: Following, conversations: StoreResult<Vec<ConversationId>>, cx: &mut D<'_>) {
    if !is_open(following, cx) {
        return;
    }
    let conversations = match conversations {
        Ok(conversations) => conversations,
        Err(error) => {
            tracing::warn!(%error, "a user's conversations could not be read; again in two seconds");
            return cx.after(AGAIN_AFTER, DirectoryMessage::Follow(following));
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
        cx.after(AGAIN_AFTER, DirectoryMessage::Followed { following, conversations: Ok(nobodys) });
    }
    let Following { user, slot, dialect } = following;
    for (owner, conversations) in by_owner {
        if let Some(peer) = cx.keep.cluster.peer(owner) {
            // Past the bound: the number of sockets bounds it.
            let _ = peer.tell_always(PeerMessage::Online { user, slot, dialect, conversations });
        }
    }
}

fn is_open(following: Following, cx: &D<'_>) -> bool {
    let open = |user: &super::UserHere| user.sockets.iter().any(|socket| socket.slot == following.slot);
    cx.keep.here.users.get(&following.user).is_some_and(open)
}

/// A socket closed: the nodes that know it hear so.
pub(super) fn gone(user: UserId, slot: Slot, cluster: &Cluster) {
    cluster.everyone(|peer| {
        let _ = peer.tell_always(PeerMessage::Closed { user, slot });
    });
}
