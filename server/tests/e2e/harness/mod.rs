//! A server process of one's own, and clients of every dialect that wait for frames, never for time.

mod client;
mod http;
mod native;
#[path = "../../common/net.rs"]
pub mod raw;
mod server;

use std::time::Duration;

pub use client::Client;
pub use http::{Answer, http};
pub use native::Native;
pub use serde_json::{Value, json};
pub use server::{PASSWORD, SECRET, Server, User, run};

/// Whatever is awaited comes within this time, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A new message id.
pub fn message_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Tries until `done` gives something, for conditions that no frame tells of.
pub fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
