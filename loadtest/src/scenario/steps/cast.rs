//! Who plays: pairs of accounts with an open chat between them.

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    checker::ledger::PlaceId,
    peer::Login,
    rest,
    scenario::{chats, stage::Stage},
    server::LOGINS_AT_ONCE,
};

/// Prefix of the names of those who arrive.
const VISITORS: &str = "step";

/// Prefix of the names of their neighbours.
const NEIGHBOURS: &str = "step-next";

/// Where an arriving user sits: one of a pair of accounts, the other of which is online.
pub struct Seat {
    /// Number of the pair; also the sender in its marks.
    pub index: usize,
    pub name: String,
    pub neighbour: String,
    pub place: PlaceId,
    /// Messages of earlier visits.
    pub said: u32,
}

/// Pairs of accounts.
pub struct Cast {
    pub neighbours: Vec<Login>,
    /// Names of those who arrive, and log in then.
    pub visitors: Vec<String>,
}

/// Makes pairs of accounts (if need be), and opens their chats.
pub async fn gather(stage: &Stage, pairs: usize) -> anyhow::Result<Cast> {
    let neighbours = stage.users(NEIGHBOURS, pairs).await?;
    stage.aim(pairs as u64, "visitors");
    let registering = stream::iter(0..pairs).map(|n| {
        let (visitor, http) = (format!("{VISITORS}-{n}"), stage.run.node(n).http.clone());
        async move {
            let registered = tokio::task::spawn_blocking(move || rest::register(&http, &visitor).map(|()| visitor));
            registered.await.context("a registration panicked")?
        }
    });
    let mut registering = registering.buffered(LOGINS_AT_ONCE);
    let mut visitors = Vec::with_capacity(pairs);
    while let Some(visitor) = registering.try_next().await? {
        visitors.push(visitor);
        stage.progress(visitors.len() as u64);
    }
    drop(registering);
    chats::open(stage, neighbours.iter().zip(visitors.iter().map(String::as_str))).await?;
    Ok(Cast { neighbours, visitors })
}
