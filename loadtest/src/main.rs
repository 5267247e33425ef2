//! `chinwag-loadtest`: drives a real server over real sockets, and checks what it acknowledged.
//!
//! The beginning of the load test: scenarios that show what the engine on one node promises. Each starts a server of its own (the
//! `chinwag` beside this program) on loopback in a temporary directory, or takes a data directory of one that runs.

use std::process::ExitCode;

use chinwag_loadtest::{
    limit,
    scenario::{crash, direct, fanout, idle, slow_reader},
};
use clap::{Parser, Subcommand};

/// Drives a chinwag server over real sockets and checks what it acknowledged
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// One-to-one messages, one in flight per sender: acknowledged messages per second beside the disk's fsync
    Direct(direct::Options),
    /// Idle authenticated sockets: resident memory of the server per socket
    Idle(idle::Options),
    /// A reader that stops reading while its room gets many messages: bounded memory, a gap, others unharmed
    SlowReader(slow_reader::Options),
    /// One room, many listeners: CPU of the server per delivery, beside a bare server that only writes
    Fanout(fanout::Options),
    /// The bare server of `fanout`, as a process of its own
    #[command(hide = true)]
    LimitServer { sockets: usize },
    /// Kills the server under load, again and again: every acknowledged message is in the history once, in order
    Crash(crash::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli.scenario {
            Scenario::Direct(options) => direct::run(options).await,
            Scenario::Idle(options) => idle::run(options).await,
            Scenario::SlowReader(options) => slow_reader::run(options).await,
            Scenario::Fanout(options) => fanout::run(options).await,
            Scenario::LimitServer { sockets } => tokio::task::block_in_place(|| limit::serve(sockets)),
            Scenario::Crash(options) => crash::run(options).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}
