//! The embedded database: one connection that writes, some that read beside it, and one that checkpoints.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use chinwag_schema::ids::Epoch;
use diesel::{SqliteConnection, connection::SimpleConnection};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use tokio::sync::Semaphore;

use super::{
    OpenError,
    data_dir::{DataDir, MOVED_FILE},
    messages::SharedRecent,
    schema_guard,
    sql::{self, Use},
    worker::Worker,
};
use crate::ports::{StoreError, StoreResult};

/// How often committed pages are moved from the log into the database while something is written.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Connections that read beside the writer, each with a thread and up to 16 MiB of cache.
    pub readers: usize,
    /// Who does the work.
    pub work: Work,
}

/// Who does the work of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Threads of its own.
    Threads,
    /// Whoever asks, at once: for simulations, whose clock would overtake a thread.
    Caller,
}

impl Work {
    fn worker(self, name: &str) -> Worker {
        match self {
            Self::Threads => Worker::start(name),
            Self::Caller => Worker::here(),
        }
    }
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { readers: 3, work: Work::Threads }
    }
}

type Wrapped = SyncConnectionWrapper<SqliteConnection, Worker>;

/// An open data directory. Shared by the stores on it; when the last one goes, it waits for what is being written and ends its
/// threads and its lock.
pub struct Database {
    // Order of the fields is order of the end: the writer's connection last, so that SQLite tidies up its log, then the lock.
    checkpointer: Checkpointer,
    readers: Readers,
    writer: Mutex<Wrapped>,
    recent: SharedRecent,
    closed: AtomicBool,
    epoch: Epoch,
    path: PathBuf,
    _dir: DataDir,
}

impl Database {
    /// Opens or makes the store in `dir`: locks it, applies migrations, settles the epoch. Blocks, for well under a second whatever
    /// the size of the store; for use at start.
    pub fn open(dir: &Path, options: &DatabaseOptions) -> Result<Arc<Self>, OpenError> {
        let dir = DataDir::open(dir)?;
        if dir.moved()?.is_some() {
            let mark = dir.path().join(MOVED_FILE);
            return Err(OpenError::Moved { path: dir.path().display().to_string(), mark: mark.display().to_string() });
        }
        let path = dir.database_path()?;
        let connect = |purpose| {
            sql::connect(&path, purpose).map_err(|reason| OpenError::Store { path: path.display().to_string(), reason })
        };
        let mut writer = connect(Use::Write)?;
        schema_guard::migrate(&mut writer, &path)?;
        let epoch = schema_guard::settle_epoch(&mut writer, &dir, &path)?;
        let mut readers = Vec::new();
        for n in 0..options.readers.max(1) {
            readers.push(Wrapped::with_runtime(connect(Use::Read)?, options.work.worker(&format!("store-read-{n}"))));
        }
        let checkpointer = match options.work {
            Work::Threads => Checkpointer::start(connect(Use::Checkpoint)?),
            // The writer's own checkpoints remain.
            Work::Caller => Checkpointer::none(),
        };
        Ok(Arc::new(Self {
            checkpointer,
            readers: Readers { permits: Semaphore::new(readers.len()), idle: Mutex::new(readers) },
            writer: Mutex::new(Wrapped::with_runtime(writer, options.work.worker("store-write"))),
            recent: SharedRecent::default(),
            closed: AtomicBool::new(false),
            epoch,
            path,
            _dir: dir,
        }))
    }

    /// Returns the name of the log in this store.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the path of the database file; its log lies beside it as `…-wal`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the log's writer remembers; one per database, whatever the number of stores on it.
    pub(super) fn recent(&self) -> &SharedRecent {
        &self.recent
    }

    /// Refuses further writes, waits for those given, and moves the log into the database.
    pub async fn close(&self) -> StoreResult<()> {
        self.closed.store(true, Ordering::Release);
        self.on_writer(|conn| conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").map_err(sql::fault)).await
    }

    /// Runs SQL on the connection that writes, after what was given before. For tests that simulate faults.
    #[doc(hidden)]
    pub async fn execute_on_writer(&self, sql: &'static str) -> StoreResult<()> {
        self.on_writer(move |conn| conn.batch_execute(sql).map_err(sql::fault)).await
    }

    /// Runs one write transaction, durable when this returns `Ok`. It runs to its end even if the caller stops waiting.
    /// Transactions run in the order in which this is called.
    pub(super) async fn write<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        self.write_then(work, |_| ()).await
    }

    /// Like [`Self::write`]; `settle` hears on the writer's thread whether it failed, before the next transaction begins.
    pub(super) async fn write_then<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R> + Send + 'static,
        settle: impl FnOnce(bool) + Send + 'static,
    ) -> StoreResult<R> {
        self.transaction(move |conn| {
            let result = sql::write(conn, work);
            settle(result.is_err());
            result
        })
        .await
    }

    /// Runs one write transaction that a power loss (not a crash of the program) may take back until the next [`Self::write`] has
    /// made it durable too. For what is repaired anyway: it saves the wait for an fsync.
    pub(super) async fn write_relaxed<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        self.write_relaxed_then(work, |_| ()).await
    }

    /// As [`Self::write_then`] is to [`Self::write`].
    pub(super) async fn write_relaxed_then<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R> + Send + 'static,
        settle: impl FnOnce(bool) + Send + 'static,
    ) -> StoreResult<R> {
        self.transaction(move |conn| {
            let result = sql::write_relaxed(conn, work);
            settle(result.is_err());
            result
        })
        .await
    }

    async fn transaction<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        let result = self.on_writer(work).await;
        self.checkpointer.dirty.store(true, Ordering::Relaxed);
        result
    }

    /// Answers when a reader and the writer's thread are free.
    pub(super) async fn ping(&self) -> StoreResult<()> {
        self.on_writer(|_| Ok(())).await?;
        self.read(|conn| conn.batch_execute("SELECT 1").map_err(sql::fault)).await
    }

    /// Runs reads on one snapshot, beside whatever is being written.
    pub(super) async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        let _permit = self.readers.permits.acquire().await.map_err(|_| StoreError::Unavailable("closed".to_owned()))?;
        let mut lease = self.readers.take();
        let Some(conn) = lease.conn.as_mut() else {
            return Err(StoreError::Corrupt("a permit without a connection".to_owned()));
        };
        conn.spawn_blocking(move |conn| Ok(sql::read(conn, work))).await.unwrap_or_else(|error| Err(sql::fault(error)))
    }

    async fn on_writer<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        // Held only to hand the work over; the wait is outside.
        let answer = {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.spawn_blocking(move |conn| Ok(work(conn)))
        };
        answer.await.unwrap_or_else(|error| Err(sql::fault(error)))
    }
}

/// The connections that read. Invariant: as many permits as idle connections.
struct Readers {
    permits: Semaphore,
    idle: Mutex<Vec<Wrapped>>,
}

impl Readers {
    fn take(&self) -> ReadLease<'_> {
        let conn = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        ReadLease { readers: self, conn }
    }
}

/// A borrowed connection. A caller that gives up returns it with its read still running; the next one then queues behind that.
struct ReadLease<'a> {
    readers: &'a Readers,
    conn: Option<Wrapped>,
}

impl Drop for ReadLease<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}

/// A thread that checkpoints beside the writer, so that no commit has to wait for the database file's fsync.
struct Checkpointer {
    dirty: Arc<AtomicBool>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    fn none() -> Self {
        Self { dirty: Arc::default(), stop: None, thread: None }
    }

    fn start(mut conn: SqliteConnection) -> Self {
        let dirty = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = sync_channel(0);
        let seen = dirty.clone();
        let thread = thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(CHECKPOINT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    if seen.swap(false, Ordering::Relaxed)
                        && let Err(error) = conn.batch_execute("PRAGMA wal_checkpoint(PASSIVE)")
                    {
                        // The writer's own checkpoint remains, and answers carry its errors.
                        tracing::warn!(%error, "background checkpoint failed");
                    }
                }
            })
            .expect("the system refuses another thread");
        Self { dirty, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only ever sleeps or checkpoints; a panic in it has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}
