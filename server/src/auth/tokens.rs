//! Access tokens: JWT (RFC 7519), HS256.
//!
//! Strict where the format is lax: one algorithm, known keys only, numbers as numbers, our issuer, audience and type. The clock
//! is the caller's, so that expiry can be tested and agrees with the rest of the server.

use std::{sync::Arc, time::Duration};

use chinwag_schema::{ids::UserId, model::Name};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::secret::Keys;

const ISSUER: &str = "chinwag";
const AUDIENCE: &str = "chinwag";
const ACCESS: &str = "access";
const TICKET: &str = "ticket";
/// Longest token looked at, bytes; ours have under 700.
const TOKEN_MAX_BYTES: usize = 4096;
/// How far `nbf` may lie ahead: the clocks of the nodes differ a little.
const LEEWAY_S: i64 = 5;

/// Who a socket or request belongs to, as its access token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    pub name: Name,
    /// Id of the token.
    pub jti: Arc<str>,
    /// The login that the token grew from; shared with its refresh tokens.
    pub family: i64,
    pub issued_at_ms: i64,
    pub expires_at_ms: i64,
}

/// Why a token is refused. Clients aren't told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("malformed, or not signed by us")]
    Invalid,
    #[error("expired")]
    Expired,
    #[error("not yet valid")]
    NotYetValid,
    #[error("revoked")]
    Revoked,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    typ: String,
    /// User id, decimal.
    sub: String,
    username: String,
    jti: String,
    /// Family, decimal.
    fam: String,
    // Unsigned integers: texts and fractions are refused (CVE-2026-25537).
    iat: u64,
    nbf: u64,
    exp: u64,
    /// Time of issue, ms: revocation is finer than a second.
    iat_ms: i64,
}

/// A ticket of a cluster: good at every node, which a random number in one node's memory is not.
#[derive(Serialize, Deserialize)]
struct TicketClaims {
    iss: String,
    aud: String,
    typ: String,
    sub: String,
    username: String,
    /// Of the ticket.
    tid: String,
    nbf: u64,
    exp: u64,
    /// Of the access token that it stands for.
    jti: String,
    fam: String,
    iat_ms: i64,
    token_exp_ms: i64,
}

struct VerifyingKey {
    kid: String,
    key: DecodingKey,
}

/// Issues and verifies access tokens.
pub struct Tokens {
    kid: String,
    signing: EncodingKey,
    verifying: Vec<VerifyingKey>,
    validation: Validation,
    ttl: Duration,
}

impl Tokens {
    /// Makes an issuer of tokens that live for `ttl` (whole seconds).
    pub fn new(keys: &Keys, ttl: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are compared below, with the caller's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let verifying =
            |key: &super::secret::Key| VerifyingKey { kid: key.kid.clone(), key: DecodingKey::from_secret(&key.bytes) };
        Self {
            kid: keys.signing().kid.clone(),
            signing: EncodingKey::from_secret(&keys.signing().bytes),
            verifying: keys.all().iter().map(verifying).collect(),
            validation,
            ttl,
        }
    }

    /// Returns how long a token lives.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Issues a token as of `now_ms` (Unix ms).
    pub fn issue(&self, user: UserId, name: &Name, family: i64, now_ms: i64) -> (String, Identity) {
        let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
        let exp = now_s + self.ttl.as_secs();
        let jti = Uuid::now_v7().to_string();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            typ: ACCESS.into(),
            sub: user.to_string(),
            username: name.to_string(),
            jti: jti.clone(),
            fam: family.to_string(),
            iat: now_s,
            nbf: now_s,
            exp,
            iat_ms: now_ms,
        };
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.kid.clone());
        let token = jsonwebtoken::encode(&header, &claims, &self.signing).expect("HS256 signs any JSON object");
        let identity = Identity {
            user,
            name: name.clone(),
            jti: jti.into(),
            family,
            issued_at_ms: now_ms,
            expires_at_ms: i64::try_from(exp).unwrap_or(i64::MAX).saturating_mul(1000),
        };
        (token, identity)
    }

    /// Verifies a token as of `now_ms` (Unix ms). Says nothing about revocation.
    ///
    /// # Errors
    /// When it isn't one of ours, or not at this time.
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Identity, TokenError> {
        let claims: Claims = self.decode(token)?;
        if claims.typ != ACCESS {
            return Err(TokenError::Invalid);
        }
        let exp = in_time(claims.nbf.max(claims.iat), claims.exp, now_ms)?;
        Ok(Identity {
            user: claims.sub.parse().map_err(|_| TokenError::Invalid)?,
            name: claims.username.into(),
            jti: claims.jti.into(),
            family: claims.fam.parse().map_err(|_| TokenError::Invalid)?,
            issued_at_ms: claims.iat_ms,
            expires_at_ms: exp.saturating_mul(1000),
        })
    }

    /// Issues a ticket as of `now_ms`, for a token that was verified.
    pub fn issue_ticket(&self, identity: &Identity, ttl: Duration, now_ms: i64) -> String {
        let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
        let claims = TicketClaims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            typ: TICKET.into(),
            sub: identity.user.to_string(),
            username: identity.name.to_string(),
            tid: Uuid::now_v7().to_string(),
            nbf: now_s,
            exp: now_s + ttl.as_secs(),
            jti: identity.jti.to_string(),
            fam: identity.family.to_string(),
            iat_ms: identity.issued_at_ms,
            token_exp_ms: identity.expires_at_ms,
        };
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing).expect("HS256 signs any JSON object")
    }

    /// Verifies a ticket as of `now_ms`; returns whose it is, and its own id. Says nothing about revocation, nor whether it was spent.
    ///
    /// # Errors
    /// When it isn't one of ours, or not at this time.
    pub fn verify_ticket(&self, ticket: &str, now_ms: i64) -> Result<(Identity, String), TokenError> {
        let claims: TicketClaims = self.decode(ticket)?;
        if claims.typ != TICKET {
            return Err(TokenError::Invalid);
        }
        in_time(claims.nbf, claims.exp, now_ms)?;
        let identity = Identity {
            user: claims.sub.parse().map_err(|_| TokenError::Invalid)?,
            name: claims.username.into(),
            jti: claims.jti.into(),
            family: claims.fam.parse().map_err(|_| TokenError::Invalid)?,
            issued_at_ms: claims.iat_ms,
            expires_at_ms: claims.token_exp_ms,
        };
        Ok((identity, claims.tid))
    }

    fn decode<C: DeserializeOwned>(&self, token: &str) -> Result<C, TokenError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let kid = header.kid.ok_or(TokenError::Invalid)?;
        let key = self.verifying.iter().find(|key| key.kid == kid).ok_or(TokenError::Invalid)?;
        let decoded = jsonwebtoken::decode::<C>(token, &key.key, &self.validation);
        decoded.map(|decoded| decoded.claims).map_err(|_| TokenError::Invalid)
    }
}

/// Checks the times of a token (Unix seconds) and returns its end.
fn in_time(from: u64, exp: u64, now_ms: i64) -> Result<i64, TokenError> {
    let seconds = |value: u64| i64::try_from(value).map_err(|_| TokenError::Invalid);
    let (now_s, exp) = (now_ms.div_euclid(1000), seconds(exp)?);
    if now_s >= exp {
        return Err(TokenError::Expired);
    }
    if seconds(from)? > now_s + LEEWAY_S {
        return Err(TokenError::NotYetValid);
    }
    Ok(exp)
}

#[cfg(test)]
mod tests;
