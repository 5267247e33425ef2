//! The request log: one line per answer, with a request id.
//!
//! Only method, path, status and time: a query string may hold `authToken`, a header the bearer token, a body a password.

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
};
use tokio::time::Instant;
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder};

/// Longest path logged, bytes.
const PATH_MAX_BYTES: usize = 256;

/// Makes the span of a request; for `TracingLogger::<PathOnly>`.
pub struct PathOnly;

#[derive(Clone, Copy)]
struct Began(Instant);

impl RootSpanBuilder for PathOnly {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        request.extensions_mut().insert(Began(Instant::now()));
        // The path of the URI is percent-encoded: no control character reaches a terminal.
        let path = request.uri().path();
        let path = path.get(..PATH_MAX_BYTES).unwrap_or(path);
        tracing::info_span!("request", request_id = %id, method = %request.method(), path)
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let (status, began) = match outcome {
            Ok(response) => (response.status(), response.request().extensions().get::<Began>().map(|began| began.0)),
            Err(error) => (error.as_response_error().status_code(), None),
        };
        let took_ms = began.map_or(0.0, |began| began.elapsed().as_secs_f64() * 1000.0);
        if status.is_server_error() {
            tracing::warn!(parent: &span, status = status.as_u16(), took_ms, "answered");
        } else {
            tracing::info!(parent: &span, status = status.as_u16(), took_ms, "answered");
        }
    }
}
