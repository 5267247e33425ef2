//! Golden files lock each mapping between the wire and its meaning: `schema/golden/<dialect>/*.json`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p chinwag-schema --test golden` rewrites them; then read the difference. The native ones are the
//! conformance vectors for authors of clients (`ops/protocol/README.md`).

mod events;
mod harness;
mod malformed;
mod messenger;
mod native_frames;
mod native_requests;
mod reference;
mod rooms;
