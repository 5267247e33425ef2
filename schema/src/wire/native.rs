//! The native protocol, `chinwag.v1`.
use crate::event::Event;
/// Encodes an event.
pub fn encode_event(_event: &Event) -> Option<Vec<u8>> {
    None
}
