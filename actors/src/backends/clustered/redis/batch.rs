//! Envelopes packed into one field of a stream: for each, its length in 4 bytes (little-endian), then its bytes.
//!
//! One field instead of many makes an envelope cost Redis and both ends a fraction: commands, arguments and entries are what costs
//! there, not bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Bytes that packing adds to each envelope.
const HEADER: usize = 4;

/// Returns what a payload takes in a batch, bytes.
pub(super) const fn packed_len(payload: &Bytes) -> usize {
    HEADER + payload.len()
}

/// Packs payloads, none of which is larger than 4 GiB (`ENVELOPE_MAX_BYTES` is far below).
pub(super) fn pack<'a>(payloads: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut batch = BytesMut::with_capacity(payloads.clone().map(packed_len).sum());
    for payload in payloads {
        batch.put_u32_le(u32::try_from(payload.len()).expect("checked when it was sent"));
        batch.put_slice(payload);
    }
    batch.freeze()
}

/// Unpacks a batch; `None` when it is malformed.
pub(super) fn unpack(mut batch: Bytes) -> Option<Vec<Bytes>> {
    let mut payloads = Vec::new();
    while !batch.is_empty() {
        let len = batch.try_get_u32_le().ok()? as usize;
        if len > batch.len() {
            return None;
        }
        payloads.push(batch.split_to(len));
    }
    Some(payloads)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(payloads in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            let batch = pack(payloads.iter());
            prop_assert_eq!(batch.len(), payloads.iter().map(packed_len).sum::<usize>());
            prop_assert_eq!(unpack(batch), Some(payloads));
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes: Vec<u8>) {
            if let Some(payloads) = unpack(bytes.clone().into()) {
                prop_assert_eq!(pack(payloads.iter()), bytes);
            }
        }
    }
}
