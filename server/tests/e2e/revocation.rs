//! Credentials that end while sockets are open.

use crate::harness::{Client, Native, PASSWORD, Server, User, http, json};

/// Sockets of every kind with this token.
fn sockets(server: &Server, user: &User) -> (Native, [Client; 3]) {
    (server.native(user), [server.messenger(user), server.presence(user), server.rooms_as(user)])
}

fn all_close_with_4202((mut native, mut others): (Native, [Client; 3])) {
    assert_eq!(native.wait_close(), 4202);
    for client in &mut others {
        assert_eq!(client.wait_close(), 4202);
    }
}

fn refused_everywhere(server: &Server, token: &str) {
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(http(&server.http, "GET /api/profile", &[&bearer], "").status, 401);
    let mut native = server.native_silent();
    assert_eq!(native.hello(&json!({"token": token})).unwrap_err()["code"], "unauthorized");
    let mut raw = crate::harness::raw::Client::connect(server.messenger.parse().unwrap());
    raw.send(crate::harness::raw::upgrade_request("/", &format!("{bearer}\r\n")).as_bytes());
    assert!(raw.read_head().starts_with("HTTP/1.1 401"));
}

#[test]
fn logout_closes_the_sockets_and_voids_the_token_for_good() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut unconcerned = server.native(&bob);
    let open = sockets(&server, &ann);
    let answer = server.post("/api/auth/logout", Some(&ann.token), &json!({}));
    assert_eq!((answer.status, &answer.json()["message"]), (200, &json!("Logout successful")));
    all_close_with_4202(open);
    refused_everywhere(&server, &ann.token);
    assert_eq!(server.post("/api/auth/refresh", None, &json!({"refresh_token": ann.refresh_token})).status, 401);
    unconcerned.ask("ping", &json!({}));
    let server = server.restart_after(&[]);
    refused_everywhere(&server, &ann.token);
    server.native(&server.login("ann", PASSWORD));
}

#[test]
fn a_new_password_closes_the_sockets_and_voids_what_was_issued_before() {
    let server = Server::start();
    let ann = server.user("ann");
    let open = sockets(&server, &ann);
    let wrong = json!({"current_password": "wrong horse", "new_password": "battery staple"});
    assert_eq!(server.post("/api/auth/password", Some(&ann.token), &wrong).status / 100, 4);
    let change = json!({"current_password": PASSWORD, "new_password": "battery staple"});
    let answer = server.post("/api/auth/password", Some(&ann.token), &change);
    assert_eq!(answer.status, 200, "{answer:?}");
    all_close_with_4202(open);
    refused_everywhere(&server, &ann.token);
    let fresh = answer.json()["token"].as_str().unwrap().to_owned();
    server.native_with(&json!({"token": fresh}));
    assert_eq!(server.post("/api/auth/login", None, &json!({"username": "ann", "password": PASSWORD})).status, 401);
    server.login("ann", "battery staple");
}

#[test]
fn a_banned_user_stays_out() {
    let server = Server::start();
    let ann = server.user("ann");
    let server = server.restart_after(&[&["user", "ban", "ann"]]);
    refused_everywhere(&server, &ann.token);
    let login = server.post("/api/auth/login", None, &json!({"username": "ann", "password": PASSWORD}));
    assert_eq!((login.status, &login.json()["error"]), (401, &json!("Invalid username or password")));
    let mut rooms = server.rooms_silent();
    rooms.send(&json!({"type": "auth", "username": "ann", "password": PASSWORD}));
    rooms.wait_type("auth_error");
    let server = server.restart_after(&[&["user", "ban", "ann", "--unban"]]);
    refused_everywhere(&server, &ann.token);
    server.login("ann", PASSWORD);
}
