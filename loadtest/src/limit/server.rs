//! The bare server, a process of its own: one thread and epoll, passes on what it reads, and does nothing else.
//!
//! No upgrade, no parsing, no checks, no storage: what a delivery costs here, the kernel costs. Its clients send it frames prepared as a real
//! server would write them, all of one length, so that it knows where they end.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use mio::{Events, Interest, Poll, Token};

/// How long to wait for the next of the sockets: ends the process if its parent is gone.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(60);
/// What one read takes at most, bytes: more than any workload has in flight on one socket.
const READ_MAX_BYTES: usize = 256 * 1024;
/// Sockets told of by one call of epoll.
const EVENTS_MAX: usize = 1024;

/// Sockets of a fan that post: the first has each frame written by itself, the second as many as came together in one write.
pub const FAN_POSTERS: usize = 2;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wiring {
    /// From the first two sockets to all others, and back to the one they came from when they are written.
    Fan,
    /// From each to its neighbour: 0 and 1, 2 and 3, …
    Pairs,
}

/// What it is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[arg(value_enum)]
    pub wiring: Wiring,
    /// Sockets that it waits for before it begins, posters included
    pub sockets: usize,
    /// Length of every frame, bytes
    pub frame_bytes: usize,
}

/// Runs the bare server until the first of its clients ends. Writes its port to standard output.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    serve(&listener, options)
}

/// Accepts the sockets and passes on what comes, until the first of them ends.
pub fn serve(listener: &TcpListener, options: &Options) -> anyhow::Result<()> {
    ensure!(options.frame_bytes > 0 && options.frame_bytes <= READ_MAX_BYTES, "frame_bytes: 1 to {READ_MAX_BYTES}");
    let streams = accept(listener, options.sockets)?;
    match options.wiring {
        Wiring::Fan => fan(streams, options.frame_bytes),
        Wiring::Pairs => pairs(streams),
    }
}

fn accept(listener: &TcpListener, sockets: usize) -> anyhow::Result<Vec<TcpStream>> {
    listener.set_nonblocking(true)?;
    let mut streams = Vec::with_capacity(sockets);
    let mut last = Instant::now();
    while streams.len() < sockets {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nodelay(true)?;
                streams.push(stream);
                last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ensure!(last.elapsed() < ACCEPT_TIMEOUT, "{} of {sockets} sockets came", streams.len());
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(streams)
}

/// A nonblocking socket that epoll watches.
fn watch(poll: &Poll, stream: TcpStream, index: usize) -> anyhow::Result<mio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    let mut stream = mio::net::TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
    Ok(stream)
}

fn wait(poll: &mut Poll, events: &mut Events) -> anyhow::Result<()> {
    match poll.poll(events, None) {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
        _ => Ok(()),
    }
}

/// What a read found.
enum Came {
    Bytes(usize),
    Nothing,
    End,
}

fn read(stream: &mut mio::net::TcpStream, into: &mut [u8]) -> anyhow::Result<Came> {
    match stream.read(into) {
        Ok(0) => Ok(Came::End),
        Ok(bytes) => Ok(Came::Bytes(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Came::Nothing),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Came::End),
        Err(error) => Err(error.into()),
    }
}

fn fan(mut streams: Vec<TcpStream>, frame_bytes: usize) -> anyhow::Result<()> {
    ensure!(streams.len() > FAN_POSTERS, "a fan needs {FAN_POSTERS} posters and a reader");
    let mut readers = streams.split_off(FAN_POSTERS);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(FAN_POSTERS);
    let mut posters = Vec::new();
    for (index, stream) in streams.into_iter().enumerate() {
        posters.push((watch(&poll, stream, index)?, Vec::new()));
    }
    let mut buffer = vec![0; READ_MAX_BYTES];
    loop {
        wait(&mut poll, &mut events)?;
        for event in &events {
            let index = event.token().0;
            let (poster, partial) = &mut posters[index];
            loop {
                let before = partial.len();
                buffer[..before].copy_from_slice(partial);
                partial.clear();
                let have = match read(poster, &mut buffer[before..])? {
                    Came::Bytes(bytes) => before + bytes,
                    Came::Nothing => {
                        partial.extend_from_slice(&buffer[..before]);
                        break;
                    }
                    Came::End => return Ok(()),
                };
                let whole = have / frame_bytes * frame_bytes;
                partial.extend_from_slice(&buffer[whole..have]);
                let together = if index == 0 { frame_bytes } else { whole };
                for piece in buffer[..whole].chunks(together.max(1)) {
                    for reader in &mut readers {
                        reader.write_all(piece).context("a reader ended")?;
                    }
                }
                poster.write_all(&buffer[..whole]).context("a poster doesn't read")?;
            }
        }
    }
}

fn pairs(streams: Vec<TcpStream>) -> anyhow::Result<()> {
    ensure!(streams.len().is_multiple_of(2), "pairs need an even number of sockets");
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut ends = Vec::with_capacity(streams.len());
    for (index, stream) in streams.into_iter().enumerate() {
        ends.push(watch(&poll, stream, index)?);
    }
    let mut buffer = vec![0; READ_MAX_BYTES];
    loop {
        wait(&mut poll, &mut events)?;
        for event in &events {
            let index = event.token().0;
            let bytes = match read(&mut ends[index], &mut buffer)? {
                Came::Bytes(bytes) => bytes,
                Came::Nothing => continue,
                Came::End => return Ok(()),
            };
            // A short read has taken everything: epoll tells of what comes later.
            ensure!(bytes < buffer.len(), "more than {READ_MAX_BYTES} bytes in flight on one socket");
            if let Err(error) = ends[index ^ 1].write_all(&buffer[..bytes]) {
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) {
                    return Ok(());
                }
                bail!("a partner doesn't read: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 8;

    fn start(wiring: Wiring, sockets: usize) -> Vec<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, &Options { wiring, sockets, frame_bytes: FRAME }));
        let connect = |_| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream
        };
        (0..sockets).map(connect).collect()
    }

    fn receive(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        stream.read_exact(&mut buffer).unwrap();
        buffer
    }

    #[test]
    fn a_fan_writes_whole_frames_to_all_readers_and_back_to_the_poster() {
        for poster in 0..FAN_POSTERS {
            let mut ends = start(Wiring::Fan, 5);
            ends[poster].write_all(b"frame--1fra").unwrap();
            for end in [poster, 2, 3, 4] {
                assert_eq!(receive(&mut ends[end], FRAME), b"frame--1");
            }
            ends[poster].write_all(b"me--2").unwrap();
            for end in [poster, 2, 3, 4] {
                assert_eq!(receive(&mut ends[end], FRAME), b"frame--2");
            }
        }
    }

    #[test]
    fn pairs_hear_each_other_and_nobody_else() {
        let mut ends = start(Wiring::Pairs, 4);
        for (index, text) in [b"from---0", b"from---1", b"from---2", b"from---3"].into_iter().enumerate() {
            ends[index].write_all(text).unwrap();
        }
        for (index, text) in [b"from---1", b"from---0", b"from---3", b"from---2"].into_iter().enumerate() {
            assert_eq!(receive(&mut ends[index], FRAME), text);
        }
    }
}
