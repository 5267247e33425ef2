//! The command line: subcommands, and every setting as a flag.

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::settings::{Flags, Kind, SETTINGS};

const AFTER_HELP: &str = "\
Settings come from flags, CHINWAG_… variables, ./.env, chinwag.toml and defaults, the first that has one; `chinwag config` shows which.

Exit codes: 0 done or stopped as asked, 1 failed while running, 2 wrong usage or settings, 3 the data directory is in use or unusable, \
4 an address can't be bound, 5 refused: a user doesn't exist, or a name, file or store is there already, 6 a service of the cluster can't be used.";

/// A self-hosted chat engine.
#[derive(Debug, Parser)]
#[command(name = "chinwag", version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub settings: Flags,
}

/// What to do; without any, serve.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT (the default)
    Serve,
    /// Print the effective settings with their sources
    Config,
    /// Manage accounts (while the server is stopped: it holds the data directory; in a cluster, at any time)
    #[command(subcommand)]
    User(UserCommand),
    /// Fill the data directory with sample users, groups, chats and messages
    Seed,
    /// Ask a running server on this machine how it does: exit code 0 if it serves (for container health checks)
    Health {
        /// Address of its http listener [default: the one in DATA/ports.json]
        #[arg(long, value_name = "ADDR")]
        address: Option<std::net::SocketAddr>,
    },
    /// Show a running server at a glance, again and again (by its operations listener; the token is that of the settings)
    Top(TopArgs),
    /// Say how a message got to a user, or where it stopped and why (asks a running server)
    Explain(ExplainArgs),
    /// Show the kinds of actors of a running server, or the busiest single ones of a kind with their state
    Actors(ActorsArgs),
    /// Copy the embedded store into one file; the server may run
    Backup {
        file: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Put a backup into the data directory of a stopped server; its clients begin anew
    Restore {
        file: PathBuf,
        /// Put it in the place of a store that is there, which is kept beside
        #[arg(long)]
        force: bool,
    },
    /// Bring the schema of the stores up to date, as a start would
    Migrate {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// In a cluster: let the accounts belong to the log of messages that the settings name, after one of them was put back
        #[arg(long, conflicts_with = "dry_run")]
        adopt_log: bool,
    },
    /// Look at everything that a start needs, and say what to do about what isn't right: exit code 0 if nothing must be mended
    Doctor {
        /// Print JSON instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Copy the embedded store of a stopped server into an empty cluster, compare both, and mark the store as moved
    ///
    /// The cluster is the one that a node's settings name: --to FILE is the settings file of a node (the same as --config FILE), or give
    /// --node, --postgres, --scylla, --redis and --cluster-key-file as for `chinwag serve`. No node of it may run meanwhile.
    ///
    /// All is carried as it is: accounts with passwords, names and bans, sessions, revoked tokens, conversations, members, read positions,
    /// messages with their ids and places, what tells repeats, totals, the log's epoch. Clients go on where they were. The keys that sign
    /// access tokens are a file: the command says what to do about it.
    ///
    /// If it is interrupted, the same command goes on where it was. In the end both stores are read again and compared row by row; what
    /// differs is named (exit code 1), and then neither the store is marked nor do nodes start. A marked store is refused by `chinwag
    /// serve`: the file `moved` in its directory says where it went.
    Copy {
        /// Data directory of the stopped server
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Settings file of a node of the cluster, as --config
        #[arg(long, value_name = "FILE", conflicts_with = "config")]
        to: Option<PathBuf>,
    },
    /// Make the key by which the nodes of a cluster know each other
    ClusterKey {
        /// Write it to this new file (mode 0600) instead of printing it
        file: Option<PathBuf>,
    },
    /// Print the version
    Version,
}

/// `chinwag top`
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Print one frame and end
    #[arg(long)]
    pub once: bool,
    /// Seconds between frames, 0.5 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub every: f64,
    /// Address of its operations listener [default: the one in DATA/ports.json]
    #[arg(long, value_name = "ADDR")]
    pub address: Option<std::net::SocketAddr>,
}

/// `chinwag explain`
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// Id of the message (not the client's own id of it)
    pub message: String,
    /// Name of the account that it was meant for
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// Id of its conversation: quicker, and needed for rooms that the user isn't a member of
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,
    /// Print JSON instead of lines
    #[arg(long)]
    pub json: bool,
    /// Address of its operations listener [default: the one in DATA/ports.json]
    #[arg(long, value_name = "ADDR")]
    pub address: Option<std::net::SocketAddr>,
}

/// `chinwag actors`
#[derive(Debug, Clone, Args)]
pub struct ActorsArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Show the busiest single actors of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// How many of them, at most 100
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Address of its operations listener [default: the one in DATA/ports.json]
    #[arg(long, value_name = "ADDR")]
    pub address: Option<std::net::SocketAddr>,
}

/// `chinwag user …`
#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Create an account; its password is the first line of standard input, or of a file
    Add {
        name: String,
        /// What others see instead of the name (1 to 64 characters)
        #[arg(long)]
        display_name: Option<String>,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List all accounts
    List,
    /// Set a password; ends all sessions of the user
    Passwd {
        name: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Ban a user, which ends all its sessions; or lift the ban
    Ban {
        name: String,
        /// Lift the ban instead
        #[arg(long)]
        unban: bool,
    },
}

/// Where a password comes from: never the command line, which other users of the machine can read.
#[derive(Debug, Clone, Args)]
pub struct PasswordSource {
    /// Read the password from this file's first line instead of standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl Cli {
    /// Reads a command line; the error prints itself (help and version included) and knows its exit code.
    pub fn read(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, clap::Error> {
        let matches = Self::described().try_get_matches_from(args)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let Some(Command::Copy { to: Some(file), .. }) = &cli.command {
            cli.settings.config = vec![file.to_string_lossy().into_owned()];
        }
        Ok(cli)
    }

    /// Returns the clap command with what the table of settings knows: defaults, variables, switches without a value.
    pub fn described() -> clap::Command {
        let mut command = Self::command();
        for setting in SETTINGS {
            command = command.mut_arg(setting.name, |arg| {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let default = match setting.default {
                    "" => String::new(),
                    default => format!(" [default: {default}]"),
                };
                let arg = arg.help(format!("{help}{default} [env: {}]", setting.variable()));
                match setting.kind {
                    Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                    Kind::Secret => arg.hide(true),
                    Kind::One | Kind::Many | Kind::Url => arg,
                }
            });
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::read(std::iter::once("chinwag").chain(args.iter().copied()).map(Into::into))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::described().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_and_after_the_subcommand() {
        for args in [
            &["--data", "d", "serve"][..],
            &["serve", "--data", "d"],
            &["--data", "d"],
            &["user", "list", "--data", "d"],
        ] {
            assert_eq!(read(args).unwrap().settings.data, ["d"], "{args:?}");
        }
    }

    #[test]
    fn a_copy_names_its_cluster_as_a_node_does() {
        let cli = read(&["copy", "--from", "d", "--to", "node.toml"]).unwrap();
        assert_eq!(cli.settings.config, ["node.toml"]);
        assert!(read(&["copy", "--from", "d", "--postgres", "postgres://u@h/d"]).is_ok());
        for wrong in [&["copy"][..], &["copy", "--from", "d", "--to", "a", "--config", "b"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn switches_need_no_value_and_lists_repeat() {
        let flags = read(&["--unlimited", "--http", "a", "--http", "b"]).unwrap().settings;
        assert_eq!((flags.unlimited, flags.http), (vec!["true".into()], vec!["a".into(), "b".into()]));
        assert_eq!(read(&["serve", "--unlimited=false"]).unwrap().settings.unlimited, ["false"]);
    }

    #[test]
    fn unknown_flags_and_commands_are_refused() {
        for args in [&["--nonsense"][..], &["dance"], &["user"], &["user", "add"]] {
            assert!(read(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn help_names_defaults_and_variables() {
        let help = Cli::described().render_long_help().to_string();
        assert!(help.contains("127.0.0.1:4000") && help.contains("CHINWAG_RATE_COMMANDS"), "{help}");
        assert!(!help.contains("--secret "), "a secret is no flag");
    }
}
