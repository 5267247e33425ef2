//! A server with the endpoints that the socket tests need, and a client that writes any bytes it likes.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    rc::Rc,
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::Duration,
};

use actix::{Actor, StreamHandler};
use actix_http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use chinwag::{
    net::{self, ListenerKind, Net, NetSettings},
    ws::{Decision, Refusal, UpgradeRequest, WsLimits, echo},
};

/// Settings for a test: one worker, few places, no proxies.
pub fn settings() -> NetSettings {
    NetSettings { max_connections: 100, max_connections_per_address: 100, tls: None, trusted_proxies: Arc::new([]) }
}

/// A socket of `/slow-to-open` was opened.
pub static OPENED: AtomicBool = AtomicBool::new(false);

/// An actor of actix-web-actors, behind the application.
struct Shout;

impl Actor for Shout {
    type Context = ws::WebsocketContext<Self>;
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Shout {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, cx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => cx.text(text.to_uppercase()),
            Ok(ws::Message::Close(reason)) => cx.close(reason),
            _ => {}
        }
    }
}

async fn shout(request: HttpRequest, payload: web::Payload) -> actix_web::Result<HttpResponse> {
    ws::start(Shout, &request, payload)
}

async fn peer(request: HttpRequest) -> String {
    let scheme = request.connection_info().scheme().to_owned();
    format!("{} {scheme}", request.peer_addr().expect("has a peer").ip())
}

async fn length(body: web::Bytes) -> String {
    body.len().to_string()
}

fn decide(request: &UpgradeRequest, stats: Rc<chinwag_actors::session::outbox::OutboxStats>) -> Decision {
    match request.path() {
        echo::ECHO_PATH => Decision::Accept(echo::accept(request.deflate, stats)),
        "/chat" => {
            let mut accept = echo::accept(request.deflate, stats);
            accept.limits = WsLimits::CHAT;
            Decision::Accept(accept)
        }
        "/slow-to-open" => {
            let mut accept = echo::accept(request.deflate, stats);
            let open = accept.open;
            accept.open = Box::new(|| {
                // Time for a client that had its answer already to say so.
                std::thread::sleep(Duration::from_millis(200));
                OPENED.store(true, std::sync::atomic::Ordering::SeqCst);
                open()
            });
            Decision::Accept(accept)
        }
        "/origin" if !request.origin_allowed(&[]) => {
            Decision::Refuse(Refusal::new(StatusCode::FORBIDDEN, "forbidden", "foreign origin"))
        }
        "/peer" => Decision::Refuse(Refusal::new(StatusCode::UNAUTHORIZED, "peer", &request.peer.ip().to_string())),
        _ => Decision::Pass,
    }
}

/// Starts a server on a thread of its own; it runs until the test's process ends.
pub fn serve(settings: NetSettings) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let bound = net::bind(ListenerKind::Ops, (IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into()).expect("binds");
            sender.send(bound.address).expect("the test waits");
            let app = |_, _| {
                App::new()
                    .route("/shout", web::get().to(shout))
                    .route("/peer", web::get().to(peer))
                    .route("/length", web::post().to(length))
            };
            let handle = Net::start(vec![bound], vec![actix_rt::Arbiter::new()], settings, app, |_| {
                let stats = Rc::default();
                Rc::new(move |request| Box::pin(std::future::ready(decide(&request, Rc::clone(&stats)))))
            });
            let _handle = handle.expect("starts");
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().expect("binds")
}

/// A client that may do everything wrong.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("sets");
        Self { stream }
    }

    /// Connects and upgrades, with these further header lines; panics unless the answer is 101.
    pub fn open(address: SocketAddr, path: &str, headers: &str) -> (Self, String) {
        let mut client = Self::connect(address);
        client.send(upgrade_request(path, headers).as_bytes());
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        (client, head)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("writes");
    }

    /// Reads up to the empty line, byte by byte, so that nothing behind it is lost.
    pub fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if self.stream.read(&mut byte).expect("reads") == 0 {
                break;
            }
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("ASCII")
    }

    /// Reads a frame of at most 64 KiB: first byte and payload.
    pub fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header).expect("a frame");
        let len = match header[1] {
            126 => {
                let mut len = [0; 2];
                self.stream.read_exact(&mut len).expect("a length");
                usize::from(u16::from_be_bytes(len))
            }
            127 => {
                let mut len = [0; 8];
                self.stream.read_exact(&mut len).expect("a length");
                u64::from_be_bytes(len) as usize
            }
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload).expect("a payload");
        (header[0], payload)
    }

    /// Reads a close frame and returns its code.
    pub fn read_close(&mut self) -> u16 {
        let (first, payload) = self.read_frame();
        assert_eq!(first, 0x88, "{payload:?}");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Reads what comes until the server hangs up.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the server hangs up in time");
        rest
    }

    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("shuts down");
    }
}

pub fn upgrade_request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A masked frame.
pub fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xA5, 0x5A, 0x0F, 0xF0];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
