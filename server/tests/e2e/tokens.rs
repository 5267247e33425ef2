//! Attacks on tokens: forged, foreign, of another time.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use sha2::{Digest, Sha256};

use crate::harness::{
    SECRET, Server, User, Value, http, json,
    raw::{Client, upgrade_request},
};

fn key() -> Vec<u8> {
    (0..SECRET.len()).step_by(2).map(|at| u8::from_str_radix(&SECRET[at..at + 2], 16).unwrap()).collect()
}

fn kid() -> String {
    Sha256::digest(key())[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header(algorithm: Algorithm) -> Header {
    Header { kid: Some(kid()), ..Header::new(algorithm) }
}

/// The claims that the server gives, now.
fn claims(user: &User) -> Value {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let now = now_ms / 1000;
    json!({
        "iss": "chinwag", "aud": "chinwag", "typ": "access", "sub": user.id, "username": user.name,
        "jti": uuid::Uuid::now_v7().to_string(), "fam": "1", "iat": now, "nbf": now, "exp": now + 3600, "iat_ms": now_ms,
    })
}

fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn sign(claims: &Value) -> String {
    encode(&header(Algorithm::HS256), claims, &EncodingKey::from_secret(&key())).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    text
}

/// Says how the server takes a token at its three doors: upgrade, REST, native hello.
fn doors(server: &Server, token: &str) -> [bool; 3] {
    let mut client = Client::connect(server.messenger.parse().unwrap());
    client.send(upgrade_request("/", &format!("Authorization: Bearer {token}\r\n")).as_bytes());
    let upgraded = match client.read_head().split(' ').nth(1) {
        Some("101") => true,
        Some("401") => false,
        other => panic!("{other:?}"),
    };
    let rest = match http(&server.http, "GET /api/profile", &[&format!("Authorization: Bearer {token}")], "").status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    };
    let mut native = server.native_silent();
    let hello = match native.hello(&json!({"token": token})) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error["code"], "unauthorized");
            assert_eq!(native.wait_close(), 4200);
            false
        }
    };
    [upgraded, rest, hello]
}

#[test]
fn forged_foreign_expired_and_early_tokens_are_refused_at_every_door() {
    let server = Server::start();
    let ann = server.user("ann");
    let good = claims(&ann);
    // Otherwise all the refusals below would prove nothing.
    assert_eq!(doors(&server, &sign(&good)), [true; 3]);
    assert_eq!(doors(&server, &ann.token), [true; 3]);

    let now = good["iat"].as_u64().unwrap();
    let none = format!("{}.{}.", base64(br#"{"alg":"none","typ":"JWT"}"#), base64(good.to_string().as_bytes()));
    let none_kid = format!(
        "{}.{}.",
        base64(format!(r#"{{"alg":"none","kid":"{}"}}"#, kid()).as_bytes()),
        base64(good.to_string().as_bytes())
    );
    let secret = EncodingKey::from_secret(&key());
    let unknown_kid = Header { kid: Some("abcdefabcdef".into()), ..Header::new(Algorithm::HS256) };
    let mut bytes = key();
    bytes[0] ^= 1;
    let other_key = encode(&header(Algorithm::HS256), &good, &EncodingKey::from_secret(&bytes)).unwrap();
    let signature = other_key.rsplit('.').next().unwrap();
    let own = sign(&good);
    let (head_and_claims, _) = own.rsplit_once('.').unwrap();
    let elevated = {
        let other = changed(&good, "sub", json!("1"));
        let parts: Vec<&str> = own.split('.').collect();
        format!("{}.{}.{}", parts[0], base64(other.to_string().as_bytes()), parts[2])
    };
    let cases = [
        // The first: in a minute it will be valid.
        ("not yet valid", sign(&changed(&good, "nbf", json!(now + 60)))),
        ("alg none", none),
        ("alg none with our key's id", none_kid),
        ("another algorithm", encode(&header(Algorithm::HS384), &good, &secret).unwrap()),
        ("yet another", encode(&header(Algorithm::HS512), &good, &secret).unwrap()),
        ("unknown key id", encode(&unknown_kid, &good, &secret).unwrap()),
        (
            "no key id, another key",
            encode(&Header::new(Algorithm::HS256), &good, &EncodingKey::from_secret(&bytes)).unwrap(),
        ),
        ("another key", other_key.clone()),
        ("another's signature", format!("{head_and_claims}.{signature}")),
        ("no signature", format!("{head_and_claims}.")),
        ("changed claims", elevated),
        ("issuer", sign(&changed(&good, "iss", json!("other")))),
        ("audience", sign(&changed(&good, "aud", json!("other")))),
        ("type", sign(&changed(&good, "typ", json!("refresh")))),
        ("expired", sign(&changed(&good, "exp", json!(now - 1)))),
        ("expired for ever", sign(&changed(&good, "exp", json!(0)))),
        ("expiry as text", sign(&changed(&good, "exp", json!("9999999999")))),
        ("not before as text", sign(&changed(&good, "nbf", json!("0")))),
        ("expiry missing", sign(&changed(&good, "exp", Value::Null))),
        ("user as number", sign(&changed(&good, "sub", json!(1)))),
        ("refresh token", ann.refresh_token.clone()),
        ("huge", "x".repeat(6000)),
    ];
    for (name, token) in cases {
        assert_eq!(doors(&server, &token), [false; 3], "{name}");
    }
}

#[test]
fn a_token_that_runs_out_while_connected_closes_its_sockets_with_4201() {
    let server = Server::start();
    let ann = server.user("ann");
    // A new one for each socket: three to four seconds are enough to open one, not always to open all.
    let soon = || {
        let good = claims(&ann);
        User { token: sign(&changed(&good, "exp", json!(good["iat"].as_u64().unwrap() + 4))), ..ann.clone() }
    };
    let (mut native, mut messenger, mut presence) =
        (server.native(&soon()), server.messenger(&soon()), server.presence(&soon()));
    let mut rooms = server.rooms_as(&soon());
    let mut lasting = server.native(&ann);
    assert_eq!(native.wait_close(), 4201);
    assert_eq!((messenger.wait_close(), presence.wait_close(), rooms.wait_close()), (4201, 4201, 4201));
    lasting.ask("ping", &json!({}));
}

#[test]
fn refresh_tokens_rotate_and_reuse_revokes_the_family() {
    let server = Server::start();
    let ann = server.user("ann");
    let other_login = server.login("ann", crate::harness::PASSWORD);
    let refresh = |token: &str| server.post("/api/auth/refresh", None, &json!({"refresh_token": token}));
    let first = refresh(&ann.refresh_token);
    assert_eq!(first.status, 200);
    let next = first.json();
    let mut socket = server.native_with(&json!({"token": next["token"]}));
    assert_eq!(refresh(&ann.refresh_token).status, 401, "spent");
    assert_eq!(refresh(next["refresh_token"].as_str().unwrap()).status, 401, "its successor fell with it");
    assert_eq!(socket.wait_close(), 4202);
    assert_eq!(refresh(&other_login.refresh_token).status / 100, 2, "another login isn't concerned");
}

#[test]
fn a_short_or_guessable_secret_refuses_to_start_without_telling_it() {
    for secret in ["abcd", &"00".repeat(32), &"zz".repeat(32), &"0123456789abcdef".repeat(4)] {
        let directory = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(directory.path().join("stderr")).unwrap();
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_chinwag"))
            .env_clear()
            .env("CHINWAG_SECRET", secret)
            .current_dir(directory.path())
            .args(["--data", ".", "--http", "127.0.0.1:0", "--messenger", "off", "--presence", "off", "--ops", "off"])
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let begun = std::time::Instant::now();
        let status = loop {
            match process.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > crate::harness::PATIENCE => {
                    process.kill().unwrap();
                    panic!("it started with {secret}: {}", process.wait().unwrap());
                }
                None => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        };
        let said = std::fs::read_to_string(directory.path().join("stderr")).unwrap();
        assert!(matches!(status.code(), Some(2 | 3)), "{secret}: {status} {said}");
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn tickets_work_once() {
    let server = Server::start();
    let ann = server.user("ann");
    assert_eq!(server.post("/api/auth/ticket", None, &json!({})).status, 401);
    let answer = server.post("/api/auth/ticket", Some(&ann.token), &json!({})).json();
    assert!(answer["expires_in_ms"].as_u64().unwrap() <= 30_000);
    let native = server.native_with(&json!({"ticket": answer["ticket"]}));
    assert_eq!(native.welcome["user"]["name"], "ann");
    let mut again = server.native_silent();
    assert_eq!(again.hello(&json!({"ticket": answer["ticket"]})).unwrap_err()["code"], "unauthorized");
    assert_eq!(again.wait_close(), 4200);
}
