//! What clients of the messenger dialect say on a chat socket.

use serde::Deserialize;

use super::{server::ServerFrame, texts};
use crate::{
    ids::{ConversationId, EventId},
    limits::conversation::PAGE_MAX,
    names,
    wire::json::{self, Loose, NotAFrame},
};

/// A frame of a client, checked as far as the frame alone allows. Names are as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    InitData,
    NewOneToOneChat { from: String, to: String },
    OneToOneChat { from: String, to: String, content: String, chat_id: String },
    GetOneToOneHistory { from: String, to: String, chat_id: String, page: Page },
    CreateGroupChat { name: String, by: String },
    JoinGroupChat { group: ConversationId, username: String },
    LeaveGroup { group: ConversationId, username: String },
    GroupChat { from: String, group: ConversationId, content: String },
    GetGroupChatHistory { group: ConversationId, page: Page },
    OfflineMessagesAck,
    FetchFriendsMeta,
    Disconnect,
}

/// Which rows of a history: the newest `limit` before the message `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// 1 to `limits::conversation::PAGE_MAX`.
    pub limit: Option<usize>,
    pub before: Option<EventId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Loose<'a>,
    #[serde(default, borrow)]
    from: Loose<'a>,
    #[serde(default, borrow)]
    to: Loose<'a>,
    #[serde(default, borrow)]
    content: Loose<'a>,
    #[serde(default, borrow)]
    chat_id: Loose<'a>,
    #[serde(default, borrow)]
    group_id: Loose<'a>,
    #[serde(default, borrow)]
    group_name: Loose<'a>,
    #[serde(default, borrow)]
    by: Loose<'a>,
    #[serde(default, borrow)]
    username: Loose<'a>,
    #[serde(default, borrow)]
    limit: Loose<'a>,
    #[serde(default, borrow)]
    before: Loose<'a>,
}

/// Reads a frame. A field that is empty or of the wrong type counts as missing.
///
/// # Errors
/// Returns the `ERROR` frame for the client.
pub fn decode(text: &str) -> Result<ClientFrame, ServerFrame> {
    let fields: Fields<'_> = json::read(text).map_err(|problem| match problem {
        NotAFrame::Syntax(what) => ServerFrame::error(format!("Invalid JSON: {what}.")),
        NotAFrame::NotAnObject => ServerFrame::error("Message must be a JSON object."),
    })?;
    let Some(kind) = fields.kind.clone().filled() else {
        return Err(ServerFrame::error("Message 'type' is required."));
    };
    match &*kind {
        "INIT_DATA" => Ok(ClientFrame::InitData),
        "NEW_ONE_TO_ONE_CHAT" => fields.new_chat(),
        "ONE_TO_ONE_CHAT" => fields.chat_message(),
        "GET_ONE_TO_ONE_HISTORY" => fields.chat_history(),
        "CREATE_GROUP_CHAT" => fields.create_group(),
        "JOIN_GROUP_CHAT" | "JOIN_GROUP" => {
            let (group, username) = fields.group_and_username()?;
            Ok(ClientFrame::JoinGroupChat { group, username })
        }
        "LEAVE_GROUP" => {
            let (group, username) = fields.group_and_username()?;
            Ok(ClientFrame::LeaveGroup { group, username })
        }
        "GROUP_CHAT" => fields.group_message(),
        "GET_GROUP_CHAT_HISTORY" => fields.group_history(),
        "OFFLINE_MESSAGES_ACK" => Ok(ClientFrame::OfflineMessagesAck),
        "FETCH_FRIENDS_META" => Ok(ClientFrame::FetchFriendsMeta),
        "DISCONNECT" => Ok(ClientFrame::Disconnect),
        other => Err(ServerFrame::error(format!("Unknown message type: {}.", json::shortened(other)))),
    }
}

impl Fields<'_> {
    fn new_chat(self) -> Result<ClientFrame, ServerFrame> {
        Ok(ClientFrame::NewOneToOneChat {
            from: required(self.from, texts::BOTH_USERNAMES)?,
            to: required(self.to, texts::BOTH_USERNAMES)?,
        })
    }

    fn chat_message(self) -> Result<ClientFrame, ServerFrame> {
        let missing = texts::CHAT_MESSAGE_FIELDS;
        let (from, to) = (required(self.from, missing)?, required(self.to, missing)?);
        let chat_id = required(self.chat_id, missing)?;
        Ok(ClientFrame::OneToOneChat { from, to, content: content(self.content, missing)?, chat_id })
    }

    fn chat_history(self) -> Result<ClientFrame, ServerFrame> {
        let missing = texts::CHAT_HISTORY_FIELDS;
        let (from, to) = (required(self.from, missing)?, required(self.to, missing)?);
        let chat_id = required(self.chat_id, missing)?;
        Ok(ClientFrame::GetOneToOneHistory { from, to, chat_id, page: page(self.limit, self.before)? })
    }

    fn create_group(self) -> Result<ClientFrame, ServerFrame> {
        let name = required(self.group_name, texts::GROUP_CREATE_FIELDS)?;
        let by = required(self.by, texts::GROUP_CREATE_FIELDS)?;
        match names::group_name(&name) {
            Ok(name) => Ok(ClientFrame::CreateGroupChat { name: name.to_owned(), by }),
            Err(_) if name.trim().is_empty() => Err(ServerFrame::error(texts::GROUP_CREATE_FIELDS)),
            Err(bad) => Err(ServerFrame::error(format!("{bad}."))),
        }
    }

    fn group_and_username(self) -> Result<(ConversationId, String), ServerFrame> {
        let username = required(self.username, texts::GROUP_MEMBER_FIELDS)?;
        Ok((group(self.group_id, texts::GROUP_MEMBER_FIELDS)?, username))
    }

    fn group_message(self) -> Result<ClientFrame, ServerFrame> {
        let missing = texts::GROUP_MESSAGE_FIELDS;
        let from = required(self.from, missing)?;
        let content = content(self.content, missing)?;
        let id = if self.to.is_nothing() { self.group_id } else { self.to };
        Ok(ClientFrame::GroupChat { from, group: group(id, missing)?, content })
    }

    fn group_history(self) -> Result<ClientFrame, ServerFrame> {
        let group = group(self.group_id, texts::GROUP_ID)?;
        Ok(ClientFrame::GetGroupChatHistory { group, page: page(self.limit, self.before)? })
    }
}

fn required(field: Loose<'_>, missing: &str) -> Result<String, ServerFrame> {
    field.filled().map(|text| text.into_owned()).ok_or_else(|| ServerFrame::error(missing))
}

fn content(field: Loose<'_>, missing: &str) -> Result<String, ServerFrame> {
    let content = required(field, missing)?;
    match names::content(&content) {
        Ok(_) => Ok(content),
        Err(names::BadText::ContentMissing) => Err(ServerFrame::error(missing)),
        Err(bad) => Err(ServerFrame::error(format!("{bad}."))),
    }
}

/// Reads a group's id, a string or a number; what can't be an id names no group.
fn group(field: Loose<'_>, missing: &str) -> Result<ConversationId, ServerFrame> {
    let id = field.filled_or_number().ok_or_else(|| ServerFrame::error(missing))?;
    id.parse().map_err(|_| ServerFrame::error(texts::group_unknown(&json::shortened(&id))))
}

fn page(limit: Loose<'_>, before: Loose<'_>) -> Result<Page, ServerFrame> {
    let limit = match limit {
        nothing if nothing.is_nothing() => None,
        given => match given.filled_or_number().and_then(|limit| limit.parse::<usize>().ok()) {
            Some(limit) if limit > 0 => Some(limit.min(PAGE_MAX)),
            _ => return Err(ServerFrame::error("Invalid 'limit'.")),
        },
    };
    let before = match before {
        nothing if nothing.is_nothing() => None,
        given => match given.filled_or_number().and_then(|id| id.parse().ok()) {
            Some(id) => Some(id),
            None => return Err(ServerFrame::error("Invalid 'before'.")),
        },
    };
    Ok(Page { limit, before })
}
