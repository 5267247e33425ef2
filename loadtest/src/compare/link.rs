//! One user's connection to any of the servers compared.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, Utf8Bytes, client::IntoClientRequest as _, http::HeaderValue, protocol::WebSocketConfig},
};

use super::dialect::{Dialect, Exchange};
use crate::{
    content::Mark,
    peer::{Heard, Login, Peer, Place, To},
    run::Run,
};

/// No answer within this time is an error: a busy server greets a thousand others first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// First size of a socket's read buffer, bytes: thousands of sockets are open at once.
const READ_BUFFER_BYTES: usize = 4096;

/// A connected user.
pub enum Link {
    Ours(Box<Peer>),
    Theirs(Box<Theirs>),
}

/// A user of one of the other servers.
pub struct Theirs {
    name: String,
    dialect: &'static dyn Dialect,
    socket: WebSocketStream<TcpStream>,
    /// An answer was written and not flushed: the wait in which it was written may have been cancelled.
    unflushed: bool,
}

impl Link {
    /// Connects to our server.
    pub async fn ours(run: &Arc<Run>, index: usize, login: &Login) -> anyhow::Result<Self> {
        Ok(Self::Ours(Box::new(Peer::connect(run, index, login).await?)))
    }

    /// Connects to another server and waits until it knows the name.
    pub async fn theirs(address: &str, dialect: &'static dyn Dialect, name: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}{}", dialect.path()).into_client_request()?;
        if let Some(subprotocol) = dialect.subprotocol() {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(subprotocol));
        }
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let (socket, _) = timeout(ANSWER_TIMEOUT, upgrade).await.context("the upgrade wasn't answered")??;
        let mut link = Theirs { name: name.to_owned(), dialect, socket, unflushed: false };
        for exchange in dialect.greeting(name) {
            link.exchange(exchange).await?;
        }
        Ok(Self::Theirs(Box::new(link)))
    }

    /// Makes a room and joins it.
    pub async fn make_room(&mut self, name: &str) -> anyhow::Result<Place> {
        match self {
            Self::Ours(peer) => peer.make_place(name).await,
            Self::Theirs(_) => {
                let place = Place { name: name.to_owned(), id: 0 };
                self.join(&place).await?;
                Ok(place)
            }
        }
    }

    /// Joins a room.
    pub async fn join(&mut self, place: &Place) -> anyhow::Result<()> {
        match self {
            Self::Ours(peer) => peer.join(place).await,
            Self::Theirs(link) => {
                let exchange = link.dialect.join(&place.name, &link.name);
                link.exchange(exchange).await
            }
        }
    }

    /// Writes a message.
    pub async fn post(&mut self, to: &To, mark: &Mark, bytes: usize) -> anyhow::Result<()> {
        match self {
            Self::Ours(peer) => peer.post(to, mark, bytes).await,
            Self::Theirs(link) => {
                let text = mark.text(bytes);
                let frame = match to {
                    To::Place(place) => link.dialect.to_room(&place.name, &text),
                    To::User(name) => link.dialect.to_user(name, &text),
                };
                Ok(link.socket.send(Message::text(frame)).await?)
            }
        }
    }

    /// Waits for what comes next; of other servers only messages. Nothing is lost if it is cancelled.
    pub async fn next(&mut self) -> anyhow::Result<Heard> {
        match self {
            Self::Ours(peer) => peer.next().await,
            Self::Theirs(link) => loop {
                if let Some(mark) = Mark::find(link.frame().await?.as_bytes()) {
                    return Ok(Heard::Message(mark));
                }
            },
        }
    }

    /// Says whether its server tells when a message is stored.
    pub fn hears_acknowledgements(&self) -> bool {
        matches!(self, Self::Ours(_))
    }

    /// Closes the socket as a client does.
    pub async fn close(self) {
        match self {
            Self::Ours(peer) => peer.close().await,
            // The server may have gone first.
            Self::Theirs(mut link) => drop(timeout(ANSWER_TIMEOUT, link.socket.close(None)).await),
        }
    }
}

impl Theirs {
    /// Says something and waits for its answer.
    async fn exchange(&mut self, exchange: Exchange) -> anyhow::Result<()> {
        if let Some(say) = exchange.say {
            self.socket.send(Message::text(say)).await?;
        }
        let answered = async {
            while !self.frame().await?.contains(exchange.until) {}
            anyhow::Ok(())
        };
        timeout(ANSWER_TIMEOUT, answered)
            .await
            .with_context(|| format!("no answer ({}) within {ANSWER_TIMEOUT:?}", exchange.until))?
    }

    /// Waits for the next text frame that isn't answered at once.
    async fn frame(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            if self.unflushed {
                self.socket.flush().await?;
                self.unflushed = false;
            }
            match self.socket.next().await.context("the socket ended")?? {
                Message::Text(frame) => {
                    if let Some(answer) = self.dialect.answer(&frame) {
                        self.socket.feed(Message::text(answer)).await?;
                        self.unflushed = true;
                    } else if self.dialect.refuses(&frame) {
                        bail!("refused: {}", frame.chars().take(300).collect::<String>());
                    } else {
                        return Ok(frame);
                    }
                }
                Message::Close(close) => bail!("the server closed the socket: {close:?}"),
                _ => {}
            }
        }
    }
}
