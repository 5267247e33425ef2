//! Which database, and how long anything may take there.

use std::{fmt, path::PathBuf, time::Duration};

use chinwag_schema::limits::{postgres as limits, storage::DEADLINE};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use super::PostgresError;

// An operation gives up by itself, with its own reason, before its caller does.
const _: () = assert!(
    limits::ACQUIRE_TIMEOUT.as_millis() + limits::STATEMENT_TIMEOUT.as_millis() + limits::ANSWER_GRACE.as_millis()
        < DEADLINE.as_millis()
);

/// How to reach Postgres.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the options of libpq that follow a `?`. Several hosts, separated by
    /// commas, are tried in turn until one takes writes. `sslmode` is `disable`, `prefer` (the default: encrypted if the server
    /// can, but not proven to be the right one), `require` (likewise, but never in the clear) or `verify-full` (the right one,
    /// by the system's authorities or those of the file `sslrootcert`).
    pub url: String,
    /// Connections that this node may have open.
    pub connections_max: u32,
    /// How long making a connection may take, for each host.
    pub connect_timeout: Duration,
    /// How long an operation waits for a free connection.
    pub acquire_timeout: Duration,
    /// After this time the server gives a statement up.
    pub statement_timeout: Duration,
}

impl PostgresOptions {
    /// Returns the defaults for a database.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections_max: limits::CONNECTIONS_MAX,
            connect_timeout: limits::CONNECT_TIMEOUT,
            acquire_timeout: limits::ACQUIRE_TIMEOUT,
            statement_timeout: limits::STATEMENT_TIMEOUT,
        }
    }
}

// The URL has a password in it.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("connections_max", &self.connections_max)
            .field("connect_timeout", &self.connect_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

/// How far the server must prove who it is, once the connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// Not at all.
    None,
    /// By a certificate for its name, from an authority of the system, or of this file.
    Full { authorities: Option<PathBuf> },
}

/// A parsed URL.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) proof: Proof,
    /// Hosts and database, without user and password: for messages.
    pub(super) shown: String,
}

impl Target {
    /// Parses the URL and adds what it leaves open.
    pub(super) fn parse(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let (url, security) = split_security(&options.url)?;
        // The library's own message may quote the URL, password and all.
        let mut config: Config = url.parse().map_err(|_| bad("it is not understood"))?;
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(bad("it doesn't begin with postgres://"));
        }
        if config.get_hosts().is_empty() {
            return Err(bad("it names no host"));
        }
        config.ssl_mode(security.mode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.connect_timeout);
        }
        if config.get_application_name().is_none() {
            config.application_name("chinwag");
        }
        // A server that vanished without a word must not hold callers up until TCP has given up, which takes a quarter of an hour.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(limits::SILENCE_MAX);
        }
        if config.get_keepalives_idle() >= Duration::from_secs(2 * 3600) {
            config.keepalives_idle(limits::SILENCE_MAX / 2);
        }
        // Of several hosts, the one that isn't a standby.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let shown = shown(&config);
        Ok(Self { config, proof: security.proof, shown })
    }

    /// How long making a connection may take in all.
    pub(super) fn connect_deadline(&self) -> Duration {
        let each = self.config.get_connect_timeout().copied().unwrap_or(limits::CONNECT_TIMEOUT);
        each * u32::try_from(self.config.get_hosts().len().max(1)).unwrap_or(u32::MAX)
    }
}

struct Security {
    mode: SslMode,
    proof: Proof,
}

/// Takes what is about TLS out of the URL: the client library knows neither `verify-full` nor `sslrootcert`.
fn split_security(url: &str) -> Result<(String, Security), PostgresError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut authorities, mut rest) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) if value.contains('%') => {
                return Err(bad("the path in sslrootcert must be written without %"));
            }
            Some(("sslrootcert", "system")) => authorities = None,
            Some(("sslrootcert", value)) => authorities = Some(PathBuf::from(value)),
            Some(("target_session_attrs", value)) if value != "read-write" => {
                return Err(bad("target_session_attrs must be read-write: accounts are written"));
            }
            _ => rest.push(pair),
        }
    }
    let security = match mode {
        Some("verify-full") => Security { mode: SslMode::Require, proof: Proof::Full { authorities } },
        _ if authorities.is_some() => return Err(bad("sslrootcert needs sslmode=verify-full")),
        Some("require") => Security { mode: SslMode::Require, proof: Proof::None },
        Some("prefer") | None => Security { mode: SslMode::Prefer, proof: Proof::None },
        Some("disable") => Security { mode: SslMode::Disable, proof: Proof::None },
        Some(_) => return Err(bad("sslmode must be disable, prefer, require or verify-full")),
    };
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((url, security))
}

fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(n, host)| {
        let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    format!("{hosts}/{}", config.get_dbname().or(config.get_user()).unwrap_or_default())
}

fn bad(reason: &str) -> PostgresError {
    PostgresError::Url { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, String> {
        Target::parse(&PostgresOptions::new(url)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_shown_of_a_url_has_no_password() {
        let target = parse("postgres://chat:secret@one,two:5433/accounts?sslmode=disable").unwrap();
        assert_eq!(target.shown, "one:5432,two:5433/accounts");
        let options = PostgresOptions::new("postgres://chat:secret@one/accounts");
        assert!(!format!("{options:?}").contains("secret"));
        let refused = parse("postgres://chat:secret@one/accounts?sslmode=maybe&x=y").err().unwrap();
        assert!(!refused.contains("secret") && refused.contains("sslmode"), "{refused}");
        let refused = parse("postgres://chat:secret@one:many/accounts").err().unwrap();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn the_mode_of_encryption_is_taken_from_the_url() {
        let mode = |query: &str| {
            let target = parse(&format!("postgres://chat@one/accounts{query}"))?;
            Ok::<_, String>((target.config.get_ssl_mode(), target.proof))
        };
        assert_eq!(mode(""), Ok((SslMode::Prefer, Proof::None)));
        assert_eq!(mode("?sslmode=disable&application_name=x"), Ok((SslMode::Disable, Proof::None)));
        assert_eq!(mode("?sslmode=require"), Ok((SslMode::Require, Proof::None)));
        assert_eq!(mode("?sslmode=verify-full"), Ok((SslMode::Require, Proof::Full { authorities: None })));
        let file = Proof::Full { authorities: Some("/etc/ca.pem".into()) };
        assert_eq!(mode("?sslrootcert=/etc/ca.pem&sslmode=verify-full"), Ok((SslMode::Require, file)));
        assert!(mode("?sslmode=verify-ca").is_err());
        assert!(mode("?sslrootcert=/etc/ca.pem").is_err(), "it would not be looked at");
        assert!(mode("?sslmode=require&sslrootcert=/etc/ca.pem").is_err());
    }

    #[test]
    fn what_is_no_url_of_a_database_is_refused() {
        for url in ["", "localhost", "host=one user=chat", "postgres://", "mysql://one/accounts"] {
            assert!(parse(url).is_err(), "{url}");
        }
        assert!(parse("postgres://one/accounts?target_session_attrs=any").is_err());
    }
}
