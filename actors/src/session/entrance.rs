//! How a session's user enters and leaves the node: the caller is noted, the directory is told.

use std::{future::Future, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use chinwag_schema::{
    error::CloseCode,
    ids::{ConversationId, UserId},
    limits::{storage::DEADLINE, user},
    model::Membership,
};
use tokio::sync::oneshot;

use super::{Io, authenticator::Identity};
use crate::{
    conversation::messages::Caller,
    directory::{DirectoryMessage, OpenedSocket},
    ports::StoreResult,
    presence::PresenceMessage,
    storage::accounts::Accounts,
};

/// Notes who the socket is and tells the directory. False when the directory has too much to do: the socket is being closed then.
pub(super) fn enter(identity: Identity, io: &mut Io<'_, '_>) -> bool {
    let Identity { user, name, guest, token_id, expires_at_ms, .. } = identity;
    let (slot, dialect) = (io.slot, io.dialect);
    let socket = OpenedSocket { slot, user, name: name.clone(), dialect, guest, token_id, expires_at_ms };
    if io.node.directory.tell(DirectoryMessage::Opened(socket)).is_err() {
        io.close(CloseCode::OVERLOADED, "too busy, reconnect later");
        return false;
    }
    *io.caller = Some(Arc::new(Caller { slot, user, name, dialect, guest }));
    io.node.counters.authenticated.fetch_add(1, Relaxed);
    true
}

/// Tells the directory and presence that the socket is gone; nothing if it never entered.
pub(super) fn leave(io: &Io<'_, '_>) {
    let Some(caller) = io.caller.as_deref() else { return };
    let (slot, user) = (caller.slot, caller.user);
    // Past the bounds: the number of sockets bounds both. Closed: the node stops.
    let _ = io.node.directory.tell_always(DirectoryMessage::Closed { slot, user });
    let _ = io.node.presence.tell_always(PresenceMessage::Forget { slot });
}

/// Waits for an actor's answer; `None` when it has too much to do or doesn't answer in time.
pub(super) fn asked<T>(told: bool, answer: oneshot::Receiver<T>) -> impl Future<Output = Option<T>> {
    let deadline: Duration = if told { DEADLINE } else { Duration::ZERO };
    async move { tokio::time::timeout(deadline, answer).await.ok()?.ok() }
}

/// Reads all memberships of a user, page by page.
pub(crate) async fn memberships(accounts: &Accounts, user: UserId) -> StoreResult<Vec<Membership>> {
    let mut all: Vec<Membership> = Vec::new();
    let mut after = ConversationId(0);
    loop {
        let page = accounts.memberships(user, after, user::WELCOME_PAGE).await?;
        let last = page.len() < user::WELCOME_PAGE;
        all.extend(page);
        match all.last() {
            Some(membership) if !last && all.len() < user::CONVERSATIONS_MAX => after = membership.conversation.id,
            _ => return Ok(all),
        }
    }
}
