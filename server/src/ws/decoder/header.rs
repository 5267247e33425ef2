//! Headers of client frames: what is refused before any payload comes.

use chinwag_schema::{
    limits::socket,
    wire::frame::{CONTROL_MAX_BYTES, Opcode},
};

use super::{Decoder, Frame, HEADER_MAX_BYTES, Violation};

/// How much larger than its content deflate may make an incompressible message, bytes.
const DEFLATE_SLACK_BYTES: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct HeadBits {
    rsv1: bool,
    rsv2: bool,
    rsv3: bool,
}

fn head_bits(first: u8) -> HeadBits {
    HeadBits { rsv1: first & 0x40 != 0, rsv2: first & 0x20 != 0, rsv3: first & 0x10 != 0 }
}

impl Decoder {
    /// Reads a header, or the next part of one; returns the bytes used and, when it is complete, the frame.
    pub(super) fn read_header(&mut self, input: &[u8], now_s: u32) -> Result<(usize, Option<Frame>), Violation> {
        let have = usize::from(self.header_len);
        let fresh = input.len().min(HEADER_MAX_BYTES - have);
        self.header[have..have + fresh].copy_from_slice(&input[..fresh]);
        let head = &self.header[..have + fresh];
        if let Some(&first) = head.first() {
            // Wrong bits are refused before anything else of the frame comes.
            self.check_first_byte(first)?;
        }
        let Some(&second) = head.get(1) else {
            self.header_len = (have + fresh) as u8;
            return Ok((fresh, None));
        };
        if second & 0x80 == 0 {
            return Err(Violation::Protocol("client frames must be masked"));
        }
        let short = second & 0x7f;
        let opcode = Opcode::from_bits(head[0] & 0x0f).ok_or(Violation::Protocol("reserved opcode"))?;
        if opcode.is_control() && usize::from(short) > CONTROL_MAX_BYTES {
            return Err(Violation::Protocol("control frame longer than 125 bytes"));
        }
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let header_len = 2 + length_bytes + 4;
        if head.len() >= 2 + length_bytes {
            let length = match length_bytes {
                0 => u64::from(short),
                _ => head[2..2 + length_bytes].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
            };
            if (length_bytes == 2 && length < 126) || (length_bytes == 8 && length <= 0xffff) || length >> 63 == 1 {
                return Err(Violation::Protocol("length not in its shortest form"));
            }
            self.check_length(opcode, head[0], length)?;
            if head.len() >= header_len {
                let mask = [head[header_len - 4], head[header_len - 3], head[header_len - 2], head[header_len - 1]];
                // `check_length` bounds it far below `usize::MAX`.
                let frame = Frame { opcode, fin: head[0] & 0x80 != 0, mask, left: length as usize };
                self.header_len = 0;
                self.begin(frame, head_bits(self.header[0]), now_s)?;
                return Ok((header_len - have, Some(frame)));
            }
        }
        self.header_len = (have + fresh) as u8;
        Ok((fresh, None))
    }

    fn check_first_byte(&self, first: u8) -> Result<(), Violation> {
        let bits = head_bits(first);
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(Violation::Protocol("reserved opcode"))?;
        let fin = first & 0x80 != 0;
        let assembling = self.partial.as_ref().is_some_and(|partial| partial.open);
        if bits.rsv2 || bits.rsv3 {
            return Err(Violation::Protocol("reserved bit set"));
        }
        if bits.rsv1 && !(self.deflate && matches!(opcode, Opcode::Text | Opcode::Binary)) {
            return Err(Violation::Protocol("compression bit where none is allowed"));
        }
        match opcode {
            Opcode::Continuation if !assembling => Err(Violation::Protocol("continuation of nothing")),
            Opcode::Text | Opcode::Binary if assembling => {
                Err(Violation::Protocol("new message inside a fragmented one"))
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => Err(Violation::Protocol("fragmented control frame")),
            _ => Ok(()),
        }
    }

    /// Refuses a frame by its length before its payload comes.
    fn check_length(&self, opcode: Opcode, first: u8, length: u64) -> Result<(), Violation> {
        if opcode.is_control() {
            return Ok(());
        }
        let (sofar, compressed) = match &self.partial {
            Some(partial) if partial.open => (partial.data.len(), partial.compressed),
            _ => (0, head_bits(first).rsv1),
        };
        let slack = if compressed { DEFLATE_SLACK_BYTES } else { 0 };
        if length > (self.limits.message_bytes as usize + slack).saturating_sub(sofar) as u64 {
            return Err(Violation::TooBig("message too big"));
        }
        Ok(())
    }

    /// Notes that a frame begins.
    fn begin(&mut self, frame: Frame, bits: HeadBits, now_s: u32) -> Result<(), Violation> {
        let cheap = frame.opcode.is_control() || (frame.left == 0 && !frame.fin);
        if cheap {
            if self.controls_second != now_s {
                self.controls_second = now_s;
                self.controls = 0;
            }
            self.controls += 1;
            if u32::from(self.controls) > socket::CONTROL_FRAMES_MAX_PER_S {
                return Err(Violation::Flood);
            }
        }
        match frame.opcode {
            Opcode::Text | Opcode::Binary if !frame.fin || bits.rsv1 => self.open(frame.opcode, bits.rsv1),
            Opcode::Continuation => {
                let max = self.limits.fragments;
                let partial = self.partial.as_mut().expect("checked with the first byte");
                partial.fragments += 1;
                if partial.fragments > max {
                    return Err(Violation::Flood);
                }
            }
            _ => {}
        }
        self.frame = Some(frame);
        Ok(())
    }
}
