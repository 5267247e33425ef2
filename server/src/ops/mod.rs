//! The operations listener: metrics, administration, health. Operators only.

mod actions;
mod admin;
mod audit;
mod closed_rooms;
mod console;
mod conversations;
mod explain;
mod history;
mod live;
mod notification;
pub mod operator;
mod overview;
pub mod prometheus;
mod rates;
mod sockets;

use std::{
    io,
    sync::{Arc, Mutex},
};

use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    web::{self, Data, ServiceConfig},
};
use chinwag_actors::engine::Node;
use chinwag_schema::error::{ClientError, ErrorCode};
use tokio::{sync::Notify, time::Instant};

use audit::AuditLog;
use conversations::Heads;
use history::History;
use rates::Rates;

use crate::{
    config::{Config, Hidden},
    facts::NodeFacts,
    http::{ApiError, ClientAddr, HealthFacts as _, HttpState, Serving, health::health_body},
};

/// What the operations application needs.
pub struct OpsState {
    pub node: Arc<Node>,
    pub config: Arc<Config>,
    pub facts: Arc<NodeFacts>,
    /// Told when an operator wants the node to stop.
    pub drain: Arc<Notify>,
    audit: Arc<AuditLog>,
    /// Held while the list of closed rooms is written.
    closing: Arc<Mutex<()>>,
    history: History,
    rates: Rates,
    heads: Heads,
}

impl OpsState {
    /// Opens the audit log, closes the rooms that were closed, and begins to take samples, on the calling thread.
    ///
    /// # Errors
    /// When a file in the data directory can't be used.
    pub fn start(node: Arc<Node>, config: Arc<Config>, facts: Arc<NodeFacts>) -> io::Result<Data<Self>> {
        let audit = Arc::new(AuditLog::open(&config.data)?);
        for room in closed_rooms::read(&config.data.join(closed_rooms::FILE))? {
            // The file holds no more than the list.
            let _ = node.closed_rooms.close(room);
        }
        let (drain, closing, history, rates, heads) = Default::default();
        let state = Arc::new(Self { node, config, facts, drain, audit, closing, history, rates, heads });
        actix_rt::spawn(history::run(state.clone()));
        Ok(Data::from(state))
    }
}

/// Says whether a caller is an operator: it has the token, or there is none and it sits on this machine.
pub fn allowed(token: Option<&Hidden>, bearer: Option<&str>, client: ClientAddr) -> bool {
    match (token, bearer) {
        (Some(token), Some(bearer)) => same(token.reveal().as_bytes(), bearer.as_bytes()),
        (Some(_), None) => false,
        (None, _) => client.is_loopback(),
    }
}

/// Compares without telling by its time where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// Adds the routes of an operations listener: the files of the console for anyone, all else for operators only.
pub fn routes(config: &mut ServiceConfig, state: Data<OpsState>) {
    console::routes(config);
    let scope = web::scope("")
        .app_data(state)
        .wrap(from_fn(operators_only))
        .route("/health", web::get().to(health))
        .route("/metrics", web::get().to(metrics))
        .configure(admin::routes)
        .configure(live::routes)
        .configure(notification::routes)
        .configure(overview::routes)
        .configure(history::routes)
        .configure(sockets::routes)
        .configure(conversations::routes)
        .configure(actions::routes)
        .configure(explain::routes)
        .default_service(web::to(not_found));
    config.service(scope);
}

async fn operators_only(
    state: Data<OpsState>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let client = ClientAddr::of(request.request(), &state.config.trusted_proxies);
    if !allowed(state.config.ops_token.as_ref(), bearer, client) {
        let error = ClientError::new(ErrorCode::Unauthorized, "operators only: a bearer token is needed here");
        return Err(ApiError::from(error).into());
    }
    next.call(request).await
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    let text = "not found; there are /console, /health, /metrics, /admin/overview, /admin/actors, /admin/sockets, \
                /admin/conversations, /admin/conversation/{id}, /admin/history, /admin/audit, /admin/explain, /admin/live and \
                /ws/echo here, and what can be done: see /docs/openapi-ops.yaml on the public listener";
    Err(ClientError::new(ErrorCode::NotFound, text).into())
}

async fn health(state: Data<OpsState>, http: Data<HttpState>) -> HttpResponse {
    let facts = state.facts.facts();
    let status = if facts.serving == Serving::Yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = health_body(&facts, http.stats.performance(Instant::now()), state.node.runtime.unix_ms());
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

async fn metrics(state: Data<OpsState>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(state.facts.prometheus())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_have_the_token_or_sit_on_this_machine() {
        let here = ClientAddr::direct("127.0.0.1".parse().unwrap());
        let there = ClientAddr::direct("203.0.113.7".parse().unwrap());
        let token = Hidden::new("0123456789abcdef0123456789abcdef");
        assert!(allowed(None, None, here));
        assert!(!allowed(None, None, there));
        assert!(!allowed(Some(&token), None, here), "with a token, it is always asked for");
        assert!(allowed(Some(&token), Some("0123456789abcdef0123456789abcdef"), there));
        assert!(!allowed(Some(&token), Some("0123456789abcdef0123456789abcdeX"), here));
        assert!(!allowed(Some(&token), Some(""), here));
    }
}
