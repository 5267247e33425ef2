//! What operators say over the operations listener.

#[path = "common/net.rs"]
mod common;

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::{Client, client_frame};
use serde_json::{Value, json};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(data: &Path) -> (Server, SocketAddr, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag"));
    command.current_dir(data.parent().expect("it lies in a directory")).arg("serve").arg("--data").arg(data);
    command.args(["--http", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--messenger", "off", "--presence", "off"]);
    let server = Server(command.env_clear().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"));
    let until = Instant::now() + Duration::from_secs(60);
    let ports: Value = loop {
        match std::fs::read(data.join("ports.json")) {
            Ok(text) => break serde_json::from_slice(&text).expect("written whole"),
            Err(_) => assert!(Instant::now() < until, "the server doesn't start"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let address = |kind: &str| ports[kind][0].as_str().expect("is an address").parse().expect("is an address");
    (server, address("http"), address("ops"))
}

fn frame(client: &mut Client) -> Value {
    serde_json::from_slice(&client.read_frame().1).expect("JSON")
}

fn notify(ops: SocketAddr, body: &Value, headers: &str) -> String {
    let body = body.to_string();
    let mut client = Client::connect(ops);
    let len = body.len();
    let head = format!(
        "POST /admin/notification HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len}\r\n"
    );
    client.send(format!("{head}{headers}\r\n{body}").as_bytes());
    client.read_head().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_notification_reaches_who_is_logged_in() {
    let place = tempfile::tempdir().expect("makes a directory");
    let (_server, http, ops) = start(&place.path().join("data"));
    let (mut client, _) = Client::open(http, "/", "");
    assert_eq!(frame(&mut client)["type"], "system");
    client.send(&client_frame(0x81, br#"{"type":"auth","username":"rita"}"#));
    assert_eq!(frame(&mut client)["type"], "auth_success");

    for (body, headers) in [
        (json!({}), ""),
        (json!({"message": "  "}), ""),
        (json!({"message": "x".repeat(4097)}), ""),
        (json!({"message": 5}), ""),
    ] {
        let refused = notify(ops, &body, headers);
        assert!(refused.contains(" 400 "), "{body}: {refused}");
    }
    let page = notify(ops, &json!({"message": "from a page"}), "Origin: http://localhost:9600\r\n");
    // A page that a browser on this machine shows isn't this machine's owner.
    assert!(page.contains(" 401 "), "{page}");

    let sent = notify(ops, &json!({"message": "Back in five minutes"}), "");
    assert!(sent.contains(" 202 "), "{sent}");
    let told = frame(&mut client);
    assert_eq!((&told["type"], &told["message"]), (&json!("notification"), &json!("Back in five minutes")));
    assert!(told["timestamp"].is_string(), "{told}");
    assert_eq!(told.as_object().map(serde_json::Map::len), Some(3), "{told}");
}
