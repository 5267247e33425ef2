//! Joining and leaving. Two stores are involved, so each step is noted first: a row with the intent, then the event, then the
//! settled row; an owner that wakes up finishes what it finds half done.

use std::{
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::Event,
    ids::{Seq, UserId},
    model::{self, Cursor, Mark, MemberState, Role},
    wire::{Dialect, encoded_event::EncodedEvent},
};

use rustc_hash::FxHashMap;

use super::{
    C, Member, Ready,
    log::Then,
    messages::{Answer, Caller, ConversationMessage},
    policy::{Policy, unknown},
    store_failed,
};
use crate::{
    directory::DirectoryMessage,
    ports::{
        StoreError, StoreResult,
        account_store::{AccountStore, MemberRow},
        message_store::NewBody,
    },
    relay::{RelayMessage, ReplyTo},
};

/// Changes of one user that may wait for the one before them; each is a timer and a message now and then.
const CHANGES_WAITING_MAX: usize = 8;
/// How long a change waits for the one before it, before it looks again.
const CHANGE_AGAIN: Duration = Duration::from_millis(20);
/// Entries at which changes that ended are forgotten.
const CHANGING_SWEPT_AT: usize = 64;

/// A membership that is changing.
pub struct MemberChange {
    from: Arc<Caller>,
    role: Role,
    joining: bool,
    reply: ReplyTo,
    /// Lives as long as the change is under way; see [`Changing`].
    under_way: Arc<()>,
}

/// Users whose membership is changing. Another change of the same user waits, so that the rows and events of two never mix.
#[derive(Default)]
pub(super) struct Changing(FxHashMap<UserId, Turn>);

#[derive(Default)]
struct Turn {
    under_way: Weak<()>,
    /// Held by each change that waits.
    waiting: Rc<()>,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.under_way.strong_count() == 0 && Rc::strong_count(&self.waiting) == 1
    }
}

impl Changing {
    fn begin(&mut self, user: UserId) -> Arc<()> {
        if self.0.len() >= CHANGING_SWEPT_AT {
            self.0.retain(|_, turn| !turn.is_over());
        }
        let under_way = Arc::new(());
        self.0.entry(user).or_default().under_way = Arc::downgrade(&under_way);
        under_way
    }

    fn is_under_way(&self, user: UserId) -> bool {
        self.0.get(&user).is_some_and(|turn| turn.under_way.strong_count() > 0)
    }

    /// Lets one more change of a user wait for as long as what is returned is kept; none when [`CHANGES_WAITING_MAX`] do already.
    fn wait(&self, user: UserId) -> Option<Rc<()>> {
        let waiting = &self.0.get(&user)?.waiting;
        (Rc::strong_count(waiting) <= CHANGES_WAITING_MAX).then(|| waiting.clone())
    }
}

impl MemberChange {
    /// Says whether it ends a membership.
    pub(super) fn is_departure(&self) -> bool {
        !self.joining
    }

    /// Refuses the change.
    pub(super) fn refuse(self, error: ClientError) {
        self.reply.fail(error);
    }

    fn row(&self, state: MemberState) -> MemberRow {
        let member = model::Member { user: self.from.user, name: self.from.name.clone() };
        MemberRow { member, role: self.role, state }
    }
}

impl Ready {
    pub(super) fn join<P: Policy>(&mut self, from: Arc<Caller>, role: Role, reply: ReplyTo, cx: &mut C<'_, P>) {
        if let Err(error) = P::may_join(&from) {
            return reply.fail(error);
        }
        if self.changing.is_under_way(from.user) {
            let Some(waits) = self.changing.wait(from.user) else {
                return reply.fail(ClientError::unavailable("the membership"));
            };
            let again = move |()| {
                drop(waits);
                ConversationMessage::Join { from, role, reply }
            };
            return self.pipe(tokio::time::sleep(CHANGE_AGAIN), again, cx);
        }
        if self.is_member(&from) {
            if !self.knows_pointers(from.user) {
                // The answer shows them.
                return self.with_membership::<P>(ConversationMessage::Join { from, role, reply }, cx);
            }
            let info = self.info(&from, cx.keep);
            return reply.send(Answer::Joined { info, new: false });
        }
        let under_way = self.changing.begin(from.user);
        self.store_intent(MemberChange { from, role, joining: true, reply, under_way }, MemberState::Joining, cx);
    }

    pub(super) fn leave<P: Policy>(&mut self, from: Arc<Caller>, reply: ReplyTo, cx: &mut C<'_, P>) {
        if !P::JOINABLE {
            let member = self.is_member(&from);
            let error = ClientError::new(ErrorCode::Forbidden, "a one-to-one chat can't be left");
            return reply.fail(if member { error } else { unknown() });
        }
        if self.changing.is_under_way(from.user) {
            let Some(waits) = self.changing.wait(from.user) else {
                return reply.fail(ClientError::unavailable("the membership"));
            };
            let again = move |()| {
                drop(waits);
                ConversationMessage::Leave { from, reply }
            };
            return self.pipe(tokio::time::sleep(CHANGE_AGAIN), again, cx);
        }
        let Some(member) = self.members.get(&from.user).filter(|_| !from.guest) else {
            let info = self.info(&from, cx.keep);
            return reply.send(Answer::Left { info, was_member: false });
        };
        let (role, under_way) = (member.role, self.changing.begin(from.user));
        self.store_intent(MemberChange { from, role, joining: false, reply, under_way }, MemberState::Leaving, cx);
    }

    /// Finishes the memberships that were found half changed when the conversation woke up.
    pub(super) fn settle_members<P: Policy>(&mut self, cx: &mut C<'_, P>) {
        for row in std::mem::take(&mut self.log.unsettled) {
            let from = Arc::new(Caller {
                slot: chinwag_schema::ids::Slot { node: cx.keep.node.id, worker: 0, generation: 0, index: u32::MAX },
                user: row.member.user,
                name: row.member.name.clone(),
                dialect: Dialect::Rooms,
                guest: false,
            });
            let joining = row.state == MemberState::Joining;
            let under_way = self.changing.begin(from.user);
            let change = MemberChange { from, role: row.role, joining, reply: ReplyTo::nobody(), under_way };
            self.append_member_event(change, cx);
        }
    }

    fn store_intent<P: Policy>(&mut self, change: MemberChange, state: MemberState, cx: &mut C<'_, P>) {
        let (node, id, row) = (cx.keep.node.clone(), cx.keep.id, change.row(state));
        let change = Box::new(change);
        self.pipe(
            async move {
                node.accounts.call("put_member", move |store| async move { store.put_member(id, &row).await }).await
            },
            move |stored| ConversationMessage::MemberStored { change, stored },
            cx,
        );
    }

    pub(super) fn member_stored<P: Policy>(
        &mut self,
        change: MemberChange,
        stored: StoreResult<bool>,
        cx: &mut C<'_, P>,
    ) {
        if let Err(error) = stored {
            let error = match &error {
                StoreError::LimitReached(limit) => {
                    let text = "too many members, or too many conversations of this user";
                    ClientError::new(ErrorCode::LimitReached, text).limit(*limit)
                }
                other => store_failed(other),
            };
            return change.reply.fail(error);
        }
        self.append_member_event(change, cx);
    }

    fn append_member_event<P: Policy>(&mut self, mut change: MemberChange, cx: &mut C<'_, P>) {
        let body = if change.joining { NewBody::Joined } else { NewBody::Left };
        let reply = std::mem::replace(&mut change.reply, ReplyTo::nobody());
        let from = change.from.clone();
        self.enqueue(from, body, Then::Member(Box::new(change)), reply, cx);
    }

    /// The event is durable: now the change holds.
    pub(super) fn member_appended<P: Policy>(
        &mut self,
        mut change: MemberChange,
        seq: Seq,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if !change.joining {
            self.settle_left(change.from.user, change.under_way, cx);
            let info = self.info(&change.from, cx.keep);
            return reply.send(Answer::Left { info, was_member: true });
        }
        change.reply = reply;
        let (node, id, row) = (cx.keep.node.clone(), cx.keep.id, change.row(MemberState::Settled));
        let user = change.from.user;
        let change = Box::new(change);
        self.pipe(
            async move {
                let (messages, own) = node
                    .messages
                    .call("totals_at", move |store| async move { store.totals_at(id, user, seq).await })
                    .await?;
                // A member that joins has seen all that was before: its pointers start here, with nothing unread.
                let mark = Mark { seq, messages, own };
                let cursor = Cursor { delivered: mark, read: mark };
                let settle = move |store: Arc<dyn AccountStore>| async move {
                    store.put_member(id, &row).await?;
                    store.put_cursors(&[(id, user, cursor)]).await
                };
                node.accounts.call("settle_member", settle).await?;
                Ok(cursor)
            },
            move |settled| ConversationMessage::MemberSettled { change, settled },
            cx,
        );
    }

    pub(super) fn member_settled<P: Policy>(
        &mut self,
        change: MemberChange,
        settled: StoreResult<Cursor>,
        cx: &mut C<'_, P>,
    ) {
        let cursor = match settled {
            Ok(cursor) => cursor,
            // The row still says 'joining': the next try, or the next owner, finishes it.
            Err(error) => return change.reply.fail(store_failed(&error)),
        };
        let user = change.from.user;
        // The total at the cursor is the one at the head if nothing came since.
        let own = (cursor.read.seq == self.head.seq).then_some(cursor.read.own);
        let member = Member { role: change.role, cursor: Some(cursor), own };
        self.members.insert(user, member);
        change.reply.send(Answer::Joined { info: self.info(&change.from, cx.keep), new: true });
        let interest = DirectoryMessage::AddInterest { conversation: cx.keep.id, user };
        // Past the bound: one per join.
        let _ = cx.keep.node.directory.tell_always(interest);
    }

    fn settle_left<P: Policy>(&mut self, user: UserId, under_way: Arc<()>, cx: &mut C<'_, P>) {
        self.members.remove(&user);
        self.refuse_waiting_of::<P>(user);
        let removed = Arc::new(EncodedEvent::new(Event::Removed { conversation: cx.keep.id }, cx.unix_ms()));
        let mut slots = cx.keep.listeners.of_user(user);
        slots.extend(cx.keep.listeners.present().filter(|(_, owner, _)| *owner == user).map(|(slot, ..)| slot));
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            let was_present = cx.keep.listeners.is_present(slot);
            cx.keep.listeners.remove_present(slot);
            // A socket that also joined as a listener of a public room goes on listening.
            if cx.keep.listeners.get(slot).is_none_or(|listener| !listener.explicit) {
                self.detach(slot, None, cx);
            } else if !was_present {
                continue;
            }
            cx.keep.to_socket(slot, RelayMessage::Send { slots: vec![slot], event: removed.clone() });
        }
        let forget = DirectoryMessage::DropInterest { conversation: cx.keep.id, users: vec![user] };
        // Past the bound: one per leave.
        let _ = cx.keep.node.directory.tell_always(forget);
        let (node, id, work) = (cx.keep.node.clone(), cx.keep.id, self.work.begin());
        actix_rt::spawn(async move {
            let removed = node
                .accounts
                .call("remove_member", move |store| async move { store.remove_member(id, user).await })
                .await;
            if let Err(error) = removed {
                tracing::warn!(conversation = %id, %error, "a membership is not removed yet");
            }
            // Not before: the row of a new membership would go with the old one.
            drop((under_way, work));
        });
    }

    pub(super) fn read_members<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        after: UserId,
        limit: usize,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if let Err(error) = P::may_read(&from, self.is_member(&from)) {
            return reply.fail(error);
        }
        let (node, id) = (cx.keep.node.clone(), cx.keep.id);
        self.pipe(
            async move {
                let rows = node
                    .accounts
                    .call("members", move |store| async move { store.members(id, after, limit + 1).await })
                    .await?;
                let mut members = Vec::with_capacity(rows.len());
                for row in rows {
                    let cursor = node.accounts.cursor(id, row.member.user).await?;
                    members.push((row, cursor));
                }
                Ok(members)
            },
            move |rows| ConversationMessage::MembersRead { rows, limit, from, reply },
            cx,
        );
    }

    pub(super) fn members_read<P: Policy>(
        &mut self,
        rows: StoreResult<Vec<(MemberRow, Cursor)>>,
        limit: usize,
        from: &Arc<Caller>,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        match rows {
            Ok(mut members) => {
                // Rights may have ended while the rows were read.
                if let Err(error) = P::may_read(from, self.is_member(from)) {
                    return reply.fail(error);
                }
                let next = (members.len() > limit).then(|| members[limit - 1].0.member.user);
                members.truncate(limit);
                reply.send(Answer::Members { info: self.info(from, cx.keep), members, next });
            }
            Err(error) => reply.fail(store_failed(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_changes_of_a_user_wait_and_those_that_ended_are_forgotten() {
        let mut changing = Changing::default();
        let first = changing.begin(UserId(1));
        let mut waiting: Vec<_> = (0..CHANGES_WAITING_MAX).map(|_| changing.wait(UserId(1)).unwrap()).collect();
        assert!(changing.wait(UserId(1)).is_none(), "one more is refused");
        waiting.pop();
        assert!(changing.wait(UserId(1)).is_some(), "until one had its turn");
        drop(first);
        assert!(!changing.is_under_way(UserId(1)));
        let _next = changing.begin(UserId(1));
        assert!(changing.is_under_way(UserId(1)) && changing.wait(UserId(2)).is_none());
        for user in 2..=CHANGING_SWEPT_AT as i64 + 10 {
            changing.begin(UserId(user));
        }
        assert!(changing.0.len() <= CHANGING_SWEPT_AT && changing.0.contains_key(&UserId(1)));
    }
}
