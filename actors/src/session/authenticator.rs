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
    /// The access token's id, by which a logout finds its sockets, and what else a revocation is compared with.
    pub token_id: Option<TokenId>,
    /// When the token runs out, Unix ms; the socket is closed then.
    pub expires_at_ms: Option<i64>,
}

/// Names an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenId {
    pub id: Box<str>,
    /// The login that it grew from.
    pub family: i64,
    pub issued_at_ms: i64,
}

/// Checks credentials.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Checks an access token; no store is asked.
    fn verify(&self, token: &str) -> Result<Identity, ClientError>;
    /// Says whether a token that was verified earlier still counts. Asked by the directory when a socket enters: whoever revokes makes
    /// this say no first and closes the sockets that the directory knows then, so that none slips through between. Must not block.
    fn still_valid(&self, user: UserId, token: &TokenId) -> bool;
    /// Spends a one-use ticket.
    fn redeem(&self, ticket: &str) -> Result<Identity, ClientError>;
    /// Checks a name and a password (rooms dialect). `address` is the client's, for throttling.
    async fn login(&self, name: &str, password: &str, address: &str) -> Result<Identity, ClientError>;
}
