//! `GET /admin/actors`: the kinds of actors, and on request the busiest single ones with their observable state.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    web::{self, Data, Query, ServiceConfig},
};
use chinwag_actors::runtime::metrics::KindSnapshot;
use chinwag_schema::error::{ClientError, ErrorCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::OpsState;
use crate::http::ApiError;

/// Single actors told at once.
const BUSIEST_MAX: usize = 100;
/// An actor that doesn't answer within this time is told without its state.
const OBSERVE_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/admin/actors", web::get().to(actors));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Name of a kind, for its busiest single actors.
    kind: Option<String>,
    /// How many of them (default 10, at most 100).
    top: Option<usize>,
}

async fn actors(
    state: Data<OpsState>,
    asked: Result<Query<Asked>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let asked = asked.map_err(|error| ClientError::new(ErrorCode::BadRequest, error.to_string()))?;
    let metrics = state.node.runtime.metrics();
    let kinds: Vec<Value> = metrics.kinds().iter().map(|kind| summary(&kind.snapshot())).collect();
    let Some(name) = &asked.kind else { return Ok(HttpResponse::Ok().json(json!({ "kinds": kinds }))) };
    let Some(kind) = metrics.kind_named(name) else {
        let known: Vec<_> = kinds.iter().filter_map(|kind| kind["kind"].as_str()).collect();
        let text = format!("no actor kind of this name lives here; there are {}", known.join(", "));
        return Err(ClientError::new(ErrorCode::NotFound, text).field("kind").into());
    };
    let top = asked.top.unwrap_or(10);
    if top > BUSIEST_MAX {
        let error = ClientError::new(ErrorCode::TooLarge, format!("'top' is at most {BUSIEST_MAX}"));
        return Err(error.field("top").limit(BUSIEST_MAX as u64).into());
    }
    let mut busiest = Vec::new();
    for actor in kind.busiest(top) {
        let observed = tokio::time::timeout(OBSERVE_TIMEOUT, actor.request_observation()).await;
        let observed = observed.ok().and_then(Result::ok).unwrap_or(Value::Null);
        busiest.push(json!({"mailbox_depth": actor.waiting(), "handled": actor.handled(), "state": observed}));
    }
    Ok(HttpResponse::Ok().json(json!({ "kind": summary(&kind.snapshot()), "busiest": busiest })))
}

/// Returns what is shown of a kind, with totals and estimated percentiles of handler time.
pub(super) fn summary(kind: &KindSnapshot) -> Value {
    let handled: u64 = kind.messages.iter().map(|message| message.handled).sum();
    let handler_s: f64 = kind.messages.iter().map(|message| message.handler_s).sum();
    let messages = kind.messages.iter().filter(|message| message.handled > 0).map(|message| {
        json!({
            "message": message.message,
            "handled": message.handled,
            "handler_s": message.handler_s,
            "p50_us": percentile_us(&message.buckets, 0.5),
            "p99_us": percentile_us(&message.buckets, 0.99),
        })
    });
    json!({
        "kind": kind.kind,
        "live": kind.live,
        "mailbox_bound": kind.mailbox_bound,
        "mailbox_depth": kind.mailbox_depth,
        "mailbox_depth_max": kind.mailbox_depth_max,
        "handled": handled,
        "handler_s": handler_s,
        "refused": kind.refused,
        "restarts": kind.restarts,
        "stopped_by_budget": kind.stopped_by_budget,
        "messages": messages.collect::<Vec<_>>(),
    })
}

/// Returns the upper bound of the bucket in which the percentile lies; `None` without samples or in the last bucket.
fn percentile_us(buckets: &[u64], share: f64) -> Option<u64> {
    let total: u64 = buckets.iter().sum();
    let wanted = (total as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (index, count) in buckets.iter().enumerate() {
        seen += count;
        if total > 0 && seen >= wanted {
            return chinwag_actors::runtime::metrics::BUCKETS_US.get(index).copied();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_bucket_bounds() {
        assert_eq!(percentile_us(&[0, 0], 0.5), None);
        assert_eq!(percentile_us(&[98, 1, 1], 0.5), Some(2));
        assert_eq!(percentile_us(&[98, 1, 1], 0.99), Some(5));
    }
}
