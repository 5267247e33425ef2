//! What nodes send each other, versioned.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{NodeId, UserId},
    model::Name,
};

/// A message between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub version: u16,
    pub from: NodeId,
    pub body: Body,
}

/// What an envelope says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// Password changed or banned: the user's sockets are closed.
    UserRevoked { user: UserId },
    /// Logged out: the sockets of this access token are closed.
    TokenRevoked { token_id: Box<str> },
    /// An operator's broadcast.
    Notification { message: String },
    /// Users of the sending node came online or went offline; those that are still on another node aren't named.
    PresenceChanged { users: Vec<PresenceChange> },
}

/// A user that came online or went offline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceChange {
    pub user: UserId,
    pub name: Name,
    pub online: bool,
    pub last_seen_ms: Option<i64>,
}

/// Why an envelope can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BadEnvelope {
    #[error("envelope version {0} is not spoken here")]
    Version(u16),
    #[error("malformed envelope: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Envelope {
    /// The version written here.
    pub const VERSION: u16 = 1;

    /// Writes the envelope.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain data serialises").into()
    }

    /// Reads an envelope.
    pub fn decode(payload: &[u8]) -> Result<Self, BadEnvelope> {
        let envelope: Self = serde_json::from_slice(payload)?;
        if envelope.version != Self::VERSION {
            return Err(BadEnvelope::Version(envelope.version));
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_survive_the_wire_and_other_versions_are_refused() {
        let mut envelope =
            Envelope { version: 1, from: NodeId(3), body: Body::UserRevoked { user: UserId(9_007_199_254_740_993) } };
        assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
        envelope.version = 2;
        assert!(matches!(Envelope::decode(&envelope.encode()), Err(BadEnvelope::Version(2))));
        assert!(matches!(Envelope::decode(b"{}"), Err(BadEnvelope::Malformed(_))));
    }
}
