//! The frames of `ops/compare/socketio-relay.mjs`: engine.io 4 (first digit) around socket.io 5 (second digit), in text over WebSocket.
//!
//! Source: <https://socket.io/docs/v4/engine-io-protocol/> and <https://socket.io/docs/v4/socket-io-protocol/>.

use serde_json::json;

use super::dialect::{Dialect, Exchange};

/// Engine.io `open`, of the server.
const OPEN: &str = "0{";
/// Engine.io `ping`, of the server, and the client's `pong`.
const PING: &str = "2";
const PONG: &str = "3";
/// Engine.io `message` with socket.io `CONNECT`: the client's has the credentials, the server's the session.
const CONNECT: &str = "40";
const CONNECTED: &str = "40{";
/// Socket.io `CONNECT_ERROR` and `DISCONNECT`.
const REFUSED: [&str; 2] = ["44", "41"];
const EVENT: &str = "42";
/// An acknowledgement with the number that joins ask for.
const ACKNOWLEDGED: &str = "430";

/// The relay on socket.io.
pub struct SocketIoRelay;

impl Dialect for SocketIoRelay {
    fn path(&self) -> &'static str {
        "/socket.io/?EIO=4&transport=websocket"
    }

    fn greeting(&self, name: &str) -> Vec<Exchange> {
        vec![
            Exchange { say: None, until: OPEN },
            Exchange::of(format!("{CONNECT}{}", json!({"name": name})), CONNECTED),
        ]
    }

    fn join(&self, room: &str, _: &str) -> Exchange {
        Exchange::of(format!("{EVENT}0{}", json!(["join", room])), ACKNOWLEDGED)
    }

    fn to_room(&self, room: &str, text: &str) -> String {
        format!("{EVENT}{}", json!(["room", room, text]))
    }

    fn to_user(&self, user: &str, text: &str) -> String {
        format!("{EVENT}{}", json!(["user", user, text]))
    }

    fn answer(&self, frame: &str) -> Option<&'static str> {
        (frame == PING).then_some(PONG)
    }

    fn refuses(&self, frame: &str) -> bool {
        REFUSED.iter().any(|packet| frame.starts_with(packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_specification() {
        let greeting = SocketIoRelay.greeting("ann");
        assert_eq!(greeting[1].say.as_deref(), Some(r#"40{"name":"ann"}"#));
        assert_eq!(SocketIoRelay.join("r", "ann").say.as_deref(), Some(r#"420["join","r"]"#));
        assert_eq!(SocketIoRelay.to_room("r", "a \"b\""), r#"42["room","r","a \"b\""]"#);
        assert_eq!(SocketIoRelay.to_user("bob", "hi"), r#"42["user","bob","hi"]"#);
    }

    #[test]
    fn only_a_ping_is_answered_and_only_a_refusal_refuses() {
        assert_eq!(SocketIoRelay.answer("2"), Some("3"));
        assert_eq!(SocketIoRelay.answer(r#"42["room","r","ann","2"]"#), None);
        assert!(SocketIoRelay.refuses(r#"44{"message":"no"}"#));
        assert!(!SocketIoRelay.refuses(r#"40{"sid":"44"}"#));
    }
}
