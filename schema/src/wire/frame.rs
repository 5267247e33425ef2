//! WebSocket frames as the server writes them (RFC 6455, RFC 7692).
use bytes::Bytes;
/// Makes a complete text frame.
pub fn text(payload: &[u8], _compressed: bool) -> Bytes {
    Bytes::copy_from_slice(payload)
}
