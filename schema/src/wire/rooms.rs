//! The rooms dialect.
use crate::event::Event;
/// Encodes an event.
pub fn encode_event(_event: &Event, _now_ms: i64) -> Option<Vec<u8>> {
    None
}
