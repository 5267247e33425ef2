//! A copy from its first look to its last word.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use chinwag_schema::{
    ids::{ConversationId, Epoch, Shard, Term},
    limits::copy::PAGE_ROWS,
};

use super::{
    CopyError, Summary, Table,
    logs::Logs,
    tables::{ConversationRow, MemberRow, RefreshTokenRow, RevokedTokenRow, UserRow},
    verify::Verifier,
};
use crate::{
    backends::{
        clustered::{
            postgres::{CopiedAccounts, CopyRecord, PostgresOptions},
            scylla::{CopiedLogs, ScyllaMessages, ScyllaOptions},
        },
        embedded::{Identity, Source},
    },
    ports::{StoreError, StoreResult, directory::Directory, message_store::MessageStore as _},
    runtime::Clock,
};

/// Where from and where to.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The data directory of a stopped server.
    pub from: PathBuf,
    pub postgres: PostgresOptions,
    /// Its retention is left aside: what is copied is as old as it is, and the nodes' job removes it.
    pub scylla: ScyllaOptions,
}

/// What a copy is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Accounts, tokens, conversations and members: rows.
    Accounts,
    /// Logs: events.
    Messages,
    /// Both stores are read again: rows and events.
    Verifying,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub step: Step,
    /// What was there already, from an earlier run, isn't counted.
    pub done: u64,
    /// In all.
    pub of: u64,
}

/// Counts what is done, and tells.
pub(super) struct Meter<'a> {
    tell: &'a (dyn Fn(Progress) + Sync),
    done: [AtomicU64; 3],
    of: [u64; 3],
}

impl Meter<'_> {
    pub(super) fn add(&self, step: Step, count: usize) {
        let count = count as u64;
        let done = self.done[step as usize].fetch_add(count, Relaxed) + count;
        (self.tell)(Progress { step, done, of: self.of[step as usize] });
    }
}

/// Copies a store into a cluster, or goes on with a copy that was interrupted; compares both; marks the source as moved if they are the same.
/// Otherwise the summary says what differs, and neither the source nor the cluster is released.
///
/// # Errors
/// See [`CopyError`].
pub async fn copy(
    options: &CopyOptions,
    directory: &dyn Directory,
    clock: &dyn Clock,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Summary, CopyError> {
    let source = Source::open(&options.from)?;
    let accounts = CopiedAccounts::connect(&options.postgres).await?;
    let scylla = ScyllaOptions { retention: None, ..options.scylla.clone() };
    let messages = ScyllaMessages::connect(&scylla).await?;
    let logs = messages.copied_logs().await.map_err(CopyError::when("connecting to the log"))?;
    let job = Job { options, directory, clock, source, accounts, logs };
    let found = messages.epoch().await.map_err(CopyError::when("reading the log's epoch"))?;
    let record = job.admit(found).await?;
    job.run(&record, found, tell).await
}

struct Job<'a> {
    options: &'a CopyOptions,
    directory: &'a dyn Directory,
    clock: &'a dyn Clock,
    source: Source,
    accounts: CopiedAccounts,
    logs: CopiedLogs<'a>,
}

impl Job<'_> {
    /// Sees that this copy may begin, or go on; returns its record, which keeps nodes from starting.
    async fn admit(&self, found: Epoch) -> Result<CopyRecord, CopyError> {
        let doing = CopyError::when("looking at the cluster");
        let at = || self.accounts.at().to_owned();
        let keyspace = &self.options.scylla.keyspace;
        if !self.accounts.lock().await.map_err(&doing)? {
            return Err(CopyError::CopyRunning { at: at() });
        }
        self.refuse_nodes().await?;
        let moved = self.source.moved()?;
        let known = self.source.identity().await.map_err(CopyError::when("reading the source"))?;
        if let Some(record) = self.accounts.record().await.map_err(&doing)? {
            let same = known.as_ref().is_some_and(|known| is_of(&record, known)) && record.keyspace == *keyspace;
            if !same && record.finished_at_ms.is_some() {
                return Err(not_empty("the accounts of an earlier copy", at()));
            }
            if !same {
                return Err(CopyError::OtherSource { at: at(), keyspace: record.keyspace });
            }
            if found != record.keyspace_epoch && found != record.source_epoch {
                return Err(not_empty("the messages of something else", format!("the keyspace {keyspace}")));
            }
            self.refuse_moved(moved, known.as_ref())?;
            return if record.finished_at_ms.is_some() { Err(CopyError::Done { at: at() }) } else { Ok(record) };
        }
        if moved.is_some() {
            return Err(self.moved_elsewhere());
        }
        if let Some(table) = self.accounts.occupied().await.map_err(&doing)? {
            return Err(not_empty(table, at()));
        }
        if !self.logs.is_empty().await.map_err(&doing)? {
            return Err(not_empty("messages", format!("the keyspace {keyspace}")));
        }
        if let Some(expected) = self.accounts.log_epoch().await.map_err(&doing)?.filter(|epoch| *epoch != found) {
            let (expected, found, keyspace) = (expected.to_string(), found.to_string(), keyspace.clone());
            return Err(CopyError::OtherLog { at: at(), keyspace, expected, found });
        }
        let Identity { epoch, boot_id } = self.source.settle().await?;
        let record = CopyRecord {
            source_epoch: epoch,
            source_boot_id: boot_id,
            keyspace: keyspace.clone(),
            keyspace_epoch: found,
            begun_at_ms: self.clock.unix_ms(),
            logs_done: None,
            finished_at_ms: None,
        };
        self.accounts.begin(&record).await.map_err(&doing)?;
        // One may have started since the first look; from here on none does.
        self.refuse_nodes().await?;
        Ok(record)
    }

    async fn refuse_nodes(&self) -> Result<(), CopyError> {
        let nodes = self.directory.nodes().await.map_err(CopyError::when("looking for nodes in Redis"))?;
        if nodes.is_empty() { Ok(()) } else { Err(CopyError::NodesRunning) }
    }

    fn refuse_moved(&self, moved: Option<String>, known: Option<&Identity>) -> Result<(), CopyError> {
        let ours = known.map(|known| format!("copy {known}\n")).unwrap_or_default();
        if moved.is_some_and(|text| ours.is_empty() || !text.contains(&ours)) {
            return Err(self.moved_elsewhere());
        }
        Ok(())
    }

    fn moved_elsewhere(&self) -> CopyError {
        CopyError::MovedElsewhere { path: self.options.from.display().to_string() }
    }

    async fn run(
        &self,
        record: &CopyRecord,
        found: Epoch,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Summary, CopyError> {
        let copying = CopyError::when("copying");
        let sizes = self.source.sizes().await.map_err(&copying)?;
        let (accounts, events) = (sizes.accounts.cast_unsigned(), sizes.events.cast_unsigned());
        let meter = Meter { tell, done: Default::default(), of: [accounts, events, accounts + events] };
        self.logs.replace_epoch(found, record.source_epoch).await.map_err(&copying)?;
        self.accounts.put_log_epoch(record.source_epoch).await.map_err(&copying)?;
        let terms = self.take_terms().await.map_err(&copying)?;
        self.copy_accounts(&meter).await.map_err(CopyError::when("copying accounts"))?;
        let logs =
            Logs { source: &self.source, accounts: &self.accounts, target: &self.logs, terms: &terms, meter: &meter };
        logs.copy(record.logs_done.unwrap_or(i64::MIN)).await.map_err(CopyError::when("copying messages"))?;

        let verifier = Verifier { source: &self.source, accounts: &self.accounts, logs: &self.logs, meter: &meter };
        let mut summary = verifier.verify().await.map_err(CopyError::when("comparing both stores"))?;
        for lower in self.lower().await.map_err(CopyError::when("comparing both stores"))? {
            summary.differs(|| lower);
        }
        if summary.differences_count == 0 {
            self.release(record).await?;
        }
        Ok(summary)
    }

    /// Carries what must never go back, and returns a term of each shard that is larger than any that the source knows.
    async fn take_terms(&self) -> StoreResult<Vec<Term>> {
        self.accounts.raise_reservations(&self.source.reservations().await?).await?;
        self.accounts.raise_terms(&self.terms_of_source().await?).await?;
        self.accounts.next_terms().await
    }

    /// Returns the largest term of each shard, given or found in a log.
    async fn terms_of_source(&self) -> StoreResult<Vec<(Shard, Term)>> {
        let mut terms = vec![Term(0); Shard::COUNT];
        let mut raise = |shard: Shard, term: Term| {
            let place = &mut terms[usize::from(shard.0)];
            *place = (*place).max(term);
        };
        for (shard, term) in self.source.terms().await? {
            raise(shard, term);
        }
        let mut after = i64::MIN;
        loop {
            let logs = self.source.logs(after, PAGE_ROWS).await?;
            let Some(last) = logs.last() else { break };
            after = last.conversation;
            for log in &logs {
                raise(ConversationId(log.conversation).shard(), Term(log.term.cast_unsigned()));
            }
        }
        let known = (0..=u8::MAX).map(Shard).zip(terms);
        Ok(known.filter(|(_, term)| *term > Term(0)).collect())
    }

    /// Users first: others refer to them.
    async fn copy_accounts(&self, meter: &Meter<'_>) -> StoreResult<()> {
        self.copy_table::<UserRow>(meter).await?;
        self.copy_table::<RefreshTokenRow>(meter).await?;
        self.copy_table::<RevokedTokenRow>(meter).await?;
        self.copy_table::<ConversationRow>(meter).await?;
        self.copy_table::<MemberRow>(meter).await
    }

    /// Copies a table, from its largest key in the cluster on: pages are written in the order of keys, each wholly or not at all.
    async fn copy_table<T: Table>(&self, meter: &Meter<'_>) -> StoreResult<()> {
        let mut last: Option<T> = self.accounts.last().await?;
        loop {
            let mut page = source_page(&self.source, last.take()).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.accounts.insert(&page).await?;
            meter.add(Step::Accounts, page.len());
            last = page.pop();
        }
    }

    async fn lower(&self) -> StoreResult<Vec<String>> {
        let (terms, reserved) = (self.terms_of_source().await?, self.source.reservations().await?);
        self.accounts.lower(&terms, &reserved).await
    }

    /// Marks the source as moved, then lets nodes start. In this order: never may both be served.
    async fn release(&self, record: &CopyRecord) -> Result<(), CopyError> {
        // One that looked whether there is a copy just before it began may have joined since.
        self.refuse_nodes().await?;
        let identity = Identity { epoch: record.source_epoch, boot_id: record.source_boot_id.clone() };
        self.source.mark_moved(&format!(
            "copy {identity}\n\
             The store in this directory was moved to a cluster by `chinwag copy`: accounts to {}, messages to the keyspace {}.\n\
             A server refuses to serve it. To serve it here all the same, without what was said in the cluster since, remove this file:\n\
             the log gets a new epoch then, and clients that saw later messages begin anew.\n",
            self.accounts.at(),
            record.keyspace,
        ))?;
        self.accounts.finish(self.clock.unix_ms()).await.map_err(CopyError::when("releasing the cluster"))
    }
}

/// Reads a page of a table from the source.
pub(super) async fn source_page<T: Table>(source: &Source, after: Option<T>) -> StoreResult<Vec<T>> {
    source
        .read(move |conn| {
            T::source_page(conn, after.as_ref(), PAGE_ROWS)
                .map_err(|error| StoreError::Unavailable(format!("reading {}: {error}", T::NAME)))
        })
        .await
}

fn not_empty(what: &str, place: String) -> CopyError {
    CopyError::NotEmpty { what: what.replace('_', " "), place }
}

fn is_of(record: &CopyRecord, known: &Identity) -> bool {
    record.source_epoch == known.epoch && record.source_boot_id == known.boot_id
}
