//! Between the engine and the accounts: sessions check credentials through here, and ended credentials close sockets.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use chinwag_actors::{
    engine::Node,
    server_mailbox::{ServerMailboxMessage, To},
    session::authenticator::{Authenticator, Identity, TokenId},
};
use chinwag_schema::{
    envelope::Body,
    error::{ClientError, ErrorCode},
    ids::UserId,
};

use crate::{
    auth::{Accounts, Revoked, RevokedReason, tokens},
    http::ClientAddr,
};

/// Checks credentials for sessions.
pub struct SessionCredentials {
    accounts: Arc<Accounts>,
}

impl SessionCredentials {
    /// Makes it over the accounts of this node.
    pub fn new(accounts: Arc<Accounts>) -> Self {
        Self { accounts }
    }
}

/// Returns an access token's identity as sessions know it.
pub fn identity(proven: tokens::Identity) -> Identity {
    Identity {
        user: proven.user,
        name: proven.name,
        display_name: None,
        guest: false,
        token_id: Some(TokenId {
            id: proven.jti.as_ref().into(),
            family: proven.family,
            issued_at_ms: proven.issued_at_ms,
        }),
        expires_at_ms: Some(proven.expires_at_ms),
    }
}

fn refused() -> ClientError {
    ClientError::new(ErrorCode::Unauthorized, "Invalid token")
}

#[async_trait]
impl Authenticator for SessionCredentials {
    fn verify(&self, token: &str) -> Result<Identity, ClientError> {
        self.accounts.verify_token(token).map(identity).map_err(|_| refused())
    }

    fn still_valid(&self, user: UserId, token: &TokenId) -> bool {
        !self.accounts.is_revoked(user, &token.id, token.family, token.issued_at_ms)
    }

    fn redeem(&self, ticket: &str) -> Result<Identity, ClientError> {
        self.accounts.spend_ticket(ticket).map(identity).ok_or_else(refused)
    }

    async fn login(&self, name: &str, password: &str, address: &str) -> Result<Identity, ClientError> {
        let address = address.parse::<IpAddr>().unwrap_or(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));
        Ok(identity(self.accounts.authenticate(name, password, ClientAddr::direct(address)).await?))
    }
}

/// Tells all nodes, this one included, to close the sockets of ended credentials.
pub struct SocketCloser {
    node: Arc<Node>,
}

impl SocketCloser {
    /// Makes it for this node.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    fn tell(&self, body: Body) {
        // Past the bound: a revocation must reach its sockets; they are rare.
        let _ = self.node.server_mailbox.tell_always(ServerMailboxMessage::Forward { to: To::All, body });
    }
}

impl Revoked for SocketCloser {
    fn user_revoked(&self, user: UserId, reason: RevokedReason) {
        tracing::info!(%user, ?reason, "closing the sockets of a user");
        self.tell(Body::UserRevoked { user });
    }

    fn token_revoked(&self, jti: &str) {
        self.tell(Body::TokenRevoked { token_id: jti.into() });
    }
}
