//! The PROXY protocol, version 2 (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).
//!
//! A load balancer sends it before the client's bytes to say who the client is. Only trusted proxies may: from anyone else the bytes go
//! to HTTP and fail there.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header, PROTOCOL_PREFIX};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// Addresses and extensions that are read, bytes; balancers send some tens to hundreds.
const REST_MAX_BYTES: usize = 4096;

/// Says whether an address is one of a trusted proxy.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// Reads the header that a trusted proxy may send and returns the client's address. Without a header (the proxy speaks plain HTTP
/// or TLS) nothing is read and the peer's own address comes back. The caller limits the time.
pub async fn client_address(stream: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
    let mut first = [0];
    // Neither HTTP nor TLS begins with this byte, so it decides without reading more.
    if stream.peek(&mut first).await? == 0 || first[0] != PROTOCOL_PREFIX[0] {
        return Ok(peer);
    }
    let mut header = vec![0; FIXED_BYTES];
    stream.read_exact(&mut header).await?;
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if !header.starts_with(PROTOCOL_PREFIX) || rest > REST_MAX_BYTES {
        return Err(invalid("not a PROXY protocol v2 header"));
    }
    header.resize(FIXED_BYTES + rest, 0);
    stream.read_exact(&mut header[FIXED_BYTES..]).await?;
    let header = Header::try_from(header.as_slice()).map_err(|error| invalid(&error.to_string()))?;
    if header.command == Command::Local {
        // The proxy's own health check.
        return Ok(peer);
    }
    let named: SocketAddr = match header.addresses {
        Addresses::IPv4(v4) => (v4.source_address, v4.source_port).into(),
        Addresses::IPv6(v6) => (v6.source_address, v6.source_port).into(),
        Addresses::Unspecified | Addresses::Unix(_) => peer,
    };
    // Whoever comes through a proxy isn't this machine's owner, whatever the proxy calls it: loopback is the proxy's own there.
    if named.ip().to_canonical().is_loopback() { Ok((Ipv6Addr::UNSPECIFIED, named.port()).into()) } else { Ok(named) }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_networks_are_trusted() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        assert!(is_trusted("10.1.2.3".parse().unwrap(), &trusted));
        assert!(is_trusted("::ffff:10.1.2.3".parse().unwrap(), &trusted));
        assert!(is_trusted("::1".parse().unwrap(), &trusted));
        assert!(!is_trusted("11.1.2.3".parse().unwrap(), &trusted));
        assert!(!is_trusted("10.1.2.3".parse().unwrap(), &[]));
    }
}
