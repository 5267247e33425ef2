//! JSON bodies, read with a limit; fields taken out with errors that name them.

use actix_web::{
    HttpRequest,
    error::PayloadError,
    http::{StatusCode, header},
    web::Payload,
};
use chinwag_schema::error::{ClientError, ErrorCode};
use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::errors::ApiError;

/// Largest body, bytes: a password of 1 KiB, escaped in the longest way, fits several times.
pub const BODY_MAX_BYTES: usize = 16 * 1024;

/// A JSON object from a client.
#[derive(Debug, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body. An empty one counts as `{}`.
    ///
    /// # Errors
    /// 413 beyond 16 KiB, 415 for another content type, 400 for anything but a JSON object, 408 when it comes too slowly.
    pub async fn read(request: &HttpRequest, mut payload: Payload) -> Result<Self, ApiError> {
        check_type(request)?;
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if announced.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > BODY_MAX_BYTES as u64)
        {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(unreadable)?;
            if body.len() + chunk.len() > BODY_MAX_BYTES {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Self::parse(&body)
    }

    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::bad_request("The body must be a JSON object")),
            // Line and column only: serde's own text may repeat what was sent.
            Err(error) => Err(ApiError::bad_request(format!(
                "The body is not valid JSON (line {}, column {})",
                error.line(),
                error.column()
            ))),
        }
    }

    /// Returns a text; `None` when it is missing or null.
    ///
    /// # Errors
    /// 400 naming the field when it is something else.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => {
                Err(ClientError::new(ErrorCode::BadRequest, format!("'{name}' must be a string")).field(name).into())
            }
        }
    }

    /// Returns a text that must be there.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        let missing = || ClientError::new(ErrorCode::BadRequest, format!("'{name}' is required")).field(name);
        Ok(self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(missing)?)
    }

    /// Says whether a field is there, be it null.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn check_type(request: &HttpRequest) -> Result<(), ApiError> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    let error = ClientError::new(ErrorCode::BadRequest, "Content-Type must be application/json").field("Content-Type");
    Err(ApiError::with_status(error, StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

fn too_large() -> ApiError {
    let error = ClientError::new(ErrorCode::TooLarge, "Request body too large").limit(BODY_MAX_BYTES as u64);
    ApiError::with_status(error, StatusCode::PAYLOAD_TOO_LARGE)
}

fn unreadable(error: PayloadError) -> ApiError {
    match error {
        PayloadError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            let error = ClientError::new(ErrorCode::BadRequest, "The body came too slowly");
            ApiError::with_status(error, StatusCode::REQUEST_TIMEOUT)
        }
        PayloadError::Overflow => too_large(),
        _ => ApiError::bad_request("The body could not be read"),
    }
}
