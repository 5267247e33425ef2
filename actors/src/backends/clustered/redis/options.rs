//! Where Redis is, and why it can't be used.

use std::fmt;

use fred::{
    prelude::{Config, ServerConfig},
    types::config::Server,
};

/// Why Redis can't be used. Each says what to do about it; the program prints it and exits.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedisError {
    #[error(
        "the address of Redis can't be read ({reason}); write redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT"
    )]
    Address { reason: String },
    #[error(
        "Redis Cluster is not supported: name one server, or its Sentinels (redis-sentinel://HOST:PORT?sentinelServiceName=NAME)"
    )]
    Cluster,
    #[error("the key prefix {prefix:?} may have letters, digits, '.', '_' and '-' only, 1 to 32 of them")]
    Prefix { prefix: String },
    #[error("Redis at {address} doesn't answer ({reason}); start it, or correct --redis")]
    Unreachable { address: String, reason: String },
    #[error("Redis at {address} is version {found}; 6.2 or later is needed")]
    TooOld { address: String, found: String },
}

/// Where Redis is, and under which prefix the keys lie.
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) config: Config,
    pub(super) prefix: String,
}

impl RedisOptions {
    /// The prefix of a cluster that shares its Redis with nobody.
    pub const PREFIX: &'static str = "chinwag";

    /// Reads an address (`redis://`, `rediss://`, `redis-sentinel://`, `rediss-sentinel://`) and a prefix of keys.
    ///
    /// # Errors
    /// When either can't be used; nothing is connected yet.
    pub fn new(url: &str, prefix: &str) -> Result<Self, RedisError> {
        // fred takes any scheme and treats what it doesn't know as plain Redis.
        if !["redis", "rediss"].contains(&url.split([':', '-']).next().unwrap_or_default()) {
            return Err(RedisError::Address { reason: "it doesn't begin with redis:// or rediss://".into() });
        }
        // Its errors may repeat the address, and with it the password: only their kind is shown.
        let config = Config::from_url(url)
            .map_err(|error| RedisError::Address { reason: error.kind().to_str().to_lowercase() })?;
        if matches!(config.server, ServerConfig::Clustered { .. }) {
            return Err(RedisError::Cluster);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=32).contains(&prefix.len()) || !prefix.bytes().all(plain) {
            return Err(RedisError::Prefix { prefix: prefix.to_owned() });
        }
        Ok(Self { config, prefix: prefix.to_owned() })
    }

    /// Returns host and port, without credentials.
    pub fn address(&self) -> String {
        let show = |server: Server| format!("{}:{}", server.host, server.port);
        self.config.server.hosts().into_iter().map(show).collect::<Vec<_>>().join(", ")
    }
}

/// Without credentials.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("address", &self.address()).field("prefix", &self.prefix).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_the_password() {
        let options = RedisOptions::new("redis://ann:secret@redis.example:6380/2", "chinwag").unwrap();
        assert_eq!(options.address(), "redis.example:6380");
        assert!(!format!("{options:?}").contains("secret"));
        assert!(RedisOptions::new("redis-sentinel://a:26379?sentinelServiceName=x&node=b:26380", "chinwag").is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_sentence_that_hides_the_password() {
        for bad in ["", "postgres://u:secret@h/d", "redis://u:secret@host:notaport", "localhost:6379"] {
            let error = RedisOptions::new(bad, "chinwag").unwrap_err();
            assert!(matches!(error, RedisError::Address { .. }), "{bad}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(matches!(RedisOptions::new("redis-cluster://a:1", "chinwag"), Err(RedisError::Cluster)));
        for bad in ["", "{a}", "a:b", "ü", &"a".repeat(33)] {
            assert!(matches!(RedisOptions::new("redis://a", bad), Err(RedisError::Prefix { .. })), "{bad}");
        }
    }
}
