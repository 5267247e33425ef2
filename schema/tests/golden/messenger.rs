//! The messenger dialect: what clients say, and what one socket hears.

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::{ConversationId, UserId},
    wire::{messenger::*, time::Iso},
};

use crate::{
    events::{ANN, BOB, bodies, chat, group, name, row},
    harness::{NOW_MS, Read, Written, compare, debug, json, shown, written},
    malformed,
};

fn read(case: &str, input: String) -> Read {
    let (meaning, answer) = match decode(&input) {
        Ok(frame) => (Some(debug(&frame)), None),
        Err(error) => (None, Some(json(&error.encode()))),
    };
    Read { case: case.to_owned(), input: shown(&input), meaning, answer }
}

#[test]
fn frames_of_clients_mean_what_the_dialect_says() {
    let cases = [
        ("INIT_DATA", r#"{"type":"INIT_DATA"}"#),
        ("INIT_DATA with more", r#"{"username":"ann","type":"INIT_DATA","from":5,"x":{}}"#),
        ("NEW_ONE_TO_ONE_CHAT", r#"{"type":"NEW_ONE_TO_ONE_CHAT","from":"ann","to":"bob"}"#),
        (
            "ONE_TO_ONE_CHAT",
            r#"{"type":"ONE_TO_ONE_CHAT","from":"ann","to":"bob","content":" <i>hi</i> ","chatId":"ann-bob"}"#,
        ),
        ("GET_ONE_TO_ONE_HISTORY", r#"{"type":"GET_ONE_TO_ONE_HISTORY","from":"ann","to":"bob","chatId":"ann-bob"}"#),
        (
            "GET_ONE_TO_ONE_HISTORY, a page",
            r#"{"type":"GET_ONE_TO_ONE_HISTORY","from":"ann","to":"bob","chatId":"ann-bob","limit":30,"before":"7401"}"#,
        ),
        (
            "GET_ONE_TO_ONE_HISTORY, too much",
            r#"{"type":"GET_ONE_TO_ONE_HISTORY","from":"ann","to":"bob","chatId":"ann-bob","limit":"1000","before":null}"#,
        ),
        ("CREATE_GROUP_CHAT", r#"{"type":"CREATE_GROUP_CHAT","groupName":" Chess \"club\" ","by":"ann"}"#),
        ("JOIN_GROUP_CHAT", r#"{"type":"JOIN_GROUP_CHAT","groupId":"9007199254740993","username":"ann"}"#),
        ("JOIN_GROUP_CHAT with a number", r#"{"type":"JOIN_GROUP_CHAT","groupId":9007199254740993,"username":"ann"}"#),
        ("JOIN_GROUP", r#"{"type":"JOIN_GROUP","groupId":"8001","username":"ann"}"#),
        ("LEAVE_GROUP", r#"{"type":"LEAVE_GROUP","groupId":"8001","username":"ann"}"#),
        ("GROUP_CHAT with to", r#"{"type":"GROUP_CHAT","from":"ann","to":"8001","content":"hi"}"#),
        ("GROUP_CHAT with groupId", r#"{"type":"GROUP_CHAT","from":"ann","groupId":8001,"content":"hi"}"#),
        ("GROUP_CHAT with both", r#"{"type":"GROUP_CHAT","from":"ann","to":8001,"groupId":"8009","content":"hi"}"#),
        ("GET_GROUP_CHAT_HISTORY", r#"{"type":"GET_GROUP_CHAT_HISTORY","groupId":"8001"}"#),
        (
            "GET_GROUP_CHAT_HISTORY, a page",
            r#"{"type":"GET_GROUP_CHAT_HISTORY","groupId":8001,"limit":1,"before":7401}"#,
        ),
        ("OFFLINE_MESSAGES_ACK", r#"{"type":"OFFLINE_MESSAGES_ACK"}"#),
        ("FETCH_FRIENDS_META", r#"{"type":"FETCH_FRIENDS_META"}"#),
        ("DISCONNECT", r#"{"type":"DISCONNECT"}"#),
    ];
    let mut cases: Vec<_> = cases.into_iter().map(|(case, text)| read(case, text.to_owned())).collect();
    let longest = format!(r#"{{"type":"GROUP_CHAT","from":"ann","to":"8001","content":" {} "}}"#, "é".repeat(4096));
    cases.push(read("the longest text", longest));
    for case in &cases {
        assert!(case.meaning.is_some(), "{}: {:?}", case.case, case.answer);
    }
    compare("messenger/client.json", &cases);
}

#[test]
fn bad_frames_of_clients_are_answered_with_the_texts_that_clients_match() {
    let cases = [
        ("NEW_ONE_TO_ONE_CHAT without from", r#"{"type":"NEW_ONE_TO_ONE_CHAT","to":"bob"}"#),
        ("NEW_ONE_TO_ONE_CHAT without to", r#"{"type":"NEW_ONE_TO_ONE_CHAT","from":"ann","to":""}"#),
        ("ONE_TO_ONE_CHAT without from", r#"{"type":"ONE_TO_ONE_CHAT","to":"bob","content":"hi","chatId":"ann-bob"}"#),
        (
            "ONE_TO_ONE_CHAT without to",
            r#"{"type":"ONE_TO_ONE_CHAT","from":"ann","to":7,"content":"hi","chatId":"ann-bob"}"#,
        ),
        ("ONE_TO_ONE_CHAT without content", r#"{"type":"ONE_TO_ONE_CHAT","from":"ann","to":"bob","chatId":"ann-bob"}"#),
        (
            "ONE_TO_ONE_CHAT with blanks",
            r#"{"type":"ONE_TO_ONE_CHAT","from":"ann","to":"bob","content":" \n","chatId":"ann-bob"}"#,
        ),
        (
            "ONE_TO_ONE_CHAT without chatId",
            r#"{"type":"ONE_TO_ONE_CHAT","from":"ann","to":"bob","content":"hi","chatId":null}"#,
        ),
        ("GET_ONE_TO_ONE_HISTORY without chatId", r#"{"type":"GET_ONE_TO_ONE_HISTORY","from":"ann","to":"bob"}"#),
        (
            "GET_ONE_TO_ONE_HISTORY with limit 0",
            r#"{"type":"GET_ONE_TO_ONE_HISTORY","from":"ann","to":"bob","chatId":"ann-bob","limit":0}"#,
        ),
        (
            "GET_ONE_TO_ONE_HISTORY with a bad before",
            r#"{"type":"GET_ONE_TO_ONE_HISTORY","from":"ann","to":"bob","chatId":"ann-bob","before":"yesterday"}"#,
        ),
        ("CREATE_GROUP_CHAT without a name", r#"{"type":"CREATE_GROUP_CHAT","by":"ann"}"#),
        ("CREATE_GROUP_CHAT with blanks", r#"{"type":"CREATE_GROUP_CHAT","groupName":"  ","by":"ann"}"#),
        (
            "CREATE_GROUP_CHAT with a control character",
            r#"{"type":"CREATE_GROUP_CHAT","groupName":"a\u0007","by":"ann"}"#,
        ),
        ("CREATE_GROUP_CHAT without a creator", r#"{"type":"CREATE_GROUP_CHAT","groupName":"Chess"}"#),
        ("JOIN_GROUP_CHAT without a group", r#"{"type":"JOIN_GROUP_CHAT","username":"ann"}"#),
        ("JOIN_GROUP_CHAT without a name", r#"{"type":"JOIN_GROUP_CHAT","groupId":"8001"}"#),
        ("JOIN_GROUP_CHAT of what is no id", r#"{"type":"JOIN_GROUP_CHAT","groupId":"chess","username":"ann"}"#),
        ("JOIN_GROUP_CHAT of a fraction", r#"{"type":"JOIN_GROUP_CHAT","groupId":8001.5,"username":"ann"}"#),
        ("JOIN_GROUP_CHAT of a negative number", r#"{"type":"JOIN_GROUP_CHAT","groupId":-8001,"username":"ann"}"#),
        (
            "JOIN_GROUP_CHAT of a huge number",
            r#"{"type":"JOIN_GROUP_CHAT","groupId":18446744073709551615,"username":"ann"}"#,
        ),
        ("LEAVE_GROUP without anything", r#"{"type":"LEAVE_GROUP"}"#),
        ("GROUP_CHAT without a group", r#"{"type":"GROUP_CHAT","from":"ann","content":"hi"}"#),
        ("GROUP_CHAT without from", r#"{"type":"GROUP_CHAT","to":"8001","content":"hi"}"#),
        ("GROUP_CHAT without content", r#"{"type":"GROUP_CHAT","to":"8001","from":"ann","content":[]}"#),
        ("GROUP_CHAT to what is no id", r#"{"type":"GROUP_CHAT","to":"bob","from":"ann","content":"hi"}"#),
        ("GET_GROUP_CHAT_HISTORY without a group", r#"{"type":"GET_GROUP_CHAT_HISTORY"}"#),
        ("no type", r#"{"from":"ann"}"#),
        ("type in lower case", r#"{"type":"init_data"}"#),
    ];
    let mut cases: Vec<_> = cases.into_iter().map(|(case, text)| read(case, text.to_owned())).collect();
    let too_long = format!(r#"{{"type":"GROUP_CHAT","from":"ann","to":"8001","content":"{}"}}"#, "é".repeat(4097));
    cases.push(read("GROUP_CHAT of 4,097 characters", too_long));
    let long_id = format!(r#"{{"type":"JOIN_GROUP","username":"ann","groupId":"{}"}}"#, "9".repeat(5000));
    cases.push(read("JOIN_GROUP of a long id", long_id));
    let long_name = format!(r#"{{"type":"CREATE_GROUP_CHAT","by":"ann","groupName":"{}"}}"#, "n".repeat(101));
    cases.push(read("CREATE_GROUP_CHAT with 101 characters", long_name));
    for (case, kind) in malformed::types() {
        cases.push(read(case, format!(r#"{{"type":{kind}}}"#)));
    }
    cases.extend(malformed::texts(r#""type":"INIT_DATA""#).into_iter().map(|(case, text)| read(case, text)));
    for case in &cases {
        let answer = case.answer.as_ref().unwrap_or_else(|| panic!("{} was taken: {:?}", case.case, case.meaning));
        assert!(answer.get().starts_with(r#"{"type":"ERROR","msg":""#), "{}", case.case);
    }
    compare("messenger/bad_client.json", &cases);
}

/// Writes a frame and reads it as a client could.
fn frame(case: &str, frame: ServerFrame) -> Written {
    let text = frame.encode();
    let again: ServerFrame = serde_json::from_slice(&text).unwrap();
    assert_eq!(again, frame, "{case}");
    written(case, Some(text))
}

#[test]
fn frames_for_one_socket_are_written_to_the_letter() {
    let rows: Vec<_> = bodies().into_iter().zip(1..).map(|((_, body, _), seq)| row(seq, body)).collect();
    let (ann, bob) = (name("ann"), name("bob"));
    let messages = rows.iter().filter_map(|row| ChatRow::of(row, [&bob, &ann])).collect();
    let group_messages = rows.iter().filter_map(GroupRow::of).collect();
    let group_id = ConversationId(9_007_199_254_740_993);
    let friend = |is_online, last_seen_time| {
        let (username, chat_id) = (name("bob"), "ann-bob".into());
        FriendMeta { username, chat_id, is_online, last_seen_time }
    };
    compare(
        "messenger/server.json",
        &[
            frame(
                "INIT_DATA",
                ServerFrame::InitData {
                    chat_ids: vec!["ann-bob".into()],
                    groups: vec![group_id, ConversationId(8001)],
                    offline_messages: vec![
                        Summary::chat("ann-bob", bob.clone(), 3),
                        Summary::group(group_id, name("Chess \"club\""), 1),
                    ],
                },
            ),
            frame(
                "INIT_DATA of a new user",
                ServerFrame::InitData { chat_ids: vec![], groups: vec![], offline_messages: vec![] },
            ),
            frame("NEW_ONE_TO_ONE_CHAT_AP to the starter", chat_added(&chat(), BOB).unwrap()),
            frame("NEW_ONE_TO_ONE_CHAT_AP to the other", chat_added(&chat(), ANN).unwrap()),
            frame(
                "ONE_TO_ONE_CHAT_HISTORY",
                ServerFrame::OneToOneChatHistory { messages, is_online: false, last_seen_time: Some(Iso(NOW_MS)) },
            ),
            frame(
                "ONE_TO_ONE_CHAT_HISTORY, nothing yet",
                ServerFrame::OneToOneChatHistory { messages: vec![], is_online: true, last_seen_time: None },
            ),
            frame("GROUP_CHAT_CREATED", ServerFrame::GroupChatCreated { group_id }),
            frame("GROUP_MEMBER_JOINED", ServerFrame::GroupMemberJoined { group_id, username: bob.clone() }),
            frame("GROUP_CHAT_HISTORY", ServerFrame::GroupChatHistory { messages: group_messages }),
            frame(
                "FRIENDS_META",
                ServerFrame::FriendsMeta { friends: vec![friend(true, None), friend(false, Some(Iso(NOW_MS)))] },
            ),
            frame("STATUS_CHANGE", ServerFrame::StatusChange { username: bob, status: Status::Online }),
            frame("ERROR", ServerFrame::error("Something.")),
            frame("INFO", ServerFrame::info(texts::DISCONNECTED)),
            frame("SUCCESS", ServerFrame::success(texts::OFFLINE_ACKNOWLEDGED)),
        ],
    );
    assert_eq!(chat_added(&chat(), UserId(1)), None);
    assert_eq!(chat_added(&group(), ANN), None);
}

#[test]
fn the_texts_are_those_of_the_dialect() {
    let rate = ClientError::new(ErrorCode::RateLimited, "x").retry_after_ms(1001);
    let cases = [
        ("both usernames", texts::BOTH_USERNAMES.to_owned()),
        ("chat message", texts::CHAT_MESSAGE_FIELDS.to_owned()),
        ("chat history", texts::CHAT_HISTORY_FIELDS.to_owned()),
        ("group creation", texts::GROUP_CREATE_FIELDS.to_owned()),
        ("group member", texts::GROUP_MEMBER_FIELDS.to_owned()),
        ("group message", texts::GROUP_MESSAGE_FIELDS.to_owned()),
        ("group id", texts::GROUP_ID.to_owned()),
        ("oneself", texts::CHAT_WITH_ONESELF.to_owned()),
        ("unknown user", texts::user_unknown("bob")),
        ("offline user", texts::user_offline("bob")),
        ("existing chat", texts::chat_exists("bob")),
        ("joined", texts::joined("bob")),
        ("left", texts::left("bob")),
        ("member again", texts::already_member("bob")),
        ("unknown group", texts::group_unknown("8001")),
        ("not oneself", texts::not_you("from")),
        ("wrong chat id", texts::WRONG_CHAT_ID.to_owned()),
        ("no member", texts::not_a_member("8001")),
    ];
    let mut cases: Vec<_> = cases.into_iter().map(|(case, text)| frame(case, ServerFrame::error(text))).collect();
    cases.push(frame("rate", error_of(&rate)));
    cases.push(frame("any other error", error_of(&ClientError::internal())));
    compare("messenger/texts.json", &cases);
}
