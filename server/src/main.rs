//! `chinwag`: reads the command line and does what it says.

use std::process::ExitCode;

use chinwag::{
    bootstrap::{self, Failure, exit},
    commands,
    config::{self, Cli, Command},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    if matches!(cli.command, Some(Command::Version)) {
        println!("chinwag {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
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
        Command::Health { address } => commands::health::run(&loaded.config, address),
        Command::Version => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            eprintln!("chinwag: {error:#}");
            ExitCode::from(code)
        }
    }
}
