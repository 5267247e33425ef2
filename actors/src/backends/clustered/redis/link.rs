//! A connection to Redis that makes itself again when it is lost.
//!
//! While there is none, requests fail at once: nothing queues. A request has a deadline; a connection that answers nothing for a
//! whole deadline is given up, and with it all that is in flight on it, so that a server which hangs can't hold up memory or
//! callers. fred's own reconnection is not used: it keeps taking commands meanwhile, and repeats those that were in flight,
//! which would send an envelope twice.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use chinwag_schema::limits::cluster::{RECONNECT_MAX, RECONNECT_MIN, REDIS_DEADLINE, REQUESTS_IN_FLIGHT_MAX};
use fred::{
    clients::Client,
    interfaces::{ClientLike as _, LuaInterface as _},
    prelude::{ConnectionConfig, Error, PerformanceConfig, TcpConfig, Value},
    types::{ConnectHandle, InfoKind},
};
use futures_util::future::try_join_all;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    options::{RedisError, RedisOptions},
    scripts::Script,
};
use crate::ports::{StoreError, StoreResult};

/// The oldest version that knows all commands used (`XADD NOMKSTREAM`, `XTRIM MINID`).
const VERSION_MIN: (u32, u32) = (6, 2);

/// Commands of one request when as many as may be are in flight; a single one may have more.
const COMMANDS_PER_REQUEST: usize = 64;

/// A connection, made again whenever it is lost. Its tasks run where it was made and end with it.
pub(super) struct Link {
    current: watch::Receiver<Option<Arc<Connection>>>,
    in_flight: Semaphore,
    keeper: JoinHandle<()>,
}

/// One connection, with the scripts loaded.
pub(super) struct Connection {
    pub(super) client: Client,
    /// The scripts' hashes, in the order of [`Script::ALL`].
    hashes: Vec<String>,
    made: Instant,
    /// When it last answered anything, microseconds after it was made.
    answered_us: AtomicU64,
    given_up: Notify,
}

/// A connection with the task that drives it.
struct Live {
    connection: Arc<Connection>,
    router: ConnectHandle,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.router.abort();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Connection {
    /// Runs a script.
    pub(super) fn call(
        &self,
        script: Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> impl Future<Output = Result<Value, Error>> + Send + use<> {
        let (client, hash) = (self.client.clone(), self.hashes[script as usize].clone());
        async move { client.evalsha(hash, keys, args).await }
    }

    fn answered(&self) {
        self.answered_us.store(self.micros(Instant::now()), Relaxed);
    }

    fn answered_since(&self, moment: Instant) -> bool {
        self.answered_us.load(Relaxed) >= self.micros(moment)
    }

    fn micros(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.made).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Link {
    /// Connects; from then on, connects again whenever the connection is lost. `purpose` is for the log.
    ///
    /// # Errors
    /// When the first attempt fails.
    pub(super) async fn connect(options: &RedisOptions, purpose: &'static str) -> Result<Self, RedisError> {
        let live = make(options).await?;
        let (publish, current) = watch::channel(Some(live.connection.clone()));
        let keeper = tokio::spawn(keep(options.clone(), purpose, live, publish));
        Ok(Self { current, in_flight: Semaphore::new(REQUESTS_IN_FLIGHT_MAX), keeper })
    }

    /// Says whether there is a connection now.
    pub(super) fn is_connected(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) {
        // The sender lives as long as the keeper, which lives as long as this.
        let _ = self.current.clone().wait_for(Option::is_some).await;
    }

    /// Makes a request: one command or several that go out together. `Unavailable` at once without a connection or with too many
    /// requests in flight, and after [`REDIS_DEADLINE`] without an answer; what was asked for may have happened nevertheless.
    pub(super) async fn request<T, F>(&self, request: impl FnOnce(Arc<Connection>) -> F) -> StoreResult<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.request_within(REDIS_DEADLINE, request).await
    }

    /// The same with another deadline (a command that blocks).
    pub(super) async fn request_within<T, F>(
        &self,
        deadline: Duration,
        request: impl FnOnce(Arc<Connection>) -> F,
    ) -> StoreResult<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let connection = self.current.borrow().clone();
        let connection = connection.ok_or_else(|| unavailable("there is no connection to Redis now"))?;
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(unavailable("too many requests to Redis are in flight"));
        };
        let sent = Instant::now();
        match timeout(deadline, request(connection.clone())).await {
            Ok(Ok(answer)) => {
                connection.answered();
                Ok(answer)
            }
            Ok(Err(error)) => {
                if error.details().starts_with("NOSCRIPT") {
                    // Somebody flushed the scripts; the next connection loads them.
                    connection.given_up.notify_one();
                }
                Err(unavailable(&format!("Redis: {error}")))
            }
            Err(_) => {
                if !connection.answered_since(sent) {
                    connection.given_up.notify_one();
                }
                Err(unavailable(&format!("Redis did not answer within {deadline:?}")))
            }
        }
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable(what.to_owned())
}

/// Replaces the connection whenever it ends.
async fn keep(
    options: RedisOptions,
    purpose: &'static str,
    mut live: Live,
    publish: watch::Sender<Option<Arc<Connection>>>,
) {
    loop {
        tokio::select! {
            _ = &mut live.router => {}
            () = live.connection.given_up.notified() => {}
        }
        publish.send_replace(None);
        // Ends what is in flight on it.
        live.router.abort();
        tracing::warn!(purpose, address = options.address(), "the connection to Redis is lost");
        let lost = Instant::now();
        live = make_again(&options).await;
        publish.send_replace(Some(live.connection.clone()));
        tracing::info!(purpose, lost_ms = lost.elapsed().as_millis() as u64, "connected to Redis again");
    }
}

async fn make_again(options: &RedisOptions) -> Live {
    let mut wait = RECONNECT_MIN;
    loop {
        // Jitter: the nodes of a cluster lose the server together.
        sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        match make(options).await {
            Ok(live) => return live,
            Err(error) => tracing::debug!(%error, "no connection to Redis yet"),
        }
        wait = (wait * 2).min(RECONNECT_MAX);
    }
}

/// Makes a connection and loads the scripts.
async fn make(options: &RedisOptions) -> Result<Live, RedisError> {
    let connection = ConnectionConfig {
        connection_timeout: REDIS_DEADLINE,
        internal_command_timeout: REDIS_DEADLINE,
        max_command_attempts: 1,
        max_command_buffer_len: REQUESTS_IN_FLIGHT_MAX * COMMANDS_PER_REQUEST,
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        ..ConnectionConfig::default()
    };
    let client = Client::new(options.config.clone(), Some(PerformanceConfig::default()), Some(connection), None);
    let unreachable = |error: Error| RedisError::Unreachable { address: options.address(), reason: error.to_string() };
    let router = client.init().await.map_err(unreachable)?;
    let made = Instant::now();
    let connection =
        Connection { client, hashes: Vec::new(), made, answered_us: AtomicU64::new(0), given_up: Notify::new() };
    // Ends with an early return.
    let mut live = Live { connection: Arc::new(connection), router };
    let client = live.connection.client.clone();
    let setup = async {
        let info: String = client.info(Some(InfoKind::Server)).await?;
        let hashes = try_join_all(Script::ALL.map(|script| client.script_load::<String, _>(script.source()))).await?;
        Ok((info, hashes))
    };
    let late = |_| Error::new(fred::error::ErrorKind::Timeout, "no answer in time");
    let (info, hashes) = timeout(REDIS_DEADLINE, setup).await.map_err(late).flatten().map_err(unreachable)?;
    check_version(&info, options)?;
    let connection = Arc::get_mut(&mut live.connection).expect("nobody else has it yet");
    connection.hashes = hashes;
    Ok(live)
}

fn check_version(info: &str, options: &RedisOptions) -> Result<(), RedisError> {
    let found = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let mut numbers = found.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < VERSION_MIN {
        return Err(RedisError::TooOld { address: options.address(), found: found.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused() {
        let options = RedisOptions::new("redis://h", "chinwag").unwrap();
        for new_enough in ["6.2.0", "7.0.15", "10.0.0", "7.2.4-rc1"] {
            assert!(check_version(&format!("# Server\r\nredis_version:{new_enough}\r\nx:1\r\n"), &options).is_ok());
        }
        for old in ["redis_version:6.0.9\r\n", "redis_version:5.0\r\n", "", "redis_version:\r\n"] {
            assert!(matches!(check_version(old, &options), Err(RedisError::TooOld { .. })), "{old}");
        }
    }
}
