//! The WebSocket under a peer: small, so that tens of thousands fit.
//!
//! A codec of its own, because the load test needs what ready ones don't have together: no buffer while nothing is under way,
//! permessage-deflate, and reading and writing that can be cancelled at any time without loss. Bytes are read into one buffer per thread
//! and only what isn't a whole frame yet, or waits to be looked at, is kept. Knows nothing of dialects.

mod frame;
mod handshake;

use std::{
    cell::RefCell,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use chinwag_schema::wire::{deflate::TAIL, frame::Opcode};
use flate2::{Decompress, FlushDecompress, Status};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::ANSWER_TIMEOUT;
pub use handshake::Upgrade;

/// What a thread reads at once, bytes.
const READ_BYTES: usize = 64 * 1024;
/// What a socket keeps of a buffer while nothing is in it, bytes.
const KEPT_BYTES: usize = 1024;
/// How long closing waits for the server's close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Close code: nothing was wrong.
const NORMAL: u16 = 1000;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Why a socket ended that nobody here closed. Found in the errors of a peer by `downcast_ref`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// `None`: without a close frame, or one without a code.
    pub code: Option<u16>,
    pub reason: String,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "the server closed the socket: {code} {}", self.reason),
            None => f.write_str("the server closed the socket without a reason"),
        }
    }
}

impl std::error::Error for Closed {}

/// A connected WebSocket.
pub struct Socket {
    stream: TcpStream,
    /// Received; the first `taken` bytes were handed out.
    input: Vec<u8>,
    taken: usize,
    /// What the stream hasn't taken yet.
    output: Vec<u8>,
    /// A message that isn't in `input` as it is: inflated, or put together.
    message: Vec<u8>,
    pieces: Pieces,
    /// permessage-deflate was agreed upon.
    deflate: bool,
}

/// How much of a fragmented message is in [`Socket::message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pieces {
    None,
    Some { compressed: bool },
}

/// Where a message lies.
enum Found {
    Input { start: usize, end: usize },
    Message,
}

impl Socket {
    /// Connects and upgrades.
    pub async fn connect(upgrade: &Upgrade<'_>) -> anyhow::Result<Self> {
        Ok(Self::upgraded(upgrade.connect().await?))
    }

    /// Upgrades a connected stream, with socket options of its own.
    pub async fn over(upgrade: &Upgrade<'_>, stream: TcpStream) -> anyhow::Result<Self> {
        Ok(Self::upgraded(upgrade.over(stream).await?))
    }

    fn upgraded((stream, input, deflate): (TcpStream, Vec<u8>, bool)) -> Self {
        let (output, message) = (Vec::new(), Vec::new());
        Self { stream, input, taken: 0, output, message, pieces: Pieces::None, deflate }
    }

    /// Waits for the next message and lends it; answers pings meanwhile. Nothing is lost if it is cancelled.
    ///
    /// # Errors
    /// [`Closed`], an I/O error, or what the server did against the protocol.
    pub async fn next(&mut self) -> anyhow::Result<&[u8]> {
        let found = loop {
            if let Some(found) = self.look()? {
                break found;
            }
            std::future::poll_fn(|context| self.poll_exchange(context)).await?;
        };
        Ok(match found {
            Found::Input { start, end } => &self.input[start..end],
            Found::Message => &self.message,
        })
    }

    /// Sends a text. If it is cancelled, the rest goes out with whatever is done next.
    pub async fn send(&mut self, text: &[u8]) -> anyhow::Result<()> {
        self.put(Opcode::Text, text);
        std::future::poll_fn(|context| self.poll_flush(context)).await?;
        Ok(())
    }

    /// Sends a text and gives each message that comes to `take`, until that has an answer in it. `name` says what was asked.
    ///
    /// # Errors
    /// When there is no answer within 30 s, and those of `take` and of [`Self::next`].
    pub async fn ask<T>(
        &mut self,
        name: &str,
        text: &[u8],
        mut take: impl FnMut(&[u8]) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let answered = async {
            self.send(text).await?;
            loop {
                if let Some(answer) = take(self.next().await?)? {
                    return Ok(answer);
                }
            }
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answered)
            .await
            .with_context(|| format!("{name} wasn't answered within {} s", ANSWER_TIMEOUT.as_secs()))?
    }

    /// Closes with 1000 and waits until the server has answered or the stream ended, at most 5 s.
    pub async fn close(mut self) {
        self.put(Opcode::Close, &NORMAL.to_be_bytes());
        let answered = async { while self.next().await.is_ok() {} };
        // No answer: dropping the stream closes it, too.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, answered).await;
    }

    fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        frame::write(opcode, payload, rand::random(), &mut self.output);
    }

    /// Takes frames until there is a message.
    fn look(&mut self) -> anyhow::Result<Option<Found>> {
        loop {
            let Some(frame) = frame::first(&self.input[self.taken..])? else {
                self.forget_taken();
                return Ok(None);
            };
            let start = self.taken + frame.header_bytes;
            let end = start + frame.payload_bytes;
            self.taken = end;
            ensure!(self.deflate || !frame.compressed, "the server compressed a frame without having said so");
            match (frame.opcode, self.pieces) {
                (Opcode::Ping, _) => {
                    let payload = self.input[start..end].to_vec();
                    self.put(Opcode::Pong, &payload);
                }
                (Opcode::Pong, _) => {}
                (Opcode::Close, _) => return Err(self.closed(start, end).into()),
                (Opcode::Binary, _) => bail!("the server sent a binary frame"),
                (Opcode::Text, Pieces::None) if frame.last && !frame.compressed => {
                    return Ok(Some(Found::Input { start, end }));
                }
                (Opcode::Text, Pieces::None) => {
                    self.message.clear();
                    self.message.extend_from_slice(&self.input[start..end]);
                    self.pieces = Pieces::Some { compressed: frame.compressed };
                }
                (Opcode::Continuation, Pieces::Some { .. }) => {
                    ensure!(self.message.len() + frame.payload_bytes <= frame::MESSAGE_MAX_BYTES, "too long a message");
                    self.message.extend_from_slice(&self.input[start..end]);
                }
                (Opcode::Text | Opcode::Continuation, _) => bail!("the server mixed up the pieces of messages"),
            }
            if let Pieces::Some { compressed } = self.pieces
                && frame.last
                && !frame.opcode.is_control()
            {
                self.pieces = Pieces::None;
                if compressed {
                    inflate(&mut self.message)?;
                }
                return Ok(Some(Found::Message));
            }
        }
    }

    fn closed(&mut self, start: usize, end: usize) -> Closed {
        let payload = &self.input[start..end];
        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
        // The answer that the protocol wants; whether it arrives doesn't matter any more.
        self.put(Opcode::Close, &code.unwrap_or(NORMAL).to_be_bytes());
        let _ = self.stream.try_write(&self.output);
        Closed { code, reason }
    }

    fn forget_taken(&mut self) {
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        for buffer in [&mut self.input, &mut self.output] {
            if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
        if self.pieces == Pieces::None && self.message.capacity() > KEPT_BYTES {
            self.message = Vec::new();
        }
    }

    /// Writes what waits and reads what is there; ready once something was read.
    fn poll_exchange(&mut self, context: &mut Context<'_>) -> Poll<anyhow::Result<()>> {
        // Whether everything went out is of no interest here: the stream wakes this task either way.
        if let Poll::Ready(Err(error)) = self.poll_flush(context) {
            return Poll::Ready(Err(error.into()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)).context("the connection broke")?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(Closed { code: None, reason: String::new() }.into()));
            }
            self.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(()))
        })
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.output))?;
            self.output.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Inflates a message in place.
fn inflate(message: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut compressed = std::mem::take(message);
    compressed.extend_from_slice(&TAIL);
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        message.reserve(compressed.len() * 4);
        loop {
            let done = inflater.total_in() as usize;
            let status = inflater
                .decompress_vec(&compressed[done..], message, FlushDecompress::Sync)
                .context("the server sent a message that can't be inflated")?;
            let all = inflater.total_in() as usize == compressed.len();
            if status == Status::StreamEnd || (all && message.len() < message.capacity()) {
                return Ok(());
            }
            ensure!(message.len() <= frame::MESSAGE_MAX_BYTES, "the server sent a message that inflates without end");
            message.reserve(message.len().max(KEPT_BYTES));
        }
    })
}

#[cfg(test)]
mod tests;
