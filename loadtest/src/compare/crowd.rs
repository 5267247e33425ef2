//! C and D: what an idle connection costs in memory, and what a connect costs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinSet;

use super::{SETTLE, Sample, Workload, link::Link, server::Running};
use crate::{peer::Login, run::Run};

/// Users that connect at the same time.
const AT_ONCE: usize = 32;

/// Connections that pay for what is paid once (buffers, tables, code) before anything is measured.
const FIRST: usize = 100;

/// How long connections are idle before memory is read: garbage is collected meanwhile.
const REST: Duration = Duration::from_secs(5);

/// Connects users, a few at a time, in order; does with each what `ready` says.
pub async fn gather<T>(
    server: &Running,
    run: &Arc<Run>,
    logins: &[Login],
    ready: impl AsyncFn(Link) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let connecting = stream::iter(logins.iter().enumerate()).map(|(index, login)| {
        let ready = &ready;
        async move { ready(server.connect(run, index, login).await?).await.with_context(|| login.name.clone()) }
    });
    let mut connecting = std::pin::pin!(connecting.buffered(AT_ONCE));
    let mut all = Vec::with_capacity(logins.len());
    while let Some(done) = connecting.next().await {
        all.push(done?);
    }
    Ok(all)
}

/// Names users that need no account.
pub fn guests(prefix: &str, count: usize) -> Vec<Login> {
    (0..count).map(|n| Login { name: format!("{prefix}-{n}"), token: None }).collect()
}

/// Measures the memory of idle connections, each of a user of its own.
pub async fn idle(server: &Running, run: &Arc<Run>, connections: usize) -> anyhow::Result<Sample> {
    let begun = Instant::now();
    let logins = guests("idle", connections);
    let mut crowd = Crowd::default();
    let (first, rest) = logins.split_at(FIRST.min(connections / 2));
    // Twice: what starting took, allocators give back when they are next asked for memory, long after.
    let (one, other) = first.split_at(first.len() / 2);
    for part in [one, other] {
        crowd.connect(server, run, part).await?;
        tokio::time::sleep(REST).await;
    }
    let before = server.resident_bytes()?;
    crowd.connect(server, run, rest).await?;
    tokio::time::sleep(REST).await;
    let bytes = server.resident_bytes()? as f64 - before as f64;
    crowd.check()?;
    let kib = bytes / 1024.0 / rest.len() as f64;
    Ok(Sample { workload: Workload::C, cost: kib, took: begun.elapsed(), delays: None })
}

/// Measures the CPU time of connects, until each user is ready to send.
pub async fn connects(server: &Running, run: &Arc<Run>, logins: &[Login]) -> anyhow::Result<Sample> {
    let mut crowd = Crowd::default();
    let (first, rest) = logins.split_at(FIRST.min(logins.len() / 2));
    crowd.connect(server, run, first).await?;
    let (cpu, begun) = (server.cpu_s()?, Instant::now());
    crowd.connect(server, run, rest).await?;
    let took = begun.elapsed();
    tokio::time::sleep(SETTLE).await;
    let cost = (server.cpu_s()? - cpu) * 10_000.0 / rest.len() as f64;
    crowd.check()?;
    Ok(Sample { workload: Workload::D, cost, took, delays: None })
}

/// Connections that stay open and answer pings.
#[derive(Default)]
struct Crowd {
    idling: JoinSet<anyhow::Error>,
}

impl Crowd {
    async fn connect(&mut self, server: &Running, run: &Arc<Run>, logins: &[Login]) -> anyhow::Result<()> {
        // Each begins to read as soon as it is there: the last of thousands comes late.
        let links = tokio::sync::Mutex::new(&mut self.idling);
        gather(server, run, logins, async |mut link| {
            links.lock().await.spawn(async move {
                loop {
                    if let Err(error) = link.next().await {
                        return error;
                    }
                }
            });
            Ok(())
        })
        .await
        .map(drop)
    }

    /// Fails if one of them ended.
    fn check(&mut self) -> anyhow::Result<()> {
        match self.idling.try_join_next() {
            None => Ok(()),
            Some(ended) => Err(ended.context("a connection's task ended")?.context("a connection ended")),
        }
    }
}
