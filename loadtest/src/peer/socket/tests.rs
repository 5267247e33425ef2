//! A socket against a server that is written out by hand.

use chinwag_schema::{error::CloseCode, wire::frame as server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// Connects a socket that is upgraded already, with the server's end of its stream.
async fn connected(deflate: bool) -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Socket::upgraded((stream.unwrap(), Vec::new(), deflate)), accepted.unwrap().0)
}

async fn next(socket: &mut Socket) -> String {
    let message = timeout(SOON, socket.next()).await.expect("nothing comes").unwrap();
    String::from_utf8(message.to_vec()).unwrap()
}

/// Reads one frame of a client: its type and what it says.
async fn written(server: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut start = [0; 2];
    timeout(SOON, server.read_exact(&mut start)).await.expect("nothing comes").unwrap();
    assert_eq!(start[1] & 0x80, 0x80, "not masked");
    let length = match start[1] & 0x7f {
        126 => server.read_u16().await.unwrap().into(),
        127 => server.read_u64().await.unwrap(),
        short => short.into(),
    };
    let (mut mask, mut payload) = ([0; 4], vec![0; length as usize]);
    server.read_exact(&mut mask).await.unwrap();
    server.read_exact(&mut payload).await.unwrap();
    payload.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    (start[0], payload)
}

#[tokio::test]
async fn messages_come_whole_however_they_arrive() {
    let (mut socket, mut server) = connected(false).await;
    let mut bytes = Vec::new();
    for text in ["one", "", &"long ".repeat(100), "last"] {
        bytes.extend_from_slice(&server::text(text.as_bytes(), false));
    }
    let mut got = Vec::new();
    for byte in bytes {
        server.write_all(&[byte]).await.unwrap();
        // Each time but four it is cancelled in the middle of a frame.
        if let Ok(message) = timeout(Duration::from_millis(1), socket.next()).await {
            got.push(String::from_utf8(message.unwrap().to_vec()).unwrap());
        }
    }
    while got.len() < 4 {
        got.push(next(&mut socket).await);
    }
    assert_eq!(got, ["one", "", &"long ".repeat(100), "last"]);
}

#[tokio::test]
async fn pings_are_answered_while_waiting() {
    let (mut socket, mut server) = connected(false).await;
    server.write_all(&server::ping(b"are you there")).await.unwrap();
    let (pong, waited) = tokio::join!(written(&mut server), timeout(Duration::from_millis(200), socket.next()));
    assert_eq!(pong, (0x8A, b"are you there".to_vec()));
    assert!(waited.is_err(), "a ping is no message");
}

#[tokio::test]
async fn pieces_are_put_together_and_inflated() {
    let (mut socket, mut server) = connected(true).await;
    let text = "again and ".repeat(1000);
    let compressed = server::always_compressed(Opcode::Text, text.as_bytes());
    // Less than 126 bytes: a header of two.
    let payload = &compressed[2..];
    let (first, second) = payload.split_at(10);
    for (start, piece) in [(0x41, first), (0x00, &[]), (0x80, second)] {
        server.write_all(&[start, piece.len() as u8]).await.unwrap();
        server.write_all(piece).await.unwrap();
        server.write_all(&server::ping(b"")).await.unwrap();
    }
    assert_eq!(next(&mut socket).await, text);
    for text in ["", "short", &"x".repeat(50_000)] {
        server.write_all(&server::always_compressed(Opcode::Text, text.as_bytes())).await.unwrap();
        server.write_all(&server::text(text.as_bytes(), false)).await.unwrap();
        assert_eq!(next(&mut socket).await, text);
        assert_eq!(next(&mut socket).await, text);
    }
}

#[tokio::test]
async fn what_a_server_must_not_send_is_an_error() {
    for (bytes, sentence) in [
        (&server::always_compressed(Opcode::Text, b"x")[..], "compressed a frame without"),
        (&[0x80, 0], "mixed up the pieces"),
        (&[0x01, 0, 0x81, 0], "mixed up the pieces"),
        (&server::binary(b"x", false), "binary"),
    ] {
        let (mut socket, mut server) = connected(false).await;
        server.write_all(bytes).await.unwrap();
        let error = timeout(SOON, socket.next()).await.unwrap().unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }
}

#[tokio::test]
async fn a_close_says_why_and_is_answered() {
    let (mut socket, mut server) = connected(false).await;
    server.write_all(&server::close(CloseCode::GOING_AWAY, "the server stops")).await.unwrap();
    let error = timeout(SOON, socket.next()).await.unwrap().unwrap_err();
    let closed = error.downcast_ref::<Closed>().unwrap();
    assert_eq!(*closed, Closed { code: Some(1001), reason: "the server stops".into() });
    assert_eq!(closed.to_string(), "the server closed the socket: 1001 the server stops");
    assert_eq!(written(&mut server).await, (0x88, 1001_u16.to_be_bytes().to_vec()));

    let (mut socket, server) = connected(false).await;
    drop(server);
    let error = timeout(SOON, socket.next()).await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref::<Closed>().unwrap().code, None);
}

#[tokio::test]
async fn closing_waits_for_the_answer() {
    let (socket, mut server) = connected(false).await;
    let closing = tokio::spawn(socket.close());
    assert_eq!(written(&mut server).await, (0x88, 1000_u16.to_be_bytes().to_vec()));
    assert!(!closing.is_finished());
    server.write_all(&server::close(CloseCode::NORMAL, "")).await.unwrap();
    timeout(SOON, closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_send_that_is_cancelled_goes_out_with_what_is_done_next() {
    let (mut socket, mut server) = connected(false).await;
    let long = vec![b'x'; 12 << 20];
    // Nobody reads: it can't all go out.
    assert!(timeout(Duration::from_millis(50), socket.send(&long)).await.is_err());
    let read = async {
        assert_eq!(written(&mut server).await, (0x81, long.clone()));
        server.write_all(&server::text(b"got it", false)).await.unwrap();
        server
    };
    let (mut server, heard) = tokio::join!(read, next(&mut socket));
    assert_eq!(heard, "got it");
    socket.send(b"and this").await.unwrap();
    assert_eq!(written(&mut server).await, (0x81, b"and this".to_vec()));
}

#[tokio::test]
async fn an_idle_socket_keeps_no_buffers() {
    let (mut socket, mut server) = connected(true).await;
    let text = "x".repeat(100_000);
    server.write_all(&server::text(text.as_bytes(), false)).await.unwrap();
    server.write_all(&server::always_compressed(Opcode::Text, text.as_bytes())).await.unwrap();
    for _ in 0..2 {
        assert_eq!(next(&mut socket).await.len(), text.len());
    }
    assert!(timeout(Duration::from_millis(10), socket.next()).await.is_err());
    let kept = socket.input.capacity() + socket.output.capacity() + socket.message.capacity();
    assert!(kept <= 3 * KEPT_BYTES, "{kept}");
}
