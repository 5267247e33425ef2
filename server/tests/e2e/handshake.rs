//! Attacks on the handshake: origins, tokens, headers, slowness, silence.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use crate::harness::{
    PATIENCE, Server, http, json,
    raw::{Client, upgrade_request},
};

/// Sends a request's head and returns the status of the answer.
fn status(address: &str, request: &str) -> u16 {
    let mut client = Client::connect(address.parse().unwrap());
    // The server may answer and hang up before all is written.
    let _ = client.stream.write_all(request.as_bytes());
    let head = client.read_head();
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {head:?}"))
}

#[test]
fn pages_of_foreign_origins_get_403_on_every_socket_and_configured_ones_come_in() {
    let server = Server::start_with(&["--allowed-origins", "https://chat.example"]);
    let ann = server.user("ann");
    let bearer = format!("Authorization: Bearer {}\r\n", ann.token);
    for (address, path) in [
        (&server.http, "/"),
        (&server.http, "/ws"),
        (&server.http, "/ws/chat/"),
        (&server.http, "/ws/presence"),
        (&server.messenger, "/"),
        (&server.presence, "/"),
        (&server.ops, "/ws/echo"),
    ] {
        for (origin, expected) in [
            ("https://evil.example", 403),
            ("null", 403),
            ("http://localhost.evil.example", 403),
            ("https://chat.example.evil.example", 403),
            ("https://chat.example", 101),
            ("http://localhost", 101),
        ] {
            // Whether a page may be an operator is another question.
            if path == "/ws/echo" && expected == 101 {
                continue;
            }
            let request = upgrade_request(path, &format!("{bearer}Origin: {origin}\r\n"));
            assert_eq!(status(address, &request), expected, "{path} {origin}");
        }
    }
}

#[test]
fn messenger_sockets_without_a_valid_token_get_401_before_the_upgrade() {
    let server = Server::start();
    let ann = server.user("ann");
    for (address, path) in [
        (&server.messenger, "/"),
        (&server.presence, "/"),
        (&server.http, "/ws/chat"),
        (&server.http, "/ws/chat/"),
        (&server.http, "/ws/presence/"),
    ] {
        for headers in ["", "Authorization: Bearer nonsense\r\n", "Authorization: Basic YW5uOmFubg==\r\n"] {
            assert_eq!(status(address, &upgrade_request(path, headers)), 401, "{path} {headers}");
        }
        let named = format!("{path}?username=ann&authToken=x.y.z");
        assert_eq!(status(address, &upgrade_request(&named, "")), 401, "a name proves nothing");
        let in_query = format!("{path}?username=bob&authToken={}", ann.token);
        assert_eq!(status(address, &upgrade_request(&in_query, "")), 101, "{path}");
        // A wrong header isn't made good by the query.
        assert_eq!(status(address, &upgrade_request(&in_query, "Authorization: Bearer nonsense\r\n")), 401, "{path}");
    }
}

#[test]
fn tokens_passwords_and_messages_never_reach_the_log_even_at_trace() {
    let server = Server::start_with(&["--log-level", "trace", "--log-format", "json"]);
    let ann = server.user("ann");
    let mut messenger = Client::connect(server.messenger.parse().unwrap());
    messenger.send(upgrade_request(&format!("/?authToken={}", ann.token), "").as_bytes());
    assert!(messenger.read_head().starts_with("HTTP/1.1 101"));
    let refused = upgrade_request(&format!("/ws/chat/?authToken={}x", ann.token), "");
    assert_eq!(status(&server.http, &refused), 401);
    http(&server.http, &format!("GET /nothing?authToken={}", ann.token), &[], "");
    server.post("/api/auth/refresh", None, &json!({"refresh_token": ann.refresh_token}));
    server.post("/api/auth/login", None, &json!({"username": "ann", "password": "a-wrong-password"}));
    let ticket =
        server.post("/api/auth/ticket", Some(&ann.token), &json!({})).json()["ticket"].as_str().unwrap().to_owned();
    let mut native = server.native_with(&json!({"ticket": ticket}));
    let lobby = native.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    native.post(&lobby, "a-message-body");
    let mut rooms = server.rooms_silent();
    rooms.send(&json!({"type": "auth", "username": "ann", "password": "another-wrong-password"}));
    rooms.wait_type("auth_error");
    let mut rita = server.rooms_in("rita", "Lobby");
    rita.say("a-rooms-message-body");

    let log = server.log();
    assert!(log.contains("\"TRACE\"") || log.contains("\"DEBUG\""), "a real trace: {log}");
    let signature = ann.token.rsplit('.').next().unwrap();
    for secret in [
        signature,
        &ann.refresh_token,
        &ticket,
        crate::harness::PASSWORD,
        crate::harness::SECRET,
        "a-wrong-password",
        "another-wrong-password",
        "a-message-body",
        "a-rooms-message-body",
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret}: {line:?}");
    }
}

#[test]
fn huge_and_very_many_headers_get_4xx() {
    let server = Server::start();
    let many: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    let huge = format!("X-Huge: {}\r\n", "y".repeat(1 << 20));
    let long_path = format!("/{}", "a".repeat(1 << 20));
    for listener in [&server.http, &server.messenger, &server.ops] {
        for request in [upgrade_request("/", &many), upgrade_request("/", &huge), upgrade_request(&long_path, "")] {
            let status = status(listener, &request);
            assert!((400..500).contains(&status), "{status}");
        }
    }
    assert_eq!(http(&server.http, "GET /health", &[], "").status, 200);
}

#[test]
fn slow_heads_slow_bodies_and_silent_connections_are_cut() {
    let server = Server::start();
    let begun = Instant::now();
    let address = server.address();
    let mut silent = Client::connect(address);
    let mut head = Client::connect(address);
    head.send(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr");
    let mut body = Client::connect(address);
    body.send(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"user");
    // A byte a second is no life either.
    let mut dripping = Client::connect(address);
    dripping.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut drops = b"GET /health HTTP/1.1\r\nHost: a-very-slow-client.example\r\n".iter().cycle();
    loop {
        if dripping.stream.write_all(&[*drops.next().unwrap()]).is_err() {
            break;
        }
        let mut answer = [0; 256];
        match std::io::Read::read(&mut dripping.stream, &mut answer) {
            Ok(0) => break,
            Ok(n) => {
                assert!(answer[..n].starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
                break;
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(_) => assert!(begun.elapsed() < PATIENCE, "a dripping head is never cut"),
        }
    }
    for (name, client) in [("head", &mut head), ("body", &mut body)] {
        let answer = client.read_head();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    assert!(silent.read_to_end().len() < 500);
    assert_eq!(http(&server.http, "GET /health", &[], "").status, 200);
}

#[test]
fn other_hosts_and_methods_find_no_socket() {
    let server = Server::start();
    assert_eq!(status(&server.http, &upgrade_request("/ws/echo", "")), 404, "the echo is the operators'");
    assert_eq!(status(&server.http, &upgrade_request("/admin/live", "")), 404);
    assert_eq!(status(&server.messenger, &upgrade_request("/ws", "")), 404);
    assert_eq!(status(&server.http, &upgrade_request("/ws", "").replace("GET", "POST")), 405);
    assert_eq!(
        http(&server.http, "GET /metrics", &["X-Forwarded-For: 203.0.113.9"], "").status / 100,
        4,
        "never loopback"
    );
}
