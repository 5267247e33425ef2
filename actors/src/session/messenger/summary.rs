//! `INIT_DATA`: what a user has and what waited for it; its acknowledgement; and the friends.

use std::sync::Arc;

use chinwag_schema::{
    error::ErrorCode,
    ids::{ConversationId, Seq, UserId},
    model::{ConversationKind, Head, Mark, Member, Membership, Pointer},
    names,
    wire::{
        messenger::{FriendMeta, ServerFrame, Summary, error_of, texts},
        time::Iso,
    },
};

use super::{Io, MessengerSession, MessengerTag, Tag, chats, entrance, send, store_failed, wait};
use crate::{
    conversation::messages::{Answer, ConversationMessage},
    engine::Node,
    ports::StoreResult,
    relay::ReplyTo,
};

/// Conversations asked for in one call of the message store.
const HEADS_PER_CALL: usize = 500;

/// An `OFFLINE_MESSAGES_ACK` under way: it is answered once all its pointers are.
#[derive(Default)]
pub(super) struct Acknowledging {
    open: usize,
    failed: Option<ServerFrame>,
}

/// A membership with the head of its conversation, as of one moment.
struct Standing {
    membership: Membership,
    head: Mark,
}

impl MessengerSession {
    pub(super) fn init_data(&mut self, io: &mut Io<'_, '_>) {
        let (node, user) = (io.node.clone(), io.caller().user);
        let all = async move { standings(&node, user).await };
        wait(io, all, |all, session, io| match all {
            Err(error) => store_failed(&error, io),
            Ok(all) => {
                let reported = all.iter().map(|one| (one.membership.conversation.id, one.head.seq, unseen(one)));
                session.delivery.reported(reported);
                send(&init_data(&all, io.caller().user, &io.caller().name), io);
            }
        });
    }

    pub(super) fn acknowledge(&mut self, io: &mut Io<'_, '_>) {
        let moves = self.delivery.acknowledge(&io.sockets.handed(io.slot));
        if moves.is_empty() {
            return send(&ServerFrame::success(texts::OFFLINE_ACKNOWLEDGED), io);
        }
        self.acknowledging = Acknowledging { open: moves.len(), failed: None };
        // The summaries are gone when the client hears so: whatever it asks next waits for that.
        io.hold_inbound();
        for (conversation, seq) in moves {
            let reply = io.reply_to(Tag::Messenger(MessengerTag::Acknowledge));
            io.tell(conversation, delivered(seq, reply, io));
        }
    }

    /// One of the acknowledgement's pointers was answered.
    pub(super) fn acknowledged(&mut self, answer: &Answer, io: &mut Io<'_, '_>) {
        let state = &mut self.acknowledging;
        if let Answer::Failed(error) = answer
            // Not a member any more: there is no summary either.
            && !matches!(error.code, ErrorCode::NotFound | ErrorCode::Forbidden)
        {
            state.failed = Some(error_of(error));
        }
        state.open = state.open.saturating_sub(1);
        if state.open > 0 {
            return;
        }
        let done = state.failed.take().unwrap_or_else(|| {
            self.delivery.acknowledged();
            ServerFrame::success(texts::OFFLINE_ACKNOWLEDGED)
        });
        send(&done, io);
        io.resume_inbound();
    }

    /// A history was answered: what its newest page shows counts as delivered.
    pub(super) fn history_read(&mut self, first: bool, answer: &Answer, io: &mut Io<'_, '_>) {
        let Answer::History { info, page } = answer else { return io.resume_inbound() };
        match page.events.last() {
            Some(last) if first && info.membership.is_some() => {
                let conversation = info.conversation.id;
                self.delivery.history_read(conversation, last.seq);
                let reply = io.reply_to(Tag::Messenger(MessengerTag::HistoryRead));
                io.tell(conversation, delivered(last.seq, reply, io));
            }
            _ => io.resume_inbound(),
        }
    }
}

/// Moves the caller's delivered pointer.
pub(super) fn delivered(seq: Seq, reply: ReplyTo, io: &Io<'_, '_>) -> ConversationMessage {
    ConversationMessage::Move { from: io.caller(), pointer: Pointer::Delivered, seq, clamp: true, reply }
}

/// Reads all memberships of a user with the heads of their conversations.
async fn standings(node: &Node, user: UserId) -> StoreResult<Vec<Standing>> {
    let memberships = entrance::memberships(&node.accounts, user).await?;
    let ids: Vec<ConversationId> = memberships.iter().map(|membership| membership.conversation.id).collect();
    let mut heads: Vec<Head> = Vec::with_capacity(ids.len());
    let mut own: Vec<u64> = Vec::with_capacity(ids.len());
    for some in ids.chunks(HEADS_PER_CALL).map(<[ConversationId]>::to_vec) {
        // Own totals first: a message counted there is counted in the head too.
        own.extend(own_totals(node, user, some.clone()).await?);
        heads.extend(node.messages.call("heads", move |s| async move { s.heads(&some).await }).await?);
    }
    let rows = memberships.into_iter().zip(heads.into_iter().zip(own));
    let standing = |(membership, (head, own)): (Membership, (Head, u64))| Standing {
        membership,
        head: Mark { seq: head.seq, messages: head.messages, own },
    };
    let mut all: Vec<_> = rows.map(standing).collect();
    without_own_ones_between(node, user, &mut all).await?;
    Ok(all)
}

/// Corrects own totals: a message that another socket of the user sent between the two reads would count as somebody else's.
async fn without_own_ones_between(node: &Node, user: UserId, all: &mut [Standing]) -> StoreResult<()> {
    let mut waiting: Vec<_> = all.iter_mut().filter(|one| unseen(one) > 0).collect();
    for some in waiting.chunks_mut(HEADS_PER_CALL) {
        let ids = some.iter().map(|one| one.membership.conversation.id).collect();
        let own_now = own_totals(node, user, ids).await?;
        for (one, own_now) in some.iter_mut().zip(own_now) {
            if own_now != one.head.own {
                let (id, seq) = (one.membership.conversation.id, one.head.seq);
                let totals = node.messages.call("totals_at", move |s| async move { s.totals_at(id, user, seq).await });
                one.head.own = totals.await?.1;
            }
        }
    }
    Ok(())
}

async fn own_totals(node: &Node, user: UserId, ids: Vec<ConversationId>) -> StoreResult<Vec<u64>> {
    node.messages.call("own_totals", move |s| async move { s.own_totals(user, &ids).await }).await
}

/// Counts others' messages that the user wasn't delivered.
fn unseen(one: &Standing) -> u64 {
    one.membership.cursor.delivered.unread_until(one.head)
}

fn init_data(all: &[Standing], me: UserId, my_name: &str) -> ServerFrame {
    let (mut chat_ids, mut groups, mut offline_messages) = (Vec::new(), Vec::new(), Vec::new());
    for one in all {
        let (conversation, count) = (&one.membership.conversation, unseen(one));
        let summary = match conversation.kind {
            ConversationKind::Direct => {
                let Some(other) = conversation.other(me) else { continue };
                let chat_id: Arc<str> = names::chat_id(my_name, &other.name).into();
                let summary = Summary::chat(&chat_id, other.name.clone(), count);
                chat_ids.push(chat_id);
                summary
            }
            ConversationKind::Group | ConversationKind::Room => {
                groups.push(conversation.id);
                Summary::group(conversation.id, conversation.name.clone().unwrap_or_default(), count)
            }
        };
        if count > 0 {
            offline_messages.push(summary);
        }
    }
    ServerFrame::InitData { chat_ids, groups, offline_messages }
}

/// Answers `FETCH_FRIENDS_META`: everybody with whom the user has a chat.
pub(super) fn friends(io: &mut Io<'_, '_>) {
    let (accounts, user) = (io.node.accounts.clone(), io.caller().user);
    let memberships = async move { entrance::memberships(&accounts, user).await };
    wait(io, memberships, move |memberships, _, io| match memberships {
        Err(error) => store_failed(&error, io),
        Ok(memberships) => {
            let others: Vec<_> =
                memberships.iter().filter_map(|membership| membership.conversation.other(user).cloned()).collect();
            let standings = chats::standings(others.iter().map(|other| other.user).collect(), io);
            wait(io, standings, move |standings, _, io| {
                let me = &io.caller().name;
                let friend = |(other, standing): (Member, super::Standing)| FriendMeta {
                    chat_id: names::chat_id(me, &other.name).into(),
                    username: other.name,
                    is_online: standing.online,
                    last_seen_time: standing.last_seen_ms.map(Iso),
                };
                let friends = others.into_iter().zip(standings).map(friend).collect();
                send(&ServerFrame::FriendsMeta { friends }, io);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use chinwag_schema::model::{Conversation, Cursor, Member, Role};

    use super::*;

    fn standing(id: i64, kind: ConversationKind, name: Option<&str>, delivered: Mark, head: Mark) -> Standing {
        let member = |user, name: &str| Member { user: UserId(user), name: name.into() };
        let conversation = Conversation {
            id: ConversationId(id),
            kind,
            name: name.map(Into::into),
            created_by: UserId(1),
            created_at_ms: 0,
            pair: (kind == ConversationKind::Direct).then(|| [member(1, "bob"), member(2, "ann")]),
        };
        let cursor = Cursor { delivered, read: Mark::default() };
        Standing { membership: Membership { conversation, role: Role::Member, cursor }, head }
    }

    fn mark(seq: u64, messages: u64, own: u64) -> Mark {
        Mark { seq: Seq(seq), messages, own }
    }

    #[test]
    fn only_conversations_with_unseen_messages_are_summarised_and_own_ones_never_count() {
        let all = [
            standing(6, ConversationKind::Direct, None, mark(1, 1, 0), mark(5, 5, 1)),
            standing(9, ConversationKind::Group, Some("hikers"), mark(0, 0, 0), mark(3, 2, 0)),
            standing(12, ConversationKind::Room, Some("den"), mark(4, 4, 1), mark(6, 6, 3)),
        ];
        let text = String::from_utf8(init_data(&all, UserId(1), "bob").encode()).unwrap();
        let expected = concat!(
            r#"{"type":"INIT_DATA","chatIds":["ann-bob"],"groups":["9","12"],"offlineMessages":["#,
            r#"{"partitionKey":"ann-bob","count":3,"messageType":"ONE_TO_ONE","from":"ann"},"#,
            r#"{"partitionKey":"9","count":2,"messageType":"GROUP","groupName":"hikers"}]}"#
        );
        assert_eq!(text, expected);
    }
}
