//! Replies: a result, or an error that says whether a retry can help.

use serde::Serialize;

use crate::{
    error::{ClientError, ErrorCode},
    wire::json,
};

#[derive(Serialize)]
struct Success<'a, T> {
    id: &'a str,
    result: &'a T,
}

#[derive(Serialize)]
struct Failure<'a> {
    id: Option<&'a str>,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: ErrorCode,
    message: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

/// Answers a request. `result` is one of this module's result structs ([`super::Empty`] where nothing is to say).
pub fn reply_ok<T: Serialize>(id: &str, result: &T) -> Vec<u8> {
    json::write(&Success { id, result })
}

/// Refuses a request; without an id (`"id":null`) a frame that was too broken to have one.
pub fn reply_error(id: Option<&str>, error: &ClientError) -> Vec<u8> {
    let ClientError { code, message, field, limit, retry_after_ms } = error;
    json::write(&Failure {
        id,
        error: ErrorBody {
            code: *code,
            message,
            retryable: code.retryable(),
            retry_after_ms: *retry_after_ms,
            field: field.as_deref(),
            limit: *limit,
        },
    })
}
