//! The server: HTTP, sockets, accounts and settings on top of the engine (`chinwag_actors`).

pub mod app;
pub mod auth;
pub mod backends;
pub mod bootstrap;
pub mod commands;
pub mod config;
pub mod credentials;
pub mod facts;
pub mod files;
pub mod gate;
pub mod hex;
pub mod http;
pub mod jobs;
pub mod logging;
pub mod memory;
pub mod net;
pub mod ops;
pub mod shutdown;
pub mod ws;
