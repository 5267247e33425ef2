//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Chat in the terminal with a Chinwag server: rooms, groups and one-to-one chats.
///
/// What you write is kept on the disk until the server has it. Without a terminal on both sides it reads lines and prints lines, as with --plain.
#[derive(Debug, Clone, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Options {
    /// Server, such as `http://127.0.0.1:3000` or `https://chat.example.org` [default: the last one]
    #[arg(long, env = "CHINWAG_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// Your name [default: the last one there]
    #[arg(long, env = "CHINWAG_NAME")]
    pub name: Option<String>,
    /// File whose first line is the password, or a descriptor such as /dev/fd/3; needed once, the session is kept
    #[arg(long, value_name = "FILE", conflicts_with = "guest")]
    pub password_file: Option<PathBuf>,
    /// Makes the account if the name is free
    #[arg(long, conflicts_with = "guest")]
    pub register: bool,
    /// Without an account, where the server allows it: public rooms only
    #[arg(long)]
    pub guest: bool,
    /// Goes to a public room, which is made if there is none
    #[arg(long, value_name = "NAME", conflicts_with = "to")]
    pub room: Option<String>,
    /// Goes to the chat with a user
    #[arg(long, value_name = "USER")]
    pub to: Option<String>,
    /// Reads lines and prints lines, for pipes and screen readers
    #[arg(long)]
    pub plain: bool,
    /// With --plain: stays when the input has ended
    #[arg(long)]
    pub follow: bool,
    /// Leaves the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,
    /// PEM file of further certificate authorities to trust
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Directory for sessions and unsent messages [default: $XDG_DATA_HOME/chinwag-chat]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}
