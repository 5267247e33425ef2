//! The rooms dialect: what clients say, and what one socket hears.

use chinwag_schema::{
    error::{ClientError, ErrorCode as Code},
    event::EventBody,
    ids::{ConversationId, EventId},
    wire::{rooms::*, time::Iso},
};

use crate::{
    events::{ANN, BOB, bodies, message, name, row},
    harness::{NOW_MS, Read, Written, compare, debug, json, shown, written},
    malformed,
};

fn read(case: &str, input: String) -> Read {
    let (meaning, answer) = match decode(&input) {
        Ok(frame) => (Some(debug(&frame)), None),
        Err(rejected) => (None, Some(json(&ServerFrame::error(rejected.authenticated()).encode(NOW_MS)))),
    };
    Read { case: case.to_owned(), input: shown(&input), meaning, answer }
}

#[test]
fn frames_of_clients_mean_what_the_dialect_says() {
    let cases = [
        ("auth of a guest", r#"{"type":"auth","username":"ann_B-9"}"#),
        ("auth with a token", r#"{"type":"auth","username":"ann","token":"eyJ.x.y"}"#),
        ("auth with a password", r#"{"type":"auth","username":"ann","password":"hunter2"}"#),
        ("auth with empty and wrong proofs", r#"{"type":"auth","username":"ann","token":"","password":5}"#),
        ("create_room, trimmed", r#"{"type":"create_room","roomName":"  Lobby 1\t"}"#),
        ("join_room", r#"{"type":"join_room","roomName":"Lobby 1"}"#),
        ("leave_room", r#"{"type":"leave_room"}"#),
        (
            "leave_room with more",
            r#"{"timestamp":"2026-11-22T06:00:00.000Z","type":"leave_room","roomName":5,"x":[{}]}"#,
        ),
        ("send_message as typed", r#"{"type":"send_message","content":"  <b>hi</b> & select \ud83d\ude00 "}"#),
        ("typing_start", r#"{"type":"typing_start"}"#),
        ("typing_stop", r#"{"type":"typing_stop"}"#),
        ("command rooms", r#"{"type":"command","command":"rooms"}"#),
        ("command rooms with args", r#"{"type":"command","command":"rooms","args":["5"]}"#),
        ("command rooms with a number", r#"{"type":"command","command":"rooms","args":[7,"x"]}"#),
        ("command rooms as one string", r#"{"type":"command","command":"/rooms 5"}"#),
        ("command rooms with a slash", r#"{"type":"command","command":"/rooms","args":["9"]}"#),
        ("command rooms with what is no number", r#"{"type":"command","command":"rooms","args":["many"]}"#),
        ("command rooms with args of another type", r#"{"type":"command","command":"rooms","args":"5"}"#),
        ("command rooms with 0", r#"{"type":"command","command":"rooms","args":["0"]}"#),
        ("command rooms with too many", r#"{"type":"command","command":"rooms","args":["100000"]}"#),
        ("command users", r#"{"type":"command","command":" /Users "}"#),
        ("command help", r#"{"type":"command","command":"help","args":[]}"#),
        ("command stats", r#"{"type":"command","command":"stats"}"#),
        ("command me", r#"{"type":"command","command":"me"}"#),
        ("command clear", r#"{"type":"command","command":"clear"}"#),
        ("edit_message", r#"{"type":"edit_message","messageId":"9007199254740993","content":"hi!"}"#),
        ("delete_message", r#"{"type":"delete_message","messageId":"7401"}"#),
        ("delete_message with a number", r#"{"type":"delete_message","messageId":7401}"#),
    ];
    let mut cases: Vec<_> = cases.into_iter().map(|(case, text)| read(case, text.to_owned())).collect();
    cases.push(read("the longest text", format!(r#"{{"type":"send_message","content":" {} "}}"#, "é".repeat(4096))));
    for case in &cases {
        assert!(case.meaning.is_some(), "{}: {:?}", case.case, case.answer);
    }
    compare("rooms/client.json", &cases);
}

#[test]
fn bad_frames_of_clients_are_answered_with_the_texts_that_clients_show() {
    let cases = [
        ("auth without a name", r#"{"type":"auth"}"#),
        ("auth with a blank name", r#"{"type":"auth","username":"  "}"#),
        ("auth with a number", r#"{"type":"auth","username":12}"#),
        ("auth with a short name", r#"{"type":"auth","username":"a"}"#),
        ("auth with a long name", r#"{"type":"auth","username":"aaaaaaaaaabbbbbbbbbbccccccccccd"}"#),
        ("auth with other characters", r#"{"type":"auth","username":"zo\u00eb"}"#),
        ("create_room without a name", r#"{"type":"create_room"}"#),
        ("create_room with a blank name", r#"{"type":"create_room","roomName":"  "}"#),
        ("create_room with a short name", r#"{"type":"create_room","roomName":"ab"}"#),
        ("create_room with other characters", r#"{"type":"create_room","roomName":"<b>room</b>"}"#),
        ("join_room without a name", r#"{"type":"join_room","roomName":null}"#),
        ("send_message without content", r#"{"type":"send_message"}"#),
        ("send_message with blanks", r#"{"type":"send_message","content":" \n "}"#),
        ("send_message with a list", r#"{"type":"send_message","content":["hi"]}"#),
        ("command without a name", r#"{"type":"command"}"#),
        ("command with a slash alone", r#"{"type":"command","command":" / "}"#),
        ("command unknown", r#"{"type":"command","command":"/Dance now"}"#),
        ("edit_message without an id", r#"{"type":"edit_message","content":"hi"}"#),
        ("edit_message of what is no id", r#"{"type":"edit_message","messageId":"m-1","content":"hi"}"#),
        ("edit_message without content", r#"{"type":"edit_message","messageId":"7401"}"#),
        ("delete_message without an id", r#"{"type":"delete_message","messageId":{}}"#),
        ("no type", r#"{"content":"hi"}"#),
    ];
    let mut cases: Vec<_> = cases.into_iter().map(|(case, text)| read(case, text.to_owned())).collect();
    let too_long = format!(r#"{{"type":"send_message","content":"{}"}}"#, "é".repeat(4097));
    cases.push(read("send_message of 4,097 characters", too_long));
    cases.push(read("command unknown and long", format!(r#"{{"type":"command","command":"{}"}}"#, "d".repeat(5000))));
    for (case, kind) in malformed::types() {
        cases.push(read(case, format!(r#"{{"type":{kind}}}"#)));
    }
    cases.extend(malformed::texts(r#""type":"send_message""#).into_iter().map(|(case, text)| read(case, text)));
    for case in &cases {
        let answer = case.answer.as_ref().unwrap_or_else(|| panic!("{} was taken: {:?}", case.case, case.meaning));
        assert!(answer.get().ends_with(r#","timestamp":"2026-11-22T06:00:00.000Z"}"#), "{}", case.case);
    }
    compare("rooms/bad_client.json", &cases);
}

#[test]
fn before_auth_every_known_type_is_unauthorized_and_the_rest_invalid() {
    let code = |text: &str| decode(text).unwrap_err().unauthenticated().code;
    assert_eq!(code(r#"{"type":"send_message"}"#), ErrorCode::Unauthorized);
    assert_eq!(code(r#"{"type":"command","command":"dance"}"#), ErrorCode::Unauthorized);
    assert_eq!(code(r#"{"type":"auth"}"#), ErrorCode::InvalidMessage);
    assert_eq!(code(r#"{"type":"dance"}"#), ErrorCode::InvalidMessage);
    assert_eq!(code("dance"), ErrorCode::InvalidMessage);
}

/// Writes a frame and reads it as a client could.
fn frame(case: &str, frame: ServerFrame) -> Written {
    let text = frame.encode(NOW_MS);
    let again: ServerFrame = serde_json::from_slice(&text).unwrap();
    assert_eq!(again, frame, "{case}");
    written(case, Some(text))
}

#[test]
fn frames_for_one_socket_are_written_to_the_letter() {
    let ann = UserInfo { user_id: ANN, username: name("ann") };
    let room = ListedRoom { name: name("Lobby 1"), users: 2, messages: 7, created: Iso(NOW_MS - 9000) };
    let history: Vec<_> = bodies().into_iter().zip(1..).map(|((_, body, _), seq)| row(seq, body)).collect();
    let live = row(5, EventBody::Message(message("hi")));
    let listed = |username: &str, current_room| ListedUser { username: name(username), user_id: ANN, current_room };
    let stats = |current_room| Stats {
        server: ServerStats { active_connections: 10, unique_users: 7, uptime: ServerStats::uptime(3_659_999) },
        user: UserStats { total_messages: 3, rooms_joined: 1, connected_since: Iso(NOW_MS - 1) },
        current_room,
    };
    let me = |current_room: &str| Me {
        user_id: BOB,
        username: name("bob"),
        current_room: current_room.to_owned(),
        connected_since: Iso(NOW_MS - 1),
        connection_id: "0-3-1".to_owned(),
    };
    let room_id = ConversationId(9_007_199_254_740_993);
    let joined = JoinedRoom { id: room_id, name: name("Lobby 1"), member_count: 2 };
    compare(
        "rooms/server.json",
        &[
            frame("welcome", ServerFrame::system("Welcome to Chinwag")),
            frame("auth_success", ServerFrame::AuthSuccess { user: ann }),
            frame("auth_error", ServerFrame::auth_error()),
            frame("room_joined", ServerFrame::RoomJoined { room: joined, members: vec![name("ann"), name("bob")] }),
            frame("message_history", ServerFrame::history(&history).unwrap()),
            frame(
                "room_created",
                ServerFrame::RoomCreated { room: CreatedRoom { id: room_id, name: name("Lobby 1") } },
            ),
            frame("room_left", ServerFrame::RoomLeft { room_name: name("Lobby 1") }),
            frame("message", ServerFrame::Message { message: MessageInfo::live(room_id, &live).unwrap() }),
            frame("message_deleted", ServerFrame::MessageDeleted { message_id: EventId(7401), room_id }),
            frame("typing_update", ServerFrame::TypingUpdate { typing_users: vec![] }),
            frame("room_list", ServerFrame::RoomList { rooms: vec![room.clone()], count: 1 }),
            frame("room_list, empty", ServerFrame::RoomList { rooms: vec![], count: 0 }),
            frame(
                "user_list in a room",
                ServerFrame::UserList { room: Some(name("Lobby 1")), users: vec![listed("ann", None)], count: 1 },
            ),
            frame(
                "user_list outside",
                ServerFrame::UserList {
                    room: None,
                    users: vec![listed("ann", Some(Some(name("Lobby 1")))), listed("bob", Some(None))],
                    count: 2,
                },
            ),
            frame("stats in a room", ServerFrame::stats(stats(Some(room)))),
            frame("stats outside", ServerFrame::stats(stats(None))),
            frame("me in a room", ServerFrame::me(me("Lobby 1"))),
            frame("me outside", ServerFrame::me(me("None"))),
            frame("help", ServerFrame::help()),
            frame("notification", ServerFrame::Notification { message: "Back in five minutes".to_owned() }),
            frame("clear", ServerFrame::ClearScreen),
            frame("error", ServerFrame::error(ErrorInfo::room_not_found())),
            frame(
                "error with all",
                ServerFrame::error(ErrorInfo {
                    retry_after: Some(60),
                    ..ErrorInfo::new(ErrorCode::InternalError, "Internal error").field("x").correlated("c-1", NOW_MS)
                }),
            ),
        ],
    );
    assert_eq!(ServerFrame::history(&[row(1, EventBody::Joined)]), None);
}

#[test]
fn errors_of_the_engine_get_the_dialects_codes_and_texts() {
    use Code::*;
    let engine = |code| ClientError::new(code, "a text of the engine");
    let mut cases = Vec::new();
    for code in [
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
    ] {
        cases.push(frame(&format!("{code:?}"), ServerFrame::error(error_of(&engine(code)))));
    }
    let more = [
        ("a message that doesn't exist", error_of(&engine(NotFound).field("message"))),
        ("a username that is taken", error_of(&engine(AlreadyExists).field("username"))),
        ("rate, rounded up", error_of(&engine(RateLimited).retry_after_ms(59_001))),
        ("busy", error_of(&ClientError::unavailable("the store"))),
        ("a bad name", error_of(&engine(BadRequest).field("name"))),
        ("unauthorized", ErrorInfo::unauthorized()),
        ("room exists", ErrorInfo::room_exists()),
        ("outside a room", ErrorInfo::must_join()),
        ("leaving nothing", ErrorInfo::not_in_room()),
        ("rate", ErrorInfo::rate_limited(60_000)),
    ];
    cases.extend(more.into_iter().map(|(case, error)| frame(case, ServerFrame::error(error))));
    compare("rooms/errors.json", &cases);
}

#[test]
fn secrets_are_not_in_the_debug_text() {
    let frame = decode(r#"{"type":"auth","username":"ann","token":"hunter2","password":"hunter3"}"#).unwrap();
    assert!(!format!("{frame:?}").contains("hunter"));
}
