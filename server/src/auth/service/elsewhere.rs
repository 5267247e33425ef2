//! What other nodes revoked, read from the store: the word that they send at once may be lost on its way.

use std::sync::atomic::Ordering::Relaxed;

use chinwag_actors::ports::StoreError;
use chinwag_schema::ids::UserId;

use super::Accounts;

/// How far back each look reaches besides the time since the last one: clocks of nodes differ, and commits take their time.
const OVERLAP_MS: i64 = 60_000;

/// What is revoked and wasn't known here. Its sockets must be closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt {
    pub users: Vec<UserId>,
    /// Ids of access tokens.
    pub tokens: Vec<String>,
}

impl Accounts {
    /// Reads what is revoked and notes what wasn't known; from then on it counts here.
    ///
    /// # Errors
    /// When the store doesn't answer; the next call learns the rest.
    pub async fn learn_revocations(&self) -> Result<Learnt, StoreError> {
        let now_ms = self.clock.unix_ms();
        let mut learnt = Learnt::default();
        for (key, expires_at_ms) in self.store.revoked_access_tokens(now_ms).await? {
            if !self.revocations.knows(&key) {
                learnt.tokens.push(key.clone());
                self.revocations.revoke_key(key, expires_at_ms);
            }
        }
        let since_ms = self.oldest_issue_ms(now_ms).max(self.learnt_until_ms.load(Relaxed) - OVERLAP_MS);
        for (user, from_ms) in self.store.revoked_users(since_ms).await? {
            if self.revocations.valid_from(user) < from_ms {
                learnt.users.push(user);
                self.revocations.revoke_user(user, from_ms);
            }
        }
        self.learnt_until_ms.store(now_ms, Relaxed);
        Ok(learnt)
    }
}
