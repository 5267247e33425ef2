//! A peer that speaks the messenger protocol.

pub struct MessengerPeer;
