//! The engine: actors, the runtime they live on, the four ports, and their backends.
//!
//! Knows nothing of HTTP or sockets; `server` puts those on top.

pub mod backends;
pub mod breaker;
pub mod cluster;
pub mod conversation;
pub mod directory;
pub mod engine;
pub mod metrics;
pub mod ports;
pub mod presence;
pub mod protection;
pub mod relay;
pub mod runtime;
pub mod server_mailbox;
pub mod session;
pub mod snowflake;
pub mod storage;
