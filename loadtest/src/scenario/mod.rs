//! The scenarios, and what all of them have in common.

pub mod crash;
pub mod direct;
pub mod fanout;
pub mod idle;
pub mod slow_reader;
pub mod stage;
