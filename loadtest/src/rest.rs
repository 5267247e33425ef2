//! The few REST calls that a load test needs: registration, login, health and metrics. Blocking; callers on the runtime use
//! [`tokio::task::spawn_blocking`].

use std::{sync::LazyLock, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use ureq::Agent;

/// Password of every user that a load test makes.
pub const PASSWORD: &str = "correct horse battery";

/// No answer within this time is an error: a login may wait for those before it, each some milliseconds of CPU.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// No health within this time is an error.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Sockets kept open for later calls.
const IDLE_MAX: usize = 16;

static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER_TIMEOUT))
        .max_redirects(0)
        .max_idle_connections(IDLE_MAX)
        .max_idle_connections_per_host(IDLE_MAX)
        // One of the environment would be measured instead of the server.
        .proxy(None)
        .build();
    config.into()
});

/// Registers a user. Nothing happens if there is one of that name.
pub fn register(http: &str, name: &str) -> anyhow::Result<()> {
    let (status, body) = post(http, "/api/auth/register", name)?;
    match status {
        201 | 409 => Ok(()),
        _ => bail!("{http} refused to register {name}: {status} {}", reason(&body)),
    }
}

/// Logs a user in; returns the access token.
pub fn log_in(http: &str, name: &str) -> anyhow::Result<String> {
    let (status, body) = post(http, "/api/auth/login", name)?;
    match (status, body["token"].as_str()) {
        (200, Some(token)) => Ok(token.to_owned()),
        (200, None) => bail!("{http} sent no token for the login of {name}: is it a chinwag server?"),
        (401, _) => bail!(
            "{http} refused the login of {name}: {}; a user of that name with another password is there already, use a fresh server",
            reason(&body)
        ),
        _ => bail!("{http} refused the login of {name}: {status} {}", reason(&body)),
    }
}

/// Returns what a node says of its health; nothing, if that isn't a JSON object.
///
/// # Errors
/// When it doesn't answer with 200 within 5 s.
pub fn health(http: &str) -> anyhow::Result<Map<String, Value>> {
    let request = AGENT.get(format!("http://{http}/health")).config().timeout_global(Some(HEALTH_TIMEOUT)).build();
    let mut answer = request.call().with_context(|| format!("{http} doesn't answer its health check"))?;
    let status = answer.status().as_u16();
    let body: Map<String, Value> = answer.body_mut().read_json().unwrap_or_default();
    let reason = body.get("message").and_then(Value::as_str);
    match status {
        200 => Ok(body),
        _ => bail!("{http} isn't healthy: {status} {}", reason.unwrap_or("without a reason")),
    }
}

/// Returns the metrics of an operations listener, as text.
pub fn metrics(ops: &str) -> anyhow::Result<String> {
    let request = AGENT.get(format!("http://{ops}/metrics")).config().timeout_global(Some(HEALTH_TIMEOUT)).build();
    let mut answer = request.call().with_context(|| format!("{ops} doesn't tell its metrics"))?;
    match answer.status().as_u16() {
        200 => Ok(answer.body_mut().read_to_string()?),
        401 => bail!("{ops} tells its metrics only to those who know its token (--ops-token-file)"),
        status => bail!("{ops} doesn't tell its metrics: {status}"),
    }
}

fn post(http: &str, path: &str, name: &str) -> anyhow::Result<(u16, Value)> {
    let mut answer = AGENT
        .post(format!("http://{http}{path}"))
        .send_json(json!({"username": name, "password": PASSWORD}))
        .with_context(|| format!("{http}{path} doesn't answer"))?;
    Ok((answer.status().as_u16(), answer.body_mut().read_json().unwrap_or_default()))
}

fn reason(body: &Value) -> &str {
    body["error"].as_str().unwrap_or("without a reason")
}
