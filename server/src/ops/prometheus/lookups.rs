//! How names are looked up in a cluster: which tier answered, and the filter for floods of unknown names.

use prometheus::proto::MetricType;

use super::{Families, counter};
use crate::facts::NodeFacts;

pub(super) fn families(facts: &NodeFacts, families: &mut Families) {
    let Some(counts) = facts.services.as_ref().and_then(|services| services.lookups()) else { return };
    let answers = [
        ("memory", "found", counts.memory),
        ("filter", "nobody", counts.filter),
        ("redis", "found", counts.redis),
        ("postgres", "found", counts.store_found),
        ("postgres", "nobody", counts.store_unknown),
    ];
    families.add(
        "lookups_total",
        "Names looked up, by what answered and how; those of registrations and guests, which only Postgres answers, among them.",
        MetricType::COUNTER,
        answers.map(|(tier, answer, count)| counter(&[("tier", tier), ("answer", answer)], count as f64)).into(),
    );
    families.counter(
        "lookup_redis_failures_total",
        "Requests about names that Redis didn't answer in 250 ms: Postgres was asked.",
        counts.redis_failures,
    );
    families.gauge(
        "lookup_flood",
        "1 while so many unknown names are asked for that the filter answers.",
        f64::from(u8::from(counts.flood)),
    );
    families.counter("lookup_floods_total", "Floods of unknown names.", counts.floods);
    families.gauge(
        "lookup_filter_ready",
        "1 once the filter has all names; until then, and when it can't be kept up to date, Postgres is asked.",
        f64::from(u8::from(counts.state.is_some())),
    );
    if let Some(filter) = counts.state {
        families.gauge("lookup_filter_names", "Names in the filter.", filter.names as f64);
        families.gauge("lookup_filter_bytes", "Memory of the filter.", filter.bytes as f64);
        let age = filter.age.as_secs_f64();
        families.gauge("lookup_filter_age_seconds", "Time since the filter was last known to be complete.", age);
    }
    let rounds = [("ok", counts.rounds), ("failed", counts.rounds_failed)];
    families.add(
        "lookup_filter_rounds_total",
        "Queries for names that came since the last one.",
        MetricType::COUNTER,
        rounds.map(|(outcome, count)| counter(&[("outcome", outcome)], count as f64)).into(),
    );
    families.counter("lookup_filter_builds_total", "How often the filter was made from all names.", counts.built);
}
