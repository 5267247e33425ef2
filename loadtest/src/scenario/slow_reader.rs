//! `slow-reader`: one member of a room stops reading while many messages are posted; the others are watched.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chinwag_schema::{
    ids::Seq,
    wire::native::{Command, Created, Notice, SendTo, ServerFrame},
};
use hdrhistogram::Histogram;
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    Target,
    client::{Client, guest},
    server::Server,
};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Messages posted while the reader doesn't read (and as many before, as the control)
    #[arg(long, default_value_t = 100_000)]
    messages: usize,
    /// Other listeners in the room
    #[arg(long, default_value_t = 4)]
    listeners: usize,
    /// Fails when the server grows by more than this many MiB meanwhile
    #[arg(long, default_value_t = 64)]
    bar_mib: u64,
}

/// Messages in flight from the poster.
const IN_FLIGHT: usize = 64;

/// A socket whose kernel buffer holds little.
async fn narrow(address: &str) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    Ok(socket.connect(address.parse()?).await?)
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((1000..=10_000_000).contains(&options.messages), "--messages: 1,000 to 10,000,000");
    ensure!((1..=1000).contains(&options.listeners), "--listeners: 1 to 1,000");
    let directory = tempfile::tempdir()?;
    let server = Server::start(&options.target, directory.path(), &["--unlimited", "--guests", "on"])?;
    let token = tokio::task::block_in_place(|| server.tokens(&["poster".to_owned()]))?.remove(0);
    let credentials = chinwag_schema::wire::native::Credentials::Token(chinwag_schema::wire::json::Secret(token));
    let mut poster = Client::connect(&server.http, credentials).await?;
    let room: Created = poster.request(Command::RoomCreate { name: "Slow reader".into() }).await?;
    let mut slow = Client::over(narrow(&server.http).await?, &server.http, guest("slow-one")).await?;
    let (_, head) = slow.listen("Slow reader").await?;
    let mut others = Vec::new();
    for n in 0..options.listeners {
        let mut other = Client::connect(&server.http, guest(format!("quick-{n}"))).await?;
        other.listen("Slow reader").await?;
        others.push(tokio::spawn(watch(other, options.messages * 2)));
    }

    // The control: the slow one reads along. It reads in a task, so that the poster doesn't wait for it.
    let upto = Seq(head.0 + options.messages as u64);
    let reading = tokio::spawn(async move {
        let mut last = head;
        while last < upto {
            match slow.next().await? {
                ServerFrame::Logged(event) => last = event.seq,
                ServerFrame::Notice(Notice::Gap { to, .. }) => last = to,
                _ => {}
            }
        }
        anyhow::Ok(slow)
    });
    post(&mut poster, room.conversation.id, options.messages).await.context("control")?;
    let mut slow =
        tokio::time::timeout(Duration::from_secs(60), reading).await.context("control: the reader hangs")???;

    let before = server.resident_bytes()?;
    let begun = Instant::now();
    let mut peak = before;
    let posting = post(&mut poster, room.conversation.id, options.messages);
    tokio::pin!(posting);
    loop {
        tokio::select! {
            done = &mut posting => { done?; break }
            () = tokio::time::sleep(Duration::from_millis(50)) => peak = peak.max(server.resident_bytes()?),
        }
    }
    let took = begun.elapsed();
    let head = Seq(upto.0 + options.messages as u64);
    let (mut last, mut gaps, mut heard) = (upto, 0u64, 0u64);
    let caught_up = async {
        while last < head {
            match slow.next().await? {
                ServerFrame::Logged(event) => {
                    ensure!(event.seq == last.next(), "a silent hole: {} after {last}", event.seq);
                    last = event.seq;
                    heard += 1;
                }
                ServerFrame::Notice(Notice::Gap { from, to, .. }) => {
                    ensure!(from == last.next(), "a gap from {from} after {last}");
                    last = to;
                    gaps += 1;
                }
                _ => {}
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), caught_up).await.context("the slow reader never caught up")??;
    let (mut control, mut beside) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    for other in others {
        let (first, second) = other.await??;
        control.add(first)?;
        beside.add(second)?;
    }
    let ms = |times: &Histogram<u64>| times.value_at_percentile(99.0) as f64 / 1000.0;
    let grown = peak.saturating_sub(before) / (1024 * 1024);
    println!(
        "slow-reader: {} messages to {} listeners in {:.1} s",
        options.messages,
        options.listeners,
        took.as_secs_f64()
    );
    println!("  server grew by, MiB       {grown:8}   (bar {})", options.bar_mib);
    println!("  gaps / events heard       {gaps:8} / {heard}");
    println!(
        "  others' p99, ms           {:8.2}   (control {:.2}; bar {:.2})",
        ms(&beside),
        ms(&control),
        bar_ms(ms(&control))
    );
    ensure!(gaps > 0, "the slow reader got no gap");
    ensure!(grown <= options.bar_mib, "the server grew by {grown} MiB");
    ensure!(ms(&beside) <= bar_ms(ms(&control)), "the others' p99 is above the bar");
    Ok(())
}

fn bar_ms(control: f64) -> f64 {
    (2.0 * control).max(control + 25.0)
}

/// Posts messages that carry their time (microseconds), some in flight.
async fn post(poster: &mut Client, room: chinwag_schema::ids::ConversationId, count: usize) -> anyhow::Result<()> {
    let (mut begun, mut done) = (0, 0);
    while done < count {
        while begun < count && begun - done < IN_FLIGHT {
            let content = format!("{} {}", now_us(), "x".repeat(80));
            let command = Command::Send { to: SendTo::Conversation(room), message_id: uuid::Uuid::now_v7(), content };
            poster.begin(command).await?;
            begun += 1;
        }
        if let ServerFrame::Reply { outcome, .. } = poster.next().await? {
            outcome?;
            done += 1;
        }
    }
    Ok(())
}

fn now_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Reads until `count` messages were heard; returns delivery times of the first and the second half, microseconds.
async fn watch(mut client: Client, count: usize) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let (mut first, mut second) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let mut heard = 0;
    while heard < count {
        let frame =
            tokio::time::timeout(Duration::from_secs(120), client.next()).await.context("a listener hangs")??;
        match frame {
            ServerFrame::Logged(event) => {
                heard += 1;
                let content = event.content.unwrap_or_else(|| "".into());
                let sent: u64 = content.split(' ').next().unwrap_or_default().parse()?;
                let half = if heard <= count / 2 { &mut first } else { &mut second };
                half.record(now_us().saturating_sub(sent).max(1))?;
            }
            ServerFrame::Notice(Notice::Gap { from, to, .. }) => {
                let beyond = to.0.checked_sub(from.0).context("a gap that ends before it begins")?;
                heard = heard.saturating_add(usize::try_from(beyond)?).saturating_add(1);
            }
            _ => {}
        }
    }
    Ok((first, second))
}
