//! `/health` and `/metrics`: the same facts in the shapes of both frozen dialects.
//!
//! The engine tells [`Facts`]; requests are counted here.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Data, ServiceConfig},
};
use chinwag_schema::error::{ClientError, ErrorCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{HttpState, client_addr::ClientAddr, errors::ApiError, iso_time, stats::Performance};

/// Tells how the node does. Called for every `/health`: must be quick and must not block.
pub trait HealthFacts: Send + Sync {
    /// Returns the facts of this moment.
    fn facts(&self) -> Facts;
    /// Returns all metrics in Prometheus' text format.
    fn prometheus(&self) -> String;
}

/// How the node does.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub serving: Serving,
    pub uptime: Duration,
    /// Sockets of all dialects.
    pub sockets: u64,
    /// Of these, those that proved who they are (or came in as a guest).
    pub authenticated: u64,
    pub rooms: RoomFacts,
    pub database: ServiceState,
    pub redis: ServiceState,
    /// The stores behind `database`, each by the name of its service; `None` when they are one.
    pub stores: Option<[(&'static str, ServiceState); 2]>,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
    /// Rates and spam checks are off.
    pub unlimited: bool,
}

/// Active public rooms.
#[derive(Debug, Clone, Default)]
pub struct RoomFacts {
    pub active: u64,
    /// Listeners in all of them.
    pub listeners: u64,
}

/// Whether the node serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Serving {
    #[default]
    Yes,
    /// It is about to stop and takes no new sockets.
    Draining,
    /// It can't; says why.
    No(&'static str),
}

/// A service that the node depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceState {
    #[default]
    Healthy,
    /// This kind of node doesn't have one.
    NotUsed,
    /// Its circuit breaker is open.
    Open,
    /// Its circuit breaker lets a few calls through.
    HalfOpen,
}

impl ServiceState {
    /// Returns the text of both dialects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::NotUsed => "not used",
            Self::Open => "degraded (OPEN)",
            Self::HalfOpen => "degraded (HALF_OPEN)",
        }
    }

    const fn degraded(self) -> bool {
        matches!(self, Self::Open | Self::HalfOpen)
    }
}

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    // The second as clients of the messenger dialect behind the usual reverse proxy call it.
    let paths = ["/health", "/api/auth/health"];
    config
        .service(web::resource(paths).route(web::get().to(health)).route(web::head().to(health)))
        .service(web::resource("/metrics").route(web::get().to(metrics)));
}

async fn health(state: Data<HttpState>) -> HttpResponse {
    let facts = state.health.facts();
    let status = if facts.serving == Serving::Yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = health_body(&facts, state.stats.performance(Instant::now()), state.clock.unix_ms());
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

async fn metrics(request: HttpRequest, state: Data<HttpState>) -> Result<HttpResponse, ApiError> {
    if !ClientAddr::of(&request, &state.trusted_proxies).is_loopback() {
        let text = "Metrics are told to this machine only; scrape the operations listener";
        return Err(ClientError::new(ErrorCode::Forbidden, text).into());
    }
    if wants_prometheus(&request) {
        return Ok(HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
            .body(state.health.prometheus()));
    }
    let facts = state.health.facts();
    let performance = state.stats.performance(Instant::now());
    Ok(HttpResponse::Ok().json(metrics_body(&facts, performance, state.clock.unix_ms())))
}

/// Prometheus asks for text or OpenMetrics; people and browsers for anything else.
fn wants_prometheus(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let named = |text: &str| text.contains("text/plain") || text.contains("application/openmetrics-text");
    named(accept) || request.query_string().split('&').any(|pair| pair == "format=prometheus")
}

/// Makes the answer of `/health`, exact to both dialects.
pub fn health_body(facts: &Facts, performance: Performance, now_ms: i64) -> Value {
    let degraded = facts.database.degraded() || facts.redis.degraded();
    let (status, message) = match facts.serving {
        Serving::Yes if degraded => ("degraded", "Server is running, some services are degraded"),
        Serving::Yes => ("healthy", "Server is running"),
        Serving::Draining => ("draining", "Server is about to stop"),
        Serving::No(why) => ("unhealthy", why),
    };
    let mut services = json!({ "database": facts.database.as_str(), "redis": facts.redis.as_str() });
    for (name, state) in facts.stores.iter().flatten() {
        services[name] = json!(state.as_str());
    }
    json!({
        "success": facts.serving == Serving::Yes,
        "status": status,
        "message": message,
        "uptime": facts.uptime.as_secs(),
        "uptimeHuman": human(facts.uptime),
        "connections": facts.sockets,
        "timestamp": iso_time(now_ms),
        "services": services,
        "performance": performance_body(performance, facts.memory_bytes),
        "unlimited": facts.unlimited,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Makes the JSON of `/metrics`.
pub fn metrics_body(facts: &Facts, performance: Performance, now_ms: i64) -> Value {
    json!({
        "connections": {
            "total": facts.sockets,
            "authenticated": facts.authenticated,
            "unauthenticated": facts.sockets.saturating_sub(facts.authenticated),
        },
        "rooms": { "total": facts.rooms.active, "listeners": facts.rooms.listeners },
        "uptime": facts.uptime.as_secs(),
        "memory": { "rss": facts.memory_bytes },
        "performance": performance_body(performance, facts.memory_bytes),
        "redis": { "status": facts.redis.as_str() },
        "cache": {},
        "timestamp": iso_time(now_ms),
    })
}

fn performance_body(performance: Performance, memory_bytes: u64) -> Value {
    json!({
        "requestsPerSecond": rounded(performance.requests_per_second),
        "avgLatency": rounded(performance.avg_latency_ms),
        "errorRate": format!("{:.2}%", performance.error_rate * 100.0),
        "memoryUsage": format!("{} MB", memory_bytes / (1024 * 1024)),
    })
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn human(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let seconds = seconds % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, _, _) => format!("{hours}h {minutes}m {seconds}s"),
        _ => format!("{days}d {hours}h {minutes}m {seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Performance = Performance { requests_per_second: 1.234_5, avg_latency_ms: 0.5, error_rate: 0.0 };

    fn facts() -> Facts {
        Facts {
            uptime: Duration::from_secs(90_061),
            sockets: 3,
            authenticated: 2,
            redis: ServiceState::NotUsed,
            memory_bytes: 42 * 1024 * 1024 + 7,
            ..Facts::default()
        }
    }

    #[test]
    fn health_has_the_shape_of_both_dialects() {
        let body = health_body(&facts(), QUIET, 1_753_570_766_123);
        assert_eq!(
            body,
            json!({
                "success": true, "status": "healthy", "message": "Server is running", "uptime": 90_061,
                "uptimeHuman": "1d 1h 1m 1s", "connections": 3, "timestamp": "2025-07-26T22:59:26.123Z",
                "services": {"database": "healthy", "redis": "not used"},
                "performance": {"requestsPerSecond": 1.23, "avgLatency": 0.5, "errorRate": "0.00%", "memoryUsage": "42 MB"},
                "unlimited": false, "version": env!("CARGO_PKG_VERSION"),
            })
        );
    }

    #[test]
    fn degraded_services_say_so() {
        let facts = Facts { database: ServiceState::Open, redis: ServiceState::HalfOpen, ..facts() };
        let body = health_body(&facts, QUIET, 0);
        assert_eq!(body["services"], json!({"database": "degraded (OPEN)", "redis": "degraded (HALF_OPEN)"}));
        assert_eq!((body["status"].as_str(), body["success"].as_bool()), (Some("degraded"), Some(true)));
    }

    #[test]
    fn the_stores_of_a_cluster_are_told_apart() {
        let stores = Some([("postgres", ServiceState::Healthy), ("scylla", ServiceState::Open)]);
        let body = health_body(&Facts { stores, database: ServiceState::Open, ..facts() }, QUIET, 0);
        assert_eq!(
            (&body["services"]["postgres"], &body["services"]["scylla"]),
            (&json!("healthy"), &json!("degraded (OPEN)"))
        );
    }

    #[test]
    fn a_node_that_cannot_serve_says_why() {
        let body = health_body(&Facts { serving: Serving::No("disk full"), ..facts() }, QUIET, 0);
        assert_eq!((body["success"].as_bool(), body["message"].as_str()), (Some(false), Some("disk full")));
    }

    #[test]
    fn metrics_have_the_shape_of_the_rooms_dialect() {
        let body = metrics_body(&facts(), QUIET, 0);
        assert_eq!(body["connections"], json!({"total": 3, "authenticated": 2, "unauthenticated": 1}));
        let mut names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache", "connections", "memory", "performance", "redis", "rooms", "timestamp", "uptime"]);
    }
}
