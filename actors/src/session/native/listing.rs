//! The list of a user's conversations, read from the stores.

use std::sync::Arc;

use chinwag_schema::{
    ids::{ConversationId, Slot, UserId},
    limits::storage::DEADLINE,
    model::{Conversation, Head, Mark, Membership},
    wire::native::{ConversationInfo, Conversations, OtherUser, UserInfo},
};
use rustc_hash::FxHashMap;

use super::{Io, Known, NativeSession, answer, people, refuse, resume::Gathering};
use crate::{
    engine::Node,
    ports::StoreResult,
    presence::PresenceMessage,
    runtime::Mailbox,
    session::{SessionMessage, dialect::store_error},
};

/// A page of the list.
pub(super) struct Listed {
    /// The user's own.
    pub display_name: Option<String>,
    pub conversations: Vec<ConversationInfo>,
    pub known: Vec<(ConversationId, Known)>,
    /// `after` of the next page, if there is one.
    pub next: Option<ConversationId>,
    /// Heads of other conversations that were asked for.
    pub heads: FxHashMap<ConversationId, Head>,
}

/// What to list.
pub(super) struct Wanted {
    pub slot: Slot,
    pub session: Mailbox<SessionMessage>,
    pub user: UserId,
    /// Whether the user has an account, and so may be a member.
    pub account: bool,
    pub after: ConversationId,
    pub limit: usize,
    /// Conversations whose heads are wanted, too.
    pub also: Vec<ConversationId>,
}

/// Reads a page. Memberships first and heads last: the caller's cork is in place, so that whatever comes after a head comes after the list.
pub(super) async fn list(node: Arc<Node>, wanted: Wanted) -> StoreResult<Listed> {
    let Wanted { slot, session, user, account, after, limit, also } = wanted;
    let (mut members, users) = match account {
        true => node.accounts.memberships_and_users(user, after, limit + 1).await?,
        false => Default::default(),
    };
    let more = members.len() > limit;
    members.truncate(limit);
    let next = members.last().map(|last| last.conversation.id).filter(|_| more);

    let others: Vec<UserId> = members.iter().filter_map(|member| Some(member.conversation.other(user)?.user)).collect();
    // A socket that closed meanwhile was forgotten already, and isn't again. The session lives on this thread: it can't close in between.
    if !others.is_empty() && !session.is_closed() {
        // Before asking who is online, so that no change falls between. Full: presence is shed first.
        let _ = node.presence.tell(PresenceMessage::Watch { slot, users: others });
    }
    let (own, others): (Vec<_>, Vec<_>) = users.iter().map(UserInfo::of).partition(|known| known.id == user);
    let display_name = own.into_iter().find_map(|own| own.display_name);
    let others = people::with_presence(&node, others).await.into_iter().map(|user| (user.id, user)).collect();

    let ids: Vec<_> = members.iter().map(|member| member.conversation.id).collect();
    let (heads, own) = heads_and_own(&node, user, ids, also.clone()).await?;
    let (listed, rest) = heads.split_at(members.len());
    let mut conversations = Vec::with_capacity(members.len());
    let mut known = Vec::with_capacity(members.len());
    for ((member, head), own) in members.iter().zip(listed).zip(own) {
        let other = member.conversation.other(user).map(|other| other.user);
        known.push((member.conversation.id, Known { other, ..Known::at(head.seq) }));
        conversations.push(info(&node, member, head, own, user, &others));
    }
    let heads = also.into_iter().zip(rest.iter().copied()).collect();
    Ok(Listed { display_name, conversations, known, next, heads })
}

/// Reads the heads of `ids`, then `also`, and the user's totals in `ids`.
async fn heads_and_own(
    node: &Node,
    user: UserId,
    ids: Vec<ConversationId>,
    also: Vec<ConversationId>,
) -> StoreResult<(Vec<Head>, Vec<u64>)> {
    if ids.is_empty() && also.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let read = node.messages.call("heads", move |store| async move {
        let all: Vec<_> = ids.iter().chain(&also).copied().collect();
        let heads = store.heads(&all).await?;
        // A message of the user's own that falls between these two is not counted as unread by anybody: at worst the count
        // is one short of another's message until the next listing.
        let own = if ids.is_empty() { Vec::new() } else { store.own_totals(user, &ids).await? };
        Ok((heads, own))
    });
    tokio::time::timeout(DEADLINE, read)
        .await
        .unwrap_or_else(|_| Err(crate::ports::StoreError::Unavailable("heads took too long".into())))
}

fn info(
    node: &Node,
    member: &Membership,
    head: &Head,
    own: u64,
    user: UserId,
    others: &FxHashMap<UserId, UserInfo>,
) -> ConversationInfo {
    let Membership { conversation, role, cursor } = member;
    let mut info = ConversationInfo::of(conversation, node.epoch, head.seq);
    info.with = other_of(conversation, user, others);
    info.oldest_seq = Some(head.oldest_seq);
    info.role = Some(*role);
    info.delivered = Some(cursor.delivered.seq);
    info.read = Some(cursor.read.seq);
    info.unread = Some(cursor.read.unread_until(Mark { seq: head.seq, messages: head.messages, own }));
    info
}

/// Says who the other user of a one-to-one chat is.
pub(super) fn other_of(
    conversation: &Conversation,
    user: UserId,
    users: &FxHashMap<UserId, UserInfo>,
) -> Option<OtherUser> {
    let other = conversation.other(user)?;
    let known = users.get(&other.user);
    Some(OtherUser {
        id: other.user,
        name: other.name.clone(),
        display_name: known.and_then(|user| user.display_name.clone()),
        online: known.and_then(|user| user.online),
        last_seen: known.and_then(|user| user.last_seen),
    })
}

impl NativeSession {
    /// `conversations`: a further page. Corked, and wakes wait, as for the welcome.
    pub(super) fn conversations(
        &mut self,
        id: Box<str>,
        after: Option<ConversationId>,
        limit: usize,
        io: &mut Io<'_, '_>,
    ) {
        let caller = io.caller();
        let wanted = Wanted {
            slot: io.slot,
            session: io.tools.mailbox(),
            user: caller.user,
            account: !caller.guest,
            after: after.unwrap_or_default(),
            limit,
            also: Vec::new(),
        };
        self.cork(io);
        self.round = self.round.wrapping_add(1);
        self.gathering = Some(Box::new(Gathering::listing(self.round)));
        self.then(
            id,
            list(io.node.clone(), wanted),
            |listed, id, session, io| {
                let mut wakes = session.gathering.take().map(|gathering| gathering.wakes).unwrap_or_default();
                match listed {
                    Ok(Listed { conversations, known, next, .. }) => {
                        for (conversation, known) in known {
                            if let Some(woken) = wakes.get_mut(&conversation) {
                                // The page tells of it.
                                woken.added = None;
                            }
                            session.known.entry(conversation).or_insert(known).other = known.other;
                        }
                        answer(&id, &Conversations { conversations, next }, io);
                    }
                    Err(error) => refuse(&*id, &store_error(&error), io),
                }
                session.uncork(io);
                session.release(wakes, io);
            },
            io,
        );
    }
}
