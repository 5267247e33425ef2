//! Users: who they are, who is online, the own profile.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::UserId,
    limits::{lookups::NAMES_AT_ONCE, user::WATCHED_MAX},
    wire::native::{
        Empty, PresenceInfo, Profile, ServerStats, Stats, UserInfo, UserRef, UserStats, Users, UsersBy, Watched,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustc_hash::FxHashMap;

use super::{Io, NativeSession, answer, refuse};
use crate::{
    engine::Node,
    ports::StoreResult,
    presence::{PresenceMessage, Status},
    session::dialect::store_error,
};

/// Presence answers at once, or is overloaded: then nothing is said about it.
const PRESENCE_DEADLINE: Duration = Duration::from_secs(1);

/// Asks how users stand; `None` when presence has too much to do.
async fn statuses(node: &Node, users: Vec<UserId>) -> Option<Vec<Status>> {
    if users.is_empty() {
        return Some(Vec::new());
    }
    tokio::time::timeout(PRESENCE_DEADLINE, node.ask_presence(users)?).await.ok()?.ok()
}

/// Adds who is online to accounts.
pub(super) async fn with_presence(node: &Node, mut users: Vec<UserInfo>) -> Vec<UserInfo> {
    if let Some(statuses) = statuses(node, users.iter().map(|user| user.id).collect()).await {
        for (user, status) in users.iter_mut().zip(statuses) {
            user.online = Some(status.online);
            user.last_seen = status.last_seen_ms.max(user.last_seen);
        }
    }
    users
}

/// Reads accounts, with who is online; the unknown are left out.
pub(super) async fn describe(node: Arc<Node>, ids: Vec<UserId>) -> StoreResult<FxHashMap<UserId, UserInfo>> {
    if ids.is_empty() {
        return Ok(FxHashMap::default());
    }
    let users = node.accounts.call("users", move |store| async move { store.users(&ids).await }).await?;
    let users = with_presence(&node, users.iter().map(UserInfo::of).collect()).await;
    Ok(users.into_iter().map(|user| (user.id, user)).collect())
}

async fn find(node: Arc<Node>, by: UsersBy) -> StoreResult<Vec<UserInfo>> {
    match by {
        UsersBy::Ids(ids) => {
            let mut found = describe(node, ids.clone()).await?;
            Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
        }
        UsersBy::Names(names) => {
            let asked = names.into_iter().map(|name| node.accounts.user_id(name.into()));
            let found: Vec<Option<UserId>> = stream::iter(asked).buffered(NAMES_AT_ONCE).try_collect().await?;
            let mut ids: Vec<UserId> = Vec::with_capacity(found.len());
            for id in found.into_iter().flatten() {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            let mut found = describe(node, ids.clone()).await?;
            Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
        }
    }
}

impl NativeSession {
    pub(super) fn users(&mut self, id: Box<str>, by: UsersBy, io: &mut Io<'_, '_>) {
        let found = find(io.node.clone(), by);
        self.read_begins(&id, io);
        self.aside(
            id,
            found,
            |found, id, _, io| match found {
                Ok(users) => answer(&id, &Users { users }, io),
                Err(error) => refuse(&*id, &store_error(&error), io),
            },
            io,
        );
    }

    pub(super) fn watch(&mut self, id: Box<str>, users: Vec<UserId>, io: &mut Io<'_, '_>) {
        let watched = &mut self.rare().watched;
        let new = users.iter().filter(|user| !watched.contains(user)).count();
        if watched.len() + new > WATCHED_MAX {
            let text = format!("a socket watches at most {WATCHED_MAX} users");
            return refuse(&*id, &ClientError::new(ErrorCode::LimitReached, text).limit(WATCHED_MAX as u64), io);
        }
        watched.extend(&users);
        // Before asking, so that no change falls between.
        if io.node.presence.tell(PresenceMessage::Watch { slot: io.slot, users: users.clone() }).is_err() {
            return refuse(&*id, &ClientError::unavailable("presence"), io);
        }
        let found = find(io.node.clone(), UsersBy::Ids(users));
        self.read_begins(&id, io);
        self.aside(
            id,
            found,
            |found, id, _, io| match found {
                Ok(users) => answer(&id, &Watched { presence: users.into_iter().map(presence).collect() }, io),
                Err(error) => refuse(&*id, &store_error(&error), io),
            },
            io,
        );
    }

    pub(super) fn unwatch(&mut self, id: &str, mut users: Vec<UserId>, io: &Io<'_, '_>) {
        let watched = &mut self.rare().watched;
        users.retain(|user| watched.remove(user));
        // Of those it shares a chat with, a socket hears unasked.
        users.retain(|&user| !self.known.values().any(|known| known.other == Some(user)));
        if !users.is_empty() && io.node.presence.tell(PresenceMessage::Unwatch { slot: io.slot, users }).is_err() {
            return refuse(id, &ClientError::unavailable("presence"), io);
        }
        answer(id, &Empty {}, io);
    }

    pub(super) fn profile(&mut self, id: Box<str>, io: &mut Io<'_, '_>) {
        let caller = io.caller();
        if caller.guest {
            return answer(&id, &Profile { user: UserInfo::guest(caller.user, caller.name.clone()) }, io);
        }
        let found = describe(io.node.clone(), vec![caller.user]);
        self.read_begins(&id, io);
        self.aside(id, found, move |found, id, _, io| profile_answer(&id, caller.user, found, io), io);
    }

    pub(super) fn set_profile(&mut self, id: Box<str>, display_name: Option<String>, io: &mut Io<'_, '_>) {
        let Some(caller) = self.account(&id, io) else { return };
        let (node, user) = (io.node.clone(), caller.user);
        let set = async move {
            node.accounts
                .call("set_display_name", move |store| async move {
                    store.set_display_name(user, display_name.as_deref()).await
                })
                .await?;
            describe(node, vec![user]).await
        };
        // Not aside: two in a row leave the later name.
        self.then(id, set, move |found, id, _, io| profile_answer(&id, user, found, io), io);
    }

    pub(super) fn stats(&self, id: &str, io: &Io<'_, '_>) {
        let counters = &io.node.counters;
        let server = ServerStats {
            sockets: counters.sockets.iter().map(|sockets| sockets.load(Relaxed)).sum(),
            users: counters.users.load(Relaxed),
            uptime_ms: u64::try_from(io.now_ms() - io.node.started_at_ms).unwrap_or(0),
        };
        let user = UserStats { messages: self.sent, connected_at: io.opened_at_ms };
        answer(id, &Stats { server, user }, io);
    }
}

fn presence(user: UserInfo) -> PresenceInfo {
    PresenceInfo {
        user: UserRef { id: user.id, name: user.name },
        online: user.online.unwrap_or(false),
        last_seen: user.last_seen,
    }
}

fn profile_answer(id: &str, user: UserId, found: StoreResult<FxHashMap<UserId, UserInfo>>, io: &Io<'_, '_>) {
    match found.map(|mut found| found.remove(&user)) {
        Ok(Some(user)) => answer(id, &Profile { user }, io),
        Ok(None) => refuse(id, &super::not_found("account any more"), io),
        Err(error) => refuse(id, &store_error(&error), io),
    }
}
