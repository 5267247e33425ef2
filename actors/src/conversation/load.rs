//! Waking up: claim the log, load members and the newest events, ask the directory who is here.

use std::{collections::VecDeque, sync::Arc};

use chinwag_schema::{
    error::ClientError,
    event::Origin,
    ids::{Slot, UserId},
    limits::conversation::MEMBERS_MAX,
    model::{ConversationKind, MemberState},
    names::chat_id,
    wire::Dialect,
};

use rustc_hash::FxHashSet;

use super::{
    Added, C, Conversation, Member, Phase, Ready, Woke,
    board::RoomNumbers,
    log::Log,
    membership::Changing,
    messages::{ConversationMessage, Loaded},
    policy::{self, Policy},
    recent::Recent,
    store_failed,
    typing::Typing,
    work::Work,
};
use crate::{
    directory::DirectoryMessage,
    engine::Node,
    ports::{
        StoreError, StoreResult,
        message_store::{Direction, Filter},
    },
};

/// Newest events loaded at first: enough for joining a room; more gather while the conversation is active.
const LOADED_EVENTS: usize = 64;
/// Members read at once.
const MEMBERS_PAGE: usize = 1000;

/// Starts loading; the actor hears `Loaded`.
pub(super) fn start<P: Policy>(cx: &mut C<'_, P>) {
    let (node, id) = (cx.keep.node.clone(), cx.keep.id);
    cx.pipe(async move { load(&node, id).await }, |loaded| ConversationMessage::Loaded(Box::new(loaded)));
}

async fn load(node: &Arc<Node>, id: chinwag_schema::ids::ConversationId) -> StoreResult<Option<Loaded>> {
    let Some(conversation) =
        node.accounts.call("conversation", move |store| async move { store.conversation(id).await }).await?
    else {
        return Ok(None);
    };
    let Some(term) = node.shards.term(id.shard()) else { return Err(crate::ports::StoreError::Fenced) };
    let (head, recent) = node
        .messages
        .call("claim", move |store| async move {
            let head = store.claim(id, term).await?;
            let recent = store.page(id, Direction::Before(head.seq.next()), LOADED_EVENTS, Filter::All).await?;
            Ok((head, recent))
        })
        .await?;
    let members = node
        .accounts
        .call("members", move |store| async move {
            let (mut members, mut after) = (Vec::new(), UserId(0));
            while members.len() < MEMBERS_MAX {
                let page = store.members(id, after, MEMBERS_PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.member.user;
                members.extend(page);
            }
            Ok(members)
        })
        .await?;
    Ok(Some(Loaded { conversation, epoch: node.epoch, term, head, members, recent }))
}

impl<P: Policy> Conversation<P> {
    pub(super) fn loaded(&mut self, loaded: StoreResult<Option<Loaded>>, cx: &mut C<'_, P>) {
        let loaded = match loaded {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return self.refuse(policy::unknown(), cx),
            Err(error) => {
                if let (StoreError::Fenced, Some(term)) = (&error, cx.keep.node.shards.term(cx.keep.id.shard())) {
                    cx.keep.node.fenced(cx.keep.id, term);
                }
                tracing::warn!(conversation = %cx.keep.id, %error, "a conversation could not be loaded");
                return self.refuse(store_failed(&error), cx);
            }
        };
        let ready = Box::new(Ready::from_loaded(loaded, cx));
        if let Phase::Waking { loaded, .. } = &mut self.phase {
            *loaded = Some(ready);
        }
        self.ask_interest(cx);
    }

    /// Asks the directory again: it was rebuilt before it answered.
    pub(super) fn ask_interest(&mut self, cx: &mut C<'_, P>) {
        let Phase::Waking { loaded: Some(ready), .. } = &self.phase else { return };
        let users = ready.members.keys().copied().collect();
        let done = cx.completion(|| ConversationMessage::AskInterest);
        let interest = DirectoryMessage::Interest { conversation: cx.keep.id, users, done };
        // Past the bound: one per activation.
        let _ = cx.keep.node.directory.tell_always(interest);
    }

    pub(super) fn interested(&mut self, sessions: Vec<(UserId, Slot, Dialect)>, cx: &mut C<'_, P>) {
        let Phase::Waking { waiting, loaded } = &mut self.phase else { return };
        let Some(mut ready) = loaded.take() else { return };
        let waiting = std::mem::take(waiting);
        // If its announcement is why it woke up, the sockets hear that it is new before they hear anything else of it.
        let added = waiting.iter().find_map(|message| match message {
            ConversationMessage::Announce { requested, .. } => Some(Added { requested: *requested }),
            _ => None,
        });
        cx.keep.listeners.begin_anew();
        ready.woke = Woke { at: cx.now(), head: ready.head.seq, added };
        for (user, slot, dialect) in sessions {
            ready.online(user, slot, dialect, added, cx);
        }
        ready.redeliver(cx);
        ready.settle_members(cx);
        cx.after(cx.keep.node.settings.idle_before_sleep, ConversationMessage::IdleCheck);
        // Sockets that closed while nobody cared: no `Offline` will come for them.
        let opening: FxHashSet<_> = waiting
            .iter()
            .filter_map(|message| match message {
                ConversationMessage::Online { slot, .. } => Some(*slot),
                _ => None,
            })
            .collect();
        for message in waiting {
            // Those of other nodes are told by their link, in order with what comes from them.
            let gone = |slot: Slot| {
                slot.node == cx.keep.node.id && !cx.keep.listeners.is_present(slot) && !opening.contains(&slot)
            };
            match message {
                ConversationMessage::Announce { .. } if added.is_some() => {}
                ConversationMessage::Attach { from, .. } if gone(from.slot) => {}
                ConversationMessage::Resume { from, reply, .. } if ready.is_member(&from) && gone(from.slot) => {
                    reply.fail(ClientError::unavailable("the socket"));
                }
                message => ready.handle(message, cx),
            }
        }
        self.phase = Phase::Ready(ready);
    }

    fn refuse(&mut self, error: ClientError, cx: &mut C<'_, P>) {
        let before = std::mem::replace(&mut self.phase, Phase::Refusing(error.clone()));
        if let Phase::Waking { waiting, .. } = before {
            VecDeque::into_iter(waiting).for_each(|message| cx.keep.turn_away(message, error.clone()));
        }
        cx.stop_if_idle();
    }
}

impl Ready {
    fn from_loaded<P: Policy>(loaded: Loaded, cx: &mut C<'_, P>) -> Self {
        let Loaded { recent, conversation, epoch, term, head, members } = loaded;
        let conversation = Arc::new(conversation);
        let chat_id = conversation.pair.as_ref().map(|[a, b]| chat_id(&a.name, &b.name).into());
        let origin = Arc::new(Origin {
            conversation: conversation.id,
            kind: conversation.kind,
            name: conversation.name.clone(),
            chat_id,
            epoch,
        });
        let numbers = (conversation.kind == ConversationKind::Room).then(|| {
            let last_active_ms = head.last_at_ms.max(conversation.created_at_ms);
            let numbers = Arc::new(RoomNumbers {
                id: conversation.id,
                name: conversation.name.clone().unwrap_or_else(|| "".into()),
                created_by: conversation.created_by,
                created_at_ms: conversation.created_at_ms,
                users: (cx.keep.listeners.user_count() as u64).into(),
                messages: head.messages.into(),
                last_active_ms: last_active_ms.into(),
            });
            cx.keep.node.board.put(numbers.clone());
            numbers
        });
        let mut known = rustc_hash::FxHashMap::default();
        let mut unsettled = Vec::new();
        for row in members {
            let member = Member { role: row.role, cursor: None, own: None };
            if row.state != MemberState::Settled {
                unsettled.push(row.clone());
            }
            // Neither who isn't yet one nor who asked not to be one any more.
            if row.state == MemberState::Settled {
                known.insert(row.member.user, member);
            }
        }
        cx.keep.fanout.served_up_to(head.seq);
        Self {
            recent: Recent::new(&origin, head.seq, recent.events, recent.complete, cx.unix_ms()),
            log: Log::new(head, unsettled, cx.keep.node.counters.clone()),
            conversation,
            origin,
            term,
            head,
            members: known,
            typing: Typing::default(),
            work: Work::default(),
            changing: Changing::default(),
            numbers,
            busy_at: cx.now(),
            woke: Woke { at: cx.now(), head: head.seq, added: None },
        }
    }
}
