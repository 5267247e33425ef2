//! How sessions learn who a token belongs to. Implemented by `server`, which knows tokens and passwords.

use async_trait::async_trait;
use chinwag_schema::{error::ClientError, ids::UserId, model::Name};

/// Who a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    pub name: Name,
    pub display_name: Option<String>,
    pub guest: bool,
    /// The access token's id, by which a logout finds its sockets.
    pub token_id: Option<Box<str>>,
    /// When the token runs out, Unix ms; the socket is closed then.
    pub expires_at_ms: Option<i64>,
}

/// Checks credentials.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Checks an access token; no store is asked.
    fn verify(&self, token: &str) -> Result<Identity, ClientError>;
    /// Spends a one-use ticket.
    fn redeem(&self, ticket: &str) -> Result<Identity, ClientError>;
    /// Checks a name and a password (rooms dialect). `address` is the client's, for throttling.
    async fn login(&self, name: &str, password: &str, address: &str) -> Result<Identity, ClientError>;
}
