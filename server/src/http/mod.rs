//! HTTP: the REST API beside the sockets.
//!
//! [`app`] is the actix-web application of every listener of kind `http`: accounts ([`auth_routes`]), health, errors as JSON, CORS,
//! security headers, request log. Pages and other routes are added by the caller. Sockets never come here.

mod auth_routes;
pub mod body;
pub mod client_addr;
pub mod docs;
mod embedded;
pub mod errors;
mod guard;
pub mod health;
pub mod page;
pub mod request_log;
pub mod stats;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use actix_web::{
    App, Error, HttpResponse,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::from_fn,
    web::{self, Data, ServiceConfig},
};
use chinwag_actors::runtime::Clock;
use chinwag_schema::error::{ClientError, ErrorCode};
use ipnet::IpNet;
use tracing_actix_web::TracingLogger;

pub use client_addr::ClientAddr;
pub use errors::ApiError;
pub use health::{Facts, HealthFacts, RoomFacts, ServiceState, Serving};
pub use stats::RequestStats;

use crate::auth::Accounts;

/// What the routes need.
pub struct HttpState {
    pub accounts: Arc<Accounts>,
    pub health: Arc<dyn HealthFacts>,
    pub clock: Arc<dyn Clock>,
    pub stats: RequestStats,
    pub trusted_proxies: Vec<IpNet>,
    pub allowed_origins: Vec<String>,
}

/// Makes the application: our routes, then `extra` ones (pages), then 404 as JSON.
pub fn app(
    state: Data<HttpState>,
    extra: impl FnOnce(&mut ServiceConfig),
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    bare(state, |config| {
        routes(config);
        extra(config);
    })
}

/// Makes an application with these routes only, and what all share: errors as JSON, headers, CORS, request log.
pub fn bare(
    state: Data<HttpState>,
    configure: impl FnOnce(&mut ServiceConfig),
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(state)
        .configure(configure)
        .default_service(web::to(not_found))
        .wrap(from_fn(guard::guard))
        .wrap(TracingLogger::<request_log::PathOnly>::new())
}

/// Adds the routes of accounts and health. Needs [`HttpState`] among the application's data.
pub fn routes(config: &mut ServiceConfig) {
    auth_routes::routes(config);
    health::routes(config);
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ClientError::new(ErrorCode::NotFound, "Not found").into())
}

/// Writes a time as ISO 8601, UTC, milliseconds.
pub(crate) fn iso_time(unix_ms: i64) -> String {
    chinwag_schema::wire::time::Iso(unix_ms).to_string()
}
