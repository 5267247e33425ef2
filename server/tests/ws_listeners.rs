//! Listeners: PROXY protocol, TLS, caps.

#[path = "common/net.rs"]
mod common;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chinwag::net::tls;
use common::{Client, client_frame, serve, settings, upgrade_request};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

fn proxy_header(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source);
    header.extend([10, 0, 0, 1]);
    header.extend(4321u16.to_be_bytes());
    header.extend(80u16.to_be_bytes());
    header
}

const REQUEST: &[u8] = b"GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn trusted_proxies_name_the_client() {
    let mut settings = settings();
    settings.trusted_proxies = Arc::new(["127.0.0.0/8".parse().unwrap()]);
    let server = serve(settings);
    let mut client = Client::connect(server);
    // In pieces: TCP keeps no boundaries.
    for byte in proxy_header([203, 0, 113, 9]) {
        client.send(&[byte]);
    }
    client.send(REQUEST);
    assert!(client.read_head().contains("200"));
    assert_eq!(client.read_to_end(), b"203.0.113.9 http");
    // The upgrade's gate sees the same address.
    let mut client = Client::connect(server);
    client.send(&proxy_header([203, 0, 113, 9]));
    client.send(upgrade_request("/peer", "").as_bytes());
    assert!(client.read_head().contains("401"));
    assert!(String::from_utf8(client.read_to_end()).unwrap().contains("203.0.113.9"));
    // A visitor that the proxy calls loopback is somebody unknown, not this machine's owner.
    let mut client = Client::connect(server);
    client.send(&[&proxy_header([127, 0, 0, 1])[..], REQUEST].concat());
    assert!(client.read_head().contains("200"));
    assert_eq!(client.read_to_end(), b":: http");
    // A proxy that sends no header is believed as itself.
    let mut client = Client::connect(server);
    client.send(REQUEST);
    assert!(client.read_head().contains("200"));
    assert_eq!(client.read_to_end(), b"127.0.0.1 http");
    // Garbage that begins like a header ends the connection.
    let mut client = Client::connect(server);
    client.send(&[b'\r'; 40]);
    assert!(std::io::Read::read(&mut client.stream, &mut [0]).map_or(true, |n| n == 0), "hung up");
}

#[test]
fn anyone_else_cannot_name_another_address() {
    let mut client = Client::connect(serve(settings()));
    client.send(&[&proxy_header([203, 0, 113, 9])[..], REQUEST].concat());
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
}

#[test]
fn connections_beyond_the_cap_are_dropped_and_places_come_back() {
    let mut settings = settings();
    settings.max_connections = 2;
    let server = serve(settings);
    let (first, _) = Client::open(server, "/chat", "");
    let (_second, _) = Client::open(server, "/chat", "");
    let mut third = Client::connect(server);
    assert!(third.stream.set_nodelay(true).is_ok());
    assert!(std::io::Read::read(&mut third.stream, &mut [0]).map_or(true, |n| n == 0), "hung up");
    drop(first);
    // The place is free once the server has seen the end; until then it hangs up again.
    let until = Instant::now() + Duration::from_secs(20);
    let mut opened = false;
    while !opened && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
        let mut client = Client::connect(server);
        opened = std::io::Write::write_all(&mut client.stream, REQUEST).is_ok()
            && std::io::Read::read(&mut client.stream, &mut [0]).is_ok_and(|n| n == 1);
    }
    assert!(opened);
}

#[tokio::test]
async fn websockets_run_over_tls() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let mut settings = settings();
    settings.tls = Some(tls::server_config(&dir.join("cert.pem"), &dir.join("key.pem")).unwrap());
    let server = serve(settings);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    stream.write_all(upgrade_request("/ws/echo", "").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    let message = vec![b'x'; 500_000];
    let mut frame = client_frame(0x81, &message);
    frame.extend(client_frame(0x88, &1000u16.to_be_bytes()));
    stream.write_all(&frame).await.unwrap();
    let mut echoed = Vec::new();
    stream.read_to_end(&mut echoed).await.unwrap();
    assert_eq!(echoed.len(), 10 + message.len() + 4);
    assert_eq!(echoed[echoed.len() - 4..], [0x88, 2, 3, 232]);
}
