//! `fanout`: one room, many listeners; CPU of the server per delivery, beside a bare server that only writes.
//!
//! Three ways of sending: `paced` (a message every 50 ms), `burst` (as fast as they are acknowledged, 64 in flight), `lockstep` (the next
//! when all have the last). The bare server (`limit`) writes one prepared frame to each of as many sockets, one write each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use chinwag_schema::{
    ids::ConversationId,
    wire::{
        json::Secret,
        native::{Command, Created, Credentials, SendTo, ServerFrame},
    },
};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::Notify};

use crate::{
    Target,
    client::{Client, guest},
    limit,
    server::Server,
};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Listeners of the room (at most 19,000)
    #[arg(long, default_value_t = 1000)]
    receivers: usize,
    /// Messages
    #[arg(long, default_value_t = 200)]
    messages: usize,
    /// How they are sent
    #[arg(long, value_enum, default_value_t = Mode::Lockstep)]
    mode: Mode,
    /// Rounds, each beside a round of the bare server; medians are printed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Fails above this multiple of the bare server's CPU per delivery
    #[arg(long)]
    bar: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Paced,
    Burst,
    Lockstep,
}

/// What all listeners have received together.
#[derive(Default)]
struct Received {
    frames: AtomicU64,
    wanted: AtomicU64,
    enough: Notify,
}

impl Received {
    fn add(&self, frames: u64) {
        let before = self.frames.fetch_add(frames, Relaxed);
        let wanted = self.wanted.load(Relaxed);
        if before < wanted && before + frames >= wanted {
            self.enough.notify_one();
        }
    }

    async fn reach(&self, wanted: u64) -> anyhow::Result<()> {
        self.wanted.store(wanted, Relaxed);
        while self.frames.load(Relaxed) < wanted {
            tokio::time::timeout(Duration::from_secs(60), self.enough.notified()).await.with_context(|| {
                format!("{} of {wanted} deliveries came within a minute", self.frames.load(Relaxed))
            })?;
        }
        Ok(())
    }
}

/// Counts the frames of an unmasked stream by their headers.
async fn count(mut stream: TcpStream, received: Arc<Received>) {
    let mut buffer = vec![0; 64 * 1024];
    let (mut have, mut skip) = (0, 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer[have..]).await {
        have += read;
        let (mut at, mut frames) = (0, 0);
        loop {
            let passed = skip.min(have - at);
            at += passed;
            skip -= passed;
            let Some(&length) = buffer[..have].get(at + 1) else { break };
            let (header, length) = match length {
                126 if have - at >= 4 => (4, usize::from(u16::from_be_bytes([buffer[at + 2], buffer[at + 3]]))),
                length @ 0..126 => (2, usize::from(length)),
                _ => break,
            };
            if buffer[at] & 0xF == 1 {
                frames += 1;
            }
            skip = header + length;
        }
        buffer.copy_within(at..have, 0);
        have -= at;
        received.add(frames);
    }
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((1..=19_000).contains(&options.receivers), "--receivers: 1 to 19,000");
    ensure!((1..=100_000).contains(&options.messages), "--messages: 1 to 100,000");
    ensure!((1..=100).contains(&options.rounds), "--rounds: 1 to 100");
    let directory = tempfile::tempdir()?;
    let server = Server::start(&options.target, directory.path(), &["--unlimited", "--guests", "on"])?;
    let token = tokio::task::block_in_place(|| server.tokens(&["poster".to_owned()]))?.remove(0);
    let mut poster = Client::connect(&server.http, Credentials::Token(Secret(token))).await?;
    let room: Created = poster.request(Command::RoomCreate { name: "Fan out".into() }).await?;
    let received = Arc::<Received>::default();
    for n in 0..options.receivers {
        let mut client = Client::connect(&server.http, guest(format!("listener-{n}"))).await?;
        client.listen("Fan out").await?;
        tokio::spawn(count(client.into_stream(), received.clone()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let limit = limit::Limit::start(options.receivers).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        received.frames.store(0, Relaxed);
        let (cpu, begun) = (server.cpu_s()?, Instant::now());
        post(&mut poster, room.conversation.id, &options, &received).await?;
        let deliveries = (options.messages * options.receivers) as f64;
        let us = (server.cpu_s()? - cpu) * 1e6 / deliveries;
        let limit_us = limit.round(options.messages).await?;
        // The first round warms up.
        if round > 0 {
            let rate = deliveries / begun.elapsed().as_secs_f64();
            println!("  round {round}: {us:.2} us CPU per delivery (bare {limit_us:.2}), {rate:.0} deliveries/s");
            ours.push(us);
            bare.push(limit_us);
        }
    }
    let (ours, bare) = (median(&mut ours), median(&mut bare));
    let ratio = ours / bare;
    println!(
        "fanout {:?}: {} messages to {} listeners: {ours:.2} us CPU per delivery, {ratio:.2} of the bare server's {bare:.2}",
        options.mode, options.messages, options.receivers
    );
    if let Some(bar) = options.bar {
        ensure!(ratio <= bar, "{ratio:.2} is above {bar}");
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn post(poster: &mut Client, room: ConversationId, options: &Options, received: &Received) -> anyhow::Result<()> {
    const IN_FLIGHT: usize = 64;
    let receivers = options.receivers as u64;
    let content = "x".repeat(100);
    match options.mode {
        Mode::Paced | Mode::Lockstep => {
            for n in 1..=options.messages as u64 {
                poster.send(SendTo::Conversation(room), &content).await?;
                if options.mode == Mode::Paced {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                } else {
                    received.reach(n * receivers).await?;
                }
            }
        }
        Mode::Burst => {
            let (mut begun, mut done) = (0, 0);
            while done < options.messages {
                while begun < options.messages && begun - done < IN_FLIGHT {
                    let (message_id, content) = (uuid::Uuid::now_v7(), content.clone());
                    poster.begin(Command::Send { to: SendTo::Conversation(room), message_id, content }).await?;
                    begun += 1;
                }
                if let ServerFrame::Reply { outcome, .. } = poster.next().await? {
                    outcome?;
                    done += 1;
                }
            }
        }
    }
    received.reach(options.messages as u64 * receivers).await
}
