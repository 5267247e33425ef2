//! The operators' listener as the console uses it: what it shows, what it does and for whom, and the audit log.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message, WebSocket, client as upgrade, client::IntoClientRequest as _, http::HeaderValue,
};

/// Whatever is awaited comes within this time, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    place: tempfile::TempDir,
    http: SocketAddr,
    ops: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("makes a directory"), flags)
    }

    fn start_in(place: tempfile::TempDir, flags: &[&str]) -> Self {
        let data = place.path().join("data");
        let _ = fs::remove_file(data.join("ports.json"));
        let mut command = program(place.path());
        command.arg("serve").args(["--http", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--unlimited"]);
        command.args(["--messenger", "off", "--presence", "off", "--drain-window", "1s"]).args(flags);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let ports: Value =
            until("the server starts", || serde_json::from_slice(&fs::read(data.join("ports.json")).ok()?).ok());
        let address = |kind: &str| ports[kind][0].as_str().expect("is an address").parse().expect("is an address");
        Self { process, place, http: address("http"), ops: address("ops") }
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// Sends a request; returns status and body.
    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.ops).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.ops);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).expect("sends");
        let mut reader = BufReader::new(stream);
        let (mut line, mut rest) = (String::new(), Vec::new());
        reader.read_line(&mut line).expect("reads");
        reader.read_to_end(&mut rest).expect("reads");
        let text = String::from_utf8_lossy(&rest);
        let (_, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.request("GET", path, &[], "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn act(&self, path: &str, fields: &Value) -> (u16, Value) {
        self.request("POST", path, &OURS, &fields.to_string())
    }

    fn audit(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.data().join("audit.log")).expect("is there");
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Makes an account; returns its access token.
    fn register(&self, name: &str) -> String {
        assert_eq!(self.enter("register", name).0, 201);
        self.log_in(name).1
    }

    fn log_in(&self, name: &str) -> (u16, String) {
        self.enter("login", name)
    }

    fn enter(&self, how: &str, name: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).expect("connects");
        let body = json!({"username": name, "password": "correct horse"}).to_string();
        let head = format!(
            "POST /api/auth/{how} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.http,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("sends");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("reads");
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").expect("a body").1).unwrap_or_default();
        (status, body["token"].as_str().unwrap_or_default().to_owned())
    }
}

const OURS: [(&str, &str); 2] = [("content-type", "application/json"), ("x-chinwag-operator", "test")];

fn program(place: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag"));
    command.current_dir(place).env_clear().arg("--data").arg(place.join("data"));
    command
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A native client.
struct Client(WebSocket<TcpStream>, u32);

impl Client {
    fn open(server: &Server, credentials: Value) -> Self {
        let mut request = format!("ws://{}/ws", server.http).into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("chinwag.v1"));
        let stream = TcpStream::connect(server.http).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        let mut client = Self(upgrade(request, stream).expect("upgrades").0, 0);
        let mut hello = credentials;
        hello["protocol"] = json!(1);
        client.ask("hello", hello).expect("is welcome");
        client
    }

    /// Sends a request and reads up to its answer.
    fn ask(&mut self, kind: &str, mut fields: Value) -> Result<Value, Value> {
        self.1 += 1;
        let id = self.1.to_string();
        fields["id"] = json!(id);
        fields["type"] = json!(kind);
        self.0.send(Message::text(fields.to_string())).expect("sends");
        loop {
            let Message::Text(text) = self.0.read().expect("is open") else { continue };
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame["id"] == id.as_str() {
                return if frame["error"].is_null() {
                    Ok(frame["result"].clone())
                } else {
                    Err(frame["error"].clone())
                };
            }
        }
    }

    fn listen(&mut self, room: &str) -> Result<String, Value> {
        let listening = self.ask("room.listen", json!({"name": room}))?;
        Ok(listening["conversation"]["id"].as_str().expect("an id").to_owned())
    }

    fn say(&mut self, conversation: &str, content: &str) -> Result<Value, Value> {
        let message_id = uuid::Uuid::now_v7();
        self.ask("send", json!({"conversation": conversation, "message_id": message_id, "content": content}))
    }

    /// Reads until the server closes; returns the code.
    fn closed(mut self) -> u16 {
        loop {
            match self.0.read() {
                Ok(Message::Close(frame)) => return frame.map_or(1005, |frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return 1006,
            }
        }
    }
}

#[test]
fn what_is_shown_is_what_happens() {
    let server = Server::start(&[]);
    let token = server.register("ann");
    let mut ann = Client::open(&server, json!({"token": token}));
    let room = ann.ask("room.create", json!({"name": "Tea room"})).expect("is made");
    let room = room["conversation"]["id"].as_str().expect("an id").to_owned();
    let mut guest = Client::open(&server, json!({"guest": "wanderer"}));
    guest.listen("Tea room").expect("listens");
    ann.listen("Tea room").expect("listens");
    for n in 0..20 {
        ann.say(&room, &format!("secret words {n}")).expect("is stored");
    }

    let overview = server.get("/admin/overview");
    assert_eq!((&overview["node"]["name"], &overview["node"]["status"]), (&json!("node 0"), &json!("serving")));
    assert_eq!(overview["sockets"]["by_dialect"]["native"], 2);
    assert_eq!(overview["breakers"][1], json!({"store": "messages", "state": "CLOSED"}));
    assert_eq!(overview["cluster"], Value::Null);

    let conversations = server.get("/admin/conversations");
    let shown = &conversations["shown"][0];
    assert_eq!(
        (&shown["conversation"], &shown["name"], &shown["sockets"]),
        (&json!(room), &json!("Tea room"), &json!(2))
    );
    let one = server.get(&format!("/admin/conversation/{room}"));
    assert_eq!((&one["stored"]["messages"], &one["owner"]["here"]), (&json!(20), &json!(true)), "{one}");
    // What she wrote, and that she joined.
    assert_eq!(one["awake"]["senders"][0], json!(["ann", 21]), "{one}");

    let sockets = server.get("/admin/sockets");
    assert_eq!((&sockets["sockets"], &sockets["slow"]), (&json!(2), &json!(0)), "{sockets}");
    let users: Vec<_> = sockets["shown"].as_array().expect("a list").iter().map(|one| one["user"].clone()).collect();
    assert!(users.contains(&json!("ann")) && users.contains(&json!("wanderer")), "{users:?}");

    let actors = server.get("/admin/actors?kind=room&top=3");
    assert_eq!(actors["busiest"][0]["state"]["name"], "Tea room");
    assert!(actors["busiest"][0]["handled_per_s"].is_number(), "{actors}");
    // Every number of the last half hour comes within one period.
    let history = until("a sample", || {
        Some(server.get("/admin/history"))
            .filter(|history| history["at_ms"].as_array().is_some_and(|all| !all.is_empty()))
    });
    assert_eq!(history["series"]["sockets"]["values"][0], 2.0, "{history}");
    let later = history["at_ms"][0].as_i64().expect("a time");
    let rest = server.get(&format!("/admin/history?after_ms={later}"));
    assert!(rest["at_ms"].as_array().is_some_and(|all| all.iter().all(|at| at.as_i64() > Some(later))), "{rest}");

    // No operator reads what was said.
    for path in ["/admin/overview", "/admin/conversations", "/admin/sockets", "/admin/actors?kind=room"] {
        assert!(!server.get(path).to_string().contains("secret words"), "{path}");
    }
    assert!(!one.to_string().contains("secret words"));
    for (path, field) in [
        ("/admin/conversations?limit=101", "limit"),
        ("/admin/sockets?limit=201", "limit"),
        ("/admin/conversation/x", "id"),
    ] {
        let (status, body) = server.request("GET", path, &[], "");
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{path}: {body}");
    }
    assert_eq!(server.request("GET", "/admin/conversation/4", &[], "").0, 404);
}

#[test]
fn a_reader_that_stops_reading_is_named() {
    let server = Server::start(&["--guests", "on"]);
    let token = server.register("ann");
    let mut ann = Client::open(&server, json!({"token": token}));
    let room = ann.ask("room.create", json!({"name": "Loud room"})).expect("is made");
    let room = room["conversation"]["id"].as_str().expect("an id").to_owned();
    let mut slow = Client::open(&server, json!({"guest": "carol"}));
    slow.listen("Loud room").expect("listens");
    // Carol reads no more; what her kernel and ours take for her is some megabytes.
    let words = "x".repeat(4000);
    let named = until("the slow reader is named", || {
        for _ in 0..200 {
            ann.say(&room, &words).expect("is stored");
        }
        let sockets = server.get("/admin/sockets");
        (sockets["slow"] == 1).then(|| sockets["shown"][0].clone())
    });
    assert_eq!((&named["user"], &named["guest"]), (&json!("carol"), &json!(true)), "{named}");
    assert!(named["slow"].is_string() && named["outbox_bytes"].as_u64() > Some(0), "{named}");
    let top = chinwag(&server, &["top", "--once"]);
    assert!(top.contains("SLOW READER (1)") && top.contains("carol"), "{top}");
}

#[test]
fn only_operators_own_wishes_are_done() {
    let server = Server::start(&[]);
    let own = format!("http://{}", server.ops);
    let broadcast = json!({"message": "Hello", "confirm": "everybody"}).to_string();
    let post = |headers: &[(&str, &str)]| server.request("POST", "/admin/broadcast", headers, &broadcast).0;
    let and = |more: (&'static str, &'static str)| [OURS[0], OURS[1], more];
    assert_eq!(post(&OURS), 200);
    assert_eq!(post(&[OURS[0], OURS[1], ("origin", &own)]), 200);
    // CSRF: whatever a page of another origin can send, and what it can't without a preflight.
    assert_eq!(post(&and(("origin", "http://evil.example"))), 401);
    assert_eq!(post(&and(("origin", "null"))), 401);
    assert_eq!(post(&and(("sec-fetch-site", "cross-site"))), 403);
    assert_eq!(post(&[OURS[0]]), 403, "without our header");
    assert_eq!(post(&[OURS[1]]), 415, "without a type");
    assert_eq!(post(&[("content-type", "text/plain"), OURS[1]]), 415, "as a form does");
    // DNS rebinding: a name of somebody else's that means this machine. Neither read nor done.
    assert_eq!(post(&and(("host", "rebound.example"))), 401);
    assert_eq!(server.request("GET", "/admin/overview", &[("host", "rebound.example:9600")], "").0, 401);
    // A proxy's visitors aren't this machine's owner.
    assert_eq!(post(&and(("x-forwarded-for", "203.0.113.7"))), 401);
    let asked = ("access-control-request-method", "POST");
    let preflight = server.request("OPTIONS", "/admin/broadcast", &[("origin", "http://evil.example"), asked], "");
    assert_eq!(preflight.0, 403);
    assert_eq!(server.audit().len(), 2 * 2, "only what was done is in the log, before and after");
}

#[test]
fn a_token_is_asked_for_the_data_and_not_for_the_page() {
    let place = tempfile::tempdir().expect("makes a directory");
    let file = place.path().join("ops-token");
    fs::write(&file, "0123456789abcdef0123456789abcdef").expect("writes");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("sets");
    let file = file.to_str().expect("a path").to_owned();
    let server = Server::start_in(place, &["--ops-token-file", &file]);
    let (status, page) = server.request("GET", "/console", &[], "");
    assert!(status == 200 && page.as_str().is_some_and(|page| page.contains("Chinwag console")), "{page}");
    assert_eq!(server.request("GET", "/console/app.js", &[], "").0, 200);
    assert_eq!(server.request("GET", "/console/../ops/mod.rs", &[], "").0, 401);
    assert_eq!(server.request("GET", "/admin/overview", &[], "").0, 401);
    let bearer = ("authorization", "Bearer 0123456789abcdef0123456789abcdef");
    assert_eq!(server.request("GET", "/admin/overview", &[bearer], "").0, 200);
    let broadcast = json!({"message": "Hello", "confirm": "everybody"}).to_string();
    let with = [OURS[0], OURS[1], bearer];
    assert_eq!(server.request("POST", "/admin/broadcast", &with, &broadcast).0, 200);
    let log = server.audit();
    let by = log[0]["by"].as_str().expect("a text");
    assert!(by.starts_with("token ") && by.len() == "token ".len() + 8, "{by}");
    assert!(!fs::read_to_string(server.data().join("audit.log")).expect("reads").contains("0123456789abcdef"));
    // A page of another origin that got hold of nothing but the operator's browser has no token; one that had it is refused all the same.
    let foreign = [OURS[0], OURS[1], bearer, ("origin", "http://evil.example")];
    assert_eq!(server.request("POST", "/admin/broadcast", &foreign, &broadcast).0, 403);
    let mut command = program(server.place.path());
    let output = command.args(["actors", "--ops-token-file", &file]).output().expect("runs");
    assert!(output.status.success() && text(&output).contains("directory"), "{output:?}");
}

#[test]
fn users_are_kicked_and_banned_and_all_of_it_is_written_down() {
    let server = Server::start(&["--guests", "on"]);
    let token = server.register("ann");
    let ann = Client::open(&server, json!({"token": token}));
    let guest = Client::open(&server, json!({"guest": "wanderer"}));

    let unconfirmed = server.act("/admin/kick", &json!({"user": "ann"}));
    assert_eq!((unconfirmed.0, &unconfirmed.1["field"]), (400, &json!("confirm")));
    let other = server.act("/admin/kick", &json!({"user": "ann", "confirm": "bob"}));
    assert_eq!((other.0, &other.1["field"]), (400, &json!("confirm")));
    assert_eq!(server.act("/admin/kick", &json!({"user": "nobody", "confirm": "nobody"})).0, 404);
    assert_eq!(server.act("/admin/kick", &json!({"socket": "9-9-9-9", "confirm": "9-9-9-9"})).0, 404);

    assert_eq!(server.act("/admin/kick", &json!({"user": "ann", "confirm": "ann"})).0, 200);
    assert_eq!(ann.closed(), 4202);
    let sockets =
        until("only the guest is left", || Some(server.get("/admin/sockets")).filter(|all| all["sockets"] == 1));
    let socket = &sockets["shown"][0]["socket"];
    assert_eq!(server.act("/admin/kick", &json!({"socket": socket, "confirm": socket})).0, 200);
    assert_eq!(guest.closed(), 4202);
    let guest = Client::open(&server, json!({"guest": "wanderer"}));
    assert_eq!(server.act("/admin/kick", &json!({"user": "wanderer", "confirm": "wanderer"})).0, 200, "guests, too");
    assert_eq!(guest.closed(), 4202);

    assert_eq!(server.log_in("ann").0, 200, "a kick is no ban");
    assert_eq!(server.act("/admin/ban", &json!({"user": "ann", "confirm": "ann"})).0, 200);
    assert_ne!(server.log_in("ann").0, 200);
    assert_eq!(server.act("/admin/unban", &json!({"user": "ann", "confirm": "ann"})).0, 200);
    assert_eq!(server.log_in("ann").0, 200);

    let shown = server.get("/admin/audit")["entries"].clone();
    let told: Vec<_> = shown
        .as_array()
        .expect("a list")
        .iter()
        .rev()
        .map(|entry| format!("{} {} {}", entry["action"], entry["target"], entry["outcome"]).replace('"', ""))
        .collect();
    let socket = socket.as_str().expect("a name");
    let expected = [
        "kick nobody refused".to_owned(),
        "kick ann done".to_owned(),
        format!("kick {socket} done"),
        "kick wanderer done".to_owned(),
        "ban ann done".to_owned(),
        "unban ann done".to_owned(),
    ];
    assert_eq!(told, expected);
    let log = server.audit();
    assert_eq!(log.len(), 2 * expected.len());
    assert_eq!((&log[0]["by"], &log[0]["address"]), (&json!("this machine"), &json!("127.0.0.1")));
    let mode = fs::metadata(server.data().join("audit.log")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_closed_room_stays_closed_over_a_restart_until_it_is_opened() {
    let mut server = Server::start(&["--guests", "on"]);
    let token = server.register("ann");
    let mut ann = Client::open(&server, json!({"token": token}));
    ann.ask("room.create", json!({"name": "Tea room"})).expect("is made");
    let room = ann.listen("Tea room").expect("listens");
    let mut guest = Client::open(&server, json!({"guest": "wanderer"}));
    guest.listen("Tea room").expect("listens");
    let close = json!({"room": "Tea room", "confirm": "Tea room"});
    assert_eq!(server.act("/admin/room/close", &json!({"room": "No room", "confirm": "No room"})).0, 404);
    assert_eq!(server.act("/admin/room/close", &close).0, 200);
    assert_eq!(guest.closed(), 1001);

    let refused = |server: &Server| {
        let mut guest = Client::open(server, json!({"guest": "visitor"}));
        let heard = guest.listen("Tea room").expect_err("it is closed");
        assert_eq!(heard["code"], "forbidden", "{heard}");
        let said = guest.say(&room, "Hello?").expect_err("it is closed");
        assert_eq!(said["code"], "forbidden", "{said}");
        assert!(said["message"].as_str().is_some_and(|text| text.contains("closed by an operator")), "{said}");
    };
    refused(&server);
    assert_eq!(
        server.get(&format!("/admin/conversation/{room}"))["awake"]["phase"].as_str().unwrap_or("asleep"),
        "asleep"
    );
    server.process.kill().expect("is ours");
    server.process.wait().expect("ends");
    let place = std::mem::replace(&mut server.place, tempfile::tempdir().expect("makes a directory"));
    let server = Server::start_in(place, &["--guests", "on"]);
    refused(&server);

    assert_eq!(server.act("/admin/room/open", &close).0, 200);
    let mut guest = Client::open(&server, json!({"guest": "visitor"}));
    guest.listen("Tea room").expect("it is open again");
    guest.say(&room, "Hello?").expect("it is open again");
    let restarts = server.get("/admin/actors")["kinds"].clone();
    assert!(restarts.as_array().expect("a list").iter().all(|kind| kind["restarts"] == 0), "{restarts}");
}

#[test]
fn a_drain_is_confirmed_by_the_name_of_the_node_and_ends_it_as_a_signal_does() {
    let mut server = Server::start(&[]);
    assert_eq!(server.act("/admin/drain", &json!({"confirm": "node 7"})).0, 400);
    assert!(server.process.try_wait().expect("is ours").is_none());
    let (status, body) = server.act("/admin/drain", &json!({"confirm": "node 0"}));
    assert_eq!(status, 200, "{body}");
    let ended: ExitStatus = until("the server ends", || server.process.try_wait().expect("is ours"));
    assert!(ended.success(), "{ended}");
    let log = server.audit();
    assert_eq!((&log[1]["action"], &log[1]["outcome"]), (&json!("drain"), &json!("done")));
}

#[test]
fn nothing_is_done_that_cannot_be_written_down() {
    let place = tempfile::tempdir().expect("makes a directory");
    let data = place.path().join("data");
    // The log has to be put aside, and can't: something else has its place.
    fs::create_dir_all(data.join("audit.log.4").join("in the way")).expect("makes directories");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("sets");
    fs::write(data.join("audit.log.3"), "").expect("writes");
    fs::write(data.join("audit.log"), vec![b'\n'; 4 * 1024 * 1024]).expect("writes");
    let server = Server::start_in(place, &[]);
    server.register("ann");
    let (status, body) = server.act("/admin/ban", &json!({"user": "ann", "confirm": "ann"}));
    assert_eq!(status, 503, "{body}");
    assert_eq!(server.log_in("ann").0, 200, "and was not banned");
}

#[test]
fn a_message_is_followed_to_its_reader_or_to_where_it_stopped() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.register("ann"), server.register("bob"));
    let mut ann = Client::open(&server, json!({"token": ann}));
    let sent = ann.ask("send", json!({"to": "bob", "message_id": uuid::Uuid::now_v7(), "content": "secret words"}));
    let sent = sent.expect("is stored");
    let (message, chat) = (sent["id"].as_str().expect("an id"), sent["conversation"].as_str().expect("an id"));
    let explain = |user: &str| server.get(&format!("/admin/explain?message={message}&user={user}"));

    let absent = explain("bob");
    let states = |told: &Value| {
        let steps = told["steps"].as_array().expect("a list").iter();
        steps.map(|step| format!("{} {}", step["step"], step["state"]).replace('"', "")).collect::<Vec<_>>()
    };
    let expected = ["accepted yes", "stored yes", "routed yes", "queued waits", "written waits", "acknowledged waits"];
    assert_eq!(states(&absent), expected, "{absent}");
    assert!(
        absent["verdict"].as_str().is_some_and(|text| text.starts_with("It stopped at 'queued': bob has no socket"))
    );
    assert_eq!(explain("ann")["verdict"], "ann wrote it; it is stored.");
    assert!(!absent.to_string().contains("secret words"));

    let mut bob = Client::open(&server, json!({"token": bob}));
    bob.ask("read", json!({"conversation": chat, "seq": sent["seq"]})).expect("is moved");
    let read =
        until("the pointer is stored", || Some(explain("bob")).filter(|told| told["verdict"] == "bob has read it."));
    assert!(states(&read).iter().all(|state| state.ends_with("yes")), "{read}");
    let told = chinwag(&server, &["explain", message, "--user", "bob"]);
    assert!(told.ends_with("bob has read it.\n") && told.starts_with("accepted "), "{told}");

    for (query, field) in [
        ("message=x&user=bob".to_owned(), "message"),
        ("message=77&user=bob".to_owned(), "message"),
        (format!("message={message}&user=nobody"), "user"),
        (format!("message={message}&user=bob&conversation=x"), "conversation"),
    ] {
        let (status, body) = server.request("GET", &format!("/admin/explain?{query}"), &[], "");
        assert!(status == 400 || status == 404, "{query}: {status}");
        assert_eq!(body["field"], field, "{query}: {body}");
    }
}

fn chinwag(server: &Server, args: &[&str]) -> String {
    let output = program(server.place.path()).args(args).output().expect("runs");
    assert!(output.status.success(), "{args:?}: {output:?}");
    text(&output)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_shell_sees_the_same() {
    let server = Server::start(&[]);
    let actors: Value = serde_json::from_str(&chinwag(&server, &["actors", "--json"])).expect("JSON");
    assert!(actors["kinds"].as_array().expect("a list").iter().any(|kind| kind["kind"] == "directory"), "{actors}");
    let one: Value = serde_json::from_str(&chinwag(&server, &["actors", "--json", "--kind", "relay"])).expect("JSON");
    assert!(one["busiest"][0]["state"]["sockets"].is_number(), "{one}");
    assert!(chinwag(&server, &["actors"]).starts_with("ACTOR"));
    let unknown = program(server.place.path()).args(["actors", "--kind", "dancer"]).output().expect("runs");
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && told.contains("no actor kind of this name lives here"), "{told}");

    let top = chinwag(&server, &["top", "--once"]);
    assert!(top.contains("node 0  serving") && top.contains("no slow reader among 0 sockets"), "{top}");
    assert!(!top.contains('\u{1b}'), "no escape sequences in a pipe: {top:?}");
    // Without --once, in a pipe whose reader leaves.
    let mut command = program(server.place.path());
    let mut process = command.args(["top", "--every", "0.5"]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut first = String::new();
    BufReader::new(process.stdout.take().expect("is piped")).read_line(&mut first).expect("reads");
    assert!(first.starts_with("chinwag "), "{first}");
    let ended = until("it ends", || process.try_wait().expect("is ours"));
    assert!(ended.success(), "{ended}");
}
