//! A WebSocket client that keeps every frame it got, so that tests can wait for one and look at their order afterwards.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use tokio_tungstenite::tungstenite::{
    self, Error, Message, WebSocket, client::IntoClientRequest, http::HeaderValue, protocol::frame::coding::CloseCode,
};

use super::{PATIENCE, Value, json};

/// What an upgrade says besides the usual.
#[derive(Default)]
pub struct Options<'a> {
    pub bearer: Option<&'a str>,
    pub subprotocol: bool,
}

/// A connected client.
pub struct Client {
    socket: WebSocket<TcpStream>,
    /// Every frame that came, in order.
    pub log: Vec<Value>,
    taken: Vec<bool>,
    /// Code and reason, once the server has closed; 1006 if it just hung up.
    closed: Option<(u16, String)>,
}

impl Client {
    /// Connects and upgrades.
    pub fn open(address: &str, path: &str, options: &Options<'_>) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        if let Some(token) = options.bearer {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        if options.subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("chinwag.v1"));
        }
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("sets");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        let (socket, _) = tungstenite::client(request, stream).expect("upgrades");
        Self { socket, log: Vec::new(), taken: Vec::new(), closed: None }
    }

    /// Sends a frame.
    pub fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string());
    }

    /// Sends a text.
    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("sends");
    }

    /// Reads one frame; false when there is none within `timeout` or never more.
    fn read(&mut self, timeout: Duration) -> bool {
        if self.closed.is_some() {
            return false;
        }
        let stream = self.socket.get_ref();
        stream.set_read_timeout(Some(timeout.max(Duration::from_millis(1)))).expect("sets");
        match self.socket.read() {
            Ok(Message::Text(text)) => {
                self.log.push(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")));
                self.taken.push(false);
            }
            Ok(Message::Close(frame)) => {
                self.closed = Some(
                    frame.map_or((1005, String::new()), |frame| (u16::from(frame.code), frame.reason.to_string())),
                );
                // The answer to the closing handshake.
                let _ = self.socket.flush();
            }
            Ok(_) => {}
            Err(Error::Io(error))
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                return false;
            }
            Err(error) => self.closed = Some((1006, error.to_string())),
        }
        true
    }

    /// Waits for a frame that `wanted` wants, and takes it; frames before it stay for later waits.
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        match self.find(PATIENCE, &wanted) {
            Some(frame) => frame,
            None => panic!("in vain: {what}; closed {:?}; left over {:#?}", self.closed, self.left_over()),
        }
    }

    /// Waits for a frame that `wanted` wants; `None` when the server closes before.
    pub fn wait_unless_closed(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let found = self.find(PATIENCE, &wanted);
        assert!(found.is_some() || self.closed.is_some(), "in vain: {what}; left over {:#?}", self.left_over());
        found
    }

    fn find(&mut self, patience: Duration, wanted: &impl Fn(&Value) -> bool) -> Option<Value> {
        let begun = Instant::now();
        let mut next = 0;
        loop {
            while next < self.log.len() {
                if !self.taken[next] && wanted(&self.log[next]) {
                    self.taken[next] = true;
                    return Some(self.log[next].clone());
                }
                next += 1;
            }
            if begun.elapsed() >= patience || self.closed.is_some() {
                return None;
            }
            self.read(patience.saturating_sub(begun.elapsed()));
        }
    }

    /// Waits for a frame of this `type`.
    pub fn wait_type(&mut self, kind: &str) -> Value {
        self.wait(kind, |frame| frame["type"] == kind)
    }

    /// Waits for an error of the rooms dialect with this code.
    pub fn wait_error(&mut self, code: &str) -> Value {
        self.wait(code, |frame| frame["type"] == "error" && frame["error"]["code"] == code)
    }

    /// Waits for an `ERROR`, `INFO` or `SUCCESS` of the messenger dialect with this text.
    pub fn wait_msg(&mut self, kind: &str, msg: &str) {
        self.wait(&format!("{kind} {msg}"), |frame| frame["type"] == kind && frame["msg"] == msg);
    }

    /// Returns the frames that nobody waited for.
    pub fn left_over(&self) -> Vec<&Value> {
        self.log.iter().zip(&self.taken).filter(|(_, taken)| !**taken).map(|(frame, _)| frame).collect()
    }

    /// Forgets all frames so far, for tests with very many.
    pub fn forget(&mut self) {
        self.log.clear();
        self.taken.clear();
    }

    /// Says whether a frame came, waited for or not.
    pub fn has(&self, wanted: impl Fn(&Value) -> bool) -> bool {
        self.log.iter().any(wanted)
    }

    /// Reads until the server closes; returns the code.
    pub fn wait_close(&mut self) -> u16 {
        self.close_within(PATIENCE).unwrap_or_else(|| panic!("no close; left over {:#?}", self.left_over()))
    }

    /// Reads until the server closes, for at most `patience`.
    pub fn close_within(&mut self, patience: Duration) -> Option<u16> {
        let begun = Instant::now();
        while self.closed.is_none() && begun.elapsed() < patience {
            self.read(patience.saturating_sub(begun.elapsed()));
        }
        self.closed.as_ref().map(|(code, _)| *code)
    }

    /// Reads until a pong answers a ping sent now; returns how long that took.
    pub fn ping(&mut self) -> Duration {
        let begun = Instant::now();
        self.socket.get_ref().set_read_timeout(Some(PATIENCE)).expect("sets");
        self.socket.send(Message::Ping(b"?".as_slice().into())).expect("sends");
        loop {
            assert!(begun.elapsed() < PATIENCE, "no pong");
            match self.socket.read().expect("reads") {
                Message::Pong(_) => return begun.elapsed(),
                Message::Text(text) => {
                    self.log.push(serde_json::from_str(&text).expect("JSON"));
                    self.taken.push(false);
                }
                _ => {}
            }
        }
    }

    /// Closes cleanly and waits for the end.
    pub fn close(mut self) {
        let frame = tungstenite::protocol::CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = self.socket.close(Some(frame));
        self.wait_close();
    }

    // ---- what rooms and messenger clients say often
    /// Says something in the current room and waits until it comes back; returns the message.
    pub fn say(&mut self, content: &str) -> Value {
        self.send(&json!({"type": "send_message", "content": content}));
        self.wait_room_message(content)
    }

    /// Waits for a message of the rooms dialect.
    pub fn wait_room_message(&mut self, content: &str) -> Value {
        let frame = self.wait(content, |frame| frame["type"] == "message" && frame["message"]["content"] == content);
        frame["message"].clone()
    }
}
