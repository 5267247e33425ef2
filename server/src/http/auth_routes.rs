//! Accounts over HTTP: the messenger dialect's three routes to the letter, and our own beside them.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Data, Payload, ServiceConfig},
};
use serde_json::{Value, json};

use super::{HttpState, body::Fields, client_addr::ClientAddr, errors::ApiError};
use crate::auth::{Identity, Session, tickets::TICKET_TTL};

type Answer = Result<HttpResponse, ApiError>;

/// Prefixes of the frozen routes: their own, the short one, and both again under `/api/auth`, as clients behind the usual reverse
/// proxy call them.
const PREFIXES: [&str; 4] = ["/api/auth", "/auth", "/api/auth/api/auth", "/api/auth/auth"];

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    for prefix in PREFIXES {
        config
            .service(web::resource(format!("{prefix}/register")).route(web::post().to(register)))
            .service(web::resource(format!("{prefix}/login")).route(web::post().to(login)))
            .service(web::resource(format!("{prefix}/logout")).route(web::post().to(logout)));
    }
    config
        .service(web::resource("/api/auth/refresh").route(web::post().to(refresh)))
        .service(web::resource("/api/auth/password").route(web::post().to(change_password)))
        .service(web::resource("/api/auth/ticket").route(web::post().to(ticket)))
        .service(web::resource("/api/profile").route(web::get().to(profile)).route(web::put().to(set_profile)));
}

/// Returns the bearer token of a request.
pub(super) fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn identify(request: &HttpRequest, state: &HttpState) -> Result<Identity, ApiError> {
    let token = bearer(request).ok_or_else(ApiError::no_token)?;
    state.accounts.verify_token(token).map_err(|_| ApiError::invalid_token())
}

fn client(request: &HttpRequest, state: &HttpState) -> ClientAddr {
    ClientAddr::of(request, &state.trusted_proxies)
}

fn answer(mut response: actix_web::HttpResponseBuilder, body: Value) -> Answer {
    Ok(response.insert_header((header::CACHE_CONTROL, "no-store")).json(body))
}

fn session(state: &HttpState, session: &Session, message: &str) -> Value {
    json!({
        "message": message,
        "token": session.access_token,
        "username": &*session.identity.name,
        "user_id": session.identity.user,
        "refresh_token": session.refresh_token,
        "expires_in": state.accounts.access_ttl_s(),
    })
}

async fn register(request: HttpRequest, state: Data<HttpState>, payload: Payload) -> Answer {
    let fields = Fields::read(&request, payload).await?;
    let (name, password) = (fields.text("username")?.unwrap_or(""), fields.text("password")?.unwrap_or(""));
    let user = state.accounts.register(name, password, client(&request, &state)).await?;
    answer(HttpResponse::Created(), json!({ "message": "User registered successfully", "username": &*user.name }))
}

async fn login(request: HttpRequest, state: Data<HttpState>, payload: Payload) -> Answer {
    let fields = Fields::read(&request, payload).await?;
    let (name, password) = (fields.text("username")?.unwrap_or(""), fields.text("password")?.unwrap_or(""));
    let opened = state.accounts.login(name, password, client(&request, &state)).await?;
    answer(HttpResponse::Ok(), session(&state, &opened, "Login successful"))
}

async fn logout(request: HttpRequest, state: Data<HttpState>) -> Answer {
    let identity = identify(&request, &state)?;
    state.accounts.logout(&identity).await?;
    answer(HttpResponse::Ok(), json!({ "message": "Logout successful" }))
}

async fn refresh(request: HttpRequest, state: Data<HttpState>, payload: Payload) -> Answer {
    let fields = Fields::read(&request, payload).await?;
    let opened = state.accounts.refresh(fields.required("refresh_token")?).await?;
    answer(HttpResponse::Ok(), session(&state, &opened, "Token refreshed"))
}

async fn change_password(request: HttpRequest, state: Data<HttpState>, payload: Payload) -> Answer {
    let identity = identify(&request, &state)?;
    let fields = Fields::read(&request, payload).await?;
    let (current, new) = (fields.required("current_password")?, fields.required("new_password")?);
    let opened = state.accounts.change_password(&identity, current, new, client(&request, &state)).await?;
    answer(HttpResponse::Ok(), session(&state, &opened, "Password changed"))
}

async fn ticket(request: HttpRequest, state: Data<HttpState>) -> Answer {
    let ticket = state.accounts.ticket(&identify(&request, &state)?)?;
    answer(HttpResponse::Ok(), json!({ "ticket": ticket, "expires_in_ms": TICKET_TTL.as_millis() }))
}

async fn profile(request: HttpRequest, state: Data<HttpState>) -> Answer {
    let identity = identify(&request, &state)?;
    let user = state.accounts.profile(identity.user).await?;
    answer(HttpResponse::Ok(), shown(&user))
}

async fn set_profile(request: HttpRequest, state: Data<HttpState>, payload: Payload) -> Answer {
    let identity = identify(&request, &state)?;
    let fields = Fields::read(&request, payload).await?;
    if !fields.has("display_name") {
        fields.required("display_name")?;
    }
    let user = state.accounts.set_display_name(identity.user, fields.text("display_name")?).await?;
    answer(HttpResponse::Ok(), shown(&user))
}

fn shown(user: &chinwag_schema::model::User) -> Value {
    json!({
        "user_id": user.id,
        "username": &*user.name,
        "display_name": user.display_name,
        "created_at_ms": user.created_at_ms,
        "last_seen_ms": user.last_seen_ms,
    })
}
