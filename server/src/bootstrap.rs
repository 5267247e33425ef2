//! Puts a node together from its settings and runs it until it is told to stop.

use std::{
    io::Write as _,
    path::Path,
    process::ExitCode,
    rc::Rc,
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_rt::Arbiter;
use actix_web::web::Data;
use anyhow::Context as _;
use chinwag_actors::{
    backends::embedded::OpenError,
    engine::{EngineSettings, Node, Parts, new_incarnation},
    ports::StoreError,
    protection::Protection,
    runtime::{Placement, clock::SystemClock},
    session::outbox::OutboxStats,
};
use chinwag_schema::limits::conversation::MESSAGE_ID_AHEAD_MAX;
use serde_json::json;

use crate::{
    auth::{Accounts, secret::Keys},
    backends::{self, BackendError, Backends, Opener, ServiceError},
    commands::doctor::certificate,
    config::{Config, Loaded},
    credentials::{SessionCredentials, SocketCloser},
    facts::{NodeFacts, OutboxTotals},
    gate::{self, GateState},
    http::{HttpState, stats::RequestStats},
    jobs,
    net::{self, Bound, ListenerKind, Net, NetSettings, tls},
    ops,
    shutdown::{self, Signals},
    ws::heartbeat,
};

/// Exit codes, as `--help` tells them.
pub mod exit {
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const DATA: u8 = 3;
    pub const BIND: u8 = 4;
    pub const REFUSED: u8 = 5;
    pub const SERVICE: u8 = 6;
}

/// Connections of all listeners together, if the limit of open files allows so many.
const CONNECTIONS_MAX: usize = 1_000_000;
/// Open files that connections leave to the store, the listeners and the runtime: without them it couldn't even write.
const FILES_KEPT: usize = 128;

/// Why the program ends, with its exit code.
pub struct Failure {
    pub code: u8,
    pub error: anyhow::Error,
}

impl Failure {
    /// Makes a failure.
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: exit::FAILED, error }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        let code = match &error {
            BackendError::Data(_) | BackendError::Service(ServiceError::Data(_)) => exit::DATA,
            BackendError::Service(_) => exit::SERVICE,
        };
        Self::new(code, error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::new(exit::DATA, error)
    }
}

/// Serves until SIGTERM or SIGINT.
pub fn serve(loaded: Loaded) -> ExitCode {
    let risks = risks(&loaded);
    let config = Arc::new(loaded.config);
    crate::logging::init(&config);
    let system = actix_rt::System::new();
    match system.block_on(run(config, risks)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("chinwag: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

async fn run(config: Arc<Config>, risks: Vec<String>) -> Result<(), Failure> {
    raise_open_files();
    let backends = Backends::open(&config, Opener::Server).await?;
    // Of an earlier start: nobody may take its addresses for ours.
    remove_ports(&config.data).map_err(|error| Failure::new(exit::DATA, error))?;
    // Watched before anyone can know that we run: from then on a signal drains.
    let mut signals = Signals::watch().context("signals can't be watched")?;
    let keys = Keys::load(&config.secret).map_err(|error| Failure::new(exit::DATA, error))?;
    if let Some(path) = &keys.made {
        eprintln!("chinwag: made a signing secret in {} (mode 0600); keep it, tokens depend on it", path.display());
    }
    let bound = bind_all(&config)?;
    let tls = match &config.tls {
        Some(files) => {
            Some(tls::server_config(&files.cert, &files.key).map_err(|error| Failure::new(exit::USAGE, error))?)
        }
        None => None,
    };

    let clock = Arc::new(SystemClock);
    let arbiters: Vec<Arbiter> = (0..config.worker_threads).map(|_| Arbiter::new()).collect();
    for (index, arbiter) in arbiters.iter().enumerate() {
        let index = u16::try_from(index).context("too many worker threads")?;
        arbiter.spawn_fn(move || Placement::enter_worker(index));
    }
    let id = backends.node_id(&config, Opener::Server).await.context("this node can't have a number")?;
    let node = Node::start(Parts {
        node: id,
        incarnation: new_incarnation(),
        clock: clock.clone(),
        placement: Placement::Pool(arbiters.iter().map(Arbiter::handle).collect()),
        accounts: backends.accounts.clone(),
        messages: backends.messages.clone(),
        directory: backends.directory.clone(),
        bus: backends.bus.clone(),
        cluster: backends::cluster_settings(&config),
        protection: Protection::new(config.protection.clone()),
        settings: engine_settings(&config),
    })
    .await
    .context("the node can't start")?;

    let ids = node.clone();
    let new_user_id = Box::new(move || {
        ids.ids.user(ids.runtime.unix_ms()).map_err(|error| StoreError::Unavailable(error.to_string()))
    });
    let stored = backends.accounts.clone();
    let accounts = Arc::new(Accounts::start(&config, &keys.keys, stored, clock.clone(), new_user_id).await?);
    accounts.on_revoked(Arc::new(SocketCloser::new(node.clone())));
    node.set_authenticator(Arc::new(SessionCredentials::new(accounts.clone())));

    let outboxes: Vec<_> = arbiters.iter().map(|_| Arc::<OutboxTotals>::default()).collect();
    let facts = Arc::new(NodeFacts {
        node: node.clone(),
        accounts: accounts.clone(),
        outboxes: outboxes.clone(),
        services: backends.gauges(),
        data: config.data.clone(),
        certificate_ends_s: config.tls.as_ref().and_then(|files| certificate::ends_s(&files.cert)),
        places: OnceLock::new(),
    });
    let ops_state = ops::OpsState::start(node.clone(), config.clone(), facts.clone())
        .context("the operators' files in the data directory can't be used")
        .map_err(|error| Failure::new(exit::DATA, error))?;
    let drain = ops_state.drain.clone();
    let handle = start_net(&config, bound, arbiters, tls, &node, &accounts, ops_state, outboxes)?;
    // The first and only call.
    let _ = facts.places.set(handle.places());
    jobs::start(&config, &node, &accounts, backends.messages.clone(), backends.gauges());

    write_ports(&config.data, handle.addresses()).map_err(|error| Failure::new(exit::DATA, error))?;
    announce(&config, handle.addresses());
    for risk in risks {
        tracing::warn!("{risk}");
    }
    let signal = tokio::select! {
        signal = signals.next() => signal,
        // Said in the log: its identifiers would collide with the other's.
        () = node.displaced.notified() => "another process of this name",
        () = drain.notified() => "an operator's word",
    };
    tracing::info!(signal, "draining; a second signal closes at once");
    shutdown::drain(&config, &node, &handle, &mut signals).await;
    handle.stop();
    backends.close().await.context("the store can't be closed")?;
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn start_net(
    config: &Arc<Config>,
    bound: Vec<Bound>,
    arbiters: Vec<Arbiter>,
    tls: Option<Arc<rustls::ServerConfig>>,
    node: &Arc<Node>,
    accounts: &Arc<Accounts>,
    ops_state: Data<ops::OpsState>,
    outboxes: Vec<Arc<OutboxTotals>>,
) -> anyhow::Result<net::NetHandle> {
    let http_state = Data::new(HttpState {
        accounts: accounts.clone(),
        health: ops_state.facts.clone(),
        clock: node.runtime.clock().clone(),
        stats: RequestStats::new(tokio::time::Instant::now()),
        trusted_proxies: config.trusted_proxies.clone(),
        allowed_origins: config.allowed_origins.clone(),
    });
    let gate_state = Arc::new(GateState {
        node: node.clone(),
        accounts: accounts.clone(),
        config: config.clone(),
        addresses: Arc::default(),
    });
    let max_connections = max_connections();
    tracing::info!(max_connections, "connections beyond this, of all listeners together, are dropped");
    let settings = NetSettings {
        max_connections,
        // A browser opens some besides its socket.
        max_connections_per_address: config.max_sockets_per_address.saturating_mul(2),
        tls,
        trusted_proxies: config.trusted_proxies.clone().into(),
    };
    let beating = node.clone();
    let handle = Net::start(
        bound,
        arbiters,
        settings,
        move |_, kind| crate::app::for_listener(kind, http_state.clone(), ops_state.clone()),
        move |context| {
            let stats = Rc::<OutboxStats>::default();
            let totals = outboxes[usize::from(context.index)].clone();
            let counted = stats.clone();
            actix_rt::spawn(async move {
                loop {
                    totals.copy(&counted);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
            actix_rt::spawn(heartbeat::run(beating.local_sockets()));
            gate::gate(gate_state.clone(), stats)
        },
    );
    handle.context("the worker threads can't start")
}

fn engine_settings(config: &Config) -> EngineSettings {
    EngineSettings {
        guests: config.guests,
        unlimited: config.unlimited,
        sockets_per_user_max: config.max_sockets_per_user,
        outbox_max_bytes: config.outbox_max_bytes,
        presence_grace: config.presence_grace,
        announce_max_listeners: config.announce_max_listeners,
        empty_room_grace: config.room_grace,
        // An id may lie that far ahead of its message: it must be too old before its row is gone.
        dedup_window: config.retention.map(|kept| kept.saturating_sub(MESSAGE_ID_AHEAD_MAX)),
        version: env!("CARGO_PKG_VERSION"),
        ..EngineSettings::default()
    }
}

fn bind_all(config: &Config) -> Result<Vec<Bound>, Failure> {
    let kinds = [
        (ListenerKind::Http, &config.listeners.http),
        (ListenerKind::Messenger, &config.listeners.messenger),
        (ListenerKind::Presence, &config.listeners.presence),
        (ListenerKind::Ops, &config.listeners.ops),
    ];
    let mut bound = Vec::new();
    for (kind, addresses) in kinds {
        for &address in addresses {
            let name = kind.as_str();
            let listener = net::bind(kind, address)
                .with_context(|| format!("can't listen on {address} (--{name}); is another program using it?"))
                .map_err(|error| Failure { code: exit::BIND, error })?;
            bound.push(listener);
        }
    }
    Ok(bound)
}

type Address = (ListenerKind, std::net::SocketAddr);

/// Raises the soft limit of open files to the hard one: the soft one is often 1,024, for programs that use `select`.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}

/// Returns how many connections the limit of open files (`ulimit -n`) allows.
fn max_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = open_files_max(&limits).unwrap_or(usize::MAX);
    CONNECTIONS_MAX.min(files.saturating_sub(FILES_KEPT).max(1))
}

/// Reads the soft limit of open files; `None` when there is none or it isn't told.
fn open_files_max(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn remove_ports(data: &Path) -> anyhow::Result<()> {
    let path = data.join("ports.json");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes the bound addresses to `ports.json`, whole or not at all.
fn write_ports(data: &Path, addresses: &[Address]) -> anyhow::Result<()> {
    let of = |wanted: ListenerKind| -> Vec<String> {
        addresses.iter().filter(|(kind, _)| *kind == wanted).map(|(_, address)| address.to_string()).collect()
    };
    let ports = json!({
        "http": of(ListenerKind::Http),
        "messenger": of(ListenerKind::Messenger),
        "presence": of(ListenerKind::Presence),
        "ops": of(ListenerKind::Ops),
        "pid": std::process::id(),
    });
    let (path, fresh) = (data.join("ports.json"), data.join("ports.json.new"));
    std::fs::write(&fresh, format!("{ports:#}\n")).with_context(|| format!("can't write {}", fresh.display()))?;
    std::fs::rename(&fresh, &path).with_context(|| format!("can't write {}", path.display()))
}

/// Returns what an operator may have overlooked: settings that are allowed, and dangerous where others can connect.
pub fn risks(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let beyond = config.listeners.all().any(|address| !address.ip().is_loopback());
    let mut risks = Vec::new();
    if beyond && config.tls.is_none() && config.trusted_proxies.is_empty() {
        let text =
            "passwords and tokens travel unencrypted: listening beyond loopback without --tls-cert or a trusted proxy";
        risks.push(text.to_owned());
    }
    if config.unlimited && (beyond || !config.trusted_proxies.is_empty()) {
        risks.push("--unlimited beyond loopback: passwords can be guessed without limit".to_owned());
    }
    for flag in crate::config::exposed_flags(&loaded.raw) {
        let variable = format!("CHINWAG_{}", flag.trim_start_matches('-').to_ascii_uppercase());
        risks.push(format!(
            "everybody on this machine sees the password in {flag} in the list of processes: use {variable} or {flag}-password-file"
        ));
    }
    risks
}

/// Prints the one line that says that the server is ready.
fn announce(config: &Config, addresses: &[Address]) {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let mut parts = Vec::new();
    for (kind, address) in addresses {
        parts.push(match kind {
            ListenerKind::Http => format!("open {scheme}://{address}"),
            kind => format!("{} {address}", kind.as_str()),
        });
    }
    let limits = if config.unlimited { "; UNLIMITED: rates and spam checks are off" } else { "" };
    let line = format!("chinwag {} is ready: {}{limits}", env!("CARGO_PKG_VERSION"), parts.join(", "));
    // A closed standard output is no reason to stop serving.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_settings_are_told_where_others_can_connect() {
        let risks_of = |flags: &[&str]| {
            let place = tempfile::tempdir().unwrap();
            let args = std::iter::once("chinwag").chain(flags.iter().copied());
            let cli = crate::config::Cli::read(args.map(Into::into)).unwrap();
            risks(&crate::config::load(&cli.settings, [], place.path()).unwrap()).len()
        };
        assert_eq!(risks_of(&[]), 0);
        assert_eq!(risks_of(&["--unlimited"]), 0);
        assert_eq!(risks_of(&["--http", "0.0.0.0:0"]), 1);
        assert_eq!(risks_of(&["--http", "0.0.0.0:0", "--trusted-proxies", "10.0.0.0/8"]), 0);
        assert_eq!(risks_of(&["--http", "0.0.0.0:0", "--unlimited"]), 2);
    }

    #[test]
    fn the_limit_of_open_files_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             127227               127227               processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(open_files_max(limits), Some(1024));
        assert_eq!(open_files_max(&limits.replace("1024 ", "unlimited ")), None);
        assert_eq!(open_files_max(""), None);
        assert!(max_connections() >= 1);
    }
}
