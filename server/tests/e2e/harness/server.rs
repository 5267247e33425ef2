//! The real program, in a directory of its own, on free ports of loopback.

use std::{
    fs::File,
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Answer, Client, Native, PATIENCE, Value, client::Options, eventually, http, json};

/// A password that the rules accept.
pub const PASSWORD: &str = "correct horse";
/// Kept out of the data directory, so that tests can sign tokens themselves.
pub const SECRET: &str = "3b1f8a6c2d9e4075bb6a1c3d5e7f90812436587a9bcdef01c0ffee1234567890";

/// A running server; killed when dropped.
pub struct Server {
    process: Child,
    directory: TempDir,
    arguments: Vec<String>,
    pub http: String,
    pub messenger: String,
    pub presence: String,
    pub ops: String,
}

/// A registered user, logged in.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub id: String,
    pub token: String,
    pub refresh_token: String,
}

impl Server {
    /// Starts with the default settings.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts with further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("makes"), arguments)
    }

    /// Starts in a directory that may hold data already.
    pub fn start_in(directory: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let ports = directory.path().join("ports.json");
        // One of an earlier process would be taken for this one's.
        let _ = std::fs::remove_file(&ports);
        let log = File::options().create(true).append(true).open(directory.path().join("stderr")).expect("opens");
        let mut command = program(&directory);
        command.arg("serve").args(["--http", "127.0.0.1:0", "--messenger", "127.0.0.1:0"]);
        command.args(["--presence", "127.0.0.1:0", "--ops", "127.0.0.1:0"]);
        for (flag, value) in [("--log-level", "info"), ("--presence-grace", "1s")] {
            if !arguments.iter().any(|argument| argument == flag) {
                command.args([flag, value]);
            }
        }
        let process = command.args(&arguments).stdout(Stdio::null()).stderr(log).spawn().expect("starts");
        let mut server = Self {
            process,
            directory,
            arguments,
            http: String::new(),
            messenger: String::new(),
            presence: String::new(),
            ops: String::new(),
        };
        let ports = server.wait_for_ports(&ports);
        let address = |name: &str| ports[name][0].as_str().expect("an address").to_owned();
        (server.http, server.messenger) = (address("http"), address("messenger"));
        (server.presence, server.ops) = (address("presence"), address("ops"));
        server
    }

    fn wait_for_ports(&mut self, path: &std::path::Path) -> Value {
        let begun = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(path) {
                return serde_json::from_str(&text).expect("ports.json is JSON");
            }
            if let Some(status) = self.process.try_wait().expect("waits") {
                panic!("the server ended at once: {status}\n{}", self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "the server doesn't start\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns what the server wrote to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr")).expect("reads")
    }

    /// Returns the address of the `http` listener.
    pub fn address(&self) -> SocketAddr {
        self.http.parse().expect("an address")
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let done = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().expect("runs");
        assert!(done.success());
    }

    /// Waits until the process has ended.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let process = &mut self.process;
        eventually("the server's end", || process.try_wait().expect("waits"))
    }

    /// Runs another of the program's commands on the data directory, beside the server.
    pub fn command(&self, arguments: &[&str]) -> Output {
        run(&self.directory, arguments)
    }

    /// Returns the data directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Stops the server, runs another of the program's commands on its data, and starts it again (on other ports).
    pub fn restart_after(mut self, commands: &[&[&str]]) -> Self {
        self.process.kill().expect("kills");
        self.process.wait().expect("waits");
        for &command in commands {
            let done = run(&self.directory, command);
            assert!(done.status.success(), "{command:?}: {done:?}");
        }
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().expect("makes"));
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        Self::start_in(directory, &arguments)
    }

    // ---- accounts
    /// Posts JSON, with a token if there is one.
    pub fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
        let headers: Vec<&str> = bearer.iter().map(String::as_str).collect();
        http(&self.http, &format!("POST {path}"), &headers, &body.to_string())
    }

    /// Registers a user and logs it in.
    pub fn user(&self, name: &str) -> User {
        let answer = self.post("/api/auth/register", None, &json!({"username": name, "password": PASSWORD}));
        assert_eq!(answer.status, 201, "{answer:?}");
        self.login(name, PASSWORD)
    }

    /// Logs a user in, registering it if need be.
    pub fn login_or_register(&self, name: &str) -> User {
        let _ = self.post("/api/auth/register", None, &json!({"username": name, "password": PASSWORD}));
        self.login(name, PASSWORD)
    }

    /// Logs a user in.
    pub fn login(&self, name: &str, password: &str) -> User {
        let answer = self.post("/api/auth/login", None, &json!({"username": name, "password": password}));
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        let text = |field: &str| body[field].as_str().expect("a text").to_owned();
        User { name: text("username"), id: text("user_id"), token: text("token"), refresh_token: text("refresh_token") }
    }

    // ---- sockets
    /// Connects a native client and says hello with a token.
    pub fn native(&self, user: &User) -> Native {
        self.native_with(&json!({"token": user.token}))
    }

    /// Connects a native client whose hello has these fields besides the version.
    pub fn native_with(&self, hello: &Value) -> Native {
        let mut native = self.native_silent();
        native.hello(hello).expect("welcome");
        native
    }

    /// Connects a native client that says nothing yet.
    pub fn native_silent(&self) -> Native {
        Native::new(Client::open(&self.http, "/ws", &Options { subprotocol: true, ..Options::default() }))
    }

    /// Connects a rooms client that says nothing yet.
    pub fn rooms_silent(&self) -> Client {
        let mut client = Client::open(&self.http, "/", &Options::default());
        client.wait_type("system");
        client
    }

    /// Connects a rooms client as a guest.
    pub fn rooms(&self, name: &str) -> Client {
        let mut client = self.rooms_silent();
        client.send(&json!({"type": "auth", "username": name}));
        client.wait_type("auth_success");
        client
    }

    /// Connects a rooms client as a registered user.
    pub fn rooms_as(&self, user: &User) -> Client {
        let mut client = self.rooms_silent();
        client.send(&json!({"type": "auth", "username": user.name, "token": user.token}));
        assert_eq!(client.wait_type("auth_success")["user"], json!({"userId": user.id, "username": user.name}));
        client
    }

    /// Connects a rooms client as a guest, in a room, which it makes if need be.
    pub fn rooms_in(&self, name: &str, room: &str) -> Client {
        let mut client = self.rooms(name);
        client.send(&json!({"type": "create_room", "roomName": room}));
        let answer = client.wait("room_joined or ROOM_EXISTS", |frame| {
            frame["type"] == "room_joined" || frame["error"]["code"] == "ROOM_EXISTS"
        });
        if answer["type"] == "error" {
            client.send(&json!({"type": "join_room", "roomName": room}));
            client.wait_type("room_joined");
        } else {
            client.wait_type("room_created");
        }
        client
    }

    /// Connects a messenger client.
    pub fn messenger(&self, user: &User) -> Client {
        Client::open(&self.messenger, "/", &Options { bearer: Some(&user.token), ..Options::default() })
    }

    /// Connects a messenger client and reads its summary.
    pub fn messenger_ready(&self, user: &User) -> (Client, Value) {
        let mut client = self.messenger(user);
        client.send(&json!({"type": "INIT_DATA"}));
        let summary = client.wait_type("INIT_DATA");
        (client, summary)
    }

    /// Connects a presence socket.
    pub fn presence(&self, user: &User) -> Client {
        Client::open(&self.presence, "/", &Options { bearer: Some(&user.token), ..Options::default() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("the server's last words:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The program with a data directory, away from the settings of whoever runs the tests.
fn program(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag"));
    command.env_clear().env("CHINWAG_SECRET", SECRET).current_dir(directory).arg("--data").arg(directory.path());
    command.stdin(Stdio::null());
    command
}

/// Runs a command of the program to its end.
pub fn run(directory: &TempDir, arguments: &[&str]) -> Output {
    program(directory).args(arguments).output().expect("runs")
}
