use proptest::prelude::*;

use super::*;

const ANN: NodeLease = NodeLease { node: NodeId(1), incarnation: Incarnation(11) };
const BOB: NodeLease = NodeLease { node: NodeId(2), incarnation: Incarnation(22) };
const NOW_MS: i64 = 1_790_000_000_000;

fn keys() -> Keyring {
    Keyring::parse(b"correct horse battery staple, twice over").unwrap()
}

fn envelope(frames: &[Bytes]) -> Envelope {
    let (epoch, peer_epoch, number, ack, held) = (3, 4, 5, 6, 7);
    let payload = pack(frames);
    Envelope { version: 1, kind: Kind::Frames, from: ANN, to: BOB, epoch, peer_epoch, number, ack, held, payload }
}

fn open(sealed: &Bytes) -> Result<Envelope, Refusal> {
    Envelope::open(sealed, &keys(), BOB, NOW_MS)
}

#[test]
fn envelopes_survive_the_wire() {
    let frames = [Bytes::from_static(b"{}"), Bytes::new(), Bytes::from(vec![b'x'; 70_000])];
    let sent = envelope(&frames);
    let got = open(&sent.seal(&keys(), NOW_MS)).unwrap();
    assert_eq!(got, sent);
    assert!(got.frames().eq(frames));
}

#[test]
fn the_layout_is_the_documented_one() {
    let sealed = envelope(&[Bytes::from_static(b"hi")]).seal(&keys(), NOW_MS);
    let fields: &[(usize, &[u8])] = &[
        (0, b"cw\x01\x03"),
        (4, &[0, 1, 0, 2]),
        (8, &11u64.to_be_bytes()),
        (16, &22u64.to_be_bytes()),
        (24, &3u64.to_be_bytes()),
        (32, &4u64.to_be_bytes()),
        (40, &5u64.to_be_bytes()),
        (48, &6u64.to_be_bytes()),
        (56, &7u64.to_be_bytes()),
        (64, &NOW_MS.to_be_bytes()),
        (72, b"\0\0\0\x02hi"),
    ];
    for (at, bytes) in fields {
        assert_eq!(&sealed[*at..at + bytes.len()], *bytes, "at {at}");
    }
    assert_eq!(sealed.len(), 78 + 32);
}

#[test]
fn the_largest_frame_fits_the_largest_envelope() {
    let sealed = envelope(&[Bytes::from(vec![b'x'; FRAME_MAX_BYTES])]).seal(&keys(), NOW_MS);
    assert_eq!(sealed.len(), ENVELOPE_MAX_BYTES);
    assert!(open(&sealed).is_ok());
    let longer = envelope(&[Bytes::from(vec![b'x'; FRAME_MAX_BYTES + 1])]).seal(&keys(), NOW_MS);
    assert_eq!(open(&longer), Err(Refusal::Malformed("too long")));
    let many = envelope(&vec![Bytes::new(); FRAMES_MAX + 1]).seal(&keys(), NOW_MS);
    assert_eq!(open(&many), Err(Refusal::Malformed("too many frames")));
}

#[test]
fn each_reason_to_refuse_an_envelope_is_told_apart() {
    let sealed = envelope(&[]).seal(&keys(), NOW_MS);
    let other = Keyring::parse(b"another key of thirty-two bytes and more").unwrap();
    assert_eq!(Envelope::open(&sealed, &other, BOB, NOW_MS), Err(Refusal::Mac));
    assert_eq!(Envelope::open(&sealed, &keys(), BOB, NOW_MS + 7), Err(Refusal::Expired(7)));
    assert_eq!(Envelope::open(&sealed, &keys(), ANN, NOW_MS), Err(Refusal::Receiver(BOB.node)));
    let reborn = NodeLease { incarnation: Incarnation(23), ..BOB };
    assert_eq!(Envelope::open(&sealed, &keys(), reborn, NOW_MS), Err(Refusal::Incarnation(BOB.incarnation)));
    let newer = Envelope { version: 9, ..envelope(&[]) };
    assert_eq!(open(&newer.seal(&keys(), NOW_MS)), Err(Refusal::Version(9)));
    assert_eq!(open(&Bytes::from_static(b"{\"version\":1}")), Err(Refusal::Malformed("too short")));
    assert_eq!(open(&Bytes::from(vec![b'{'; 500])), Err(Refusal::Malformed("not an envelope")));
    let everyone = Envelope { to: Envelope::EVERYONE, ..envelope(&[]) };
    assert_eq!(open(&everyone.seal(&keys(), NOW_MS)), Err(Refusal::Receiver(NodeId(u16::MAX))), "of a link");
}

#[test]
fn hints_are_for_everyone() {
    let hint = Envelope::hint(ANN, 1, Bytes::from_static(b"{}"));
    let sealed = hint.seal(&keys(), NOW_MS);
    for me in [ANN, BOB] {
        assert_eq!(Envelope::open(&sealed, &keys(), me, NOW_MS).as_ref(), Ok(&hint));
    }
}

#[test]
fn an_older_node_understands_a_longer_greeting() {
    let greeting = Greeting { versions: Versions { min: 1, max: 4 }, up: true };
    let mut envelope = Envelope { kind: Kind::Greeting, payload: greeting.payload(), ..envelope(&[]) };
    assert_eq!(envelope.greeting(), Some(greeting));
    envelope.payload = [&greeting.payload()[..], b"more"].concat().into();
    assert_eq!(open(&envelope.seal(&keys(), NOW_MS)).unwrap().greeting(), Some(greeting));
    envelope.payload = Bytes::from_static(&[1, 4]);
    assert_eq!(envelope.greeting(), None);
}

#[test]
fn two_nodes_speak_the_highest_version_that_both_know() {
    let versions = |min, max| Versions { min, max };
    assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
    assert_eq!(versions(2, 5).common(versions(1, 3)), Some(3));
    assert_eq!(versions(1, 1).common(versions(2, 3)), None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = open(&bytes.into());
    }

    /// What comes from somebody who has the key may still be nonsense.
    #[test]
    fn no_signed_bytes_make_the_reader_panic(
        kind in 0u8..6,
        header in prop::collection::vec(any::<u8>(), 64),
        payload in prop::collection::vec(0u8..6, 0..200),
    ) {
        let mut bytes = [b"cw\x01", &[kind][..], &[0, 1, 0, 2], &header[..], &payload[..]].concat();
        bytes[16..24].copy_from_slice(&22u64.to_be_bytes());
        bytes[64..72].copy_from_slice(&NOW_MS.to_be_bytes());
        let mac = keys().sign(&bytes);
        bytes.extend_from_slice(&mac);
        match open(&bytes.into()) {
            Ok(envelope) if matches!(envelope.kind, Kind::Frames | Kind::Hint) => {
                let packed: usize = envelope.frames().map(|frame| packed_bytes(&frame)).sum();
                prop_assert_eq!(packed, payload.len(), "every byte belongs to a frame");
            }
            Ok(envelope) => {
                envelope.greeting();
            }
            Err(refusal) => prop_assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal}"),
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = envelope(&[Bytes::from_static(b"{\"n\":1}")]).seal(&keys(), NOW_MS).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(open(&bytes.into()).is_err());
    }

    #[test]
    fn any_cut_is_noticed(length in 0usize..110) {
        let sealed = envelope(&[Bytes::from_static(b"hi")]).seal(&keys(), NOW_MS);
        prop_assert!(open(&sealed.slice(..length.min(sealed.len() - 1))).is_err());
    }
}
