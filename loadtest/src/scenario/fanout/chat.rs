//! Two users elsewhere who write to each other while a room is busy: what the fan-out costs others.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;

use crate::{
    peer::{Peer, To},
    run::{
        Run,
        pace::{Arrivals, Pace},
    },
    scenario::{
        line::{Listener as _, PeerListener, PeerPoster, Poster as _},
        stage::Stage,
    },
};

/// Messages per second.
const RATE: f64 = 20.0;
/// The writer's number in its marks.
const SENDER: u32 = 1_000_000;
/// Nothing more is expected after so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest delay told apart, microseconds (a minute).
const LONGEST_US: u64 = 60_000_000;

/// A conversation of two.
pub struct Chat {
    writer: PeerPoster,
    reader: PeerListener,
    posted: u32,
    /// Messages that were written, and not heard or not acknowledged yet.
    unheard: u32,
    unacknowledged: u32,
    delays: Histogram<u64>,
}

impl Chat {
    /// Connects both, and opens their chat with a first message.
    pub async fn open(stage: &Stage, bytes: usize) -> anyhow::Result<Self> {
        let run = &stage.run;
        let mut users = stage.users("chat", 2).await?.into_iter();
        let (first, second) = users.next().zip(users.next()).context("two users are missing")?;
        let reader = Peer::connect(run, 0, &second).await.context("the chat's reader can't connect")?;
        let peer = Peer::connect(run, 0, &first).await.context("the chat's writer can't connect")?;
        let to = To::User(second.name);
        let place = run.ledger.place(to.clone(), first, false);
        let ear = run.ledger.listen(place, SENDER + 1);
        let mut chat = Self {
            writer: PeerPoster { run: run.clone(), peer, to, place, bytes },
            reader: PeerListener { run: run.clone(), peer: reader, ear },
            posted: 0,
            unheard: 0,
            unacknowledged: 0,
            delays: Histogram::new_with_bounds(1, LONGEST_US, 3)?,
        };
        chat.write(run, Instant::now()).await?;
        chat.reader.heard().await.context("the chat's first message")?;
        chat.unheard = 0;
        Ok(chat)
    }

    async fn write(&mut self, run: &Run, due: Instant) -> anyhow::Result<()> {
        self.posted += 1;
        self.unheard += 1;
        self.unacknowledged += u32::from(self.writer.hears_acknowledgements());
        self.writer.post(&run.mark(SENDER, self.posted, due)).await
    }

    /// Writes at its rate until `busy` is over, and then waits until everything was heard and acknowledged. Fails if nothing comes any more.
    pub async fn beside<T>(&mut self, run: &Arc<Run>, busy: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut busy = pin!(busy);
        let mut pace = Pace::new(RATE, Arrivals::Even, Instant::now(), run.seed);
        let mut due = pace.due();
        let mut over = None;
        while over.is_none() || self.unheard > 0 || self.unacknowledged > 0 {
            tokio::select! {
                biased;
                mark = self.reader.heard() => {
                    let us = u64::try_from(run.since(&mark?).as_micros()).unwrap_or(LONGEST_US);
                    self.delays.saturating_record(us.max(1));
                    self.unheard = self.unheard.checked_sub(1).context("the chat's reader heard a message again")?;
                }
                mark = self.writer.acknowledged() => {
                    mark?;
                    self.unacknowledged = self.unacknowledged.checked_sub(1).context("acknowledged again")?;
                }
                () = tokio::time::sleep_until(due.into()), if over.is_none() => {
                    self.write(run, due).await?;
                    due = pace.due();
                }
                done = &mut busy, if over.is_none() => over = Some(done),
                () = tokio::time::sleep(PATIENCE), if over.is_some() => bail!(
                    "of the chat beside, {} messages weren't delivered and {} not acknowledged",
                    self.unheard,
                    self.unacknowledged
                ),
            }
        }
        over.context("the round has no end")
    }

    /// Ends the conversation; returns the delays, microseconds.
    pub fn close(self) -> Histogram<u64> {
        self.reader.stayed();
        self.delays
    }
}
