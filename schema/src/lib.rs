//! The vocabulary of Chinwag: identifiers, limits, errors, events, and the three wire dialects.
//!
//! Knows nothing of actors, sockets or storage engines: everything here is data and pure functions, so that the server, the
//! load test and the tests of clients can share it.

pub mod envelope;
pub mod error;
pub mod event;
pub mod ids;
pub mod limits;
pub mod model;
pub mod names;
pub mod tables;
pub mod wire;
