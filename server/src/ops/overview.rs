//! `GET /admin/overview`: the node at a glance.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use actix_web::{
    HttpResponse,
    web::{self, Data, ServiceConfig},
};
use chinwag_actors::{cluster::shards, engine::Node};
use chinwag_schema::wire::Dialect;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{OpsState, admin::observe};
use crate::{
    facts::{NodeFacts, OutboxTotals, resident_bytes},
    http::{HealthFacts as _, Serving},
};

const DIALECTS: [Dialect; Dialect::COUNT] = [Dialect::Native, Dialect::Rooms, Dialect::Messenger, Dialect::Presence];
/// The keeper of shards and the links to other nodes answer within this time, or are left out.
const PATIENCE: Duration = Duration::from_millis(500);
/// Links told at once.
const LINKS_MAX: usize = 64;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/admin/overview", web::get().to(overview));
}

/// Returns the name by which an operator confirms what concerns this node.
pub fn node_name(node: &Node) -> String {
    format!("node {}", node.id.0)
}

async fn overview(state: Data<OpsState>) -> HttpResponse {
    let (node, facts) = (&state.node, state.facts.facts());
    let status = match facts.serving {
        Serving::Yes => "serving",
        Serving::Draining => "draining",
        Serving::No(why) => why,
    };
    let (rooms, listeners) = (facts.rooms.active, facts.rooms.listeners);
    HttpResponse::Ok().json(json!({
        "at_ms": node.runtime.unix_ms(),
        "node": {
            "id": node.id.0,
            "name": node_name(node),
            "incarnation": node.incarnation,
            "version": node.settings.version,
            "started_at_ms": node.started_at_ms,
            "uptime_s": facts.uptime.as_secs(),
            "status": status,
            "workers": node.runtime.placement().workers(),
            "unlimited": facts.unlimited,
            "memory_bytes": resident_bytes(),
        },
        "cluster": cluster(node).await,
        "breakers": breakers(&state.facts),
        "sockets": sockets(node),
        "outbox": outboxes(&state.facts),
        "conversations": {"awake": node.conversations.len(), "rooms": rooms, "listeners": listeners},
        "shedding": shedding(&state.facts),
        "rates": state.history.newest(),
    }))
}

fn sockets(node: &Node) -> Value {
    let counters = &node.counters;
    let by_dialect: Map<String, Value> = DIALECTS
        .iter()
        .map(|&dialect| (dialect.as_str().to_owned(), json!(counters.sockets[dialect as usize].load(Relaxed))))
        .collect();
    let open: u64 = counters.sockets.iter().map(|count| count.load(Relaxed)).sum();
    json!({
        "open": open,
        "authenticated": counters.authenticated.load(Relaxed),
        "users": counters.users.load(Relaxed),
        "by_dialect": by_dialect,
    })
}

fn sum(facts: &NodeFacts, value: fn(&OutboxTotals) -> &std::sync::atomic::AtomicU64) -> u64 {
    facts.outboxes.iter().map(|totals| value(totals).load(Relaxed)).sum()
}

fn outboxes(facts: &NodeFacts) -> Value {
    json!({
        "bytes": sum(facts, |totals| &totals.queued_bytes),
        "frames": sum(facts, |totals| &totals.queued_frames),
        "max_bytes_per_socket": facts.node.settings.outbox_max_bytes,
    })
}

/// What was refused or left out since the start.
fn shedding(facts: &NodeFacts) -> Value {
    let counters = &facts.node.counters;
    let mailboxes: u64 = facts.node.runtime.metrics().kinds().iter().map(|kind| kind.refused_total()).sum();
    json!({
        "mailbox_refused": mailboxes,
        "rate_limited": counters.rate_limited.load(Relaxed),
        "spam": counters.spam.load(Relaxed),
        "malformed": counters.malformed.load(Relaxed),
        "ephemeral_dropped": sum(facts, |totals| &totals.sheds),
        "gaps": sum(facts, |totals| &totals.gaps),
        "events_in_gaps": sum(facts, |totals| &totals.gapped_events),
        "slow_closes": sum(facts, |totals| &totals.slow_closes),
    })
}

fn breakers(facts: &NodeFacts) -> Vec<Value> {
    let node = &facts.node;
    let mut breakers = vec![
        json!({"store": "accounts", "state": node.account_breaker.state().as_str()}),
        json!({"store": "messages", "state": node.message_breaker.state().as_str()}),
    ];
    if let Some(services) = &facts.services {
        let state = if services.redis_connected() { "CLOSED" } else { "OPEN" };
        breakers.push(json!({"store": "redis", "state": state}));
    }
    breakers
}

/// Returns the other nodes, the shards and the leases as this node sees them; null for a lone one.
async fn cluster(node: &Node) -> Value {
    let Some(keeper) = node.keeper.get() else { return Value::Null };
    let keeping = timeout(PATIENCE, keeper.observe()).await.ok().and_then(Result::ok).unwrap_or(Value::Null);
    let mut shards_of = std::collections::BTreeMap::<String, usize>::new();
    for shard in shards::all() {
        let owner = match node.shards.state(shard) {
            shards::ShardState::Ours(_) | shards::ShardState::HandingOver(_) => node.id.0.to_string(),
            shards::ShardState::Anothers(other) => other.0.to_string(),
            shards::ShardState::Nobodys => "nobody".to_owned(),
        };
        *shards_of.entry(owner).or_default() += 1;
    }
    let links = match node.runtime.metrics().kind_named("peer") {
        Some(kind) => {
            let peers = kind.live_actors();
            join_all(peers.iter().take(LINKS_MAX).map(|peer| observe(&**peer))).await
        }
        None => Vec::new(),
    };
    json!({ "keeper": keeping, "shards_of": shards_of, "links": links })
}
