//! Where a request really comes from.
//!
//! Forwarding headers (`Forwarded`, RFC 7239; `X-Forwarded-For`) are believed from trusted proxies only, read from the right, and
//! stop at the first address that isn't one. A request that carries any never counts as loopback, trusted or not: a proxy on this machine
//! must not lend its visitors the rights of the machine's owner. Nor does one that names another host: a browser of this machine sends
//! such requests for a page whose DNS name was made to mean 127.0.0.1 (DNS rebinding), and may read the answers. Nor one that a page of
//! another origin sends: it can't read the answer, but the request was made all the same (CSRF).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
};
use ipnet::IpNet;

use crate::ws::handshake::{self, SameHost};

/// Headers that only a proxy sends.
const FORWARDING: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "via",
    "cf-connecting-ip",
];

/// Proxies looked through; a longer chain ends here.
const HOPS_MAX: usize = 16;

/// The address of a client, and whether it sits on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr {
    ip: IpAddr,
    loopback: bool,
}

impl ClientAddr {
    /// Returns the address of a client without any proxy.
    pub fn direct(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self { ip, loopback: ip.is_loopback() }
    }

    /// Finds the client behind a request. `peer` is who connected, or whom a believed PROXY header named.
    pub fn find(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        let told = |name: &str| headers.contains_key(name).then(|| look_through(peer, hops(headers, name), trusted));
        let ip = match (told("forwarded"), told("x-forwarded-for")) {
            // A proxy that writes one of them hands on what the client wrote into the other: when they differ, either may be the lie.
            (Some(forwarded), Some(x_forwarded_for)) if forwarded != x_forwarded_for => peer,
            (Some(ip), _) | (None, Some(ip)) => ip,
            (None, None) => peer,
        };
        let owner = || !is_forwarded(headers) && names_this_machine(headers) && !is_of_another_page(headers);
        Self { ip, loopback: ip.is_loopback() && owner() }
    }

    /// Finds the client behind an HTTP request.
    pub fn of(request: &HttpRequest, trusted: &[IpNet]) -> Self {
        // Without a peer address (a test, a Unix socket) the unspecified one stands for 'unknown': never loopback.
        let peer = request.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
        Self::find(peer, request.headers(), trusted)
    }

    /// Returns the address.
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// Says whether the client is on this machine, with no proxy in between.
    pub fn is_loopback(self) -> bool {
        self.loopback
    }

    /// Returns the address for whoever has no request to look at: [`Self::direct`] makes no more of it than this is. A loopback
    /// address that isn't this machine's owner is told as the unspecified one.
    pub fn told(self) -> IpAddr {
        if self.ip.is_loopback() && !self.loopback { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { self.ip }
    }

    /// Returns what rates count by: an IPv4 address, or the /64 of an IPv6 one (one customer has at least that many).
    pub fn network(self) -> IpAddr {
        match self.ip {
            IpAddr::V4(_) => self.ip,
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        }
    }
}

/// Says whether a proxy handed the request on.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDING.iter().any(|name| headers.contains_key(*name))
}

/// Says whether a browser sent the request for a page of another origin than the host that it names. `Origin: null` counts too.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    !handshake::origin_allowed(headers, &[], SameHost::Allowed)
}

/// Says whether the request was sent to an address or to `localhost`, not to a name that somebody's DNS could point here. Without
/// `Host` (HTTP/1.0) no browser sent it.
pub fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let host = host.trim();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_end_matches('.').to_ascii_lowercase();
    node(host).is_some() || name == "localhost" || name.ends_with(".localhost")
}

/// Follows a chain of proxies from `peer` to the first address that isn't a trusted one.
fn look_through(peer: IpAddr, hops: Vec<Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let mut ip = peer;
    for hop in hops.into_iter().take(HOPS_MAX) {
        if !trusted.iter().any(|network| network.contains(&ip)) {
            break;
        }
        // Something a trusted proxy couldn't name (`unknown`, `_hidden`): the proxy itself is the best we know.
        let Some(hop) = hop else { break };
        ip = hop.to_canonical();
    }
    ip
}

/// Returns the chain of addresses that proxies wrote into this header, nearest first; `None` for an unreadable one.
fn hops(headers: &HeaderMap, name: &str) -> Vec<Option<IpAddr>> {
    let mut hops = Vec::new();
    for value in headers.get_all(name) {
        match value.to_str() {
            Ok(text) => hops.extend(text.split(',').map(|element| match name {
                "forwarded" => forwarded_for(element),
                _ => node(element.trim()),
            })),
            Err(_) => hops.push(None),
        }
    }
    hops.reverse();
    hops
}

/// Reads `for=` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"').to_owned())
    };
    node(&element.split(';').find_map(pair)?)
}

/// Reads an address, with or without port and brackets.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn client(peer: &str, headers: &[(&str, &str)], trusted: &[&str]) -> (String, bool) {
        let mut request = TestRequest::default().peer_addr(SocketAddr::new(peer.parse().unwrap(), 1));
        for &header in headers {
            request = request.append_header(header);
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let found = ClientAddr::of(&request.to_http_request(), &trusted);
        (found.ip().to_string(), found.is_loopback())
    }

    #[test]
    fn without_trust_headers_change_nothing_but_loopback() {
        assert_eq!(client("127.0.0.1", &[], &[]), ("127.0.0.1".into(), true));
        assert_eq!(client("::ffff:127.0.0.1", &[], &[]), ("127.0.0.1".into(), true));
        for header in FORWARDING {
            assert_eq!(client("127.0.0.1", &[(header, "1.2.3.4")], &[]), ("127.0.0.1".into(), false), "{header}");
        }
        assert_eq!(client("203.0.113.9", &[("x-forwarded-for", "127.0.0.1")], &[]), ("203.0.113.9".into(), false));
    }

    #[test]
    fn trusted_proxies_are_looked_through_from_the_right() {
        let trusted = &["127.0.0.0/8", "10.0.0.0/8"];
        let find = |headers: &[(&str, &str)]| client("127.0.0.1", headers, trusted);
        assert_eq!(find(&[("x-forwarded-for", "198.51.100.7")]).0, "198.51.100.7");
        assert_eq!(
            find(&[("x-forwarded-for", "6.6.6.6, 198.51.100.7, 10.1.1.1")]).0,
            "198.51.100.7",
            "6.6.6.6 is a lie"
        );
        assert_eq!(find(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.7")]).0, "198.51.100.7");
        assert_eq!(find(&[("x-forwarded-for", "198.51.100.7:4711")]).0, "198.51.100.7");
        assert_eq!(find(&[("forwarded", "for=192.0.2.60;proto=http;by=203.0.113.43")]).0, "192.0.2.60");
        assert_eq!(find(&[("forwarded", "For=\"[2001:db8::17]:4711\"")]).0, "2001:db8::17");
        assert_eq!(find(&[("forwarded", "for=unknown"), ("x-forwarded-for", "6.6.6.6")]).0, "127.0.0.1");
    }

    #[test]
    fn a_header_that_the_proxy_only_hands_on_is_not_believed() {
        let find = |headers: &[(&str, &str)]| client("127.0.0.1", headers, &["127.0.0.1/32"]);
        // nginx, HAProxy and most others write the one and leave the client's other as it is.
        let lie = find(&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.7")]);
        assert_eq!(lie, ("127.0.0.1".into(), false));
        let lie = find(&[("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "6.6.6.6")]);
        assert_eq!(lie, ("127.0.0.1".into(), false));
        let both = find(&[("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "198.51.100.7")]);
        assert_eq!(both.0, "198.51.100.7");
    }

    #[test]
    fn a_request_that_names_another_host_is_not_loopback() {
        let local = |host: &str| client("127.0.0.1", &[("host", host)], &[]).1;
        for host in
            ["localhost:9600", "LOCALHOST", "app.localhost:1", "127.0.0.1:9600", "127.0.0.1", "[::1]:9600", "[::1]"]
        {
            assert!(local(host), "{host}");
        }
        for host in ["rebound.example:9600", "localhost.evil.example", "127.0.0.1.evil.example:9600", "evil", ""] {
            assert!(!local(host), "{host}");
        }
    }

    #[test]
    fn a_request_of_another_page_is_not_loopback() {
        let local = |origin: &str| client("127.0.0.1", &[("host", "127.0.0.1:9600"), ("origin", origin)], &[]).1;
        assert!(local("http://127.0.0.1:9600"));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1:9600.evil.example"] {
            assert!(!local(origin), "{origin}");
        }
    }

    #[test]
    fn loopback_that_is_not_the_owner_stays_so_when_told() {
        let find = |headers: &[(&str, &str)]| {
            let mut request = TestRequest::default().peer_addr("127.0.0.1:1".parse().unwrap());
            for &header in headers {
                request = request.append_header(header);
            }
            ClientAddr::direct(ClientAddr::of(&request.to_http_request(), &[]).told()).is_loopback()
        };
        assert!(find(&[]));
        assert!(!find(&[("x-forwarded-for", "203.0.113.9")]));
        assert!(!find(&[("host", "rebound.example")]));
    }

    #[test]
    fn a_forwarded_request_is_never_loopback() {
        let trusted = &["127.0.0.1/32"];
        assert!(!client("127.0.0.1", &[("x-forwarded-for", "127.0.0.1")], trusted).1);
        assert!(!client("127.0.0.1", &[("forwarded", "for=127.0.0.1")], trusted).1);
    }

    #[test]
    fn endless_chains_end() {
        let chain = vec!["127.0.0.1"; 10_000].join(",");
        assert_eq!(client("127.0.0.1", &[("x-forwarded-for", &chain)], &["127.0.0.1/32"]).0, "127.0.0.1");
    }
}
