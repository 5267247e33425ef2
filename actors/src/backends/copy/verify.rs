//! Reading both stores again and comparing them, row by row. What isn't the same is named.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use chinwag_schema::{
    ids::ConversationId,
    limits::copy::{LOGS_AT_ONCE, LOGS_PER_NOTE, SENDERS_PER_BATCH},
};
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::{
    Event, Table,
    canonical::Canonical,
    event::finished,
    job::{Meter, Step, source_page},
    summary::{Compared, Counted, Summary},
    tables::{ConversationRow, MemberRow, RefreshTokenRow, RevokedTokenRow, UserRow},
};
use crate::{
    backends::{
        clustered::{postgres::CopiedAccounts, scylla::CopiedLogs},
        embedded::{LogHead, Source},
    },
    ports::{StoreError, StoreResult},
};

/// Everything that comparing needs.
pub(super) struct Verifier<'a> {
    pub source: &'a Source,
    pub accounts: &'a CopiedAccounts,
    pub logs: &'a CopiedLogs<'a>,
    pub meter: &'a Meter<'a>,
}

/// Rows of one side while they are counted.
#[derive(Default)]
struct Counting {
    rows: u64,
    sum: Sha256,
}

impl Counting {
    fn end(self) -> Counted {
        Counted { rows: self.rows, sum: finished(self.sum) }
    }
}

/// One log, compared.
#[derive(Default)]
struct LogFound {
    source: Side,
    target: Side,
    summary: Summary,
}

/// What one side has of a log.
#[derive(Default)]
struct Side {
    /// Of all its events, by their order.
    sum: Sha256,
    events: u64,
    message_ids: u64,
}

impl Side {
    fn event(&mut self, event: &Event) {
        event.feed(&mut self.sum);
        self.events += 1;
    }
}

impl Verifier<'_> {
    /// Compares everything.
    pub(super) async fn verify(&self) -> StoreResult<Summary> {
        let mut summary = self.table::<UserRow>().await?;
        summary.add(self.table::<RefreshTokenRow>().await?);
        summary.add(self.table::<RevokedTokenRow>().await?);
        summary.add(self.table::<ConversationRow>().await?);
        summary.add(self.table::<MemberRow>().await?);
        summary.add(self.all_logs().await?);
        Ok(summary)
    }

    /// Compares a table: both sides in the order of keys, side by side.
    async fn table<T: Table>(&self) -> StoreResult<Summary> {
        let mut summary = Summary::default();
        let (mut source, mut target) = (Counting::default(), Counting::default());
        let (mut here, mut there) = (Rows::<T>::default(), Rows::<T>::default());
        loop {
            if here.needs_more() {
                let page = source_page(self.source, here.last.take()).await?;
                self.meter.add(Step::Verifying, page.len());
                here.put(page);
            }
            if there.needs_more() {
                there.put(self.accounts.page(there.last.as_ref()).await?);
            }
            let order = match (here.page.peek(), there.page.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.compare_keys(other),
            };
            let one = if order.is_le() { here.next(&mut source) } else { None };
            let other = if order.is_ge() { there.next(&mut target) } else { None };
            match (&one, &other) {
                (Some(one), Some(other)) if one.differences(other).is_empty() => {}
                (Some(one), Some(other)) => {
                    summary.differs(|| format!("{}: {}", one.describe(), one.differences(other).join(", ")));
                }
                (Some(one), None) => summary.differs(|| format!("{}: is missing in the cluster", one.describe())),
                (None, Some(other)) => summary.differs(|| format!("{}: is only in the cluster", other.describe())),
                (None, None) => {}
            }
            here.passed(one);
            there.passed(other);
        }
        summary.compared.push(Compared { what: told(T::NAME), source: source.end(), target: target.end() });
        Ok(summary)
    }

    async fn all_logs(&self) -> StoreResult<Summary> {
        let mut summary = Summary::default();
        let (mut logs, mut target_logs) = (Counting::default(), Counting::default());
        let (mut events, mut target_events) = (Counting::default(), Counting::default());
        let (mut ids, mut target_ids) = (Counting::default(), Counting::default());
        let mut after = i64::MIN;
        loop {
            let page = self.source.logs(after, LOGS_PER_NOTE).await?;
            let Some(last) = page.last() else { break };
            after = last.conversation;
            let mut found = stream::iter(&page).map(async |log| (log, self.log(log).await)).buffered(LOGS_AT_ONCE);
            while let Some((log, found)) = found.next().await {
                let LogFound { source, target, summary: of_log } = found?;
                logs.rows += 1;
                target_logs.rows += u64::from(target.events > 0 || of_log.differences_count == 0);
                events.rows += source.events;
                target_events.rows += target.events;
                ids.rows += source.message_ids;
                target_ids.rows += target.message_ids;
                for (all, side) in [(&mut events.sum, source.sum), (&mut target_events.sum, target.sum)] {
                    log.conversation.feed(all);
                    all.update(finished(side));
                }
                // Heads that differ are told by name.
                for all in [&mut logs.sum, &mut target_logs.sum] {
                    log.conversation.feed(all);
                }
                summary.add(of_log);
            }
        }
        let remembered = self.source.message_ids().await?.cast_unsigned();
        if remembered != ids.rows {
            summary
                .differs(|| format!("the source remembers {remembered} message ids, but its events have {}", ids.rows));
        }
        for (what, source, target) in
            [("logs", logs, target_logs), ("events", events, target_events), ("message ids", ids, target_ids)]
        {
            summary.compared.push(Compared { what, source: source.end(), target: target.end() });
        }
        Ok(summary)
    }

    /// Compares a log: its head, its events, the ids by which repeats are found, the totals of senders.
    async fn log(&self, log: &LogHead) -> StoreResult<LogFound> {
        let conversation = ConversationId(log.conversation);
        let mut found = LogFound::default();
        let head = self.logs.head(conversation).await?;
        let same = [
            ("head", head.seq.0 == log.head.cast_unsigned()),
            ("oldest event", head.oldest_seq.0 == log.oldest_seq.cast_unsigned()),
            ("messages in all", head.messages == log.messages.cast_unsigned()),
            ("last id", head.last_id.0 == log.last_id),
            ("last time", head.last_at_ms == log.last_at_ms),
        ];
        for (field, _) in same.into_iter().filter(|(_, same)| !same) {
            found.summary.differs(|| format!("conversation {conversation}: {field}"));
        }
        if self.logs.has_more(conversation, log.head).await? {
            found.summary.differs(|| format!("conversation {conversation}: events beyond the head"));
        }
        let first = self.logs.bucket(log.oldest_seq);
        let before = self.logs.bucket(log.oldest_seq - 1);
        let mut in_both = BTreeSet::new();
        if log.oldest_seq <= log.head {
            for bucket in first..=self.logs.bucket(log.head) {
                let senders = self.bucket(log, bucket, &mut found).await?;
                if bucket == before {
                    in_both = senders;
                }
            }
        }
        if log.oldest_seq > 1 {
            self.removed(conversation, before, &in_both, &mut found.summary).await?;
        }
        Ok(found)
    }

    /// Compares what a log has in one bucket; returns its senders.
    async fn bucket(&self, log: &LogHead, bucket: i64, found: &mut LogFound) -> StoreResult<BTreeSet<i64>> {
        let conversation = ConversationId(log.conversation);
        let last = self.logs.last_of(bucket).min(log.head);
        let mut at = if bucket == 0 { 0 } else { self.logs.last_of(bucket - 1) }.max(log.oldest_seq - 1);
        let mut ids = BTreeSet::new();
        let mut totals = BTreeMap::new();
        while at < last {
            let here = self.source.events(log.conversation, at, last).await?;
            let Some(upto) = here.last().map(|event| event.seq) else {
                return Err(StoreError::Corrupt(format!("conversation {conversation} has no event {}", at + 1)));
            };
            let there = self.logs.events(conversation, at + 1, upto).await?;
            compare_events(conversation, &here, &there, found);
            for event in here {
                totals.insert(event.sender, event.own);
                ids.extend(event.client_id.map(|id| (event.sender, id, event.seq)));
            }
            self.meter.add(Step::Verifying, usize::try_from(upto - at).unwrap_or(0));
            at = upto;
        }
        let stored: BTreeSet<_> = self.logs.message_ids(conversation, bucket).await?.into_iter().collect();
        found.source.message_ids += ids.len() as u64;
        found.target.message_ids += stored.len() as u64;
        for (_, _, seq) in ids.symmetric_difference(&stored) {
            found.summary.differs(|| {
                format!("conversation {conversation}, event {seq}: the message id by which repeats are found")
            });
        }
        let senders: Vec<i64> = totals.keys().copied().collect();
        let stored = self.logs.totals(conversation, bucket, &senders).await?;
        for (sender, own) in &totals {
            if stored.get(sender) != Some(own) {
                found
                    .summary
                    .differs(|| format!("conversation {conversation}: messages of sender {sender} up to event {last}"));
            }
        }
        Ok(totals.into_keys().collect())
    }

    /// Compares the totals of senders at the beginning of a log. Those who have events in the same bucket have a later one there.
    async fn removed(
        &self,
        conversation: ConversationId,
        bucket: i64,
        later: &BTreeSet<i64>,
        summary: &mut Summary,
    ) -> StoreResult<()> {
        self.source.stage_removed(conversation.0).await?;
        let mut after = i64::MIN;
        loop {
            let totals = self.source.removed(conversation.0, after, SENDERS_PER_BATCH).await?;
            let Some((last, _)) = totals.last() else { break };
            after = *last;
            let senders: Vec<i64> =
                totals.iter().map(|(sender, _)| *sender).filter(|sender| !later.contains(sender)).collect();
            let stored = self.logs.totals(conversation, bucket, &senders).await?;
            for (sender, own) in totals.iter().filter(|(sender, _)| !later.contains(sender)) {
                if stored.get(sender) != Some(own) {
                    summary.differs(|| {
                        format!("conversation {conversation}: messages of sender {sender} that were removed")
                    });
                }
            }
        }
        self.source.forget_removed(conversation.0).await
    }
}

fn compare_events(conversation: ConversationId, here: &[Event], there: &[Event], found: &mut LogFound) {
    let by_seq: BTreeMap<i64, &Event> = there.iter().map(|event| (event.seq, event)).collect();
    for event in here {
        found.source.event(event);
        let seq = event.seq;
        match by_seq.get(&seq).map(|other| event.differences(other)) {
            None => {
                found.summary.differs(|| format!("conversation {conversation}, event {seq}: is missing in the cluster"))
            }
            Some(fields) if fields.is_empty() => {}
            Some(fields) => {
                found.summary.differs(|| format!("conversation {conversation}, event {seq}: {}", fields.join(", ")));
            }
        }
    }
    // Between the first and the last of the source there is no hole, so none of these is one too many.
    for event in there {
        found.target.event(event);
    }
}

/// A page of one side.
struct Rows<T> {
    page: std::iter::Peekable<std::vec::IntoIter<T>>,
    /// The row after which the next page begins.
    last: Option<T>,
    ended: bool,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { page: Vec::new().into_iter().peekable(), last: None, ended: false }
    }
}

impl<T: Table> Rows<T> {
    fn needs_more(&mut self) -> bool {
        !self.ended && self.page.peek().is_none()
    }

    fn put(&mut self, page: Vec<T>) {
        self.ended = page.is_empty();
        self.page = page.into_iter().peekable();
    }

    fn next(&mut self, counting: &mut Counting) -> Option<T> {
        let row = self.page.next()?;
        row.feed(&mut counting.sum);
        counting.rows += 1;
        Some(row)
    }

    fn passed(&mut self, row: Option<T>) {
        if row.is_some() {
            self.last = row;
        }
    }
}

fn told(table: &'static str) -> &'static str {
    match table {
        "refresh_tokens" => "refresh tokens",
        "revoked_tokens" => "revoked tokens",
        other => other,
    }
}
