use std::{cell::RefCell, time::Duration};

use chinwag_actors::session::outbox::{Outbox, OutboxStats};
use chinwag_schema::wire::{Dialect, Encoding};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, LocalSet},
};

use super::*;

const PLAIN: Encoding = Encoding { dialect: Dialect::Rooms, compressed: false };

/// Notes what it hears; reads while `open`.
#[derive(Clone)]
struct Notes {
    heard: Rc<RefCell<Vec<String>>>,
    open: Rc<Cell<bool>>,
}

impl Endpoint for Notes {
    fn on_text(&mut self, text: &str) {
        self.heard.borrow_mut().push(text.to_owned());
    }

    fn on_binary(&mut self, data: &[u8]) {
        self.heard.borrow_mut().push(format!("{data:?}"));
    }

    fn want_read(&self) -> bool {
        self.open.get()
    }

    fn on_closed(&mut self, closed: Closed) {
        self.heard.borrow_mut().push(format!("closed by {} {:?}", closed.by.as_str(), closed.code.map(|code| code.0)));
    }
}

struct Pair {
    client: DuplexStream,
    state: Rc<SocketState>,
    notes: Notes,
    task: JoinHandle<()>,
}

fn connect(buffer_bytes: usize) -> Pair {
    let (client, server) = duplex(buffer_bytes);
    let state = Rc::new(SocketState::new(PLAIN, Rc::new(OutboxStats::default())));
    let notes = Notes { heard: Rc::default(), open: Rc::new(Cell::new(true)) };
    let connection = Connection::new(server, notes.clone(), state.clone(), WsLimits::CHAT, &[]);
    Pair { client, state, notes, task: tokio::task::spawn_local(connection) }
}

/// A masked frame with a mask of zeros.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

/// Runs a test on a paused clock.
fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async { test().await });
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn an_idle_connection_is_small() {
    let connection = size_of::<Connection<crate::net::Socket, Box<dyn Endpoint>>>();
    let shared = size_of::<SocketState>() + size_of::<Outbox>();
    println!("connection {connection}, state {shared} bytes");
    assert!(connection + shared < 1024, "{connection} + {shared}");
}

#[test]
fn messages_go_in_and_frames_go_out() {
    run(async || {
        let mut pair = connect(4096);
        pair.client.write_all(&client_frame(0x81, b"hello")).await.unwrap();
        pair.client.write_all(&client_frame(0x89, b"!")).await.unwrap();
        pair.state.outbox.push(frame::text(b"welcome", false), &Class::Kept);
        let expected = [frame::text(b"welcome", false), frame::pong(b"!")].concat();
        let mut got = vec![0; expected.len()];
        pair.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
        assert_eq!(*pair.notes.heard.borrow(), ["hello"]);
        assert_eq!(pair.state.bytes_out.get(), expected.len() as u64);
    });
}

#[test]
fn the_clients_close_is_answered_and_the_connection_ends() {
    run(async || {
        let mut pair = connect(4096);
        pair.client.write_all(&client_frame(0x88, &1000u16.to_be_bytes())).await.unwrap();
        let mut got = Vec::new();
        pair.client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, frame::close(CloseCode::NORMAL, ""));
        drop(pair.client);
        pair.task.await.unwrap();
        assert_eq!(*pair.notes.heard.borrow(), ["closed by peer Some(1000)"]);
    });
}

#[test]
fn our_close_comes_after_what_waits_and_messages_in_between_are_ignored() {
    run(async || {
        let mut pair = connect(4096);
        pair.state.outbox.push(frame::text(b"last words", false), &Class::Kept);
        pair.state.outbox.close(CloseCode::GOING_AWAY, "restart");
        let expected = [frame::text(b"last words", false), frame::close(CloseCode::GOING_AWAY, "restart")].concat();
        let mut got = vec![0; expected.len()];
        pair.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
        pair.client.write_all(&client_frame(0x81, b"too late")).await.unwrap();
        pair.client.write_all(&client_frame(0x88, &1001u16.to_be_bytes())).await.unwrap();
        let mut rest = Vec::new();
        pair.client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        drop(pair.client);
        pair.task.await.unwrap();
        assert_eq!(*pair.notes.heard.borrow(), ["closed by server Some(1001)"]);
    });
}

#[test]
fn a_client_that_never_answers_the_close_is_left_after_a_while() {
    run(async || {
        let pair = connect(4096);
        pair.state.outbox.close(CloseCode::GOING_AWAY, "");
        let begun = tokio::time::Instant::now();
        pair.task.await.unwrap();
        assert!((CLOSE_TIMEOUT..CLOSE_TIMEOUT * 2).contains(&begun.elapsed()));
    });
}

#[test]
fn a_client_that_never_reads_is_left_after_a_while_too() {
    run(async || {
        let pair = connect(16);
        pair.state.outbox.push(frame::text(&[b'x'; 1000], false), &Class::Kept);
        settle().await;
        pair.state.outbox.close_now(CloseCode::SLOW_READER, "");
        pair.task.await.unwrap();
        assert_eq!(*pair.notes.heard.borrow(), ["closed by server Some(4001)"]);
    });
}

#[test]
fn a_violation_is_told_and_what_follows_is_thrown_away() {
    run(async || {
        let mut pair = connect(4096);
        pair.client.write_all(&client_frame(0x83, b"?")).await.unwrap();
        pair.client.write_all(&client_frame(0x81, b"more")).await.unwrap();
        let mut got = Vec::new();
        pair.client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got[0], 0x88);
        assert_eq!(got[2..4], 1002u16.to_be_bytes());
        pair.client.write_all(&[0; 1000]).await.unwrap();
        drop(pair.client);
        pair.task.await.unwrap();
        assert_eq!(*pair.notes.heard.borrow(), ["closed by violation Some(1002)"]);
    });
}

#[test]
fn a_lost_connection_is_told_once() {
    run(async || {
        let pair = connect(4096);
        drop(pair.client);
        pair.task.await.unwrap();
        assert_eq!(*pair.notes.heard.borrow(), ["closed by lost None"]);
        let pair = connect(4096);
        settle().await;
        pair.task.abort();
        settle().await;
        assert_eq!(*pair.notes.heard.borrow(), ["closed by dropped None"]);
    });
}

#[test]
fn reading_stops_while_the_endpoint_says_so() {
    run(async || {
        let mut pair = connect(64);
        pair.notes.open.set(false);
        let frames = client_frame(0x81, b"0123456789").repeat(20);
        let written = tokio::time::timeout(Duration::from_secs(1), pair.client.write_all(&frames)).await;
        assert!(written.is_err(), "backpressure reaches the client");
        assert!(pair.notes.heard.borrow().is_empty());
        pair.notes.open.set(true);
        pair.state.resume_reading();
        settle().await;
        assert_eq!(pair.notes.heard.borrow().len(), 4, "all that fitted into the pipe");
    });
}

#[test]
fn a_paused_endpoint_gets_the_rest_of_what_was_read_later() {
    run(async || {
        let mut pair = connect(4096);
        let open = pair.notes.open.clone();
        pair.client.write_all(&[client_frame(0x81, b"one"), client_frame(0x81, b"two")].concat()).await.unwrap();
        settle().await;
        assert_eq!(pair.notes.heard.borrow().len(), 2);
        open.set(false);
        // Decoding stops after the first message because the endpoint then says no.
        pair.client.write_all(&[client_frame(0x81, b"three"), client_frame(0x81, b"four")].concat()).await.unwrap();
        settle().await;
        assert_eq!(pair.notes.heard.borrow().len(), 2);
        open.set(true);
        pair.state.resume_reading();
        settle().await;
        assert_eq!(*pair.notes.heard.borrow(), ["one", "two", "three", "four"]);
    });
}

/// Counts the writes that reach it, and takes at most `max` bytes of each.
struct Writes {
    count: Rc<Cell<usize>>,
    got: Rc<RefCell<Vec<u8>>>,
    max: usize,
}

impl AsyncRead for Writes {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Writes {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.count.set(self.count.get() + 1);
        let all: Vec<u8> = bufs.iter().flat_map(|slice| slice.to_vec()).collect();
        let n = all.len().min(self.max);
        self.got.borrow_mut().extend_from_slice(&all[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn what_waits_goes_out_in_one_write_and_half_writes_go_on_where_they_stopped() {
    for (max, expected_writes) in [(usize::MAX, 1), (7, usize::MAX)] {
        run(async || {
            let (count, got) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
            let stream = Writes { count: count.clone(), got: got.clone(), max };
            let state = Rc::new(SocketState::new(PLAIN, Rc::new(OutboxStats::default())));
            let notes = Notes { heard: Rc::default(), open: Rc::new(Cell::new(true)) };
            let task = tokio::task::spawn_local(Connection::new(stream, notes, state.clone(), WsLimits::CHAT, &[]));
            settle().await;
            let frames: Vec<_> = (0..100u8).map(|n| frame::text(&[b'a' + n % 26; 20], false)).collect();
            for frame in &frames {
                state.outbox.push(frame.clone(), &Class::Kept);
            }
            while !state.outbox.is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(*got.borrow(), frames.concat());
            assert!(count.get() <= expected_writes, "{}", count.get());
            task.abort();
        });
    }
}
