//! `mix`: a day of a community, in a minute: lurkers and writers in rooms of a power-law size, groups and chats; histories read, connections
//! lost and made anew; over the native protocol also with peers of the two dialects. All of it is checked.

use anyhow::ensure;
use serde::Serialize;

use crate::{
    peer::Protocol,
    report::model::Figure,
    scenario::{
        community::{Community, Rates, shape::Shape},
        stage::conduct,
    },
    target::Common,
};

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Users, all connected (10 to 20,000)
    #[arg(long, default_value_t = 500)]
    users: usize,
    /// How long they live, seconds (1 to 86,400)
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Share of the users who write; the others listen and read (0.01 to 1)
    #[arg(long, default_value_t = 0.2)]
    writers: f64,
    /// Share of the users who speak another protocol, half each (0 to 0.9; only over native) [default: 0.2 over native]
    #[arg(long)]
    dialect_share: Option<f64>,
    /// Rooms, of a power-law size (1 to 2,000, at most half the users) [default: a tenth of the users]
    #[arg(long)]
    rooms: Option<usize>,
    /// Groups, of a power-law size (0 to 2,000) [default: a twentieth of the users]
    #[arg(long)]
    groups: Option<usize>,
    /// Members of the largest group (3 to 5,000)
    #[arg(long, default_value_t = 50)]
    group_max: usize,
    /// Exponent of the power law of the rooms' sizes (0: all alike, to 3)
    #[arg(long, default_value_t = 1.0)]
    exponent: f64,
    #[command(flatten)]
    rates: Rates,
}

impl Options {
    /// Checks the bounds.
    fn shape(&self) -> anyhow::Result<Shape> {
        ensure!((10..=20_000).contains(&self.users), "--users: 10 to 20,000");
        ensure!((1..=86_400).contains(&self.seconds), "--seconds: 1 to 86,400");
        ensure!((0.01..=1.0).contains(&self.writers), "--writers: 0.01 to 1");
        let protocol = self.common.protocol;
        let dialect_share = self.dialect_share.unwrap_or(if protocol == Protocol::Native { 0.2 } else { 0.0 });
        ensure!((0.0..=0.9).contains(&dialect_share), "--dialect-share: 0 to 0.9");
        ensure!(
            dialect_share == 0.0 || protocol == Protocol::Native,
            "--dialect-share: only over the native protocol, whose users make the rooms"
        );
        let rooms = self.rooms.unwrap_or((self.users / 10).min(2000));
        ensure!((1..=(self.users / 2).min(2000)).contains(&rooms), "--rooms: 1 to 2,000, at most half the users");
        let groups = self.groups.unwrap_or((self.users / 20).min(2000));
        ensure!(groups <= 2000, "--groups: 0 to 2,000");
        ensure!((3..=5000).contains(&self.group_max), "--group-max: 3 to 5,000");
        ensure!((0.0..=3.0).contains(&self.exponent), "--exponent: 0 to 3");
        self.rates.check(self.seconds)?;
        self.common.lasts(self.seconds)?;
        let (users, writers, group_max, exponent) = (self.users, self.writers, self.group_max, self.exponent);
        Ok(Shape { users, writers, protocol, dialect_share, rooms, groups, group_max, exponent, seed: 0 })
    }
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let shape = options.shape()?;
    conduct("mix", &options.common, &options, &[], async |stage| {
        let shape = Shape { seed: stage.run.seed, ..shape };
        let mut community = Community::gather(stage, &shape, options.rates.bytes).await?;
        stage.phase("day");
        stage.aim(options.seconds, "s");
        let cpu = stage.cpu_s().ok();
        community.live(stage, options.seconds as f64, &options.rates, 0).await;
        if let (Some(before), Ok(after)) = (cpu, stage.cpu_s()) {
            let used = (after - before) / options.seconds as f64;
            stage.figure(Figure::new("CPU of the server", "cores", used));
        }
        stage.phase("leaving");
        community.leave(stage).await;
        Ok(())
    })
    .await
}
