//! `chinwag-loadtest`: drives a real server over real sockets, and checks what it acknowledged.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use chinwag_loadtest::{
    limit,
    report::{again, diff},
    scenario::{
        churn, compare, connect, crash, direct, fanout, groups, idle, mix, prepare, presence, slow_reader, soak,
        stage::Signals, steps, storm,
    },
};
use clap::{Parser, Subcommand, error::ErrorKind};

/// Drives a chinwag server over real sockets and checks what it acknowledged
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

/// Exit status of arguments that aren't right, as clap has it.
const USAGE: u8 = 2;

/// How long what is under way may take to end.
const SHUTDOWN: Duration = Duration::from_secs(2);

#[derive(Subcommand)]
enum Scenario {
    /// Pairs of users, one writes to the other: CPU of the server per delivery, beside a bare server that passes bytes on
    Direct(direct::Options),
    /// Idle authenticated sockets, more and more: resident memory of the server per socket
    Idle(idle::Options),
    /// A reader that stops reading while its room gets many messages: bounded memory, a gap, others unharmed
    SlowReader(slow_reader::Options),
    /// One room, many listeners: CPU of the server per delivery, beside a bare server that only writes
    Fanout(fanout::Options),
    /// Many users come at once: CPU of the server per authenticated connection
    Connect(connect::Options),
    /// Many users lose their connection at once, come back and resume: how long it takes, and that nobody missed anything
    Storm(storm::Options),
    /// The bare server that others are held to, as a process of its own
    #[command(hide = true)]
    LimitServer(limit::server::Options),
    /// Other servers and ours on this machine, in turn: what the same work costs each
    Compare(compare::Options),
    /// Kills the server under load, again and again: every acknowledged message is in the history once, in order
    Crash(crash::Options),
    /// The nine steps: users who log in, connect, write ten messages to a neighbour, think and leave, more and more at once
    Steps(steps::Options),
    /// Makes the users and chats of `steps` on a running server
    Prepare(prepare::Options),
    /// A day of a community: lurkers, writers, rooms of a power-law size, groups, chats, history reads, lost connections
    Mix(mix::Options),
    /// Many groups, half of which have offline members too: CPU of the server per delivery must not depend on those
    Groups(groups::Options),
    /// Users who come and go while friends watch: how soon these hear of it, and what that costs
    Presence(presence::Options),
    /// Users who go from room to room while messages flow: what a move costs, and that nobody misses anything
    Churn(churn::Options),
    /// Constant load for long: growth of the server's memory, and deliveries that become slower
    Soak(soak::Options),
    /// Compares two results (JSON): first what differs in how they were made, then what they found
    Diff(diff::Options),
    /// Writes the HTML report of a result (JSON) again
    Report(again::Options),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
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
            Scenario::SlowReader(options) => interruptible(slow_reader::run(options)).await,
            Scenario::Fanout(options) => fanout::run(options).await,
            Scenario::Connect(options) => connect::run(options).await,
            Scenario::Storm(options) => storm::run(options).await,
            Scenario::LimitServer(options) => limit::server::run(&options),
            Scenario::Compare(options) => compare::run(options).await,
            Scenario::Crash(options) => interruptible(crash::run(options)).await,
            Scenario::Steps(options) => steps::run(options).await,
            Scenario::Prepare(options) => prepare::run(options).await,
            Scenario::Mix(options) => mix::run(options).await,
            Scenario::Soak(options) => soak::run(options).await,
            Scenario::Groups(options) => groups::run(options).await,
            Scenario::Presence(options) => presence::run(options).await,
            Scenario::Churn(options) => churn::run(options).await,
            Scenario::Diff(options) => diff::run(&options),
            Scenario::Report(options) => again::run(&options),
        }
    });
    // Calls that wait for a server don't hold the end up; one that is being started is ended before.
    runtime.shutdown_timeout(SHUTDOWN);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays a scenario that has no stage: a signal ends it, and the server that it started with it.
async fn interruptible(play: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut signals = Signals::watch()?;
    tokio::select! {
        done = play => done,
        why = signals.next() => bail!("{why}"),
    }
}

/// Says in one line what is wrong with the arguments; help and version, which come the same way, are printed as they are.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody who reads it: nothing to be done.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(USAGE);
    }
    let text = error.render().to_string();
    // The usage and where to find help come after these.
    let told = text.split("\n\n").take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more"));
    let told: Vec<&str> = told.flat_map(str::split_whitespace).collect();
    eprintln!("{} (see --help)", told.join(" "));
    ExitCode::from(USAGE)
}
