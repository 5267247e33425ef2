//! Who acts, and whether it really is an operator's own wish: not a page's that a browser on this machine shows.
//!
//! Looking needs no more than `operators_only` asks. Acting also needs what no other page can send without a preflight, which is
//! never answered: a JSON body, and a header of our own. With a token a browser sends nothing by itself, but the rules are the same.

use actix_web::{
    HttpRequest,
    http::{StatusCode, header},
    web::Payload,
};
use chinwag_schema::error::{ClientError, ErrorCode};
use sha2::{Digest as _, Sha256};

use crate::{
    config::Config,
    hex,
    http::{ApiError, ClientAddr, body::Fields},
    ws::handshake::{self, SameHost},
};

/// The header that says that a request is an operator's.
pub const HEADER: &str = "x-chinwag-operator";

/// Bytes of a token's hash that name it in the audit log: enough to tell tokens apart, too few to find one.
const FINGERPRINT_BYTES: usize = 4;

/// Who asked for an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// `token 1a2b3c4d` (the beginning of its SHA-256), or `this machine` where no token is set.
    pub by: String,
    pub address: String,
}

impl Operator {
    /// Names whoever sent a request that `operators_only` let through.
    pub fn of(request: &HttpRequest, config: &Config) -> Self {
        let by = match &config.ops_token {
            Some(token) => {
                let hash = Sha256::digest(token.reveal().as_bytes());
                format!("token {}", hex::encode(&hash[..FINGERPRINT_BYTES]))
            }
            None => "this machine".to_owned(),
        };
        Self { by, address: ClientAddr::of(request, &config.trusted_proxies).ip().to_string() }
    }
}

/// Reads the fields of an action.
///
/// # Errors
/// 403 for another page's request, or one without [`HEADER`]; 415 unless the body says that it is JSON; else as [`Fields::read`].
pub async fn read_action(request: &HttpRequest, payload: Payload) -> Result<Fields, ApiError> {
    let headers = request.headers();
    let forbidden = |text: &str| ApiError::from(ClientError::new(ErrorCode::Forbidden, text));
    if !handshake::origin_allowed(headers, &[], SameHost::Allowed) {
        return Err(forbidden("not for pages of another origin"));
    }
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(forbidden("not for pages of another origin"));
    }
    if headers.get(HEADER).is_none_or(|value| value.is_empty()) {
        return Err(forbidden("the header 'X-Chinwag-Operator' is needed here, with any value"));
    }
    if !headers.contains_key(header::CONTENT_TYPE) {
        let error = ClientError::new(ErrorCode::BadRequest, "Content-Type must be application/json");
        return Err(ApiError::with_status(error.field("Content-Type"), StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Fields::read(request, payload).await
}

/// Checks that `confirm` repeats the target's name: nothing is done by a slip, or to another target than the one looked at.
///
/// # Errors
/// 400 naming the field.
pub fn confirmed(fields: &Fields, target: &str) -> Result<(), ApiError> {
    if fields.required("confirm")? == target {
        return Ok(());
    }
    let text = "'confirm' must repeat the name of the target exactly";
    Err(ClientError::new(ErrorCode::BadRequest, text).field("confirm").into())
}

#[cfg(test)]
mod tests {
    use actix_web::{FromRequest as _, ResponseError as _, test::TestRequest};

    use super::*;

    async fn read(headers: &[(&str, &str)], body: &'static str) -> Result<Fields, StatusCode> {
        let mut request = TestRequest::post().set_payload(body);
        for &header in headers {
            request = request.append_header(header);
        }
        let (request, mut payload) = request.to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        read_action(&request, payload).await.map_err(|error| error.status_code())
    }

    const OURS: [(&str, &str); 3] =
        [("host", "127.0.0.1:9600"), ("content-type", "application/json"), (HEADER, "console")];

    fn and(header: (&'static str, &'static str)) -> Vec<(&'static str, &'static str)> {
        OURS.into_iter().chain([header]).collect()
    }

    #[actix_web::test]
    async fn what_only_our_own_page_or_a_program_can_send_is_taken() {
        assert!(read(&OURS, "{}").await.is_ok());
        assert!(read(&and(("origin", "http://127.0.0.1:9600")), "{}").await.is_ok());
        assert!(read(&and(("sec-fetch-site", "same-origin")), "{}").await.is_ok());
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:4000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(read(&and(foreign), "{}").await.err(), Some(StatusCode::FORBIDDEN), "{foreign:?}");
        }
        assert_eq!(read(&OURS[..2], "{}").await.err(), Some(StatusCode::FORBIDDEN), "a form can't send our header");
        let untyped = [OURS[0], OURS[2]];
        assert_eq!(read(&untyped, "{}").await.err(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        let form = [OURS[0], OURS[2], ("content-type", "text/plain")];
        assert_eq!(read(&form, "{}").await.err(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }

    #[actix_web::test]
    async fn a_target_is_confirmed_by_its_exact_name() {
        let fields = read(&OURS, r#"{"confirm":"ann"}"#).await.unwrap();
        assert!(confirmed(&fields, "ann").is_ok());
        assert!(confirmed(&fields, "Ann").is_err());
        assert!(confirmed(&read(&OURS, "{}").await.unwrap(), "").is_err());
    }
}
