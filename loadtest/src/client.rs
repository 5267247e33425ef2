//! A client of the native protocol: requests with their replies, and events.

use std::time::Duration;

use anyhow::{Context as _, bail};
use chinwag_schema::{
    ids::{ConversationId, Seq},
    limits::conversation::PAGE_MAX,
    wire::native::{
        Command, Credentials, Hello, HistoryFrom, HistoryResult, LoggedEvent, Request, RoomRef, SUBPROTOCOL,
        SendResult, SendTo, ServerFrame, VERSION, Welcome,
    },
};
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};
use uuid::Uuid;

/// No answer within this time is an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A connected, welcomed client.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
}

impl Client {
    /// Connects and says hello.
    pub async fn connect(address: &str, credentials: Credentials) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, address, credentials).await
    }

    /// Says hello over a connected stream (with socket options of its own).
    pub async fn over(stream: TcpStream, address: &str, credentials: Credentials) -> anyhow::Result<Self> {
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        let mut client = Self { socket, next_id: 0 };
        let hello = Hello {
            protocol: VERSION,
            credentials,
            client: Some("chinwag-loadtest".into()),
            features: Vec::new(),
            positions: Default::default(),
        };
        let _: Welcome = client.request(Command::Hello(hello)).await?;
        Ok(client)
    }

    /// Gives up the protocol and returns the stream; what was read already is lost.
    pub fn into_stream(self) -> TcpStream {
        self.socket.into_inner()
    }

    /// Sends a request without waiting; returns its id.
    pub async fn begin(&mut self, command: Command) -> anyhow::Result<String> {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let text = String::from_utf8(Request { id: id.clone(), command }.encode())?;
        self.socket.send(Message::text(text)).await?;
        Ok(id)
    }

    /// Sends a request and waits for its result; events that come before are passed over.
    pub async fn request<T: DeserializeOwned>(&mut self, command: Command) -> anyhow::Result<T> {
        let name = command.name();
        let id = self.begin(command).await?;
        loop {
            match tokio::time::timeout(ANSWER_TIMEOUT, self.next())
                .await
                .with_context(|| format!("{name}: no answer"))??
            {
                ServerFrame::Reply { id: Some(of), outcome } if of == id => {
                    let result = outcome.with_context(|| format!("{name} refused"))?;
                    return ServerFrame::result(&result).with_context(|| format!("{name}: strange result {result}"));
                }
                ServerFrame::Reply { .. } => bail!("{name}: a reply to another request came"),
                ServerFrame::Logged(_) | ServerFrame::Notice(_) => {}
            }
        }
    }

    /// Waits for the next frame.
    pub async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            match self.socket.next().await.context("the socket ended")?? {
                Message::Text(text) => return Ok(ServerFrame::decode(&text)?),
                Message::Close(close) => bail!("the server closed the socket: {close:?}"),
                _ => {}
            }
        }
    }

    /// Sends a message and waits until it is acknowledged.
    pub async fn send(&mut self, to: SendTo, content: &str) -> anyhow::Result<SendResult> {
        self.request(Command::Send { to, message_id: Uuid::now_v7(), content: content.to_owned() }).await
    }

    /// Listens in a room by name, which is made if need be; returns its id and head.
    pub async fn listen(&mut self, name: &str) -> anyhow::Result<(ConversationId, Seq)> {
        let command = Command::RoomListen { room: RoomRef::Name(name.to_owned()), position: None };
        let listening: chinwag_schema::wire::native::Listening = self.request(command).await?;
        Ok((listening.conversation.id, listening.conversation.head))
    }

    /// Reads the whole history of a conversation, oldest first.
    pub async fn history(&mut self, conversation: ConversationId) -> anyhow::Result<Vec<LoggedEvent>> {
        let mut events = Vec::new();
        self.each_event(conversation, |event| events.push(event)).await?;
        Ok(events)
    }

    /// Reads the whole history of a conversation, oldest first, a page at a time.
    pub async fn each_event(
        &mut self,
        conversation: ConversationId,
        mut each: impl FnMut(LoggedEvent),
    ) -> anyhow::Result<()> {
        let mut after = Seq::ZERO;
        loop {
            let from = Some(HistoryFrom::After(after));
            let page: HistoryResult =
                self.request(Command::History { conversation, from, limit: PAGE_MAX, epoch: None }).await?;
            after = page.events.last().map_or(after, |event| event.seq);
            page.events.into_iter().for_each(&mut each);
            if page.complete {
                return Ok(());
            }
        }
    }
}

/// Makes credentials of a guest.
pub fn guest(name: impl Into<String>) -> Credentials {
    Credentials::Guest(name.into())
}
