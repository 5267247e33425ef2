//! `direct`: pairs of users write to each other, one message in flight each.

use std::{
    io::Write as _,
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use chinwag_schema::wire::{
    json::Secret,
    native::{Credentials, SendTo},
};
use hdrhistogram::Histogram;

use crate::{Target, client::Client, server::Server};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Senders; each writes to its neighbour and waits for the acknowledgement (even, at most 2,000)
    #[arg(long, default_value_t = 200)]
    senders: usize,
    /// How long to send, seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Fails below this share of min(senders / fsync time / 2, 10,000) messages per second
    #[arg(long, default_value_t = 1.0)]
    bar: f64,
}

/// Measures the time of an fdatasync of one page appended, beside the server's data: the median of 200.
fn fsync_median(directory: &Path) -> anyhow::Result<Duration> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(
        (2..=2000).contains(&options.senders) && options.senders.is_multiple_of(2),
        "--senders: an even number from 2 to 2,000"
    );
    ensure!((1..=3600).contains(&options.seconds), "--seconds: 1 to 3,600");
    let directory = tempfile::tempdir()?;
    let server = Server::start(&options.target, directory.path(), &["--unlimited"])?;
    let names: Vec<String> = (0..options.senders).map(|n| format!("load-{n}")).collect();
    let tokens = tokio::task::block_in_place(|| server.tokens(&names))?;
    let mut clients = Vec::new();
    for token in tokens {
        clients.push(Client::connect(&server.http, Credentials::Token(Secret(token))).await?);
    }
    // One message each way first: chats are opened, conversations awake.
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(SendTo::To(names[n ^ 1].clone()), "warm up").await?;
    }
    let fsync_before = fsync_median(directory.path())?;
    let cpu_before = server.cpu_s()?;
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        let (to, stop) = (names[n ^ 1].clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut times = Histogram::<u64>::new(3)?;
            let content = "x".repeat(100);
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                client.send(SendTo::To(to.clone()), &content).await?;
                times.record(u64::try_from(begun.elapsed().as_micros())?)?;
            }
            anyhow::Ok(times)
        }));
    }
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut times = Histogram::<u64>::new(3)?;
    for task in tasks {
        times.add(task.await??)?;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let cpu = server.cpu_s()? - cpu_before;
    let fsync = fsync_before.min(fsync_median(directory.path())?).as_secs_f64();
    let rate = times.len() as f64 / elapsed;
    let bar = (options.senders as f64 / fsync / 2.0).min(10_000.0);
    println!("direct: {} senders, one in flight each, {elapsed:.1} s", options.senders);
    println!("  acknowledged messages/s   {rate:10.0}   (bar {bar:.0}; ratio {:.2})", rate / bar);
    println!("  fsync median, ms          {:10.3}", fsync * 1000.0);
    println!("  server CPU us/message     {:10.1}", cpu * 1e6 / times.len() as f64);
    for (name, percentile) in [("p50", 50.0), ("p95", 95.0), ("p99", 99.0)] {
        println!("  acknowledged {name}, ms      {:10.2}", times.value_at_percentile(percentile) as f64 / 1000.0);
    }
    ensure!(rate >= bar * options.bar, "{rate:.0} messages/s are below {:.0}", bar * options.bar);
    Ok::<(), anyhow::Error>(()).context("direct")
}
