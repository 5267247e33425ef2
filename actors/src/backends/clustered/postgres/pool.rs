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
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};

use super::{
    PostgresOptions,
    connect::{Connector, Refusal},
    fault::{Fault, Outcome},
};
use crate::ports::{StoreError, StoreResult};

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
    /// One for each connection there may be. Who comes first gets one first: in bb8 alone a newcomer may take what another one waits
    /// for, and under load somebody waits until the deadline.
    turns: Semaphore,
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
        let turns = Semaphore::new(usize::try_from(max).unwrap_or(Semaphore::MAX_PERMITS));
        Self { pool, turns, trouble, at, acquire_timeout: options.acquire_timeout, deadline }
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
        let mut lease = self.lease().await?;
        lease.connection.spent = true;
        let outcome = work(lease.connection.db.clone()).await;
        lease.connection.spent = matches!(outcome, Err(Fault::Lost(_) | Fault::ReadOnly));
        outcome
    }

    async fn lease(&self) -> StoreResult<Lease<'_>> {
        let until = Instant::now() + self.acquire_timeout;
        let Ok(Ok(turn)) = timeout_at(until, self.turns.acquire()).await else {
            return Err(StoreError::Unavailable(format!(
                "all {} connections to Postgres at {} were busy for {:?}; allow more, or look for slow statements there",
                self.connections().max,
                self.at,
                self.acquire_timeout
            )));
        };
        let refusal = match timeout_at(until, self.pool.get()).await {
            Ok(Ok(connection)) => return Ok(Lease { connection, _turn: turn }),
            Ok(Err(RunError::User(refusal))) => Some(refusal),
            Ok(Err(RunError::TimedOut)) | Err(_) => self.trouble.get(),
        };
        let late =
            || Refusal { reason: "it takes too long to make one".to_owned(), advice: "look at the server's load" };
        let Refusal { reason, advice } = refusal.unwrap_or_else(late);
        Err(StoreError::Unavailable(format!("no connection to Postgres at {}: {reason}; {advice}", self.at)))
    }
}

/// A connection in use. It goes back before the turn does.
struct Lease<'a> {
    connection: PooledConnection<'a, Maker>,
    _turn: SemaphorePermit<'a>,
}

fn unknown_outcome(said: &str) -> String {
    format!(
        "the connection to Postgres was lost ({said}): whether the change was made is unknown; look, then try again"
    )
}
