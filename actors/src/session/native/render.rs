//! Answers of conversations as replies. Pure: what needs a store or presence is said by the session instead ([`super::answers`]).

use chinwag_schema::{
    event::{Class, EventBody, LogEvent},
    limits::socket::OUTBOX_MAX_BYTES,
    model::ConversationKind,
    wire::{
        frame,
        native::{
            ChangeResult, ConversationInfo, Created, Empty, HistoryResult, Joined, Left, Listening, LoggedEvent,
            OneConversation, PointerResult, Resumed, SendResult, reply_error, reply_ok,
        },
    },
};
use serde::Serialize;

use super::tag::{NativeTag, What};
use crate::{
    conversation::messages::{Answer, Info, Outcome},
    ports::message_store::Page,
    session::outbox::Outbox,
};

/// Encoded bytes of one page of history at most: a few pages must fit into what may wait for a socket.
const PAGE_MAX_BYTES: usize = OUTBOX_MAX_BYTES / 4;

/// Sends what the client sees of an answer, if that can be said at once.
pub fn render(tag: &NativeTag, answer: Answer, outbox: &Outbox, _now_ms: i64) {
    if let Some(text) = reply(tag, answer) {
        outbox.push(frame::text(&text, outbox.encoding().compressed), &Class::Kept);
    }
}

/// Returns the reply; `None` when the session says it.
pub(super) fn reply(tag: &NativeTag, answer: Answer) -> Option<Vec<u8>> {
    let NativeTag { id, what } = tag;
    match (what, answer) {
        (What::Resume { .. }, _) => None,
        (_, Answer::Failed(error)) => Some(reply_error(Some(id), &error)),
        (_, Answer::Posted { info, seq, id: event, at_ms, duplicate }) => ok(
            id,
            &SendResult {
                conversation: info.conversation.id,
                epoch: info.origin.epoch,
                seq,
                id: event,
                timestamp: at_ms,
                duplicate,
            },
        ),
        (_, Answer::Changed { info, seq, id: event, at_ms }) => ok(
            id,
            &ChangeResult {
                conversation: info.conversation.id,
                epoch: info.origin.epoch,
                seq,
                id: event,
                timestamp: at_ms,
            },
        ),
        (_, Answer::Moved { info, pointer, seq, unread }) => {
            ok(id, &PointerResult { conversation: info.conversation.id, pointer, seq, unread })
        }
        (What::Create { created, .. }, Answer::Joined { info, .. }) => {
            ok(id, &Created { conversation: info_of(&info), created: *created })
        }
        (_, Answer::Joined { info, new }) => ok(id, &Joined { conversation: info_of(&info), joined: new }),
        (_, Answer::Left { info, was_member }) => {
            ok(id, &Left { conversation: info.conversation.id, left: was_member })
        }
        (_, Answer::Listening { info, names, recent: _, outcome }) => ok(
            id,
            &Listening {
                listeners: info.listeners,
                names,
                resumed: outcome.map(|outcome| resumed(&info, outcome)),
                conversation: info_of(&info),
            },
        ),
        // Who the other one of a chat is and whether it is online, the session adds.
        (_, Answer::Info { info, last }) if info.conversation.kind != ConversationKind::Direct => {
            ok(id, &OneConversation { conversation: with_last(&info, last.as_ref()) })
        }
        (_, Answer::Done { .. }) => ok(id, &Empty {}),
        (What::History { after }, Answer::History { info, page }) => ok(id, &page_of(&info, &page, *after)),
        (_, Answer::Info { .. } | Answer::History { .. } | Answer::Members { .. } | Answer::Resumed { .. }) => None,
        (_, Answer::Listeners { .. }) => None,
    }
}

#[allow(clippy::unnecessary_wraps)]
fn ok<T: Serialize>(id: &str, result: &T) -> Option<Vec<u8>> {
    Some(reply_ok(id, result))
}

/// Shows a conversation to the one who asked, all but `with`.
pub(super) fn info_of(info: &Info) -> ConversationInfo {
    let mut shown = ConversationInfo::of(&info.conversation, info.origin.epoch, info.head.seq);
    shown.oldest_seq = Some(info.head.oldest_seq);
    if let Some((role, cursor)) = info.membership {
        shown.role = Some(role);
        shown.delivered = Some(cursor.delivered.seq);
        shown.read = Some(cursor.read.seq);
        shown.unread = info.unread;
    }
    shown.members = (info.conversation.kind != ConversationKind::Direct).then_some(info.member_count);
    shown.listeners = (info.conversation.kind == ConversationKind::Room).then_some(info.listeners);
    shown
}

/// As [`info_of`], with the newest message.
pub(super) fn with_last(info: &Info, last: Option<&LogEvent>) -> ConversationInfo {
    let mut shown = info_of(info);
    shown.last = last.map(|event| LoggedEvent::from_origin(&info.origin, event, None));
    shown
}

/// Says what became of a position.
pub(super) fn resumed(info: &Info, outcome: Outcome) -> Resumed {
    let (id, epoch, head) = (info.conversation.id, info.origin.epoch, info.head.seq);
    match outcome {
        Outcome::Replayed { from, to } => {
            Resumed { from: Some(from), to: Some(to), ..Resumed::replayed(id, epoch, from, head) }
        }
        Outcome::Gap { from, to } => Resumed { from: Some(from), to: Some(to), ..Resumed::gap(id, epoch, from, head) },
        Outcome::Reset => Resumed::reset(id, epoch, head),
    }
}

/// Shows a page, cut to its bound on the side away from the cursor.
fn page_of(info: &Info, page: &Page, after: bool) -> HistoryResult {
    let mut events: Vec<LoggedEvent> = Vec::with_capacity(page.events.len());
    let (mut bytes, mut cut) = (0, false);
    let mut take = |event: &LogEvent| {
        let event = LoggedEvent::from_origin(&info.origin, event, target_of(page, event));
        bytes += event.encode().len();
        cut = bytes > PAGE_MAX_BYTES && !events.is_empty();
        if !cut {
            events.push(event);
        }
        !cut
    };
    if after {
        let _ = page.events.iter().all(&mut take);
    } else {
        let _ = page.events.iter().rev().all(&mut take);
        events.reverse();
    }
    HistoryResult {
        conversation: info.conversation.id,
        epoch: info.origin.epoch,
        events,
        complete: page.complete && !cut,
        oldest_seq: page.oldest_seq,
        head: info.head.seq,
    }
}

/// Finds the message that an edit points at, as it stands now.
fn target_of<'a>(page: &'a Page, event: &LogEvent) -> Option<&'a LogEvent> {
    let EventBody::Edited { target_seq, .. } = event.body else { return None };
    page.events.iter().chain(&page.targets).find(|target| target.seq == target_seq)
}
