//! What an envelope between nodes costs on Redis: envelopes per second, CPU of sender, receiver and server, and time under way.
//!
//! `cargo run --release -p chinwag-actors --example redis_bus_cost REDIS_URL [SECONDS PER MEASUREMENT]`
//!
//! Sender and receiver are two nodes, each on a thread of its own. The server should be idle otherwise: its CPU is read from it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use chinwag_actors::{
    backends::clustered::redis::{RedisBus, RedisOptions},
    ports::{
        bus::{Bus, Payload},
        directory::NodeLease,
    },
};
use chinwag_schema::ids::{Incarnation, NodeId};
use futures_util::future::join_all;

const PAYLOAD_BYTES: usize = 200;
const RECEIVER: NodeLease = NodeLease { node: NodeId(2), incarnation: Incarnation(2) };
const BOUND: usize = 8192;

/// How the sender sends.
#[derive(Clone, Copy)]
enum Way {
    /// One, waits for its result, then the next.
    Singly,
    /// So many at once by calls of their own, as from so many actors.
    AtOnce(usize),
    /// So many by one call.
    Together(usize),
    /// One every so often: for the time under way without load.
    Every(Duration),
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    sender_cpu_ns: AtomicU64,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds")
}

/// CPU time of the server's main thread.
fn server_cpu(url: &str) -> Duration {
    use std::io::{Read as _, Write as _};
    let address = url.trim_start_matches("redis://").split('/').next().unwrap_or_default();
    let mut stream = std::net::TcpStream::connect(address).expect("plain redis://HOST:PORT");
    stream.write_all(b"INFO cpu\r\nQUIT\r\n").expect("the server takes it");
    let mut info = String::new();
    stream.read_to_string(&mut info).expect("the server answers");
    let seconds = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect("INFO cpu has it");
        line.trim().parse().expect("seconds")
    };
    Duration::from_secs_f64(seconds("used_cpu_sys_main_thread:") + seconds("used_cpu_user_main_thread:"))
}

async fn send(bus: &RedisBus, way: Way, start: Instant, shared: &Shared) {
    let payload = || {
        let mut bytes = vec![0; PAYLOAD_BYTES];
        bytes[..8].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_le_bytes());
        Payload::from(bytes)
    };
    while !shared.stop.load(Relaxed) {
        let results = match way {
            Way::Singly => vec![bus.send(RECEIVER, payload()).await],
            Way::AtOnce(n) => join_all((0..n).map(|_| bus.send(RECEIVER, payload()))).await,
            Way::Together(n) => bus.send_many((0..n).map(|_| (RECEIVER, payload())).collect()).await,
            Way::Every(pause) => {
                tokio::time::sleep(pause).await;
                vec![bus.send(RECEIVER, payload()).await]
            }
        };
        shared.sent.fetch_add(results.iter().filter(|result| result.is_ok()).count() as u64, Relaxed);
    }
}

fn measure(url: &str, name: &str, way: Way, time: Duration) {
    let shared = Arc::<Shared>::default();
    let options = RedisOptions::new(url, &format!("bus-cost-{}", std::process::id())).expect("an address");
    let (start, sender, sender_options) = (Instant::now(), shared.clone(), options.clone());
    let receiver_runtime = runtime();
    let receiving = async {
        let bus = RedisBus::connect(&options).await.expect("Redis answers");
        let mailbox = bus.subscribe(RECEIVER, BOUND).await.expect("a mailbox");
        (bus, mailbox)
    };
    let (bus, mut mailbox) = receiver_runtime.block_on(receiving);
    let sending = thread::spawn(move || {
        runtime().block_on(async {
            let bus = RedisBus::connect(&sender_options).await.expect("Redis answers");
            let before = cpu_ns();
            send(&bus, way, start, &sender).await;
            sender.sender_cpu_ns.store(cpu_ns() - before, Relaxed);
        });
    });
    let (before, server_before, began) = (cpu_ns(), server_cpu(url), Instant::now());
    let mut waits = Vec::new();
    receiver_runtime.block_on(async {
        while let Ok(Some(payload)) = tokio::time::timeout(Duration::from_millis(700), mailbox.recv()).await {
            let sent_ns = u64::from_le_bytes(payload[..8].try_into().expect("8 bytes"));
            waits.push(start.elapsed().as_nanos() as u64 - sent_ns);
            if began.elapsed() > time {
                shared.stop.store(true, Relaxed);
            }
        }
    });
    sending.join().expect("the sender ends");
    let (cpu, server) = (cpu_ns() - before, server_cpu(url) - server_before);
    receiver_runtime.block_on(async { bus.unsubscribe(RECEIVER).await.expect("Redis answers") });
    let sent = shared.sent.load(Relaxed);
    assert_eq!(waits.len() as u64, sent, "what was handed over arrived");
    waits.sort_unstable();
    let wait_us = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize] as f64 / 1e3;
    let each = |ns: f64| ns / sent as f64 / 1e3;
    println!(
        "{name:<24} {:>9.0}/s   CPU µs: sender {:>6.2}  receiver {:>6.2}  Redis {:>6.2}   under way µs: median {:>7.0}  p99 {:>7.0}",
        sent as f64 / time.as_secs_f64(),
        each(shared.sender_cpu_ns.load(Relaxed) as f64),
        each(cpu as f64),
        each(server.as_nanos() as f64),
        wait_us(0.5),
        wait_us(0.99),
    );
}

fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().expect("the address of Redis: redis://HOST:PORT");
    let seconds = args.next().map_or(3.0, |text| text.parse().expect("seconds, a number"));
    let time = Duration::from_secs_f64(seconds);
    println!("{PAYLOAD_BYTES} bytes each, one sender, one receiver");
    measure(&url, "one every 10 ms", Way::Every(Duration::from_millis(10)), time);
    measure(&url, "one after the other", Way::Singly, time);
    measure(&url, "8 at once, singly", Way::AtOnce(8), time);
    measure(&url, "64 at once, singly", Way::AtOnce(64), time);
    measure(&url, "64 together", Way::Together(64), time);
    measure(&url, "1,024 together", Way::Together(1024), time);
}
