//! A login over REST as an honest client does it: who is asked to come again later waits that long, and comes again.
//!
//! Not over [`crate::rest`], which blocks a thread per call: hundreds of users wait here at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    peer::Login,
    rest::PASSWORD,
    run::{
        Run,
        meter::{Counter, Timer},
    },
};

/// A user who isn't logged in by then gives up: that is an error.
const PATIENCE: Duration = Duration::from_secs(120);

/// No answer to one attempt within this time is an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Wait when the server asks for later and doesn't say how much later.
const RETRY_DEFAULT: Duration = Duration::from_secs(1);

/// Waits are longer by a random part of this, so that those who were refused together don't come again together.
const RETRY_SPREAD: Duration = Duration::from_secs(1);

/// Longest answer, bytes.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// Logs the `index`th user of a run in at its node. Notes [`Timer::Login`] from its arrival to the token, waits included, and each
/// further attempt as [`Counter::LoginRetried`]. `due` is when the user arrived.
pub async fn log_in(run: &Arc<Run>, index: usize, name: &str, due: Instant) -> anyhow::Result<Login> {
    let http = &run.node(index).http;
    loop {
        let answer = timeout(ANSWER_TIMEOUT, ask(http, name)).await.context("no answer")??;
        match answer.status {
            200 => {
                let token = answer.body["token"].as_str().context("the answer has no token")?;
                run.meter.time(Timer::Login, due.elapsed());
                return Ok(Login { name: name.to_owned(), token: Some(token.to_owned()) });
            }
            429 | 503 => {
                let spread = RETRY_SPREAD.mul_f64(rand::rng().random::<f64>());
                let wait = answer.retry_after.unwrap_or(RETRY_DEFAULT).min(PATIENCE) + spread;
                ensure!(due.elapsed() + wait < PATIENCE, "still refused for later after {} s", PATIENCE.as_secs());
                ensure!(run.sleep(wait).await, "the run ended");
                run.meter.count(Counter::LoginRetried, 1);
            }
            status => bail!("refused: {status} {}", answer.body["error"].as_str().unwrap_or("without a reason")),
        }
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Value,
}

async fn ask(http: &str, name: &str) -> anyhow::Result<Answer> {
    let body = json!({"username": name, "password": PASSWORD}).to_string();
    let request = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(http).await.context("no connection")?;
    stream.write_all(request.as_bytes()).await.context("the connection ended")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer).await.context("the connection ended")?;
    read(&answer)
}

/// Reads a whole answer: status, `Retry-After` in seconds, and the JSON body (null if it is none).
fn read(answer: &[u8]) -> anyhow::Result<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer ended in its head")?;
    let head = std::str::from_utf8(&answer[..end]).context("the answer's head isn't text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let seconds = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))
        .and_then(|(_, seconds)| seconds.trim().parse().ok());
    Ok(Answer {
        status: status.context("the answer has no status")?,
        retry_after: seconds.map(Duration::from_secs),
        body: serde_json::from_slice(&answer[end + 4..]).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{peer::Protocol, run::meter::Measured, target::Node};

    #[test]
    fn an_answer_is_read_with_its_wait() {
        let busy =
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 16\r\nRetry-After: 5\r\n\r\n{\"error\":\"busy\"}";
        let expected =
            Answer { status: 503, retry_after: Some(Duration::from_secs(5)), body: json!({"error": "busy"}) };
        assert_eq!(read(busy).unwrap(), expected);
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().body, Value::Null);
        assert!(read(b"HTTP/1.1 200 OK\r\ncontent-le").is_err());
        assert!(read(b"SSH-2.0-something\r\n\r\n").is_err());
    }

    /// Answers one connection after the other with the given texts; returns the address.
    async fn server(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn log_in_at(http: String) -> (anyhow::Result<Login>, Measured) {
        let run = Run::new(1, Protocol::Native, false, vec![Node { http, ..Node::default() }]);
        let (login, mut measured) = (log_in(&run, 0, "ann", Instant::now()).await, Measured::default());
        run.meter.drain(&mut measured);
        (login, measured)
    }

    #[tokio::test]
    async fn who_is_asked_to_come_later_does_and_that_is_no_error() {
        const LATER: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\r\n{}";
        const DONE: &str = "HTTP/1.1 200 OK\r\n\r\n{\"token\":\"t\"}";
        let (login, measured) = log_in_at(server(&[LATER, DONE]).await).await;
        assert_eq!(login.unwrap().token.as_deref(), Some("t"));
        assert_eq!(measured.counter(Counter::LoginRetried), 1);
        assert!(measured.timer(Timer::Login).min() >= 1_000_000, "the wait is part of the time");
        assert_eq!(measured.error_count(), 0);
    }

    #[tokio::test]
    async fn who_is_asked_to_come_in_a_million_years_gives_up() {
        const NEVER: &str = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 18446744073709551615\r\n\r\n{}";
        let (login, _) = log_in_at(server(&[NEVER]).await).await;
        assert_eq!(login.unwrap_err().to_string(), "still refused for later after 120 s");
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_that_says_why() {
        let (login, _) = log_in_at(server(&["HTTP/1.1 401 Unauthorized\r\n\r\n{\"error\":\"no\"}"]).await).await;
        assert_eq!(login.unwrap_err().to_string(), "refused: 401 no");
    }
}
