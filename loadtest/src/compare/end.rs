//! A [`Link`] as an end of a workload: writes to one destination, and hears every message of its one sender, in order.

use anyhow::{bail, ensure};
use futures_util::FutureExt as _;

use super::{CONTENT_BYTES, link::Link};
use crate::{
    content::Mark,
    peer::{Heard, To},
    run::Run,
    scenario::line::{Listener, Poster},
};

/// Who writes.
pub struct Writer {
    pub link: Link,
    pub to: To,
}

impl Poster for Writer {
    fn hears_acknowledgements(&self) -> bool {
        self.link.hears_acknowledgements()
    }

    async fn post(&mut self, mark: &Mark) -> anyhow::Result<()> {
        // In a closed loop nobody else reads what comes here: pings, which want an answer.
        while !self.hears_acknowledgements()
            && let Some(heard) = self.link.next().now_or_never()
        {
            heard?;
        }
        self.link.post(&self.to, mark, CONTENT_BYTES).await
    }

    async fn acknowledged(&mut self) -> anyhow::Result<Mark> {
        loop {
            match self.link.next().await? {
                Heard::Stored { mark, .. } => return Ok(mark),
                Heard::Refused { reason, .. } => bail!("a message was refused: {reason}"),
                _ => {}
            }
        }
    }
}

/// Who listens.
pub struct Reader {
    link: Link,
    run: u32,
    order: Order,
}

impl Reader {
    /// Makes a reader of a run's messages.
    pub fn new(link: Link, run: &Run) -> Self {
        Self { link, run: run.id, order: Order::default() }
    }
}

impl Listener for Reader {
    async fn heard(&mut self) -> anyhow::Result<Mark> {
        loop {
            match self.link.next().await? {
                Heard::Message(mark) if mark.run == self.run => {
                    self.order.follow(&mark)?;
                    return Ok(mark);
                }
                Heard::Gap { .. } => bail!("messages were left out: this machine reads too slowly for this workload"),
                _ => {}
            }
        }
    }
}

/// What a receiver has heard of its sender: each message once, in order.
#[derive(Debug, Default)]
struct Order {
    last: u32,
}

impl Order {
    fn follow(&mut self, mark: &Mark) -> anyhow::Result<()> {
        ensure!(mark.n == self.last + 1, "message {} of a sender was heard after message {}", mark.n, self.last);
        self.last = mark.n;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_lost_repeated_or_exchanged_is_an_error() {
        let follow = |numbers: &[u32]| {
            let mut order = Order::default();
            numbers.iter().try_for_each(|&n| order.follow(&Mark { run: 1, sender: 1, n, due_us: 0 }))
        };
        follow(&[1, 2, 3]).unwrap();
        for wrong in [&[2][..], &[1, 3], &[1, 1], &[1, 2, 1]] {
            assert!(follow(wrong).is_err(), "{wrong:?}");
        }
    }
}
