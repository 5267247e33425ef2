//! `chinwag health`: asks a running server how it does, for container health checks (the image has no curl).

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    bootstrap::{Failure, exit},
    config::Config,
};

/// How long the server may take to connect, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer of `/health` is far shorter.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// Asks `address`, or the first http listener that the server wrote to `ports.json`.
///
/// # Errors
/// When the server doesn't answer, or says that it can't serve.
pub fn run(config: &Config, address: Option<SocketAddr>) -> Result<(), Failure> {
    ensure_plain(config)?;
    let address = match address {
        Some(address) => address,
        None => written(&config.data)?,
    };
    let status = ask(address).with_context(|| format!("no answer from {address}"))?;
    println!("{status}");
    if status.split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(Failure::new(exit::FAILED, anyhow::anyhow!("the server can't serve: {status}")))
    }
}

fn ensure_plain(config: &Config) -> anyhow::Result<()> {
    ensure!(config.tls.is_none(), "with TLS, ask /health with curl: this check speaks plain HTTP only");
    Ok(())
}

fn written(data: &Path) -> anyhow::Result<SocketAddr> {
    let path = data.join("ports.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("can't read {}; is the server running?", path.display()))?;
    let ports: serde_json::Value = serde_json::from_str(&text)?;
    let address = ports["http"][0].as_str().context("the server has no http listener")?;
    Ok(address.parse()?)
}

fn ask(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    answer.lines().next().map(str::to_owned).context("an empty answer")
}
