//! Bytes from a client → messages (RFC 6455, RFC 7692), without doing any I/O.
//!
//! Owns the rules of the protocol: masks, fragments, control frames between them, reserved bits, UTF-8 (failing at the first
//! wrong byte), close codes, and the limits on sizes, fragments and control frames. The connection feeds it what it reads. A frame that
//! lies complete in those bytes is lent from there; memory is kept only while a message is incomplete.

mod header;
#[cfg(test)]
mod tests;

use chinwag_schema::{error::CloseCode, limits::socket, wire::frame::Opcode};

use super::deflate::{InflateError, inflate};

/// The largest header of a masked frame, bytes.
const HEADER_MAX_BYTES: usize = 14;

/// Limits of one endpoint, per message from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WsLimits {
    /// A reassembled message on the wire, bytes; one frame can't be larger either.
    pub message_bytes: u32,
    /// A message once inflated, bytes.
    pub inflated_bytes: u32,
    /// Frames of one message.
    pub fragments: u32,
}

impl WsLimits {
    /// Chat sockets of every dialect.
    pub const CHAT: Self = Self {
        message_bytes: socket::MESSAGE_MAX_BYTES as u32,
        inflated_bytes: socket::MESSAGE_MAX_BYTES as u32,
        fragments: socket::FRAGMENTS_MAX as u32,
    };

    /// The echo endpoint: conformance suites send large messages in tiny fragments.
    pub const ECHO: Self = Self { message_bytes: 16 << 20, inflated_bytes: 16 << 20, fragments: 1 << 18 };
}

/// A message, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// Nothing follows. `None`: no code was sent.
    Close(Option<CloseCode>),
}

/// What a client did that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    #[error("text is not UTF-8")]
    InvalidText,
    #[error("damaged compressed data")]
    Corrupt,
    #[error("{0}")]
    TooBig(&'static str),
    #[error("too many control frames or fragments")]
    Flood,
}

impl Violation {
    /// Returns the code to close with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Protocol(_) => CloseCode::PROTOCOL,
            Self::InvalidText | Self::Corrupt => CloseCode::INVALID_TEXT,
            Self::TooBig(_) => CloseCode::TOO_BIG,
            Self::Flood => CloseCode::POLICY,
        }
    }
}

/// Whether to go on with the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    More,
    /// Leave the remaining bytes alone for now.
    Pause,
}

/// A frame whose header was read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    mask: [u8; 4],
    /// Payload bytes still to come.
    left: usize,
}

/// A message of which a part has come.
#[derive(Debug, Default)]
struct Partial {
    data: Vec<u8>,
    text: bool,
    compressed: bool,
    fragments: u32,
    /// Bytes of `data` known to be whole UTF-8 characters.
    checked: usize,
    /// A control frame that came in pieces between the fragments (or alone).
    control: Vec<u8>,
    /// A data message is being assembled (`data` may be empty still).
    open: bool,
}

/// Reads one client's frames.
#[derive(Debug)]
pub struct Decoder {
    limits: WsLimits,
    /// permessage-deflate was negotiated.
    deflate: bool,
    closed: bool,
    /// Control frames and empty fragments in the current second.
    controls: u16,
    controls_second: u32,
    header: [u8; HEADER_MAX_BYTES],
    header_len: u8,
    frame: Option<Frame>,
    partial: Option<Box<Partial>>,
}

impl Decoder {
    /// Makes the decoder of a new connection.
    pub fn new(limits: WsLimits, deflate: bool) -> Self {
        Self {
            limits,
            deflate,
            closed: false,
            controls: 0,
            controls_second: 0,
            header: [0; HEADER_MAX_BYTES],
            header_len: 0,
            frame: None,
            partial: None,
        }
    }

    /// Reads frames from `input`, handing each message to `sink`, until the input is used up or `sink` pauses; returns how much was
    /// used. Used bytes are changed (unmasked). `now_s` is any clock in seconds. After a violation or a close frame nothing may follow.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        now_s: u32,
        sink: &mut dyn FnMut(Message<'_>) -> Next,
    ) -> Result<usize, Violation> {
        let mut used = 0;
        while used < input.len() || self.frame.is_some_and(|frame| frame.left == 0) {
            if self.closed {
                return Ok(input.len());
            }
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.read_header(&input[used..], now_s)? {
                    (n, None) => return Ok(used + n),
                    (n, Some(frame)) => {
                        used += n;
                        frame
                    }
                },
            };
            let here = frame.left.min(input.len() - used);
            let payload = &mut input[used..used + here];
            used += here;
            unmask(payload, frame.mask);
            if self.payload(frame, payload, sink)? == Next::Pause {
                return Ok(used);
            }
        }
        Ok(used)
    }

    /// Says whether a message or frame has begun and not ended.
    pub fn is_incomplete(&self) -> bool {
        self.header_len > 0 || self.frame.is_some() || self.partial.is_some()
    }

    fn open(&mut self, opcode: Opcode, compressed: bool) {
        let partial = self.partial.get_or_insert_default();
        partial.open = true;
        partial.text = opcode == Opcode::Text;
        partial.compressed = compressed;
        partial.fragments = 1;
    }

    /// Takes the next part of the current frame's payload, unmasked.
    fn payload(
        &mut self,
        mut frame: Frame,
        payload: &[u8],
        sink: &mut dyn FnMut(Message<'_>) -> Next,
    ) -> Result<Next, Violation> {
        let whole = payload.len() == frame.left;
        frame.left -= payload.len();
        frame.mask.rotate_left(payload.len() % 4);
        self.frame = (!whole).then_some(frame);
        if frame.opcode.is_control() {
            return self.control(frame.opcode, payload, whole, sink);
        }
        if self.partial.is_none() {
            if whole {
                // The usual case: a message of one plain frame that lies complete in the input.
                return deliver(frame.opcode == Opcode::Text, payload, sink);
            }
            self.open(frame.opcode, false);
        }
        let partial = self.partial.get_or_insert_default();
        let complete = whole && frame.fin;
        if complete && partial.compressed && partial.data.is_empty() {
            self.partial = None;
            return self.deliver_inflated(frame.opcode == Opcode::Text, payload, sink);
        }
        partial.data.extend_from_slice(payload);
        if partial.text && !partial.compressed {
            partial.check_text()?;
        }
        if !complete {
            return Ok(Next::More);
        }
        let Some(partial) = self.partial.take() else { return Ok(Next::More) };
        if partial.compressed {
            self.deliver_inflated(partial.text, &partial.data, sink)
        } else {
            deliver(partial.text, &partial.data, sink)
        }
    }

    fn deliver_inflated(
        &self,
        text: bool,
        data: &[u8],
        sink: &mut dyn FnMut(Message<'_>) -> Next,
    ) -> Result<Next, Violation> {
        inflate(data, self.limits.inflated_bytes as usize, |data| deliver(text, data, sink)).unwrap_or_else(|error| {
            Err(match error {
                InflateError::TooBig => Violation::TooBig("message too big once inflated"),
                InflateError::Corrupt => Violation::Corrupt,
            })
        })
    }

    fn control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        whole: bool,
        sink: &mut dyn FnMut(Message<'_>) -> Next,
    ) -> Result<Next, Violation> {
        let started = self.partial.as_ref().is_some_and(|partial| !partial.control.is_empty());
        if whole && !started {
            return self.deliver_control(opcode, payload, sink);
        }
        let partial = self.partial.get_or_insert_default();
        partial.control.extend_from_slice(payload);
        if !whole {
            return Ok(Next::More);
        }
        let payload = std::mem::take(&mut partial.control);
        if !partial.open {
            self.partial = None;
        }
        self.deliver_control(opcode, &payload, sink)
    }

    fn deliver_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        sink: &mut dyn FnMut(Message<'_>) -> Next,
    ) -> Result<Next, Violation> {
        match opcode {
            Opcode::Ping => Ok(sink(Message::Ping(payload))),
            Opcode::Pong => Ok(sink(Message::Pong(payload))),
            _ => {
                let code = close_code(payload)?;
                self.closed = true;
                self.partial = None;
                Ok(sink(Message::Close(code)))
            }
        }
    }
}

impl Partial {
    /// Checks what came last; a character may still be incomplete at the end.
    fn check_text(&mut self) -> Result<(), Violation> {
        match std::str::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::InvalidText),
        }
        Ok(())
    }
}

fn deliver(text: bool, data: &[u8], sink: &mut dyn FnMut(Message<'_>) -> Next) -> Result<Next, Violation> {
    if !text {
        return Ok(sink(Message::Binary(data)));
    }
    let text = std::str::from_utf8(data).map_err(|_| Violation::InvalidText)?;
    Ok(sink(Message::Text(text)))
}

/// Reads a close frame's payload.
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    if payload.is_empty() {
        return Ok(None);
    }
    let [high, low, reason @ ..] = payload else {
        return Err(Violation::Protocol("close frame of one byte"));
    };
    let code = u16::from_be_bytes([*high, *low]);
    // RFC 6455, 7.4, and IANA's registry for 1012 to 1014.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("close code that mustn't be sent"));
    }
    std::str::from_utf8(reason).map_err(|_| Violation::InvalidText)?;
    Ok(Some(CloseCode(code)))
}

/// Takes the mask off, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let bytes: [u8; 8] = (&*chunk).try_into().expect("chunks of eight");
        chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
