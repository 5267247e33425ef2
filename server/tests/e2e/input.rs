//! Strange texts: kept and given back as typed, never understood as anything.

use crate::harness::{Server, json, message_id};

/// Markup, bidirectional and control characters, quotes of query languages, the edges of Unicode.
const TEXTS: [&str; 14] = [
    "<script>alert('x')</script><img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp; \u{a0}",
    "\u{202e}gnp.exe\u{202c} \u{2066}x\u{2069}",
    "bell \u{7} escape \u{1b}[31mred\u{1b}[0m null \u{0} delete \u{7f}",
    "'; DROP TABLE events; --",
    "\" OR 1=1 /* ",
    "{\"$gt\": \"\"} ${jndi:ldap://x/y} {{7*7}} %s%n %00",
    "\r\nSet-Cookie: a=b\r\n\r\n",
    "*3\r\n$3\r\nSET\r\n",
    "e\u{301} is not \u{e9}",
    "\u{feff}\u{200b}\u{2028}\u{2029}\u{fffd}\u{10ffff}",
    "👩‍👩‍👧‍👦 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "  outer blanks stay  \n",
    "\\u0041 \\n \\",
];

#[test]
fn texts_are_stored_and_shown_as_typed_in_every_dialect() {
    let server = Server::start_with(&["--unlimited"]);
    let mut rita = server.rooms_in("rita", "Lobby");
    let mut ann = server.native(&server.user("ann"));
    let lobby = ann.ask("room.join", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    let (mut mia, _) = server.messenger_ready(&server.user("mia"));
    mia.send(&json!({"type": "JOIN_GROUP_CHAT", "groupId": lobby, "username": "mia"}));
    mia.wait_type("SUCCESS");
    let mut expected = Vec::new();
    for text in TEXTS {
        for (dialect, n) in [("native", 0), ("rooms", 1), ("messenger", 2)] {
            // The same text three times would look the same; a number tells them apart.
            let text = format!("{n}{text}");
            match dialect {
                "native" => {
                    drop(ann.ask("send", &json!({"conversation": lobby, "message_id": message_id(), "content": text})))
                }
                "rooms" => rita.send(&json!({"type": "send_message", "content": text})),
                _ => mia.send(&json!({"type": "GROUP_CHAT", "from": "mia", "to": lobby, "content": text})),
            }
            rita.wait_room_message(&text);
            if dialect != "native" {
                ann.message(&text);
            }
            if dialect != "messenger" {
                mia.wait(&text, |frame| frame["type"] == "GROUP_CHAT" && frame["content"] == text);
            }
            expected.push(text);
        }
    }
    assert_eq!(ann.texts(&lobby), expected);
    let server = server.restart_after(&[]);
    let mut bob = server.native(&server.user("bob"));
    assert_eq!(bob.texts(&lobby), expected, "after a restart, from the disk");
    let mut rita = server.rooms("rita");
    rita.send(&json!({"type": "join_room", "roomName": "Lobby"}));
    let history = rita.wait_type("message_history")["messages"].as_array().unwrap().clone();
    let shown: Vec<_> = history.iter().map(|row| row["content"].as_str().unwrap().to_owned()).collect();
    assert_eq!(shown, expected[expected.len() - 20..]);
}

#[test]
fn strange_names_of_users_groups_and_displays_come_back_as_given() {
    let server = Server::start();
    let names = [
        "Robert'); DROP TABLE users;--",
        "\" OR \"\"=\"",
        "<b>bold</b>",
        "a-b-c",
        "名前テスト",
        "per%cent_under",
        "\u{202e}evil",
    ];
    let mut bob = server.native(&server.user("bob"));
    for name in names {
        let user = server.user(name);
        assert_eq!(user.name, name);
        let mut native = server.native(&user);
        native.ask("profile.set", &json!({"display_name": name}));
        let group = native.ask("group.create", &json!({"name": name}))["conversation"].clone();
        assert_eq!(group["name"], name);
        let chat =
            bob.ask("send", &json!({"to": name, "message_id": message_id(), "content": name}))["conversation"].clone();
        let message = native.message(name);
        assert_eq!((&message["conversation"], &message["content"]), (&chat, &json!(name)));
        let found = bob.ask("users", &json!({"names": [name]}))["users"].clone();
        assert_eq!(
            (found.as_array().unwrap().len(), &found[0]["name"], &found[0]["display_name"]),
            (1, &json!(name), &json!(name))
        );
    }
    // Wildcards are characters.
    for pattern in ["%", "bo_", "b%b", "BOB"] {
        let found = bob.request("users", &json!({"names": [pattern]}));
        assert!(found.is_err() || found.unwrap()["users"] == json!([]), "{pattern}");
    }
    let server = server.restart_after(&[]);
    for name in names {
        let native = server.native(&server.login(name, crate::harness::PASSWORD));
        assert_eq!(native.welcome["user"]["display_name"], name);
    }
}

#[test]
fn names_that_could_deceive_are_refused_or_made_one() {
    let server = Server::start();
    server.user("zo\u{eb}");
    for (name, status) in [
        ("zoe\u{308}", 409),
        ("  zo\u{eb} ", 409),
        ("a\u{0}b", 400),
        ("tab\there", 400),
        ("line\nbreak", 400),
        ("ab", 400),
        ("   ", 400),
        (&"x".repeat(65), 400),
    ] {
        let answer = server.post("/api/auth/register", None, &json!({"username": name, "password": "secret1"}));
        assert_eq!(answer.status, status, "{name:?}: {answer:?}");
        assert!(answer.json()["error"].is_string(), "{answer:?}");
    }
}

#[test]
fn malformed_requests_get_4xx_as_json_and_the_server_lives_on() {
    let server = Server::start();
    let deep = format!("{}{}", "[".repeat(8000), "]".repeat(8000));
    for path in
        ["/api/auth/register", "/api/auth/login", "/auth/login", "/api/auth/api/auth/login", "/api/auth/refresh"]
    {
        for body in [
            "{",
            "[]",
            "null",
            "\"text\"",
            "{\"username\":5,\"password\":[]}",
            "{\"username\":\"ann\"}",
            "{\"username\":\"ann\",\"password\":{\"$ne\":null}}",
            &deep,
            "\u{feff}{}",
            "{\"username\":\"\\ud800\",\"password\":\"x\"}",
        ] {
            let answer = crate::harness::http(&server.http, &format!("POST {path}"), &[], body);
            assert_eq!(answer.status, 400, "{path} {}: {answer:?}", &body[..body.len().min(60)]);
            assert!(answer.json()["error"].is_string() || answer.json()["error"]["code"].is_string(), "{answer:?}");
        }
        let answer = crate::harness::http(&server.http, &format!("POST {path}"), &["Content-Type: text/plain"], "");
        assert_eq!(answer.status / 100, 4, "{path}");
        assert_eq!(crate::harness::http(&server.http, &format!("GET {path}"), &[], "").status / 100, 4, "{path}");
    }
    for line in
        ["GET /../../etc/passwd", "GET /%2e%2e/%2e%2e/etc/passwd", "GET /ws/../api/profile", "DELETE /api/profile"]
    {
        let answer = crate::harness::http(&server.http, line, &[], "");
        assert_eq!(answer.status / 100, 4, "{line}: {answer:?}");
    }
    assert_eq!(server.user("ann").name, "ann");
}
