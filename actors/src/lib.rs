//! The engine: actors, the runtime they live on, the four ports, and their backends.
//!
//! Knows nothing of HTTP or sockets; `server` puts those on top.

pub mod backends;
pub mod ports;
pub mod protection;
pub mod runtime;
pub mod session;
