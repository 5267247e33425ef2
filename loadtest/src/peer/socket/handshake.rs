//! Connecting and upgrading (RFC 6455, 4.1).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

/// Sockets from one source address. The system has about 28,000 ports for connections to one address; some wait after their end.
const PER_ADDRESS: usize = 20_000;
/// Longest answer to an upgrade, bytes.
const ANSWER_MAX_BYTES: usize = 16 * 1024;
const DEFLATE_OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10";

/// A WebSocket to be opened.
pub struct Upgrade<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// Path and query.
    pub path: &'a str,
    pub subprotocol: Option<&'a str>,
    /// A bearer token for the `Authorization` header.
    pub token: Option<&'a str>,
    /// Offers permessage-deflate; a server that doesn't take it is an error, as the run would measure something else.
    pub deflate: bool,
    /// Which of the run's sockets it is: from 20,000 on, those to loopback come from 127.0.0.2, 127.0.0.3, …
    pub index: usize,
}

impl Upgrade<'_> {
    /// Returns the stream, what came after the answer, and whether the server compresses.
    pub async fn connect(&self) -> anyhow::Result<(TcpStream, Vec<u8>, bool)> {
        self.over(self.dial().await.with_context(|| format!("can't connect to {}", self.address))?).await
    }

    /// Does the same over a connected stream, with socket options of its own.
    pub async fn over(&self, mut stream: TcpStream) -> anyhow::Result<(TcpStream, Vec<u8>, bool)> {
        let key = generate_key();
        stream.write_all(self.request(&key).as_bytes()).await.context("the connection broke during the upgrade")?;
        let mut received = Vec::with_capacity(1024);
        let head_bytes = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(received.len() < ANSWER_MAX_BYTES, "the answer to the upgrade doesn't end");
            let read = stream.read_buf(&mut received).await.context("the connection broke during the upgrade")?;
            ensure!(read > 0, "the server closed the connection during the upgrade");
        };
        let rest = received.split_off(head_bytes);
        let head = std::str::from_utf8(&received).context("the answer to the upgrade isn't text")?;
        let deflate = self.check(head, &key)?;
        Ok((stream, rest, deflate))
    }

    async fn dial(&self) -> anyhow::Result<TcpStream> {
        let target: SocketAddr = match self.address.parse() {
            Ok(target) => target,
            Err(_) => tokio::net::lookup_host(self.address).await?.next().context("the name has no address")?,
        };
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = source(target.ip(), self.index)? {
            // Without it a port whose last connection has just ended couldn't be chosen.
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(source, 0))?;
        }
        socket.set_nodelay(true)?;
        Ok(socket.connect(target).await?)
    }

    fn request(&self, key: &str) -> String {
        let Self { address, path, .. } = self;
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        for (name, value) in [
            ("Sec-WebSocket-Protocol", self.subprotocol),
            ("Sec-WebSocket-Extensions", self.deflate.then_some(DEFLATE_OFFER)),
        ] {
            if let Some(value) = value {
                request += &format!("{name}: {value}\r\n");
            }
        }
        if let Some(token) = self.token {
            request += &format!("Authorization: Bearer {token}\r\n");
        }
        request + "\r\n"
    }

    /// Checks the answer; says whether the server compresses.
    fn check(&self, head: &str, key: &str) -> anyhow::Result<bool> {
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default().strip_prefix("HTTP/1.1 ").unwrap_or_default();
        ensure!(status.starts_with("101"), "the server refused the upgrade: {status}");
        let headers: Vec<(String, &str)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            .collect();
        let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        ensure!(
            header("sec-websocket-accept") == Some(&*derive_accept_key(key.as_bytes())),
            "the answer to the upgrade is somebody else's"
        );
        ensure!(
            header("sec-websocket-protocol") == self.subprotocol,
            "the server doesn't speak {}",
            self.subprotocol.unwrap_or("without a subprotocol")
        );
        match header("sec-websocket-extensions") {
            None => {
                ensure!(!self.deflate, "the server doesn't compress (permessage-deflate): leave out --deflate");
                Ok(false)
            }
            Some(agreed) if self.deflate && agreed.contains("server_no_context_takeover") => Ok(true),
            Some(other) => bail!("the server wants extensions that nobody offered: {other}"),
        }
    }
}

/// Returns the address that a socket must come from; `None`: the system chooses.
fn source(target: IpAddr, index: usize) -> anyhow::Result<Option<IpAddr>> {
    let nth = index / PER_ADDRESS;
    match target {
        IpAddr::V4(target) if target.is_loopback() && nth > 0 => {
            let last = u8::try_from(nth + 1).ok().filter(|last| *last < 255);
            let last = last.with_context(|| format!("more than {} sockets from one machine", 254 * PER_ADDRESS))?;
            Ok(Some(Ipv4Addr::new(127, 0, 0, last).into()))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: Upgrade<'static> =
        Upgrade { address: "127.0.0.1:1", path: "/ws", subprotocol: None, token: None, deflate: false, index: 0 };

    #[test]
    fn answers_are_checked() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let good = "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert!(!UPGRADE.check(good, key).unwrap());
        let refused = UPGRADE.check("HTTP/1.1 401 Unauthorized\r\n\r\n", key).unwrap_err().to_string();
        assert_eq!(refused, "the server refused the upgrade: 401 Unauthorized");
        assert!(UPGRADE.check(good, "AAAAIHNhbXBsZSBub25jZQ==").is_err());
        let native = Upgrade { subprotocol: Some("chinwag.v1"), ..UPGRADE };
        assert!(native.check(good, key).is_err());
        assert!(native.check(&format!("{good}Sec-WebSocket-Protocol: chinwag.v1\r\n"), key).is_ok());
        let compressed = format!("{good}Sec-WebSocket-Extensions: {DEFLATE_OFFER}\r\n");
        assert!(UPGRADE.check(&compressed, key).is_err());
        let deflate = Upgrade { deflate: true, ..UPGRADE };
        assert!(deflate.check(good, key).is_err());
        assert!(deflate.check(&compressed, key).unwrap());
    }

    #[test]
    fn many_sockets_to_loopback_come_from_several_addresses() {
        let at = |target: &str, index| source(target.parse().unwrap(), index).unwrap().map(|ip| ip.to_string());
        assert_eq!(at("127.0.0.1", PER_ADDRESS - 1), None);
        assert_eq!(at("127.0.0.1", PER_ADDRESS).as_deref(), Some("127.0.0.2"));
        assert_eq!(at("127.0.0.1", 3 * PER_ADDRESS).as_deref(), Some("127.0.0.4"));
        assert_eq!(at("10.0.0.1", 3 * PER_ADDRESS), None);
        assert!(source("127.0.0.1".parse().unwrap(), 300 * PER_ADDRESS).is_err());
    }
}
