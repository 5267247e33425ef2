//! Storage actors: they bound what is in flight, group appends, put a deadline and a circuit breaker before every store, and are the
//! only ones that call the ports.

pub mod accounts;
pub mod call;
pub mod messages;
mod pace;
