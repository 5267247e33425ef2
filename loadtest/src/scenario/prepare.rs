//! `prepare`: makes the accounts and chats of `steps` on a running server, so that runs of `steps` find them there.

use anyhow::ensure;
use serde::Serialize;

use crate::{
    scenario::{stage::conduct, steps},
    target::Common,
};

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Users at once that the accounts are to be enough for (1 to 800): each has a neighbour
    #[arg(long, default_value_t = 800)]
    users: usize,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((1..=800).contains(&options.users), "--users: 1 to 800");
    ensure!(
        !options.common.node.is_empty(),
        "--node: the server to prepare; one started here would be gone with its users"
    );
    conduct("prepare", &options.common, &options, &[], async |stage| {
        steps::gather(stage, options.users).await?;
        stage.say(format!("{} users with a neighbour and a chat each are there", options.users));
        Ok(())
    })
    .await
}
