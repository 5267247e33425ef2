//! Peers of all three protocols, and the ledger, against a real server.

mod chats;
mod compression;
mod errors;
mod rooms;
mod world;
