//! A peer that speaks the rooms protocol.

use std::collections::VecDeque;

use anyhow::{Context as _, anyhow, bail};
use chinwag_schema::wire::rooms::{ErrorCode, ErrorInfo, ServerFrame};
use serde_json::{Value, json};

use super::{
    Heard, Login, Place, To,
    socket::{Socket, Upgrade},
};
use crate::content::Mark;

/// What every live message begins with, and nothing else does.
const MESSAGE: &[u8] = br#"{"type":"message","#;
const STRANGE: &str = "the server sent a frame that isn't of the rooms protocol";

/// A connected, authenticated user, in one room at most.
pub struct RoomsPeer {
    socket: Socket,
    state: State,
}

#[derive(Default)]
struct State {
    /// The room's name, in which the peer is.
    room: Option<String>,
    /// Own messages that haven't come back yet, oldest first.
    unanswered: VecDeque<Mark>,
    /// What is to be heard next; one frame may say two things, and some come while an answer is awaited.
    backlog: VecDeque<Heard>,
}

impl RoomsPeer {
    pub async fn connect(address: &str, index: usize, login: &Login, deflate: bool) -> anyhow::Result<Self> {
        let upgrade = Upgrade { address, path: "/", subprotocol: None, token: None, deflate, index };
        let mut peer = Self { socket: Socket::connect(&upgrade).await?, state: State::default() };
        let mut auth = json!({"type": "auth", "username": login.name});
        if let Some(token) = &login.token {
            auth["token"] = Value::from(token.as_str());
        }
        peer.ask("auth", &auth, |frame| match frame {
            ServerFrame::AuthSuccess { .. } => Some(Ok(())),
            ServerFrame::AuthError { error } => Some(Err(refusal("auth", &error.message))),
            ServerFrame::Error { error } => Some(Err(refusal("auth", &error.message))),
            _ => None,
        })
        .await?;
        Ok(peer)
    }

    pub async fn make_place(&mut self, name: &str) -> anyhow::Result<Place> {
        let create = json!({"type": "create_room", "roomName": name});
        let made = self
            .ask("create_room", &create, |frame| match frame {
                ServerFrame::RoomCreated { room } => Some(Ok(Some(room.id))),
                ServerFrame::Error { error: ErrorInfo { code: ErrorCode::RoomExists, .. } } => Some(Ok(None)),
                ServerFrame::Error { error } => Some(Err(refusal("create_room", &error.message))),
                _ => None,
            })
            .await?;
        match made {
            Some(id) => {
                self.state.room = Some(name.into());
                Ok(Place { name: name.into(), id: u64::try_from(id.0).context("a negative id")? })
            }
            None => self.enter(name).await,
        }
    }

    pub async fn join(&mut self, place: &Place) -> anyhow::Result<()> {
        self.enter(&place.name).await.map(|_| ())
    }

    async fn enter(&mut self, name: &str) -> anyhow::Result<Place> {
        let join = json!({"type": "join_room", "roomName": name});
        let id = self
            .ask("join_room", &join, |frame| match frame {
                ServerFrame::RoomJoined { room, .. } => Some(Ok(room.id)),
                ServerFrame::Error { error } => Some(Err(refusal("join_room", &error.message))),
                _ => None,
            })
            .await?;
        self.state.room = Some(name.into());
        Ok(Place { name: name.into(), id: u64::try_from(id.0).context("a negative id")? })
    }

    pub async fn leave(&mut self) -> anyhow::Result<()> {
        self.ask("leave_room", &json!({"type": "leave_room"}), |frame| match frame {
            ServerFrame::RoomLeft { .. } => Some(Ok(())),
            ServerFrame::Error { error } => Some(Err(refusal("leave_room", &error.message))),
            _ => None,
        })
        .await?;
        self.state.room = None;
        Ok(())
    }

    pub async fn post(&mut self, to: &To, mark: &Mark, bytes: usize) -> anyhow::Result<()> {
        match to {
            To::Place(place) if self.state.room.as_ref() == Some(&place.name) => {}
            To::Place(place) => bail!("not in the room '{}'", place.name),
            To::User(_) => bail!("the rooms protocol has no one-to-one messages"),
        }
        let frame = json!({"type": "send_message", "content": mark.text(bytes)}).to_string();
        self.state.unanswered.push_back(*mark);
        self.socket.send(frame.as_bytes()).await
    }

    pub async fn next(&mut self) -> anyhow::Result<Heard> {
        loop {
            if let Some(heard) = self.state.backlog.pop_front() {
                return Ok(heard);
            }
            let frame = self.socket.next().await?;
            if frame.starts_with(MESSAGE) {
                self.state.message(frame);
            } else {
                self.state.hear(decode(frame)?);
            }
        }
    }

    pub async fn newest_page(&mut self, to: &To) -> anyhow::Result<usize> {
        let To::Place(place) = to else { bail!("the rooms protocol has no one-to-one chats") };
        self.enter(&place.name).await?;
        self.state.backlog.push_back(Heard::Gap { conversation: place.conversation()?, left_out: None });
        // The history comes right after the answer; it doesn't if there is none, but whatever is asked next is answered after it.
        let mut messages = 0;
        self.ask("command me", &json!({"type": "command", "command": "me"}), |frame| match frame {
            ServerFrame::MessageHistory { messages: page } => {
                messages = page.len();
                None
            }
            ServerFrame::System { .. } => Some(Ok(())),
            ServerFrame::Error { error } => Some(Err(refusal("command me", &error.message))),
            _ => None,
        })
        .await?;
        Ok(messages)
    }

    pub async fn close(self) {
        self.socket.close().await;
    }

    /// Says something and waits for the frame that `answer` takes for its answer; what comes before it is heard later.
    async fn ask<T>(
        &mut self,
        name: &str,
        frame: &Value,
        mut answer: impl FnMut(&ServerFrame) -> Option<anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let Self { socket, state } = self;
        let answer = |frame: &[u8]| -> anyhow::Result<Option<T>> {
            if frame.starts_with(MESSAGE) {
                state.message(frame);
                return Ok(None);
            }
            let frame = decode(frame)?;
            let answered = answer(&frame).transpose()?;
            if answered.is_none() {
                state.hear(frame);
            }
            Ok(answered)
        };
        socket.ask(name, frame.to_string().as_bytes(), answer).await
    }
}

impl State {
    /// Hears a live message.
    fn message(&mut self, text: &[u8]) {
        let Some(mark) = Mark::find(text) else { return self.backlog.push_back(Heard::Other) };
        self.backlog.push_back(Heard::Message(mark));
        // The server keeps the order: what was sent before this one and hasn't come back was refused.
        if let Some(at) = self.unanswered.iter().position(|own| *own == mark) {
            self.unanswered.drain(..=at);
            self.backlog.push_back(Heard::Stored { mark, seq: None });
        }
    }

    /// Hears anything else.
    fn hear(&mut self, frame: ServerFrame) {
        let heard = match frame {
            ServerFrame::Message { message } => return self.message(message.content.as_bytes()),
            ServerFrame::Error { error } => {
                // The error doesn't say what it is about. With one message under way it must be that one.
                let only = self.unanswered.len() == 1 && is_final(error.code);
                let mark = if only { self.unanswered.pop_front() } else { None };
                Heard::Refused { mark, reason: error.message }
            }
            _ => Heard::Other,
        };
        self.backlog.push_back(heard);
    }
}

/// Says whether a message that was answered so is surely not stored.
fn is_final(code: ErrorCode) -> bool {
    !matches!(code, ErrorCode::DatabaseError | ErrorCode::InternalError)
}

fn decode(frame: &[u8]) -> anyhow::Result<ServerFrame> {
    serde_json::from_slice(frame).context(STRANGE)
}

fn refusal(what: &str, why: &str) -> anyhow::Error {
    anyhow!("{what} was refused: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: u32) -> Mark {
        Mark { run: 1, sender: 2, n, due_us: 4 }
    }

    /// Returns all that frames say.
    fn heard(state: &mut State, frames: &[Value]) -> Vec<Heard> {
        for frame in frames {
            state.hear(serde_json::from_value(frame.clone()).unwrap());
        }
        state.backlog.drain(..).collect()
    }

    fn message(kind: &str, n: u32) -> Value {
        let message = json!({"id": "9", "roomId": "4", "userId": "2", "username": "ann", "content": mark(n).text(0),
            "timestamp": "2026-01-01T00:00:00.000Z", "type": "message", "edited": false});
        json!({"type": kind, "message": message, "timestamp": "2026-01-01T00:00:00.000Z"})
    }

    fn error(code: &str) -> Value {
        json!({"type": "error", "error": {"code": code, "message": "why"}})
    }

    fn refused(mark: Option<Mark>) -> Heard {
        Heard::Refused { mark, reason: "why".into() }
    }

    #[test]
    fn an_own_message_that_comes_back_is_stored() {
        let mut state = State { unanswered: (1..=3).map(mark).collect(), ..State::default() };
        assert_eq!(heard(&mut state, &[message("message", 9)]), [Heard::Message(mark(9))]);
        let own = [Heard::Message(mark(2)), Heard::Stored { mark: mark(2), seq: None }];
        assert_eq!(heard(&mut state, &[message("message", 2)]), own);
        assert_eq!(state.unanswered, [mark(3)], "the first can't come any more");
    }

    #[test]
    fn edits_and_pages_are_no_messages() {
        let mut state = State::default();
        let page = json!({"type": "message_history", "messages": [message("message", 1)["message"]]});
        assert_eq!(heard(&mut state, &[message("message_edited", 1), page]), [Heard::Other, Heard::Other]);
    }

    #[test]
    fn an_error_is_about_the_only_message_under_way() {
        let mut state = State { unanswered: (1..=2).map(mark).collect(), ..State::default() };
        assert_eq!(heard(&mut state, &[error("RATE_LIMIT")]), [refused(None)], "which of the two?");
        state.unanswered.pop_front();
        assert_eq!(heard(&mut state, &[error("DATABASE_ERROR")]), [refused(None)], "it may be stored");
        assert_eq!(heard(&mut state, &[error("RATE_LIMIT")]), [refused(Some(mark(2)))]);
        assert_eq!(heard(&mut state, &[error("RATE_LIMIT")]), [refused(None)]);
    }
}
