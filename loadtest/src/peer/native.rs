//! A peer that speaks the native protocol.

pub struct NativePeer;
