//! Attacks on resources: too big, too deep, too many, too fast.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use chinwag_schema::wire::deflate;

use crate::harness::{
    PATIENCE, Server, http, json, message_id,
    raw::{Client, client_frame, upgrade_request},
};

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const LIMIT: usize = 64 * 1024;

/// A raw socket of each dialect: rooms, native, messenger.
fn sockets(server: &Server, headers: &str) -> Vec<Client> {
    let ann = server.login_or_register("ann");
    let bearer = format!("{headers}Authorization: Bearer {}\r\n", ann.token);
    let mut rooms = Client::open(server.address(), "/", headers).0;
    rooms.read_frame();
    vec![
        rooms,
        Client::open(server.address(), "/ws", headers).0,
        Client::open(server.messenger.parse().unwrap(), "/", &bearer).0,
    ]
}

fn lives(server: &Server) {
    assert_eq!(http(&server.http, "GET /health", &[], "").status, 200);
    server.native_with(&json!({"guest": "prober"})).ask("ping", &json!({}));
}

#[test]
fn frames_and_reassembled_messages_beyond_the_limit_close_with_1009() {
    let server = Server::start();
    for mut client in sockets(&server, "") {
        // The header alone decides: nothing is buffered.
        client.send(&client_frame(0x81, &vec![b'x'; LIMIT + 1])[..14]);
        assert_eq!(client.read_close(), 1009);
    }
    for mut client in sockets(&server, "") {
        client.send(&[0x81, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        assert_eq!(client.read_close(), 1009, "a length of 2^63 - 1");
    }
    for mut client in sockets(&server, "") {
        client.send(&client_frame(0x01, &vec![b'x'; LIMIT]));
        client.send(&client_frame(0x80, b"x"));
        assert_eq!(client.read_close(), 1009, "in fragments");
    }
    lives(&server);
}

#[test]
fn deflate_bombs_close_with_1009() {
    let server = Server::start();
    let mut bomb = Vec::new();
    assert!(deflate::compress(&vec![b' '; 32 << 20], &mut bomb));
    assert!(bomb.len() < LIMIT, "{} bytes would be too big anyway", bomb.len());
    for mut client in sockets(&server, DEFLATE) {
        client.send(&client_frame(0xC1, &bomb));
        assert_eq!(client.read_close(), 1009);
    }
    lives(&server);
}

#[test]
fn endless_continuations_and_floods_of_control_frames_close_with_1008() {
    let server = Server::start();
    for (name, first, flood) in [
        ("empty fragments", &client_frame(0x01, b"")[..], client_frame(0x00, b"")),
        ("tiny fragments", &client_frame(0x01, b""), client_frame(0x00, b"x")),
        ("pings", b"", client_frame(0x89, b"?")),
        ("pongs", b"", client_frame(0x8A, b"")),
    ] {
        for mut client in sockets(&server, "") {
            client.send(first);
            // The server may hang up before all is written.
            let _ = client.stream.write_all(&flood.repeat(3000));
            let code = loop {
                let (first, payload) = client.read_frame();
                if first == 0x88 {
                    break u16::from_be_bytes([payload[0], payload[1]]);
                }
            };
            assert_eq!(code, 1008, "{name}");
        }
    }
    lives(&server);
}

#[test]
fn malformed_websocket_frames_have_their_close_codes() {
    let server = Server::start();
    for (name, frame, expected) in [
        ("unmasked", vec![0x81, 2, b'h', b'i'], 1002),
        ("reserved bit", client_frame(0x91, b"hi"), 1002),
        ("reserved opcode", client_frame(0x83, b"hi"), 1002),
        ("continuation of nothing", client_frame(0x80, b"hi"), 1002),
        ("fragmented ping", client_frame(0x09, b"hi"), 1002),
        ("long ping", client_frame(0x89, &[0; 126]), 1002),
        ("invalid UTF-8", client_frame(0x81, b"\xff\xfe"), 1007),
        ("compressed without an agreement", client_frame(0xC1, b"hi"), 1002),
    ] {
        for mut client in sockets(&server, "") {
            client.send(&frame);
            assert_eq!(client.read_close(), expected, "{name}");
        }
    }
    let mut native = Client::open(server.address(), "/ws", "").0;
    native.send(&client_frame(0x82, b"hi"));
    assert_eq!(native.read_close(), 1003, "native frames are text");
    for mut client in sockets(&server, DEFLATE) {
        client.send(&client_frame(0xC1, b"\xff\xff\xff\xff"));
        assert!([1002, 1007].contains(&client.read_close()), "no deflate stream");
    }
    lives(&server);
}

#[test]
fn sockets_of_one_user_are_capped() {
    let server = Server::start_with(&["--max-sockets-per-user", "3"]);
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut kept = vec![server.native(&ann), server.native(&ann), server.native(&ann)];
    let mut fourth = server.native_silent();
    fourth.begin("hello", &json!({"protocol": 1, "token": ann.token}));
    assert_eq!(fourth.wait_close(), 4101);
    assert_eq!(server.messenger(&ann).wait_close(), 4101, "whatever the dialect");
    server.native(&bob).ask("ping", &json!({}));
    for native in &mut kept {
        native.ask("ping", &json!({}));
    }
    drop(kept.pop());
    crate::harness::eventually("a place is free again", || {
        let mut native = server.native_silent();
        let hello = native.begin("hello", &json!({"protocol": 1, "token": ann.token}));
        native.wait_unless_closed("a welcome", |frame| frame["id"] == hello)?;
        // The directory, which counts, is asked after it was told of this socket.
        let users = native.begin("users", &json!({"names": ["ann"]}));
        native.wait_unless_closed("who is online", |frame| frame["id"] == users)
    });
}

#[test]
fn long_passwords_and_bodies_are_refused_before_they_cost_anything() {
    let server = Server::start();
    server.user("ann");
    for (path, name) in [("/api/auth/login", "ann"), ("/api/auth/login", "nobody"), ("/api/auth/register", "new")] {
        let answer = server.post(path, None, &json!({"username": name, "password": "x".repeat(1025)}));
        assert!([400, 401, 413].contains(&answer.status), "{path}: {answer:?}");
        let answer = server.post(path, None, &json!({"username": name, "password": "x".repeat(100_000)}));
        assert_eq!(answer.status, 413, "{path}");
    }
    let answer = server.post("/api/auth/login", None, &json!({"username": "new", "password": "x".repeat(1025)}));
    assert_ne!(answer.status, 200, "it wasn't registered");
    let mut rooms = server.rooms_silent();
    rooms.send(&json!({"type": "auth", "username": "ann", "password": "x".repeat(60_000)}));
    rooms.wait_type("auth_error");
    // A body that never ends, and one of unknown length.
    let mut client = Client::connect(server.address());
    client.send(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    for _ in 0..64 {
        if client.stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    assert!(client.read_head().starts_with("HTTP/1.1 413"));
}

#[test]
fn a_flood_of_logins_leaves_open_sockets_fast() {
    let server = Server::start();
    server.user("ann");
    let mut native = server.native_with(&json!({"guest": "guesty"}));
    let mut pings = Vec::new();
    let mut flood = Duration::ZERO;
    std::thread::scope(|scope| {
        let logins: Vec<_> = (0..20)
            .map(|n| {
                let server = &server;
                scope.spawn(move || {
                    let body = json!({"username": format!("nobody{n}"), "password": "some password"});
                    server.post("/api/auth/login", None, &body).status
                })
            })
            .collect();
        let begun = Instant::now();
        while logins.iter().any(|login| !login.is_finished()) {
            assert!(begun.elapsed() < PATIENCE);
            let asked = Instant::now();
            native.ask("ping", &json!({}));
            pings.push(asked.elapsed());
        }
        flood = begun.elapsed();
        for login in logins {
            assert!([401, 429, 503].contains(&login.join().unwrap()));
        }
    });
    pings.sort();
    // Hashed on a thread that serves sockets, each password would hold a ping up for its twentieth of the flood; behind them in a
    // queue, for all of it. Fractions of the flood, not milliseconds: how fast the machine is doesn't matter then.
    let median = pings[pings.len() / 2];
    println!("{} pings, median {median:?}, during {flood:?}", pings.len());
    assert!(pings.len() >= 20 && median < flood / 40, "{} pings, median {median:?}, during {flood:?}", pings.len());
}

#[test]
fn failed_logins_are_throttled_without_locking_the_owner_out() {
    let server = Server::start();
    let ann = server.user("ann");
    let mut native = server.native(&ann);
    let attempt =
        |password: &str| server.post("/api/auth/login", None, &json!({"username": "ann", "password": password}));
    let statuses: Vec<u16> = (0..12).map(|n| attempt(&format!("guess {n}")).status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    let throttled = attempt("another guess");
    assert!(throttled.head.to_lowercase().contains("retry-after: "), "{throttled:?}");
    native.ask("ping", &json!({}));
    server.native(&ann);
}

#[test]
fn unknown_and_known_users_get_the_same_answer_after_the_same_work() {
    let server = Server::start_with(&["--unlimited"]);
    server.user("ann");
    let attempt = |name: &str| {
        let begun = Instant::now();
        let answer = server.post("/api/auth/login", None, &json!({"username": name, "password": "wrong horse"}));
        (answer.status, answer.body, begun.elapsed())
    };
    // The fastest of each, and more of them if the machine was busy: it only delays. Without the hash the answer would come within a
    // millisecond, and the two never meet.
    let mut fastest = [Duration::MAX; 2];
    let met = (0..40).any(|n| {
        let (known, unknown) = (attempt("ann"), attempt(&format!("nobody{n}")));
        assert_eq!((known.0, &known.1), (unknown.0, &unknown.1));
        assert_eq!(known.0, 401);
        fastest = [fastest[0].min(known.2), fastest[1].min(unknown.2)];
        n >= 4 && fastest[1] > fastest[0] / 3
    });
    assert!(met, "known, unknown: {fastest:?}");
}

#[test]
fn a_reader_that_never_reads_does_not_hold_its_room_up() {
    let server = Server::start_with(&["--unlimited"]);
    let mut ann = server.native(&server.user("ann"));
    let lobby = ann.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    let mut stuck = Client::connect(server.address());
    stuck.send(upgrade_request("/", "").as_bytes());
    assert!(stuck.read_head().starts_with("HTTP/1.1 101"));
    stuck.send(&client_frame(0x81, br#"{"type":"auth","username":"stuck"}"#));
    stuck.send(&client_frame(0x81, br#"{"type":"join_room","roomName":"Lobby"}"#));
    let mut rita = server.rooms_in("rita", "Lobby");
    let content = "x".repeat(4000);
    for round in 0..30 {
        let ids: Vec<String> = (0..100)
            .map(|_| ann.begin("send", &json!({"conversation": lobby, "message_id": message_id(), "content": content})))
            .collect();
        for id in ids {
            ann.reply(&id).unwrap();
        }
        let marker = format!("round {round}");
        ann.post(&lobby, &marker);
        rita.wait_room_message(&marker);
        rita.forget();
    }
    lives(&server);
}
