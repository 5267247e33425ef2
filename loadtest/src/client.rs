//! A client of the native protocol that sees every frame: requests with their replies, and events. For what isn't measured, and for the
//! scenarios that are about frames; users of the others are [peers](crate::peer), over the same socket.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use chinwag_schema::{
    ids::{ConversationId, Seq},
    limits::conversation::PAGE_MAX,
    model::Position,
    wire::native::{
        Command, Credentials, Hello, HistoryFrom, HistoryResult, Listening, LoggedEvent, Request, RoomRef, SUBPROTOCOL,
        SendResult, SendTo, ServerFrame, VERSION, Welcome,
    },
};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::peer::socket::{Socket, Upgrade};

/// A connected, welcomed client.
pub struct Client {
    socket: Socket,
    next_id: u64,
}

impl Client {
    /// Connects and says hello.
    pub async fn connect(address: &str, credentials: Credentials) -> anyhow::Result<Self> {
        Self::greet(Socket::connect(&upgrade(address)).await?, credentials).await
    }

    /// Says hello over a connected stream (with socket options of its own).
    pub async fn over(stream: TcpStream, address: &str, credentials: Credentials) -> anyhow::Result<Self> {
        Self::greet(Socket::over(&upgrade(address), stream).await?, credentials).await
    }

    async fn greet(socket: Socket, credentials: Credentials) -> anyhow::Result<Self> {
        let mut client = Self { socket, next_id: 0 };
        let _: Welcome = client.request(hello(credentials, BTreeMap::new())).await?;
        Ok(client)
    }

    /// Makes the frame of a command, and its id.
    fn frame(&mut self, command: Command) -> (String, Vec<u8>) {
        self.next_id += 1;
        let id = self.next_id.to_string();
        (id.clone(), Request { id, command }.encode())
    }

    /// Sends a request without waiting; returns its id.
    pub async fn begin(&mut self, command: Command) -> anyhow::Result<String> {
        let (id, frame) = self.frame(command);
        self.socket.send(&frame).await?;
        Ok(id)
    }

    /// Sends a request and waits for its result; events that come before are passed over.
    pub async fn request<T: DeserializeOwned>(&mut self, command: Command) -> anyhow::Result<T> {
        let name = command.name();
        let (id, frame) = self.frame(command);
        let answer = |frame: &[u8]| -> anyhow::Result<Option<T>> {
            match decode(frame)? {
                ServerFrame::Reply { id: Some(of), outcome } if of == id => {
                    let result = outcome.with_context(|| format!("{name} was refused"))?;
                    let result =
                        ServerFrame::result(&result).with_context(|| format!("{name}: strange result {result}"));
                    result.map(Some)
                }
                ServerFrame::Reply { .. } => bail!("{name}: a reply to another request came"),
                ServerFrame::Logged(_) | ServerFrame::Notice(_) => Ok(None),
            }
        };
        self.socket.ask(name, &frame, answer).await
    }

    /// Waits for the next frame.
    pub async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        decode(self.socket.next().await?)
    }

    /// Sends a message and waits until it is acknowledged.
    pub async fn send(&mut self, to: SendTo, content: &str) -> anyhow::Result<SendResult> {
        self.request(Command::Send { to, message_id: Uuid::now_v7(), content: content.to_owned() }).await
    }

    /// Listens in a room by name, which is made if need be; returns its id and head.
    pub async fn listen(&mut self, name: &str) -> anyhow::Result<(ConversationId, Seq)> {
        let command = Command::RoomListen { room: RoomRef::Name(name.to_owned()), position: None };
        let listening: Listening = self.request(command).await?;
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

fn upgrade(address: &str) -> Upgrade<'_> {
    Upgrade { address, path: "/ws", subprotocol: Some(SUBPROTOCOL), token: None, deflate: false, index: 0 }
}

fn decode(frame: &[u8]) -> anyhow::Result<ServerFrame> {
    Ok(ServerFrame::decode(std::str::from_utf8(frame)?)?)
}

/// Makes this program's hello; what came after the positions is replayed.
pub fn hello(credentials: Credentials, positions: BTreeMap<ConversationId, Position>) -> Command {
    let client = Some("chinwag-loadtest".into());
    Command::Hello(Hello { protocol: VERSION, credentials, client, features: Vec::new(), positions })
}

/// Makes credentials of a guest.
pub fn guest(name: impl Into<String>) -> Credentials {
    Credentials::Guest(name.into())
}
