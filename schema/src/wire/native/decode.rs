//! From the text of a frame to a checked request.

use serde::Deserialize;

use super::{
    VERSION,
    command::{Command, Credentials, Hello, HistoryFrom, Request, RoomRef, SendTo, UsersBy},
    fields::{
        self, bad, boolean, bounded_text, content, epoch, limit, list, message_id, optional, parsed, positions, seq,
        text, too_large,
    },
};
use crate::{
    error::{ClientError, ErrorCode},
    limits::{
        conversation::{PAGE_DEFAULT, PAGE_MAX},
        native,
        text::REQUEST_ID_MAX_BYTES,
    },
    wire::json::{self, Loose, Secret},
};

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(default, borrow)]
    id: Loose<'a>,
    #[serde(default, borrow, rename = "type")]
    kind: Loose<'a>,
    #[serde(default, borrow)]
    protocol: Loose<'a>,
    #[serde(default, borrow)]
    token: Loose<'a>,
    #[serde(default, borrow)]
    ticket: Loose<'a>,
    #[serde(default, borrow)]
    guest: Loose<'a>,
    #[serde(default, borrow)]
    client: Loose<'a>,
    #[serde(default, borrow)]
    features: Loose<'a>,
    #[serde(default, borrow)]
    positions: Loose<'a>,
    #[serde(default, borrow)]
    position: Loose<'a>,
    #[serde(default, borrow)]
    conversation: Loose<'a>,
    #[serde(default, borrow)]
    to: Loose<'a>,
    #[serde(default, borrow)]
    with: Loose<'a>,
    #[serde(default, borrow)]
    message_id: Loose<'a>,
    #[serde(default, borrow)]
    message: Loose<'a>,
    #[serde(default, borrow)]
    content: Loose<'a>,
    #[serde(default, borrow)]
    before: Loose<'a>,
    #[serde(default, borrow)]
    after: Loose<'a>,
    #[serde(default, borrow)]
    limit: Loose<'a>,
    #[serde(default, borrow)]
    epoch: Loose<'a>,
    #[serde(default, borrow)]
    seq: Loose<'a>,
    #[serde(default, borrow)]
    active: Loose<'a>,
    #[serde(default, borrow)]
    name: Loose<'a>,
    #[serde(default, borrow)]
    ids: Loose<'a>,
    #[serde(default, borrow)]
    names: Loose<'a>,
    #[serde(default, borrow)]
    users: Loose<'a>,
    #[serde(default, borrow)]
    display_name: Loose<'a>,
}

/// Reads a request.
///
/// # Errors
/// The error for the client, with the request's id unless the frame is too broken to have one. Codes: `bad_request` and
/// `too_large` with `field` (and `limit`), `unsupported_version`, `unknown_cursor`.
pub fn decode(text: &str) -> Result<Request, (Option<String>, ClientError)> {
    let mut fields: Fields<'_> =
        json::read(text).map_err(|problem| (None, ClientError::new(ErrorCode::BadRequest, problem.to_string())))?;
    let id = std::mem::take(&mut fields.id);
    let id = bounded_text("id", id, REQUEST_ID_MAX_BYTES).map_err(|error| (None, error))?.into_owned();
    match fields.command() {
        Ok(command) => Ok(Request { id, command }),
        Err(error) => Err((Some(id), error)),
    }
}

impl Fields<'_> {
    fn command(mut self) -> Result<Command, ClientError> {
        let kind = std::mem::take(&mut self.kind);
        let kind = text("type", kind)?;
        match &*kind {
            "hello" => self.hello().map(Command::Hello),
            "ping" => Ok(Command::Ping),
            "bye" => Ok(Command::Bye),
            "conversations" => Ok(Command::Conversations {
                after: optional("after", self.after, parsed)?,
                limit: limit(self.limit, PAGE_DEFAULT, PAGE_MAX)?,
            }),
            "resume" => Ok(Command::Resume { positions: positions("positions", self.positions)? }),
            "send" => self.send(),
            "edit" => Ok(Command::Edit {
                conversation: parsed("conversation", self.conversation)?,
                message: parsed("message", self.message)?,
                content: content(self.content)?,
            }),
            "delete" => Ok(Command::Delete {
                conversation: parsed("conversation", self.conversation)?,
                message: parsed("message", self.message)?,
            }),
            "history" => self.history(),
            "delivered" => Ok(Command::Delivered {
                conversation: parsed("conversation", self.conversation)?,
                seq: seq("seq", self.seq)?,
            }),
            "read" => Ok(Command::Read {
                conversation: parsed("conversation", self.conversation)?,
                seq: seq("seq", self.seq)?,
            }),
            "typing" => Ok(Command::Typing {
                conversation: parsed("conversation", self.conversation)?,
                active: boolean("active", self.active)?,
            }),
            "chat.open" => Ok(Command::ChatOpen { with: fields::username("with", self.with)? }),
            "group.create" => Ok(Command::GroupCreate { name: fields::group_name("name", self.name)? }),
            "group.join" => Ok(Command::GroupJoin { conversation: parsed("conversation", self.conversation)? }),
            "group.leave" => Ok(Command::GroupLeave { conversation: parsed("conversation", self.conversation)? }),
            "room.create" => Ok(Command::RoomCreate { name: fields::room_name("name", self.name)? }),
            "room.join" => Ok(Command::RoomJoin { room: room(self.conversation, self.name)? }),
            "room.leave" => Ok(Command::RoomLeave { conversation: parsed("conversation", self.conversation)? }),
            "room.listen" => Ok(Command::RoomListen {
                room: room(self.conversation, self.name)?,
                position: optional("position", self.position, fields::position)?,
            }),
            "room.unlisten" => Ok(Command::RoomUnlisten { conversation: parsed("conversation", self.conversation)? }),
            "rooms" => Ok(Command::Rooms { limit: limit(self.limit, native::ROOMS_DEFAULT, native::ROOMS_MAX)? }),
            "members" => Ok(Command::Members {
                conversation: parsed("conversation", self.conversation)?,
                after: optional("after", self.after, parsed)?,
                limit: limit(self.limit, PAGE_DEFAULT, PAGE_MAX)?,
            }),
            "conversation" => Ok(Command::Conversation { which: room(self.conversation, self.name)? }),
            "users" => self.users_by(),
            "presence.watch" => {
                Ok(Command::PresenceWatch { users: list("users", self.users, native::USERS_MAX, parsed)? })
            }
            "presence.unwatch" => {
                Ok(Command::PresenceUnwatch { users: list("users", self.users, native::USERS_MAX, parsed)? })
            }
            "profile.get" => Ok(Command::ProfileGet),
            "profile.set" => self.profile_set(),
            "stats" => Ok(Command::Stats),
            other => Err(bad("type", format!("unknown type `{}`", json::shortened(other)))),
        }
    }

    fn hello(self) -> Result<Hello, ClientError> {
        let protocol = fields::integer("protocol", self.protocol)?;
        if protocol != u64::from(VERSION) {
            let text = format!("protocol {protocol} is not spoken here, only {VERSION}");
            let error = ClientError::new(ErrorCode::UnsupportedVersion, text);
            return Err(error.field("protocol").limit(VERSION.into()));
        }
        let secret =
            |field, value| bounded_text(field, value, native::TOKEN_MAX_BYTES).map(|text| Secret(text.into_owned()));
        let credentials = match (self.token.is_nothing(), self.ticket.is_nothing(), self.guest.is_nothing()) {
            (false, true, true) => Credentials::Token(secret("token", self.token)?),
            (true, false, true) => Credentials::Ticket(secret("ticket", self.ticket)?),
            (true, true, false) => Credentials::Guest(fields::guest_name("guest", self.guest)?),
            _ => return Err(bad("token", "give exactly one of `token`, `ticket` and `guest`")),
        };
        let client = optional("client", self.client, text)?;
        if client.as_ref().is_some_and(|client| client.chars().count() > native::CLIENT_MAX_CHARS) {
            let max = native::CLIENT_MAX_CHARS;
            return Err(too_large("client", format!("`client` has more than {max} characters"), max));
        }
        let feature = |field: &str, value| {
            bounded_text(field, value, native::FEATURE_MAX_BYTES).map(|feature| feature.into_owned())
        };
        let features = match self.features {
            Loose::List(none) if none.is_empty() => Vec::new(),
            other => optional("features", other, |field, value| list(field, value, native::FEATURES_MAX, feature))?
                .unwrap_or_default(),
        };
        let positions = optional("positions", self.positions, positions)?.unwrap_or_default();
        Ok(Hello {
            protocol: VERSION,
            credentials,
            client: client.map(|client| client.into_owned()),
            features,
            positions,
        })
    }

    fn send(self) -> Result<Command, ClientError> {
        let to = match (self.conversation.is_nothing(), self.to.is_nothing()) {
            (false, true) => SendTo::Conversation(parsed("conversation", self.conversation)?),
            (true, false) => SendTo::To(fields::username("to", self.to)?),
            _ => return Err(bad("conversation", "give exactly one of `conversation` and `to`")),
        };
        Ok(Command::Send { to, message_id: message_id(self.message_id)?, content: content(self.content)? })
    }

    fn history(self) -> Result<Command, ClientError> {
        let conversation = parsed("conversation", self.conversation)?;
        let from = match (self.before.is_nothing(), self.after.is_nothing()) {
            (true, true) => None,
            (false, true) => Some(HistoryFrom::Before(seq("before", self.before)?)),
            (true, false) => Some(HistoryFrom::After(seq("after", self.after)?)),
            (false, false) => return Err(bad("before", "give at most one of `before` and `after`")),
        };
        if let Some(HistoryFrom::Before(crate::ids::Seq::ZERO)) = from {
            let error = ClientError::new(ErrorCode::UnknownCursor, "nothing lies before 0: the first seq is 1");
            return Err(error.field("before"));
        }
        let epoch = optional("epoch", self.epoch, epoch)?;
        Ok(Command::History { conversation, from, limit: limit(self.limit, PAGE_DEFAULT, PAGE_MAX)?, epoch })
    }

    fn users_by(self) -> Result<Command, ClientError> {
        let by = match (self.ids.is_nothing(), self.names.is_nothing()) {
            (false, true) => UsersBy::Ids(list("ids", self.ids, native::USERS_MAX, parsed)?),
            (true, false) => UsersBy::Names(list("names", self.names, native::USERS_MAX, fields::username)?),
            _ => return Err(bad("ids", "give exactly one of `ids` and `names`")),
        };
        Ok(Command::Users { by })
    }

    fn profile_set(self) -> Result<Command, ClientError> {
        // Here `null` says something: only a missing field is an error.
        if self.display_name == Loose::Null {
            return Ok(Command::ProfileSet { display_name: None });
        }
        Ok(Command::ProfileSet { display_name: Some(fields::display_name("display_name", self.display_name)?) })
    }
}

fn room(conversation: Loose<'_>, name: Loose<'_>) -> Result<RoomRef, ClientError> {
    match (conversation.is_nothing(), name.is_nothing()) {
        (false, true) => Ok(RoomRef::Conversation(parsed("conversation", conversation)?)),
        (true, false) => Ok(RoomRef::Name(fields::room_name("name", name)?)),
        _ => Err(bad("conversation", "give exactly one of `conversation` and `name`")),
    }
}
