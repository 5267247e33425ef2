//! Edits and deletions: of one's own messages, in the log like everything else.

use std::sync::Arc;

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::{EventBody, LogEvent},
    ids::EventId,
};

use super::{
    C, Ready,
    log::{Then, changeable},
    messages::{Answer, Caller, ConversationMessage},
    policy::Policy,
    store_failed,
};
use crate::{
    ports::{StoreResult, message_store::NewBody},
    relay::ReplyTo,
};

/// A change whose target is being looked up.
pub struct Change {
    from: Arc<Caller>,
    target: EventId,
    /// The new text; `None` deletes.
    content: Option<Arc<str>>,
    within_ms: Option<i64>,
    reply: ReplyTo,
}

impl Change {
    /// Refuses the change.
    pub(super) fn refuse(self, error: ClientError) {
        self.reply.fail(error);
    }
}

impl Ready {
    pub(super) fn change<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        target: EventId,
        content: Option<Arc<str>>,
        within_ms: Option<i64>,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if let Err(error) = P::may_post(&from, self.is_member(&from)) {
            return reply.fail(error);
        }
        let change = Box::new(Change { from, target, content, within_ms, reply });
        let (node, id) = (cx.keep.node.clone(), cx.keep.id);
        self.pipe(
            async move { node.messages.call("find", move |store| async move { store.find(id, target).await }).await },
            move |found| ConversationMessage::Found { change, found },
            cx,
        );
    }

    pub(super) fn found<P: Policy>(&mut self, change: Change, found: StoreResult<Option<LogEvent>>, cx: &mut C<'_, P>) {
        let Change { from, target, content, within_ms, reply } = change;
        let no_message = || ClientError::new(ErrorCode::NotFound, "no such message").field("message");
        // Rights may have ended while it was looked up.
        if let Err(error) = P::may_post(&from, self.is_member(&from)) {
            return reply.fail(error);
        }
        let event = match found {
            Ok(Some(event)) => event,
            Ok(None) => return reply.fail(no_message()),
            Err(error) => return reply.fail(store_failed(&error)),
        };
        let EventBody::Message(message) = &event.body else { return reply.fail(no_message()) };
        if event.sender != from.user {
            let text = "only the sender may change a message";
            return reply.fail(ClientError::new(ErrorCode::Forbidden, text).field("message"));
        }
        // A repeat of what was done already changes nothing (all commands are idempotent).
        let repeated = match &content {
            None => message.deleted,
            Some(content) => !message.deleted && message.edited_at_ms.is_some() && message.content == *content,
        };
        if repeated {
            let info = self.info(&from, cx.keep);
            return reply.send(Answer::Changed { info, seq: event.seq, id: target, at_ms: event.at_ms });
        }
        if !changeable(&event) {
            return reply.fail(no_message());
        }
        if within_ms.is_some_and(|window| cx.unix_ms() - event.at_ms > window) {
            return reply
                .fail(ClientError::new(ErrorCode::EditWindowOver, "Messages can be edited for 5 minutes only"));
        }
        let target_seq = event.seq;
        let body = match content {
            Some(content) => NewBody::Edited { target_seq, content },
            None => NewBody::Deleted { target_seq },
        };
        self.enqueue(from, body, Then::Change, reply, cx);
    }
}
