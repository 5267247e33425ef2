//! The last half hour in numbers, without an external service: one sample every five seconds, in a ring.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    web::{self, Data, Query, ServiceConfig},
};
use chinwag_actors::metrics::STORAGE_BUCKETS_US;
use chinwag_schema::error::{ClientError, ErrorCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::OpsState;
use crate::{
    facts::{NodeFacts, OutboxTotals, resident_bytes},
    http::ApiError,
};

/// Time between samples.
pub const EVERY: Duration = Duration::from_secs(5);
/// Samples kept: thirty minutes.
pub const KEPT: usize = 360;

/// What a sample has, in order: name and unit.
pub const SERIES: [(&str, &str); 13] = [
    ("messages_per_s", "1/s"),
    ("frames_written_per_s", "1/s"),
    ("bytes_written_per_s", "B/s"),
    ("sockets", "1"),
    ("users", "1"),
    ("conversations", "1"),
    ("cpu_percent", "%"),
    ("memory_bytes", "B"),
    ("append_p99_ms", "ms"),
    ("outbox_bytes", "B"),
    ("refused_per_s", "1/s"),
    ("shed_per_s", "1/s"),
    ("slow_closes_per_s", "1/s"),
];

/// One moment. `f32` is exact enough for a chart; NaN where there is nothing to say.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub at_ms: i64,
    pub values: [f32; SERIES.len()],
}

/// The ring. Bounded at [`KEPT`] samples of 64 bytes.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Sample>>);

impl History {
    fn push(&self, sample: Sample) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(sample);
    }

    /// Returns the samples after a time, Unix ms, oldest first.
    pub fn after(&self, at_ms: i64) -> Vec<Sample> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().filter(|sample| sample.at_ms > at_ms).copied().collect()
    }

    /// Returns the newest sample by name, for those who want no curve.
    pub fn newest(&self) -> Option<Map<String, Value>> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner).back().copied()?;
        Some(SERIES.iter().zip(newest.values).map(|((name, _), value)| ((*name).to_owned(), json!(value))).collect())
    }
}

/// Counters that only grow, at one moment.
struct Totals {
    at: Instant,
    messages: u64,
    frames: u64,
    bytes: u64,
    refused: u64,
    sheds: u64,
    slow_closes: u64,
    cpu: Duration,
    append: Vec<u64>,
}

impl Totals {
    fn of(facts: &NodeFacts) -> Self {
        let counters = &facts.node.counters;
        let outboxes = |value: fn(&OutboxTotals) -> &std::sync::atomic::AtomicU64| -> u64 {
            facts.outboxes.iter().map(|totals| value(totals).load(Relaxed)).sum()
        };
        let mailboxes: u64 = facts.node.runtime.metrics().kinds().iter().map(|kind| kind.refused_total()).sum();
        let append = facts.node.message_metrics.snapshot().calls.remove("append");
        Self {
            at: Instant::now(),
            messages: counters.messages.load(Relaxed),
            frames: outboxes(|totals| &totals.written_frames),
            bytes: outboxes(|totals| &totals.written_bytes),
            refused: mailboxes + counters.rate_limited.load(Relaxed) + counters.spam.load(Relaxed),
            sheds: outboxes(|totals| &totals.sheds) + outboxes(|totals| &totals.gapped_events),
            slow_closes: outboxes(|totals| &totals.slow_closes),
            cpu: cpu_time(),
            append: append.map(|append| append.buckets).unwrap_or_default(),
        }
    }

    fn sample(&self, before: &Self, facts: &NodeFacts) -> Sample {
        let seconds = (self.at - before.at).as_secs_f64();
        let per_s = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let sum =
            |counters: &[std::sync::atomic::AtomicU64]| -> u64 { counters.iter().map(|one| one.load(Relaxed)).sum() };
        let queued: u64 = facts.outboxes.iter().map(|totals| totals.queued_bytes.load(Relaxed)).sum();
        let counters = &facts.node.counters;
        let values = [
            per_s(self.messages, before.messages),
            per_s(self.frames, before.frames),
            per_s(self.bytes, before.bytes),
            sum(&counters.sockets) as f64,
            counters.users.load(Relaxed) as f64,
            facts.node.conversations.len() as f64,
            self.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds * 100.0,
            resident_bytes() as f64,
            p99_ms(&before.append, &self.append),
            queued as f64,
            per_s(self.refused, before.refused),
            per_s(self.sheds, before.sheds),
            per_s(self.slow_closes, before.slow_closes),
        ];
        Sample { at_ms: facts.node.runtime.unix_ms(), values: values.map(|value| value as f32) }
    }
}

/// Returns the processor time of this process, all threads.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns the 99th percentile of what came between two histograms, within a bucket as if evenly spread; NaN when nothing came. In the
/// last bucket, which has no bound: its lower one.
fn p99_ms(before: &[u64], now: &[u64]) -> f64 {
    let counts: Vec<u64> =
        now.iter().enumerate().map(|(index, &count)| count - before.get(index).copied().unwrap_or(0)).collect();
    let wanted = counts.iter().sum::<u64>() as f64 * 0.99;
    let (mut seen, mut lower_us) = (0.0, 0.0);
    for (index, &count) in counts.iter().enumerate() {
        let Some(&upper_us) = STORAGE_BUCKETS_US.get(index) else { break };
        let (count, upper_us) = (count as f64, upper_us as f64);
        if count > 0.0 && seen + count >= wanted {
            return (lower_us + (upper_us - lower_us) * (wanted - seen) / count) / 1000.0;
        }
        (seen, lower_us) = (seen + count, upper_us);
    }
    if wanted == 0.0 { f64::NAN } else { lower_us / 1000.0 }
}

/// Takes samples for as long as the process lives.
pub async fn run(state: Arc<OpsState>) {
    let mut before = Totals::of(&state.facts);
    let mut ticks = tokio::time::interval_at(before.at + EVERY, EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Totals::of(&state.facts);
        state.history.push(now.sample(&before, &state.facts));
        state.rates.forget_old();
        before = now;
    }
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/admin/history", web::get().to(history));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Only samples after this time, Unix ms.
    after_ms: Option<i64>,
}

async fn history(
    state: Data<OpsState>,
    asked: Result<Query<Asked>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let asked = asked.map_err(|error| ClientError::new(ErrorCode::BadRequest, error.to_string()))?;
    let samples = state.history.after(asked.after_ms.unwrap_or(i64::MIN));
    let series: Map<String, Value> = SERIES
        .iter()
        .enumerate()
        .map(|(index, (name, unit))| {
            let values: Vec<f32> = samples.iter().map(|sample| sample.values[index]).collect();
            ((*name).to_owned(), json!({"unit": unit, "values": values}))
        })
        .collect();
    let at_ms: Vec<i64> = samples.iter().map(|sample| sample.at_ms).collect();
    let body = json!({"every_ms": EVERY.as_millis(), "kept": KEPT, "at_ms": at_ms, "series": series});
    Ok(HttpResponse::Ok().json(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_half_an_hour() {
        let history = History::default();
        for at_ms in 0..1000 {
            history.push(Sample { at_ms, values: [at_ms as f32; SERIES.len()] });
        }
        let all = history.after(i64::MIN);
        assert_eq!((all.len(), all[0].at_ms, all[KEPT - 1].at_ms), (KEPT, 640, 999));
        assert_eq!(history.after(997).len(), 2);
        assert_eq!(history.newest().unwrap()["sockets"], json!(999.0));
    }

    #[test]
    fn percentiles_are_of_what_came_in_between() {
        assert!(p99_ms(&[], &[]).is_nan());
        assert!(p99_ms(&[5, 1], &[5, 1]).is_nan());
        // A hundred more in the second bucket, 100 to 250 µs: its 99th hundredth.
        assert!((p99_ms(&[7, 0], &[7, 100]) - 0.2485).abs() < 1e-9);
        let mut beyond = vec![0; STORAGE_BUCKETS_US.len() + 1];
        *beyond.last_mut().unwrap() = 1;
        assert!((p99_ms(&[], &beyond) - 1000.0).abs() < 1e-9, "the last bucket has no upper bound");
    }

    #[test]
    fn processor_time_grows() {
        let before = cpu_time();
        let until = Instant::now() + Duration::from_secs(10);
        while cpu_time() == before && Instant::now() < until {}
        assert!(cpu_time() > before);
    }
}
