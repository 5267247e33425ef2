//! WebSockets on raw sockets (RFC 6455, RFC 7692): handshake, frames from clients, and the future that owns a socket.
//!
//! Server frames are made in `chinwag_schema::wire::frame`, once for all recipients, and wait in an `Outbox`. What messages mean is the
//! endpoint's business.

pub mod connection;
pub mod decoder;
pub mod deflate;
pub mod echo;
pub mod endpoint;
pub mod handshake;
pub mod heartbeat;
pub mod session_socket;
pub mod upgrade;

pub use connection::Connection;
pub use decoder::{Violation, WsLimits};
pub use endpoint::{Closed, ClosedBy, Endpoint};
pub use upgrade::{Accept, Decision, Gate, Refusal, UpgradeRequest};
