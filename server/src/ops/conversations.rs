//! `GET /admin/conversations`: those awake here, the busiest first; `GET /admin/conversation/{id}`: one, awake or not.
//!
//! Names of rooms and groups, never of the two who chat, and never what is said.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    web::{self, Data, Path, Query, ServiceConfig},
};
use chinwag_actors::{cluster::shards::ShardState, engine::Node, ports::StoreError};
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::ConversationId,
};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{OpsState, admin::observe, rates::Busy};
use crate::http::ApiError;

/// Conversations told at once.
const SHOWN_MAX: usize = 100;
/// The kinds of actors that are conversations.
const KINDS: [&str; 3] = ["room", "group", "direct"];
/// Heads seen longer ago say nothing about now.
const HEADS_KEPT: Duration = Duration::from_secs(30);
/// Looks at a head that follow faster give no rate of their own.
const HEADS_APART: Duration = Duration::from_millis(500);

/// The heads of conversations that were shown lately: the difference is what was written in between. At most those of the shown ones and of
/// half a minute.
#[derive(Default)]
pub struct Heads(Mutex<HashMap<String, Seen>>);

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    head: u64,
    per_s: f64,
}

impl Heads {
    /// Returns the events per second of a conversation with this head; `None` the first time.
    fn rate(&self, id: &str, head: u64, now: Instant) -> Option<f64> {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.retain(|_, seen| now - seen.at < HEADS_KEPT);
        let Some(seen) = heads.get_mut(id) else {
            heads.insert(id.to_owned(), Seen { at: now, head, per_s: f64::NAN });
            return None;
        };
        if now - seen.at >= HEADS_APART {
            let per_s = head.saturating_sub(seen.head) as f64 / (now - seen.at).as_secs_f64();
            *seen = Seen { at: now, head, per_s };
        }
        Some(seen.per_s).filter(|per_s| per_s.is_finite())
    }
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/admin/conversations", web::get().to(conversations));
    config.route("/admin/conversation/{id}", web::get().to(conversation));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// How many (default 20, at most 100).
    limit: Option<usize>,
}

async fn conversations(
    state: Data<OpsState>,
    asked: Result<Query<Asked>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let asked = asked.map_err(|error| ClientError::new(ErrorCode::BadRequest, error.to_string()))?;
    let limit = asked.limit.unwrap_or(20);
    if limit > SHOWN_MAX {
        let error = ClientError::new(ErrorCode::TooLarge, format!("'limit' is at most {SHOWN_MAX}"));
        return Err(error.field("limit").limit(SHOWN_MAX as u64).into());
    }
    let metrics = state.node.runtime.metrics();
    let kinds: Vec<_> = metrics.kinds().into_iter().filter(|kind| KINDS.contains(&kind.name())).collect();
    let looks = kinds.iter().map(|kind| async { (kind.name(), state.rates.busiest(kind, limit).await) });
    let mut busy: Vec<(&str, Busy)> = join_all(looks)
        .await
        .into_iter()
        .flat_map(|(kind, actors)| actors.into_iter().map(move |busy| (kind, busy)))
        .collect();
    busy.sort_by(|(_, a), (_, b)| b.per_s.total_cmp(&a.per_s));
    busy.truncate(limit);
    let rows = join_all(busy.iter().map(|(kind, busy)| row(&state, kind, busy))).await;
    let awake = state.node.conversations.len();
    Ok(HttpResponse::Ok().json(json!({ "awake": awake, "shown": rows })))
}

async fn row(state: &OpsState, kind: &str, busy: &Busy) -> Value {
    let mut row = observe(&*busy.actor).await;
    if !row.is_object() {
        row = json!({});
    }
    row["kind"] = json!(kind);
    row["handled_per_s"] = json!(busy.per_s);
    row["mailbox_depth"] = json!(busy.actor.waiting());
    row["events_per_s"] = json!(events_per_s(state, &row));
    row
}

fn events_per_s(state: &OpsState, observed: &Value) -> Option<f64> {
    let (id, head) = (observed["conversation"].as_str()?, observed["head"].as_u64()?);
    state.heads.rate(id, head, Instant::now())
}

async fn conversation(state: Data<OpsState>, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let bad = |_| ClientError::new(ErrorCode::BadRequest, "'id' is the decimal id of a conversation").field("id");
    let id: ConversationId = id.parse().map_err(bad)?;
    let node = &state.node;
    let unknown = || ClientError::new(ErrorCode::NotFound, "no such conversation").field("id");
    let stored = node.accounts.call("conversation", move |store| async move { store.conversation(id).await }).await;
    let stored = stored.map_err(unreadable)?.ok_or_else(unknown)?;
    let heads = node.messages.call("heads", move |store| async move { store.heads(&[id]).await }).await;
    let head = heads.map_err(unreadable)?.into_iter().next();
    let awake = match node.conversations.awake(id) {
        Some(actor) => {
            let observed = tokio::time::timeout(Duration::from_millis(500), actor.observe()).await;
            observed.ok().and_then(Result::ok).unwrap_or(Value::Null)
        }
        None => Value::Null,
    };
    let events_per_s = events_per_s(&state, &awake);
    Ok(HttpResponse::Ok().json(json!({
        "id": id,
        "kind": stored.kind,
        "name": stored.name,
        "created_at_ms": stored.created_at_ms,
        "shard": id.shard().0,
        "owner": owner(node, id),
        "stored": head.map(|head| json!({
            "head": head.seq,
            "messages": head.messages,
            "oldest_seq": head.oldest_seq,
            "last_at_ms": head.last_at_ms,
        })),
        "events_per_s": events_per_s,
        "awake": awake,
    })))
}

fn owner(node: &Node, id: ConversationId) -> Value {
    match node.shards.state(id.shard()) {
        ShardState::Ours(term) => json!({"node": node.id.0, "here": true, "term": term}),
        ShardState::HandingOver(term) => json!({"node": node.id.0, "here": true, "handing_over": true, "term": term}),
        ShardState::Anothers(other) => json!({"node": other.0, "here": false}),
        ShardState::Nobodys => Value::Null,
    }
}

fn unreadable(error: StoreError) -> ApiError {
    tracing::warn!(%error, "an operator's question could not be answered");
    ClientError::unavailable("storage").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_what_the_head_moved_between_two_looks() {
        let (heads, start) = (Heads::default(), Instant::now());
        assert_eq!(heads.rate("1", 100, start), None);
        assert_eq!(heads.rate("1", 150, start + Duration::from_millis(100)), None, "too soon to tell");
        assert_eq!(heads.rate("1", 300, start + Duration::from_secs(2)), Some(100.0));
        assert_eq!(heads.rate("1", 900, start + Duration::from_millis(2_100)), Some(100.0), "the last known");
        assert_eq!(heads.rate("1", 900, start + Duration::from_secs(60)), None, "forgotten");
        assert_eq!(heads.0.lock().unwrap().len(), 1);
    }
}
