//! The opening handshake (RFC 6455, 4.2) and the negotiation of permessage-deflate (RFC 7692, 7.1).
//!
//! Pure functions over the request's headers. Who may connect, and to what, is decided elsewhere.

use actix_http::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName},
    ws::hash_key,
};
use chinwag_schema::limits::socket::COMPRESS_WINDOW_BITS;

/// Subprotocol of the native protocol.
pub const NATIVE_SUBPROTOCOL: &str = "chinwag.v1";

/// Offers of one request that are looked at; a client needs one or two.
const OFFERS_MAX: usize = 16;

/// Why a request with `Upgrade: websocket` is no valid handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHandshake {
    #[error("only GET can upgrade to a WebSocket")]
    Method,
    #[error("the Connection header doesn't say Upgrade")]
    NoConnectionUpgrade,
    #[error("only WebSocket version 13 is spoken")]
    Version,
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

impl BadHandshake {
    /// Returns the status to answer with.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::NoConnectionUpgrade | Self::Key => StatusCode::BAD_REQUEST,
        }
    }
}

/// A valid handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Value of `Sec-WebSocket-Accept`.
    pub accept: [u8; 28],
    /// permessage-deflate is agreed upon, with the parameters of [`DEFLATE_ANSWER`].
    pub deflate: bool,
}

/// The only answer to an offer: nothing is taken over on either side, and the server's window is small enough to be shared.
pub const DEFLATE_ANSWER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10";

const _: () = assert!(COMPRESS_WINDOW_BITS == 10, "DEFLATE_ANSWER names the window");

/// Checks a request.
pub fn check(method: &Method, headers: &HeaderMap) -> Result<Handshake, BadHandshake> {
    if method != Method::GET {
        return Err(BadHandshake::Method);
    }
    if !list(headers, header::CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade")) {
        return Err(BadHandshake::NoConnectionUpgrade);
    }
    if single(headers, &header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(BadHandshake::Version);
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)).ok_or(BadHandshake::Key)?;
    Ok(Handshake { accept: hash_key(key.as_bytes()), deflate: accepts_deflate(headers) })
}

/// Says whether the client offers this subprotocol.
pub fn offers_subprotocol(headers: &HeaderMap, name: &str) -> bool {
    list(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == name)
}

/// Whether pages of the host that the request names may connect without being configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameHost {
    Allowed,
    Refused,
}

/// Says whether a browser page may connect: no `Origin` (not a browser), a configured origin such as `https://chat.example`, or the
/// host of the request itself.
pub fn origin_allowed(headers: &HeaderMap, allowed: &[String], same_host: SameHost) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let Some(origin) = single(headers, &header::ORIGIN) else { return false };
    if allowed.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    if same_host == SameHost::Refused {
        return false;
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Some(host) = single(headers, &header::HOST) else { return false };
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let plain = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    plain(authority) == plain(host)
}

/// Returns a header's value if it comes exactly once and is text.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok().map(str::trim)
}

/// Returns the items of a comma-separated header, over all its lines.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

/// 16 bytes in base64 are 22 characters and two of padding.
fn is_key(key: &str) -> bool {
    let bytes = key.as_bytes();
    bytes.len() == 24
        && bytes.ends_with(b"==")
        && bytes[..22].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

/// Says whether one of the offers can be answered with [`DEFLATE_ANSWER`].
fn accepts_deflate(headers: &HeaderMap) -> bool {
    list(headers, header::SEC_WEBSOCKET_EXTENSIONS).take(OFFERS_MAX).any(accepts_offer)
}

/// Checks one offer. Unknown, repeated or misspelt parameters make it void (RFC 7692, 7.1); `server_max_window_bits` below ours
/// can't be kept. What the client says of its own window doesn't matter: the inflater takes the largest.
fn accepts_offer(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return false;
    }
    let mut seen: Vec<&str> = Vec::new();
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        if seen.contains(&name) {
            return false;
        }
        seen.push(name);
        let fits = match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => true,
            ("client_max_window_bits", None) => true,
            ("client_max_window_bits", Some(value)) => window_bits(value).is_some(),
            ("server_max_window_bits", Some(value)) => {
                window_bits(value).is_some_and(|bits| bits >= COMPRESS_WINDOW_BITS)
            }
            _ => false,
        };
        if !fits {
            return false;
        }
    }
    true
}

fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        "10" => Some(10),
        "11" => Some(11),
        "12" => Some(12),
        "13" => Some(13),
        "14" => Some(14),
        "15" => Some(15),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn good_but(name: &'static str, value: Option<&'static str>) -> HeaderMap {
        let mut pairs: Vec<_> = GOOD.into_iter().filter(|(have, _)| *have != name).collect();
        pairs.extend(value.map(|value| (name, value)));
        headers(&pairs)
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let handshake = check(&Method::GET, &headers(&GOOD)).unwrap();
        assert_eq!(&handshake.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!handshake.deflate);
    }

    #[test]
    fn bad_handshakes_are_refused_with_their_reason() {
        assert_eq!(check(&Method::POST, &headers(&GOOD)), Err(BadHandshake::Method));
        for (name, value, reason) in [
            ("connection", None, BadHandshake::NoConnectionUpgrade),
            ("connection", Some("keep-alive"), BadHandshake::NoConnectionUpgrade),
            ("sec-websocket-version", None, BadHandshake::Version),
            ("sec-websocket-version", Some("8"), BadHandshake::Version),
            ("sec-websocket-key", None, BadHandshake::Key),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"), BadHandshake::Key),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ1234=="), BadHandshake::Key),
        ] {
            assert_eq!(check(&Method::GET, &good_but(name, value)), Err(reason), "{name} {value:?}");
        }
        let mut twice = headers(&GOOD);
        twice.append(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(check(&Method::GET, &twice), Err(BadHandshake::Key));
    }

    #[test]
    fn deflate_is_agreed_upon_only_when_the_offer_can_take_our_window() {
        let offer = |value: &str| accepts_deflate(&headers(&[("sec-websocket-extensions", value)]));
        for good in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=15; server_max_window_bits=\"10\"",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
        ] {
            assert!(offer(good), "{good}");
        }
        for bad in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; unknown",
        ] {
            assert!(!offer(bad), "{bad}");
        }
    }

    #[test]
    fn foreign_origins_need_to_be_configured() {
        let allowed = ["https://chat.example".to_owned()];
        let from = |origin: &str| {
            origin_allowed(&headers(&[("host", "here.example:3000"), ("origin", origin)]), &allowed, SameHost::Allowed)
        };
        assert!(origin_allowed(&headers(&[("host", "here.example")]), &[], SameHost::Allowed));
        assert!(from("http://here.example:3000"));
        assert!(from("https://chat.example"));
        for foreign in
            ["http://evil.example", "null", "", "http://here.example", "http://here.example:3000.evil.example"]
        {
            assert!(!from(foreign), "{foreign}");
        }
        let default = headers(&[("host", "here.example"), ("origin", "https://here.example:443")]);
        assert!(origin_allowed(&default, &[], SameHost::Allowed));
        assert!(!origin_allowed(&default, &[], SameHost::Refused));
        assert!(origin_allowed(&default, &["https://here.example:443".to_owned()], SameHost::Refused));
    }

    #[test]
    fn the_subprotocol_is_found_in_a_list() {
        let headers = headers(&[("sec-websocket-protocol", "other, chinwag.v1")]);
        assert!(offers_subprotocol(&headers, NATIVE_SUBPROTOCOL));
        assert!(!offers_subprotocol(&headers, "chinwag"));
    }
}
