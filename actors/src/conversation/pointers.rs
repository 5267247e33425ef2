//! Delivered and read pointers: cumulative, per user across devices, with the totals that make unread counts a subtraction.

use std::sync::Arc;

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::Event,
    ids::{Seq, UserId},
    model::{Cursor, Mark, Pointer},
    wire::encoded_event::EncodedEvent,
};

use super::{
    C, Ready,
    messages::{Answer, Caller, ConversationMessage},
    policy::{Policy, unknown},
    store_failed,
};
use crate::{
    ports::StoreResult,
    relay::{RelayMessage, ReplyTo},
};

/// Listeners beyond which a pointer is told to its owner's own devices only: receipts cost one delivery per listener.
const POINTERS_TOLD_MAX_LISTENERS: usize = 100;

/// A move whose totals are being read.
pub struct PointerMove {
    from: Arc<Caller>,
    pointer: Pointer,
    seq: Seq,
    reply: ReplyTo,
}

impl Ready {
    /// Handles a message that needs the caller's cursor and own total, reading them first if they aren't known.
    pub(super) fn with_membership<P: Policy>(&mut self, message: ConversationMessage, cx: &mut C<'_, P>) {
        let from = match &message {
            ConversationMessage::Move { from, .. }
            | ConversationMessage::Info { from, .. }
            | ConversationMessage::Join { from, .. } => from.clone(),
            other => unreachable!("not a message about a membership: {}", crate::runtime::MessageKind::kind(other)),
        };
        if !self.is_member(&from) || self.knows_pointers(from.user) {
            return self.about_membership::<P>(message, cx);
        }
        let (node, id, user, head) = (cx.keep.node.clone(), cx.keep.id, from.user, self.head.seq);
        let message = Box::new(message);
        self.pipe(
            async move {
                let cursor = node.accounts.cursor(id, user).await?;
                // Up to the head known here: the store may hold a message that this actor hasn't heard of yet.
                let (_, own) = node
                    .messages
                    .call("totals_at", move |store| async move { store.totals_at(id, user, head).await })
                    .await?;
                Ok((cursor, own))
            },
            move |loaded| ConversationMessage::Recall { user, loaded, message },
            cx,
        );
    }

    /// Says whether a member's cursor and own total were read.
    pub(super) fn knows_pointers(&self, user: UserId) -> bool {
        self.members.get(&user).is_some_and(|member| member.cursor.is_some() && member.own.is_some())
    }

    pub(super) fn recall<P: Policy>(
        &mut self,
        user: UserId,
        loaded: StoreResult<(Cursor, u64)>,
        message: ConversationMessage,
        cx: &mut C<'_, P>,
    ) {
        match loaded {
            Ok((cursor, own)) => {
                if let Some(member) = self.members.get_mut(&user) {
                    // What this actor learnt meanwhile (a message appended, a pointer moved) is newer.
                    member.cursor.get_or_insert(cursor);
                    member.own.get_or_insert(own);
                }
                self.about_membership::<P>(message, cx);
            }
            Err(error) => message.refuse(store_failed(&error)),
        }
    }

    fn about_membership<P: Policy>(&mut self, message: ConversationMessage, cx: &mut C<'_, P>) {
        match message {
            ConversationMessage::Info { from, reply } => match P::may_read(&from, self.is_member(&from)) {
                Ok(()) => {
                    let last = self.recent.last_message();
                    reply.send(Answer::Info { info: self.info(&from, cx.keep), last });
                }
                Err(error) => reply.fail(error),
            },
            ConversationMessage::Move { from, pointer, seq, clamp, reply } => {
                self.move_pointer::<P>(from, pointer, seq, clamp, reply, cx);
            }
            ConversationMessage::Join { from, role, reply } => self.join::<P>(from, role, reply, cx),
            _ => unreachable!("checked by the caller"),
        }
    }

    fn move_pointer<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        pointer: Pointer,
        seq: Seq,
        clamp: bool,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if !self.is_member(&from) {
            let error = P::may_read(&from, false)
                .err()
                .unwrap_or_else(|| ClientError::new(ErrorCode::Forbidden, "only members have pointers; join first"));
            return reply.fail(error);
        }
        let head = self.head.seq;
        if seq > self.head_possible() && !clamp {
            let error = ClientError::new(ErrorCode::BeyondHead, "the position lies beyond the newest event");
            return reply.fail(error.field("seq").limit(head.0));
        }
        let seq = seq.min(head);
        let Some(member) = self.members.get(&from.user) else { return reply.fail(unknown()) };
        let cursor = member.cursor.unwrap_or_default();
        let stands = match pointer {
            Pointer::Delivered => cursor.delivered.seq,
            Pointer::Read => cursor.read.seq,
        };
        let moved = PointerMove { from, pointer, seq, reply };
        if seq <= stands {
            return self.answer_move(moved, stands, cx);
        }
        if let (true, Some(own)) = (seq == head, member.own) {
            let totals = (self.head.messages, own);
            return self.totals(moved, Ok(totals), cx);
        }
        let (node, id, user) = (cx.keep.node.clone(), cx.keep.id, moved.from.user);
        let moved = Box::new(moved);
        self.pipe(
            async move {
                node.messages.call("totals_at", move |store| async move { store.totals_at(id, user, seq).await }).await
            },
            move |totals| ConversationMessage::Totals { moved, totals },
            cx,
        );
    }

    pub(super) fn totals<P: Policy>(&mut self, moved: PointerMove, totals: StoreResult<(u64, u64)>, cx: &mut C<'_, P>) {
        let (messages, own) = match totals {
            Ok(totals) => totals,
            Err(error) => return moved.reply.fail(store_failed(&error)),
        };
        let (user, seq) = (moved.from.user, moved.seq);
        let mark = Mark { seq, messages, own };
        // Removed meanwhile: no pointer any more.
        let Some(member) = self.members.get_mut(&user) else { return moved.reply.fail(unknown()) };
        let cursor = member.cursor.get_or_insert_default();
        let mut told = Vec::new();
        if moved.pointer == Pointer::Read && mark.seq > cursor.read.seq {
            cursor.read = mark;
            told.push(Pointer::Read);
        }
        // What was read was delivered.
        if mark.seq > cursor.delivered.seq {
            cursor.delivered = mark;
            told.push(Pointer::Delivered);
        }
        let cursor = *cursor;
        if !told.is_empty()
            && let Err(error) = cx.keep.node.accounts.move_cursor(cx.keep.id, user, cursor)
        {
            return moved.reply.fail(store_failed(&error));
        }
        for pointer in told {
            if pointer == moved.pointer {
                self.tell_pointer(&moved.from, pointer, seq, cx);
            }
        }
        // Another device may have moved it further meanwhile.
        let stands = match moved.pointer {
            Pointer::Delivered => cursor.delivered.seq,
            Pointer::Read => cursor.read.seq,
        };
        self.answer_move(moved, stands, cx);
    }

    fn answer_move<P: Policy>(&self, moved: PointerMove, stands: Seq, cx: &mut C<'_, P>) {
        let info = self.info(&moved.from, cx.keep);
        let unread = info.unread.unwrap_or(0);
        moved.reply.send(Answer::Moved { info, pointer: moved.pointer, seq: stands, unread });
    }

    /// Tells the others, or in large conversations the user's own devices.
    fn tell_pointer<P: Policy>(&self, from: &Caller, pointer: Pointer, seq: Seq, cx: &mut C<'_, P>) {
        let (user, name) = (from.user, from.name.clone());
        let event = Event::Pointer { origin: self.origin.clone(), user, name, pointer, seq };
        let now_ms = cx.unix_ms();
        if cx.keep.listeners.socket_count() <= POINTERS_TOLD_MAX_LISTENERS {
            return self.deliver_ephemeral(event, Some(from.slot), now_ms, cx.keep);
        }
        let event = Arc::new(EncodedEvent::new(event, now_ms));
        for slot in cx.keep.listeners.of_user(user).into_iter().filter(|slot| *slot != from.slot) {
            cx.keep.to_socket(slot, RelayMessage::Send { slots: vec![slot], event: event.clone() });
        }
    }
}
