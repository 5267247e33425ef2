//! Sessions: one actor per socket, its outbox, and what it does with the frames of its dialect.
pub mod outbox;
