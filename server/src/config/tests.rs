//! Settings end to end: what wins, what is refused, and how a refusal names its place.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use super::{settings::SETTINGS, *};

/// A throw-away working directory with flags and variables to load from.
struct Place {
    directory: tempfile::TempDir,
    flags: Vec<&'static str>,
    environment: Vec<(String, String)>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), flags: vec![], environment: vec![] }
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    fn flags(mut self, flags: &[&'static str]) -> Self {
        self.flags.extend(flags);
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        let args = std::iter::once("chinwag").chain(self.flags.iter().copied());
        let cli = Cli::read(args.map(Into::into)).expect("the flags are well-formed");
        load(&cli.settings, self.environment.clone(), self.directory.path())
    }

    fn config(&self) -> Config {
        self.load().unwrap().config
    }

    /// Returns the refusal, without the directory's name.
    fn refusal(&self) -> String {
        let text = self.load().expect_err("should be refused").to_string();
        text.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

#[test]
fn without_anything_the_defaults_hold() {
    let config = Place::new().config();
    assert_eq!(config.listeners.http, ["127.0.0.1:3000".parse().unwrap()]);
    assert_eq!(config.listeners.ops, ["127.0.0.1:9600".parse().unwrap()]);
    assert_eq!(config.access_token_ttl, Duration::from_secs(7 * 86_400));
    assert!(config.guests && !config.unlimited && config.retention.is_none());
    assert_eq!(config.protection, ProtectionSettings::default());
    assert!(config.worker_threads >= 1 && config.password_hash_threads >= 1);
}

#[test]
fn flag_beats_variable_beats_dot_env_beats_file_beats_default() {
    let mut place = Place::new().file("chinwag.toml", "max_sockets_per_user = 1\nretention-days = 9\n");
    let sources = |place: &Place| {
        let loaded = place.load().unwrap();
        (loaded.config.max_sockets_per_user, loaded.raw["max_sockets_per_user"].source.clone())
    };
    let toml = place.directory.path().join("chinwag.toml");
    assert_eq!(sources(&place), (1, Source::File { path: toml, line: 1 }));
    place = place.file(".env", "# a comment\nOTHER=1\nexport CHINWAG_MAX_SOCKETS_PER_USER=2\n");
    let dot_env = place.directory.path().join(".env");
    assert_eq!(sources(&place), (2, Source::DotEnv { path: dot_env, line: 3 }));
    place = place.variable("CHINWAG_MAX_SOCKETS_PER_USER", "3");
    assert_eq!(sources(&place), (3, Source::Environment));
    place = place.flags(&["--max-sockets-per-user", "4"]);
    assert_eq!(sources(&place), (4, Source::Flag));
    assert_eq!(place.config().retention, Some(Duration::from_secs(9 * 86_400)), "a name may be written with '-' too");
}

#[test]
fn lists_come_from_every_source() {
    let place = Place::new().file("chinwag.toml", "http = [\"127.0.0.1:0\", \"[::1]:0\"]\npresence = \"off\"\n");
    let place =
        place.variable("CHINWAG_TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.1").flags(&["--messenger", "localhost:0"]);
    let config = place.config();
    assert_eq!(config.listeners.http.len(), 2);
    assert!(config.listeners.presence.is_empty());
    assert_eq!(config.listeners.messenger, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.trusted_proxies.len(), 2);
}

#[test]
fn unknown_names_are_refused_with_their_place() {
    let place = Place::new()
        .file("chinwag.toml", "data = \"d\"\n\nretention_day = 1\n[limits]\nx = 1\n")
        .file(".env", "CHINWAG_HTTPS=1\n")
        .variable("CHINWAG_DATTA", "x")
        .variable("HOME", "/");
    assert_eq!(
        place.refusal(),
        "unknown variable CHINWAG_DATTA; did you mean CHINWAG_DATA?\n\
         .env:1: unknown variable CHINWAG_HTTPS; did you mean CHINWAG_HTTP?\n\
         chinwag.toml:4: unknown setting 'limits'\n\
         chinwag.toml:3: unknown setting 'retention_day'; did you mean 'retention_days'?"
    );
}

#[test]
fn what_kubernetes_says_about_services_is_no_setting() {
    let place = Place::new()
        .variable("CHINWAG_SERVICE_HOST", "10.0.0.7")
        .variable("CHINWAG_SERVICE_PORT_HTTP", "3000")
        .variable("CHINWAG_PORT", "tcp://10.0.0.7:3000")
        .variable("CHINWAG_HTTP_PORT_3000_TCP_ADDR", "10.0.0.7");
    assert!(place.load().is_ok());
    assert!(place.variable("CHINWAG_PORT", "3000").load().is_err());
}

#[test]
fn syntax_errors_name_their_line() {
    assert!(Place::new().file("chinwag.toml", "data = \"d\"\nhttp = [\n").refusal().starts_with("chinwag.toml:"));
    let twice = Place::new().file("chinwag.toml", "data = \"d\"\ndata = \"e\"\n").refusal();
    assert!(twice.starts_with("chinwag.toml:2: duplicate key"), "{twice}");
    assert_eq!(Place::new().file(".env", "A=1\nhello world\n").refusal(), ".env:2: not of the form NAME=value");
    let missing = Place::new().flags(&["--config", "nowhere.toml"]).refusal();
    assert!(missing.starts_with("nowhere.toml: "), "{missing}");
}

#[test]
fn wrong_values_are_refused_with_their_place_all_at_once() {
    let place = Place::new()
        .file("chinwag.toml", "rate_commands = \"often\"\nretention_days = 1.5\n")
        .variable("CHINWAG_GUESTS", "maybe")
        .flags(&["--http", "nowhere", "--outbox-max-bytes", "1KiB"]);
    assert_eq!(place.refusal(), "chinwag.toml:2: retention_days: can't be a float");
    let place = place.file("chinwag.toml", "rate_commands = \"often\"\nretention_days = -1\n");
    let refusal = place.refusal();
    for expected in [
        "--http: 'nowhere' is not an address",
        "variable CHINWAG_GUESTS: 'maybe' is none of on, off and auto",
        "chinwag.toml:1: rate_commands: 'often' is not a rate",
        "chinwag.toml:2: retention_days: '-1' is not a whole number",
        "--outbox-max-bytes: must be from 65536 bytes to 67108864 bytes, not 1024 bytes",
    ] {
        assert!(refusal.contains(expected), "{expected}\nis not in\n{refusal}");
    }
}

#[test]
fn every_numeric_setting_refuses_nonsense() {
    for setting in SETTINGS {
        let numeric = setting.default.starts_with(|c: char| c.is_ascii_digit()) && setting.kind != settings::Kind::Many;
        if !numeric {
            continue;
        }
        for bad in ["x", "99999999999999999999", "99999999999999999999d", "0.5", ""] {
            let place = Place::new().file("chinwag.toml", &format!("{} = \"{bad}\"\n", setting.name));
            let refusal = place.refusal();
            assert!(refusal.starts_with(&format!("chinwag.toml:1: {}: ", setting.name)), "{refusal}");
        }
    }
}

#[test]
fn contradictions_are_refused() {
    let cases: &[(&[&str], &str)] = &[
        (&["--tls-cert", "c.pem"], "--tls-cert: needs tls_key too"),
        (&["--tls-key", "k.pem"], "--tls-key: needs tls_cert too"),
        (&["--http", "off", "--http", "127.0.0.1:1"], "'off' contradicts"),
        (&["--messenger", "127.0.0.1:3000"], "--messenger: 127.0.0.1:3000 contradicts http"),
        (&["--http", "off", "--messenger", "off", "--presence", "off", "--ops", "off"], "every listener is off"),
        (&["--ops", "0.0.0.0:9600"], "--ops: a listener beyond loopback needs ops_token_file"),
        (&["--refresh-token-ttl", "1d"], "--refresh-token-ttl: contradicts access_token_ttl"),
        (&["--allowed-origins", "*"], "is not an origin"),
        (&["--allowed-origins", "https://a.example/path"], "is not an origin"),
        (&["--trusted-proxies", "10.0.0.0/40"], "is not a network"),
        (&["--trusted-proxies", "0.0.0.0/0"], "is every address"),
        (&["--trusted-proxies", "::/0"], "is every address"),
        (&["--data", "a", "--data", "b"], "--data: given 2 times"),
        (&["--secret", "00"], "visible to everyone"),
        (&["--log-level", "chinwag=loud"], "--log-level: "),
    ];
    for (flags, expected) in cases {
        let args: Vec<&'static str> = flags.to_vec();
        let refusal = Place::new().flags(&args).refusal();
        assert!(refusal.contains(expected), "{expected}\nis not in\n{refusal}");
    }
}

#[test]
fn automatic_guests_need_loopback_and_no_proxy() {
    assert!(Place::new().config().guests);
    assert!(!Place::new().flags(&["--http", "0.0.0.0:3000"]).config().guests);
    assert!(!Place::new().flags(&["--trusted-proxies", "127.0.0.1"]).config().guests);
    assert!(Place::new().flags(&["--http", "0.0.0.0:3000", "--guests", "on"]).config().guests);
    assert!(!Place::new().flags(&["--guests", "off"]).config().guests);
}

#[test]
fn the_operations_token_must_be_private_and_long() {
    let place = Place::new().file("token", "0123456789abcdef\n").file("short", "abc\n");
    let path = |name: &str| place.directory.path().join(name).display().to_string();
    let load = |name: &str, mode: u32| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        let mut flags = settings::Flags { ops: vec!["0.0.0.0:9600".into()], ..Default::default() };
        flags.ops_token_file = vec![path(name)];
        super::load(&flags, [], place.directory.path())
    };
    assert_eq!(load("token", 0o600).unwrap().config.ops_token.unwrap().reveal(), "0123456789abcdef");
    assert!(load("token", 0o644).unwrap_err().to_string().contains("0600"));
    assert!(load("short", 0o600).unwrap_err().to_string().contains("at least 16 characters"));
}

#[test]
fn the_shown_settings_name_their_sources_mask_secrets_and_load_again() {
    let place = Place::new()
        .file("chinwag.toml", "retention_days = 3\n")
        .variable("CHINWAG_SECRET", "5ecre75ecre75ecre75ecre75ecre75ecre75ecre75ecre75ecre75ecre75ecr")
        .flags(&["--unlimited", "--presence", "off"]);
    let loaded = place.load().unwrap();
    let shown = show(&loaded.raw);
    assert!(!shown.contains("5ecre7"), "{shown}");
    assert!(shown.contains("********"));
    let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("retention_days = 3").contains("chinwag.toml:1"));
    assert!(line("unlimited = true").contains("# flag"));
    assert!(line("messenger = [\"127.0.0.1:4000\"]").contains("# default"));
    let again: String =
        shown.lines().filter(|line| !line.starts_with("secret ")).map(|line| format!("{line}\n")).collect();
    let second = Place::new().file("chinwag.toml", &again).config();
    assert_eq!(Config { secret: loaded.config.secret.clone(), ..second }, loaded.config);
}

#[test]
fn a_secret_in_a_file_that_others_may_read_is_refused() {
    let key = crate::hex::encode(&crate::hex::random_32());
    for (name, text) in [(".env", format!("CHINWAG_SECRET={key}\n")), ("chinwag.toml", format!("secret = \"{key}\"\n"))]
    {
        let place = Place::new().file(name, &text);
        let path = place.directory.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refusal = place.refusal();
        assert!(refusal.starts_with(&format!("{name}:1")) && refusal.contains("set mode 0600"), "{refusal}");
        assert!(!refusal.contains(&key));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(place.config().secret, SecretSource::Given(Hidden::new(&*key)));
    }
    // Without a secret anybody may read the file.
    Place::new().file(".env", "CHINWAG_GUESTS=off\n").config();
}

#[test]
fn debug_output_hides_secrets() {
    let place = Place::new().variable("CHINWAG_SECRET", "5ecre7");
    assert!(!format!("{:?}", place.config()).contains("5ecre7"));
}

/// A place with a cluster key and the flags of a node, without those named.
fn node_without(names: &[&str]) -> Place {
    let place = Place::new().file("key", &format!("{}\n", crate::hex::encode(&crate::hex::random_32())));
    let key = place.directory.path().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let all = [
        ("NODE", "a"),
        ("POSTGRES", "postgres://chat:s3cret@db:5432/chat"),
        ("SCYLLA", "one:9042,two"),
        ("REDIS", "redis://:s3cret@cache:6379"),
        ("CLUSTER_KEY_FILE", key.to_str().unwrap()),
    ];
    let all = all.into_iter().filter(|(name, _)| !names.contains(name));
    all.fold(place, |place, (name, value)| place.variable(&format!("CHINWAG_{name}"), value))
}

#[test]
fn a_node_of_a_cluster_has_three_services_a_name_and_a_key() {
    let loaded = node_without(&[]).load().unwrap();
    let cluster = loaded.config.cluster.as_ref().unwrap();
    assert_eq!(cluster.node, "a");
    assert_eq!(cluster.scylla.nodes, ["one:9042", "two:9042"]);
    assert_eq!(cluster.postgres.reveal(), "postgres://chat:s3cret@db:5432/chat");
    let SecretSource::Given(key) = &loaded.config.secret else { panic!("every node must have the same key") };
    assert_eq!(*key, cluster.keys.for_tokens());
    for text in [show(&loaded.raw), format!("{:?} {}", loaded.config, cluster.postgres)] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert!(show(&loaded.raw).contains("postgres = \"postgres://chat:********@db:5432/chat\""));
    assert!(Place::new().config().cluster.is_none());
}

#[test]
fn a_service_alone_says_what_is_missing() {
    let all = ["NODE", "POSTGRES", "SCYLLA", "REDIS", "CLUSTER_KEY_FILE"];
    for alone in all {
        let others: Vec<&str> = all.into_iter().filter(|name| *name != alone).collect();
        let refusal = node_without(&others).refusal();
        assert!(refusal.starts_with(&format!("variable CHINWAG_{alone}: a node of a cluster needs")), "{refusal}");
        for other in others {
            let flag = format!("--{}", other.to_ascii_lowercase().replace('_', "-"));
            assert!(refusal.contains(&flag), "{flag} is not in {refusal}");
        }
        let refusal = node_without(&[alone]).refusal();
        assert!(refusal.contains("is missing") && refusal.lines().count() == 1, "{refusal}");
    }
    let refusal = node_without(&["CLUSTER_KEY_FILE"]).refusal();
    assert!(refusal.contains("chinwag cluster-key FILE"), "{refusal}");
}

#[test]
fn the_cluster_key_must_be_private_and_whole() {
    let place = node_without(&[]);
    let key = place.directory.path().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let refusal = place.refusal();
    assert!(refusal.contains("0600") && refusal.contains("chinwag cluster-key"), "{refusal}");
    fs::write(&key, "abc\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(place.refusal().contains("64 hexadecimal digits"), "{}", place.refusal());
}

#[test]
fn passwords_of_services_come_from_files_and_variables_too() {
    let place = node_without(&["POSTGRES", "REDIS"]).file("password", "from a file\n");
    let password = place.directory.path().join("password");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let place = place
        .variable("CHINWAG_POSTGRES", "postgres://chat@db/chat")
        .variable("CHINWAG_POSTGRES_PASSWORD_FILE", password.to_str().unwrap())
        .variable("CHINWAG_REDIS", "redis://cache")
        .variable("CHINWAG_REDIS_PASSWORD", "n0b0dy")
        .variable("CHINWAG_SCYLLA_USER", "chat")
        .variable("CHINWAG_SCYLLA_PASSWORD", "n0b0dy");
    let loaded = place.load().unwrap();
    let cluster = loaded.config.cluster.as_ref().unwrap();
    assert_eq!(cluster.postgres.reveal(), "postgres://chat:from%20a%20file@db/chat");
    assert_eq!(cluster.redis.reveal(), "redis://:n0b0dy@cache");
    assert!(!show(&loaded.raw).contains("n0b0dy"));
    assert_eq!(cluster.scylla.login.as_ref().unwrap().0, "chat");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(place.refusal().contains("set mode 0600"));
}

#[test]
fn a_password_in_a_url_is_guarded_as_other_secrets_are() {
    let flag = ["--postgres", "postgres://chat:s3cret@db/chat"];
    let loaded = node_without(&["POSTGRES"]).flags(&flag).load().unwrap();
    assert_eq!(exposed_flags(&loaded.raw), ["--postgres"], "redis has its password from a variable");
    let wrong = node_without(&["POSTGRES"]).flags(&["--postgres", "mysql://chat:s3cret@db/chat"]).refusal();
    assert!(wrong.contains("mysql://chat:********@db/chat") && !wrong.contains("s3cret"), "{wrong}");

    let place = node_without(&["REDIS"]).file("chinwag.toml", "redis = \"redis://:s3cret@cache\"\n");
    let file = place.directory.path().join("chinwag.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(place.refusal().contains("set mode 0600"));
    fs::write(&file, "redis = \"redis://cache\"\n").unwrap();
    assert!(place.load().is_ok(), "without a password anybody may read it");
}

#[test]
fn passwords_without_their_service_and_twice_are_refused() {
    for (variables, expected) in [
        (&[("POSTGRES_PASSWORD", "x")][..], "postgres is missing"),
        (&[("SCYLLA_PASSWORD", "x")], "scylla is missing"),
        (&[("SCYLLA_KEYSPACE", "A-b")], "small letters"),
        (&[("REDIS", "http://cache")], "begins with redis://"),
    ] {
        let place = variables
            .iter()
            .fold(Place::new(), |place, (name, value)| place.variable(&format!("CHINWAG_{name}"), value));
        assert!(place.refusal().contains(expected), "{expected}: {}", place.refusal());
    }
    let twice = node_without(&[]).variable("CHINWAG_POSTGRES_PASSWORD", "x").refusal();
    assert!(twice.contains("has a password in it already"), "{twice}");
}
