//! `GET /admin/actors`: the kinds of actors, and on request the busiest single ones with their observable state.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    web::{self, Data, Query, ServiceConfig},
};
use chinwag_actors::runtime::{
    mailbox::Inspect,
    metrics::{BUCKETS_US, KindSnapshot},
};
use chinwag_schema::error::{ClientError, ErrorCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    OpsState,
    rates::{BUSIEST_MAX, Busy},
};
use crate::http::ApiError;

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
    let Some(name) = &asked.kind else {
        return Ok(HttpResponse::Ok().json(json!({ "kinds": kinds, "buckets_us": BUCKETS_US })));
    };
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
    for Busy { actor, per_s } in state.rates.busiest(&kind, top).await {
        let state = observe(&*actor).await;
        let (waiting, handled) = (actor.waiting(), actor.handled());
        busiest.push(json!({"mailbox_depth": waiting, "handled": handled, "handled_per_s": per_s, "state": state}));
    }
    Ok(HttpResponse::Ok().json(json!({ "kind": summary(&kind.snapshot()), "busiest": busiest })))
}

/// Asks an actor for its state; null when it doesn't answer in time.
pub(super) async fn observe(actor: &dyn Inspect) -> Value {
    let observed = tokio::time::timeout(OBSERVE_TIMEOUT, actor.request_observation()).await;
    observed.ok().and_then(Result::ok).unwrap_or(Value::Null)
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
    let mut buckets = vec![0; BUCKETS_US.len() + 1];
    for message in &kind.messages {
        buckets.iter_mut().zip(&message.buckets).for_each(|(sum, count)| *sum += count);
    }
    json!({
        "kind": kind.kind,
        "buckets": buckets,
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
            return BUCKETS_US.get(index).copied();
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
