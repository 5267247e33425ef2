//! From an upgrade request to a running connection.
//!
//! Checks the handshake, asks the gate (the caller's callback: origin, path, token) what to do, answers, and starts the connection
//! as a task of its own, so that nothing of HTTP stays alive. Knows nothing of dialects or accounts.

use std::{fmt::Write as _, net::SocketAddr, rc::Rc, time::Duration};

use actix_codec::Framed;
use actix_http::{HttpMessage as _, Request, StatusCode, Uri, h1, header::HeaderMap};
use chinwag_actors::session::socket::SocketState;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    connection::Connection,
    decoder::WsLimits,
    endpoint::Endpoint,
    handshake::{self, DEFLATE_ANSWER, SameHost},
};
use crate::{
    http::client_addr,
    net::{ListenerKind, Socket},
};

/// How long the gate may think, and how long writing the answer may take.
const DECISION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a refused client may take to hang up.
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// A request with `Upgrade: websocket`, its handshake checked.
#[derive(Debug)]
pub struct UpgradeRequest {
    pub listener: ListenerKind,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// The client as TCP or the PROXY protocol names it. Forwarding headers are not looked at.
    pub peer: SocketAddr,
    /// It came over TLS.
    pub secure: bool,
    /// permessage-deflate will be agreed upon: the socket's `Encoding` is compressed.
    pub deflate: bool,
}

impl UpgradeRequest {
    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Returns the query, without `?`; empty when there is none.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Says whether a browser page of this request's origin may connect ([`handshake::origin_allowed`]). A page that reaches this
    /// machine's own address by a name came here by DNS rebinding, unless a proxy says that it is in between: its host isn't ours.
    pub fn origin_allowed(&self, allowed: &[String]) -> bool {
        let local = self.peer.ip().to_canonical().is_loopback() && !client_addr::is_forwarded(&self.headers);
        let same_host = match local && !client_addr::names_this_machine(&self.headers) {
            true => SameHost::Refused,
            false => SameHost::Allowed,
        };
        handshake::origin_allowed(&self.headers, allowed, same_host)
    }
}

/// Makes the endpoint of an accepted socket, and the state that both share; its outbox's encoding must say `compressed` exactly when
/// the request said `deflate`. Called right before the handshake's answer is written.
pub type Open = Box<dyn FnOnce() -> (Rc<SocketState>, Box<dyn Endpoint>)>;

/// What the gate decides.
pub enum Decision {
    Accept(Accept),
    Refuse(Refusal),
    /// Not ours: the HTTP application answers (a plain 404, or a WebSocket of actix-web-actors).
    Pass,
}

/// An upgrade that goes on.
pub struct Accept {
    /// Value of `Sec-WebSocket-Protocol`, one of those that the client offers.
    pub subprotocol: Option<&'static str>,
    pub limits: WsLimits,
    pub open: Open,
}

/// An upgrade that is answered with an HTTP status.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    /// A JSON text.
    pub body: String,
    /// `Retry-After`, seconds.
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    /// Makes a refusal whose body is `{"error":{"code":…,"message":…}}`.
    pub fn new(status: StatusCode, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "error": { "code": code, "message": message } }).to_string();
        Self { status, body, retry_after_s: None }
    }
}

/// Decides about upgrades on one worker thread. May wait, for at most 10 s.
pub type Gate = Rc<dyn Fn(UpgradeRequest) -> LocalBoxFuture<'static, Decision>>;

/// Runs HTTP without upgrades on a socket, for [`Decision::Pass`].
pub type PlainHttp = Rc<dyn Fn(Socket, SocketAddr) -> LocalBoxFuture<'static, ()>>;

/// Answers one upgrade request; returns when the socket is closed, passed on, or runs as a task of its own.
pub async fn upgrade(
    listener: ListenerKind,
    gate: Gate,
    plain: PlainHttp,
    peer: SocketAddr,
    mut request: Request,
    framed: Framed<Socket, h1::Codec>,
) {
    let parts = framed.into_parts();
    let (mut socket, early) = (parts.io, parts.read_buf);
    let watched = socket.unwatch();
    // Answers to requests that came before this one in the same segment: without them ours would be taken for the first of theirs.
    if !parts.write_buf.is_empty() {
        match tokio::time::timeout(DECISION_TIMEOUT, socket.write_all(&parts.write_buf)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
    let checked = handshake::check(request.method(), request.headers());
    let handshake = match checked {
        Ok(handshake) => handshake,
        Err(bad) => return refuse(socket, Refusal::new(bad.status(), "bad_request", &bad.to_string())).await,
    };
    let upgrade = UpgradeRequest {
        listener,
        uri: request.uri().clone(),
        headers: request.headers().clone(),
        peer,
        secure: socket.is_tls(),
        deflate: handshake.deflate,
    };
    let Ok(decision) = tokio::time::timeout(DECISION_TIMEOUT, gate(upgrade)).await else {
        return refuse(socket, busy()).await;
    };
    let accept = match decision {
        Decision::Accept(accept) => accept,
        Decision::Refuse(refusal) => return refuse(socket, refusal).await,
        Decision::Pass => {
            let mut replay = request_bytes(&mut request);
            replay.extend_from_slice(&early);
            socket.watch_again(watched);
            return plain(socket.replay(replay), peer).await;
        }
    };
    // Before the answer: whoever has read it is counted by a drain, and the directory was told of a user known from the upgrade. A
    // client that is gone already ends like any other: the endpoint is dropped.
    let (state, endpoint) = (accept.open)();
    debug_assert_eq!(state.outbox.encoding().compressed, handshake.deflate);
    // What opening began on this thread has its first turn.
    tokio::task::yield_now().await;
    let answer = switching_protocols(&handshake, accept.subprotocol);
    match tokio::time::timeout(DECISION_TIMEOUT, socket.write_all(answer.as_bytes())).await {
        Ok(Ok(())) => {}
        _ => return,
    }
    let connection = Connection::new(socket, endpoint, state, accept.limits, &early);
    // A task of its own: the HTTP dispatcher, with its buffers, ends when this future does.
    actix_rt::spawn(connection);
}

fn busy() -> Refusal {
    let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "busy, try again");
    refusal.retry_after_s = Some(1);
    refusal
}

fn switching_protocols(handshake: &handshake::Handshake, subprotocol: Option<&str>) -> String {
    let accept = std::str::from_utf8(&handshake.accept).expect("base64 is ASCII");
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n"
    );
    if let Some(subprotocol) = subprotocol {
        let _ = write!(answer, "sec-websocket-protocol: {subprotocol}\r\n");
    }
    if handshake.deflate {
        let _ = write!(answer, "sec-websocket-extensions: {DEFLATE_ANSWER}\r\n");
    }
    answer.push_str("\r\n");
    answer
}

/// Answers with a status and closes the connection.
async fn refuse(mut socket: Socket, refusal: Refusal) {
    let mut answer = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        refusal.status,
        refusal.body.len()
    );
    match refusal.status {
        StatusCode::UPGRADE_REQUIRED => answer.push_str("upgrade: websocket\r\nsec-websocket-version: 13\r\n"),
        StatusCode::METHOD_NOT_ALLOWED => answer.push_str("allow: GET\r\n"),
        _ => {}
    }
    if let Some(seconds) = refusal.retry_after_s {
        let _ = write!(answer, "retry-after: {seconds}\r\n");
    }
    answer.push_str("\r\n");
    answer.push_str(&refusal.body);
    let write = async {
        socket.write_all(answer.as_bytes()).await?;
        socket.shutdown().await?;
        // Unread bytes would make the kernel reset the connection before the answer is read.
        let mut waste = [0; 1024];
        while socket.read(&mut waste).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(HANG_UP_TIMEOUT, write).await;
}

/// Writes a request's head down again.
fn request_bytes(request: &mut Request) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}
