//! Many peers at once: connected a few at a time, in an order that is always the same.

use std::{pin::pin, sync::Arc};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;

use crate::{
    peer::{Login, Peer},
    run::Run,
    scenario::stage::Stage,
    target::Common,
};

/// Peers that connect at the same time.
pub const AT_ONCE: usize = 64;

/// Sockets at most: a process has 20,000 files on many systems.
pub const CONNECTIONS_MAX: usize = 19_000;

/// Accounts that sockets are spread over, unless it is said otherwise.
pub const ACCOUNTS: usize = 500;

/// Sockets of one user that a server allows, unless it is told otherwise.
const SOCKETS_PER_USER: usize = 64;

/// Fails if these are more accounts than a run makes, or if a server would refuse so many sockets of so few.
pub fn check_accounts(common: &Common, sockets: usize, accounts: usize) -> anyhow::Result<()> {
    ensure!((1..=2000).contains(&accounts), "--accounts: 1 to 2,000");
    // Whoever sets the server's bound knows it.
    let told = common.server_args.iter().any(|argument| argument.starts_with("--max-sockets-per-user"));
    let needed = sockets.div_ceil(SOCKETS_PER_USER);
    ensure!(
        told || accounts >= needed,
        "--accounts: at least {needed} for {sockets} sockets, because a server takes {SOCKETS_PER_USER} of one user"
    );
    Ok(())
}

/// Does `connect` for each login (given its index, counted from `first`), `at_once` at a time; returns what it made, in order. The
/// progress bar shows how many there are, those before `first` included.
pub async fn gather<T, F>(
    stage: &Stage,
    first: usize,
    logins: Vec<Login>,
    at_once: usize,
    connect: impl Fn(Arc<Run>, usize, Login) -> F,
) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let (run, count) = (&stage.run, logins.len());
    let tasks = stream::iter((first..).zip(logins)).map(|(index, login)| {
        let name = login.name.clone();
        let task = tokio::spawn(connect(run.clone(), index, login));
        async move { task.await.context("a task ended")?.with_context(|| format!("{name} can't connect")) }
    });
    let mut tasks = pin!(tasks.buffered(at_once));
    let mut all = Vec::with_capacity(count);
    while let Some(done) = tasks.next().await {
        all.push(done?);
        stage.progress((first + all.len()) as u64);
        ensure!(!run.is_stopping(), "stopped after {} of {count} connections", all.len());
    }
    Ok(all)
}

/// A peer that only stays connected: a task reads what comes and answers pings. It goes when this is dropped.
pub struct Idle {
    task: JoinHandle<()>,
}

impl Idle {
    /// Connects and stays; an end that isn't its own is an error of the run.
    pub async fn connect(run: Arc<Run>, index: usize, login: Login) -> anyhow::Result<Self> {
        let mut peer = Peer::connect(&run, index, &login).await?;
        let task = tokio::spawn(async move {
            while peer.next().await.is_ok() {}
            run.meter.error("an idle socket was closed");
        });
        Ok(Self { task })
    }

    /// Says whether the server closed it.
    pub fn is_closed(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
