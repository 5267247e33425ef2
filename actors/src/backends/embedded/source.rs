//! A store that is copied into a cluster: locked as one that is served, read in pages, and marked as moved in the end.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use chinwag_schema::{
    ids::{Epoch, Shard, Term},
    tables::sqlite::{id_reservations, shard_terms, store_info},
};
use diesel::{QueryDsl, QueryableByName, RunQueryDsl, SqliteConnection, sql_query, sql_types::BigInt};

pub(crate) use super::messages::copied::LogHead;
use super::{
    BackupError, OpenError,
    data_dir::{DATABASE_FILE, DataDir},
    messages::copied,
    schema_guard,
    sql::{self, Use, fault},
};
use crate::{
    backends::copy::Event,
    ports::{StoreError, StoreResult},
};

/// Which store it is, and that nobody has opened it since: each start of a server, and each command that writes, draws a new boot id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub epoch: Epoch,
    pub boot_id: Vec<u8>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.epoch)?;
        self.boot_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a store has to copy, in rows.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub(crate) struct Sizes {
    #[diesel(sql_type = BigInt)]
    pub accounts: i64,
    /// Stored ones.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

struct Opened {
    // Before the lock.
    conn: SqliteConnection,
    path: PathBuf,
    dir: DataDir,
}

/// A store, open and locked.
#[derive(Clone)]
pub(crate) struct Source(Arc<Mutex<Opened>>);

impl Source {
    /// Locks the data directory and opens its store, with the schema of this program.
    ///
    /// # Errors
    /// When there is no store, it is in use, or of a newer program.
    pub(crate) fn open(data: &Path) -> Result<Self, BackupError> {
        // Opening would make both.
        if !data.join(DATABASE_FILE).is_file() {
            return Err(BackupError::NoStore(data.display().to_string()));
        }
        let dir = DataDir::open(data)?;
        let path = dir.database_path()?;
        let failed = |reason: String| OpenError::Store { path: path.display().to_string(), reason };
        let mut conn = sql::connect(&path, Use::Write).map_err(failed)?;
        schema_guard::migrate(&mut conn, &path)?;
        copied::prepare(&mut conn).map_err(|error| failed(error.to_string()))?;
        Ok(Self(Arc::new(Mutex::new(Opened { conn, path, dir }))))
    }

    /// Returns what the mark in the directory says, if the store was moved.
    pub(crate) fn moved(&self) -> Result<Option<String>, OpenError> {
        self.lock().dir.moved()
    }

    /// Marks the store as moved. Should it be served again all the same, it gets a new epoch: its log and that of the cluster go different
    /// ways from here on.
    pub(crate) fn mark_moved(&self, text: &str) -> Result<(), OpenError> {
        let opened = self.lock();
        opened.dir.set_moved(text)?;
        opened.dir.remove_boot_ids()
    }

    /// Returns which store it is; `None` if it was put back from a backup, or never started, and has to be settled.
    pub(crate) async fn identity(&self) -> StoreResult<Option<Identity>> {
        self.read(|conn| {
            let (epoch, boot_id): (Option<i64>, Option<Vec<u8>>) =
                store_info::table.select((store_info::epoch, store_info::boot_id)).get_result(conn).map_err(fault)?;
            let identity = |(epoch, boot_id): (i64, _)| Identity { epoch: Epoch(epoch.cast_unsigned()), boot_id };
            Ok(epoch.zip(boot_id).map(identity))
        })
        .await
    }

    /// Does what a start does before it serves: a store that was put back from a copy gets a new epoch. Returns which store it is now.
    pub(crate) async fn settle(&self) -> Result<Identity, BackupError> {
        {
            let mut opened = self.lock();
            let Opened { conn, path, dir } = &mut *opened;
            schema_guard::settle_epoch(conn, dir, path)?;
        }
        let none = || OpenError::Store { path: self.path(), reason: "it has no epoch".to_owned() };
        match self.identity().await {
            Ok(identity) => Ok(identity.ok_or_else(none)?),
            Err(error) => Err(OpenError::Store { path: self.path(), reason: error.to_string() }.into()),
        }
    }

    /// Returns the path of the database.
    pub(crate) fn path(&self) -> String {
        self.lock().path.display().to_string()
    }

    /// Returns how much there is.
    pub(crate) async fn sizes(&self) -> StoreResult<Sizes> {
        let sizes = "WITH logs AS (SELECT oldest_seq, max(head, coalesce((SELECT max(seq) FROM events \
                      WHERE conversation = log_heads.conversation), 0)) AS head FROM log_heads) \
                      SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM refresh_tokens) + (SELECT count(*) FROM revoked_tokens) \
                      + (SELECT count(*) FROM conversations) + (SELECT count(*) FROM members) AS accounts, \
                      (SELECT coalesce(sum(head - oldest_seq + 1), 0) FROM logs WHERE head > 0) AS events";
        self.read(move |conn| sql_query(sizes).get_result(conn).map_err(fault)).await
    }

    /// Returns how many ids of messages are remembered.
    pub(crate) async fn message_ids(&self) -> StoreResult<i64> {
        let count = "SELECT count(*) AS count FROM message_ids";
        self.read(move |conn| sql_query(count).get_result::<Count>(conn).map(|row| row.count).map_err(fault)).await
    }

    /// Returns the largest term that was ever given or stored, for each shard that has one.
    pub(crate) async fn terms(&self) -> StoreResult<Vec<(Shard, Term)>> {
        self.read(|conn| {
            let terms: Vec<(i64, i64)> = shard_terms::table.load(conn).map_err(fault)?;
            let shard = |stored| {
                u8::try_from(stored).map(Shard).map_err(|_| StoreError::Corrupt(format!("there is a shard {stored}")))
            };
            terms.into_iter().map(|(number, term)| Ok((shard(number)?, Term(term.cast_unsigned())))).collect()
        })
        .await
    }

    /// Returns until when each node's number has reserved time for ids.
    pub(crate) async fn reservations(&self) -> StoreResult<Vec<(u16, i64)>> {
        self.read(|conn| {
            let stored: Vec<(i64, i64)> = id_reservations::table.load(conn).map_err(fault)?;
            let node = |stored| {
                u16::try_from(stored).map_err(|_| StoreError::Corrupt(format!("a node has the number {stored}")))
            };
            stored.into_iter().map(|(number, until_ms)| Ok((node(number)?, until_ms))).collect()
        })
        .await
    }

    /// Returns the logs of conversations after this one that were ever written to, by ascending conversation.
    pub(crate) async fn logs(&self, after: i64, limit: usize) -> StoreResult<Vec<LogHead>> {
        self.read(move |conn| copied::heads(conn, after, limit)).await
    }

    /// Returns a page of a log: the events after a seq, up to another one at most.
    pub(crate) async fn events(&self, conversation: i64, after: i64, upto: i64) -> StoreResult<Vec<Event>> {
        self.read(move |conn| copied::events(conn, conversation, after, upto)).await
    }

    /// Works out how many messages each sender had sent before the first event that is stored.
    pub(crate) async fn stage_removed(&self, conversation: i64) -> StoreResult<()> {
        self.read(move |conn| copied::stage_removed(conn, conversation)).await
    }

    /// Pages what [`Self::stage_removed`] worked out: (sender, messages), by ascending sender.
    pub(crate) async fn removed(&self, conversation: i64, after: i64, limit: usize) -> StoreResult<Vec<(i64, i64)>> {
        self.read(move |conn| copied::removed(conn, conversation, after, limit)).await
    }

    /// Forgets what [`Self::stage_removed`] worked out.
    pub(crate) async fn forget_removed(&self, conversation: i64) -> StoreResult<()> {
        self.read(move |conn| copied::forget_removed(conn, conversation)).await
    }

    /// Runs `work` on the one connection there is, on a thread that may block.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        let source = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut source.lock().conn)).await;
        done.unwrap_or_else(|error| Err(StoreError::Corrupt(format!("reading the store: {error}"))))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
