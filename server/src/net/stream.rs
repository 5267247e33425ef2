//! The byte stream of a connection: TCP, or TLS over it.
//!
//! Holds the connection's place under the process-wide cap, so that the place is free when the stream is dropped, whoever owns
//! it then.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::server::TlsStream;

/// Counts open connections of all listeners.
#[derive(Debug)]
pub struct Places {
    open: AtomicUsize,
    max: usize,
}

impl Places {
    /// Makes `max` free places.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), max })
    }

    /// Takes a place, if one is free.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let taken = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.max).then_some(n + 1));
        taken.is_ok().then(|| Place(self.clone()))
    }

    /// Returns how many are taken.
    pub fn taken(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// One open connection's place.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When the request began that HTTP hasn't answered yet; read by a watchdog.
#[derive(Debug, Default)]
pub struct Unanswered {
    since: Cell<Option<Instant>>,
}

impl Unanswered {
    /// Returns when the first byte came that no byte of an answer followed yet.
    pub fn since(&self) -> Option<Instant> {
        self.since.get()
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

    /// Ends [`Self::watch`]: the stream is no HTTP any more.
    pub fn unwatch(&mut self) {
        if let Some(watched) = self.watched.take() {
            watched.since.set(None);
        }
    }

    fn answered(&self) {
        if let Some(watched) = &self.watched {
            watched.since.set(None);
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
            && watched.since.get().is_none()
        {
            watched.since.set(Some(Instant::now()));
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.answered();
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answered();
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
