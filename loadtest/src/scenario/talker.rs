//! Users that write, join and leave when they are told, and hear what comes meanwhile; for workloads of conversations with one writer each.
//!
//! Owns the sockets and what the ledger is told of them. Knows nothing of when something is due: that is the scenario's.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use chinwag_schema::ids::ConversationId;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
};

use crate::{
    checker::ledger::{Ear, PlaceId},
    content::Mark,
    peer::{Heard, Login, Peer, Place, Protocol, To},
    run::{
        Run,
        meter::{Counter, Timer},
        pace::{Arrivals, Pace},
    },
};

/// Orders that may wait for one user; beyond it the run isn't an open loop any more, and fails.
const ORDERS_MAX: usize = 4096;

/// Bytes of a message's text.
const BYTES: usize = 100;

/// Nothing more is expected to arrive after so long without anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// A conversation. Its index among the run's topics is also the number of its only writer in marks.
#[derive(Debug, Clone)]
pub struct Topic {
    pub place: Place,
    conversation: ConversationId,
    id: PlaceId,
}

impl Topic {
    /// Notes a place in the ledger.
    pub fn new(run: &Run, place: Place, reader: &Login) -> anyhow::Result<Self> {
        let (conversation, echoes) = (place.conversation()?, run.protocol == Protocol::Rooms);
        let id = run.ledger.place(To::Place(place.clone()), reader.clone(), echoes);
        Ok(Self { place, conversation, id })
    }
}

/// What a user is told to do.
#[derive(Debug)]
pub enum Order {
    Write {
        topic: usize,
        mark: Mark,
    },
    /// Leaves the one conversation and joins the other.
    Move {
        from: usize,
        to: usize,
        due: Instant,
    },
}

/// A connected user.
pub struct Talker {
    run: Arc<Run>,
    peer: Peer,
    /// By topic.
    ears: HashMap<usize, (ConversationId, Ear)>,
    /// Topics that it left, of which something may still come.
    left: HashSet<usize>,
    /// Topics that it writes.
    own: Vec<usize>,
}

impl Talker {
    /// Connects a user as the `index`th peer of the run.
    pub async fn connect(run: Arc<Run>, index: usize, login: Login) -> anyhow::Result<Self> {
        let peer = Peer::connect(&run, index, &login).await?;
        Ok(Self { run, peer, ears: HashMap::new(), left: HashSet::new(), own: Vec::new() })
    }

    /// Gives the connection, to make places with.
    pub fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }

    /// Joins a conversation and hears it from then on.
    pub async fn join(&mut self, number: usize, topic: &Topic) -> anyhow::Result<()> {
        let name = &topic.place.name;
        self.peer.join(&topic.place).await.with_context(|| format!("{} can't join '{name}'", self.peer.name()))?;
        self.listen(number, topic);
        Ok(())
    }

    /// Hears a conversation that was joined already.
    pub fn listen(&mut self, number: usize, topic: &Topic) {
        let sender = if self.own.contains(&number) { number as u32 } else { u32::MAX };
        self.ears.insert(number, (topic.conversation, self.run.ledger.listen(topic.id, sender)));
    }

    /// Makes this user the writer of a conversation; before it hears it.
    pub fn writes(&mut self, number: usize) {
        self.own.push(number);
    }

    /// Does what it is told until there are no more orders.
    async fn talk(mut self, topics: Arc<[Topic]>, mut orders: mpsc::Receiver<Order>) -> anyhow::Result<Self> {
        loop {
            tokio::select! {
                // What has come is heard before anything is left: it belongs to where the user was.
                biased;
                heard = self.peer.next() => self.hear(heard?),
                order = orders.recv() => match order {
                    Some(order) => self.obey(order, &topics).await?,
                    None => return Ok(self),
                },
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message(mark) if mark.run == self.run.id => {
                let topic = mark.sender as usize;
                match self.ears.get_mut(&topic) {
                    Some((_, ear)) => {
                        ear.heard(&mark);
                        if !self.own.contains(&topic) {
                            self.run.delivered(&mark);
                        }
                    }
                    // What comes late isn't missed either.
                    None if self.left.contains(&topic) => {}
                    None => self.run.meter.error("a message of a conversation that its receiver isn't in"),
                }
            }
            Heard::Stored { mark, seq } => {
                self.run.ledger.stored(&mark, seq);
                self.run.meter.time(Timer::Acknowledged, self.run.since(&mark));
            }
            Heard::Refused { mark, reason } => {
                if let Some(mark) = mark {
                    self.run.ledger.refused(&mark);
                }
                self.run.meter.error(format!("refused: {reason}"));
            }
            Heard::Gap { conversation, left_out } => {
                self.run.meter.error("messages left out by the server, which said so");
                if let Some((_, ear)) = self.ears.values_mut().find(|(there, _)| *there == conversation) {
                    ear.gap(left_out);
                }
            }
            Heard::Message(_) | Heard::Presence { .. } | Heard::Other => {}
        }
    }

    async fn obey(&mut self, order: Order, topics: &[Topic]) -> anyhow::Result<()> {
        match order {
            Order::Write { topic, mark } => {
                let Topic { place, id, .. } = &topics[topic];
                self.run.ledger.sent(*id, mark);
                self.run.meter.count(Counter::Sent, 1);
                self.peer.post(&To::Place(place.clone()), &mark, BYTES).await
            }
            Order::Move { from, to, due } => {
                self.ears.remove(&from);
                self.left.insert(from);
                self.peer.leave(&topics[from].place).await.context("can't leave")?;
                self.run.meter.time(Timer::Join, due.elapsed());
                let left = Instant::now();
                self.join(to, &topics[to]).await?;
                self.run.meter.time(Timer::Join, left.elapsed());
                Ok(())
            }
        }
    }
}

/// All users of a run, each a task.
pub struct Talkers {
    orders: Vec<mpsc::Sender<Order>>,
    tasks: JoinSet<anyhow::Result<Talker>>,
    run: Arc<Run>,
    /// Who writes each topic.
    writers: Vec<usize>,
    /// Messages of each topic so far.
    said: Vec<u32>,
}

impl Talkers {
    /// Begins to listen to all of them.
    pub fn start(run: &Arc<Run>, talkers: Vec<Talker>, topics: Vec<Topic>) -> anyhow::Result<Self> {
        let topics: Arc<[Topic]> = topics.into();
        let writer = |topic| talkers.iter().position(|talker| talker.own.contains(&topic));
        let writers: Option<Vec<_>> = (0..topics.len()).map(writer).collect();
        let writers = writers.context("a conversation without a writer")?;
        let (mut orders, mut tasks) = (Vec::new(), JoinSet::new());
        for talker in talkers {
            let (order, ordered) = mpsc::channel(ORDERS_MAX);
            orders.push(order);
            let (run, topics) = (run.clone(), topics.clone());
            tasks.spawn(async move {
                let talked = talker.talk(topics, ordered).await;
                if let Err(error) = &talked {
                    run.meter.error(format!("a user failed: {error:#}"));
                }
                talked
            });
        }
        let said = vec![0; topics.len()];
        Ok(Self { orders, tasks, run: run.clone(), writers, said })
    }

    /// Returns who may be told things by others at the same time.
    pub fn orders(&self) -> Vec<mpsc::Sender<Order>> {
        self.orders.clone()
    }

    /// Writes messages to these topics in turn, at so many per second in all, for a time; returns how many. Fails when the run is to end.
    pub async fn write(&mut self, topics: &[usize], per_second: f64, time: Duration) -> anyhow::Result<u64> {
        let begun = Instant::now();
        let mut pace = Pace::new(per_second, Arrivals::Even, begun, self.run.seed);
        for (count, topic) in (0..).zip(topics.iter().cycle()) {
            let due = pace.due();
            if due - begun >= time {
                return Ok(count);
            }
            ensure!(self.run.sleep(due.saturating_duration_since(Instant::now())).await, "stopped while writing");
            self.said[*topic] += 1;
            let mark = self.run.mark(*topic as u32, self.said[*topic], due);
            tell(&self.orders[self.writers[*topic]], Order::Write { topic: *topic, mark })?;
        }
        Ok(0)
    }

    /// Waits until all that was written has been heard.
    pub async fn settle(&self) {
        self.run.ledger.settle(PATIENCE).await;
    }

    /// Ends them; each must have heard everything of where it was.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.settle().await;
        self.orders.clear();
        while let Some(ended) = self.tasks.join_next().await {
            let talker = ended.context("a user's task ended")??;
            talker.ears.into_values().for_each(|(_, ear)| ear.stayed());
        }
        Ok(())
    }
}

/// Hands an order over.
pub fn tell(to: &mpsc::Sender<Order>, order: Order) -> anyhow::Result<()> {
    to.try_send(order).map_err(|error| match error {
        TrySendError::Full(_) => {
            anyhow!("a user has {ORDERS_MAX} orders waiting: the rate is more than this machine or server takes")
        }
        TrySendError::Closed(_) => anyhow!("a user's connection ended; the errors say why"),
    })
}
