//! Reading the log: pages, and one event by its id.

use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, EventId, Seq},
};
use futures_util::future::try_join;

use super::{
    log::Log,
    rows::{EventRow, StoredEvent, StoredLog, from_seq, to_seq},
};
use crate::ports::{
    StoreResult,
    message_store::{Direction, Filter, Page},
};

/// Most events of one page, whatever the caller asks for: bounds memory. Callers that page on see no difference.
const PAGE_EVENTS_MAX: usize = 4096;

/// What a page wants of each bucket that it comes to.
struct Wanted {
    filter: Filter,
    /// Not below it: retention has removed, or removes now, what is there.
    from: i64,
    before: i64,
    count: usize,
}

impl Log {
    /// Reads a page.
    pub(super) async fn page(
        &self,
        conversation: ConversationId,
        direction: Direction,
        limit: usize,
        filter: Filter,
    ) -> StoreResult<Page> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        let log = self.stored_log(conversation).await?;
        let Some(hint) = log.head_bucket else {
            return Ok(Page { complete: true, oldest_seq: Seq(1), ..Page::default() });
        };
        // One more than asked for, to know whether there is more.
        let wanted = |from, before| Wanted { filter, from, before, count: limit + 1 };
        let rows = async {
            match direction {
                Direction::Before(before) => {
                    self.newest(conversation, &log, hint, wanted(log.oldest(), from_seq(before))).await
                }
                Direction::After(after) => {
                    let from = from_seq(after).saturating_add(1).max(log.oldest());
                    self.oldest_after(conversation, hint, wanted(from, i64::MAX)).await
                }
            }
        };
        let (mut rows, oldest) = try_join(rows, self.oldest_known(conversation, &log)).await?;
        let complete = rows.len() <= limit;
        rows.truncate(limit);
        if matches!(direction, Direction::Before(_)) {
            rows.reverse();
        }
        self.overlay(conversation, &log, &mut rows).await?;
        let events = rows.iter().map(EventRow::event).collect::<StoreResult<_>>()?;
        Ok(Page { events, complete, oldest_seq: to_seq(oldest), targets: Vec::new() })
    }

    async fn oldest_known(&self, conversation: ConversationId, log: &StoredLog) -> StoreResult<i64> {
        if !log.expiring.unwrap_or(false) {
            return Ok(log.oldest());
        }
        let end = self.end(conversation, log).await?.unwrap_or_default();
        self.oldest(conversation, log, end.head).await
    }

    /// Reads backwards, newest first.
    async fn newest(
        &self,
        conversation: ConversationId,
        log: &StoredLog,
        hint: i64,
        wanted: Wanted,
    ) -> StoreResult<Vec<EventRow>> {
        let mut rows = Vec::new();
        let mut bucket = self.buckets.of(wanted.before.saturating_sub(1));
        if bucket > hint {
            bucket = self.end(conversation, log).await?.unwrap_or_default().bucket.min(bucket);
        }
        let statement = match wanted.filter {
            Filter::All => &self.statements.newest,
            Filter::Messages => &self.statements.newest_messages,
        };
        let lowest = self.buckets.of(wanted.from);
        while rows.len() < wanted.count && bucket >= lowest {
            let limit = i32::try_from(wanted.count - rows.len()).unwrap_or(i32::MAX);
            let values = (conversation.0, bucket, wanted.from, wanted.before, limit);
            for stored in self.server.rows::<StoredEvent>(statement, values).await? {
                rows.extend(stored.read()?);
            }
            bucket -= 1;
        }
        Ok(rows)
    }

    /// Reads forwards.
    async fn oldest_after(
        &self,
        conversation: ConversationId,
        hint: i64,
        wanted: Wanted,
    ) -> StoreResult<Vec<EventRow>> {
        let mut rows: Vec<EventRow> = Vec::new();
        let mut bucket = self.buckets.of(wanted.from);
        let statement = match wanted.filter {
            Filter::All => &self.statements.oldest,
            Filter::Messages => &self.statements.oldest_messages,
        };
        // The head may be in the bucket after the one where it is looked for.
        while rows.len() < wanted.count && (bucket <= hint + 1 || !rows.is_empty()) {
            let limit = i32::try_from(wanted.count - rows.len()).unwrap_or(i32::MAX);
            let values = (conversation.0, bucket, wanted.from, wanted.before, limit);
            for stored in self.server.rows::<StoredEvent>(statement, values).await? {
                rows.extend(stored.read()?);
            }
            if bucket >= hint
                && rows.len() < wanted.count
                && !self.is_full(conversation, bucket, &rows, &wanted).await?
            {
                break;
            }
            bucket += 1;
        }
        Ok(rows)
    }

    /// Says whether a bucket whose rest was just read is full, so that there may be more after it.
    async fn is_full(
        &self,
        conversation: ConversationId,
        bucket: i64,
        rows: &[EventRow],
        wanted: &Wanted,
    ) -> StoreResult<bool> {
        let last = self.buckets.last(bucket);
        if wanted.filter == Filter::All {
            return Ok(wanted.from > last || rows.last().is_some_and(|row| row.seq == last));
        }
        Ok(self.statics(conversation, bucket).await?.head == Some(last))
    }

    /// Finds an event by halving the range of buckets: ids grow with seqs.
    pub(super) async fn find(&self, conversation: ConversationId, id: EventId) -> StoreResult<Option<LogEvent>> {
        let log = self.stored_log(conversation).await?;
        let Some(end) = self.end(conversation, &log).await? else { return Ok(None) };
        let (mut low, mut high) = (self.buckets.of(log.oldest()), end.bucket);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.statics(conversation, middle).await?.head_id {
                Some(last) if last < id.0 => low = middle + 1,
                _ => high = middle,
            }
        }
        let stored: Option<StoredEvent> = self.server.row(&self.statements.by_id, (conversation.0, low, id.0)).await?;
        let row = stored.map(StoredEvent::read).transpose()?.flatten().filter(|row| row.seq >= log.oldest());
        let Some(row) = row else { return Ok(None) };
        let mut rows = [row];
        self.overlay(conversation, &log, &mut rows).await?;
        rows[0].event().map(Some)
    }
}
