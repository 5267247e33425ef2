use chinwag_schema::{
    limits::socket,
    wire::{deflate, frame},
};
use proptest::prelude::*;

use super::*;

/// What a client sends: one masked frame.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(deflate::compress(payload, &mut out));
    out
}

/// Feeds pieces of the bytes and returns what came out, written down.
fn run(decoder: &mut Decoder, bytes: &[u8], pieces: &[usize]) -> (Vec<String>, Option<Violation>) {
    let mut out = Vec::new();
    let mut sink = |message: Message<'_>| {
        out.push(match message {
            Message::Text(text) => format!("text {text}"),
            Message::Binary(data) => format!("binary {data:?}"),
            Message::Ping(data) => format!("ping {data:?}"),
            Message::Pong(data) => format!("pong {data:?}"),
            Message::Close(code) => format!("close {:?}", code.map(|code| code.0)),
        });
        Next::More
    };
    let mut rest = bytes.to_vec();
    let mut pieces = pieces.iter().copied();
    while !rest.is_empty() {
        let n = pieces.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let mut piece: Vec<u8> = rest.drain(..n).collect();
        match decoder.feed(&mut piece, 0, &mut sink) {
            Ok(used) => assert_eq!(used, n),
            Err(violation) => return (out, Some(violation)),
        }
    }
    (out, None)
}

fn decode(bytes: &[u8]) -> (Vec<String>, Option<Violation>) {
    run(&mut Decoder::new(WsLimits::CHAT, true), bytes, &[])
}

fn refused(bytes: &[u8]) -> CloseCode {
    let (out, violation) = decode(bytes);
    assert_eq!(out, Vec::<String>::new());
    violation.expect("refused").close_code()
}

#[test]
fn messages_come_out_whole_with_control_frames_between_their_fragments() {
    let bytes = [
        client_frame(0x01, b"Hel"),
        client_frame(0x89, b"are you there"),
        client_frame(0x00, b""),
        client_frame(0x80, b"lo"),
        client_frame(0x82, &[1, 2, 3]),
        client_frame(0x88, &1000u16.to_be_bytes()),
        client_frame(0x81, b"after the close"),
    ]
    .concat();
    let expected = ["ping [97, 114, 101, 32, 121, 111, 117, 32, 116, 104, 101, 114, 101]", "text Hello"];
    let (out, violation) = decode(&bytes);
    assert_eq!(violation, None);
    assert_eq!(out[..2], expected);
    assert_eq!(out[2..], ["binary [1, 2, 3]", "close Some(1000)"]);
}

#[test]
fn nothing_is_kept_once_messages_are_complete() {
    let mut decoder = Decoder::new(WsLimits::CHAT, true);
    let bytes = [client_frame(0x01, b"a"), client_frame(0x89, b"p"), client_frame(0x80, b"b")].concat();
    run(&mut decoder, &bytes, &[3, 1, 9, 2, 1]);
    assert!(!decoder.is_incomplete());
    assert!(size_of::<Decoder>() <= 96, "{}", size_of::<Decoder>());
}

#[test]
fn each_malformed_frame_is_refused() {
    let mut unmasked = frame::text(b"x", false).to_vec();
    assert_eq!(refused(&unmasked), CloseCode::PROTOCOL);
    unmasked.clear();
    for first in [0x83, 0x87, 0x8B, 0x8F, 0x91, 0xA1, 0xC9, 0x09, 0x0A, 0x08, 0x80, 0x00, 0xC0] {
        assert_eq!(refused(&client_frame(first, b"x")), CloseCode::PROTOCOL, "{first:#x}");
    }
    assert_eq!(refused(&client_frame(0x89, &[0; 126])), CloseCode::PROTOCOL);
    assert_eq!(refused(&[client_frame(0x01, b"a"), client_frame(0x81, b"b")].concat()), CloseCode::PROTOCOL);
    // Lengths that aren't in the shortest form, or negative.
    assert_eq!(refused(&[0x81, 0xFE, 0, 5, 0, 0, 0, 0]), CloseCode::PROTOCOL);
    assert_eq!(refused(&[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]), CloseCode::PROTOCOL);
    assert_eq!(refused(&[0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 1, 0]), CloseCode::PROTOCOL);
    // The compression bit without the extension.
    let (_, violation) = run(&mut Decoder::new(WsLimits::CHAT, false), &client_frame(0xC1, b"x"), &[]);
    assert_eq!(violation.map(Violation::close_code), Some(CloseCode::PROTOCOL));
}

#[test]
fn close_codes_are_checked() {
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(refused(&client_frame(0x88, &code.to_be_bytes())), CloseCode::PROTOCOL, "{code}");
    }
    assert_eq!(refused(&client_frame(0x88, &[3])), CloseCode::PROTOCOL);
    assert_eq!(refused(&client_frame(0x88, &[3, 232, 0xff])), CloseCode::INVALID_TEXT);
    assert_eq!(decode(&client_frame(0x88, &[])).0, ["close None"]);
    assert_eq!(decode(&client_frame(0x88, &3999u16.to_be_bytes())).0, ["close Some(3999)"]);
}

#[test]
fn broken_utf8_fails_at_the_first_wrong_byte() {
    assert_eq!(refused(&client_frame(0x81, &[0xff])), CloseCode::INVALID_TEXT);
    assert_eq!(refused(&client_frame(0x81, "é".as_bytes().split_last().unwrap().1)), CloseCode::INVALID_TEXT);
    let mut decoder = Decoder::new(WsLimits::CHAT, false);
    // A character in two fragments is fine; a fragment that can't become one fails before the message ends.
    let bytes = [client_frame(0x01, &[0xC3]), client_frame(0x00, &[0xA9])].concat();
    assert_eq!(run(&mut decoder, &bytes, &[]).1, None);
    assert_eq!(run(&mut decoder, &client_frame(0x00, &[0xF4, 0x90]), &[]).1, Some(Violation::InvalidText));
    // Also inside a frame of which the rest hasn't come.
    let frame = client_frame(0x81, &[b'a', 0xF4, 0x90, b'b', b'c']);
    let (_, violation) = run(&mut Decoder::new(WsLimits::CHAT, false), &frame[..9], &[7, 1, 1]);
    assert_eq!(violation, Some(Violation::InvalidText));
}

#[test]
fn sizes_are_limited_before_the_bytes_come() {
    let max = WsLimits::CHAT.message_bytes as usize;
    assert_eq!(decode(&client_frame(0x82, &vec![0; max])).1, None);
    assert_eq!(refused(&client_frame(0x82, &vec![0; max + 1])[..14]), CloseCode::TOO_BIG);
    assert_eq!(refused(&[0x82, 0xFF, 0, 1, 0, 0, 0, 0, 0, 0]), CloseCode::TOO_BIG);
    let bytes = [client_frame(0x02, &vec![0; max]), client_frame(0x00, b""), client_frame(0x00, b"x")].concat();
    assert_eq!(refused(&bytes), CloseCode::TOO_BIG);
}

#[test]
fn endless_fragments_are_cut() {
    let mut bytes = client_frame(0x02, b"x");
    for _ in 0..WsLimits::CHAT.fragments {
        bytes.extend(client_frame(0x00, b"x"));
    }
    assert_eq!(decode(&bytes).1, Some(Violation::Flood));
    let mut bytes = client_frame(0x02, b"");
    for _ in 0..socket::CONTROL_FRAMES_MAX_PER_S {
        bytes.extend(client_frame(0x00, b""));
    }
    assert_eq!(decode(&bytes).1, Some(Violation::Flood));
}

#[test]
fn control_frames_are_counted_per_second() {
    let pings: Vec<u8> = client_frame(0x89, b"").repeat(socket::CONTROL_FRAMES_MAX_PER_S as usize);
    let mut decoder = Decoder::new(WsLimits::CHAT, true);
    let mut sink = |_: Message<'_>| Next::More;
    for second in 0..3 {
        assert!(decoder.feed(&mut pings.clone(), second, &mut sink).is_ok());
    }
    assert_eq!(decoder.feed(&mut client_frame(0x8A, b""), 2, &mut sink), Err(Violation::Flood));
}

#[test]
fn compressed_messages_are_inflated_within_their_limit() {
    let text = "hello ".repeat(500);
    let body = compressed(text.as_bytes());
    assert_eq!(decode(&client_frame(0xC1, &body)).0, [format!("text {text}")]);
    let (start, end) = body.split_at(body.len() / 2);
    let bytes = [client_frame(0x41, start), client_frame(0x89, b""), client_frame(0x80, end)].concat();
    assert_eq!(decode(&bytes).0, ["ping []".to_owned(), format!("text {text}")]);
    let bomb = compressed(&vec![b'0'; 64 << 20]);
    let mut limits = WsLimits::CHAT;
    limits.message_bytes = 1 << 20;
    let (out, violation) = run(&mut Decoder::new(limits, true), &client_frame(0xC1, &bomb), &[]);
    assert_eq!((out, violation.map(Violation::close_code)), (vec![], Some(CloseCode::TOO_BIG)));
    assert_eq!(refused(&client_frame(0xC1, &[0xff; 20])), CloseCode::INVALID_TEXT);
    // Not UTF-8 once inflated.
    assert_eq!(refused(&client_frame(0xC1, &compressed(&[0xff; 2000]))), CloseCode::INVALID_TEXT);
}

#[test]
fn a_paused_sink_leaves_the_rest() {
    let mut bytes = [client_frame(0x81, b"one"), client_frame(0x81, b"two")].concat();
    let mut decoder = Decoder::new(WsLimits::CHAT, false);
    let mut seen = 0;
    let mut sink = |_: Message<'_>| {
        seen += 1;
        Next::Pause
    };
    let used = decoder.feed(&mut bytes, 0, &mut sink).unwrap();
    assert_eq!(used, bytes.len() / 2);
    assert_eq!(decoder.feed(&mut bytes[used..], 0, &mut sink), Ok(used));
    assert_eq!(seen, 2);
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let control = proptest::collection::vec(any::<u8>(), 0..125).prop_map(|data| client_frame(0x89, &data));
    let part = prop_oneof!["[a-zéß€😀]{0,40}", "[a-z]{120,300}"];
    let message = (proptest::collection::vec((part, proptest::option::of(control)), 1..4), any::<bool>());
    message.prop_map(|(parts, compress)| {
        let last = parts.len() - 1;
        let whole: Vec<String> = parts.iter().map(|(text, _)| text.clone()).collect();
        let body =
            compressed(whole.concat().repeat(40).as_bytes().get(..).filter(|b| b.len() > 400).unwrap_or(&[b'x'; 400]));
        let mut bytes = Vec::new();
        for (index, (text, control)) in parts.iter().enumerate() {
            let fin = if index == last { 0x80 } else { 0 };
            let opcode = if index == 0 { 0x01 } else { 0 };
            let rsv1 = if compress && index == 0 { 0x40 } else { 0 };
            let payload = if compress {
                let share = body.len() / parts.len();
                let end = if index == last { body.len() } else { share * (index + 1) };
                &body[share * index..end]
            } else {
                text.as_bytes()
            };
            bytes.extend(client_frame(fin | rsv1 | opcode, payload));
            if index != last {
                bytes.extend(control.iter().flatten());
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_split_of_the_bytes_yields_the_same_messages(
        messages in proptest::collection::vec(frames(), 1..4),
        pieces in proptest::collection::vec(1..200usize, 0..60),
    ) {
        let bytes = messages.concat();
        let whole = decode(&bytes);
        prop_assert_eq!(whole.1, None);
        prop_assert!(whole.0.iter().filter(|m| m.starts_with("text")).count() == messages.len());
        let mut decoder = Decoder::new(WsLimits::CHAT, true);
        prop_assert_eq!(run(&mut decoder, &bytes, &pieces), whole.clone());
        let mut decoder = Decoder::new(WsLimits::CHAT, true);
        prop_assert_eq!(run(&mut decoder, &bytes, &vec![1; bytes.len()]), whole);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        pieces in proptest::collection::vec(1..50usize, 0..20),
    ) {
        run(&mut Decoder::new(WsLimits::CHAT, true), &bytes, &pieces);
    }
}
