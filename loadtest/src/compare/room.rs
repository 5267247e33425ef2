//! A: one room, many receivers; messages paced, in a burst, or in lockstep.

use std::{sync::Arc, time::Instant};

use super::{SETTLE, Sample, Scale, Workload};
use crate::{
    report::model::Delays,
    run::Run,
    scenario::{
        fanout::{
            Mode,
            audience::Audience,
            posting::{Plan, post},
        },
        line::{Listener, Poster},
    },
};

/// Messages before the first that is measured: code is compiled, tables have grown.
const WARM_UP_MESSAGES: usize = 20;

/// Messages a second of the paced workload.
const PER_SECOND: f64 = 20.0;

/// Plays the workloads of a room, one after the other. `cpu_s` reads the CPU time of the server.
pub async fn play<P: Poster, L: Listener>(
    run: &Arc<Run>,
    mut poster: P,
    mut listeners: Vec<L>,
    workloads: &[Workload],
    scale: &Scale,
    cpu_s: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<Sample>> {
    let (mut samples, mut posted) = (Vec::new(), 0);
    let plan = |mode, messages| Plan { mode, messages, rate: PER_SECOND, receivers: scale.receivers, sender: 0 };
    let warm_up = (None, plan(Mode::Lockstep, WARM_UP_MESSAGES));
    let measured = workloads.iter().filter_map(|&workload| {
        let paced = (PER_SECOND * scale.seconds as f64) as usize;
        let plan = match workload {
            Workload::A1 => plan(Mode::Paced, paced),
            Workload::A2 => plan(Mode::Burst, scale.messages),
            Workload::A3 => plan(Mode::Lockstep, scale.messages),
            _ => return None,
        };
        Some((Some(workload), plan))
    });
    for (workload, plan) in std::iter::once(warm_up).chain(measured) {
        let audience = Audience::listen(run, listeners, plan.messages)?;
        let (cpu, begun) = (cpu_s()?, Instant::now());
        post(run, &mut poster, &audience.tally, &plan, &mut posted).await?;
        let took = begun.elapsed();
        tokio::time::sleep(SETTLE).await;
        let cpu = cpu_s()? - cpu;
        let delays = Delays::of(&audience.tally.take_delays());
        listeners = audience.finish().await?;
        if let Some(workload) = workload {
            samples.push(Sample::of_deliveries(workload, cpu, took, delays));
        }
    }
    Ok(samples)
}
