//! The future that owns a socket after its upgrade.
//!
//! Reads into a buffer of the thread, feeds the [`Decoder`], calls the [`Endpoint`], and writes what waits in the outbox, as much as
//! fits into one gathered write per wake-up. Memory of its own is used only while a message is incomplete or the endpoint
//! doesn't want to read. Generic over the stream; knows nothing of HTTP, of dialects, or of timers (a tick of the worker
//! pings and reaps through the shared `SocketState`), except for the time that closing may take.
//!
//! Closing: whoever begins, what waits is written, then the close frame, then the write side is shut down, and the client's
//! remaining bytes are read and thrown away, because unread bytes would make the kernel reset the connection and the client lose the
//! close frame. All of that within `CLOSE_TIMEOUT`.

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use chinwag_actors::session::socket::{SocketState, coarse_now_s};
use chinwag_schema::{
    error::CloseCode,
    event::Class,
    limits::socket::{CLOSE_TIMEOUT, WRITE_MAX_BYTES},
    wire::frame,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{
    decoder::{Decoder, Message, Next, Violation, WsLimits},
    endpoint::{Closed, ClosedBy, Endpoint},
};

/// The thread's read buffer, bytes: as much as is read at once from one socket.
const READ_BYTES: usize = 16 * 1024;
/// Reads and writes of one socket per poll before others get their turn.
const READS_PER_POLL: usize = 4;
const WRITES_PER_POLL: usize = 4;

thread_local! {
    // Taken out while in use: what an endpoint does may poll another connection.
    static READ_BUFFER: Cell<Option<Box<[u8; READ_BYTES]>>> = const { Cell::new(None) };
}

/// How far the connection's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Messages go to the endpoint.
    Open,
    /// Our close frame is queued or sent; the client's answer is awaited, its messages are thrown away.
    AwaitClose,
    /// Both close frames are known, or the client's can't be understood: once all is written, the write side is shut down.
    Finish,
    /// Shut down; bytes are thrown away until the client's end.
    Linger,
}

/// What polling one direction found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The stream will wake the task, or it has nothing to do.
    Waiting,
    /// The turn is over though there is more to do.
    TurnOver,
}

/// One WebSocket connection.
pub struct Connection<S, E: Endpoint> {
    stream: S,
    endpoint: E,
    state: Rc<SocketState>,
    decoder: Decoder,
    /// Bytes read but not decoded because the endpoint paused.
    unread: Vec<u8>,
    phase: Phase,
    told: bool,
    needs_flush: bool,
    /// Runs from the beginning of the close.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S, E> Connection<S, E>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Endpoint + Unpin,
{
    /// Makes a connection whose handshake was answered. `early` are bytes that came right behind the handshake. Whether messages may
    /// be compressed is in the state's encoding.
    pub fn new(stream: S, endpoint: E, state: Rc<SocketState>, limits: WsLimits, early: &[u8]) -> Self {
        let deflate = state.outbox.encoding().compressed;
        Self {
            stream,
            endpoint,
            state,
            decoder: Decoder::new(limits, deflate),
            unread: early.to_vec(),
            phase: Phase::Open,
            told: false,
            needs_flush: false,
            deadline: None,
        }
    }

    fn tell(&mut self, by: ClosedBy, code: Option<CloseCode>) {
        if !std::mem::replace(&mut self.told, true) {
            self.endpoint.on_closed(Closed { by, code });
        }
    }

    /// Decodes bytes; returns how many the decoder took before the endpoint paused.
    fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let now_s = coarse_now_s();
        let Self { endpoint, state, decoder, phase, .. } = self;
        let open = *phase == Phase::Open;
        let mut peer_closed = None;
        let result = decoder.feed(bytes, now_s, &mut |message| {
            match message {
                Message::Close(code) => peer_closed = Some(code),
                // After our close frame nothing may be answered.
                _ if !open || state.outbox.is_closing() => return Next::More,
                Message::Text(text) => endpoint.on_text(text),
                Message::Binary(data) => endpoint.on_binary(data),
                Message::Ping(payload) => {
                    state.outbox.push(frame::pong(payload), &Class::Kept);
                    endpoint.on_ping(payload);
                }
                Message::Pong(payload) => {
                    state.last_pong_s.set(now_s);
                    endpoint.on_pong(payload);
                }
            }
            if endpoint.want_read() { Next::More } else { Next::Pause }
        });
        if let Some(code) = peer_closed {
            self.peer_closed(code);
        }
        match result {
            Ok(used) => used,
            Err(violation) => {
                self.violated(violation);
                bytes.len()
            }
        }
    }

    fn peer_closed(&mut self, code: Option<CloseCode>) {
        let reply = code.map_or_else(frame::close_without_code, |code| frame::close(code, ""));
        self.state.outbox.close_with_reply(code, reply);
        self.tell(ClosedBy::Peer, code);
        self.phase = Phase::Finish;
    }

    fn violated(&mut self, violation: Violation) {
        if self.phase == Phase::Open {
            tracing::debug!(%violation, "closing a websocket");
            self.state.outbox.close(violation.close_code(), &violation.to_string());
            self.tell(ClosedBy::Violation, Some(violation.close_code()));
        }
        self.phase = Phase::Finish;
    }

    /// Says whether the next bytes may be decoded.
    fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Open => self.state.outbox.is_closing() || self.endpoint.want_read(),
            Phase::AwaitClose | Phase::Linger => true,
            // Everything after the client's close frame or mistake waits for `Linger`.
            Phase::Finish => false,
        }
    }

    /// Decodes what was left, then what the stream has. `Err` ends the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Result<Progress, ()> {
        if !self.unread.is_empty() && self.wants_read() {
            let mut unread = std::mem::take(&mut self.unread);
            let used = if self.phase == Phase::Linger { unread.len() } else { self.decode(&mut unread) };
            if used < unread.len() {
                unread.drain(..used);
                self.unread = unread;
                return Ok(Progress::Waiting);
            }
        }
        for _ in 0..READS_PER_POLL {
            if !self.unread.is_empty() || !self.wants_read() {
                return Ok(Progress::Waiting);
            }
            let mut read = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Pending => return Ok(Progress::Waiting),
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                // The end, or an error: without a close frame, nothing that waits can matter to the client any more.
                Poll::Ready(_) => return Err(()),
            }
            let bytes = read.filled_mut();
            self.state.bytes_in.set(self.state.bytes_in.get() + bytes.len() as u64);
            self.state.last_heard_s.set(coarse_now_s());
            if self.phase == Phase::Linger {
                continue;
            }
            let used = self.decode(bytes);
            if used < bytes.len() {
                self.unread = bytes[used..].to_vec();
                return Ok(Progress::Waiting);
            }
        }
        Ok(if self.wants_read() { Progress::TurnOver } else { Progress::Waiting })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<Progress> {
        for _ in 0..WRITES_PER_POLL {
            if self.state.outbox.is_empty() {
                return self.poll_flush(cx);
            }
            let stream = Pin::new(&mut self.stream);
            let written = self.state.outbox.with_front(WRITE_MAX_BYTES, |slices| match slices {
                // One frame, as most writes of a fan-out: `send` costs the kernel less than `writev`.
                [frame] => stream.poll_write(cx, frame),
                frames => stream.poll_write_vectored(cx, frames),
            });
            match written {
                Poll::Pending => return Ok(Progress::Waiting),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.needs_flush = true;
                    self.state.bytes_out.set(self.state.bytes_out.get() + written as u64);
                    self.state.outbox.advance(written);
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.state.outbox.is_empty() { self.poll_flush(cx) } else { Ok(Progress::TurnOver) }
    }

    /// TLS keeps records back until it is flushed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<Progress> {
        if self.needs_flush
            && let Poll::Ready(result) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            result?;
            self.needs_flush = false;
        }
        Ok(Progress::Waiting)
    }

    /// Begins or advances the close after reading and writing; ready when the connection is over.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.state.outbox.is_closing() {
            return Poll::Pending;
        }
        if self.phase == Phase::Open {
            self.phase = Phase::AwaitClose;
            self.tell(ClosedBy::Server, self.state.outbox.close_code());
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.phase == Phase::Finish && self.state.outbox.is_empty() {
            // An error here means that the client is gone already.
            if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.phase = Phase::Linger;
            self.unread = Vec::new();
            // Nothing registered the task for reading yet.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_once(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<()> {
        loop {
            let Ok(read) = self.poll_read(cx, buffer) else {
                self.tell(ClosedBy::Lost, None);
                return Poll::Ready(());
            };
            let paused = self.phase == Phase::Open && !self.wants_read();
            let Ok(written) = self.poll_write(cx) else {
                self.tell(ClosedBy::Lost, None);
                return Poll::Ready(());
            };
            if self.poll_closing(cx).is_ready() {
                return Poll::Ready(());
            }
            if read == Progress::TurnOver || written == Progress::TurnOver {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // An endpoint that waited for the outbox to drain may go on.
            if !(paused && self.wants_read()) {
                return Poll::Pending;
            }
        }
    }
}

impl<S, E> Future for Connection<S, E>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Endpoint + Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // While it runs anyway, its own pushes needn't wake it.
        let waker = this.state.outbox.take_waker();
        let mut buffer = READ_BUFFER.take().unwrap_or_else(|| Box::new([0; READ_BYTES]));
        let polled = this.poll_once(cx, &mut buffer[..]);
        READ_BUFFER.set(Some(buffer));
        this.state.outbox.restore_waker(waker, cx);
        polled
    }
}

impl<S, E: Endpoint> Drop for Connection<S, E> {
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.endpoint.on_closed(Closed { by: ClosedBy::Dropped, code: None });
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
