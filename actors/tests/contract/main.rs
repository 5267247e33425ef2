//! The contract of the four ports, and every backend held to it.
//!
//! `suite/` says what any backend must do, in functions that take a port; it makes a test of each of them for a backend that can
//! be set up (`suite::message_store_contract!` and its siblings). The modules beside it set a backend up, call those macros,
//! and add what only that backend promises.

#[cfg(feature = "service-tests")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "service-tests")]
mod copy;
mod embedded;
#[cfg(feature = "service-tests")]
mod lookups;
#[cfg(feature = "service-tests")]
mod postgres;
#[cfg(feature = "service-tests")]
mod redis;
#[cfg(feature = "service-tests")]
mod scylla;
mod suite;
