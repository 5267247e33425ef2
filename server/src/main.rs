//! `chinwag`: reads the command line and does what it says.

use std::process::ExitCode;

use chinwag::{
    bootstrap::{self, Failure, exit},
    commands::{self, migrate::Run},
    config::{self, Cli, Command},
    memory,
};
use chinwag_actors::backends::embedded::IfThere;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::give_back_soon();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    if matches!(cli.command, Some(Command::Version)) {
        println!("chinwag {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    // Before the settings are read: they may name the very file that this makes.
    if let Some(Command::ClusterKey { file }) = &cli.command {
        return ended(commands::cluster_key::run(file.as_deref()));
    }
    let loaded = match config::load_process(&cli.settings) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("chinwag: {error}");
            return ExitCode::from(exit::USAGE);
        }
    };
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => return bootstrap::serve(loaded),
        Command::Config => {
            print!("{}", config::show(&loaded.raw));
            Ok(())
        }
        Command::User(command) => commands::run_user(&loaded.config, &command),
        Command::Seed => commands::run_seed(&loaded.config),
        Command::Backup { file, force } => commands::backup::backup(&loaded.config, &file, if_there(force)),
        Command::Restore { file, force } => commands::backup::restore(&loaded.config, &file, if_there(force)),
        Command::Copy { from, .. } => commands::copy::run(&loaded.config, &from),
        Command::Migrate { dry_run, adopt_log } => {
            let run = match (dry_run, adopt_log) {
                (true, _) => Run::Dry,
                (false, true) => Run::AdoptLog,
                (false, false) => Run::Real,
            };
            commands::migrate::run(&loaded.config, run)
        }
        Command::Doctor { json } => {
            let form = if json { commands::doctor::Form::Json } else { commands::doctor::Form::Text };
            commands::doctor::run(&loaded, form)
        }
        Command::Top(args) => commands::top::run(&loaded.config, &args),
        Command::Explain(args) => commands::explain::run(&loaded.config, &args),
        Command::Actors(args) => commands::actors::run(&loaded.config, &args),
        Command::Health { address } => commands::health::run(&loaded.config, address),
        Command::Version | Command::ClusterKey { .. } => Ok(()),
    };
    ended(done)
}

fn if_there(force: bool) -> IfThere {
    if force { IfThere::Replace } else { IfThere::Refuse }
}

/// Says why a command failed, and returns the exit code.
fn ended(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            eprintln!("chinwag: {error:#}");
            ExitCode::from(code)
        }
    }
}
