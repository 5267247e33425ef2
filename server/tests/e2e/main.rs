//! The real program over real sockets: clients of all dialects, what the protocols promise, and the attack classes that a server on
//! the Internet meets.

mod backup;
mod cross_dialect;
mod drain;
mod handshake;
mod harness;
mod input;
mod malformed;
mod messenger;
mod messenger_presence;
mod native_devices;
mod native_history;
mod native_resume;
mod native_send;
mod resources;
mod revocation;
mod rights;
mod rooms;
mod rooms_guests;
mod rooms_limits;
mod seed;
mod tokens;
