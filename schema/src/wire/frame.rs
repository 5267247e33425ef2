//! WebSocket frames as the server writes them (RFC 6455, RFC 7692).
//!
//! Server frames aren't masked, and compression takes over no context: header and payload are the same bytes for every
//! recipient, so each function returns one complete frame as `Bytes` that all sockets share. Knows nothing of dialects.

use bytes::Bytes;

use super::deflate;
use crate::{error::CloseCode, limits::socket::COMPRESS_MIN_BYTES};

/// Payload of a control frame at most, bytes (RFC 6455, 5.5).
pub const CONTROL_MAX_BYTES: usize = 125;

const FIN: u8 = 0x80;
/// 'This message is compressed' (RFC 7692, 6).
const RSV1: u8 = 0x40;
/// The largest header of an unmasked frame, bytes.
const HEADER_MAX_BYTES: usize = 10;

/// Frame types (RFC 6455, 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    /// Reads the four bits; `None` for reserved ones.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Says whether frames of this type may come between the fragments of a message.
    pub const fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// Makes a complete text frame. `compressed` says that its sockets negotiated permessage-deflate: payloads of at least
/// `COMPRESS_MIN_BYTES` that get smaller are then sent compressed.
pub fn text(payload: &[u8], compressed: bool) -> Bytes {
    data(Opcode::Text, payload, compressed)
}

/// Makes a complete binary frame; `compressed` as for [`text`].
pub fn binary(payload: &[u8], compressed: bool) -> Bytes {
    data(Opcode::Binary, payload, compressed)
}

/// Makes a complete frame of a text or binary message that is compressed whatever its size, as conformance suites expect it of an
/// echo.
pub fn always_compressed(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut body = Vec::new();
    deflate::compress_always(payload, &mut body);
    with_header(FIN | RSV1 | opcode as u8, &body)
}

/// Makes a ping. The payload is cut at 125 bytes.
pub fn ping(payload: &[u8]) -> Bytes {
    control(Opcode::Ping, payload)
}

/// Makes a pong. The payload is cut at 125 bytes.
pub fn pong(payload: &[u8]) -> Bytes {
    control(Opcode::Pong, payload)
}

/// Makes a close frame; the reason is cut at 123 bytes, at a character.
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    let cut = reason.floor_char_boundary(CONTROL_MAX_BYTES - 2);
    let mut payload = Vec::with_capacity(CONTROL_MAX_BYTES);
    payload.extend_from_slice(&code.0.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..cut]);
    control(Opcode::Close, &payload)
}

/// Makes a close frame without a code, the answer to one without a code (RFC 6455, 5.5.1).
pub fn close_without_code() -> Bytes {
    control(Opcode::Close, &[])
}

fn data(opcode: Opcode, payload: &[u8], compressed: bool) -> Bytes {
    if compressed && payload.len() >= COMPRESS_MIN_BYTES {
        // The header's length is known only afterwards: compress behind room for the largest one and slice.
        let mut frame = Vec::with_capacity(HEADER_MAX_BYTES + payload.len() + deflate::TAIL.len());
        frame.resize(HEADER_MAX_BYTES, 0);
        if deflate::compress(payload, &mut frame) {
            let (header, len) = header(FIN | RSV1 | opcode as u8, frame.len() - HEADER_MAX_BYTES);
            let start = HEADER_MAX_BYTES - len;
            frame[start..HEADER_MAX_BYTES].copy_from_slice(&header[..len]);
            // Frames may wait in outboxes for long: keep no capacity that the payload doesn't need.
            return Bytes::copy_from_slice(&frame[start..]);
        }
    }
    plain(opcode, payload)
}

fn control(opcode: Opcode, payload: &[u8]) -> Bytes {
    plain(opcode, &payload[..payload.len().min(CONTROL_MAX_BYTES)])
}

fn plain(opcode: Opcode, payload: &[u8]) -> Bytes {
    with_header(FIN | opcode as u8, payload)
}

fn with_header(first: u8, payload: &[u8]) -> Bytes {
    let (header, len) = header(first, payload.len());
    let mut frame = Vec::with_capacity(len + payload.len());
    frame.extend_from_slice(&header[..len]);
    frame.extend_from_slice(payload);
    Bytes::from(frame)
}

/// Makes the header of an unmasked frame; returns it with its length.
fn header(first: u8, payload_bytes: usize) -> ([u8; HEADER_MAX_BYTES], usize) {
    let mut header = [0; HEADER_MAX_BYTES];
    header[0] = first;
    let len = match payload_bytes {
        0..=125 => {
            header[1] = payload_bytes as u8;
            2
        }
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            10
        }
    };
    (header, len)
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    use super::*;
    use crate::limits::socket::COMPRESS_WINDOW_BITS;

    /// Inflates with exactly the negotiated window: a distance beyond it is an error.
    fn inflate(compressed: &[u8]) -> Vec<u8> {
        let mut input = compressed.to_vec();
        input.extend_from_slice(&deflate::TAIL);
        let mut inflater = Decompress::new_with_window_bits(false, COMPRESS_WINDOW_BITS);
        let mut out = Vec::with_capacity(4 << 20);
        inflater.decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
        assert_eq!(inflater.total_in() as usize, input.len());
        out
    }

    fn split(frame: &[u8]) -> (u8, &[u8]) {
        let (len, start) = match frame[1] {
            126 => (u16::from_be_bytes(frame[2..4].try_into().unwrap()) as usize, 4),
            127 => (u64::from_be_bytes(frame[2..10].try_into().unwrap()) as usize, 10),
            len => (len as usize, 2),
        };
        assert_eq!(frame.len(), start + len);
        (frame[0], &frame[start..])
    }

    #[test]
    fn lengths_are_written_in_the_fewest_bytes() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frame = text(&vec![b'x'; len], false);
            assert_eq!(frame.len(), header + len);
            assert_eq!(split(&frame), (0x81, &vec![b'x'; len][..]));
        }
    }

    #[test]
    fn small_and_incompressible_payloads_stay_plain() {
        assert_eq!(text(&[b'a'; COMPRESS_MIN_BYTES - 1], true)[0], 0x81);
        let mut state = 0x1234_5678_9abc_def1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(4096)
        .collect();
        assert_eq!(split(&binary(&noise, true)), (0x82, &noise[..]));
    }

    #[test]
    fn equal_payloads_give_equal_frames_whatever_came_before() {
        let payload = "all work and no play ".repeat(100);
        let first = text(payload.as_bytes(), true);
        text("something else entirely, ".repeat(90).as_bytes(), true);
        assert_eq!(first, text(payload.as_bytes(), true));
        let (bits, body) = split(&first);
        assert_eq!(bits, 0xC1);
        assert!(body.len() < 100);
        assert_eq!(inflate(body), payload.as_bytes());
    }

    #[test]
    fn control_frames_are_cut_at_their_limit() {
        assert_eq!(split(&ping(&[1; 200])).1.len(), 125);
        assert_eq!(split(&pong(b"x")), (0x8A, &b"x"[..]));
        let frame = close(CloseCode::GOING_AWAY, &"ü".repeat(100));
        let (bits, payload) = split(&frame);
        assert_eq!(bits, 0x88);
        assert_eq!(payload[..2], 1001u16.to_be_bytes());
        assert_eq!(std::str::from_utf8(&payload[2..]).unwrap().len(), 122);
        assert_eq!(split(&close_without_code()), (0x88, &[][..]));
    }

    #[test]
    fn an_echo_is_compressed_whatever_its_size() {
        for payload in [&b""[..], b"a", &[7; 3000], b"no gain here"] {
            let frame = always_compressed(Opcode::Text, payload);
            let (bits, body) = split(&frame);
            assert_eq!(bits, 0xC1);
            assert_eq!(inflate(body), payload);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn compressed_payloads_come_back_within_the_negotiated_window(
            words in proptest::collection::vec("[a-e]{1,12}|[a-zäöü€ ]{1,40}", 1..300)
        ) {
            let payload = words.concat();
            let frame = text(payload.as_bytes(), true);
            let (bits, body) = split(&frame);
            let got = if bits == 0xC1 { inflate(body) } else { body.to_vec() };
            prop_assert_eq!(got, payload.as_bytes());
        }
    }
}
