//! Asking the operations listener of a running server, for `chinwag top` and `chinwag actors`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use ureq::Agent;

use crate::config::Config;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer is far shorter.
const ANSWER_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The operations listener of a server.
pub struct Operations {
    agent: Agent,
    address: SocketAddr,
    authorization: Option<String>,
}

impl Operations {
    /// Takes `address`, or the first operations listener that the server wrote to `ports.json`; the token is that of the settings.
    ///
    /// # Errors
    /// With TLS, and when no address is known.
    pub fn of(config: &Config, address: Option<SocketAddr>) -> anyhow::Result<Self> {
        ensure!(config.tls.is_none(), "with TLS, look at https://…/console: this command speaks plain HTTP only");
        let address = match address {
            Some(address) => address,
            None => written(&config.data)?,
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            // A proxy would make us a stranger to the server.
            .proxy(None)
            .build();
        let authorization = config.ops_token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
        Ok(Self { agent: agent.into(), address: reachable(address), authorization })
    }

    /// Asks for `/admin/{path}`.
    ///
    /// # Errors
    /// When there is no answer, or it is an error; with its text.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut request = self.agent.get(format!("http://{}/admin/{path}", self.address));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.call().with_context(|| format!("no answer from {}", self.address))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(ANSWER_MAX_BYTES).read_to_string()?;
        let body: Value = serde_json::from_str(&text).with_context(|| {
            format!("{} answered {status}, and no JSON: is it an operations listener?", self.address)
        })?;
        match (status, body["error"].as_str()) {
            (200, _) => Ok(body),
            (_, Some(error)) => bail!("{} refused: {error}", self.address),
            _ => bail!("{} answered {status}", self.address),
        }
    }
}

fn written(data: &Path) -> anyhow::Result<SocketAddr> {
    let path = data.join("ports.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("can't read {}; is the server running?", path.display()))?;
    let ports: Value = serde_json::from_str(&text)?;
    let address = ports["ops"][0].as_str().context("the server has no operations listener (--ops)")?;
    Ok(address.parse()?)
}

/// Whoever listens everywhere is reached at loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_at_loopback() {
        let asked = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9600"), "127.0.0.1:9600");
        assert_eq!(asked("[::]:9600"), "[::1]:9600");
        assert_eq!(asked("10.0.0.7:9600"), "10.0.0.7:9600");
    }
}
