//! `idle`: many authenticated sockets that do nothing; what each costs the server in memory.

use anyhow::ensure;

use crate::{
    Target,
    client::{Client, guest},
    server::Server,
};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Sockets, each a user of its own (at most 19,000: a process has 20,000 files at most on many systems)
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Fails above this many KiB of resident memory per socket
    #[arg(long, default_value_t = 8.0)]
    bar_kib: f64,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    ensure!((100..=19_000).contains(&options.connections), "--connections: 100 to 19,000");
    let directory = tempfile::tempdir()?;
    let server = Server::start(&options.target, directory.path(), &["--unlimited", "--guests", "on"])?;
    let mut clients = Vec::new();
    // The first hundred pay for what is paid once: thread-local buffers, tables, code.
    for n in 0..100 {
        clients.push(Client::connect(&server.http, guest(format!("guest-{n}"))).await?);
    }
    settle().await;
    let before = server.resident_bytes()?;
    let mut last = before;
    println!("idle: resident memory of the server");
    for n in 100..options.connections {
        clients.push(Client::connect(&server.http, guest(format!("guest-{n}"))).await?);
        let count = n + 1;
        if count % 2500 == 0 || count == options.connections {
            settle().await;
            last = server.resident_bytes()?;
            println!(
                "  {count:6} sockets   {:8} KiB   {:.2} KiB each",
                last / 1024,
                per_socket(before, last, count - 100)
            );
        }
    }
    let each = per_socket(before, last, options.connections - 100);
    drop(clients);
    ensure!(each <= options.bar_kib, "{each:.2} KiB per socket are above {:.2}", options.bar_kib);
    Ok(())
}

async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
}

fn per_socket(before: u64, after: u64, sockets: usize) -> f64 {
    (after as f64 - before as f64) / 1024.0 / sockets as f64
}
