//! The written reference, `ops/protocol/native.md`, says what the types do.

use chinwag_schema::{
    error::{CloseCode, ErrorCode},
    wire::native::{Notice, SendResult, ServerFrame, Welcome, decode},
};
use serde_json::Value;

use crate::native_requests::good;

const REFERENCE: &str = include_str!("../../../ops/protocol/native.md");

/// Returns the JSON values of the page's examples.
fn examples() -> Vec<Value> {
    let blocks = REFERENCE.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("json\n"));
    blocks
        .flat_map(|block| serde_json::Deserializer::from_str(block).into_iter::<Value>())
        .map(Result::unwrap)
        .collect()
}

#[test]
fn the_examples_are_frames() {
    let (mut requests, mut replies, mut events) = (0, 0, 0);
    for example in examples() {
        let text = example.to_string();
        if example.get("type").is_some() {
            decode(&text).unwrap_or_else(|(_, error)| panic!("{text}: {error}"));
            requests += 1;
            continue;
        }
        let again = match ServerFrame::decode(&text).unwrap() {
            ServerFrame::Reply { outcome, .. } => {
                let result = outcome.unwrap();
                replies += 1;
                let typed = match ServerFrame::result::<Welcome>(&result) {
                    Ok(welcome) => serde_json::to_value(welcome),
                    Err(_) => serde_json::to_value(ServerFrame::result::<SendResult>(&result).unwrap()),
                };
                assert_eq!(typed.unwrap(), example["result"]);
                continue;
            }
            ServerFrame::Logged(event) => event.encode(),
            ServerFrame::Notice(Notice::Unknown) => panic!("{text}"),
            ServerFrame::Notice(notice) => notice.encode(),
        };
        assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), example);
        events += 1;
    }
    assert!(requests >= 2 && replies >= 2 && events >= 2, "{requests} {replies} {events}");
}

#[test]
fn every_command_event_and_code_is_in_the_reference() {
    for (_, text) in good() {
        let name = decode(&text).unwrap().command.name();
        assert!(name == "hello" || REFERENCE.contains(&format!("\n| `{name}` |")), "{name}");
    }
    for event in [
        "message",
        "edited",
        "deleted",
        "member_joined",
        "pointer",
        "typing",
        "presence",
        "listener",
        "conversation_added",
        "conversation_removed",
        "gap",
        "notification",
        "drain",
    ] {
        assert!(REFERENCE.contains(&format!("\n| `{event}`")), "{event}");
    }
    use ErrorCode::*;
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
        let name = serde_json::to_value(code).unwrap();
        let quoted = format!("`{}`", name.as_str().unwrap());
        let mut rows = REFERENCE.lines().filter(|line| line.starts_with("| `"));
        let row = rows.find(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&quoted)));
        let retry = if code.retryable() { "| yes |" } else { "| no |" };
        assert!(row.is_some_and(|row| row.contains(retry)), "{name}: {row:?}");
    }
    for code in [
        CloseCode::NORMAL,
        CloseCode::GOING_AWAY,
        CloseCode::PROTOCOL,
        CloseCode::POLICY,
        CloseCode::TOO_BIG,
        CloseCode::INTERNAL,
        CloseCode::SLOW_READER,
        CloseCode::PING_TIMEOUT,
        CloseCode::OVERLOADED,
        CloseCode::TOO_MANY_SOCKETS,
        CloseCode::HELLO_TIMEOUT,
        CloseCode::UNAUTHORIZED,
        CloseCode::TOKEN_EXPIRED,
        CloseCode::REVOKED,
        CloseCode::UNSUPPORTED_VERSION,
    ] {
        assert!(REFERENCE.contains(&format!("\n| {}", code.0)), "{}", code.0);
    }
}
