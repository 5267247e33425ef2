//! Errors as JSON: `{error, code, field?, limit?, retry_after_ms?}`, with the right status and `Retry-After`.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use chinwag_schema::error::{ClientError, ErrorCode};
use serde_json::json;

use crate::auth::service::texts;

/// An error of a route.
#[derive(Debug)]
pub struct ApiError {
    error: Box<ClientError>,
    status: StatusCode,
}

impl ApiError {
    /// Makes an error whose status isn't the usual one of its code.
    pub fn with_status(error: ClientError, status: StatusCode) -> Self {
        Self { error: Box::new(error), status }
    }

    /// A request that can't be understood.
    pub fn bad_request(text: impl Into<String>) -> Self {
        ClientError::new(ErrorCode::BadRequest, text).into()
    }

    /// No bearer token.
    pub fn no_token() -> Self {
        ClientError::new(ErrorCode::Unauthorized, texts::NO_TOKEN).into()
    }

    /// A bearer token that proves nothing; which reason is nobody's business.
    pub fn invalid_token() -> Self {
        ClientError::new(ErrorCode::Unauthorized, texts::INVALID_TOKEN).into()
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        Self { status: status_of(error.code), error: Box::new(error) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let error = &self.error;
        // The messenger dialect has one text for all defects; what happened is in the log.
        let text = if error.code == ErrorCode::Internal { "Internal server error" } else { &error.message };
        let mut body = json!({ "error": text, "code": error.code });
        if let Some(field) = &error.field {
            body["field"] = json!(field);
        }
        if let Some(limit) = error.limit {
            body["limit"] = json!(limit);
        }
        let mut response = HttpResponse::build(self.status);
        if let Some(ms) = error.retry_after_ms {
            body["retry_after_ms"] = json!(ms);
            response.insert_header((header::RETRY_AFTER, ms.div_ceil(1000).max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response.json(body)
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        // A field that is too long is a bad request; only a whole body that is gets 413.
        ErrorCode::BadRequest
        | ErrorCode::TooLarge
        | ErrorCode::UnknownCursor
        | ErrorCode::BeyondHead
        | ErrorCode::MessageIdExpired
        | ErrorCode::MessageIdAhead
        | ErrorCode::UnsupportedVersion => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden | ErrorCode::EditWindowOver | ErrorCode::Spam => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::AlreadyExists | ErrorCode::AlreadyMember | ErrorCode::MessageIdReused | ErrorCode::LimitReached => {
            StatusCode::CONFLICT
        }
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Draining => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
