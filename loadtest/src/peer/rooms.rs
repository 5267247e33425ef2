//! A peer that speaks the rooms protocol.

pub struct RoomsPeer;
