//! `/metrics` in Prometheus' text format, made anew for each scrape from counters that the runtime, the stores and the sockets keep.

mod cluster;
mod lookups;
mod process;

use std::sync::atomic::Ordering::Relaxed;

use chinwag_actors::{
    breaker::BreakerState,
    metrics::{BATCH_BUCKETS, Histogram as Kept, STORAGE_BUCKETS_US, StorageSnapshot},
    runtime::metrics::BUCKETS_US,
    session::outbox::DELIVERY_BUCKETS_MS,
};
use chinwag_schema::wire::Dialect;
use prometheus::{
    TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::facts::{NodeFacts, OutboxTotals};

const DIALECTS: [Dialect; Dialect::COUNT] = [Dialect::Native, Dialect::Rooms, Dialect::Messenger, Dialect::Presence];

/// Writes all metrics.
pub fn text(facts: &NodeFacts) -> String {
    let mut families = Families(Vec::new());
    actors(facts, &mut families);
    sockets(facts, &mut families);
    outboxes(facts, &mut families);
    storage(facts, &mut families);
    auth(facts, &mut families);
    node(facts, &mut families);
    cluster::families(facts, &mut families);
    lookups::families(facts, &mut families);
    process::families(facts, &mut families);
    let mut text = String::new();
    match TextEncoder::new().encode_utf8(&families.0, &mut text) {
        Ok(()) => text,
        // Only a family without metrics can't be written; none is made.
        Err(error) => format!("# {error}\n"),
    }
}

struct Families(Vec<MetricFamily>);

impl Families {
    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(format!("chinwag_{name}"));
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.add(name, help, MetricType::GAUGE, vec![gauge(&[], value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.add(name, help, MetricType::COUNTER, vec![counter(&[], value as f64)]);
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn counter(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

/// Makes a histogram from counts that aren't cumulative, the last without a bound. `per_unit` bounds are one of the unit that is told:
/// a division, since 0.0001 is not 100 times 0.000001.
fn histogram(labels: &[(&str, &str)], bounds: &[u64], per_unit: f64, counts: &[u64], sum: f64) -> Metric {
    let mut cumulative = 0;
    let buckets = bounds.iter().zip(counts).map(|(&bound, &count)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound as f64 / per_unit);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}

fn actors(facts: &NodeFacts, families: &mut Families) {
    let kinds: Vec<_> = facts.node.runtime.metrics().kinds().iter().map(|kind| kind.snapshot()).collect();
    let gauges = |value: fn(&chinwag_actors::runtime::metrics::KindSnapshot) -> f64| {
        kinds.iter().map(|kind| gauge(&[("actor", kind.kind)], value(kind))).collect::<Vec<_>>()
    };
    let counters = |value: fn(&chinwag_actors::runtime::metrics::KindSnapshot) -> u64| {
        kinds.iter().map(|kind| counter(&[("actor", kind.kind)], value(kind) as f64)).collect::<Vec<_>>()
    };
    families.add("actors_live", "Actors alive.", MetricType::GAUGE, gauges(|kind| kind.live as f64));
    families.add(
        "actor_mailbox_depth",
        "Messages that wait in all mailboxes of the kind.",
        MetricType::GAUGE,
        gauges(|kind| kind.mailbox_depth as f64),
    );
    families.add(
        "actor_mailbox_depth_max",
        "Messages that wait in the fullest mailbox of the kind.",
        MetricType::GAUGE,
        gauges(|kind| kind.mailbox_depth_max as f64),
    );
    families.add(
        "actor_mailbox_bound",
        "Bound of one mailbox.",
        MetricType::GAUGE,
        gauges(|kind| kind.mailbox_bound as f64),
    );
    families.add(
        "actor_refused_total",
        "Messages refused by a full mailbox or a stopped actor.",
        MetricType::COUNTER,
        counters(|kind| kind.refused),
    );
    families.add(
        "actor_restarts_total",
        "Actors rebuilt after a panic.",
        MetricType::COUNTER,
        counters(|kind| kind.restarts),
    );
    families.add(
        "actor_budget_spent_total",
        "Actors that panicked too often and stopped, or rested.",
        MetricType::COUNTER,
        counters(|kind| kind.stopped_by_budget),
    );
    let handled = kinds.iter().flat_map(|kind| {
        kind.messages.iter().filter(|message| message.handled > 0).map(|message| {
            let labels = [("actor", kind.kind), ("message", message.message)];
            histogram(&labels, &BUCKETS_US, 1e6, &message.buckets, message.handler_s)
        })
    });
    families.add(
        "actor_handler_seconds",
        "Messages handled and the time of their handlers.",
        MetricType::HISTOGRAM,
        handled.collect(),
    );
}

fn sockets(facts: &NodeFacts, families: &mut Families) {
    let counters = &facts.node.counters;
    let by_dialect = |values: &[std::sync::atomic::AtomicU64], make: fn(&[(&str, &str)], f64) -> Metric| {
        DIALECTS
            .iter()
            .map(|dialect| make(&[("dialect", dialect.as_str())], values[*dialect as usize].load(Relaxed) as f64))
            .collect::<Vec<_>>()
    };
    families.add("sockets", "Open sockets.", MetricType::GAUGE, by_dialect(&counters.sockets, gauge));
    families.add("sockets_opened_total", "Sockets opened.", MetricType::COUNTER, by_dialect(&counters.opened, counter));
    let authenticated = counters.authenticated.load(Relaxed);
    families.gauge("sockets_authenticated", "Open sockets that said who they are.", authenticated as f64);
    families.gauge("users_online", "Distinct users with sockets here.", counters.users.load(Relaxed) as f64);
    families.counter("sessions_ended_total", "Sessions ended.", counters.ended.load(Relaxed));
    let seconds = counters.session_ms.load(Relaxed) as f64 / 1000.0;
    families.add(
        "session_seconds_total",
        "Sum of the lengths of ended sessions.",
        MetricType::COUNTER,
        vec![counter(&[], seconds)],
    );
    families.counter("frames_received_total", "Text frames from clients.", counters.inbound.load(Relaxed));
    families.counter("frames_malformed_total", "Frames that no decoder could read.", counters.malformed.load(Relaxed));
    families.counter("rate_limited_total", "Frames refused for a rate.", counters.rate_limited.load(Relaxed));
    families.counter("spam_refused_total", "Messages refused by the spam rules.", counters.spam.load(Relaxed));
    families.counter("messages_total", "Messages made durable.", counters.messages.load(Relaxed));
    families.gauge(
        "unacknowledged_events",
        "Events taken from their senders that aren't durable yet: so many senders wait.",
        counters.unacknowledged.load(Relaxed) as f64,
    );
}

fn outboxes(facts: &NodeFacts, families: &mut Families) {
    let sum = |value: fn(&OutboxTotals) -> &std::sync::atomic::AtomicU64| -> u64 {
        facts.outboxes.iter().map(|totals| value(totals).load(Relaxed)).sum()
    };
    families.gauge("outbox_bytes", "Bytes that wait for readers.", sum(|totals| &totals.queued_bytes) as f64);
    families.gauge("outbox_frames", "Frames that wait for readers.", sum(|totals| &totals.queued_frames) as f64);
    families.counter("outbox_written_frames_total", "Frames written.", sum(|totals| &totals.written_frames));
    families.counter("outbox_written_bytes_total", "Bytes written.", sum(|totals| &totals.written_bytes));
    families.counter("outbox_sheds_total", "Ephemeral frames dropped for slow readers.", sum(|totals| &totals.sheds));
    families.counter("outbox_gaps_total", "Gaps made for slow readers.", sum(|totals| &totals.gaps));
    families.counter("outbox_gapped_events_total", "Events that gaps stand for.", sum(|totals| &totals.gapped_events));
    families.counter(
        "outbox_slow_closes_total",
        "Sockets closed for reading too slowly.",
        sum(|totals| &totals.slow_closes),
    );
    let mut delivered = [0; DELIVERY_BUCKETS_MS.len() + 1];
    for totals in &facts.outboxes {
        delivered.iter_mut().zip(&totals.delivered).for_each(|(sum, count)| *sum += count.load(Relaxed));
    }
    let seconds = sum(|totals| &totals.delivery_ms) as f64 / 1000.0;
    let delivery = histogram(&[], &DELIVERY_BUCKETS_MS, 1e3, &delivered, seconds);
    families.add(
        "delivery_seconds",
        "Time from the moment the owner of the conversation took an event until it was written to a recipient's socket here.",
        MetricType::HISTOGRAM,
        vec![delivery],
    );
}

fn storage(facts: &NodeFacts, families: &mut Families) {
    let node = &facts.node;
    let stores = [("accounts", node.account_metrics.snapshot()), ("messages", node.message_metrics.snapshot())];
    let calls = stores.iter().flat_map(|(store, snapshot)| {
        snapshot.calls.iter().map(|(operation, kept)| {
            let labels = [("store", *store), ("operation", *operation)];
            histogram(&labels, &STORAGE_BUCKETS_US, 1e6, &kept.buckets, kept.sum)
        })
    });
    families.add("storage_seconds", "Time of storage calls.", MetricType::HISTOGRAM, calls.collect());
    let failures = stores.iter().flat_map(|(store, snapshot): &(&str, StorageSnapshot)| {
        snapshot
            .failures
            .iter()
            .map(|(operation, &count)| counter(&[("store", *store), ("operation", operation)], count as f64))
    });
    families.add("storage_failures_total", "Storage calls that failed.", MetricType::COUNTER, failures.collect());
    let Kept { buckets, sum, .. } = &stores[1].1.batch;
    if !buckets.is_empty() {
        let batch = histogram(&[], &BATCH_BUCKETS, 1.0, buckets, *sum);
        families.add("storage_batch_events", "Events per durable write.", MetricType::HISTOGRAM, vec![batch]);
    }
    let breakers =
        [("accounts", &node.account_breaker), ("messages", &node.message_breaker)].map(|(store, gauge_of)| {
            let state = match gauge_of.state() {
                BreakerState::Closed => 0.0,
                BreakerState::HalfOpen => 1.0,
                BreakerState::Open => 2.0,
            };
            gauge(&[("store", store)], state)
        });
    families.add("breaker_state", "0 closed, 1 half open, 2 open.", MetricType::GAUGE, breakers.into());
    let Some(services) = &facts.services else { return };
    let connected = f64::from(u8::from(services.redis_connected()));
    families.gauge("redis_connected", "1 while both connections to Redis stand.", connected);
    let connections = services.postgres_connections();
    let connections = [("open", connections.open), ("idle", connections.idle), ("max", connections.max)];
    families.add(
        "postgres_connections",
        "Connections of this node to Postgres: open, idle of these, and the most there may be.",
        MetricType::GAUGE,
        connections.map(|(state, count)| gauge(&[("state", state)], f64::from(count))).into(),
    );
}

fn auth(facts: &NodeFacts, families: &mut Families) {
    let accounts = &facts.accounts;
    let asked = accounts
        .counts()
        .into_iter()
        .map(|count| counter(&[("operation", count.operation), ("outcome", count.outcome)], count.count as f64));
    families.add(
        "auth_total",
        "What was asked of the accounts, and how it ended.",
        MetricType::COUNTER,
        asked.collect(),
    );
    let waiting = accounts.passwords_waiting() as f64;
    families.gauge("passwords_waiting", "Passwords that wait to be hashed or are being hashed.", waiting);
    let refused = accounts.throttle().refused();
    let refused = refused.iter().map(|&(rate, count)| counter(&[("rate", rate)], count as f64));
    families.add(
        "throttled_total",
        "Logins, registrations and sockets refused for the rate of an address or account.",
        MetricType::COUNTER,
        refused.collect(),
    );
}

fn node(facts: &NodeFacts, families: &mut Families) {
    let node = &facts.node;
    let now_ms = node.runtime.unix_ms();
    families.gauge("conversations_active", "Conversations awake.", node.conversations.len() as f64);
    families.gauge("rooms_active", "Rooms in the list of rooms.", node.board.len(now_ms) as f64);
    families.gauge("draining", "1 while the node is about to stop.", f64::from(u8::from(node.draining())));
    families.gauge("uptime_seconds", "Time since the start.", (now_ms - node.started_at_ms) as f64 / 1000.0);
    let version = gauge(&[("version", node.settings.version)], 1.0);
    families.add("build_info", "Version of the program.", MetricType::GAUGE, vec![version]);
}
