//! Settings, in two steps: raw texts with their sources ([`sources`]), then a typed [`Config`] ([`typed`]).
//!
//! Order: flag, `CHINWAG_…` variable, `.env`, `chinwag.toml`, default. Everything unknown, out of range or contradictory refuses to
//! start and names the flag, variable or line; all problems are told at once.

pub mod cli;
pub mod cluster;
pub mod settings;
mod show;
pub mod sources;
mod typed;
pub mod units;
pub mod urls;

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use chinwag_actors::protection::{ProtectionSettings, Rate};
use ipnet::IpNet;

pub use cli::{ActorsArgs, Cli, Command, ExplainArgs, PasswordSource, TopArgs, UserCommand};
pub use cluster::Cluster;
pub use show::show;
pub use sources::{Raw, RawSettings, Source};
pub use units::Hidden;

/// One reason not to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub String);

/// Why the settings are refused: every problem, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|problem| problem.0.as_str()).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<Problem>);

/// The settings, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Everything that is stored lies here.
    pub data: PathBuf,
    /// A node of a cluster; `None`: the store is embedded.
    pub cluster: Option<Cluster>,
    pub listeners: Listeners,
    pub tls: Option<TlsFiles>,
    /// Networks whose forwarding headers and PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Foreign origins that may call us: `scheme://host[:port]`, lower case.
    pub allowed_origins: Vec<String>,
    /// Whether guests may come in (rooms dialect); `auto` is decided already.
    pub guests: bool,
    /// Bearer token of the operations listener.
    pub ops_token: Option<Hidden>,
    pub secret: SecretSource,
    pub access_token_ttl: Duration,
    pub refresh_token_ttl: Duration,
    /// Threads that hash passwords, at least 1.
    pub password_hash_threads: usize,
    pub password_hash_queue: usize,
    /// Rates and spam checks are off.
    pub unlimited: bool,
    /// What sessions are held to; already switched off when `unlimited`.
    pub protection: ProtectionSettings,
    /// What addresses and logins are held to.
    pub rates: AddressRates,
    pub max_sockets_per_user: usize,
    pub max_sockets_per_address: usize,
    pub outbox_max_bytes: usize,
    pub announce_max_listeners: usize,
    /// Older messages are removed; `None`: never.
    pub retention: Option<Duration>,
    pub presence_grace: Duration,
    pub room_grace: Duration,
    pub drain_window: Duration,
    /// Threads that serve sockets, at least 1.
    pub worker_threads: usize,
    pub log_format: LogFormat,
    /// Directives for `tracing_subscriber::EnvFilter`, known to be valid.
    pub log_level: String,
}

/// Addresses to listen on; an empty list is `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    pub http: Vec<SocketAddr>,
    pub messenger: Vec<SocketAddr>,
    pub presence: Vec<SocketAddr>,
    pub ops: Vec<SocketAddr>,
}

impl Listeners {
    /// Returns all addresses.
    pub fn all(&self) -> impl Iterator<Item = &SocketAddr> {
        self.http.iter().chain(&self.messenger).chain(&self.presence).chain(&self.ops)
    }
}

/// Certificate chain and key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Where the signing keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Made at the first start when it is the default place.
    File { path: PathBuf, make_if_missing: MakeIfMissing },
    /// Given in the environment: hexadecimal digits.
    Given(Hidden),
}

/// Whether a missing secret file is made. A path that the operator named must exist: a typing error must not make a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakeIfMissing {
    Yes,
    No,
}

/// Rates of addresses and of logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRates {
    pub connections: Rate,
    pub login_account: Rate,
    pub login_account_total: Rate,
    pub login_address: Rate,
    pub registration: Rate,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Pretty,
}

/// Settings that were read, with the texts and sources that `chinwag config` shows.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub raw: RawSettings,
}

/// Reads and checks all settings; `.env` and `chinwag.toml` are looked for in `directory`.
///
/// # Errors
/// Every problem at once, each naming its flag, variable or line.
pub fn load(
    flags: &settings::Flags,
    environment: impl IntoIterator<Item = (String, String)>,
    directory: &Path,
) -> Result<Loaded, ConfigError> {
    let raw = sources::gather(flags, environment, directory).map_err(ConfigError)?;
    let config = typed::check(&raw).map_err(ConfigError)?;
    Ok(Loaded { config, raw })
}

/// Names the flags whose URL has a password in it: the list of processes shows it to everybody on the machine.
pub fn exposed_flags(raw: &RawSettings) -> Vec<String> {
    let exposed = |setting: &&settings::Setting| {
        setting.kind == settings::Kind::Url
            && raw.get(setting.name).is_some_and(|found| {
                found.source == Source::Flag && found.values.iter().any(|url| urls::has_password(url))
            })
    };
    settings::SETTINGS.iter().filter(exposed).map(settings::Setting::flag).collect()
}

/// Reads all settings of this process: its environment and working directory.
///
/// # Errors
/// As [`load`]; a variable that isn't UTF-8 counts as wrong only if it is ours.
pub fn load_process(flags: &settings::Flags) -> Result<Loaded, ConfigError> {
    let directory = std::env::current_dir()
        .map_err(|error| ConfigError(vec![Problem(format!("the working directory can't be found: {error}"))]))?;
    let environment = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    load(flags, environment, &directory)
}
