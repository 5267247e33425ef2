//! Who one is in the rooms dialect: guests and owners of names.

use crate::harness::{Server, json};

#[test]
fn sockets_that_name_the_same_guest_share_its_id_and_the_name_is_held() {
    let server = Server::start();
    let id_of = |client: &crate::harness::Client| {
        client.log.iter().find(|frame| frame["type"] == "auth_success").unwrap()["user"]["userId"].clone()
    };
    let (one, two) = (server.rooms("guesty"), server.rooms("guesty"));
    let id = id_of(&one);
    assert_eq!(id_of(&two), id);
    assert_ne!(id_of(&server.rooms("another")), id);
    one.close();
    two.close();
    assert_eq!(id_of(&server.rooms("guesty")), id, "held for some minutes after its last socket");
    let mut native = server.native_silent();
    native.hello(&json!({"guest": "guesty"})).unwrap();
    assert_eq!((&native.welcome["user"]["id"], &native.welcome["user"]["guest"]), (&id, &json!(true)));
}

#[test]
fn a_registered_name_needs_its_own_token_or_password() {
    let server = Server::start();
    let [ann, bob] = ["ann", "bob"].map(|name| server.user(name));
    let mut client = server.rooms_silent();
    client.send(&json!({"type": "auth", "username": "ann"}));
    client.wait_error("USER_EXISTS");
    for wrong in [
        json!({"type": "auth", "username": "ann", "token": bob.token}),
        json!({"type": "auth", "username": "ann", "token": "nonsense"}),
        json!({"type": "auth", "username": "ann", "password": "wrong horse"}),
        json!({"type": "auth", "username": "nobody", "password": "wrong horse"}),
    ] {
        client.send(&wrong);
        let error = client.wait_type("auth_error");
        assert!(error["error"]["code"].is_string() && error["error"]["message"].is_string(), "{error}");
    }
    client.send(&json!({"type": "send_message", "content": "hi"}));
    client.wait_error("UNAUTHORIZED");
    client.send(&json!({"type": "auth", "username": "ann", "password": "correct horse"}));
    assert_eq!(client.wait_type("auth_success")["user"]["userId"], ann.id);
    client.send(&json!({"type": "auth", "username": "bob", "token": bob.token}));
    client.wait_error("INVALID_MESSAGE");
    server.rooms_as(&ann);
}

#[test]
fn a_guest_changes_only_what_its_own_socket_sent() {
    let server = Server::start();
    let mut one = server.rooms_in("guesty", "Lobby");
    let mut two = server.rooms_in("guesty", "Lobby");
    let id = one.say("mine")["id"].clone();
    for frame in [
        json!({"type": "delete_message", "messageId": id}),
        json!({"type": "edit_message", "messageId": id, "content": "yours"}),
    ] {
        two.send(&frame);
        two.wait_error("UNAUTHORIZED");
    }
    one.send(&json!({"type": "delete_message", "messageId": id}));
    assert_eq!(two.wait_type("message_deleted")["messageId"], id);
}

#[test]
fn guests_can_be_switched_off() {
    let server = Server::start_with(&["--guests", "off"]);
    let ann = server.user("ann");
    let mut client = server.rooms_silent();
    for name in ["ann", "nobody"] {
        client.send(&json!({"type": "auth", "username": name}));
        assert_eq!(client.wait_type("auth_error")["error"]["message"], "A token or password is required");
    }
    let mut native = server.native_silent();
    assert_eq!(native.hello(&json!({"guest": "guesty"})).unwrap_err()["code"], "unauthorized");
    assert_eq!(native.wait_close(), 4200);
    server.rooms_as(&ann);
}

#[test]
#[ignore = "takes a minute: run with --ignored"]
fn a_socket_that_does_not_say_who_it_is_is_closed_after_a_minute() {
    let server = Server::start();
    let begun = std::time::Instant::now();
    let mut silent = server.rooms_silent();
    let mut chatty = server.rooms_silent();
    chatty.send(&json!({"type": "command", "command": "rooms"}));
    chatty.wait_error("UNAUTHORIZED");
    let mut known = server.rooms("rita");
    // In turns: who doesn't read answers no ping.
    let (mut codes, step) = ((None, None), std::time::Duration::from_millis(200));
    while codes.0.is_none() || codes.1.is_none() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60) + crate::harness::PATIENCE, "{codes:?}");
        codes = (silent.close_within(step), chatty.close_within(step));
        known.ping();
    }
    assert_eq!(codes, (Some(4102), Some(4102)));
    assert!(begun.elapsed() >= std::time::Duration::from_secs(59), "{:?}", begun.elapsed());
    known.send(&json!({"type": "command", "command": "me"}));
    known.wait("me", |frame| frame["data"]["username"] == "rita");
}
