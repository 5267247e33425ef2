//! XMPP over WebSocket (RFC 7395) as far as a comparison needs it: SASL PLAIN, bind, rooms (XEP-0045) without history, messages.
//!
//! Clients bind a resource that they name, and send no presence but to rooms: messages are written to full addresses, so the server needs
//! neither rosters nor presence to route them.

use data_encoding::BASE64;

use super::dialect::{Dialect, Exchange};

const HOST: &str = "localhost";
const ROOMS: &str = "conference.localhost";
const RESOURCE: &str = "load";
const OPEN: &str = r#"<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>"#;

/// Debian's ejabberd, as `ops/compare/ejabberd.sh` runs it.
pub struct Ejabberd;

impl Dialect for Ejabberd {
    fn path(&self) -> &'static str {
        "/xmpp"
    }

    fn subprotocol(&self) -> Option<&'static str> {
        Some("xmpp")
    }

    fn greeting(&self, name: &str) -> Vec<Exchange> {
        let password = BASE64.encode(format!("\0{name}\0any").as_bytes());
        let auth = format!(r#"<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">{password}</auth>"#);
        let bind = format!(
            r#"<iq xmlns="jabber:client" type="set" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><resource>{RESOURCE}</resource></bind></iq>"#
        );
        vec![
            Exchange::of(OPEN, "<mechanism>PLAIN<"),
            Exchange::of(auth, "<success"),
            Exchange::of(OPEN, "xmpp-bind"),
            Exchange::of(bind, "<jid>"),
        ]
    }

    fn join(&self, room: &str, name: &str) -> Exchange {
        let join = format!(
            r#"<presence xmlns="jabber:client" to="{room}@{ROOMS}/{name}"><x xmlns="http://jabber.org/protocol/muc"><history maxstanzas="0"/></x></presence>"#
        );
        // The subject is the last that comes of a join (XEP-0045, 7.2.15).
        Exchange::of(join, "<subject")
    }

    fn to_room(&self, room: &str, text: &str) -> String {
        message("groupchat", &format!("{room}@{ROOMS}"), text)
    }

    fn to_user(&self, user: &str, text: &str) -> String {
        message("chat", &format!("{user}@{HOST}/{RESOURCE}"), text)
    }

    fn refuses(&self, frame: &str) -> bool {
        frame.starts_with("<failure")
            || frame.starts_with("<close")
            || frame.contains("type='error'")
            || frame.contains("<stream:error")
    }
}

fn message(kind: &str, to: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(r#"<message xmlns="jabber:client" type="{kind}" to="{to}"><body>{text}</body></message>"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_authenticates_and_binds() {
        let greeting = Ejabberd.greeting("ann");
        let said: Vec<_> = greeting.iter().filter_map(|exchange| exchange.say.as_deref()).collect();
        // base64 of NUL ann NUL any
        assert!(said[1].ends_with(r#"mechanism="PLAIN">AGFubgBhbnk=</auth>"#), "{}", said[1]);
        assert_eq!((said[0], said[0]), (said[2], OPEN));
        assert!(said[3].contains("<resource>load</resource>"));
    }

    #[test]
    fn messages_go_to_rooms_and_full_addresses_with_their_text_escaped() {
        assert_eq!(
            Ejabberd.to_room("r", "a<b & c"),
            r#"<message xmlns="jabber:client" type="groupchat" to="r@conference.localhost"><body>a&lt;b &amp; c</body></message>"#
        );
        assert!(Ejabberd.to_user("bob", "x").contains(r#"type="chat" to="bob@localhost/load""#));
    }

    #[test]
    fn refusals_are_told_from_answers() {
        assert!(Ejabberd.refuses("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"));
        assert!(Ejabberd.refuses("<presence xmlns='jabber:client' type='error'/>"));
        assert!(!Ejabberd.refuses("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"));
    }
}
