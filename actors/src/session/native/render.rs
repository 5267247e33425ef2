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
        shown.delivered = cursor.map(|cursor| cursor.delivered.seq);
        shown.read = cursor.map(|cursor| cursor.read.seq);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chinwag_schema::{
        error::{ClientError, ErrorCode},
        event::{MessageBody, Origin},
        ids::{ConversationId, Epoch, EventId, Seq, UserId},
        model::{Conversation, Cursor, Head, Mark, Pointer, Role},
    };

    use super::*;

    fn info(kind: ConversationKind, member: bool) -> Arc<Info> {
        let conversation = Conversation {
            id: ConversationId(44),
            kind,
            name: Some("Kitchen".into()),
            created_by: UserId(7),
            created_at_ms: 1000,
            pair: None,
        };
        let origin = Origin {
            conversation: conversation.id,
            kind,
            name: conversation.name.clone(),
            chat_id: None,
            epoch: Epoch(0xAB),
        };
        let cursor = Cursor { delivered: Mark { seq: Seq(5), ..Mark::default() }, read: Mark::default() };
        Arc::new(Info {
            conversation: conversation.into(),
            origin: origin.into(),
            head: Head { seq: Seq(9), messages: 8, oldest_seq: Seq(1), ..Head::default() },
            listeners: 3,
            member_count: 2,
            membership: member.then_some((Role::Admin, Some(cursor))),
            unread: member.then_some(8),
        })
    }

    fn said(what: What, answer: Answer) -> String {
        String::from_utf8(reply(&NativeTag { id: "r".into(), what }, answer).unwrap()).unwrap()
    }

    fn room(member: bool) -> Arc<Info> {
        info(ConversationKind::Room, member)
    }

    fn message(seq: u64, content: &str) -> LogEvent {
        let body = MessageBody { client_id: None, content: content.into(), edited_at_ms: None, deleted: false };
        LogEvent {
            seq: Seq(seq),
            id: EventId(100 + seq as i64),
            at_ms: 2000,
            sender: UserId(7),
            sender_name: "ann".into(),
            messages: seq,
            own: seq,
            body: EventBody::Message(body),
        }
    }

    const SHOWN: &str = r#""id":"44","kind":"room","name":"Kitchen","created_by":"7","created_at":1000,"epoch":"00000000000000ab","head":9,"oldest_seq":1"#;

    #[test]
    fn sends_and_changes_say_where_they_lie() {
        let (info, seq, id, at_ms) = (room(true), Seq(10), EventId(12), 2000);
        let posted = Answer::Posted { info: info.clone(), seq, id, at_ms, duplicate: true };
        let place = r#""conversation":"44","epoch":"00000000000000ab","seq":10,"id":"12","timestamp":2000"#;
        assert_eq!(said(What::Send, posted), format!(r#"{{"id":"r","result":{{{place},"duplicate":true}}}}"#));
        let changed = Answer::Changed { info: info.clone(), seq, id, at_ms };
        assert_eq!(said(What::Change, changed), format!(r#"{{"id":"r","result":{{{place}}}}}"#));
        let moved = Answer::Moved { info, pointer: Pointer::Read, seq, unread: 2 };
        let pointer = r#"{"id":"r","result":{"conversation":"44","pointer":"read","seq":10,"unread":2}}"#;
        assert_eq!(said(What::Move, moved), pointer);
    }

    #[test]
    fn errors_name_their_field_and_bound() {
        let error = ClientError::new(ErrorCode::UnknownCursor, "no").field("after").limit(9);
        let text = r#"{"id":"r","error":{"code":"unknown_cursor","message":"no","retryable":false,"field":"after","limit":9}}"#;
        assert_eq!(said(What::History { after: true }, Answer::Failed(error)), text);
    }

    #[test]
    fn what_is_ones_own_is_shown_to_members_only() {
        let conversation = ConversationId(44);
        let joined = Answer::Joined { info: room(true), new: true };
        let own = r#""role":"admin","delivered":5,"read":0,"unread":8"#;
        let shown = format!(r#"{{{SHOWN},{own},"members":2,"listeners":3}}"#);
        assert_eq!(
            said(What::Join { conversation }, joined.clone()),
            format!(r#"{{"id":"r","result":{{"conversation":{shown},"joined":true}}}}"#)
        );
        assert_eq!(
            said(What::Create { conversation, created: false }, joined),
            format!(r#"{{"id":"r","result":{{"conversation":{shown},"created":false}}}}"#)
        );
        let outcome = Some(Outcome::Replayed { from: Seq(8), to: Seq(9) });
        let names = vec!["gus".into()];
        let listening = Answer::Listening { info: room(false), names, recent: Vec::new(), outcome };
        let resumed =
            r#"{"conversation":"44","outcome":"replayed","epoch":"00000000000000ab","head":9,"from":8,"to":9}"#;
        assert_eq!(
            said(What::Listen { conversation, resumes: true }, listening),
            format!(
                r#"{{"id":"r","result":{{"conversation":{{{SHOWN},"members":2,"listeners":3}},"listeners":3,"names":["gus"],"resumed":{resumed}}}}}"#
            )
        );
    }

    #[test]
    fn outcomes_of_positions_say_what_follows() {
        let info = room(true);
        let gap = resumed(&info, Outcome::Gap { from: Seq(3), to: Seq(8) });
        assert_eq!((gap.from, gap.to, gap.head), (Some(Seq(3)), Some(Seq(8)), Some(Seq(9))));
        assert_eq!(resumed(&info, Outcome::Reset), Resumed::reset(ConversationId(44), Epoch(0xAB), Seq(9)));
        let waits = NativeTag { id: "r".into(), what: What::Resume { conversation: ConversationId(44), round: 1 } };
        assert!(reply(&waits, Answer::Failed(ClientError::internal())).is_none(), "told when all are in");
    }

    #[test]
    fn edits_in_a_page_show_their_message_wherever_it_lies() {
        let edit = |seq, target_seq: u64| LogEvent {
            body: EventBody::Edited { target: EventId(100 + target_seq as i64), target_seq: Seq(target_seq) },
            ..message(seq, "")
        };
        let events = vec![message(5, "five"), edit(6, 5), edit(7, 1), edit(8, 2)];
        let page = Page { events, complete: true, oldest_seq: Seq(1), targets: vec![message(1, "one")] };
        let shown = page_of(&room(true), &page, true);
        let texts: Vec<_> = shown.events.iter().map(|event| event.content.as_deref()).collect();
        assert_eq!(texts, [Some("five"), Some("five"), Some("one"), None]);
    }

    #[test]
    fn long_pages_are_cut_away_from_their_cursor() {
        let events: Vec<_> = (1..=100).map(|seq| message(seq, &"x".repeat(4096))).collect();
        let page = Page { events, complete: true, oldest_seq: Seq(1), targets: Vec::new() };
        let (before, after) = (page_of(&room(true), &page, false), page_of(&room(true), &page, true));
        for shown in [&before, &after] {
            assert!((20..40).contains(&shown.events.len()) && !shown.complete);
            assert!(shown.events.is_sorted_by_key(|event| event.seq));
        }
        assert_eq!((after.events[0].seq, before.events.last().unwrap().seq), (Seq(1), Seq(100)));
        let page = Page { events: vec![message(1, &"x".repeat(200_000))], ..page };
        assert_eq!(page_of(&room(true), &page, true).events.len(), 1, "one is always shown");
    }
}
