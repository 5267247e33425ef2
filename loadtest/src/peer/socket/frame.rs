//! WebSocket frames as a client reads and writes them (RFC 6455, 5; RFC 7692, 6).

use anyhow::{bail, ensure};
use chinwag_schema::wire::frame::Opcode;

/// Longest message that is taken, bytes. Far beyond a page of history: a length that is wrong shouldn't take all memory.
pub const MESSAGE_MAX_BYTES: usize = 16 << 20;

const FIN: u8 = 0x80;
/// 'This message is compressed.'
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASKED: u8 = 0x80;

/// The header of a frame whose bytes are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    pub opcode: Opcode,
    pub last: bool,
    pub compressed: bool,
    pub header_bytes: usize,
    pub payload_bytes: usize,
}

/// Looks at the start of what was received: `None` if the first frame isn't complete yet.
///
/// # Errors
/// If a server mustn't write such a frame.
pub fn first(received: &[u8]) -> anyhow::Result<Option<Frame>> {
    let [start, second, rest @ ..] = received else { return Ok(None) };
    let Some(opcode) = Opcode::from_bits(start & 0x0f) else { bail!("the server sent a frame of an unknown type") };
    ensure!(start & RSV2_AND_3 == 0 && second & MASKED == 0, "the server sent a frame with bits that it mustn't set");
    let (length_bytes, payload_bytes) = match second {
        126 => (2, rest.first_chunk().map(|length| u64::from(u16::from_be_bytes(*length)))),
        127 => (8, rest.first_chunk().map(|length| u64::from_be_bytes(*length))),
        length => (0, Some(u64::from(*length))),
    };
    let Some(payload_bytes) = payload_bytes else { return Ok(None) };
    ensure!(payload_bytes <= MESSAGE_MAX_BYTES as u64, "the server sent a frame of {payload_bytes} bytes");
    let (last, compressed) = (start & FIN != 0, start & RSV1 != 0);
    ensure!(!opcode.is_control() || (last && payload_bytes <= 125), "the server sent a control frame in pieces");
    let (header_bytes, payload_bytes) = (2 + length_bytes, payload_bytes as usize);
    let frame = Frame { opcode, last, compressed, header_bytes, payload_bytes };
    Ok((received.len() >= header_bytes + payload_bytes).then_some(frame))
}

/// Appends a whole frame of a client.
pub fn write(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.reserve(payload.len() + 14);
    out.push(FIN | opcode as u8);
    match payload.len() {
        short @ 0..=125 => out.push(MASKED | short as u8),
        medium @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    for piece in out[start..].chunks_mut(4) {
        piece.iter_mut().zip(mask).for_each(|(byte, key)| *byte ^= key);
    }
}

#[cfg(test)]
mod tests {
    use chinwag_schema::wire::frame;

    use super::*;

    #[test]
    fn frames_of_every_length_are_read_once_they_are_whole() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let bytes = frame::text(&vec![b'x'; length], false);
            let frame = first(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.last, frame.compressed), (Opcode::Text, true, false));
            assert_eq!((frame.payload_bytes, frame.header_bytes + length), (length, bytes.len()));
            for cut in [0, 1, 2, 3, frame.header_bytes - 1, bytes.len() - 1] {
                assert_eq!(first(&bytes[..cut.min(bytes.len() - 1)]).unwrap(), None, "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn frames_that_no_server_may_send_are_refused() {
        for bad in [[0x83, 0], [0xA1, 0], [0x91, 0], [0x81, 0x80], [0x09, 0], [0x89, 126]] {
            assert!(first(&[bad[0], bad[1], 0, 200]).is_err(), "{bad:?}");
        }
        assert!(first(&[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0]).is_err(), "4 GiB");
    }

    #[test]
    fn what_is_written_is_masked_and_unmasks_to_the_payload() {
        for length in [0, 7, 125, 126, 70_000] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut out = Vec::new();
            write(Opcode::Text, &payload, [1, 2, 3, 4], &mut out);
            let header = out.len() - length - 4;
            assert_eq!(out[1] & MASKED, MASKED);
            assert_eq!(out[header..header + 4], [1, 2, 3, 4]);
            let unmasked: Vec<u8> =
                out[header + 4..].iter().zip([1, 2, 3, 4].into_iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            assert_eq!(unmasked, payload);
        }
    }
}
