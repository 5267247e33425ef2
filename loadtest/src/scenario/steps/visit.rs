//! One user's visit: login, connect, ten messages at once, a second's thought, gone.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{cast::Seat, login::log_in, neighbours::Tally};
use crate::{
    peer::{Heard, Peer, Protocol, To},
    run::{
        Run,
        meter::{Counter, Timer},
    },
};

/// Messages of a visit, written one after the other without waiting.
const MESSAGES: u32 = 10;

/// Time between the messages and the end of the visit.
const THINK: Duration = Duration::from_secs(1);

/// An acknowledgement that isn't there so long after the visit should have ended is an error.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// What a visit is of.
pub struct Visit {
    pub run: Arc<Run>,
    /// When the user was to arrive: its login is timed from here.
    pub due: Instant,
    /// Length of a message's text.
    pub bytes: usize,
    pub tally: Arc<Tally>,
}

impl Visit {
    /// Visits; counts an error. Returns the seat for the next.
    pub async fn pay(self, mut seat: Seat) -> (Seat, anyhow::Result<()>) {
        let visited = self.visit(&mut seat).await;
        if let Err(error) = &visited
            && !self.run.is_stopping()
        {
            self.run.meter.error(format!("{error}: {}", error.root_cause()));
        }
        (seat, visited)
    }

    async fn visit(&self, seat: &mut Seat) -> anyhow::Result<()> {
        let login = log_in(&self.run, seat.index, &seat.name, self.due).await.context("login")?;
        let mut peer = Peer::connect(&self.run, seat.index, &login).await.context("handshake")?;
        self.write(seat, &mut peer).await.context("message not written")?;
        self.think(&mut peer).await.context("socket ended early")?;
        peer.close().await;
        Ok(())
    }

    async fn write(&self, seat: &mut Seat, peer: &mut Peer) -> anyhow::Result<()> {
        let (run, to, due) = (&self.run, To::User(seat.neighbour.clone()), Instant::now());
        for _ in 0..MESSAGES {
            seat.said += 1;
            let mark = run.mark(seat.index as u32, seat.said, due);
            run.ledger.sent(seat.place, mark);
            peer.post(&to, &mark, self.bytes).await?;
            run.meter.count(Counter::Sent, 1);
            self.tally.written.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Hears the acknowledgements (where the protocol has them) and whatever else comes, until the time is over.
    async fn think(&self, peer: &mut Peer) -> anyhow::Result<()> {
        let (run, until) = (&self.run, Instant::now() + THINK);
        let mut waiting = if run.protocol == Protocol::Messenger { 0 } else { MESSAGES };
        loop {
            let deadline = if waiting > 0 { until + ACKNOWLEDGED_WITHIN } else { until };
            match tokio::time::timeout_at(deadline.into(), peer.next()).await {
                Err(_) if waiting == 0 => return Ok(()),
                Err(_) => bail!("{waiting} messages not acknowledged within {} s", ACKNOWLEDGED_WITHIN.as_secs()),
                Ok(Ok(Heard::Stored { mark, seq })) => {
                    run.meter.time(Timer::Acknowledged, run.since(&mark));
                    run.ledger.stored(&mark, seq);
                    waiting -= 1;
                }
                Ok(Ok(Heard::Refused { mark, reason })) => {
                    run.meter.error(format!("message refused: {reason}"));
                    self.tally.written.fetch_sub(1, Relaxed);
                    if let Some(mark) = mark {
                        run.ledger.refused(&mark);
                    }
                    waiting = waiting.saturating_sub(1);
                }
                Ok(heard) => drop(heard?),
            }
        }
    }
}
