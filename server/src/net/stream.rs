//! The byte stream of a connection: TCP, or TLS over it.
//!
//! Holds the connection's place under the process-wide cap, so that the place is free when the stream is dropped, whoever owns
//! it then.

use std::{
    cell::Cell,
    collections::HashMap,
    io::{self, IoSlice},
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::server::TlsStream;

/// Counts open connections of all listeners, in all and by address: nobody alone can take every place with connections that never
/// ask for anything.
#[derive(Debug)]
pub struct Places {
    open: AtomicUsize,
    refused: AtomicU64,
    max: usize,
    max_per_address: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Places {
    /// Makes `max` free places, of which one address may take `max_per_address`.
    pub fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        let (open, refused, by_address) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::default());
        Arc::new(Self { open, refused, max, max_per_address, by_address })
    }

    /// Takes a place, if one is free; `counted` is the peer's address unless it is one that many share (loopback, a proxy).
    pub fn take(self: &Arc<Self>, counted: Option<IpAddr>) -> Option<Place> {
        let place = self.try_take(counted);
        if place.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    fn try_take(self: &Arc<Self>, counted: Option<IpAddr>) -> Option<Place> {
        let taken = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.max).then_some(n + 1));
        taken.ok()?;
        // From here on its drop gives the place back.
        let mut place = Place { places: self.clone(), network: None };
        if let Some(network) = counted.map(network) {
            let mut by_address = self.by_address();
            let open = by_address.entry(network).or_default();
            if *open >= self.max_per_address {
                drop(by_address);
                return None;
            }
            *open += 1;
            place.network = Some(network);
        }
        Some(place)
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many are taken.
    pub fn taken(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns how many there are.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Returns how many connections found no place since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// One open connection's place.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    /// What it counts for, if it does.
    network: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(network) = self.network {
            let mut by_address = self.places.by_address();
            if let Some(open) = by_address.get_mut(&network) {
                *open -= 1;
                if *open == 0 {
                    by_address.remove(&network);
                }
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: one customer has at least that many.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Since when a client owes us something or we owe it an answer, while HTTP runs; read by a watchdog.
#[derive(Debug, Default)]
pub struct Unanswered {
    asked: Cell<Option<Instant>>,
    stuck: Cell<Option<Instant>>,
    handled: Cell<bool>,
}

impl Unanswered {
    /// Returns when the first byte came that no byte of an answer followed yet, or when the client stopped taking what it asked
    /// for, whichever was earlier.
    pub fn since(&self) -> Option<Instant> {
        self.late_at(Duration::ZERO, Duration::ZERO)
    }

    /// Returns when it will have taken too long, if a request's head may take `head`, and its answer, or reading a part of it,
    /// `answer`.
    pub fn late_at(&self, head: Duration, answer: Duration) -> Option<Instant> {
        let asked = self.asked.get().map(|asked| asked + if self.handled.get() { answer } else { head });
        match (asked, self.stuck.get().map(|stuck| stuck + answer)) {
            (Some(asked), Some(stuck)) => Some(asked.min(stuck)),
            (asked, stuck) => asked.or(stuck),
        }
    }

    /// Notes that a request's head is complete: the answer is ours to give.
    pub fn is_handled(&self) {
        self.handled.set(true);
    }

    fn reset(&self) {
        self.asked.set(None);
        self.stuck.set(None);
        self.handled.set(false);
    }

    fn is_stuck(&self) {
        if self.stuck.get().is_none() {
            self.stuck.set(Some(Instant::now()));
        }
    }
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An accepted connection.
#[derive(Debug)]
pub struct Socket {
    io: Io,
    /// Bytes that come before those of the stream: a request that is handed on after it was read.
    replay: Vec<u8>,
    /// While HTTP runs.
    watched: Option<Rc<Unanswered>>,
    _place: Option<Place>,
}

impl Socket {
    /// Wraps a TCP stream.
    pub fn plain(stream: TcpStream, place: Option<Place>) -> Self {
        Self { io: Io::Plain(stream), replay: Vec::new(), watched: None, _place: place }
    }

    /// Wraps a TLS stream after its handshake.
    pub fn tls(stream: TlsStream<TcpStream>, place: Option<Place>) -> Self {
        Self { io: Io::Tls(Box::new(stream)), replay: Vec::new(), watched: None, _place: place }
    }

    /// Says whether the bytes travel encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// Begins to note when requests wait for an answer.
    pub fn watch(&mut self) -> Rc<Unanswered> {
        self.watched.get_or_insert_default().clone()
    }

    /// Returns what [`Self::watch`] began.
    pub fn watched(&self) -> Option<Rc<Unanswered>> {
        self.watched.clone()
    }

    /// Ends [`Self::watch`]: the stream is no HTTP any more. What is returned brings it back.
    pub fn unwatch(&mut self) -> Option<Rc<Unanswered>> {
        self.watched.take().inspect(|watched| watched.reset())
    }

    /// Goes on with what [`Self::unwatch`] ended: it is HTTP after all.
    pub fn watch_again(&mut self, watched: Option<Rc<Unanswered>>) {
        self.watched = watched;
    }

    /// Notes what became of a write: bytes that the kernel took are an answer, none are a client that doesn't read.
    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        let Some(watched) = &self.watched else { return };
        match written {
            Poll::Ready(Ok(1..)) => watched.reset(),
            Poll::Ready(_) => {}
            Poll::Pending => watched.is_stuck(),
        }
    }

    /// Puts bytes in front of those still to be read.
    pub fn replay(mut self, bytes: Vec<u8>) -> Self {
        self.replay = bytes;
        self
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.replay.is_empty() {
            let n = self.replay.len().min(buf.remaining());
            buf.put_slice(&self.replay[..n]);
            self.replay.drain(..n);
            if self.replay.is_empty() {
                self.replay = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if let Some(watched) = &self.watched
            && buf.filled().len() > before
            && watched.asked.get().is_none()
        {
            watched.asked.set(Some(Instant::now()));
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => {
                let flushed = Pin::new(stream).poll_flush(cx);
                // TLS takes bytes that the kernel doesn't: only the flush shows that the client reads nothing.
                if let (Poll::Pending, Some(watched)) = (&flushed, &self.watched) {
                    watched.is_stuck();
                }
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
