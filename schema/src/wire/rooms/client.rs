//! What clients of the rooms dialect say.

use std::borrow::Cow;

use serde::Deserialize;

use super::error::{ErrorInfo, Rejected};
use crate::{
    ids::EventId,
    limits::native,
    names,
    wire::json::{self, Loose, NotAFrame, Secret},
};

/// A frame of a client, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    Auth(Login),
    /// The name is trimmed.
    CreateRoom {
        name: String,
    },
    /// The name is trimmed.
    JoinRoom {
        name: String,
    },
    LeaveRoom,
    /// The text is as typed.
    SendMessage {
        content: String,
    },
    TypingStart,
    TypingStop,
    Command(RoomsCommand),
    EditMessage {
        message: EventId,
        content: String,
    },
    DeleteMessage {
        message: EventId,
    },
}

/// Who wants to come in: a guest, or with a token or password the owner of a registered name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub token: Option<Secret>,
    pub password: Option<Secret>,
}

/// What `command` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomsCommand {
    /// 1 to `limits::native::ROOMS_MAX`.
    Rooms {
        limit: usize,
    },
    Users,
    Help,
    Stats,
    Me,
    Clear,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Loose<'a>,
    #[serde(default, borrow)]
    username: Loose<'a>,
    #[serde(default, borrow)]
    token: Loose<'a>,
    #[serde(default, borrow)]
    password: Loose<'a>,
    #[serde(default, borrow)]
    room_name: Loose<'a>,
    #[serde(default, borrow)]
    content: Loose<'a>,
    #[serde(default, borrow)]
    command: Loose<'a>,
    #[serde(default, borrow)]
    args: Loose<'a>,
    #[serde(default, borrow)]
    message_id: Loose<'a>,
}

/// Reads a frame. A field of the wrong type counts as missing.
///
/// # Errors
/// [`Rejected`] holds the error for the client: `INVALID_MESSAGE`, or `INVALID_COMMAND` for an unknown command.
pub fn decode(text: &str) -> Result<ClientFrame, Rejected> {
    let fields: Fields<'_> = json::read(text).map_err(|problem| match problem {
        NotAFrame::Syntax(what) => Rejected::unknown(ErrorInfo::invalid(format!("Invalid JSON: {what}"))),
        NotAFrame::NotAnObject => Rejected::unknown(ErrorInfo::invalid("Message must be a JSON object")),
    })?;
    let Some(kind) = fields.kind.clone().filled() else {
        return Err(Rejected::unknown(ErrorInfo::invalid("Message type is required").field("type")));
    };
    let checked = match &*kind {
        "auth" => return login(fields).map(ClientFrame::Auth).map_err(Rejected::login),
        "create_room" => room_name(fields.room_name).map(|name| ClientFrame::CreateRoom { name }),
        "join_room" => room_name(fields.room_name).map(|name| ClientFrame::JoinRoom { name }),
        "leave_room" => Ok(ClientFrame::LeaveRoom),
        "send_message" => content(fields.content).map(|content| ClientFrame::SendMessage { content }),
        "typing_start" => Ok(ClientFrame::TypingStart),
        "typing_stop" => Ok(ClientFrame::TypingStop),
        "command" => command(fields.command, fields.args).map(ClientFrame::Command),
        "edit_message" => edit(fields.message_id, fields.content),
        "delete_message" => message_id(fields.message_id).map(|message| ClientFrame::DeleteMessage { message }),
        other => {
            let text = format!("Unknown message type: {}", json::shortened(other));
            return Err(Rejected::unknown(ErrorInfo::invalid(text).field("type")));
        }
    };
    checked.map_err(Rejected::known)
}

fn login(fields: Fields<'_>) -> Result<Login, ErrorInfo> {
    let username = fields.username.filled().unwrap_or_default();
    let username =
        names::rooms_username(&username).map_err(|bad| ErrorInfo::invalid(bad.to_string()).field("username"))?;
    let secret = |field: Loose<'_>| field.filled().map(|text| Secret(text.into_owned()));
    Ok(Login { username: username.to_owned(), token: secret(fields.token), password: secret(fields.password) })
}

fn room_name(field: Loose<'_>) -> Result<String, ErrorInfo> {
    let name = field.filled().unwrap_or_default();
    match names::room_name(&name) {
        Ok(name) => Ok(name.to_owned()),
        Err(bad) => Err(ErrorInfo::invalid(bad.to_string()).field("roomName")),
    }
}

fn content(field: Loose<'_>) -> Result<String, ErrorInfo> {
    let content = field.filled().unwrap_or_default();
    match names::content(&content) {
        Ok(_) => Ok(content.into_owned()),
        Err(bad) => Err(ErrorInfo::invalid(bad.to_string()).field("content")),
    }
}

fn edit(id: Loose<'_>, text: Loose<'_>) -> Result<ClientFrame, ErrorInfo> {
    Ok(ClientFrame::EditMessage { message: message_id(id)?, content: content(text)? })
}

fn message_id(field: Loose<'_>) -> Result<EventId, ErrorInfo> {
    let Some(id) = field.filled_or_number() else {
        return Err(ErrorInfo::invalid("Message ID is required").field("messageId"));
    };
    // What can't be an id names no message.
    id.parse().map_err(|_| ErrorInfo::message_not_found())
}

/// Reads a command. Clients send `{"command":"rooms","args":["5"]}`, `"/rooms"` with arguments, or all as one string `"/rooms 5"`.
fn command(command: Loose<'_>, args: Loose<'_>) -> Result<RoomsCommand, ErrorInfo> {
    let line = command.filled().unwrap_or_default();
    let line = line.trim();
    let mut words = line.strip_prefix('/').unwrap_or(line).split_whitespace();
    let Some(name) = words.next() else {
        return Err(ErrorInfo::invalid("Command is required").field("command"));
    };
    match name.to_ascii_lowercase().as_str() {
        "rooms" => Ok(RoomsCommand::Rooms { limit: limit(words.next().map(Cow::Borrowed).or_else(|| first(args))) }),
        "users" => Ok(RoomsCommand::Users),
        "help" => Ok(RoomsCommand::Help),
        "stats" => Ok(RoomsCommand::Stats),
        "me" => Ok(RoomsCommand::Me),
        "clear" => Ok(RoomsCommand::Clear),
        _ => Err(ErrorInfo::unknown_command(&json::shortened(name))),
    }
}

fn first(args: Loose<'_>) -> Option<Cow<'_, str>> {
    match args {
        Loose::List(args) => args.into_iter().next()?.filled_or_number(),
        _ => None,
    }
}

/// Reads how many rooms to list: the default for what isn't a positive number, the largest for more.
fn limit(word: Option<Cow<'_, str>>) -> usize {
    match word.and_then(|word| word.trim().parse::<usize>().ok()) {
        None | Some(0) => native::ROOMS_DEFAULT,
        Some(limit) => limit.min(native::ROOMS_MAX),
    }
}
