//! `groups`: messages to many groups, half of which have members that are offline; CPU of the server per delivery must not depend on those.
//!
//! Each round writes to the groups where everybody is online, and then the same to groups of the same users that have offline members
//! besides. All have the same number of receivers.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde::Serialize;

use super::{
    crowd,
    stage::{Stage, conduct},
    talker::{Talker, Talkers, Topic},
};
use crate::{
    peer::{Login, Peer, Protocol},
    report::model::{Figure, Phase},
    target::{self, Common},
};

/// Offline members may cost so much of CPU per delivery, as a ratio.
const RATIO_MAX: f64 = 1.2;
/// Writing before the first round, seconds.
const WARM_UP_S: u64 = 2;
/// Most memberships: each is made before the first message.
const MEMBERSHIPS_MAX: usize = 500_000;

#[derive(clap::Args, Serialize, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    common: Common,
    /// Groups of each kind (1 to 900)
    #[arg(long, default_value_t = 50)]
    groups: usize,
    /// Members of each group that are online (2 to 2,000)
    #[arg(long, default_value_t = 20)]
    members: usize,
    /// Share of the members that is offline, in the groups that have some (0.1 to 0.99)
    #[arg(long, default_value_t = 0.9)]
    offline_share: f64,
    /// Users that are online, each a member of several groups (at least --members, at most 10,000)
    #[arg(long, default_value_t = 100)]
    users: usize,
    /// Messages per second, of all groups (1 to 10,000)
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Seconds of writing in each kind of group and round (1 to 3,600)
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Rounds; medians are told (1 to 100)
    #[arg(long, default_value_t = 3)]
    rounds: u64,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=900).contains(&self.groups), "--groups: 1 to 900");
        ensure!((2..=2000).contains(&self.members), "--members: 2 to 2,000");
        ensure!((0.1..=0.99).contains(&self.offline_share), "--offline-share: 0.1 to 0.99");
        ensure!((self.members..=10_000).contains(&self.users), "--users: at least --members, at most 10,000");
        ensure!((1.0..=10_000.0).contains(&self.rate), "--rate: 1 to 10,000 messages per second");
        ensure!((1..=3600).contains(&self.seconds), "--seconds: 1 to 3,600");
        ensure!((1..=100).contains(&self.rounds), "--rounds: 1 to 100");
        let memberships = self.groups * (2 * self.members + self.offline());
        ensure!(
            memberships <= MEMBERSHIPS_MAX,
            "--groups, --members and --offline-share make {memberships} memberships; at most 500,000"
        );
        ensure!(self.common.protocol != Protocol::Rooms, "--protocol: groups needs native or messenger");
        let seconds = WARM_UP_S + 2 * self.rounds * self.seconds;
        target::check_messages(self.rate * seconds as f64)?;
        self.common.lasts(seconds)
    }

    /// Returns how many members of a group are offline, in the groups that have some.
    fn offline(&self) -> usize {
        (self.members as f64 * self.offline_share / (1.0 - self.offline_share)).round() as usize
    }
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    options.check()?;
    conduct("groups", &options.common, &options, &[], async |stage| play(stage, &options).await).await
}

async fn play(stage: &Stage, options: &Options) -> anyhow::Result<()> {
    stage.cpu_s().context("groups measures the server's CPU")?;
    stage.check_sockets(options.users + crowd::AT_ONCE)?;
    stage.phase("joining");
    let online = stage.users("member", options.users).await?;
    let offline = stage.users("offline", options.offline()).await?;
    stage.aim(options.users as u64, "connections");
    let mut talkers = crowd::gather(stage, 0, online.clone(), crowd::AT_ONCE, Talker::connect).await?;
    // The first half has no offline members.
    let topics = make_groups(stage, options, &online, &mut talkers).await?;
    stage.aim(offline.len() as u64, "offline members");
    let apart = topics[options.groups..].to_vec();
    crowd::gather(stage, options.users, offline, crowd::AT_ONCE, move |run, index, login| {
        let groups = apart.clone();
        async move {
            let mut peer = Peer::connect(&run, index, &login).await?;
            for group in &groups {
                peer.join(&group.place).await?;
            }
            peer.close().await;
            Ok(())
        }
    })
    .await?;

    let mut talkers = Talkers::start(&stage.run, talkers, topics)?;
    let all: Vec<_> = (0..2 * options.groups).collect();
    let (here, apart) = all.split_at(options.groups);
    stage.phase("warming up");
    talkers.write(&all, options.rate, Duration::from_secs(WARM_UP_S)).await?;
    talkers.settle().await;
    let share = (options.offline_share * 100.0).round();
    let kinds = [("all online".to_owned(), here), (format!("{share} % offline"), apart)];
    let (mut us, mut p99_ms) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut before = None;
    stage.aim(2 * options.rounds * options.seconds, "s");
    for round in 1..=options.rounds {
        for (kind, (name, groups)) in kinds.iter().enumerate() {
            stage.progress((2 * (round - 1) + kind as u64) * options.seconds);
            let ended = stage.phase(&format!("round {round}, {name}"));
            if let Some(kind) = before.replace(kind) {
                p99_ms[kind].extend(ended.as_ref().and_then(delivered_p99));
            }
            us[kind].push(measure(stage, &mut talkers, groups, options).await?);
        }
    }
    p99_ms[1].extend(stage.phase("leaving").as_ref().and_then(delivered_p99));
    talkers.end().await?;

    let plain = Figure::of_rounds("CPU per delivery, all online", "us", &us[0]);
    let burdened = Figure::of_rounds("CPU per delivery, with offline members", "us", &us[1]);
    stage.figure(burdened.beside("all online", plain.value).at_most(RATIO_MAX));
    stage.figure(plain);
    stage.figure(Figure::of_rounds("deliveries p99, with offline members", "ms", &p99_ms[1]));
    stage.figure(Figure::of_rounds("deliveries p99, all online", "ms", &p99_ms[0]));
    Ok(())
}

/// Makes the groups of both kinds, and lets those who are online join: in each kind the same users the same groups.
async fn make_groups(
    stage: &Stage,
    options: &Options,
    online: &[Login],
    talkers: &mut [Talker],
) -> anyhow::Result<Vec<Topic>> {
    let Options { groups, members, .. } = *options;
    let (kinds, users) = (2, talkers.len());
    stage.aim((kinds * groups * members) as u64, "memberships");
    let mut topics = Vec::with_capacity(kinds * groups);
    for number in 0..kinds * groups {
        let writer = number % groups % users;
        let place = talkers[writer].peer().make_group(&format!("Group {number}")).await?;
        let topic = Topic::new(&stage.run, place, &online[writer])?;
        talkers[writer].writes(number);
        talkers[writer].listen(number, &topic);
        let joining =
            talkers.iter_mut().enumerate().filter(|(user, _)| is_member(*user, number % groups, members, users));
        try_join_all(joining.map(|(_, talker)| talker.join(number, &topic))).await?;
        topics.push(topic);
        stage.progress(((number + 1) * members) as u64);
        ensure!(!stage.run.is_stopping(), "stopped while joining");
    }
    Ok(topics)
}

/// Says whether a user joins a group that another makes: the members follow its writer, one after the other.
fn is_member(user: usize, group: usize, members: usize, users: usize) -> bool {
    let after = (user + users - group % users) % users;
    (1..members).contains(&after)
}

/// Writes for a round; returns CPU time per delivery, microseconds.
async fn measure(stage: &Stage, talkers: &mut Talkers, groups: &[usize], options: &Options) -> anyhow::Result<f64> {
    let cpu = stage.cpu_s()?;
    let messages = talkers.write(groups, options.rate, Duration::from_secs(options.seconds)).await?;
    talkers.settle().await;
    let deliveries = messages * (options.members as u64 - 1);
    Ok((stage.cpu_s()? - cpu) * 1e6 / deliveries as f64)
}

fn delivered_p99(phase: &Phase) -> Option<f64> {
    phase.delays.get("delivered").map(|delays| delays.p99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_as_many_members_as_were_asked_for() {
        for (members, users) in [(2, 2), (20, 100), (7, 7)] {
            for group in 0..250 {
                let joined = (0..users).filter(|user| is_member(*user, group, members, users)).count();
                assert_eq!(joined + 1, members, "group {group} of {users} users");
                assert!(!is_member(group % users, group, members, users), "the writer made it");
            }
        }
    }
}
