//! Connections: a bounded pool, a deadline for everything, and what is tried again.
//!
//! The connections live on the runtime that made the pool, whichever thread uses them: a worker thread that is busy or ends doesn't
//! hold up, or take away, what others wait for.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bb8::{ErrorSink, ManageConnection, PooledConnection, QueueStrategy, RunError};
use chinwag_schema::limits::postgres as limits;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection, pooled_connection::PoolableConnection};
use tokio::{runtime::Handle, time::timeout};
use tokio_postgres::{Client, Socket, error::SqlState};

use super::{
    PostgresError, PostgresOptions,
    fault::{Fault, Outcome},
    options::Target,
    tls::Tls,
};
use crate::ports::{StoreError, StoreResult};

/// Where to connect to, and how.
#[derive(Clone)]
pub(super) struct Connector {
    target: Target,
    tls: Tls,
    /// What each connection is told first.
    settings: String,
}

impl Connector {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let target = Target::parse(options)?;
        let tls = Tls::new(&target.proof)?;
        let statement_ms = options.statement_timeout.as_millis();
        // A node that is paused inside a transaction would keep its locks for ever: hence the timeout when idle in one. Transactions
        // check conditions after they have locked a row, which needs READ COMMITTED. A commit waits for its fsync, and for the
        // standbys if the database was set up so (invariant 1).
        let settings = format!(
            "SELECT set_config('statement_timeout', '{statement_ms}', false), \
                    set_config('idle_in_transaction_session_timeout', '{}', false), \
                    set_config('default_transaction_isolation', 'read committed', false), \
                    set_config('jit', 'off', false), \
                    set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
                        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)",
            statement_ms * 2,
        );
        Ok(Self { target, tls, settings })
    }

    /// Returns hosts and database, for messages.
    pub(super) fn at(&self) -> &str {
        &self.target.shown
    }

    /// Makes a connection and runs it on the current runtime.
    async fn client(
        &self,
    ) -> Result<(Client, tokio_postgres::Connection<Socket, super::tls::Secured<Socket>>), Refusal> {
        match timeout(self.target.connect_deadline(), self.target.config.connect(self.tls.clone())).await {
            Ok(made) => made.map_err(|error| Refusal::of(&error)),
            Err(_) => Err(Refusal {
                reason: format!("no answer within {:?}", self.target.connect_deadline()),
                advice: "check host and port in the URL, and what may lie between (a firewall, a router)",
            }),
        }
    }

    /// Makes a connection of its own for statements that aren't the store's (migrations).
    pub(super) async fn plain(&self) -> Result<Client, PostgresError> {
        let (client, connection) = self.client().await.map_err(|refusal| refusal.at(self.at()))?;
        // Its errors are told to whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    async fn diesel(self) -> Result<AsyncPgConnection, Refusal> {
        let (client, connection) = self.client().await?;
        let setup = async {
            let db = AsyncPgConnection::try_from_client_and_connection(client, connection).await;
            let db = db.map_err(|error| error.to_string())?;
            (&db).batch_execute(&self.settings).await.map_err(|error| error.to_string())?;
            Ok(db)
        };
        let reason = match timeout(self.target.connect_deadline(), setup).await {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(reason)) => reason,
            Err(_) => "no answer to the first statement".to_owned(),
        };
        Err(Refusal { reason, advice: "look into the server's log" })
    }
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    reason: String,
    advice: &'static str,
}

impl Refusal {
    fn of(error: &tokio_postgres::Error) -> Self {
        let advice = match error.code() {
            Some(&(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION)) => {
                "check user and password in the URL, and the server's pg_hba.conf"
            }
            Some(&SqlState::INVALID_CATALOG_NAME) => "make the database first (CREATE DATABASE), or name another one",
            Some(&SqlState::TOO_MANY_CONNECTIONS) => {
                "raise the server's max_connections, or lower the connections that each node may have"
            }
            Some(&SqlState::CANNOT_CONNECT_NOW) => "it is starting or stopping: wait",
            Some(_) => "look into the server's log",
            None => "check that it runs, and host, port and sslmode in the URL",
        };
        Self { reason: chain(error), advice }
    }

    fn at(self, at: &str) -> PostgresError {
        PostgresError::Connect { at: at.to_owned(), reason: self.reason, advice: self.advice }
    }
}

/// Returns an error with what caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}

/// What bb8 asks for connections.
pub(super) struct Maker {
    connector: Connector,
    home: Handle,
    trouble: Trouble,
}

/// Why the last attempt to connect failed; nothing once one succeeded.
#[derive(Debug, Clone, Default)]
struct Trouble(Arc<Mutex<Option<Refusal>>>);

impl Trouble {
    fn set(&self, refusal: Option<Refusal>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    fn get(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ErrorSink<Refusal> for Trouble {
    fn sink(&self, refusal: Refusal) {
        self.set(Some(refusal));
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<Refusal>> {
        Box::new(self.clone())
    }
}

/// A connection as the work on it has it: shared, so that statements can be sent without waiting for each other's answers.
pub(super) type Db = Arc<AsyncPgConnection>;

/// A connection in the pool.
pub(super) struct Connection {
    db: Db,
    /// An operation began and hasn't ended: its caller gave up, or the connection is of no use any more. Closed, not handed on.
    spent: bool,
}

impl ManageConnection for Maker {
    type Connection = Connection;
    type Error = Refusal;

    async fn connect(&self) -> Result<Connection, Refusal> {
        let made = self.home.spawn(self.connector.clone().diesel()).await;
        let ended =
            |_| Refusal { reason: "the runtime of the pool has ended".to_owned(), advice: "start the node again" };
        let db = made.map_err(ended)??;
        self.trouble.set(None);
        Ok(Connection { db: Arc::new(db), spent: false })
    }

    /// Looks whether the server has hung up; doesn't ask it, which would double the cost of an operation.
    async fn is_valid(&self, connection: &mut Connection) -> Result<(), Refusal> {
        if !connection.is_broken() {
            return Ok(());
        }
        connection.spent = true;
        Err(Refusal { reason: "the server closed the connection".to_owned(), advice: "look into the server's log" })
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.spent || connection.is_broken()
    }
}

impl Connection {
    /// Says whether the server has hung up. Work that still holds the connection would be work that nobody waits for.
    fn is_broken(&mut self) -> bool {
        Arc::get_mut(&mut self.db).is_none_or(PoolableConnection::is_broken)
    }
}

/// How many connections a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    pub open: u32,
    pub idle: u32,
    pub max: u32,
}

/// What to do when the connection is lost and nobody knows whether the statement was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenLost {
    Repeat,
    Report,
}

/// The pool.
pub(super) struct Pool {
    pool: bb8::Pool<Maker>,
    trouble: Trouble,
    at: String,
    acquire_timeout: Duration,
    /// How long an operation may take in all, its retries and the wait for a connection included.
    deadline: Duration,
}

impl Pool {
    /// Makes the pool; connections follow. Must be called on the runtime that shall own them.
    pub(super) fn new(connector: Connector, options: &PostgresOptions) -> Self {
        let trouble = Trouble::default();
        let at = connector.at().to_owned();
        let max = options.connections_max.max(1);
        let pool = bb8::Pool::builder()
            .max_size(max)
            .min_idle(limits::CONNECTIONS_IDLE_MIN.min(max))
            .idle_timeout(limits::CONNECTION_IDLE_MAX)
            .max_lifetime(limits::CONNECTION_LIFETIME)
            .connection_timeout(options.acquire_timeout)
            // The one used last has its statements in the server's cache, and the others can end.
            .queue_strategy(QueueStrategy::Lifo)
            .error_sink(Box::new(trouble.clone()))
            .build_unchecked(Maker { connector, home: Handle::current(), trouble: trouble.clone() });
        let deadline = options.acquire_timeout + options.statement_timeout + limits::ANSWER_GRACE;
        Self { pool, trouble, at, acquire_timeout: options.acquire_timeout, deadline }
    }

    pub(super) fn connections(&self) -> Connections {
        let state = self.pool.state();
        Connections { open: state.connections, idle: state.idle_connections, max: self.pool.config().max_size }
    }

    /// Runs statements that may run twice: reads, and writes whose repetition changes nothing.
    pub(super) async fn repeatable<R, F>(&self, work: impl Fn(Db) -> F) -> StoreResult<R>
    where
        F: Future<Output = Outcome<R>>,
    {
        self.within_deadline(self.attempts(WhenLost::Repeat, work)).await
    }

    /// Runs one statement that must not run twice.
    pub(super) async fn once<R, F>(&self, work: impl Fn(Db) -> F) -> StoreResult<R>
    where
        F: Future<Output = Outcome<R>>,
    {
        self.within_deadline(self.attempts(WhenLost::Report, work)).await
    }

    /// Runs a transaction, durable when this returns `Ok`. `work` may run several times, but takes effect once at most.
    pub(super) async fn transaction<R, F>(&self, work: impl Fn(Db) -> F) -> StoreResult<R>
    where
        F: Future<Output = Outcome<R>>,
    {
        let work = &work;
        self.repeatable(|db| async move {
            (&*db).batch_execute("BEGIN").await?;
            match work(db.clone()).await {
                Ok(value) => match (&*db).batch_execute("COMMIT").await.map_err(Fault::from) {
                    Ok(()) => Ok(value),
                    Err(Fault::Lost(said)) => Err(Fault::Store(StoreError::Unavailable(unknown_outcome(&said)))),
                    Err(fault) => Err(fault),
                },
                Err(fault @ (Fault::Lost(_) | Fault::ReadOnly)) => Err(fault),
                // Should this fail too, the connection is lost, and with it the transaction.
                Err(fault) => match (&*db).batch_execute("ROLLBACK").await {
                    Ok(()) => Err(fault),
                    Err(error) => Err(Fault::Lost(error.to_string())),
                },
            }
        })
        .await
    }

    async fn within_deadline<R>(&self, work: impl Future<Output = StoreResult<R>>) -> StoreResult<R> {
        timeout(self.deadline, work).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("Postgres at {} did not answer within {:?}", self.at, self.deadline)))
        })
    }

    async fn attempts<R, F>(&self, when_lost: WhenLost, work: impl Fn(Db) -> F) -> StoreResult<R>
    where
        F: Future<Output = Outcome<R>>,
    {
        let mut attempt = 1;
        loop {
            let fault = match self.attempt(&work).await {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            let last = attempt >= limits::ATTEMPTS_MAX;
            match fault {
                Fault::Store(error) => return Err(error),
                Fault::Again(said) if last => {
                    return Err(StoreError::Unavailable(format!(
                        "Postgres took this back {attempt} times because of others at work on the same rows ({said}); try again"
                    )));
                }
                Fault::Again(_) => {
                    // Two that ran into each other should not do so again.
                    tokio::time::sleep(limits::RETRY_PAUSE.mul_f64(rand::random_range(0.0..f64::from(attempt)))).await;
                }
                Fault::Lost(said) if when_lost == WhenLost::Report => {
                    return Err(StoreError::Unavailable(unknown_outcome(&said)));
                }
                Fault::Lost(said) if last => {
                    return Err(StoreError::Unavailable(format!(
                        "connections to Postgres at {} break: {said}",
                        self.at
                    )));
                }
                Fault::ReadOnly if last => {
                    return Err(StoreError::Unavailable(format!(
                        "Postgres at {} takes no writes: it is a standby or was made read-only; name the primary in the URL, \
                         or all hosts, separated by commas",
                        self.at
                    )));
                }
                Fault::Lost(_) | Fault::ReadOnly => {}
            }
            attempt += 1;
        }
    }

    async fn attempt<R, F>(&self, work: impl Fn(Db) -> F) -> Outcome<R>
    where
        F: Future<Output = Outcome<R>>,
    {
        let mut connection = self.lease().await?;
        connection.spent = true;
        let outcome = work(connection.db.clone()).await;
        connection.spent = matches!(outcome, Err(Fault::Lost(_) | Fault::ReadOnly));
        outcome
    }

    async fn lease(&self) -> StoreResult<PooledConnection<'_, Maker>> {
        let refused = match self.pool.get().await {
            Ok(connection) => return Ok(connection),
            Err(RunError::User(refusal)) => Some(refusal),
            Err(RunError::TimedOut) => self.trouble.get(),
        };
        Err(StoreError::Unavailable(match refused {
            Some(Refusal { reason, advice }) => format!("no connection to Postgres at {}: {reason}; {advice}", self.at),
            None => format!(
                "all {} connections to Postgres at {} were busy for {:?}; allow more, or look for slow statements there",
                self.connections().max,
                self.at,
                self.acquire_timeout
            ),
        }))
    }
}

fn unknown_outcome(said: &str) -> String {
    format!(
        "the connection to Postgres was lost ({said}): whether the change was made is unknown; look, then try again"
    )
}
