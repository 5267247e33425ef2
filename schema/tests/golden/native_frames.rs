//! Replies of the native protocol: exact text, and the same type again when a client reads it.

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::EventBody,
    ids::{ConversationId, EventId, Seq, UserId},
    model::{ConversationKind, Pointer, Role},
    wire::native::*,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    events::{ANN, BOB, EPOCH, bodies, chat, group, message, name, row},
    harness::{NOW_MS, Written, compare, written},
};

/// Writes a reply and reads it as a client does.
fn ok<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(case: &str, result: T) -> Written {
    let text = reply_ok("r-1", &result);
    match ServerFrame::decode(std::str::from_utf8(&text).unwrap()).unwrap() {
        ServerFrame::Reply { id, outcome: Ok(raw) } => {
            assert_eq!(id.as_deref(), Some("r-1"));
            assert_eq!(ServerFrame::result::<T>(&raw).unwrap(), result, "{case}");
        }
        other => panic!("{case}: {other:?}"),
    }
    written(case, Some(text))
}

fn full_info() -> ConversationInfo {
    let last = row(44, EventBody::Message(message("hi")));
    ConversationInfo {
        with: Some(OtherUser {
            id: BOB,
            name: name("bob"),
            display_name: Some("Bob B.".to_owned()),
            online: Some(false),
            last_seen: Some(NOW_MS - 1),
        }),
        oldest_seq: Some(Seq(1)),
        role: Some(Role::Member),
        delivered: Some(Seq(42)),
        read: Some(Seq(40)),
        unread: Some(3),
        members: Some(2),
        last: Some(LoggedEvent::of(ConversationId(8002), EPOCH, &last, None)),
        ..ConversationInfo::of(&chat(), EPOCH, Seq(44))
    }
}

fn room_info() -> ConversationInfo {
    let mut room = group();
    (room.kind, room.name) = (ConversationKind::Room, Some(name("Lobby 1")));
    ConversationInfo { oldest_seq: Some(Seq(1)), listeners: Some(2), ..ConversationInfo::of(&room, EPOCH, Seq(7)) }
}

fn user() -> UserInfo {
    let display_name = Some("Ann".to_owned());
    UserInfo { id: ANN, name: name("ann"), display_name, guest: false, online: Some(true), last_seen: None }
}

fn welcome() -> Welcome {
    let conversation = ConversationId;
    Welcome {
        user: UserInfo { online: None, ..user() },
        session: "0-3-1".to_owned(),
        protocol: VERSION,
        features: vec![],
        server_time: NOW_MS,
        epoch: EPOCH,
        limits: Limits::default(),
        conversations: vec![full_info()],
        next: Some(conversation(8002)),
        resumed: vec![
            Resumed::replayed(conversation(1), EPOCH, Seq(42), Seq(44)),
            Resumed::replayed(conversation(2), EPOCH, Seq(44), Seq(44)),
            Resumed::gap(conversation(3), EPOCH, Seq(4), Seq(4000)),
            Resumed::reset(conversation(4), EPOCH, Seq(7)),
            Resumed::gone(conversation(5)),
        ],
    }
}

#[test]
fn replies_are_written_as_the_reference_says() {
    let conversation = ConversationId(8002);
    let (id, timestamp) = (EventId(7445), NOW_MS);
    let sent = SendResult { conversation, epoch: EPOCH, seq: Seq(45), id, timestamp, duplicate: false };
    let events: Vec<_> = bodies()
        .into_iter()
        .zip(1..)
        .map(|((_, body, target), seq)| LoggedEvent::of(conversation, EPOCH, &row(seq, body), target.as_ref()))
        .collect();
    let head = Seq(events.len() as u64);
    let bob = UserRef { id: BOB, name: name("bob") };
    let guest = Welcome {
        user: UserInfo::guest(UserId(99), name("guest_1")),
        conversations: vec![],
        next: None,
        resumed: vec![],
        ..welcome()
    };
    let listed = RoomInfo {
        id: ConversationId(8000),
        name: name("Lobby 1"),
        listeners: 2,
        messages: 7,
        created_at: NOW_MS - 9,
        last_at: Some(NOW_MS),
    };
    let member = MemberInfo {
        id: BOB,
        name: name("bob"),
        display_name: None,
        role: Role::Admin,
        online: Some(true),
        last_seen: None,
        delivered: Seq(4),
        read: Seq(0),
    };
    compare(
        "native/replies.json",
        &[
            ok("hello", welcome()),
            ok("hello of a guest", guest),
            ok("ping", Pong { server_time: NOW_MS }),
            ok("conversations", Conversations { conversations: vec![full_info()], next: None }),
            ok("resume", ResumeResult { resumed: vec![Resumed::gone(conversation)] }),
            ok("send", sent),
            ok("send again", SendResult { duplicate: true, ..sent }),
            ok("edit", ChangeResult { conversation, epoch: EPOCH, seq: Seq(46), id, timestamp }),
            ok(
                "history",
                HistoryResult { conversation, epoch: EPOCH, events, complete: true, oldest_seq: Seq(1), head },
            ),
            ok(
                "history that retention emptied",
                HistoryResult { conversation, epoch: EPOCH, events: vec![], complete: true, oldest_seq: Seq(12), head },
            ),
            ok("read", PointerResult { conversation, pointer: Pointer::Read, seq: Seq(44), unread: 0 }),
            ok("typing", Empty {}),
            ok("chat.open", Created { conversation: full_info(), created: true }),
            ok("group.join", Joined { conversation: ConversationInfo::of(&group(), EPOCH, Seq(7)), joined: false }),
            ok("group.leave", Left { conversation, left: true }),
            ok(
                "room.listen",
                Listening {
                    conversation: room_info(),
                    listeners: 2,
                    names: vec![name("ann"), name("bob")],
                    resumed: Some(Resumed::replayed(ConversationId(8001), EPOCH, Seq(3), Seq(7))),
                },
            ),
            ok("rooms", Rooms { rooms: vec![listed] }),
            ok("members", Members { members: vec![member], next: Some(BOB) }),
            ok("conversation", OneConversation { conversation: room_info() }),
            ok("users", Users { users: vec![user()] }),
            ok("profile.get", Profile { user: user() }),
            ok(
                "presence.watch",
                Watched { presence: vec![PresenceInfo { user: bob, online: false, last_seen: Some(NOW_MS) }] },
            ),
            ok(
                "stats",
                Stats {
                    server: ServerStats { sockets: 10, users: 7, uptime_ms: 90_000 },
                    user: UserStats { messages: 3, connected_at: NOW_MS },
                },
            ),
        ],
    );
}

#[test]
fn errors_say_whether_and_when_a_retry_can_help() {
    use ErrorCode::*;
    let codes = [
        BadRequest,
        TooLarge,
        Unauthorized,
        Forbidden,
        NotFound,
        AlreadyExists,
        AlreadyMember,
        UnknownCursor,
        BeyondHead,
        MessageIdReused,
        MessageIdExpired,
        MessageIdAhead,
        EditWindowOver,
        Spam,
        RateLimited,
        LimitReached,
        Unavailable,
        Timeout,
        Draining,
        Internal,
        UnsupportedVersion,
    ];
    let mut cases = Vec::new();
    for code in codes {
        let error = ClientError::new(code, "a text for people");
        let text = reply_error(Some("r-1"), &error);
        match ServerFrame::decode(std::str::from_utf8(&text).unwrap()).unwrap() {
            ServerFrame::Reply { outcome: Err(read), .. } => {
                assert_eq!((read.code, read.retryable), (code, code.retryable()));
            }
            other => panic!("{code:?}: {other:?}"),
        }
        cases.push(written(&format!("{code:?}"), Some(text)));
    }
    let full = ClientError::new(TooLarge, "x").field("content").limit(4096).retry_after_ms(1500);
    cases.push(written("all fields", Some(reply_error(Some("r-1"), &full))));
    cases.push(written("no id", Some(reply_error(None, &ClientError::new(BadRequest, "not JSON")))));
    cases.push(written("busy", Some(reply_error(Some("r-1"), &ClientError::unavailable("the store")))));
    compare("native/errors.json", &cases);
}

#[test]
fn clients_take_events_of_newer_servers_without_harm() {
    let unknown = ServerFrame::decode(r#"{"event":"fireworks","conversation":"1","size":3}"#).unwrap();
    assert!(matches!(unknown, ServerFrame::Notice(Notice::Unknown)), "{unknown:?}");
    for bad in ["{}", "[]", r#"{"id":"1"}"#, r#"{"event":5}"#, r#"{"event":"message"}"#, "x"] {
        assert!(ServerFrame::decode(bad).is_err(), "{bad}");
    }
}
