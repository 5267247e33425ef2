//! Around every request: CORS for configured origins, security headers, counting.

use actix_web::{
    Error, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use actix_web::{HttpMessage, ResponseError};
use chinwag_schema::error::{ClientError, ErrorCode};
use tokio::time::Instant;
use tracing_actix_web::RequestId;

use super::{HttpState, errors::ApiError};

/// How long a browser may remember a preflight's answer, seconds.
const PREFLIGHT_MAX_AGE_S: &str = "600";

/// Headers of every answer unless the handler set them: a page sets its own policy.
const SECURITY: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The middleware; needs [`HttpState`] among the application's data.
pub async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let state = request.app_data::<Data<HttpState>>().cloned();
    let allowed = state.as_deref().map_or(&[][..], |state| &state.allowed_origins);
    let origin = configured_origin(request.headers(), allowed);
    let request_id = request.extensions().get::<RequestId>().map(ToString::to_string);
    let mut response = if is_preflight(&request) {
        let answer = preflight(origin.is_some());
        request.into_response(answer)
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    let failed = response.status().is_server_error();
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After, X-Request-Id"));
        headers
            .insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));
    }
    if let Some(state) = state {
        state.stats.record(Instant::now(), began.elapsed(), failed);
    }
    Ok(response)
}

/// Returns the request's origin if it is a configured one.
fn configured_origin(headers: &HeaderMap, allowed: &[String]) -> Option<HeaderValue> {
    let value = headers.get(header::ORIGIN)?;
    let origin = value.to_str().ok()?;
    allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)).then(|| value.clone())
}

fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(allowed: bool) -> HttpResponse {
    if !allowed {
        let error = ClientError::new(ErrorCode::Forbidden, "This origin may not call the API");
        return ApiError::from(error).error_response();
    }
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type"))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_S))
        .finish()
}
