//! The program as an init system sees it: signals, and what it leaves behind.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Whatever is awaited comes within this time, also on a busy machine: a start alone syncs some files.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(data: &Path, http: &str, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag"));
        command.current_dir(data.parent().expect("it lies in a directory")).arg("serve").arg("--data").arg(data);
        command.args(["--http", http, "--messenger", "off", "--presence", "off", "--ops", "off"]).args(more);
        command.env_clear().stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("starts"))
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status();
        assert!(done.expect("kill runs").success());
    }

    fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + within;
        loop {
            match self.0.try_wait().expect("is our child") {
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                ended => return ended,
            }
        }
    }
}

fn http_of(data: &Path) -> SocketAddr {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = fs::read_to_string(data.join("ports.json")) {
            let ports: serde_json::Value = serde_json::from_str(&text).expect("written whole");
            return ports["http"][0].as_str().expect("is an address").parse().expect("is an address");
        }
        assert!(Instant::now() < until, "the server doesn't start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_second_signal_ends_a_long_drain() {
    let place = tempfile::tempdir().expect("makes a directory");
    let data = place.path().join("data");
    let mut server = Server::start(&data, "127.0.0.1:0", &["--drain-window", "10min"]);
    let mut socket = TcpStream::connect(http_of(&data)).expect("connects");
    socket.set_read_timeout(Some(PATIENCE)).expect("sets");
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).expect("writes");
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).expect("answers");
    assert_eq!(&answer, b"HTTP/1.1 101");
    server.signal("TERM");
    assert!(server.ended(Duration::from_secs(1)).is_none(), "the socket has its window");
    server.signal("TERM");
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).expect("hangs up");
    let close = rest.windows(4).position(|bytes| bytes[0] == 0x88 && bytes[2..] == 1001u16.to_be_bytes());
    assert!(close.is_some(), "with 1001");
    drop(socket);
    assert_eq!(server.ended(PATIENCE).and_then(|status| status.code()), Some(0));
}

#[test]
fn a_signal_right_after_the_start_drains_too() {
    let place = tempfile::tempdir().expect("makes a directory");
    let data = place.path().join("data");
    let mut server = Server::start(&data, "127.0.0.1:0", &[]);
    http_of(&data);
    server.signal("TERM");
    assert_eq!(server.ended(PATIENCE).and_then(|status| status.code()), Some(0));
}

#[test]
fn addresses_of_an_earlier_start_are_not_left() {
    let place = tempfile::tempdir().expect("makes a directory");
    let data = place.path().join("data");
    fs::create_dir(&data).expect("makes a directory");
    fs::write(data.join("ports.json"), r#"{"http":["127.0.0.1:1"]}"#).expect("writes");
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let mut server = Server::start(&data, &taken.local_addr().expect("has one").to_string(), &[]);
    assert_eq!(server.ended(PATIENCE).and_then(|status| status.code()), Some(4));
    assert!(!data.join("ports.json").exists());
}
