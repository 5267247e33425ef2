//! Presence sockets and friends.

use crate::harness::{Server, User, Value, json};

fn befriend(server: &Server, one: &User, other: &User) {
    server.native(one).ask("chat.open", &json!({"with": other.name}));
}

fn statuses(log: &[Value], name: &str) -> Vec<Value> {
    log.iter()
        .filter(|frame| frame["type"] == "STATUS_CHANGE" && frame["username"] == name)
        .map(|frame| frame["status"].clone())
        .collect()
}

#[test]
fn friends_hear_of_a_status_after_the_grace_and_strangers_never() {
    // Long enough that reconnecting takes less, also on a busy machine.
    let server = Server::start_with(&["--presence-grace", "4s"]);
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| server.user(name));
    befriend(&server, &ann, &bob);
    let (mut watching, mut stranger) = (server.presence(&bob), server.presence(&eve));
    // `befriend` had a socket of ann's.
    watching.wait("OFFLINE", |frame| frame["username"] == "ann" && frame["status"] == "OFFLINE");
    let before = watching.log.len();

    let online = |frame: &Value| frame["username"] == "ann" && frame["status"] == "ONLINE";
    let first = server.messenger(&ann);
    watching.wait("ONLINE", online);
    first.close();
    // A reconnect within the grace announces nothing.
    let second = server.messenger(&ann);
    second.close();
    watching.wait("OFFLINE", |frame| frame["username"] == "ann" && frame["status"] == "OFFLINE");
    assert_eq!(statuses(&watching.log[before..], "ann"), ["ONLINE", "OFFLINE"]);

    // A presence socket is a sign of life, too.
    let _third = server.presence(&ann);
    watching.wait("ONLINE", online);
    stranger.ping();
    assert_eq!(statuses(&stranger.log, "ann"), Vec::<Value>::new());
}

#[test]
fn friends_are_listed_with_where_they_are() {
    let server = Server::start();
    let [ann, bob, cleo] = ["ann", "bob", "cleo"].map(|name| server.user(name));
    befriend(&server, &ann, &bob);
    befriend(&server, &ann, &cleo);
    let _online = server.messenger_ready(&bob);
    let (mut client, _) = server.messenger_ready(&ann);
    client.send(&json!({"type": "FETCH_FRIENDS_META"}));
    let friends = client.wait_type("FRIENDS_META")["friends"].as_array().unwrap().clone();
    assert_eq!(friends.len(), 2);
    let of = |name: &str| friends.iter().find(|friend| friend["username"] == name).unwrap();
    assert_eq!((&of("bob")["chatId"], &of("bob")["isOnline"]), (&json!("ann-bob"), &json!(true)));
    assert_eq!(of("cleo")["isOnline"], false);
}

#[test]
fn native_sockets_hear_of_friends_and_of_those_they_watch() {
    let server = Server::start();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| server.user(name));
    let mut watching = server.native(&bob);
    watching.ask("chat.open", &json!({"with": "ann"}));
    let now = watching.ask("presence.watch", &json!({"users": [eve.id]}));
    assert_eq!((&now["presence"][0]["user"]["name"], &now["presence"][0]["online"]), (&json!("eve"), &json!(false)));
    let sockets = [server.messenger(&ann), server.rooms_as(&eve)];
    for name in ["ann", "eve"] {
        watching.event("presence", |event| event["user"]["name"] == name && event["online"] == true);
    }
    sockets.into_iter().for_each(crate::harness::Client::close);
    for name in ["ann", "eve"] {
        let event = watching.event("presence", |event| event["user"]["name"] == name && event["online"] == false);
        assert!(event["last_seen"].as_i64().is_some_and(|at| at > 0), "{event}");
    }
}
