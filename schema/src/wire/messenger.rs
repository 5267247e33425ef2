//! The messenger dialect.
use crate::event::Event;
/// Encodes an event for a chat socket.
pub fn encode_event(_event: &Event) -> Option<Vec<u8>> {
    None
}
/// Encodes an event for a presence socket.
pub fn encode_presence(_event: &Event) -> Option<Vec<u8>> {
    None
}
