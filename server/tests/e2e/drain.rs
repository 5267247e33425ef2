//! Stopping: SIGTERM tells everybody, loses nothing, ends with 0.

use std::net::TcpStream;

use crate::harness::{Server, eventually, json};

#[test]
fn sigterm_drains_tells_clients_when_to_reconnect_and_ends_with_0() {
    // Longer than a busy machine needs; a second signal ends it.
    let mut server = Server::start_with(&["--drain-window", "60s"]);
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut native = server.native(&ann);
    let (mut messenger, _) = server.messenger_ready(&bob);
    let mut rooms = server.rooms_in("rita", "Lobby");
    let lobby = native.ask("room.join", &json!({"name": "Lobby"}))["conversation"]["id"].clone();

    server.terminate();
    let drain = native.event("drain", |_| true);
    assert!(drain["reconnect_after_ms"].as_u64().is_some_and(|ms| ms < 60_000), "{drain}");
    // What is in flight is still taken, or refused in a way that says 'elsewhere'.
    let send = json!({"conversation": lobby, "message_id": crate::harness::message_id(), "content": "last words"});
    let acknowledged = match native.request("send", &send) {
        Ok(reply) => reply["seq"].is_u64(),
        Err(error) => {
            assert_eq!((&error["code"], &error["retryable"]), (&json!("draining"), &json!(true)));
            false
        }
    };
    let address = server.address();
    eventually("no new connections", || TcpStream::connect(address).is_err().then_some(()));
    server.terminate();
    assert_eq!((native.wait_close(), messenger.wait_close(), rooms.wait_close()), (1001, 1001, 1001));
    assert_eq!(server.wait_for_end().code(), Some(0));

    let server = server.restart_after(&[]);
    let texts = server.native(&ann).texts(&lobby);
    assert_eq!(texts.len(), usize::from(acknowledged), "{texts:?}");
}

#[test]
fn who_stays_is_closed_when_the_window_ends() {
    let mut server = Server::start_with(&["--drain-window", "1s"]);
    let mut native = server.native(&server.user("ann"));
    server.terminate();
    native.event("drain", |_| true);
    assert_eq!(native.wait_close(), 1001);
    assert_eq!(server.wait_for_end().code(), Some(0));
}

#[test]
fn a_server_without_sockets_stops_at_once() {
    let mut server = Server::start_with(&["--drain-window", "60s"]);
    server.terminate();
    assert_eq!(server.wait_for_end().code(), Some(0));
}
