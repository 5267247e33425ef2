//! Every route through the whole application: exact answers, refusals, and that a refusal stores nothing.

use std::{net::SocketAddr, sync::Arc};

use actix_http::Request;
use actix_web::{
    Error,
    body::MessageBody,
    dev::{Service, ServiceResponse},
    http::{Method, StatusCode, header},
    test::{self, TestRequest},
    web::Data,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    auth::service::testing::Fixture,
    config::{Config, units},
};

struct FixedFacts;

impl HealthFacts for FixedFacts {
    fn facts(&self) -> Facts {
        Facts { sockets: 3, authenticated: 2, redis: ServiceState::NotUsed, ..Facts::default() }
    }

    fn prometheus(&self) -> String {
        "# TYPE chinwag_sockets gauge\nchinwag_sockets 3\n".into()
    }
}

/// An answer, read.
struct Answer {
    status: StatusCode,
    headers: header::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns status and body.
    fn told(&self) -> (u16, Value) {
        (self.status.as_u16(), self.json())
    }
}

async fn fixture() -> (Fixture, impl Service<Request, Response = ServiceResponse<impl MessageBody>, Error = Error>) {
    fixture_with(|_| {}).await
}

async fn fixture_with(
    change: impl FnOnce(&mut Config),
) -> (Fixture, impl Service<Request, Response = ServiceResponse<impl MessageBody>, Error = Error>) {
    let fixture = Fixture::with(change).await;
    let state = Data::new(HttpState {
        accounts: fixture.accounts.clone(),
        health: Arc::new(FixedFacts),
        clock: fixture.clock.clone(),
        stats: RequestStats::new(Instant::now()),
        trusted_proxies: fixture.config.trusted_proxies.clone(),
        allowed_origins: fixture.config.allowed_origins.clone(),
    });
    (fixture, test::init_service(app(state, |_| {})).await)
}

async fn send<B: MessageBody>(
    app: &impl Service<Request, Response = ServiceResponse<B>, Error = Error>,
    request: TestRequest,
) -> Answer {
    let response = test::call_service(app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    Answer { status, headers, text }
}

fn from(request: TestRequest, address: &str) -> TestRequest {
    request.peer_addr(SocketAddr::new(address.parse().unwrap(), 1))
}

fn post(path: &str, body: Value) -> TestRequest {
    from(TestRequest::post().uri(path).set_json(body), "192.0.2.1")
}

fn bearer(request: TestRequest, token: &str) -> TestRequest {
    request.insert_header((header::AUTHORIZATION, format!("Bearer {token}")))
}

fn ann() -> Value {
    json!({"username": "ann", "password": "secret1"})
}

#[actix_rt::test]
async fn the_frozen_routes_answer_to_the_letter_under_all_prefixes() {
    for prefix in ["/api/auth", "/auth", "/api/auth/api/auth", "/api/auth/auth"] {
        let (_fixture, app) = fixture().await;
        let path = |name: &str| format!("{prefix}/{name}");
        let registered = send(&app, post(&path("register"), json!({"username": " ann ", "password": "secret1"}))).await;
        assert_eq!(registered.told(), (201, json!({"message": "User registered successfully", "username": "ann"})));
        let again = send(&app, post(&path("register"), ann())).await;
        assert_eq!((again.status.as_u16(), again.json()["error"].clone()), (409, json!("Username already exists")));

        let login = send(&app, post(&path("login"), ann())).await;
        let body = login.json();
        assert_eq!(
            (login.status.as_u16(), &body["message"], &body["username"]),
            (200, &json!("Login successful"), &json!("ann"))
        );
        assert_eq!(body["expires_in"], json!(7 * 86_400));
        assert!(body["refresh_token"].is_string());
        assert_eq!(login.header("cache-control"), "no-store");
        let token = body["token"].as_str().unwrap();

        let logout = send(&app, bearer(post(&path("logout"), json!({})), token)).await;
        assert_eq!(logout.told(), (200, json!({"message": "Logout successful"})));
        let again = send(&app, bearer(post(&path("logout"), json!({})), token)).await;
        assert_eq!((again.status.as_u16(), again.json()["error"].clone()), (401, json!("Invalid token")));
    }
}

#[actix_rt::test]
async fn refusals_have_their_exact_texts_and_store_nothing() {
    let (fixture, app) = fixture().await;
    let cases = [
        (json!({}), 400, "Username and password are required"),
        (json!({"username": "ann"}), 400, "Username and password are required"),
        (json!({"password": "secret1"}), 400, "Username and password are required"),
        (json!({"username": "  ", "password": "secret1"}), 400, "Username and password are required"),
        (json!({"username": null, "password": "secret1"}), 400, "Username and password are required"),
        (json!({"username": "an", "password": "secret1"}), 400, "Username must be at least 3 characters long"),
        (json!({"username": " an ", "password": "secret1"}), 400, "Username must be at least 3 characters long"),
        (json!({"username": "ann", "password": "12345"}), 400, "Password must be at least 6 characters long"),
        (json!({"username": "ann", "password": "x".repeat(1025)}), 400, "Password must be at most 1024 bytes long"),
        (
            json!({"username": "a".repeat(65), "password": "secret1"}),
            400,
            "Name must have 3 to 64 characters, none of them a control character",
        ),
        (
            json!({"username": "a\u{0}nn", "password": "secret1"}),
            400,
            "Name must have 3 to 64 characters, none of them a control character",
        ),
        (json!({"username": 12345, "password": "secret1"}), 400, "'username' must be a string"),
        (json!({"username": ["ann"], "password": "secret1"}), 400, "'username' must be a string"),
        (json!({"username": "ann", "password": {"$ne": ""}}), 400, "'password' must be a string"),
    ];
    for (body, status, text) in cases {
        let answer = send(&app, post("/api/auth/register", body.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (status, Some(text)), "{body}");
        assert!(answer.json()["field"].is_string(), "{body} names its field");
    }
    assert_eq!(fixture.user_names().await, Vec::<String>::new());
}

#[actix_rt::test]
async fn malformed_oversized_and_mistyped_bodies_are_refused_on_every_route() {
    let (fixture, app) = fixture().await;
    send(&app, post("/api/auth/register", ann())).await;
    let token = fixture.login("ann", "secret1").await.unwrap().access_token;
    let routes = [
        (Method::POST, "/api/auth/register"),
        (Method::POST, "/api/auth/login"),
        (Method::POST, "/api/auth/refresh"),
        (Method::POST, "/api/auth/password"),
        (Method::PUT, "/api/profile"),
    ];
    let deep = format!("{{\"username\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
    let huge = format!("{{\"username\":\"{}\"}}", "x".repeat(body::BODY_MAX_BYTES));
    for (method, path) in routes {
        let request = |kind: &str, text: &str| {
            let request = TestRequest::default().method(method.clone()).uri(path);
            let request = request.insert_header((header::CONTENT_TYPE, kind.to_owned())).set_payload(text.to_owned());
            bearer(from(request, "192.0.2.1"), &token)
        };
        for (kind, text, status, error) in [
            ("application/json", "{", 400, "The body is not valid JSON (line 1, column 1)"),
            ("application/json; charset=utf-8", "nonsense", 400, "The body is not valid JSON (line 1, column 2)"),
            ("application/json", "[]", 400, "The body must be a JSON object"),
            ("application/json", "\"text\"", 400, "The body must be a JSON object"),
            ("application/json", "{\"username\": \"\\ud800\"}", 400, "The body is not valid JSON"),
            ("application/json", &deep, 400, "The body is not valid JSON"),
            ("application/json", &huge, 413, "Request body too large"),
            ("text/plain", "{}", 415, "Content-Type must be application/json"),
            ("application/x-www-form-urlencoded", "username=ann", 415, "Content-Type must be application/json"),
        ] {
            let answer = send(&app, request(kind, text)).await;
            let told = answer.json();
            assert_eq!(answer.status.as_u16(), status, "{path} {kind} {text:.40}: {told}");
            assert!(told["error"].as_str().unwrap().starts_with(error), "{path} {kind} {text:.40}: {told}");
        }
        let answer = send(&app, request("application/json", &huge)).await;
        assert_eq!(answer.json()["limit"], json!(body::BODY_MAX_BYTES));
        let invalid_utf8 =
            TestRequest::default().method(method.clone()).uri(path).set_payload(&b"{\"username\":\"\xff\"}"[..]);
        assert_eq!(send(&app, bearer(from(invalid_utf8, "192.0.2.1"), &token)).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(fixture.user_names().await, ["ann"]);
    assert_eq!(fixture.store.user_by_name("ann").await.unwrap().unwrap().display_name, None);
}

#[actix_rt::test]
async fn known_and_unknown_users_get_the_same_refusal() {
    let (_fixture, app) = fixture().await;
    send(&app, post("/api/auth/register", ann())).await;
    let login = |name: &str| post("/api/auth/login", json!({"username": name, "password": "wrong-one"}));
    let (known, unknown) = (send(&app, login("ann")).await, send(&app, login("nobody")).await);
    assert_eq!(known.told(), (401, json!({"error": "Invalid username or password", "code": "unauthorized"})));
    assert_eq!(known.told(), unknown.told());
    let names = |answer: &Answer| {
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&known), names(&unknown));
    let missing = send(&app, post("/api/auth/login", json!({"username": "ann"}))).await;
    assert_eq!(
        (missing.status.as_u16(), missing.json()["error"].as_str()),
        (400, Some("Username and password are required"))
    );
}

#[actix_rt::test]
async fn guessing_gets_429_with_the_time_to_wait() {
    let (_fixture, app) = fixture().await;
    let guess = || post("/api/auth/login", json!({"username": "ann", "password": "wrong-one"}));
    for _ in 0..10 {
        assert_eq!(send(&app, guess()).await.status, StatusCode::UNAUTHORIZED);
    }
    let refused = send(&app, guess()).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "60"));
    assert_eq!(
        refused.json(),
        json!({"error": "Too many attempts, retry in 60 s", "code": "rate_limited", "retry_after_ms": 60_000})
    );
}

#[actix_rt::test]
async fn registrations_are_limited_by_address_and_forwarding_headers_do_not_help() {
    let (fixture, app) = fixture_with(|config| config.rates.registration = units::rate("1/h").unwrap()).await;
    let register = |name: &str| post("/api/auth/register", json!({"username": name, "password": "secret1"}));
    assert_eq!(send(&app, register("one")).await.status, StatusCode::CREATED);
    let forwarded = register("two").insert_header(("x-forwarded-for", "198.51.100.7"));
    let refused = send(&app, forwarded).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "3600"));
    assert_eq!(fixture.user_names().await, ["one"]);
}

#[actix_rt::test]
async fn trusted_proxies_tell_who_registers() {
    let change = |config: &mut Config| {
        config.rates.registration = units::rate("1/h").unwrap();
        config.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    };
    let (_fixture, app) = fixture_with(change).await;
    let register = |name: &str, client: &str| {
        post("/api/auth/register", json!({"username": name, "password": "secret1"}))
            .insert_header(("x-forwarded-for", client.to_owned()))
    };
    assert_eq!(send(&app, register("one", "198.51.100.7")).await.status, StatusCode::CREATED);
    assert_eq!(send(&app, register("two", "198.51.100.8")).await.status, StatusCode::CREATED);
    assert_eq!(send(&app, register("three", "198.51.100.7")).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[actix_rt::test]
async fn protected_routes_need_a_good_token() {
    let (_fixture, app) = fixture().await;
    for (method, path) in [
        (Method::POST, "/api/auth/logout"),
        (Method::POST, "/api/auth/password"),
        (Method::POST, "/api/auth/ticket"),
        (Method::GET, "/api/profile"),
        (Method::PUT, "/api/profile"),
    ] {
        let request = || from(TestRequest::default().method(method.clone()).uri(path), "192.0.2.1");
        let none = send(&app, request()).await;
        assert_eq!(none.told(), (401, json!({"error": "No token provided", "code": "unauthorized"})), "{path}");
        assert_eq!(none.header("www-authenticate"), "Bearer");
        for value in ["Bearer", "Bearer ", "Basic YW5uOnNlY3JldDE=", "x"] {
            let answer = send(&app, request().insert_header((header::AUTHORIZATION, value))).await;
            assert_eq!(answer.json()["error"], json!("No token provided"), "{path} {value}");
        }
        let bad = send(&app, bearer(request(), "a.b.c")).await;
        assert_eq!(bad.told(), (401, json!({"error": "Invalid token", "code": "unauthorized"})), "{path}");
        let in_query = TestRequest::default().method(method.clone()).uri(&format!("{path}?authToken=a.b.c"));
        assert_eq!(send(&app, in_query).await.json()["error"], json!("No token provided"), "{path}");
    }
}

#[actix_rt::test]
async fn tokens_are_refreshed_once() {
    let (fixture, app) = fixture().await;
    fixture.register("ann", "secret1").await;
    let old = fixture.login("ann", "secret1").await.unwrap().refresh_token;
    let answer = send(&app, post("/api/auth/refresh", json!({"refresh_token": old}))).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["username"]), (200, &json!("ann")));
    assert_ne!(answer.json()["refresh_token"], json!(old));
    let again = send(&app, post("/api/auth/refresh", json!({"refresh_token": old}))).await;
    let invalid = json!({"error": "Invalid refresh token", "code": "unauthorized", "field": "refresh_token"});
    assert_eq!(again.told(), (401, invalid));
    let missing = send(&app, post("/api/auth/refresh", json!({}))).await;
    assert_eq!((missing.status.as_u16(), &missing.json()["field"]), (400, &json!("refresh_token")));
}

#[actix_rt::test]
async fn a_password_is_changed_by_who_knows_it() {
    let (fixture, app) = fixture().await;
    fixture.register("ann", "secret1").await;
    let token = fixture.login("ann", "secret1").await.unwrap().access_token;
    let change = |current: &str, new: &str| {
        bearer(post("/api/auth/password", json!({"current_password": current, "new_password": new})), &token)
    };
    let wrong = send(&app, change("wrong-one", "secret2")).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["field"]), (403, &json!("current_password")));
    assert_eq!(send(&app, change("secret1", "short")).await.json()["field"], json!("new_password"));
    assert_eq!(send(&app, change("secret1", "")).await.json()["error"], json!("'new_password' is required"));
    assert!(fixture.login("ann", "secret1").await.is_ok(), "nothing was changed");
    let changed = send(&app, change("secret1", "secret2")).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["message"]), (200, &json!("Password changed")));
    assert_eq!(send(&app, change("secret2", "secret3")).await.json()["error"], json!("Invalid token"), "the old token");
    assert!(fixture.login("ann", "secret2").await.is_ok());
}

#[actix_rt::test]
async fn tickets_are_issued_to_the_tokens_owner() {
    let (fixture, app) = fixture().await;
    let id = fixture.register("ann", "secret1").await;
    let token = fixture.login("ann", "secret1").await.unwrap().access_token;
    let answer = send(&app, bearer(post("/api/auth/ticket", json!({})), &token)).await;
    assert_eq!(answer.json()["expires_in_ms"], json!(30_000));
    let identity = fixture.accounts.spend_ticket(answer.json()["ticket"].as_str().unwrap()).unwrap();
    assert_eq!(identity.user, id);
}

#[actix_rt::test]
async fn profiles_show_and_set_the_display_name() {
    let (fixture, app) = fixture().await;
    let id = fixture.register("ann", "secret1").await;
    let token = fixture.login("ann", "secret1").await.unwrap().access_token;
    let put = |body: Value| bearer(TestRequest::put().uri("/api/profile").set_json(body), &token);
    let get = || bearer(TestRequest::get().uri("/api/profile"), &token);
    let first = send(&app, get()).await.json();
    assert_eq!(
        (&first["user_id"], &first["username"], &first["display_name"]),
        (&json!(id.to_string()), &json!("ann"), &json!(null))
    );
    let set = send(&app, put(json!({"display_name": "  Ann <b>X</b> "}))).await;
    assert_eq!((set.status.as_u16(), &set.json()["display_name"]), (200, &json!("Ann <b>X</b>")));
    for bad in [
        json!({}),
        json!({"display_name": ""}),
        json!({"display_name": "x".repeat(65)}),
        json!({"display_name": 7}),
        json!({"display_name": "a\nb"}),
    ] {
        let answer = send(&app, put(bad.clone())).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["field"]), (400, &json!("display_name")), "{bad}");
    }
    assert_eq!(send(&app, get()).await.json()["display_name"], json!("Ann <b>X</b>"), "refusals store nothing");
    send(&app, put(json!({"display_name": null}))).await;
    assert_eq!(send(&app, get()).await.json()["display_name"], json!(null));
}

#[actix_rt::test]
async fn health_and_metrics_tell_their_facts() {
    let (_fixture, app) = fixture().await;
    let health = send(&app, TestRequest::get().uri("/health")).await;
    let proxied = send(&app, TestRequest::get().uri("/api/auth/health")).await;
    assert_eq!((proxied.status, &proxied.json()["message"]), (health.status, &health.json()["message"]));
    let body = health.json();
    assert_eq!((health.status.as_u16(), &body["success"], &body["connections"]), (200, &json!(true), &json!(3)));
    assert_eq!(body["services"]["redis"], json!("not used"));
    let metrics = |address: &str| from(TestRequest::get().uri("/metrics"), address);
    let local = send(&app, metrics("127.0.0.1")).await;
    assert_eq!(local.json()["connections"], json!({"total": 3, "authenticated": 2, "unauthenticated": 1}));
    let text = send(&app, metrics("::1").insert_header((header::ACCEPT, "text/plain;version=0.0.4"))).await;
    assert!(text.text.contains("chinwag_sockets 3") && text.header("content-type").starts_with("text/plain"));
    for remote in [metrics("192.0.2.1"), metrics("127.0.0.1").insert_header(("x-forwarded-for", "127.0.0.1"))] {
        assert_eq!(send(&app, remote).await.status, StatusCode::FORBIDDEN);
    }
}

#[actix_rt::test]
async fn only_configured_origins_get_cors() {
    let (_fixture, app) = fixture_with(|config| config.allowed_origins = vec!["https://chat.example".into()]).await;
    let get = |origin: &'static str| TestRequest::get().uri("/health").insert_header((header::ORIGIN, origin));
    let allowed = send(&app, get("https://chat.example")).await;
    assert_eq!(allowed.header("access-control-allow-origin"), "https://chat.example");
    for foreign in ["https://evil.example", "null", "https://chat.example.evil.example", "http://chat.example"] {
        let answer = send(&app, get(foreign)).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, ""), "{foreign}");
    }
    let preflight = |origin: &'static str| {
        TestRequest::default()
            .method(Method::OPTIONS)
            .uri("/api/auth/login")
            .insert_header((header::ORIGIN, origin))
            .insert_header((header::ACCESS_CONTROL_REQUEST_METHOD, "POST"))
    };
    let allowed = send(&app, preflight("https://chat.example")).await;
    assert_eq!((allowed.status.as_u16(), allowed.header("access-control-allow-origin")), (204, "https://chat.example"));
    assert!(allowed.header("access-control-allow-headers").contains("Authorization"));
    let foreign = send(&app, preflight("https://evil.example")).await;
    assert_eq!((foreign.status.as_u16(), foreign.header("access-control-allow-origin")), (403, ""));
}

#[actix_rt::test]
async fn unknown_routes_and_methods_answer_json_with_security_headers() {
    let (_fixture, app) = fixture().await;
    let missing = send(&app, TestRequest::get().uri("/nowhere")).await;
    assert_eq!(missing.told(), (404, json!({"error": "Not found", "code": "not_found"})));
    assert_eq!(missing.header("x-content-type-options"), "nosniff");
    assert!(missing.header("content-security-policy").contains("default-src 'none'"));
    assert!(!missing.header("x-request-id").is_empty());
    let wrong = send(&app, TestRequest::get().uri("/api/auth/login")).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// Catches what the log would show.
#[derive(Clone, Default)]
struct Captured(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[actix_rt::test]
async fn no_secret_reaches_the_log() {
    // For the whole test program: a subscriber of one thread misses call sites that another thread met first. What other tests
    // log lands here too and does no harm.
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
    let (_fixture, app) = fixture().await;
    send(&app, post("/api/auth/register", json!({"username": "ann", "password": "pass-hunter2"}))).await;
    let login =
        send(&app, post("/api/auth/login", json!({"username": "ann", "password": "pass-hunter2"}))).await.json();
    let (token, refresh) = (login["token"].as_str().unwrap(), login["refresh_token"].as_str().unwrap());
    send(&app, bearer(TestRequest::get().uri(&format!("/api/profile?authToken={token}")), token)).await;
    send(&app, TestRequest::get().uri(&format!("/ws/chat/?authToken={token}"))).await;
    send(&app, post("/api/auth/refresh", json!({"refresh_token": refresh}))).await;
    send(&app, post("/api/auth/refresh", json!({"refresh_token": refresh}))).await;
    send(&app, post("/api/auth/login", json!({"username": "ann", "password": "wrong-hunter3"}))).await;
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("/api/profile") && log.contains("request_id"), "{log}");
    for secret in [token, refresh, "hunter2", "hunter3", "authToken", "argon2id$"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}
