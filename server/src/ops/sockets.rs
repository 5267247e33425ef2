//! `GET /admin/sockets`: the sockets of this node with what waits for them, the slow ones first.
//!
//! Each worker looks through its own table, when somebody asks; who is connected is then asked of the few sessions that are shown.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    web::{self, Data, Query, ServiceConfig},
};
use chinwag_actors::{
    engine::Node,
    runtime::Mailbox,
    session::{SessionMessage, outbox::Waiting},
};
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::Slot,
    wire::Dialect,
};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::timeout};

use super::OpsState;
use crate::http::ApiError;

/// Sockets told at once.
const SHOWN_MAX: usize = 200;
/// A session that doesn't answer within this time is told without its user; a worker, without its sockets.
const PATIENCE: Duration = Duration::from_millis(500);
/// Whoever lets an event wait for so long reads slowly.
const LAG_SLOW_MS: i64 = 3_000;
/// So does whoever has this share of its outbox filled.
const FILLED_SLOW: usize = 4;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/admin/sockets", web::get().to(sockets));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sort: Option<Sort>,
    /// How many (default 50, at most 200).
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// Slow ones first, those whose events wait longest before others.
    #[default]
    Lag,
    /// By bytes that wait.
    Outbox,
}

/// What a worker's table says of a socket.
struct Seen {
    slot: Slot,
    dialect: Dialect,
    session: Mailbox<SessionMessage>,
    waiting: Waiting,
    lag_ms: i64,
    slow: Option<&'static str>,
    closing: bool,
}

#[derive(Default)]
struct Look {
    sockets: usize,
    slow: usize,
    waiting_bytes: usize,
    seen: Vec<Seen>,
}

impl Look {
    fn keep(&mut self, sort: Sort, limit: usize) {
        let rank = |seen: &Seen| match sort {
            Sort::Lag => (seen.slow.is_some(), seen.lag_ms, seen.waiting.bytes),
            Sort::Outbox => (false, i64::try_from(seen.waiting.bytes).unwrap_or(i64::MAX), seen.waiting.frames),
        };
        self.seen.sort_by_key(|seen| std::cmp::Reverse(rank(seen)));
        self.seen.truncate(limit);
    }
}

async fn sockets(
    state: Data<OpsState>,
    asked: Result<Query<Asked>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let asked = asked.map_err(|error| ClientError::new(ErrorCode::BadRequest, error.to_string()))?;
    let limit = asked.limit.unwrap_or(50);
    if limit > SHOWN_MAX {
        let error = ClientError::new(ErrorCode::TooLarge, format!("'limit' is at most {SHOWN_MAX}"));
        return Err(error.field("limit").limit(SHOWN_MAX as u64).into());
    }
    let look = look(&state, asked.sort.unwrap_or_default(), limit).await;
    let rows = join_all(look.seen.into_iter().map(row)).await;
    Ok(HttpResponse::Ok().json(json!({
        "sockets": look.sockets,
        "slow": look.slow,
        "outbox_bytes": look.waiting_bytes,
        "shown": rows,
    })))
}

/// Asks all workers at once, each for its first.
async fn look(state: &OpsState, sort: Sort, limit: usize) -> Look {
    let node = &state.node;
    let workers = (0..node.runtime.placement().workers()).map(|worker| {
        let (reply, answer) = oneshot::channel();
        let there = node.clone();
        node.runtime.placement().run_on(worker, move || {
            // Whoever asked may have gone.
            let _ = reply.send(look_here(&there, sort, limit));
        });
        timeout(PATIENCE, answer)
    });
    let mut all = Look::default();
    for look in join_all(workers).await.into_iter().flatten().flatten() {
        all.sockets += look.sockets;
        all.slow += look.slow;
        all.waiting_bytes += look.waiting_bytes;
        all.seen.extend(look.seen);
    }
    all.keep(sort, limit);
    all
}

fn look_here(node: &Node, sort: Sort, limit: usize) -> Look {
    let now_ms = node.runtime.unix_ms();
    let mut look = Look::default();
    node.local_sockets().for_each(|slot, socket| {
        let waiting = socket.outbox.waiting();
        let lag_ms = waiting.oldest_ms.map_or(0, |at_ms| (now_ms - at_ms).max(0));
        let slow = slow(&waiting, lag_ms, socket.outbox.bounds());
        look.sockets += 1;
        look.slow += usize::from(slow.is_some());
        look.waiting_bytes += waiting.bytes;
        // Most wait for nothing, and rank last.
        if waiting.frames == 0 && look.seen.len() >= limit {
            return;
        }
        let (dialect, closing) = (socket.dialect, socket.outbox.is_closing());
        look.seen.push(Seen { slot, dialect, session: socket.session.clone(), waiting, lag_ms, slow, closing });
        // Not the whole table is held: twice what is shown, cut back whenever that is full.
        if look.seen.len() >= 2 * SHOWN_MAX.max(limit) {
            look.keep(sort, limit);
        }
    });
    look.keep(sort, limit);
    look
}

/// Says why a reader counts as slow.
fn slow(waiting: &Waiting, lag_ms: i64, (bytes_max, frames_max): (usize, usize)) -> Option<&'static str> {
    if waiting.gaps > 0 {
        Some("events were left out for it")
    } else if lag_ms >= LAG_SLOW_MS {
        Some("events wait for seconds")
    } else if waiting.bytes > bytes_max / FILLED_SLOW || waiting.frames > frames_max / FILLED_SLOW {
        Some("its outbox fills up")
    } else {
        None
    }
}

async fn row(seen: Seen) -> Value {
    let observed = timeout(PATIENCE, seen.session.observe()).await.ok().and_then(Result::ok).unwrap_or(Value::Null);
    json!({
        "socket": seen.slot.to_string(),
        "worker": seen.slot.worker,
        "dialect": seen.dialect.as_str(),
        "user": observed["user"],
        "user_id": observed["user_id"],
        "guest": observed["guest"],
        "address": observed["address"],
        "opened_at_ms": observed["opened_at_ms"],
        "unread_frames": observed["waiting"],
        "outbox_bytes": seen.waiting.bytes,
        "outbox_frames": seen.waiting.frames,
        "gaps": seen.waiting.gaps,
        "lag_ms": seen.lag_ms,
        "slow": seen.slow,
        "closing": seen.closing,
        "state": observed["state"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_is_known_by_gaps_lag_or_a_full_outbox() {
        let bounds = (1000, 100);
        let waiting = |bytes, frames, gaps| Waiting { bytes, frames, gaps, oldest_ms: None };
        assert_eq!(slow(&waiting(250, 25, 0), 2_999, bounds), None);
        assert!(slow(&waiting(251, 1, 0), 0, bounds).is_some());
        assert!(slow(&waiting(1, 26, 0), 0, bounds).is_some());
        assert!(slow(&waiting(1, 1, 0), 3_000, bounds).is_some());
        assert_eq!(slow(&waiting(1, 1, 1), 0, bounds), Some("events were left out for it"));
    }
}
