//! WebSockets over real TCP: what well-behaved and other clients get.

#[path = "common/net.rs"]
mod common;

use std::{
    net::SocketAddr,
    sync::LazyLock,
    time::{Duration, Instant},
};

use chinwag_schema::{
    limits::socket::{CONTROL_FRAMES_MAX_PER_S, MESSAGE_MAX_BYTES},
    wire::deflate,
};
use common::{Client, OPENED, client_frame, serve, settings, upgrade_request};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| serve(settings()));
const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

fn status_of(request: &str) -> (String, String) {
    let mut client = Client::connect(*SERVER);
    client.send(request.as_bytes());
    let head = client.read_head();
    let body = String::from_utf8(client.read_to_end()).unwrap();
    (head.lines().next().unwrap_or_default().to_owned(), body)
}

#[tokio::test]
async fn an_ordinary_client_is_echoed() {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws/echo", *SERVER)).await.unwrap();
    for message in [Message::text("héllo"), Message::binary(vec![7; 300_000]), Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while let Some(message) = socket.next().await {
        assert!(matches!(message, Ok(Message::Close(_))));
    }
}

#[test]
fn fragments_with_a_ping_between_them_make_one_message() {
    let (mut client, _) = Client::open(*SERVER, "/chat", "");
    for bytes in [client_frame(0x01, b"one "), client_frame(0x89, b"?"), client_frame(0x80, b"message")] {
        for byte in bytes {
            client.send(&[byte]);
        }
    }
    assert_eq!(client.read_frame(), (0x8A, b"?".to_vec()));
    assert_eq!(client.read_frame(), (0x81, b"one message".to_vec()));
}

#[test]
fn a_socket_is_open_before_its_client_can_know() {
    // A server of its own: the others' sockets needn't wait for this one.
    let (_client, _) = Client::open(serve(settings()), "/slow-to-open", "");
    assert!(OPENED.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn a_message_right_behind_the_handshake_is_not_lost() {
    let mut client = Client::connect(*SERVER);
    let mut bytes = upgrade_request("/chat", "").into_bytes();
    bytes.extend(client_frame(0x81, b"early"));
    client.send(&bytes);
    assert!(client.read_head().starts_with("HTTP/1.1 101"));
    assert_eq!(client.read_frame(), (0x81, b"early".to_vec()));
}

#[test]
fn requests_before_the_handshake_get_their_answers_first() {
    let before = "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n";
    for path in ["/chat", "/peer", "/nothing/here"] {
        let mut client = Client::connect(*SERVER);
        client.send(format!("{before}{before}{}", upgrade_request(path, "")).as_bytes());
        for _ in 0..2 {
            let head = client.read_head();
            assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
            let mut body = [0; 14];
            std::io::Read::read_exact(&mut client.stream, &mut body).unwrap();
            assert_eq!(&body, b"127.0.0.1 http");
        }
        let head = client.read_head();
        assert!(!head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        if path == "/chat" {
            client.send(&client_frame(0x81, b"hello"));
            assert_eq!(client.read_frame(), (0x81, b"hello".to_vec()));
        }
    }
}

#[test]
fn oversized_messages_are_refused_with_1009() {
    let (mut client, _) = Client::open(*SERVER, "/chat", "");
    client.send(&client_frame(0x82, &vec![0; MESSAGE_MAX_BYTES]));
    assert_eq!(client.read_frame().1.len(), MESSAGE_MAX_BYTES);
    // The header alone decides.
    client.send(&client_frame(0x82, &vec![0; MESSAGE_MAX_BYTES + 1])[..14]);
    assert_eq!(client.read_close(), 1009);

    let (mut client, _) = Client::open(*SERVER, "/chat", "");
    client.send(&client_frame(0x02, &vec![0; MESSAGE_MAX_BYTES]));
    client.send(&client_frame(0x80, b"x"));
    assert_eq!(client.read_close(), 1009);
    assert!(client.read_to_end().is_empty());
}

#[test]
fn compression_is_agreed_upon_and_used_in_both_directions() {
    let (mut client, head) = Client::open(*SERVER, "/chat", DEFLATE);
    assert!(head.contains("server_max_window_bits=10"), "{head}");
    let text = "what goes around comes around ".repeat(100);
    let mut body = Vec::new();
    assert!(deflate::compress(text.as_bytes(), &mut body));
    client.send(&client_frame(0xC1, &body));
    assert_eq!(client.read_frame(), (0xC1, body));
    let (_, head) =
        Client::open(*SERVER, "/chat", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n");
    assert!(!head.to_ascii_lowercase().contains("sec-websocket-extensions"), "{head}");
}

#[test]
fn a_deflate_bomb_is_refused_and_the_server_lives_on() {
    let (mut client, _) = Client::open(*SERVER, "/chat", DEFLATE);
    let mut bomb = Vec::new();
    assert!(deflate::compress(&vec![0; 8 << 20], &mut bomb));
    assert!(bomb.len() < MESSAGE_MAX_BYTES);
    client.send(&client_frame(0xC2, &bomb));
    assert_eq!(client.read_close(), 1009);
    let (mut client, _) = Client::open(*SERVER, "/chat", "");
    client.send(&client_frame(0x81, b"still there?"));
    assert_eq!(client.read_frame().1, b"still there?");
}

#[test]
fn a_flood_of_control_frames_is_cut() {
    let (mut client, _) = Client::open(*SERVER, "/chat", "");
    // Twice as many, in case the second changes in the middle.
    client.send(&client_frame(0x8A, b"").repeat(CONTROL_FRAMES_MAX_PER_S as usize * 2 + 1));
    assert_eq!(client.read_close(), 1008);
}

#[test]
fn a_half_closed_socket_is_closed() {
    let (mut client, _) = Client::open(*SERVER, "/chat", "");
    client.half_close();
    assert!(client.read_to_end().is_empty());
    // With a close frame before it, the answer still comes.
    let (mut client, _) = Client::open(*SERVER, "/chat", "");
    client.send(&client_frame(0x88, &1000u16.to_be_bytes()));
    client.half_close();
    assert_eq!(client.read_close(), 1000);
    assert!(client.read_to_end().is_empty());
}

#[test]
fn refused_upgrades_get_an_http_status() {
    let good = upgrade_request("/chat", "");
    for (request, status) in [
        (good.replace("GET", "DELETE"), "405"),
        (good.replace("Version: 13", "Version: 8"), "426"),
        (good.replace("Key: dGhl", "Key: "), "400"),
        (good.replace("Connection: Upgrade", "Connection: close"), "400"),
        (upgrade_request("/origin", "Origin: http://evil.example\r\n"), "403"),
        (upgrade_request("/peer", ""), "401"),
        (upgrade_request("/nothing/here", ""), "404"),
    ] {
        let (line, _) = status_of(&request);
        assert_eq!(line.split(' ').nth(1), Some(status), "{request}");
    }
    let (_, body) = status_of(&upgrade_request("/origin", "Origin: http://evil.example\r\n"));
    assert_eq!(body, r#"{"error":{"code":"forbidden","message":"foreign origin"}}"#);
}

#[test]
fn a_page_whose_name_was_rebound_to_this_machine_is_foreign() {
    let page = |host: &str, headers: &str| {
        let headers = format!("Origin: http://{host}\r\n{headers}");
        let request = upgrade_request("/origin", &headers).replace("Host: localhost", &format!("Host: {host}"));
        status_of(&request).0
    };
    assert!(page("rebound.example:3000", "").contains("403"));
    // 404: it went past the gate.
    assert!(page("localhost:3000", "").contains("404"));
    assert!(page("127.0.0.1:3000", "").contains("404"));
    let proxied = page("chat.example", "X-Forwarded-For: 203.0.113.9\r\n");
    assert!(proxied.contains("404"), "behind a proxy names are usual: {proxied}");
}

#[test]
fn other_upgrades_are_plain_requests() {
    let (line, body) = status_of(
        "GET /peer HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    );
    assert!(line.contains("200"), "{line}");
    assert_eq!(body, "127.0.0.1 http");
}

#[tokio::test]
async fn websockets_of_the_application_work_too() {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/shout", *SERVER)).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("HELLO"));
}

#[test]
fn very_many_and_huge_headers_are_refused() {
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let huge = format!("x-huge: {}\r\n", "y".repeat(200_000));
    for headers in [many, huge] {
        let mut client = Client::connect(*SERVER);
        // The server may answer and hang up before all is written.
        let _ = std::io::Write::write_all(&mut client.stream, upgrade_request("/chat", &headers).as_bytes());
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 4"), "{head}");
    }
}

#[test]
fn slow_heads_and_slow_bodies_are_cut_within_ten_seconds() {
    let begun = Instant::now();
    let mut head = Client::connect(*SERVER);
    head.send(b"GET /chat HTTP/1.1\r\nHost: x\r\n");
    let mut body = Client::connect(*SERVER);
    body.send(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123");
    let mut later = Client::connect(*SERVER);
    later.send(b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(later.read_head().starts_with("HTTP/1.1 200"));
    later.send(b"GET /peer HTTP/1.1\r\nHo");
    let mut silent = Client::connect(*SERVER);
    assert!(silent.read_to_end().is_empty() || begun.elapsed() > Duration::from_secs(5));
    let answers = [head.read_head(), body.read_head()];
    assert!(answers.iter().all(|head| head.starts_with("HTTP/1.1 4")), "{answers:?}");
    assert_eq!(later.read_to_end(), b"127.0.0.1 http", "the second request is cut");
}
