//! Several sockets of one user, and conversations that begin and end meanwhile.

use crate::harness::{Server, json, message_id};

#[test]
fn every_device_hears_what_another_one_does() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let (mut phone, mut laptop) = (server.native(&ann), server.native(&ann));
    let mut messenger = server.messenger(&ann);
    let mut b = server.native(&bob);

    let opened = phone.ask("chat.open", &json!({"with": "bob"}));
    assert_eq!(opened["created"], true);
    let chat = opened["conversation"]["id"].clone();
    for other in [&mut laptop, &mut b] {
        other.event("conversation_added", |event| event["conversation"]["id"] == chat);
    }
    assert_eq!(b.ask("chat.open", &json!({"with": "ann"}))["created"], false);

    let sent = phone.post(&chat, "from the phone");
    let heard = laptop.message("from the phone");
    assert_eq!((&heard["id"], &heard["seq"]), (&sent["id"], &sent["seq"]));
    b.message("from the phone");
    assert_eq!(messenger.wait_type("MESSAGE")["messageId"], sent["id"]);
    laptop.post(&chat, "from the laptop");
    phone.message("from the laptop");
    assert!(
        !phone.has(|frame| frame["event"] == "message" && frame["content"] == "from the phone"),
        "the reply is enough"
    );

    // Pointers are the user's: the other device and the other user see them move.
    let seq = b.post(&chat, "read this")["seq"].clone();
    phone.message("read this");
    assert_eq!(phone.ask("read", &json!({"conversation": chat, "seq": seq}))["unread"], 0);
    for other in [&mut laptop, &mut b] {
        other.event("pointer", |event| {
            event["pointer"] == "read" && event["seq"] == seq && event["user"]["name"] == "ann"
        });
    }
    assert_eq!(laptop.ask("conversation", &json!({"conversation": chat}))["conversation"]["unread"], 0);
}

#[test]
fn joining_and_leaving_reach_the_other_devices() {
    let server = Server::start();
    let ann = server.user("ann");
    let (mut phone, mut laptop) = (server.native(&ann), server.native(&ann));
    let group = phone.ask("group.create", &json!({"name": "crew"}))["conversation"]["id"].clone();
    laptop.event("conversation_added", |event| event["conversation"]["id"] == group);
    phone.post(&group, "hello");
    laptop.message("hello");
    assert_eq!(laptop.ask("group.leave", &json!({"conversation": group}))["left"], true);
    phone.event("conversation_removed", |event| event["conversation"] == group);
    assert_eq!(phone.refused("history", &json!({"conversation": group})), "not_found");
    assert_eq!(server.native(&ann).welcome["conversations"], json!([]));
}

#[test]
fn a_conversation_joined_while_away_is_in_the_welcome() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut b = server.native(&bob);
    let chat =
        b.ask("send", &json!({"to": "ann", "message_id": message_id(), "content": "hi"}))["conversation"].clone();
    let a = server.native(&ann);
    let info = a.listed(&chat);
    assert_eq!((&info["kind"], &info["unread"], &info["with"]["name"]), (&json!("direct"), &json!(1), &json!("bob")));
    assert_eq!(info["with"]["online"], true);
}

#[test]
fn a_room_is_heard_once_by_a_member_that_listens_and_no_more_after_unlisten() {
    let server = Server::start();
    let mut a = server.native(&server.user("ann"));
    let lobby = a.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    let mut member = server.native(&server.user("bob"));
    member.ask("room.join", &json!({"conversation": lobby}));
    member.ask("room.listen", &json!({"conversation": lobby}));
    let mut guest = server.native_with(&json!({"guest": "guesty"}));
    guest.ask("room.listen", &json!({"conversation": lobby}));
    a.post(&lobby, "one");
    guest.message("one");
    guest.ask("room.unlisten", &json!({"conversation": lobby}));
    member.ask("room.unlisten", &json!({"conversation": lobby}));
    a.post(&lobby, "two");
    member.message("two");
    guest.ask("room.listen", &json!({"conversation": lobby}));
    a.post(&lobby, "three");
    guest.message("three");
    member.message("three");
    let heard = |native: &crate::harness::Native| -> Vec<String> {
        let messages = native.log.iter().filter(|frame| frame["event"] == "message");
        messages.map(|event| event["content"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(heard(&member), ["one", "two", "three"], "once each, listening or not");
    assert_eq!(heard(&guest), ["one", "three"]);
    // In two conversations at once.
    let den = a.ask("room.create", &json!({"name": "Den"}))["conversation"]["id"].clone();
    guest.ask("room.listen", &json!({"name": "Den"}));
    a.post(&den, "in the den");
    a.post(&lobby, "in the lobby");
    assert_eq!(
        (guest.message("in the den")["conversation"].clone(), guest.message("in the lobby")["conversation"].clone()),
        (den, lobby)
    );
}

#[test]
fn profiles_rooms_members_and_users_can_be_looked_up() {
    let server = Server::start();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut a = server.native(&ann);
    a.ask("profile.set", &json!({"display_name": "Ann Archer"}));
    let lobby = a.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    let mut b = server.native(&bob);
    b.ask("room.join", &json!({"name": "Lobby"}));
    let members = b.ask("members", &json!({"conversation": lobby}))["members"].as_array().unwrap().clone();
    let names: Vec<_> = members.iter().map(|member| (member["name"].clone(), member["role"].clone())).collect();
    assert_eq!(names, [(json!("ann"), json!("member")), (json!("bob"), json!("member"))]);
    let users = b.ask("users", &json!({"names": ["ann", "nobody"]}))["users"].clone();
    assert_eq!((users.as_array().unwrap().len(), &users[0]["display_name"]), (1, &json!("Ann Archer")));
    let listening = b.ask("room.listen", &json!({"conversation": lobby}));
    assert!(listening["names"].as_array().unwrap().contains(&json!("bob")), "{listening}");
    let rooms = a.ask("rooms", &json!({}))["rooms"].clone();
    assert_eq!((&rooms[0]["id"], &rooms[0]["listeners"]), (&lobby, &listening["listeners"]));
    assert_eq!(b.refused("room.create", &json!({"name": "Lobby"})), "already_exists");
    assert_eq!(a.ask("room.create", &json!({"name": "Lobby"}))["created"], false);
}
