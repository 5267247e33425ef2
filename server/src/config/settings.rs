//! The table of all settings: name, help, default. Flags, `CHINWAG_…` variables and keys of `chinwag.toml` all come from it, so that
//! none can be forgotten in one of them.

/// How many values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Exactly one.
    One,
    /// Any number; `,` separates them in a variable.
    Many,
    /// `true` or `false`; the bare flag means `true`.
    Switch,
    /// One, never shown, and not accepted as a flag (the process list would show it).
    Secret,
    /// One address of a service, shown without the password that it may have in it.
    Url,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name in `chinwag.toml`; the flag has `-` for `_`.
    pub name: &'static str,
    pub kind: Kind,
    /// Text of the default; empty when there is none.
    pub default: &'static str,
}

impl Setting {
    /// Returns the environment variable.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Returns the flag.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}

/// What the names of all variables begin with.
pub const VARIABLE_PREFIX: &str = "CHINWAG_";

macro_rules! settings {
    ($($heading:literal { $($(#[doc = $help:literal])+ $field:ident: $kind:ident $value:literal = $default:literal;)* })*) => {
        /// All settings as flags, raw: texts as typed.
        #[derive(Debug, Clone, Default, clap::Args)]
        pub struct Flags {
            $($(
                $(#[doc = $help])+
                #[arg(long, global = true, value_name = $value, help_heading = $heading, allow_hyphen_values = false)]
                pub $field: Vec<String>,
            )*)*
        }

        impl Flags {
            /// Returns the settings given as flags, by name.
            pub fn given(&self) -> Vec<(&'static str, &[String])> {
                let all: Vec<(&'static str, &[String])> = vec![$($((stringify!($field), self.$field.as_slice()),)*)*];
                all.into_iter().filter(|(_, values)| !values.is_empty()).collect()
            }
        }

        /// Every setting, in the order of the help.
        pub const SETTINGS: &[Setting] = &[
            $($(Setting { name: stringify!($field), kind: Kind::$kind, default: $default },)*)*
        ];
    };
}

settings! {
    "Places" {
        /// Directory for everything that is stored; made if missing
        data: One "DIR" = "./chinwag-data";
        /// REST, page, native protocol and rooms dialect; repeatable, port 0 picks one, `off` for none
        http: Many "ADDR" = "127.0.0.1:3000";
        /// Chat sockets of the messenger dialect; repeatable, or `off`
        messenger: Many "ADDR" = "127.0.0.1:4000";
        /// Presence sockets of the messenger dialect; repeatable, or `off`
        presence: Many "ADDR" = "127.0.0.1:5000";
        /// Operations: metrics, admin, echo; repeatable, or `off`. Beyond loopback it needs --ops-token-file
        ops: Many "ADDR" = "127.0.0.1:9600";
        /// Settings file; without it ./chinwag.toml is read if it exists
        config: One "FILE" = "";
        /// File of the signing keys, mode 0600; default: `secret` in the data directory, made at the first start (in a cluster: from its key)
        secret_file: One "FILE" = "";
        /// Signing key instead of the file: at least 32 bytes as hexadecimal digits. Not accepted as a flag
        secret: Secret "HEX" = "";
    }
    "Who may connect" {
        /// Certificate chain (PEM): TLS on every listener; needs --tls-key
        tls_cert: One "FILE" = "";
        /// Private key (PEM); needs --tls-cert
        tls_key: One "FILE" = "";
        /// Networks whose forwarding headers and PROXY protocol v2 are believed; repeatable
        trusted_proxies: Many "CIDR" = "";
        /// Origins besides our own host that may use the REST API and open sockets; repeatable
        allowed_origins: Many "ORIGIN" = "";
        /// Guests in the rooms dialect: on, off, or auto (on only while every listener is loopback and no proxy is trusted)
        guests: One "WHEN" = "auto";
        /// File with the bearer token of the operations listener (16 characters at least, mode 0600)
        ops_token_file: One "FILE" = "";
    }
    "Cluster: all of --node, --postgres, --scylla, --redis, --cluster-key-file, or none (embedded store)" {
        /// Name of this node: no other node's, and the same at each start (letters, digits, `-`, `_`, `.`; up to 63)
        node: One "NAME" = "";
        /// Accounts: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; the password may come from the file or variable below
        postgres: Url "URL" = "";
        /// File of the password for Postgres, mode 0600
        postgres_password_file: One "FILE" = "";
        /// Password for Postgres. Not accepted as a flag
        postgres_password: Secret "TEXT" = "";
        /// Connections to Postgres that this node may have; 1 to 1000. The server's max_connections must suffice for all nodes
        postgres_connections: One "N" = "16";
        /// Messages: nodes of ScyllaDB or Cassandra to ask first; they name the others; repeatable
        scylla: Many "HOST:PORT" = "";
        /// Keyspace of the messages, made if missing
        scylla_keyspace: One "NAME" = "chinwag";
        /// Copies of each message, used when the keyspace is made: a number, or one for each data centre, such as `dc1:3,dc2:3`
        scylla_replication: One "N" = "3";
        /// Data centre in which a majority of the copies answers; the same on all nodes. Without: a majority of all copies
        scylla_datacenter: One "NAME" = "";
        /// User for ScyllaDB or Cassandra, if it asks for one
        scylla_user: One "NAME" = "";
        /// File of that user's password, mode 0600
        scylla_password_file: One "FILE" = "";
        /// That user's password. Not accepted as a flag
        scylla_password: Secret "TEXT" = "";
        /// Directory and bus between the nodes: `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://` with TLS, `redis-sentinel://`
        redis: Url "URL" = "";
        /// File of the password for Redis, mode 0600
        redis_password_file: One "FILE" = "";
        /// Password for Redis. Not accepted as a flag
        redis_password: Secret "TEXT" = "";
        /// What the names of all keys in Redis begin with: clusters that share a Redis need different ones
        redis_prefix: One "TEXT" = "chinwag";
        /// File of the key by which the nodes know each other, the same on all, mode 0600; `chinwag cluster-key FILE` makes it
        cluster_key_file: One "FILE" = "";
    }
    "Tokens and passwords" {
        /// Life of an access token (s, min, h, d); 1 min to 30 d
        access_token_ttl: One "TIME" = "7d";
        /// Life of a refresh token, not shorter than an access token's; up to 365 d
        refresh_token_ttl: One "TIME" = "30d";
        /// Passwords hashed at once (19 MiB and a thread each); 1 to 64, 0: half the processors
        password_hash_threads: One "N" = "0";
        /// Logins and registrations that may wait for a hash; beyond it they hear 'retry later'; 1 to 10000
        password_hash_queue: One "N" = "1024";
    }
    "Rates (N/s, N/min, N/h, N/d, N/30s)" {
        /// All rates and spam checks off, for load tests; said at start and in /health
        unlimited: Switch "BOOL" = "false";
        /// Messages of one user in the rooms dialect
        rate_rooms_messages: One "RATE" = "10/s";
        /// How long a user who exceeded --rate-rooms-messages stays blocked; 0s to 1 d
        rooms_block: One "TIME" = "60s";
        /// Messages of one user in the messenger dialect and the native protocol; no block
        rate_messages: One "RATE" = "100/s";
        /// Rooms created by one user
        rate_room_creation: One "RATE" = "5/h";
        /// Commands of one user
        rate_commands: One "RATE" = "20/min";
        /// New sockets of one address in the rooms dialect, loopback excepted
        rate_connections: One "RATE" = "10/min";
        /// Failed logins to one account from one address
        rate_login_account: One "RATE" = "10/min";
        /// Failed logins to one account from all addresses that failed before
        rate_login_account_total: One "RATE" = "100/h";
        /// Logins and password changes of one address, loopback excepted
        rate_login_address: One "RATE" = "60/min";
        /// Registrations of one address, loopback excepted
        rate_registration: One "RATE" = "30/h";
    }
    "Spam rules (rooms dialect)" {
        /// Refuse a message when so many rules trip; 1 to 5, 0: never
        spam_trips: One "N" = "2";
        /// Rule: one word more than 40 % of at least five words
        spam_words: Switch "BOOL" = "true";
        /// Rule: over 90 % capitals in more than 10 characters
        spam_capitals: Switch "BOOL" = "true";
        /// Rule: the same as one of the sender's last five messages
        spam_repeats: Switch "BOOL" = "true";
        /// Rule: a link shortener
        spam_links: Switch "BOOL" = "true";
        /// Rule: over 80 % of the length limit
        spam_length: Switch "BOOL" = "true";
    }
    "Bounds" {
        /// Sockets of one user on this node; 1 to 100000
        max_sockets_per_user: One "N" = "64";
        /// Sockets of one address, loopback excepted; 1 to 1000000
        max_sockets_per_address: One "N" = "256";
        /// Bytes that may wait for one slow reader (KiB, MiB); 64KiB to 64MiB
        outbox_max_bytes: One "BYTES" = "512KiB";
        /// Rooms with more listeners don't announce joins, leaves and typing; 0 to 100000
        announce_max_listeners: One "N" = "500";
        /// Messages older than so many days are removed; 0: never; up to 36500
        retention_days: One "DAYS" = "0";
    }
    "Times" {
        /// A reconnect within this time announces nothing; 0s to 60s
        presence_grace: One "TIME" = "5s";
        /// An empty room leaves the list after this time; 0s to 1 d
        room_grace: One "TIME" = "5min";
        /// At SIGTERM clients are sent away over this time; 0s to 10 min
        drain_window: One "TIME" = "10s";
    }
    "Process" {
        /// Threads that serve sockets; 1 to 256, 0: one per processor
        worker_threads: One "N" = "0";
        /// Log as `json` lines or `pretty`
        log_format: One "FORMAT" = "pretty";
        /// Log level, or directives such as `info,chinwag=debug`
        log_level: One "LEVEL" = "info";
    }
}

/// Finds a setting by its name in files (`_` or `-`).
pub fn find(name: &str) -> Option<&'static Setting> {
    let name = name.replace('-', "_");
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Finds a setting by its variable.
pub fn find_variable(variable: &str) -> Option<&'static Setting> {
    let name = variable.strip_prefix(VARIABLE_PREFIX)?;
    SETTINGS.iter().find(|setting| setting.name.to_ascii_uppercase() == name)
}
