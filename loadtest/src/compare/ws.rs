//! The frames of `ops/compare/ws-relay.mjs`: one JSON object each.

use serde_json::json;

use super::dialect::{Dialect, Exchange};

/// The relay on `ws`.
pub struct WsRelay;

impl Dialect for WsRelay {
    fn path(&self) -> &'static str {
        "/"
    }

    fn greeting(&self, name: &str) -> Vec<Exchange> {
        vec![Exchange::of(json!({"t": "name", "name": name}).to_string(), r#""t":"named""#)]
    }

    fn join(&self, room: &str, _: &str) -> Exchange {
        Exchange::of(json!({"t": "join", "room": room}).to_string(), r#""t":"joined""#)
    }

    fn to_room(&self, room: &str, text: &str) -> String {
        json!({"t": "room", "room": room, "text": text}).to_string()
    }

    fn to_user(&self, user: &str, text: &str) -> String {
        json!({"t": "user", "to": user, "text": text}).to_string()
    }

    fn refuses(&self, _: &str) -> bool {
        // It closes the socket instead.
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn frames_are_the_relays() {
        let said = WsRelay.greeting("ann").remove(0).say.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), json!({"t": "name", "name": "ann"}));
        let said = WsRelay.to_room("r", "\"x\"\n");
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), json!({"t": "room", "room": "r", "text": "\"x\"\n"}));
    }
}
