//! Keeps the filter up to date: makes it from all names, then reads in rounds what came since. The proof that refers to
//! this is in the module above.

use std::{sync::Arc, time::Duration};

use chinwag_schema::{
    ids::UserId,
    limits::lookups::{REFRESH_EVERY, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN, ROUND_PAUSE},
    model::Name,
};
use moka::sync::Cache;
use tokio::time::{Instant, sleep, timeout};

use super::{
    arrivals::{Arrival, Arrivals, Standing},
    filter::Filter,
    gate::Gate,
};
use crate::ports::StoreError;

pub(super) struct Keeper {
    pub(super) arrivals: Arc<dyn Arrivals>,
    pub(super) gate: Arc<Gate>,
    /// Forgotten when the server turns out to be another one: it may not know them.
    pub(super) remembered: Cache<Name, UserId>,
    /// Names read at a time.
    pub(super) page: usize,
}

/// Why a round ended early.
enum Broken {
    Store(StoreError),
    /// Another server or another life of it, or one that was put back.
    Elsewhere,
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Keeper {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        loop {
            let known = self.made().await;
            self.follow(known).await;
            self.gate.replace(None, Instant::now());
            self.remembered.invalidate_all();
            tracing::info!("Postgres is another server now, or was started again: the filter of names is made anew");
        }
    }

    /// Makes the filter, however often it takes. Returns what it knows.
    async fn made(&self) -> Standing {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let since = Instant::now();
            let mut filter = Filter::new();
            match self.make(&mut filter).await {
                Ok(known) => {
                    tracing::debug!(names = filter.names(), bytes = filter.bytes(), "the filter of names is made");
                    self.gate.replace(Some(filter), since);
                    return known;
                }
                Err(Broken::Elsewhere) => {}
                Err(Broken::Store(error)) => tracing::warn!(%error, "the filter of names can't be made yet"),
            }
            rest(&mut pause).await;
        }
    }

    async fn make(&self, filter: &mut Filter) -> Result<Standing, Broken> {
        let (start, _) = self.arrivals.arrived((i64::MAX, UserId(i64::MAX)), 0).await?;
        let mut after = UserId(i64::MIN);
        loop {
            let page = self.arrivals.names(after, self.page).await?;
            page.iter().for_each(|(_, name)| filter.add(name));
            match page.last() {
                Some((last, _)) if page.len() >= self.page => after = *last,
                _ => break,
            }
        }
        self.catch_up(start, |page| page.iter().for_each(|arrival| filter.add(&arrival.name))).await
    }

    /// Adds what comes, every three seconds and whenever somebody waits for it, until numbers don't compare any more.
    async fn follow(&self, mut known: Standing) {
        let mut pause = RETRY_PAUSE_MIN;
        let mut failing = false;
        loop {
            // Time is up, or somebody waits: both begin a round.
            let _ = timeout(REFRESH_EVERY, self.gate.wanted()).await;
            let (number, since) = (self.gate.begins(), Instant::now());
            let add = |page: &[Arrival]| self.gate.add(page.iter().map(|arrival| &*arrival.name));
            match self.catch_up(known, add).await {
                Ok(standing) => {
                    known = standing;
                    self.gate.succeeded(number, since);
                    if failing {
                        tracing::info!("the filter of names is up to date again");
                    }
                    (failing, pause) = (false, RETRY_PAUSE_MIN);
                    sleep(ROUND_PAUSE).await;
                }
                Err(Broken::Elsewhere) => return self.gate.failed(number),
                Err(Broken::Store(error)) => {
                    self.gate.failed(number);
                    if !failing {
                        tracing::warn!(%error, "the filter of names isn't up to date: unknown ones are looked for in Postgres");
                    }
                    failing = true;
                    rest(&mut pause).await;
                }
            }
        }
    }

    /// Reads what came since `known`; returns where the first statement stood.
    async fn catch_up(&self, known: Standing, mut add: impl FnMut(&[Arrival])) -> Result<Standing, Broken> {
        let mut after = (known.next().saturating_sub(1), UserId(i64::MAX));
        let mut first = None;
        let mut latest = known;
        loop {
            let (standing, page) = self.arrivals.arrived(after, self.page).await?;
            if !latest.goes_on_as(standing) {
                return Err(Broken::Elsewhere);
            }
            latest = standing;
            let first = *first.get_or_insert(standing);
            add(&page);
            match page.last() {
                Some(last) if page.len() >= self.page => after = (last.added_in, last.id),
                _ => return Ok(first),
            }
        }
    }
}

async fn rest(pause: &mut Duration) {
    sleep(*pause).await;
    *pause = (*pause * 2).min(RETRY_PAUSE_MAX);
}

#[cfg(test)]
mod tests;
