//! B: pairs of users; one message in flight each, or paced.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::{SETTLE, Sample, Scale, Workload};
use crate::{
    report::model::Delays,
    run::Run,
    scenario::{
        direct::pair::Pair,
        line::{Listener, Poster},
    },
};

/// How long the closed loop runs before it is measured: code is compiled, chats are opened.
const WARM_UP: Duration = Duration::from_secs(2);

/// When a pair's next message is written.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// When the last was heard, and stored where that is told.
    Closed,
    /// At so many a second.
    Paced(f64),
}

/// Plays the workloads of pairs, one after the other. `cpu_s` reads the CPU time of the server.
pub async fn play<P: Poster, L: Listener>(
    run: &Arc<Run>,
    pairs: Vec<Pair<P, L>>,
    workloads: &[Workload],
    scale: &Scale,
    cpu_s: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<Sample>> {
    let each_per_second = scale.rate / pairs.len() as f64;
    let (mut pairs, _) = all(run, pairs, Rule::Closed, WARM_UP).await.context("warming up")?;
    let mut samples = Vec::new();
    for &workload in workloads {
        let rule = match workload {
            Workload::B1 => Rule::Closed,
            Workload::B2 => Rule::Paced(each_per_second),
            _ => continue,
        };
        let (cpu, begun) = (cpu_s()?, Instant::now());
        let delays;
        (pairs, delays) = all(run, pairs, rule, Duration::from_secs(scale.seconds)).await.context(workload.name())?;
        let took = begun.elapsed();
        tokio::time::sleep(SETTLE).await;
        samples.push(Sample::of_deliveries(workload, cpu_s()? - cpu, took, Delays::of(&delays)));
    }
    Ok(samples)
}

/// Lets all pairs play at once for so long; returns them, with the delays.
async fn all<P: Poster, L: Listener>(
    run: &Arc<Run>,
    pairs: Vec<Pair<P, L>>,
    rule: Rule,
    time: Duration,
) -> anyhow::Result<(Vec<Pair<P, L>>, Histogram<u64>)> {
    let begin = Instant::now();
    let end = begin + time;
    let mut tasks = JoinSet::new();
    for pair in pairs {
        let run = run.clone();
        tasks.spawn(async move {
            match rule {
                Rule::Closed => pair.closed(run, end).await,
                Rule::Paced(per_second) => pair.open(run, per_second, begin, end).await,
            }
        });
    }
    let (mut pairs, mut delays) = (Vec::new(), None::<Histogram<u64>>);
    while let Some(done) = tasks.join_next().await {
        let done = done.context("a pair's task ended")??;
        match &mut delays {
            Some(delays) => delays.add(&done.delays)?,
            None => delays = Some(done.delays),
        }
        pairs.push(done.pair);
    }
    Ok((pairs, delays.context("no pairs")?))
}
