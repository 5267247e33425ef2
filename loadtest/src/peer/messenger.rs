//! A peer that speaks the messenger protocol, on a chat socket or a presence socket.

use std::collections::VecDeque;

use anyhow::{Context as _, anyhow};
use chinwag_schema::{
    names::chat_id,
    wire::messenger::{ServerFrame, Status, texts},
};
use serde_json::{Value, json};

use super::{
    Heard, Login, Place, To,
    socket::{Socket, Upgrade},
};
use crate::content::Mark;

/// What live messages begin with, and nothing else does.
const MESSAGES: [&[u8]; 2] = [br#"{"type":"MESSAGE","#, br#"{"type":"GROUP_CHAT","#];
const STRANGE: &str = "the server sent a frame that isn't of the messenger protocol";

/// A connected user.
pub struct MessengerPeer {
    socket: Socket,
    name: String,
    /// What came while an answer was awaited.
    backlog: VecDeque<Heard>,
}

impl MessengerPeer {
    /// Connects a chat socket and waits for its initial data.
    pub async fn connect(address: &str, index: usize, login: &Login, deflate: bool) -> anyhow::Result<Self> {
        let mut peer = Self::watch(address, index, login, deflate).await?;
        peer.ask("INIT_DATA", &json!({"type": "INIT_DATA"}), |frame| match frame {
            ServerFrame::InitData { .. } => Some(Ok(())),
            _ => None,
        })
        .await?;
        Ok(peer)
    }

    /// Connects a socket and asks nothing, as presence sockets do.
    pub async fn watch(address: &str, index: usize, login: &Login, deflate: bool) -> anyhow::Result<Self> {
        let token = login.token.as_deref();
        let token = Some(token.with_context(|| format!("{} is a guest: the messenger protocol has none", login.name))?);
        let upgrade = Upgrade { address, path: "/", subprotocol: None, token, deflate, index };
        Ok(Self { socket: Socket::connect(&upgrade).await?, name: login.name.clone(), backlog: VecDeque::new() })
    }

    pub async fn make_group(&mut self, name: &str) -> anyhow::Result<Place> {
        let create = json!({"type": "CREATE_GROUP_CHAT", "groupName": name, "by": self.name});
        let id = self
            .ask("CREATE_GROUP_CHAT", &create, |frame| match frame {
                ServerFrame::GroupChatCreated { group_id } => Some(Ok(group_id.0)),
                ServerFrame::Error { msg } => Some(Err(refusal("CREATE_GROUP_CHAT", msg))),
                _ => None,
            })
            .await?;
        let place = Place { name: name.into(), id: u64::try_from(id).context("a negative id")? };
        self.join(&place).await?;
        Ok(place)
    }

    pub async fn join(&mut self, place: &Place) -> anyhow::Result<()> {
        let member = texts::already_member(&self.name);
        self.ask("JOIN_GROUP", &self.about("JOIN_GROUP", place), |frame| match frame {
            ServerFrame::Success { .. } => Some(Ok(())),
            ServerFrame::Error { msg } if *msg == member => Some(Ok(())),
            ServerFrame::Error { msg } => Some(Err(refusal("JOIN_GROUP", msg))),
            _ => None,
        })
        .await
    }

    pub async fn leave(&mut self, place: &Place) -> anyhow::Result<()> {
        self.ask("LEAVE_GROUP", &self.about("LEAVE_GROUP", place), |frame| match frame {
            ServerFrame::Success { .. } => Some(Ok(())),
            ServerFrame::Error { msg } => Some(Err(refusal("LEAVE_GROUP", msg))),
            _ => None,
        })
        .await
    }

    pub async fn post(&mut self, to: &To, mark: &Mark, bytes: usize) -> anyhow::Result<()> {
        let (from, content) = (&self.name, mark.text(bytes));
        let frame = match to {
            To::Place(Place { id, .. }) => {
                json!({"type": "GROUP_CHAT", "from": from, "to": id.to_string(), "content": content})
            }
            To::User(to) => {
                let chat = chat_id(from, to);
                json!({"type": "ONE_TO_ONE_CHAT", "from": from, "to": to, "content": content, "chatId": chat})
            }
        };
        self.socket.send(frame.to_string().as_bytes()).await
    }

    pub async fn next(&mut self) -> anyhow::Result<Heard> {
        if let Some(heard) = self.backlog.pop_front() {
            return Ok(heard);
        }
        let frame = self.socket.next().await?;
        Ok(match live(frame) {
            Some(heard) => heard,
            None => heard(decode(frame)?),
        })
    }

    pub async fn newest_page(&mut self, to: &To) -> anyhow::Result<usize> {
        let (name, frame) = match to {
            To::Place(Place { id, .. }) => {
                let name = "GET_GROUP_CHAT_HISTORY";
                (name, json!({"type": name, "groupId": id.to_string()}))
            }
            To::User(other) => {
                let (name, chat) = ("GET_ONE_TO_ONE_HISTORY", chat_id(&self.name, other));
                (name, json!({"type": name, "from": self.name, "to": other, "chatId": chat}))
            }
        };
        self.ask(name, &frame, |frame| match frame {
            ServerFrame::OneToOneChatHistory { messages, .. } => Some(Ok(messages.len())),
            ServerFrame::GroupChatHistory { messages } => Some(Ok(messages.len())),
            ServerFrame::Error { msg } => Some(Err(refusal(name, msg))),
            _ => None,
        })
        .await
    }

    pub async fn close(self) {
        self.socket.close().await;
    }

    fn about(&self, kind: &str, place: &Place) -> Value {
        json!({"type": kind, "groupId": place.id.to_string(), "username": self.name})
    }

    /// Says something and waits for the frame that `answer` takes for its answer; what comes before it is heard later.
    async fn ask<T>(
        &mut self,
        name: &str,
        frame: &Value,
        mut answer: impl FnMut(&ServerFrame) -> Option<anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let Self { socket, backlog, .. } = self;
        let answer = |frame: &[u8]| -> anyhow::Result<Option<T>> {
            let heard = match live(frame) {
                Some(heard) => heard,
                None => {
                    let frame = decode(frame)?;
                    if let Some(answered) = answer(&frame) {
                        return answered.map(Some);
                    }
                    heard(frame)
                }
            };
            backlog.push_back(heard);
            Ok(None)
        };
        socket.ask(name, frame.to_string().as_bytes(), answer).await
    }
}

/// Hears a live message without reading all of it.
fn live(frame: &[u8]) -> Option<Heard> {
    let live = MESSAGES.iter().any(|start| frame.starts_with(start));
    live.then(|| Mark::find(frame).map_or(Heard::Other, Heard::Message))
}

fn heard(frame: ServerFrame) -> Heard {
    match frame {
        ServerFrame::Message { content, .. } | ServerFrame::GroupChat { content, .. } => {
            Mark::find(content.as_bytes()).map_or(Heard::Other, Heard::Message)
        }
        ServerFrame::StatusChange { username, status } => {
            Heard::Presence { name: username.to_string(), online: status == Status::Online }
        }
        // Which message it was, the dialect doesn't say.
        ServerFrame::Error { msg } => Heard::Refused { mark: None, reason: msg },
        _ => Heard::Other,
    }
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

    const MARK: Mark = Mark { run: 1, sender: 2, n: 3, due_us: 4 };

    #[test]
    fn live_messages_are_heard_and_pages_are_not() {
        let text = MARK.text(0);
        let chat =
            format!(r#"{{"type":"MESSAGE","from":"ann","content":"{text}","chatId":"ann-bob","messageId":"9"}}"#);
        let group = format!(r#"{{"type":"GROUP_CHAT","from":"ann","groupId":"4","content":"{text}","messageId":"9"}}"#);
        for frame in [chat, group] {
            assert_eq!(live(frame.as_bytes()), Some(Heard::Message(MARK)));
            // Spelt otherwise it takes the longer way.
            let spaced = frame.replacen(':', ": ", 1);
            assert_eq!(live(spaced.as_bytes()), None);
            assert_eq!(heard(decode(spaced.as_bytes()).unwrap()), Heard::Message(MARK));
        }
        let row = json!({"messageId": "9", "from": "ann", "text": text, "timestamp": "2026-01-01T00:00:00.000Z"});
        let page = json!({"type": "GROUP_CHAT_HISTORY", "messages": [row]}).to_string();
        assert_eq!(live(page.as_bytes()), None);
        assert_eq!(heard(decode(page.as_bytes()).unwrap()), Heard::Other);
    }

    #[test]
    fn an_error_does_not_say_what_it_is_about() {
        let error = decode(br#"{"type":"ERROR","msg":"why"}"#).unwrap();
        assert_eq!(heard(error), Heard::Refused { mark: None, reason: "why".into() });
        let status = decode(br#"{"type":"STATUS_CHANGE","username":"bob","status":"OFFLINE"}"#).unwrap();
        assert_eq!(heard(status), Heard::Presence { name: "bob".into(), online: false });
    }
}
