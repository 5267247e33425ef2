//! The directory of a node: which users have which sockets here, and which active conversations care.
//!
//! The port behind it ([`crate::ports::directory`]) knows the other nodes; what is kept here is this node's own truth.

mod far;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use chinwag_schema::{
    error::{ClientError, CloseCode, ErrorCode},
    ids::{ConversationId, NodeId, Slot, UserId},
    model::Name,
    wire::{Dialect, encoded_event::EncodedEvent},
};
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::Instant};

pub use far::{Following, Purpose};

use crate::{
    cluster::{Cluster, peer::PeerMessage, shards::ShardTable},
    conversation::{messages::ConversationMessage, router::Router},
    message_kinds,
    ports::{
        StoreResult,
        directory::{Directory as DirectoryPort, NodeLease},
    },
    presence::{PresenceMessage, Status},
    relay::RelayMessage,
    runtime::{Behaviour, Completion, Cx, Kind, Mailbox},
    session::{
        authenticator::{Authenticator, TokenId},
        dialect::store_error,
    },
    storage::accounts::Accounts,
};

/// How long a guest's name stays taken after its last socket closed.
const GUEST_NAME_HELD: Duration = Duration::from_secs(5 * 60);
/// How often names are freed, and those in use are held again where all nodes know them.
const SWEEP_EVERY: Duration = Duration::from_secs(2 * 60);
/// Guests known at once; beyond it new names are refused.
const GUESTS_MAX: usize = 100_000;
/// Names in one list of users.
pub const LISTED_USERS_MAX: usize = 1000;
/// When registrations that failed are tried again.
const REGISTER_EVERY: Duration = Duration::from_secs(3);

/// A socket that opened, as the directory wants it.
#[derive(Debug, Clone)]
pub struct OpenedSocket {
    pub slot: Slot,
    pub user: UserId,
    pub name: Name,
    pub dialect: Dialect,
    pub guest: bool,
    pub token_id: Option<TokenId>,
    /// When its access token was issued or will expire, Unix ms.
    pub expires_at_ms: Option<i64>,
}

/// A user in a list of those connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedUser {
    pub user: UserId,
    pub name: Name,
    pub room: Option<Name>,
}

/// What the directory is told.
pub enum DirectoryMessage {
    /// A socket authenticated. Conversations that care are told; too many sockets of one user close this one (4101).
    Opened(OpenedSocket),
    /// It closed.
    Closed {
        slot: Slot,
        user: UserId,
    },
    /// A conversation woke up: it cares for these users from now on. Completed with their sockets here.
    Interest {
        conversation: ConversationId,
        users: Vec<UserId>,
        done: Completion<ConversationMessage>,
    },
    /// It has one more member; it is told of the member's sockets by `Online`.
    AddInterest {
        conversation: ConversationId,
        user: UserId,
    },
    /// It has one member less.
    DropInterest {
        conversation: ConversationId,
        users: Vec<UserId>,
    },
    /// Sends an event to all sockets of these users (native and, as their dialect tells it, others), on all nodes.
    Notify {
        users: Vec<UserId>,
        event: Arc<EncodedEvent>,
    },
    /// The same for sockets of this node only.
    NotifyHere {
        users: Vec<UserId>,
        event: Arc<EncodedEvent>,
    },
    /// A conversation of another node asks for sockets of these members; `added` if they have just become members.
    FarInterest {
        peer: Mailbox<PeerMessage>,
        conversation: ConversationId,
        users: Vec<UserId>,
        added: bool,
    },
    /// Sends an event to every socket.
    NotifyAll {
        event: Arc<EncodedEvent>,
    },
    /// Closes all sockets of a user (password changed, ban).
    CloseUser {
        user: UserId,
        code: CloseCode,
        reason: &'static str,
    },
    /// Closes the sockets of one access token (logout).
    CloseToken {
        token_id: Box<str>,
        code: CloseCode,
        reason: &'static str,
    },
    /// Closes sockets whose token ran out before this time.
    CloseExpired {
        now_ms: i64,
    },
    /// Notes which room a rooms socket is in.
    CurrentRoom {
        slot: Slot,
        user: UserId,
        room: Option<Name>,
    },
    /// Lists connected users, at most [`LISTED_USERS_MAX`].
    ListUsers {
        reply: oneshot::Sender<Vec<ListedUser>>,
    },
    /// Gives the user id of a guest's name, the same for all its sockets. The name is held while one of them lives and five minutes longer.
    Guest {
        name: Name,
        reply: oneshot::Sender<Result<UserId, ClientError>>,
    },
    /// Says whether a guest holds this name now.
    IsGuestName {
        name: Box<str>,
        reply: oneshot::Sender<bool>,
    },
    /// Asks presence how these users stand; not straight, so that the sockets that opened before are known to it.
    AskPresence {
        users: Vec<UserId>,
        reply: oneshot::Sender<Vec<Status>>,
    },
    /// Says which of these users have sockets here.
    WhoIsHere {
        users: Vec<UserId>,
        reply: oneshot::Sender<Vec<UserId>>,
    },
    /// Returns the sockets of a user here.
    SocketsOf {
        user: UserId,
        reply: oneshot::Sender<Vec<Slot>>,
    },
    /// A link to another node is up: what was said of sockets before is lost.
    Linked,
    /// The directory of the nodes forgot this one: everybody who is here is registered again.
    Anew,
    // ---- own
    /// Looks for the members of all awake conversations again.
    FindAll,
    Find {
        users: Vec<UserId>,
        purpose: Purpose,
    },
    Held {
        name: Name,
        held: StoreResult<UserId>,
        reply: oneshot::Sender<Result<UserId, ClientError>>,
    },
    Register,
    SweepGuests,
    /// Users were looked for on other nodes.
    Found {
        asked: Vec<UserId>,
        found: StoreResult<BTreeMap<NodeId, Vec<UserId>>>,
        purpose: Purpose,
    },
    Registered {
        done: StoreResult<()>,
        users: Vec<(UserId, bool)>,
        following: Vec<Following>,
    },
    Follow(Following),
    /// The conversations of a socket's user were read.
    Followed {
        following: Following,
        conversations: StoreResult<Vec<ConversationId>>,
    },
}

message_kinds!(DirectoryMessage {
    Opened,
    Closed,
    Interest,
    AddInterest,
    DropInterest,
    Notify,
    NotifyHere,
    FarInterest,
    NotifyAll,
    CloseUser,
    CloseToken,
    CloseExpired,
    CurrentRoom,
    ListUsers,
    Guest,
    IsGuestName,
    AskPresence,
    WhoIsHere,
    SocketsOf,
    Linked,
    Anew,
    FindAll,
    Find,
    Held,
    Register,
    SweepGuests,
    Found,
    Registered,
    Follow,
    Followed,
});

/// What a directory works with and what outlives a panic: who is here is known nowhere else.
pub struct DirectoryKeep {
    pub node: NodeLease,
    pub port: Arc<dyn DirectoryPort>,
    pub router: Arc<Router>,
    pub presence: Mailbox<PresenceMessage>,
    pub relays: Arc<[Mailbox<RelayMessage>]>,
    pub shards: Arc<ShardTable>,
    pub ids: Arc<crate::snowflake::Snowflakes>,
    pub sockets_per_user_max: usize,
    /// Set once, before the first socket.
    pub authenticator: Arc<OnceLock<Arc<dyn Authenticator>>>,
    pub counters: Arc<crate::engine::Counters>,
    pub cluster: Arc<Cluster>,
    pub accounts: Accounts,
    pub here: Here,
}

/// Who is here.
#[derive(Default)]
pub struct Here {
    users: FxHashMap<UserId, UserHere>,
    guests: HashMap<Name, Guest>,
    sockets: usize,
    /// Users whose presence here the other nodes don't know yet.
    unregistered: FxHashMap<UserId, bool>,
    /// Sockets whose users' conversations are to be read once the users are registered.
    following: Vec<Following>,
    registering: bool,
    /// Members of all awake conversations will be looked for in a moment.
    finding_all: bool,
    /// The last attempt to register succeeded: changes go out at once.
    registered: bool,
}

#[derive(Default)]
struct UserHere {
    sockets: Vec<SocketHere>,
    /// Active conversations that have this user as a member.
    interested: Vec<ConversationId>,
}

struct SocketHere {
    slot: Slot,
    dialect: Dialect,
    name: Name,
    token_id: Option<Box<str>>,
    expires_at_ms: Option<i64>,
    room: Option<Name>,
    guest: bool,
}

struct Guest {
    user: UserId,
    sockets: usize,
    free_at: Option<Instant>,
}

/// The directory actor. Mailbox bound 65,536; when full, a new socket is refused (4100), the end of one never is. A panic keeps
/// who is here. Sockets of one user are told to a conversation in the order in which they opened.
pub struct Directory;

impl Behaviour for Directory {
    type Message = DirectoryMessage;
    type Keep = DirectoryKeep;
    const KIND: Kind = "directory";
    const MAILBOX: usize = 65_536;
    const ESSENTIAL: bool = true;

    fn new(cx: &mut Cx<'_, Self>) -> Self {
        cx.keep.here.registering = false;
        cx.keep.here.finding_all = false;
        cx.keep.here.registered = true;
        cx.after(REGISTER_EVERY, DirectoryMessage::Register);
        cx.after(SWEEP_EVERY, DirectoryMessage::SweepGuests);
        Self
    }

    fn handle(&mut self, message: DirectoryMessage, cx: &mut Cx<'_, Self>) {
        match message {
            DirectoryMessage::Opened(socket) => opened(socket, cx),
            DirectoryMessage::Closed { slot, user } => closed(slot, user, cx),
            DirectoryMessage::Interest { conversation, users, done } => {
                far::find(users.clone(), Purpose::Interest(conversation), cx);
                let mut sessions = Vec::new();
                for user in users {
                    let here = cx.keep.here.users.entry(user).or_default();
                    if !here.interested.contains(&conversation) {
                        here.interested.push(conversation);
                    }
                    sessions.extend(here.sockets.iter().map(|socket| (user, socket.slot, socket.dialect)));
                }
                done.complete(ConversationMessage::Interested { sessions });
            }
            DirectoryMessage::AddInterest { conversation, user } => {
                far::find(vec![user], Purpose::Joined(conversation), cx);
                let here = cx.keep.here.users.entry(user).or_default();
                if !here.interested.contains(&conversation) {
                    here.interested.push(conversation);
                }
                for socket in &here.sockets {
                    let (slot, dialect) = (socket.slot, socket.dialect);
                    let online = ConversationMessage::Online { user, slot, dialect, added: true };
                    cx.keep.router.tell_active(conversation, online);
                }
            }
            DirectoryMessage::DropInterest { conversation, users } => {
                for user in users {
                    let Some(here) = cx.keep.here.users.get_mut(&user) else { continue };
                    here.interested.retain(|&other| other != conversation);
                    if here.sockets.is_empty() && here.interested.is_empty() {
                        cx.keep.here.users.remove(&user);
                    }
                }
            }
            DirectoryMessage::Notify { users, event } => {
                far::find(users.clone(), Purpose::Notify(event.clone()), cx);
                let here = &cx.keep.here;
                let slots = users.iter().filter_map(|user| here.users.get(user)).flat_map(|user| &user.sockets);
                send(&cx.keep.relays, slots.map(|socket| socket.slot), &event);
            }
            DirectoryMessage::NotifyHere { users, event } => {
                let here = &cx.keep.here;
                let slots = users.iter().filter_map(|user| here.users.get(user)).flat_map(|user| &user.sockets);
                send(&cx.keep.relays, slots.map(|socket| socket.slot), &event);
            }
            DirectoryMessage::FarInterest { peer, conversation, users, added } => {
                far::asked(&peer, conversation, users, added, cx);
            }
            DirectoryMessage::Found { asked, found, purpose } => far::found(asked, found, purpose, cx),
            DirectoryMessage::Registered { done, users, following } => far::registered(done, users, following, cx),
            DirectoryMessage::Follow(following) => far::follow(following, cx),
            DirectoryMessage::Followed { following, conversations } => far::followed(following, conversations, cx),
            DirectoryMessage::NotifyAll { event } => {
                let slots = cx.keep.here.users.values().flat_map(|user| &user.sockets);
                send(&cx.keep.relays, slots.map(|socket| socket.slot), &event);
            }
            DirectoryMessage::CloseUser { user, code, reason } => {
                let sockets = cx.keep.here.users.get(&user).map_or(&[][..], |user| &user.sockets);
                close(&cx.keep.relays, sockets.iter(), code, reason);
            }
            DirectoryMessage::CloseToken { token_id, code, reason } => {
                let all = cx.keep.here.users.values().flat_map(|user| &user.sockets);
                close(&cx.keep.relays, all.filter(|s| s.token_id.as_ref() == Some(&token_id)), code, reason);
            }
            DirectoryMessage::CloseExpired { now_ms } => {
                let all = cx.keep.here.users.values().flat_map(|user| &user.sockets);
                let expired = all.filter(|socket| socket.expires_at_ms.is_some_and(|at| at <= now_ms));
                close(&cx.keep.relays, expired, CloseCode::TOKEN_EXPIRED, "token expired");
            }
            DirectoryMessage::CurrentRoom { slot, user, room } => {
                let sockets = cx.keep.here.users.get_mut(&user).map(|user| &mut user.sockets);
                if let Some(socket) = sockets.and_then(|all| all.iter_mut().find(|socket| socket.slot == slot)) {
                    socket.room = room;
                }
            }
            DirectoryMessage::ListUsers { reply } => {
                let users = cx.keep.here.users.iter().filter_map(|(&user, here)| {
                    let first = here.sockets.first()?;
                    let room = here.sockets.iter().find_map(|socket| socket.room.clone());
                    Some(ListedUser { user, name: first.name.clone(), room })
                });
                let _ = reply.send(users.take(LISTED_USERS_MAX).collect());
            }
            DirectoryMessage::Guest { name, reply } => {
                far::guest(name, reply, cx);
            }
            DirectoryMessage::Held { name, held, reply } => {
                let _ =
                    reply.send(held.map_err(|error| store_error(&error)).and_then(|user| guest(name, Some(user), cx)));
            }
            DirectoryMessage::IsGuestName { name, reply } => {
                let now = cx.now();
                let held = cx.keep.here.guests.get(&*name).is_some_and(|guest| guest.holds_name(now));
                let _ = reply.send(held);
            }
            DirectoryMessage::AskPresence { users, reply } => {
                // Full: the reply is dropped, and whoever waits says nothing of presence.
                let _ = cx.keep.presence.tell(PresenceMessage::Ask { users, reply });
            }
            DirectoryMessage::WhoIsHere { users, reply } => {
                let here = |user: &UserId| cx.keep.here.users.get(user).is_some_and(|user| !user.sockets.is_empty());
                let _ = reply.send(users.into_iter().filter(here).collect());
            }
            DirectoryMessage::SocketsOf { user, reply } => {
                let sockets = cx.keep.here.users.get(&user).map_or(&[][..], |user| &user.sockets);
                let _ = reply.send(sockets.iter().map(|socket| socket.slot).collect());
            }
            DirectoryMessage::Anew => {
                far::register(true, cx);
                far::hold_names(cx);
                far::find_all_later(far::FIND_ALL_AFTER, cx);
            }
            DirectoryMessage::Linked => far::find_all_later(far::LINKED_AFTER, cx),
            DirectoryMessage::FindAll => far::find_all(cx),
            DirectoryMessage::Find { users, purpose } => far::find(users, purpose, cx),
            DirectoryMessage::Register => {
                cx.after(REGISTER_EVERY, DirectoryMessage::Register);
                far::register(false, cx);
            }
            DirectoryMessage::SweepGuests => {
                let now = cx.now();
                cx.keep.here.guests.retain(|_, guest| guest.holds_name(now));
                far::hold_names(cx);
                cx.after(SWEEP_EVERY, DirectoryMessage::SweepGuests);
            }
        }
    }

    fn turn_ended(&mut self, cx: &mut Cx<'_, Self>) {
        if cx.keep.here.registered {
            far::register(false, cx);
        }
    }

    fn observe(&self, keep: &DirectoryKeep) -> Value {
        let online = keep.here.users.values().filter(|user| !user.sockets.is_empty()).count();
        json!({
            "node": keep.node.node.0,
            "incarnation": keep.node.incarnation,
            "users": online,
            "sockets": keep.here.sockets,
            "guests": keep.here.guests.len(),
            "watched_users": keep.here.users.len(),
        })
    }
}

impl Guest {
    fn holds_name(&self, now: Instant) -> bool {
        self.sockets > 0 || self.free_at.is_none_or(|at| now < at)
    }
}

fn opened(socket: OpenedSocket, cx: &mut Cx<'_, Directory>) {
    let OpenedSocket { slot, user, name, dialect, guest, token_id, expires_at_ms } = socket;
    let keep = &mut *cx.keep;
    let here = keep.here.users.entry(user).or_default();
    if here.sockets.len() >= keep.sockets_per_user_max {
        close_slot(&keep.relays, slot, CloseCode::TOO_MANY_SOCKETS, "too many sockets of this user");
    }
    if let (Some(token), Some(authenticator)) = (&token_id, keep.authenticator.get())
        && !authenticator.still_valid(user, token)
    {
        // Revoked since it was verified: the revocation came by before this socket was known here.
        close_slot(&keep.relays, slot, CloseCode::REVOKED, "credentials revoked");
    }
    let token_id = token_id.map(|token| token.id);
    if here.sockets.is_empty() {
        keep.counters.users.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        keep.here.unregistered.insert(user, true);
    }
    let here = keep.here.users.entry(user).or_default();
    here.sockets.push(SocketHere { slot, dialect, name: name.clone(), token_id, expires_at_ms, room: None, guest });
    keep.here.sockets += 1;
    for &conversation in &here.interested {
        let online = ConversationMessage::Online { user, slot, dialect, added: false };
        keep.router.tell_active(conversation, online);
    }
    if guest {
        if let Some(guest) = keep.here.guests.get_mut(&name) {
            guest.sockets += 1;
            guest.free_at = None;
        }
    } else {
        // Past the bound: the number of sockets bounds it.
        let _ = keep.presence.tell_always(PresenceMessage::Opened { user, name });
        // Sockets of the rooms dialect choose their room themselves.
        if keep.cluster.is_clustered() && dialect != Dialect::Rooms {
            keep.here.following.push(Following { user, slot, dialect });
        }
    }
}

fn closed(slot: Slot, user: UserId, cx: &mut Cx<'_, Directory>) {
    let now = cx.now();
    let keep = &mut *cx.keep;
    let Some(here) = keep.here.users.get_mut(&user) else { return };
    let Some(index) = here.sockets.iter().position(|socket| socket.slot == slot) else { return };
    let socket = here.sockets.swap_remove(index);
    keep.here.sockets -= 1;
    far::gone(user, slot, &keep.cluster);
    for &conversation in &here.interested {
        keep.router.tell_active(conversation, ConversationMessage::Offline { user, slot });
    }
    if here.sockets.is_empty() {
        keep.counters.users.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        keep.here.unregistered.insert(user, false);
        if here.interested.is_empty() {
            keep.here.users.remove(&user);
        }
    }
    if socket.guest {
        if let Some(guest) = keep.here.guests.get_mut(&socket.name) {
            guest.sockets = guest.sockets.saturating_sub(1);
            if guest.sockets == 0 {
                guest.free_at = Some(now + GUEST_NAME_HELD);
            }
        }
    } else {
        let _ = keep.presence.tell_always(PresenceMessage::Closed { user });
    }
}

/// Gives the id of a guest's name: the one that is held here, or `held` on another node, or a new one.
fn guest(name: Name, held: Option<UserId>, cx: &mut Cx<'_, Directory>) -> Result<UserId, ClientError> {
    let (now, now_ms) = (cx.now(), cx.unix_ms());
    let keep = &mut *cx.keep;
    if let Some(guest) = keep.here.guests.get(&name)
        && guest.holds_name(now)
    {
        return Ok(guest.user);
    }
    if keep.here.guests.len() >= GUESTS_MAX {
        keep.here.guests.retain(|_, guest| guest.holds_name(now));
        if keep.here.guests.len() >= GUESTS_MAX {
            let limit = GUESTS_MAX as u64;
            return Err(ClientError::new(ErrorCode::LimitReached, "too many guests").limit(limit));
        }
    }
    let user = match held {
        Some(user) => user,
        None => keep.ids.user(now_ms).map_err(|_| ClientError::unavailable("the server"))?,
    };
    let free_at = Some(now + GUEST_NAME_HELD);
    keep.here.guests.insert(name, Guest { user, sockets: 0, free_at });
    Ok(user)
}

fn send(relays: &[Mailbox<RelayMessage>], slots: impl Iterator<Item = Slot>, event: &Arc<EncodedEvent>) {
    let mut by_worker: HashMap<u16, Vec<Slot>, FxBuildHasher> = HashMap::default();
    for slot in slots {
        by_worker.entry(slot.worker).or_default().push(slot);
    }
    for (worker, slots) in by_worker {
        // Full: what goes this way is presence and notices, the first to be shed.
        let _ = relays[usize::from(worker)].tell(RelayMessage::Send { slots, event: event.clone() });
    }
}

fn close<'a>(
    relays: &[Mailbox<RelayMessage>],
    sockets: impl Iterator<Item = &'a SocketHere>,
    code: CloseCode,
    reason: &'static str,
) {
    for socket in sockets {
        close_slot(relays, socket.slot, code, reason);
    }
}

fn close_slot(relays: &[Mailbox<RelayMessage>], slot: Slot, code: CloseCode, reason: &'static str) {
    // Past the bound: a revocation must reach its sockets.
    let _ = relays[usize::from(slot.worker)].tell_always(RelayMessage::Close { slot, code, reason });
}
