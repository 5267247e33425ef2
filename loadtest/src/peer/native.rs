//! A peer that speaks the native protocol.

use std::collections::{HashMap, HashSet, VecDeque};

use anyhow::Context as _;
use chinwag_schema::{
    error::ErrorCode,
    ids::ConversationId,
    wire::{
        json::Secret,
        native::{
            Command, ConversationInfo, Created, Credentials, Empty, HistoryResult, Joined, Left, Listening,
            LoggedEvent, LoggedKind, Notice, Outcome, Request, Resumed, RoomRef, SUBPROTOCOL, SendTo, ServerError,
            ServerFrame, Welcome,
        },
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Heard, Login, Place, To,
    positions::{self, Positions},
    socket::{Socket, Upgrade},
};
use crate::{client::hello, content::Mark};

/// Events of a page of history, as many as the server gives unasked.
const PAGE: usize = 50;
/// What every live message event begins with.
const MESSAGE: &[u8] = br#"{"event":"message","#;
/// What every reply begins with.
const REPLY: &[u8] = br#"{"id":"#;

const STRANGE: &str = "the server sent a frame that isn't of the native protocol";

/// A connected, welcomed user.
pub struct NativePeer {
    socket: Socket,
    state: State,
}

#[derive(Default)]
struct State {
    last_request: u64,
    /// Requests that sent messages, with no reply yet, oldest first.
    unanswered: VecDeque<(u64, Mark)>,
    /// What came while a reply was awaited.
    backlog: VecDeque<Heard>,
    /// Ids of one-to-one chats whose history was read.
    chats: HashMap<String, ConversationId>,
    /// Groups (not rooms) of which this peer became a member.
    groups: Vec<ConversationId>,
    /// Of a user who is to come back.
    positions: Option<Positions>,
    /// Conversations that were resumed with the hello.
    resumed: HashSet<ConversationId>,
}

/// A reply, not looked at yet.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ServerError>,
}

impl NativePeer {
    /// Connects and says hello; with positions (empty ones the first time) it keeps them, and has what came since replayed.
    pub async fn connect(
        address: &str,
        index: usize,
        login: &Login,
        deflate: bool,
        positions: Option<Positions>,
    ) -> anyhow::Result<Self> {
        let upgrade = Upgrade { address, path: "/ws", subprotocol: Some(SUBPROTOCOL), token: None, deflate, index };
        let named = positions.as_ref().map(Positions::named).unwrap_or_default();
        let state = State { positions, ..State::default() };
        let mut peer = Self { socket: Socket::connect(&upgrade).await?, state };
        let credentials = match &login.token {
            Some(token) => Credentials::Token(Secret(token.clone())),
            None => Credentials::Guest(login.name.clone()),
        };
        let welcome: Welcome = peer.request(hello(credentials, named)).await?;
        welcome.resumed.iter().for_each(|resumed| peer.state.resume(resumed));
        welcome.conversations.iter().for_each(|info| peer.state.begin(info));
        Ok(peer)
    }

    pub async fn make_place(&mut self, name: &str) -> anyhow::Result<Place> {
        let made: anyhow::Result<Created> = self.request(Command::RoomCreate { name: name.into() }).await;
        // The name is taken, or this is a guest, who may not make rooms: then there must be such a room.
        let (room, refused) = match made {
            Ok(Created { conversation, .. }) => (RoomRef::Conversation(conversation.id), None),
            Err(error) if code_of(&error).is_some() => (RoomRef::Name(name.into()), Some(error)),
            Err(error) => return Err(error),
        };
        let listening: Listening = match self.request(Command::RoomListen { room, position: None }).await {
            Err(error) if code_of(&error) == Some(ErrorCode::NotFound) => return Err(refused.unwrap_or(error)),
            listening => listening?,
        };
        self.state.begin(&listening.conversation);
        place(name, listening.conversation.id)
    }

    pub async fn make_group(&mut self, name: &str) -> anyhow::Result<Place> {
        let made: Created = self.request(Command::GroupCreate { name: name.into() }).await?;
        self.state.groups.push(made.conversation.id);
        self.state.begin(&made.conversation);
        place(name, made.conversation.id)
    }

    pub async fn join(&mut self, place: &Place) -> anyhow::Result<()> {
        let conversation = place.conversation()?;
        let room = RoomRef::Conversation(conversation);
        let position = self.state.positions.as_ref().and_then(|positions| positions.of(conversation));
        let position = position.filter(|_| !self.state.resumed.contains(&conversation));
        match self.request::<Listening>(Command::RoomListen { room, position }).await {
            // Not a public room.
            Err(error) if code_of(&error) == Some(ErrorCode::NotFound) => {
                let joined: Joined = self.request(Command::GroupJoin { conversation }).await?;
                self.state.groups.push(conversation);
                self.state.begin(&joined.conversation);
                Ok(())
            }
            Err(error) => Err(error),
            Ok(listening) => {
                listening.resumed.iter().for_each(|resumed| self.state.resume(resumed));
                if let Some(positions) = &mut self.state.positions
                    && listening.conversation.role.is_none()
                {
                    positions.listen(head(&listening.conversation));
                }
                Ok(())
            }
        }
    }

    pub async fn leave(&mut self, place: &Place) -> anyhow::Result<()> {
        let conversation = place.conversation()?;
        match self.state.groups.iter().position(|group| *group == conversation) {
            Some(at) => {
                let _: Left = self.request(Command::GroupLeave { conversation }).await?;
                self.state.groups.swap_remove(at);
            }
            None => {
                let _: Empty = self.request(Command::RoomUnlisten { conversation }).await?;
            }
        }
        Ok(())
    }

    pub async fn post(&mut self, to: &To, mark: &Mark, bytes: usize) -> anyhow::Result<()> {
        let to = match to {
            To::Place(place) => SendTo::Conversation(place.conversation()?),
            To::User(name) => SendTo::To(name.clone()),
        };
        // Before anything can be cancelled: from here on the message is on its way.
        let (id, frame) = self.state.frame(Command::Send { to, message_id: Uuid::now_v7(), content: mark.text(bytes) });
        self.state.unanswered.push_back((id, *mark));
        self.socket.send(&frame).await
    }

    pub async fn next(&mut self) -> anyhow::Result<Heard> {
        if let Some(heard) = self.state.backlog.pop_front() {
            return Ok(heard);
        }
        let frame = self.socket.next().await?;
        self.state.hear(frame)
    }

    pub async fn newest_page(&mut self, to: &To) -> anyhow::Result<usize> {
        let conversation = match to {
            To::Place(place) => place.conversation()?,
            To::User(name) => match self.state.chats.get(name) {
                Some(chat) => *chat,
                None => {
                    let chat: Created = self.request(Command::ChatOpen { with: name.clone() }).await?;
                    self.state.chats.insert(name.clone(), chat.conversation.id);
                    chat.conversation.id
                }
            },
        };
        let command = Command::History { conversation, from: None, limit: PAGE, epoch: None };
        let page: HistoryResult = self.request(command).await?;
        Ok(page.events.iter().filter(|event| event.event == LoggedKind::Message).count())
    }

    pub async fn close(self) {
        self.socket.close().await;
    }

    /// Ends without a word; returns what had come already, and up to where that is.
    pub fn lose(self) -> (Vec<Heard>, Positions) {
        (self.state.backlog.into(), self.state.positions.unwrap_or_default())
    }

    /// Says a command and waits for its result; what comes before it is heard later.
    async fn request<T: DeserializeOwned>(&mut self, command: Command) -> anyhow::Result<T> {
        let name = command.name();
        let Self { socket, state } = self;
        let (id, frame) = state.frame(command);
        let id = id.to_string();
        let answer = |frame: &[u8]| -> anyhow::Result<Option<T>> {
            if frame.starts_with(REPLY) {
                let reply = reply(frame)?;
                if reply.id.as_ref() == Some(&id) {
                    if let Some(error) = reply.error {
                        return Err(anyhow::Error::new(error).context(format!("{name} was refused")));
                    }
                    let result = reply.result.with_context(|| format!("{name} has an empty reply"))?;
                    let result = ServerFrame::result(result).with_context(|| format!("{name} has a strange result"));
                    return result.map(Some);
                }
            }
            let heard = state.hear(frame)?;
            state.backlog.push_back(heard);
            Ok(None)
        };
        socket.ask(name, &frame, answer).await
    }
}

impl State {
    /// Makes the frame of a command, and its id.
    fn frame(&mut self, command: Command) -> (u64, Vec<u8>) {
        self.last_request += 1;
        (self.last_request, Request { id: self.last_request.to_string(), command }.encode())
    }

    fn hear(&mut self, frame: &[u8]) -> anyhow::Result<Heard> {
        if frame.starts_with(MESSAGE) {
            if let Some(positions) = &mut self.positions {
                positions.heard(serde_json::from_slice(frame).context(STRANGE)?);
            }
            return Ok(Mark::find(frame).map_or(Heard::Other, Heard::Message));
        }
        if frame.starts_with(REPLY) {
            return self.answered(&reply(frame)?);
        }
        let text = std::str::from_utf8(frame).context(STRANGE)?;
        let decoded = ServerFrame::decode(text).context(STRANGE)?;
        self.note(&decoded);
        Ok(match decoded {
            ServerFrame::Logged(event) if event.event == LoggedKind::Message => {
                let content = event.content.unwrap_or_default();
                Mark::find(content.as_bytes()).map_or(Heard::Other, Heard::Message)
            }
            ServerFrame::Notice(Notice::Presence { user, online, .. }) => {
                Heard::Presence { name: user.name.to_string(), online }
            }
            ServerFrame::Notice(Notice::Gap { conversation, from, to, .. }) => {
                Heard::Gap { conversation, left_out: Some((from, to)) }
            }
            ServerFrame::Reply { .. } => self.answered(&reply(frame)?)?,
            ServerFrame::Logged(_) | ServerFrame::Notice(_) => Heard::Other,
        })
    }

    /// Begins the positions of a conversation at its head.
    fn begin(&mut self, info: &ConversationInfo) {
        if let Some(positions) = &mut self.positions {
            positions.begin(head(info));
        }
    }

    /// Takes what the server says of a position that was named.
    fn resume(&mut self, resumed: &Resumed) {
        match resumed.outcome {
            Outcome::Replayed => drop(self.resumed.insert(resumed.conversation)),
            // Not the user's any more.
            Outcome::Gone => {}
            Outcome::Gap | Outcome::Reset => {
                let left_out = resumed.from.zip(resumed.to);
                self.backlog.push_back(Heard::Gap { conversation: resumed.conversation, left_out });
                if let (Some(positions), Some(epoch), Some(seq)) = (&mut self.positions, resumed.epoch, resumed.head) {
                    positions.heard(positions::Place { conversation: resumed.conversation, epoch, seq });
                }
            }
        }
    }

    /// Notes where a user who is to come back has got to.
    fn note(&mut self, frame: &ServerFrame) {
        let Some(positions) = &mut self.positions else { return };
        match frame {
            ServerFrame::Logged(LoggedEvent { conversation, epoch, seq, .. }) => {
                positions.heard(positions::Place { conversation: *conversation, epoch: *epoch, seq: *seq });
            }
            ServerFrame::Notice(Notice::Gap { conversation, epoch, to, .. }) => {
                positions.heard(positions::Place { conversation: *conversation, epoch: *epoch, seq: *to });
            }
            ServerFrame::Notice(Notice::ConversationAdded { conversation }) => self.begin(conversation),
            ServerFrame::Notice(_) | ServerFrame::Reply { .. } => {}
        }
    }

    /// Finds out which message a reply is about.
    fn answered(&mut self, reply: &Reply<'_>) -> anyhow::Result<Heard> {
        let id = reply.id.as_deref().and_then(|id| id.parse::<u64>().ok());
        let at = self.unanswered.iter().position(|(of, _)| Some(*of) == id);
        let mark = at.and_then(|at| self.unanswered.remove(at)).map(|(_, mark)| mark);
        Ok(match (mark, reply.result, &reply.error) {
            (_, _, Some(error)) => {
                Heard::Refused { mark: mark.filter(|_| is_final(error.code)), reason: code_name(error.code) }
            }
            (Some(mark), Some(result), None) => {
                let place: positions::Place = ServerFrame::result(result).context(STRANGE)?;
                if let Some(positions) = &mut self.positions {
                    positions.answered(place);
                }
                Heard::Stored { mark, seq: Some(place.seq.0) }
            }
            // To a request that was given up.
            (_, _, None) => Heard::Other,
        })
    }
}

fn head(info: &ConversationInfo) -> positions::Place {
    positions::Place { conversation: info.id, epoch: info.epoch, seq: info.head }
}

fn reply(frame: &[u8]) -> anyhow::Result<Reply<'_>> {
    serde_json::from_slice(frame).context(STRANGE)
}

fn place(name: &str, id: ConversationId) -> anyhow::Result<Place> {
    Ok(Place { name: name.into(), id: u64::try_from(id.0).context("a negative id")? })
}

/// Returns the server's code if it refused.
fn code_of(error: &anyhow::Error) -> Option<ErrorCode> {
    error.downcast_ref::<ServerError>().map(|error| error.code)
}

/// Says whether a message that was answered so is surely not stored. After the other errors it may be: the outcome is unknown.
fn is_final(code: ErrorCode) -> bool {
    !code.retryable() || code == ErrorCode::RateLimited
}

fn code_name(code: ErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{code:?}"),
    }
}

#[cfg(test)]
mod tests;
