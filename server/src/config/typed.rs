//! Second step: texts become values, ranges and contradictions are checked.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use chinwag_actors::protection::{ProtectionSettings, Rate, SpamSettings};
use ipnet::IpNet;

use super::{
    AddressRates, Cluster, Config, Hidden, Listeners, LogFormat, MakeIfMissing, Problem, RawSettings, SecretSource,
    TlsFiles, cluster,
    settings::{self, Setting},
    units::{self, show_time, within},
};
use crate::files;

const MIN: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Shortest token of the operations listener, characters.
const OPS_TOKEN_MIN_CHARS: usize = 16;

/// Reads settings and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    raw: &'a RawSettings,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn setting(name: &str) -> &'static Setting {
        settings::find(name).expect("settings are read by names of the table")
    }

    /// Notes a problem with a setting at its place.
    pub(super) fn wrong(&mut self, name: &str, why: &str) {
        let setting = Self::setting(name);
        self.problems.push(Problem(format!("{}: {why}", self.raw[setting.name].place(setting))));
    }

    /// Reads a setting that has a default. After a problem it goes on with the default, so that all problems are found at once.
    pub(super) fn one<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> T {
        let setting = Self::setting(name);
        let raw = &self.raw[setting.name];
        let result = match raw.values.as_slice() {
            [value] => read(value),
            _ => Err("needs exactly one value".into()),
        };
        result.unwrap_or_else(|why| {
            self.wrong(name, &why);
            read(setting.default).expect("defaults are valid: a test reads them all")
        })
    }

    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.raw[Self::setting(name).name].values.first().map(String::as_str)
    }

    pub(super) fn many<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut found = Vec::new();
        for value in &self.raw[Self::setting(name).name].values {
            match read(value) {
                Ok(value) => found.push(value),
                Err(why) => self.wrong(name, &why),
            }
        }
        found
    }

    pub(super) fn count(&mut self, name: &str, min: usize, max: usize) -> usize {
        self.one(name, |text| {
            let count = units::count(text)?;
            within(usize::try_from(count).unwrap_or(usize::MAX), min, max, |n| n.to_string())
        })
    }

    /// Reads a count from 1 on, of which 0 stands for a default that depends on the machine.
    fn threads(&mut self, name: &str, max: usize, default: impl Fn(usize) -> usize) -> usize {
        match self.count(name, 0, max) {
            0 => default(std::thread::available_parallelism().map_or(1, |n| n.get())).clamp(1, max),
            count => count,
        }
    }

    fn time(&mut self, name: &str, min: Duration, max: Duration) -> Duration {
        self.one(name, |text| within(units::time(text)?, min, max, show_time))
    }

    fn rate(&mut self, name: &str) -> Rate {
        self.one(name, units::rate)
    }

    fn switch(&mut self, name: &str) -> bool {
        self.one(name, units::switch)
    }

    fn addresses(&mut self, name: &str) -> Vec<SocketAddr> {
        let values = &self.raw[Self::setting(name).name].values;
        if values.iter().any(|value| value == "off") {
            if values.len() > 1 {
                self.wrong(name, "'off' contradicts the other addresses");
            }
            return vec![];
        }
        if values.is_empty() {
            self.wrong(name, "needs an address, or 'off'");
        }
        self.many(name, address)
    }
}

/// Makes the typed configuration.
pub(super) fn check(raw: &RawSettings) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader { raw, problems: Vec::new() };
    let config = read(&mut reader);
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
}

fn read(r: &mut Reader<'_>) -> Config {
    let data: PathBuf = r.one("data", |text| Ok(text.into()));
    let listeners = listeners(r);
    let tls = tls(r);
    let trusted_proxies = r.many("trusted_proxies", network);
    let local = listeners.all().all(|address| address.ip().is_loopback()) && trusted_proxies.is_empty();
    let guests = r.one("guests", |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        "auto" => Ok(local),
        _ => Err(format!("'{text}' is none of on, off and auto")),
    });
    let access_token_ttl = r.time("access_token_ttl", MIN, 30 * DAY);
    let refresh_token_ttl = r.time("refresh_token_ttl", MIN, 365 * DAY);
    if refresh_token_ttl < access_token_ttl {
        r.wrong(
            "refresh_token_ttl",
            "contradicts access_token_ttl: a refresh token must not end before an access token",
        );
    }
    let unlimited = r.switch("unlimited");
    let retention_days = r.count("retention_days", 0, 36_500);
    let cluster = cluster::read(r);
    Config {
        ops_token: ops_token(r, &listeners),
        secret: secret(r, &data, cluster.as_ref()),
        cluster,
        data,
        listeners,
        tls,
        trusted_proxies,
        allowed_origins: r.many("allowed_origins", origin),
        guests,
        access_token_ttl,
        refresh_token_ttl,
        password_hash_threads: r.threads("password_hash_threads", 64, |processors| processors / 2),
        password_hash_queue: r.count("password_hash_queue", 1, 10_000),
        unlimited,
        protection: protection(r, unlimited),
        rates: AddressRates {
            connections: r.rate("rate_connections"),
            login_account: r.rate("rate_login_account"),
            login_account_total: r.rate("rate_login_account_total"),
            login_address: r.rate("rate_login_address"),
            registration: r.rate("rate_registration"),
        },
        max_sockets_per_user: r.count("max_sockets_per_user", 1, 100_000),
        max_sockets_per_address: r.count("max_sockets_per_address", 1, 1_000_000),
        outbox_max_bytes: r.one("outbox_max_bytes", |text| {
            let bytes = within(units::bytes(text)?, 64 * 1024, 64 * 1024 * 1024, |n| format!("{n} bytes"))?;
            usize::try_from(bytes).map_err(|_| "is too large for this machine".into())
        }),
        announce_max_listeners: r.count("announce_max_listeners", 0, 100_000),
        retention: (retention_days > 0).then(|| DAY * u32::try_from(retention_days).unwrap_or(u32::MAX)),
        presence_grace: r.time("presence_grace", Duration::ZERO, MIN),
        room_grace: r.time("room_grace", Duration::ZERO, DAY),
        drain_window: r.time("drain_window", Duration::ZERO, 10 * MIN),
        worker_threads: r.threads("worker_threads", 256, |processors| processors),
        log_format: r.one("log_format", |text| match text {
            "json" => Ok(LogFormat::Json),
            "pretty" => Ok(LogFormat::Pretty),
            _ => Err(format!("'{text}' is neither json nor pretty")),
        }),
        log_level: r.one("log_level", |text| {
            tracing_subscriber::EnvFilter::try_new(text).map_err(|error| error.to_string())?;
            Ok(text.to_owned())
        }),
    }
}

fn listeners(r: &mut Reader<'_>) -> Listeners {
    let listeners = Listeners {
        http: r.addresses("http"),
        messenger: r.addresses("messenger"),
        presence: r.addresses("presence"),
        ops: r.addresses("ops"),
    };
    let named = [
        ("http", &listeners.http),
        ("messenger", &listeners.messenger),
        ("presence", &listeners.presence),
        ("ops", &listeners.ops),
    ];
    let mut seen: Vec<(SocketAddr, &str)> = Vec::new();
    for (name, addresses) in named {
        for &address in addresses {
            match seen.iter().find(|(other, _)| *other == address && address.port() != 0) {
                Some((_, other)) => r.wrong(name, &format!("{address} contradicts {other}: both listen there")),
                None => seen.push((address, name)),
            }
        }
    }
    if listeners.all().next().is_none() && r.problems.is_empty() {
        r.wrong("http", "every listener is off: there would be nothing to serve");
    }
    listeners
}

fn tls(r: &mut Reader<'_>) -> Option<TlsFiles> {
    match (r.optional("tls_cert").map(PathBuf::from), r.optional("tls_key").map(PathBuf::from)) {
        (Some(cert), Some(key)) => {
            for (name, path) in [("tls_cert", &cert), ("tls_key", &key)] {
                if !path.is_file() {
                    r.wrong(name, &format!("there is no file {}", path.display()));
                }
            }
            Some(TlsFiles { cert, key })
        }
        (Some(_), None) => {
            r.wrong("tls_cert", "needs tls_key too");
            None
        }
        (None, Some(_)) => {
            r.wrong("tls_key", "needs tls_cert too");
            None
        }
        (None, None) => None,
    }
}

fn ops_token(r: &mut Reader<'_>, listeners: &Listeners) -> Option<Hidden> {
    let Some(path) = r.optional("ops_token_file").map(PathBuf::from) else {
        if listeners.ops.iter().any(|address| !address.ip().is_loopback()) {
            r.wrong("ops", "a listener beyond loopback needs ops_token_file");
        }
        return None;
    };
    match files::read_private(&path) {
        Ok(text) if text.trim().chars().count() >= OPS_TOKEN_MIN_CHARS => Some(Hidden::new(text.trim())),
        Ok(_) => {
            r.wrong("ops_token_file", &format!("the token must have at least {OPS_TOKEN_MIN_CHARS} characters"));
            None
        }
        Err(error) => {
            r.wrong("ops_token_file", &error.to_string());
            None
        }
    }
}

fn secret(r: &mut Reader<'_>, data: &std::path::Path, cluster: Option<&Cluster>) -> SecretSource {
    match (r.optional("secret").map(Hidden::new), r.optional("secret_file").map(PathBuf::from)) {
        (Some(_), Some(_)) => {
            r.wrong("secret_file", "contradicts secret: only one of them can be set");
            SecretSource::File { path: data.join("secret"), make_if_missing: MakeIfMissing::No }
        }
        (Some(text), None) => SecretSource::Given(text),
        (None, Some(path)) => SecretSource::File { path, make_if_missing: MakeIfMissing::No },
        (None, None) => match cluster {
            // A token that one node gave must be good at the others: a key of its own in each data directory would not do.
            Some(cluster) => SecretSource::Given(cluster.keys.for_tokens()),
            None => SecretSource::File { path: data.join("secret"), make_if_missing: MakeIfMissing::Yes },
        },
    }
}

fn protection(r: &mut Reader<'_>, unlimited: bool) -> ProtectionSettings {
    let trips = r.count("spam_trips", 0, 5);
    // A rule that is off never trips: with all off, nothing is spam.
    let on = trips > 0;
    ProtectionSettings {
        enabled: !unlimited,
        rooms_messages: r.rate("rate_rooms_messages"),
        rooms_block: r.time("rooms_block", Duration::ZERO, DAY),
        messages: r.rate("rate_messages"),
        room_creation: r.rate("rate_room_creation"),
        commands: r.rate("rate_commands"),
        spam: SpamSettings {
            words: r.switch("spam_words") && on,
            capitals: r.switch("spam_capitals") && on,
            repeats: r.switch("spam_repeats") && on,
            links: r.switch("spam_links") && on,
            length: r.switch("spam_length") && on,
            trips: u32::try_from(trips).unwrap_or(u32::MAX),
        },
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| format!("'{text}' is not an address: write IP:PORT, such as 127.0.0.1:3000, or 'off'"))
}

fn network(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    let wrong = |_| format!("'{text}' is not a network: write it such as 10.0.0.0/8");
    let network: IpNet = text.parse().or_else(|_| alone()).map_err(wrong)?;
    if network.prefix_len() == 0 {
        return Err(format!("'{text}' is every address: anybody could then say to come from anywhere"));
    }
    Ok(network)
}

fn origin(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']) => Ok(text),
        _ => Err(format!("'{text}' is not an origin: write scheme://host[:port], such as https://chat.example.org")),
    }
}
