//! Copying every conversation's log.

use chinwag_schema::{
    ids::{ConversationId, Term},
    limits::copy::{LOGS_AT_ONCE, LOGS_PER_NOTE, PAUSE, SENDERS_PER_BATCH, TRIES_MAX},
};
use futures_util::{StreamExt, stream};

use super::job::{Meter, Step};
use crate::{
    backends::{
        clustered::{
            postgres::CopiedAccounts,
            scylla::{Beginning, CopiedLogs},
        },
        embedded::{LogHead, Source},
    },
    ports::{StoreError, StoreResult},
};

/// Everything that copying logs needs.
pub(super) struct Logs<'a> {
    pub source: &'a Source,
    pub accounts: &'a CopiedAccounts,
    pub target: &'a CopiedLogs<'a>,
    /// By shard.
    pub terms: &'a [Term],
    pub meter: &'a Meter<'a>,
}

impl Logs<'_> {
    /// Copies all logs of conversations after this one, some at a time, and notes how far it is in between.
    pub(super) async fn copy(&self, mut after: i64) -> StoreResult<()> {
        loop {
            let logs = self.source.logs(after, LOGS_PER_NOTE).await?;
            let Some(last) = logs.last() else { return Ok(()) };
            after = last.conversation;
            let mut copies = stream::iter(&logs).map(|log| self.copy_log(log)).buffer_unordered(LOGS_AT_ONCE);
            while let Some(copied) = copies.next().await {
                copied?;
            }
            self.accounts.note_logs(after).await?;
        }
    }

    /// Copies one log. Claims it again when the servers didn't answer: its head says what arrived.
    async fn copy_log(&self, log: &LogHead) -> StoreResult<()> {
        let mut pause = PAUSE;
        let mut tries = 1;
        while let Err(error) = self.try_log(log).await {
            if !matches!(error, StoreError::Unavailable(_)) || tries >= TRIES_MAX {
                return Err(error);
            }
            tracing::warn!(%error, conversation = log.conversation, "a log is copied again from its head");
            tokio::time::sleep(pause).await;
            pause *= 2;
            tries += 1;
        }
        Ok(())
    }

    async fn try_log(&self, log: &LogHead) -> StoreResult<()> {
        let conversation = ConversationId(log.conversation);
        let term = self.terms[usize::from(conversation.shard().0)];
        if log.oldest_seq > 1 {
            self.begin(conversation, term, log).await?;
        }
        let mut copied = self.target.claim(conversation, term, log.head).await?;
        while copied.head() < log.head {
            let page = self.source.events(log.conversation, copied.head(), log.head).await?;
            if page.is_empty() {
                return Err(StoreError::Corrupt(format!(
                    "conversation {conversation} has no event {} though its log ends with {}",
                    copied.head() + 1,
                    log.head
                )));
            }
            self.target.append(&mut copied, &page).await?;
            self.meter.add(Step::Messages, page.len());
        }
        if copied.head() > log.head {
            return Err(StoreError::Corrupt(format!(
                "conversation {conversation} has more events in the cluster than in the source"
            )));
        }
        Ok(())
    }

    /// Writes down how things stood before the first event that is stored.
    async fn begin(&self, conversation: ConversationId, term: Term, log: &LogHead) -> StoreResult<()> {
        let first = self.source.events(log.conversation, log.oldest_seq - 1, log.oldest_seq).await?;
        let beginning = match first.first() {
            Some(first) => Beginning {
                oldest_seq: log.oldest_seq,
                messages: first.messages - i64::from(first.is_message()),
                id: first.id - 1,
                at_ms: first.at_ms,
            },
            // All of it is gone.
            None => {
                Beginning { oldest_seq: log.oldest_seq, messages: log.messages, id: log.last_id, at_ms: log.last_at_ms }
            }
        };
        if !self.target.begin(conversation, term, &beginning).await? {
            return Ok(());
        }
        self.source.stage_removed(log.conversation).await?;
        let mut after = i64::MIN;
        loop {
            let totals = self.source.removed(log.conversation, after, SENDERS_PER_BATCH).await?;
            let Some((last, _)) = totals.last() else { break };
            after = *last;
            self.target.put_removed(conversation, term, &beginning, &totals).await?;
        }
        self.source.forget_removed(log.conversation).await?;
        self.target.end_removed(conversation, term, &beginning).await
    }
}
