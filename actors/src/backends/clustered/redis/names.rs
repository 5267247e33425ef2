//! Ids of accounts by their names, as some node found them in Postgres: what all nodes of a cluster remember together.
//!
//! A hint, as everything in Redis: whoever finds nothing here asks Postgres. What is found decides who gets a message, so each entry
//! carries a code made with the cluster's key over the name, the id and the epoch of the log: who can write to Redis can't direct
//! messages to another account, and entries of another cluster don't count.

use std::sync::Arc;

use bytes::Bytes;
use chinwag_schema::{
    ids::{Epoch, UserId},
    limits::lookups::{REDIS_DEADLINE, SHARED_FOR},
};
use fred::{interfaces::KeysInterface as _, types::Expiration};

use super::{
    keys::Keys,
    link::{Connection, Link},
    options::{RedisError, RedisOptions},
};
use crate::{cluster::keyring::Keyring, ports::StoreResult};

const ID_BYTES: usize = size_of::<i64>();

/// Names of accounts in Redis. On a connection of its own: leases and envelopes don't wait behind it, and it is given up sooner.
pub struct RedisNames {
    keys: Keys,
    link: Link,
    seal: Seal,
}

impl RedisNames {
    /// Connects. Its tasks run on the caller's runtime and end with it.
    ///
    /// # Errors
    /// When Redis doesn't answer or is too old.
    pub async fn connect(options: &RedisOptions, keyring: Keyring, epoch: Epoch) -> Result<Self, RedisError> {
        let link = Link::connect(options, "names").await?;
        Ok(Self { keys: Keys::new(&options.prefix), link, seal: Seal { keyring, epoch } })
    }

    /// Returns the id of the account of this name, if a node has shared it in the last five minutes.
    ///
    /// # Errors
    /// `Unavailable` at once without a connection, else after [`REDIS_DEADLINE`] (250 ms).
    pub async fn get(&self, name: &str) -> StoreResult<Option<UserId>> {
        let key = self.keys.name(name);
        let ask = |connection: Arc<Connection>| async move { connection.client.get::<Option<Bytes>, _>(key).await };
        let found = self.link.request_within(REDIS_DEADLINE, ask).await?;
        Ok(found.and_then(|value| self.seal.open(name, &value)))
    }

    /// Shares what was found in Postgres.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn put(&self, name: &str, id: UserId) -> StoreResult<()> {
        let (key, value) = (self.keys.name(name), self.seal.close(name, id));
        let expires = Some(Expiration::EX(SHARED_FOR.as_secs().cast_signed()));
        let put = |connection: Arc<Connection>| async move {
            connection.client.set::<(), _, _>(key, value, expires, None, false).await
        };
        self.link.request_within(REDIS_DEADLINE, put).await
    }
}

/// What makes an entry believed.
struct Seal {
    keyring: Keyring,
    epoch: Epoch,
}

impl Seal {
    fn close(&self, name: &str, id: UserId) -> Bytes {
        let code = self.keyring.sign(&self.message(name, id));
        [id.0.to_be_bytes().as_slice(), &code].concat().into()
    }

    fn open(&self, name: &str, value: &[u8]) -> Option<UserId> {
        let (id, code) = value.split_first_chunk::<ID_BYTES>()?;
        let id = UserId(i64::from_be_bytes(*id));
        self.keyring.verify(&self.message(name, id), code).then_some(id)
    }

    /// No envelope begins like this, and only the name, at the end, has no fixed length.
    fn message(&self, name: &str, id: UserId) -> Vec<u8> {
        [b"chinwag account\0".as_slice(), &self.epoch.0.to_be_bytes(), &id.0.to_be_bytes(), name.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_believed_for_its_name_its_id_its_cluster_and_its_log_only() {
        let seal = Seal { keyring: Keyring::random(), epoch: Epoch(7) };
        let value = seal.close("ann", UserId(42));
        assert_eq!(seal.open("ann", &value), Some(UserId(42)));
        assert_eq!(seal.open("bob", &value), None, "moved to another name");
        let mut other = value.to_vec();
        other[ID_BYTES - 1] ^= 1;
        assert_eq!(seal.open("ann", &other), None, "another id");
        for cut in [0, ID_BYTES - 1, ID_BYTES, value.len() - 1] {
            assert_eq!(seal.open("ann", &value[..cut]), None, "cut to {cut}");
        }
        let elsewhere = Seal { keyring: Keyring::random(), epoch: Epoch(7) };
        assert_eq!(elsewhere.open("ann", &value), None, "another key");
        let later = Seal { keyring: seal.keyring.clone(), epoch: Epoch(8) };
        assert_eq!(later.open("ann", &value), None, "another log");
    }
}
