//! Chinwag in a terminal: full-screen, or line by line for pipes and screen readers (`--plain`).
//!
//! `options` is what was asked for, `store` what is kept between runs, `entry` who logs in, `slash` what a line means, `perform` what a command does,
//! `text` what others' words may do to the terminal (nothing), `plain` and `tui` the two faces. The protocol is the library's business.

mod entry;
mod options;
mod perform;
mod plain;
mod slash;
mod store;
mod text;
mod times;
mod tui;

use std::{io::IsTerminal as _, process::ExitCode};

use chinwag_client::{Client, Config, Login, Outbox};
use clap::Parser as _;

use crate::{entry::Entry, options::Options, store::Store};

/// Messages are left in the outbox, or the session is over.
const UNFINISHED: u8 = 3;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(UNFINISHED),
        Err(error) => {
            eprintln!("chinwag-chat: {}", text::line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Runs to the end; `false`: something is left to be done by another run.
async fn run(options: Options) -> anyhow::Result<bool> {
    let plain = options.plain || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal();
    let store = Store::open(options.data.as_deref())?;
    let Entry { server, trust, login, store } = entry::enter(&options, store).await?;
    let mut config = Config::new(server, trust, login.clone());
    config.outbox = Outbox::open(store.directory())?;
    let state = store.load();
    config.resume = state.resume.clone();
    let (client, events) = Client::connect(config);
    let account = match login {
        Login::Account(account) => Some(account),
        Login::Guest(_) => None,
    };
    let chat = Chat { client, account, store, state, options };
    if plain { plain::run(chat, events).await } else { tui::run(chat, events).await }
}

/// What both faces have.
pub struct Chat {
    pub client: Client,
    /// `None`: a guest.
    pub account: Option<chinwag_client::Account>,
    pub store: store::UserStore,
    /// As the last run left it.
    pub state: store::State,
    pub options: Options,
}
