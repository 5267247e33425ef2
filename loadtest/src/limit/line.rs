//! A client of the bare server: writes prepared frames and finds the marks in those that come.

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::frame::Frames;
use crate::content::Mark;

/// What one read takes at most, bytes; as much as a peer's.
const READ_MAX_BYTES: usize = 16 * 1024;

/// One socket of the bare server.
pub struct BareLine {
    stream: TcpStream,
    frames: Frames,
    frame_bytes: usize,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were told already.
    told: usize,
    echoes: bool,
}

impl BareLine {
    /// Connects to a bare server of this machine. `echoes`: it writes back what is posted here.
    pub async fn connect(port: u16, frames: Frames, echoes: bool) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let frame_bytes = frames.bytes()?;
        Ok(Self { stream, frames, frame_bytes, buffer: Vec::new(), told: 0, echoes })
    }

    /// Says whether what is posted here comes back when it is written to all readers.
    pub fn echoes(&self) -> bool {
        self.echoes
    }

    /// Writes the frame of a message with this mark.
    pub async fn post(&mut self, mark: &Mark) -> anyhow::Result<()> {
        let frame = self.frames.frame(mark)?;
        self.stream.write_all(&frame).await.context("the bare server ended")
    }

    /// Waits for the next frame. Nothing is lost if it is cancelled.
    pub async fn next(&mut self) -> anyhow::Result<Mark> {
        loop {
            if let Some(frame) = self.buffer.get(self.told..self.told + self.frame_bytes) {
                self.told += self.frame_bytes;
                return Mark::find(frame).context("a frame of the bare server has no mark");
            }
            self.buffer.drain(..self.told);
            self.told = 0;
            self.buffer.reserve(READ_MAX_BYTES - self.buffer.len());
            let read = self.stream.read_buf(&mut self.buffer).await.context("the bare server ended")?;
            ensure!(read > 0, "the bare server ended");
        }
    }
}
