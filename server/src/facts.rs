//! What the node tells of itself: facts for health, numbers for Prometheus.

use std::{
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use chinwag_actors::{
    breaker::{BreakerGauge, BreakerState},
    engine::Node,
    session::outbox::{DELIVERY_BUCKETS_MS, OutboxStats},
};

use crate::{
    auth::Accounts,
    backends::Gauges,
    http::{Facts, HealthFacts, RoomFacts, ServiceState, Serving},
    net::Places,
    ops::prometheus,
};

/// Outbox numbers of one worker thread, copied from its counters once a second.
#[derive(Debug, Default)]
pub struct OutboxTotals {
    pub queued_bytes: AtomicU64,
    pub queued_frames: AtomicU64,
    pub written_frames: AtomicU64,
    pub written_bytes: AtomicU64,
    pub sheds: AtomicU64,
    pub gaps: AtomicU64,
    pub gapped_events: AtomicU64,
    pub slow_closes: AtomicU64,
    /// Events delivered, by time; not cumulative.
    pub delivered: [AtomicU64; DELIVERY_BUCKETS_MS.len() + 1],
    pub delivery_ms: AtomicU64,
}

impl OutboxTotals {
    /// Copies a thread's counters.
    pub fn copy(&self, stats: &Rc<OutboxStats>) {
        let pairs = [
            (&self.queued_bytes, &stats.queued_bytes),
            (&self.queued_frames, &stats.queued_frames),
            (&self.written_frames, &stats.written_frames),
            (&self.written_bytes, &stats.written_bytes),
            (&self.sheds, &stats.sheds),
            (&self.gaps, &stats.gaps),
            (&self.gapped_events, &stats.gapped_events),
            (&self.slow_closes, &stats.slow_closes),
        ];
        for (total, counter) in pairs {
            total.store(counter.get(), Relaxed);
        }
        for (total, count) in self.delivered.iter().zip(stats.delivery.buckets()) {
            total.store(count, Relaxed);
        }
        self.delivery_ms.store(stats.delivery.sum_ms(), Relaxed);
    }
}

/// The facts of a node.
pub struct NodeFacts {
    pub node: Arc<Node>,
    pub accounts: Arc<Accounts>,
    pub outboxes: Vec<Arc<OutboxTotals>>,
    /// Of the services of a cluster; `None`: the store is embedded.
    pub services: Option<Gauges>,
    /// The data directory: its file system must have room.
    pub data: PathBuf,
    /// When the certificate that is served ends, Unix seconds; `None` without TLS.
    pub certificate_ends_s: Option<i64>,
    /// Of all listeners; there once they are.
    pub places: OnceLock<Arc<Places>>,
}

impl NodeFacts {
    /// Returns the state of Redis.
    pub fn redis(&self) -> ServiceState {
        match &self.services {
            None => ServiceState::NotUsed,
            Some(services) if services.redis_connected() => ServiceState::Healthy,
            Some(_) => ServiceState::Open,
        }
    }
}

fn service(gauge: &BreakerGauge) -> ServiceState {
    match gauge.state() {
        BreakerState::Closed => ServiceState::Healthy,
        BreakerState::HalfOpen => ServiceState::HalfOpen,
        BreakerState::Open => ServiceState::Open,
    }
}

impl HealthFacts for NodeFacts {
    fn facts(&self) -> Facts {
        let node = &self.node;
        let now_ms = node.runtime.unix_ms();
        let sum = |counters: &[AtomicU64]| counters.iter().map(|counter| counter.load(Relaxed)).sum();
        let (active, listeners) = node.board.totals(now_ms);
        let (messages, accounts) = (service(&node.message_breaker), service(&node.account_breaker));
        let database = if messages == ServiceState::Healthy { accounts } else { messages };
        Facts {
            serving: if node.draining() { Serving::Draining } else { Serving::Yes },
            uptime: Duration::from_millis(u64::try_from(now_ms - node.started_at_ms).unwrap_or(0)),
            sockets: sum(&node.counters.sockets),
            authenticated: node.counters.authenticated.load(Relaxed),
            rooms: RoomFacts { active: active as u64, listeners },
            database,
            redis: self.redis(),
            stores: self.services.as_ref().map(|_| [("postgres", accounts), ("scylla", messages)]),
            memory_bytes: resident_bytes(),
            unlimited: node.settings.unlimited,
        }
    }

    fn prometheus(&self) -> String {
        prometheus::text(self)
    }
}

/// Returns the resident memory of this process, bytes; 0 where the system doesn't tell.
pub fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * PAGE_BYTES)
}
