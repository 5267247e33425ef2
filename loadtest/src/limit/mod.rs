//! The bare server that others are held to: a process of its own that writes one prepared frame to each of its sockets, one write
//! each, and does nothing else.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream as StdStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::Mutex};

/// Bytes of the prepared frame: about a native message event of 100 characters with its header.
const FRAME_BYTES: usize = 330;

/// Runs the bare server in this process: accepts `sockets` connections, then obeys its standard input: a number of rounds of writes per line;
/// answers with the CPU time used, microseconds.
pub fn serve(sockets: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let mut streams: Vec<StdStream> = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let frame = vec![b'x'; FRAME_BYTES];
    for line in std::io::stdin().lock().lines() {
        let rounds: usize = line?.parse()?;
        let before = cpu_us(std::process::id())?;
        for _ in 0..rounds {
            for stream in &mut streams {
                stream.write_all(&frame)?;
            }
            // Readers of this machine's two cores must keep up, as they do beside the real server.
            std::thread::yield_now();
        }
        println!("{}", cpu_us(std::process::id())? - before);
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Returns CPU time of a process, user and system, microseconds, at the scheduler's precision.
pub fn cpu_us(process: u32) -> anyhow::Result<u64> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|run| run.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos / 1000)
}

/// A running bare server with its readers.
pub struct Limit {
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    sockets: usize,
    received: Arc<AtomicU64>,
}

impl Limit {
    /// Starts it and connects its readers.
    pub async fn start(sockets: usize) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["limit-server", &sockets.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = process.stdin.take().context("no pipe")?;
        let mut stdout = BufReader::new(process.stdout.take().context("no pipe")?);
        let mut port = String::new();
        stdout.read_line(&mut port)?;
        let address = format!("127.0.0.1:{}", port.trim());
        let received = Arc::<AtomicU64>::default();
        for _ in 0..sockets {
            let mut stream = TcpStream::connect(&address).await?;
            let received = received.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    received.fetch_add(read as u64, Relaxed);
                }
            });
        }
        Ok(Self { process, pipes: Mutex::new((stdin, stdout)), sockets, received })
    }

    /// Writes `rounds` frames to each socket; returns the CPU time per write, microseconds.
    pub async fn round(&self, rounds: usize) -> anyhow::Result<f64> {
        self.received.store(0, Relaxed);
        let mut pipes = self.pipes.lock().await;
        writeln!(pipes.0, "{rounds}")?;
        pipes.0.flush()?;
        let line = tokio::task::block_in_place(|| {
            let mut line = String::new();
            pipes.1.read_line(&mut line).map(|_| line)
        })?;
        let us: u64 = line.trim().parse().context("the bare server ended")?;
        let wanted = (rounds * self.sockets * FRAME_BYTES) as u64;
        for _ in 0..1000 {
            if self.received.load(Relaxed) >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ensure!(self.received.load(Relaxed) >= wanted, "the bare server's bytes didn't arrive");
        Ok(us as f64 / (rounds * self.sockets) as f64)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // Gone already if it failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
