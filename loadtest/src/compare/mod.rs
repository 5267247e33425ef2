//! Other servers beside ours, on the reader's own machine: `ops/compare` has them, this drives all of them alike.
//!
//! [`server`] starts them, [`dialect`] and its implementations frame what is said to each, [`link`] is one user's connection to any of them,
//! and [`end`] makes it an end of a workload. [`room`], [`pairs`] and [`crowd`] are the workloads; [`table`] gathers what each round cost
//! into medians.

pub mod crowd;
pub mod dialect;
pub mod end;
pub mod link;
pub mod pairs;
pub mod room;
pub mod server;
mod socketio;
pub mod table;
mod ws;
mod xmpp;

use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;
use dialect::Dialect;

use crate::{
    report::model::Delays,
    scenario::{connect, direct, fanout, idle},
};

/// Bytes of text in every message.
pub const CONTENT_BYTES: usize = 100;

/// What a server still does when all is delivered belongs to it: acknowledgements, storing, collecting garbage.
const SETTLE: Duration = Duration::from_millis(300);

/// A server that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The bare server, which only moves prepared frames: the reference.
    Limit,
    Ours,
    Ws,
    SocketIo,
    Ejabberd,
}

impl Kind {
    /// The servers of others.
    pub const RIVALS: [Self; 3] = [Self::Ws, Self::SocketIo, Self::Ejabberd];

    /// Returns the name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "raw limit",
            Self::Ours => "chinwag",
            Self::Ws => "ws",
            Self::SocketIo => "socketio",
            Self::Ejabberd => "ejabberd",
        }
    }

    /// Returns how another's clients speak; `None` for the bare server and ours.
    pub fn dialect(self) -> Option<&'static dyn Dialect> {
        match self {
            Self::Limit | Self::Ours => None,
            Self::Ws => Some(&ws::WsRelay),
            Self::SocketIo => Some(&socketio::SocketIoRelay),
            Self::Ejabberd => Some(&xmpp::Ejabberd),
        }
    }
}

/// Only rivals are chosen: ours and the bare server are always there.
impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::RIVALS
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

/// What is measured, named as in the table of performance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Messages to a room at a pace
    A1,
    /// Messages to a room as fast as they can be written
    A2,
    /// Messages to a room, the next when all have the last
    A3,
    /// Pairs of users, one message in flight each
    B1,
    /// Pairs of users, messages at a pace
    B2,
    /// Memory of idle connections
    C,
    /// Connects
    D,
}

impl Workload {
    /// Returns the name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::A1 => "A1",
            Self::A2 => "A2",
            Self::A3 => "A3",
            Self::B1 => "B1",
            Self::B2 => "B2",
            Self::C => "C",
            Self::D => "D",
        }
    }

    /// Returns what a server is asked to hold for it: workloads of one set-up are measured one after the other in the same process.
    pub fn setup(self) -> Setup {
        match self {
            Self::A1 | Self::A2 | Self::A3 => Setup::Room,
            Self::B1 | Self::B2 => Setup::Pairs,
            Self::C => Setup::Idle,
            Self::D => Setup::Connects,
        }
    }

    /// Returns what its cost is, and the unit. A microsecond per delivery is a second per million of them.
    pub fn cost(self) -> (&'static str, &'static str) {
        match self.setup() {
            Setup::Room | Setup::Pairs => ("CPU per delivery", "us"),
            Setup::Idle => ("memory per connection", "KiB"),
            Setup::Connects => ("CPU per 10,000 connects", "s"),
        }
    }
}

impl Workload {
    /// Returns what ours may cost at most, and whether that is a multiple of the raw limit.
    fn bar(self) -> (f64, bool) {
        match self {
            Self::A1 | Self::A3 => (fanout::BAR, true),
            Self::A2 => (fanout::BURST_BAR, true),
            Self::B1 => (direct::CLOSED_BAR, true),
            Self::B2 => (direct::OPEN_BAR, true),
            Self::C => (idle::BAR_KIB, false),
            Self::D => (connect::BAR_S, false),
        }
    }
}

/// What is set up on a fresh server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// A room with its receivers.
    Room,
    /// Pairs of users.
    Pairs,
    /// Connections that do nothing.
    Idle,
    /// Nothing: the connects themselves are measured.
    Connects,
}

impl Setup {
    /// In the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::Room, Self::Pairs, Self::Idle, Self::Connects];
}

/// How large the workloads are.
#[derive(clap::Args, serde::Serialize, Debug, Clone)]
pub struct Scale {
    /// A: receivers in the room (2 to 10,000)
    #[arg(long, default_value_t = 1000)]
    pub receivers: usize,
    /// A2, A3: messages (1 to 10,000)
    #[arg(long, default_value_t = 300)]
    pub messages: usize,
    /// B: pairs (1 to 2,000)
    #[arg(long, default_value_t = 200)]
    pub pairs: usize,
    /// B2: messages per second of all pairs together (1 to 100,000)
    #[arg(long, default_value_t = 4000.0)]
    pub rate: f64,
    /// A1, B1, B2: seconds of each (1 to 600)
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// C: idle connections (1,000 to 19,000: of fewer, memory tells nothing)
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// D: connects (200 to 19,000)
    #[arg(long, default_value_t = 5000)]
    pub connects: usize,
}

impl Scale {
    /// Fails if an option is out of its bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((2..=10_000).contains(&self.receivers), "--receivers: 2 to 10,000");
        ensure!((1..=10_000).contains(&self.messages), "--messages: 1 to 10,000");
        ensure!((1..=2000).contains(&self.pairs), "--pairs: 1 to 2,000");
        ensure!((1.0..=100_000.0).contains(&self.rate), "--rate: 1 to 100,000");
        ensure!((1..=600).contains(&self.seconds), "--seconds: 1 to 600");
        ensure!((1000..=19_000).contains(&self.connections), "--connections: 1,000 to 19,000");
        ensure!((200..=19_000).contains(&self.connects), "--connects: 200 to 19,000");
        Ok(())
    }
}

/// What one workload cost one server in one round.
#[derive(Debug, Clone)]
pub struct Sample {
    pub workload: Workload,
    /// In the workload's unit.
    pub cost: f64,
    pub took: Duration,
    pub delays: Option<Delays>,
}

impl Sample {
    /// Makes the sample of a workload that delivers messages. `cpu`: seconds.
    fn of_deliveries(workload: Workload, cpu: f64, took: Duration, delays: Delays) -> Self {
        Self { workload, cost: cpu * 1e6 / delays.count as f64, took, delays: Some(delays) }
    }
}
