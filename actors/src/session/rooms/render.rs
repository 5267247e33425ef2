//! Answers of conversations as the rooms dialect shows them. Pure.

use std::sync::Arc;

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::{Class, LogEvent},
    limits::conversation::ROOMS_MEMBERS_SHOWN,
    model::Name,
    wire::{
        frame,
        rooms::{
            CreatedRoom, ErrorInfo, JoinedRoom, ListedRoom, ListedUser, ServerFrame, ServerStats, Stats, UserStats,
            error_of,
        },
        time::Iso,
    },
};

use crate::{
    conversation::messages::{Answer, Info},
    session::outbox::Outbox,
};

/// What a rooms session wants to know again when a conversation answers.
#[derive(Debug, Clone)]
pub enum RoomsTag {
    /// `join_room`; `me` is shown among the members however many there are.
    Join { me: Name },
    /// `create_room`: the room exists, its creator joins it.
    Create { me: Name },
    /// The old room is left on the way to another one.
    Switch,
    /// `leave_room` of the room of this name.
    Leave { name: Name },
    /// `send_message`; guests keep the ids of what their socket sent.
    Send { guest: bool },
    /// `edit_message`, `delete_message`.
    Change,
    /// `users` in a room.
    Users,
    /// `stats` in a room.
    Stats(Arc<StatsSoFar>),
}

/// What `stats` says besides the current room.
#[derive(Debug, Clone)]
pub struct StatsSoFar {
    pub server: ServerStats,
    pub user: UserStats,
}

impl RoomsTag {
    /// Says whether the session itself waits for the answer.
    pub fn awaited(&self) -> bool {
        match self {
            Self::Join { .. } | Self::Create { .. } | Self::Switch | Self::Leave { .. } => true,
            Self::Send { guest } => *guest,
            Self::Change | Self::Users | Self::Stats(_) => false,
        }
    }
}

/// Sends what the client sees of an answer.
pub fn render(tag: &RoomsTag, answer: Answer, outbox: &Outbox, now_ms: i64) {
    for frame in frames(tag, answer) {
        let text = frame.encode(now_ms);
        outbox.push(frame::text(&text, outbox.encoding().compressed), &Class::Kept);
    }
}

/// Returns the frames of an answer, in their order. Messages, edits and deletions reach the sender as events of the room.
fn frames(tag: &RoomsTag, answer: Answer) -> Vec<ServerFrame> {
    match (tag, answer) {
        (RoomsTag::Join { me }, Answer::Listening { info, names, recent, .. }) => joined(me, &info, names, &recent),
        (RoomsTag::Create { me }, Answer::Listening { info, names, recent, .. }) => {
            let mut frames = joined(me, &info, names, &recent);
            let room = CreatedRoom { id: info.conversation.id, name: room_name(&info) };
            frames.push(ServerFrame::RoomCreated { room });
            frames
        }
        (RoomsTag::Leave { name }, Answer::Done { .. }) => vec![ServerFrame::RoomLeft { room_name: name.clone() }],
        (RoomsTag::Users, Answer::Listeners { info, listeners }) => {
            let user = |(user_id, username)| ListedUser { username, user_id, current_room: None };
            let users: Vec<_> = listeners.into_iter().map(user).collect();
            let count = users.len();
            vec![ServerFrame::UserList { room: Some(room_name(&info)), users, count }]
        }
        (RoomsTag::Stats(so_far), Answer::Info { info, .. }) => {
            let StatsSoFar { server, user } = (**so_far).clone();
            vec![ServerFrame::stats(Stats { server, user, current_room: Some(listed(&info)) })]
        }
        // The session goes on to the new room whatever became of the old one.
        (RoomsTag::Switch, _) => Vec::new(),
        (tag, Answer::Failed(error)) => vec![ServerFrame::error(failure(tag, &error))],
        (_, _) => Vec::new(),
    }
}

fn joined(me: &Name, info: &Info, mut names: Vec<Name>, recent: &[LogEvent]) -> Vec<ServerFrame> {
    if !names.contains(me) {
        names.truncate(ROOMS_MEMBERS_SHOWN - 1);
        names.push(me.clone());
    }
    names.truncate(ROOMS_MEMBERS_SHOWN);
    let room = JoinedRoom { id: info.conversation.id, name: room_name(info), member_count: info.listeners };
    let mut frames = vec![ServerFrame::RoomJoined { room, members: names }];
    frames.extend(ServerFrame::history(recent));
    frames
}

fn failure(tag: &RoomsTag, error: &ClientError) -> ErrorInfo {
    match (tag, error.code) {
        // The room itself is there: its listener asks.
        (RoomsTag::Change, ErrorCode::NotFound) => ErrorInfo::message_not_found(),
        _ => error_of(error),
    }
}

fn room_name(info: &Info) -> Name {
    info.conversation.name.clone().unwrap_or_default()
}

fn listed(info: &Info) -> ListedRoom {
    ListedRoom {
        name: room_name(info),
        users: info.listeners,
        messages: info.head.messages,
        created: Iso(info.conversation.created_at_ms),
    }
}

#[cfg(test)]
mod tests {
    use chinwag_schema::{
        event::{EventBody, MessageBody, Origin},
        ids::{ConversationId, Epoch, EventId, Seq, UserId},
        model::{Conversation, ConversationKind, Head},
    };

    use super::*;

    fn info() -> Arc<Info> {
        let (id, kind, name) = (ConversationId(40), ConversationKind::Room, Some(Name::from("den")));
        let origin = Origin { conversation: id, kind, name: name.clone(), chat_id: None, epoch: Epoch(1) };
        let conversation = Conversation { id, kind, name, created_by: UserId(1), created_at_ms: 1_000, pair: None };
        Arc::new(Info {
            conversation: Arc::new(conversation),
            origin: Arc::new(origin),
            head: Head { messages: 7, ..Head::default() },
            listeners: 2,
            member_count: 0,
            membership: None,
            unread: None,
        })
    }

    fn message() -> LogEvent {
        let body = MessageBody { client_id: None, content: "hi".into(), edited_at_ms: None, deleted: false };
        LogEvent {
            seq: Seq(1),
            id: EventId(9),
            at_ms: 2_000,
            sender: UserId(1),
            sender_name: "ann".into(),
            messages: 1,
            own: 1,
            body: EventBody::Message(body),
        }
    }

    fn texts(tag: RoomsTag, answer: Answer) -> Vec<String> {
        frames(&tag, answer).iter().map(|frame| String::from_utf8(frame.encode(0)).unwrap()).collect()
    }

    const STAMP: &str = r#""timestamp":"1970-01-01T00:00:00.000Z"}"#;

    fn listening(recent: Vec<LogEvent>) -> Answer {
        Answer::Listening { info: info(), names: vec!["ann".into(), "bob".into()], recent, outcome: None }
    }

    #[test]
    fn joining_shows_the_room_then_its_history() {
        let joined = format!(
            r#"{{"type":"room_joined","room":{{"id":"40","name":"den","memberCount":2}},"members":["ann","bob"],{STAMP}"#
        );
        let history = format!(
            "{}{}{STAMP}",
            r#"{"type":"message_history","messages":[{"id":"9","userId":"1","username":"ann","content":"hi","#,
            r#""timestamp":"1970-01-01T00:00:02.000Z","type":"message","edited":false}],"#
        );
        assert_eq!(texts(RoomsTag::Join { me: "bob".into() }, listening(vec![message()])), [joined.clone(), history]);
        assert_eq!(texts(RoomsTag::Join { me: "bob".into() }, listening(vec![])), [joined]);
    }

    #[test]
    fn the_joiner_is_shown_even_in_a_full_room() {
        let names: Vec<Name> = (0..300).map(|n| format!("u{n}").into()).collect();
        let answer = Answer::Listening { info: info(), names, recent: vec![], outcome: None };
        let frames = frames(&RoomsTag::Join { me: "me".into() }, answer);
        let ServerFrame::RoomJoined { members, .. } = &frames[0] else { panic!("{frames:?}") };
        assert_eq!((members.len(), &*members[199]), (ROOMS_MEMBERS_SHOWN, "me"));
    }

    #[test]
    fn creating_says_joined_then_created() {
        let texts = texts(RoomsTag::Create { me: "ann".into() }, listening(vec![]));
        assert!(texts[0].starts_with(r#"{"type":"room_joined","#));
        assert_eq!(texts[1..], [format!(r#"{{"type":"room_created","room":{{"id":"40","name":"den"}},{STAMP}"#)]);
    }

    #[test]
    fn leaving_names_the_room_and_switching_says_nothing() {
        let left = format!(r#"{{"type":"room_left","roomName":"den",{STAMP}"#);
        assert_eq!(texts(RoomsTag::Leave { name: "den".into() }, Answer::Done { info: info() }), [left]);
        assert_eq!(texts(RoomsTag::Switch, Answer::Done { info: info() }), [""; 0]);
        assert_eq!(texts(RoomsTag::Switch, Answer::Failed(ClientError::internal())), [""; 0]);
    }

    #[test]
    fn users_of_a_room_have_no_current_room() {
        let listeners = vec![(UserId(1), Name::from("ann"))];
        let expected = format!(
            r#"{{"type":"user_list","room":"den","users":[{{"username":"ann","userId":"1"}}],"count":1,{STAMP}"#
        );
        assert_eq!(texts(RoomsTag::Users, Answer::Listeners { info: info(), listeners }), [expected]);
    }

    #[test]
    fn stats_show_the_room_and_repeat_the_data_as_text() {
        let server = ServerStats { active_connections: 3, unique_users: 2, uptime: ServerStats::uptime(120_000) };
        let user = UserStats { total_messages: 5, rooms_joined: 1, connected_since: Iso(0) };
        let frames =
            frames(&RoomsTag::Stats(Arc::new(StatsSoFar { server, user })), Answer::Info { info: info(), last: None });
        let value: serde_json::Value = serde_json::from_slice(&frames[0].encode(0)).unwrap();
        let room = serde_json::json!({"name":"den","users":2,"messages":7,"created":"1970-01-01T00:00:01.000Z"});
        assert_eq!(value["data"]["currentRoom"], room);
        assert_eq!(value["data"]["server"]["uptime"], "2 minutes");
        let text: serde_json::Value = serde_json::from_str(value["message"].as_str().unwrap()).unwrap();
        assert_eq!(text, value["data"]);
    }

    #[test]
    fn answers_to_the_sender_come_as_events_and_only_failures_are_said() {
        let posted = Answer::Posted { info: info(), seq: Seq(1), id: EventId(9), at_ms: 0, duplicate: false };
        assert_eq!(texts(RoomsTag::Send { guest: true }, posted), [""; 0]);
        let missing = Answer::Failed(ClientError::new(ErrorCode::NotFound, "no such event"));
        let expected = format!(
            r#"{{"type":"error","error":{{"code":"INVALID_MESSAGE","message":"Message not found","field":"messageId"}},{STAMP}"#
        );
        assert_eq!(texts(RoomsTag::Change, missing.clone()), [expected]);
        let expected =
            format!(r#"{{"type":"error","error":{{"code":"ROOM_NOT_FOUND","message":"Room not found"}},{STAMP}"#);
        assert_eq!(texts(RoomsTag::Join { me: "x".into() }, missing), [expected]);
    }

    #[test]
    fn stores_that_do_not_answer_are_database_errors() {
        let frames = frames(&RoomsTag::Send { guest: false }, Answer::Failed(ClientError::unavailable("storage")));
        let value: serde_json::Value = serde_json::from_slice(&frames[0].encode(0)).unwrap();
        assert_eq!(value["error"]["code"], "DATABASE_ERROR");
        assert_eq!(value["error"]["retryAfter"], 1);
    }
}
