//! The native protocol, session and engine together: what a client of `ops/protocol/native.md` sends and sees.

#[path = "../common/mod.rs"]
mod common;
mod conversations;
mod harness;
mod hello;
mod history;
mod people;
mod resume;
mod send;
