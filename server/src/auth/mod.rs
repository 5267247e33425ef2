//! Accounts: passwords, access and refresh tokens, tickets, revocation, throttling.

pub mod counts;
pub mod passwords;
pub mod refresh;
pub mod revocations;
pub mod secret;
pub mod service;
pub mod throttle;
pub mod tickets;
pub mod tokens;

pub use service::{Accounts, Revoked, RevokedReason, Session};
pub use tokens::{Identity, TokenError};
