//! The accounts as a copy writes and compares them: whole rows, in pages by key, over one connection of its own that holds the lock by
//! which no two copies come to one database.

use std::time::Duration;

use chinwag_schema::{
    ids::{Epoch, Shard, Term},
    limits::copy::{PAGE_ROWS, STATEMENT_TIMEOUT},
};
use tokio_postgres::{Client, Row, error::SqlState, types::ToSql};

use super::{
    PostgresError, PostgresOptions,
    connect::{Connector, chain},
    migrate::migrate,
};
use crate::{
    backends::copy::{Column, Table},
    ports::{StoreError, StoreResult},
};

/// The advisory lock of whoever copies ("chincopy" in ASCII), one per database.
const LOCK: i64 = 0x6368_696E_636F_7079;

/// Tables that hold what people made: where one has a row, no other store is copied to.
const TABLES: [&str; 5] = ["users", "conversations", "members", "refresh_tokens", "revoked_tokens"];

/// What the database says about the copy into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backends) struct CopyRecord {
    pub source_epoch: Epoch,
    pub source_boot_id: Vec<u8>,
    pub keyspace: String,
    pub keyspace_epoch: Epoch,
    pub begun_at_ms: i64,
    /// The logs of all conversations up to this one are copied.
    pub logs_done: Option<i64>,
    pub finished_at_ms: Option<i64>,
}

/// The accounts of a cluster that a copy is made into.
pub(in crate::backends) struct CopiedAccounts {
    client: Client,
    at: String,
}

impl CopiedAccounts {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    /// Each says what to do.
    pub(in crate::backends) async fn connect(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let connector = Connector::new(options)?;
        migrate(&connector).await?;
        let client = connector.plain().await?;
        let this = Self { client, at: connector.at().to_owned() };
        let settings = format!(
            "SET statement_timeout = {}; SET synchronous_commit = on; SET jit = off",
            Duration::as_millis(&STATEMENT_TIMEOUT)
        );
        let set = this.client.batch_execute(&settings).await;
        set.map_err(|error| PostgresError::Connect {
            at: this.at.clone(),
            reason: chain(&error),
            advice: "look into the server's log",
        })?;
        Ok(this)
    }

    /// Returns hosts and database, for messages.
    pub(in crate::backends) fn at(&self) -> &str {
        &self.at
    }

    /// Takes the lock, which ends with this connection; says whether it was free.
    pub(in crate::backends) async fn lock(&self) -> StoreResult<bool> {
        self.value("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await
    }

    // ---- what is known of the copy

    /// Returns the record of the copy, if there is one.
    pub(in crate::backends) async fn record(&self) -> StoreResult<Option<CopyRecord>> {
        let ask = "SELECT source_epoch, source_boot_id, keyspace, keyspace_epoch, begun_at_ms, logs_done, finished_at_ms FROM copies";
        let Some(row) = self.client.query_opt(ask, &[]).await.map_err(|error| self.fault(&error))? else {
            return Ok(None);
        };
        let read = || -> Result<CopyRecord, tokio_postgres::Error> {
            Ok(CopyRecord {
                source_epoch: Epoch(row.try_get::<_, i64>(0)?.cast_unsigned()),
                source_boot_id: row.try_get(1)?,
                keyspace: row.try_get(2)?,
                keyspace_epoch: Epoch(row.try_get::<_, i64>(3)?.cast_unsigned()),
                begun_at_ms: row.try_get(4)?,
                logs_done: row.try_get(5)?,
                finished_at_ms: row.try_get(6)?,
            })
        };
        read().map(Some).map_err(|error| self.fault(&error))
    }

    /// Begins a copy: from here on no node starts until it is finished.
    pub(in crate::backends) async fn begin(&self, record: &CopyRecord) -> StoreResult<()> {
        let sql = "INSERT INTO copies (one, source_epoch, source_boot_id, keyspace, keyspace_epoch, begun_at_ms) \
                   VALUES (1, $1, $2, $3, $4, $5)";
        let (source, keyspace) = (record.source_epoch.0.cast_signed(), record.keyspace_epoch.0.cast_signed());
        self.run(sql, &[&source, &record.source_boot_id, &record.keyspace, &keyspace, &record.begun_at_ms]).await
    }

    /// Notes that the logs of all conversations up to this one are copied.
    pub(in crate::backends) async fn note_logs(&self, upto: i64) -> StoreResult<()> {
        self.run("UPDATE copies SET logs_done = $1", &[&upto]).await
    }

    /// Notes that the copy is whole: nodes may start.
    pub(in crate::backends) async fn finish(&self, at_ms: i64) -> StoreResult<()> {
        self.run("UPDATE copies SET finished_at_ms = $1", &[&at_ms]).await
    }

    /// Names a table that has a row; `None`: nobody has made anything here yet.
    pub(in crate::backends) async fn occupied(&self) -> StoreResult<Option<&'static str>> {
        for table in TABLES {
            if self.value(&format!("SELECT EXISTS (SELECT 1 FROM {table})"), &[]).await? {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    // ---- what must not go back

    /// Returns the epoch of the log that these accounts belong to.
    pub(in crate::backends) async fn log_epoch(&self) -> StoreResult<Option<Epoch>> {
        let stored: Option<i64> = self.value("SELECT log_epoch FROM store_info", &[]).await?;
        Ok(stored.map(|epoch| Epoch(epoch.cast_unsigned())))
    }

    /// Replaces the epoch of the log that these accounts belong to.
    pub(in crate::backends) async fn put_log_epoch(&self, epoch: Epoch) -> StoreResult<()> {
        self.run("UPDATE store_info SET log_epoch = $1", &[&epoch.0.cast_signed()]).await
    }

    /// Raises the terms of shards; later ones are larger.
    pub(in crate::backends) async fn raise_terms(&self, terms: &[(Shard, Term)]) -> StoreResult<()> {
        let (shards, terms): (Vec<_>, Vec<_>) =
            terms.iter().map(|(shard, term)| (i16::from(shard.0), term.0.cast_signed())).unzip();
        let sql = "INSERT INTO shard_terms AS there (shard, term) \
                   SELECT new.shard, max(new.term) FROM unnest($1::smallint[], $2::bigint[]) AS new (shard, term) GROUP BY new.shard \
                   ON CONFLICT (shard) DO UPDATE SET term = greatest(there.term, excluded.term)";
        self.run(sql, &[&shards, &terms]).await
    }

    /// Takes a term of every shard, larger than any before, in their order.
    pub(in crate::backends) async fn next_terms(&self) -> StoreResult<Vec<Term>> {
        let sql = "INSERT INTO shard_terms AS there (shard, term) SELECT n, 1 FROM generate_series(0, 255) AS n \
                   ON CONFLICT (shard) DO UPDATE SET term = there.term + 1 RETURNING shard, term";
        let rows = self.client.query(sql, &[]).await.map_err(|error| self.fault(&error))?;
        let mut terms = vec![Term(0); Shard::COUNT];
        for row in rows {
            let shard: i16 = row.try_get(0).map_err(|error| self.fault(&error))?;
            let term: i64 = row.try_get(1).map_err(|error| self.fault(&error))?;
            if let Some(place) = usize::try_from(shard).ok().and_then(|shard| terms.get_mut(shard)) {
                *place = Term(term.cast_unsigned());
            }
        }
        Ok(terms)
    }

    /// Makes the ids of these nodes' numbers begin after what is reserved here.
    pub(in crate::backends) async fn raise_reservations(&self, reserved: &[(u16, i64)]) -> StoreResult<()> {
        let (nodes, until_ms): (Vec<_>, Vec<_>) =
            reserved.iter().map(|(node, until_ms)| (i32::from(*node), *until_ms)).unzip();
        let sql = "INSERT INTO id_reservations AS there (node, before_ms, until_ms) \
                   SELECT new.node, 0, new.until_ms FROM unnest($1::integer[], $2::bigint[]) AS new (node, until_ms) \
                   ON CONFLICT (node) DO UPDATE SET until_ms = greatest(there.until_ms, excluded.until_ms)";
        self.run(sql, &[&nodes, &until_ms]).await
    }

    /// Returns the terms and reservations that are lower than these: none, unless something went wrong.
    pub(in crate::backends) async fn lower(
        &self,
        terms: &[(Shard, Term)],
        reserved: &[(u16, i64)],
    ) -> StoreResult<Vec<String>> {
        let mut lower = Vec::new();
        for (shard, term) in terms {
            let there: Option<i64> =
                self.value("SELECT (SELECT term FROM shard_terms WHERE shard = $1)", &[&i16::from(shard.0)]).await?;
            if there.is_none_or(|there| there.cast_unsigned() < term.0) {
                lower.push(format!("the term of shard {} is lower", shard.0));
            }
        }
        for (node, until_ms) in reserved {
            let there: Option<i64> = self
                .value("SELECT (SELECT until_ms FROM id_reservations WHERE node = $1)", &[&i32::from(*node)])
                .await?;
            if there.is_none_or(|there| there < *until_ms) {
                lower.push(format!("the reserved time of node number {node} ends earlier"));
            }
        }
        Ok(lower)
    }

    // ---- tables

    /// Adds rows that aren't there yet. All of them or none.
    pub(in crate::backends) async fn insert<T: Table>(&self, rows: &[T]) -> StoreResult<()> {
        let columns: Vec<&str> = T::COLUMNS.iter().map(|column| column.target).collect();
        let arrays: Vec<String> =
            T::COLUMNS.iter().zip(1..).map(|(column, n)| format!("${n}::{}[]", column.sql_type)).collect();
        let sql = format!(
            "INSERT INTO {} ({}) SELECT * FROM unnest({}) ON CONFLICT ({}) DO NOTHING",
            T::NAME,
            columns.join(", "),
            arrays.join(", "),
            key_columns::<T>(),
        );
        let values = T::values(rows);
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|column| &**column as &(dyn ToSql + Sync)).collect();
        self.run(&sql, &values).await
    }

    /// Returns the row with the largest key.
    pub(in crate::backends) async fn last<T: Table>(&self) -> StoreResult<Option<T>> {
        let descending: Vec<String> = T::KEY.iter().map(|key| format!("{key} DESC")).collect();
        let sql = format!("SELECT {} FROM {} ORDER BY {} LIMIT 1", listed::<T>(), T::NAME, descending.join(", "));
        let row = self.client.query_opt(&sql, &[]).await.map_err(|error| self.fault(&error))?;
        row.map(|row| self.read(&row)).transpose()
    }

    /// Returns a page of rows after this one, by ascending key.
    pub(in crate::backends) async fn page<T: Table>(&self, after: Option<&T>) -> StoreResult<Vec<T>> {
        let key = key_columns::<T>();
        let (columns, table, limit) = (listed::<T>(), T::NAME, PAGE_ROWS);
        let rows = match after {
            None => {
                let sql = format!("SELECT {columns} FROM {table} ORDER BY {key} LIMIT {limit}");
                self.client.query(&sql, &[]).await
            }
            Some(row) => {
                let places: Vec<String> = (1..=T::KEY.len()).map(|n| format!("${n}")).collect();
                let places = places.join(", ");
                let sql =
                    format!("SELECT {columns} FROM {table} WHERE ({key}) > ({places}) ORDER BY {key} LIMIT {limit}");
                self.client.query(&sql, &row.key()).await
            }
        };
        rows.map_err(|error| self.fault(&error))?.iter().map(|row| self.read(row)).collect()
    }

    fn read<T: Table>(&self, row: &Row) -> StoreResult<T> {
        T::read(row).map_err(|error| self.fault(&error))
    }

    async fn run(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> StoreResult<()> {
        self.client.execute(sql, values).await.map(|_| ()).map_err(|error| self.fault(&error))
    }

    async fn value<V>(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> StoreResult<V>
    where
        V: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = self.client.query_one(sql, values).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &tokio_postgres::Error) -> StoreError {
        let said = format!("Postgres at {}: {}", self.at, chain(error));
        match error.code() {
            Some(&SqlState::UNIQUE_VIOLATION | &SqlState::FOREIGN_KEY_VIOLATION) => StoreError::Corrupt(said),
            _ => StoreError::Unavailable(said),
        }
    }
}

fn key_columns<T: Table>() -> String {
    T::KEY.join(", ")
}

fn listed<T: Table>() -> String {
    T::COLUMNS.iter().map(|Column { target, .. }| *target).collect::<Vec<_>>().join(", ")
}
