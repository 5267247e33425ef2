//! Reading single fields of a request, each wrong one with an error that names it and its limit.

use std::{borrow::Cow, collections::BTreeMap, fmt::Display, str::FromStr};

use uuid::Uuid;

use crate::{
    error::{ClientError, ErrorCode},
    ids::{ConversationId, Epoch, Seq},
    limits::{native, text},
    model::Position,
    names::{self, BadText},
    wire::json::Loose,
};

type Read<T> = Result<T, ClientError>;

/// Largest integer that JavaScript holds exactly.
const INTEGER_MAX: u64 = (1 << 53) - 1;

pub(super) fn bad(field: &str, message: impl Into<String>) -> ClientError {
    ClientError::new(ErrorCode::BadRequest, message).field(field)
}

pub(super) fn too_large(field: &str, message: impl Into<String>, limit: usize) -> ClientError {
    ClientError::new(ErrorCode::TooLarge, message).field(field).limit(limit as u64)
}

/// A required string.
pub(super) fn text<'a>(field: &str, value: Loose<'a>) -> Read<Cow<'a, str>> {
    match value {
        Loose::Text(text) => Ok(text),
        Loose::Absent => Err(bad(field, format!("`{field}` is missing"))),
        _ => Err(bad(field, format!("`{field}` must be a string"))),
    }
}

/// A required string of 1 to `max` bytes.
pub(super) fn bounded_text<'a>(field: &str, value: Loose<'a>, max: usize) -> Read<Cow<'a, str>> {
    let text = text(field, value)?;
    if text.is_empty() {
        Err(bad(field, format!("`{field}` must not be empty")))
    } else if text.len() > max {
        Err(too_large(field, format!("`{field}` has more than {max} bytes"), max))
    } else {
        Ok(text)
    }
}

/// An optional field: absent and `null` are nothing.
pub(super) fn optional<'a, T>(
    field: &str,
    value: Loose<'a>,
    read: impl FnOnce(&str, Loose<'a>) -> Read<T>,
) -> Read<Option<T>> {
    if value.is_nothing() { Ok(None) } else { read(field, value).map(Some) }
}

/// An id or epoch.
pub(super) fn parsed<T: FromStr<Err: Display>>(field: &str, value: Loose<'_>) -> Read<T> {
    text(field, value)?.parse().map_err(|problem| bad(field, format!("`{field}` {problem}")))
}

pub(super) fn epoch(field: &str, value: Loose<'_>) -> Read<Epoch> {
    text(field, value)?.parse().map_err(|_| bad(field, format!("`{field}` must be 16 hexadecimal digits")))
}

/// A whole number below 2^53.
pub(super) fn integer(field: &str, value: Loose<'_>) -> Read<u64> {
    match value {
        Loose::Unsigned(number) if number <= INTEGER_MAX => Ok(number),
        Loose::Absent => Err(bad(field, format!("`{field}` is missing"))),
        _ => Err(bad(field, format!("`{field}` must be an integer from 0 to {INTEGER_MAX}"))),
    }
}

pub(super) fn seq(field: &str, value: Loose<'_>) -> Read<Seq> {
    integer(field, value).map(Seq)
}

pub(super) fn boolean(field: &str, value: Loose<'_>) -> Read<bool> {
    match value {
        Loose::Bool(value) => Ok(value),
        Loose::Absent => Err(bad(field, format!("`{field}` is missing"))),
        _ => Err(bad(field, format!("`{field}` must be true or false"))),
    }
}

/// An optional page size from 1 to `max`.
pub(super) fn limit(value: Loose<'_>, default: usize, max: usize) -> Read<usize> {
    let given = optional("limit", value, integer)?;
    match given.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)) {
        None => Ok(default),
        Some(0) => Err(bad("limit", "`limit` must be at least 1")),
        Some(limit) if limit > max => Err(too_large("limit", format!("`limit` must be at most {max}"), max)),
        Some(limit) => Ok(limit),
    }
}

/// A list of 1 to `max` entries.
pub(super) fn list<'a, T>(
    field: &str,
    value: Loose<'a>,
    max: usize,
    read: impl Fn(&str, Loose<'a>) -> Read<T>,
) -> Read<Vec<T>> {
    match value {
        Loose::List(items) if items.len() > max => {
            Err(too_large(field, format!("`{field}` has more than {max} entries"), max))
        }
        Loose::List(items) if items.is_empty() => Err(bad(field, format!("`{field}` must not be empty"))),
        Loose::List(items) => {
            items.into_iter().enumerate().map(|(index, item)| read(&format!("{field}[{index}]"), item)).collect()
        }
        Loose::Absent => Err(bad(field, format!("`{field}` is missing"))),
        _ => Err(bad(field, format!("`{field}` must be a list"))),
    }
}

/// A message id: a UUIDv7 in its usual spelling.
pub(super) fn message_id(value: Loose<'_>) -> Read<Uuid> {
    let text = text("message_id", value)?;
    let wrong = || bad("message_id", "`message_id` must be a UUIDv7 in lower case with hyphens");
    let id = Uuid::try_parse(&text).map_err(|_| wrong())?;
    let is_v7 = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
    let mut usual = Uuid::encode_buffer();
    if is_v7 && *id.hyphenated().encode_lower(&mut usual) == *text { Ok(id) } else { Err(wrong()) }
}

/// The text of a message, as typed.
pub(super) fn content(value: Loose<'_>) -> Read<String> {
    let content = text("content", value)?;
    match names::content(&content) {
        Ok(_) => Ok(content.into_owned()),
        Err(problem @ BadText::ContentLong) => Err(too_large("content", problem.to_string(), text::CONTENT_MAX_CHARS)),
        Err(problem) => Err(bad("content", problem.to_string())),
    }
}

/// The name of another user, composed as account names are stored.
pub(super) fn username(field: &str, value: Loose<'_>) -> Read<String> {
    name(field, value, text::ACCOUNT_NAME_MAX_CHARS, |name| {
        // Guests may have shorter names than accounts.
        names::account_name(name).or_else(|problem| names::rooms_username(name).map(str::to_owned).map_err(|_| problem))
    })
}

pub(super) fn guest_name(field: &str, value: Loose<'_>) -> Read<String> {
    name(field, value, text::ROOMS_USERNAME_MAX_CHARS, |name| names::rooms_username(name).map(str::to_owned))
}

pub(super) fn room_name(field: &str, value: Loose<'_>) -> Read<String> {
    name(field, value, text::ROOM_NAME_MAX_CHARS, |name| names::room_name(name).map(str::to_owned))
}

pub(super) fn group_name(field: &str, value: Loose<'_>) -> Read<String> {
    name(field, value, text::GROUP_NAME_MAX_CHARS, |name| names::group_name(name).map(str::to_owned))
}

pub(super) fn display_name(field: &str, value: Loose<'_>) -> Read<String> {
    name(field, value, text::DISPLAY_NAME_MAX_CHARS, |name| names::display_name(name).map(str::to_owned))
}

/// A name by one of the rules of [`names`]; one that is too long is told so.
fn name(
    field: &str,
    value: Loose<'_>,
    max_chars: usize,
    rule: impl FnOnce(&str) -> Result<String, BadText>,
) -> Read<String> {
    let name = text(field, value)?;
    rule(&name).map_err(|problem| match name.trim().chars().count() > max_chars {
        true => too_large(field, problem.to_string(), max_chars),
        false => bad(field, problem.to_string()),
    })
}

/// `{epoch,seq}`.
pub(super) fn position(field: &str, value: Loose<'_>) -> Read<Position> {
    let Loose::Object(entries) = value else {
        return Err(bad(field, format!("`{field}` must be an object of `epoch` and `seq`")));
    };
    let (mut given_epoch, mut given_seq) = (Loose::Absent, Loose::Absent);
    for (key, value) in entries {
        match &*key {
            "epoch" => given_epoch = value,
            "seq" => given_seq = value,
            _ => {}
        }
    }
    let inside = |name: &str| format!("{field}.{name}");
    Ok(Position { epoch: epoch(&inside("epoch"), given_epoch)?, seq: seq(&inside("seq"), given_seq)? })
}

/// `{"<conversation id>":{epoch,seq},…}`.
pub(super) fn positions(field: &str, value: Loose<'_>) -> Read<BTreeMap<ConversationId, Position>> {
    let max = native::POSITIONS_MAX;
    let entries = match value {
        Loose::Object(entries) if entries.len() <= max => entries,
        Loose::Object(_) => return Err(too_large(field, format!("`{field}` has more than {max} entries"), max)),
        Loose::Absent => return Err(bad(field, format!("`{field}` is missing"))),
        _ => return Err(bad(field, format!("`{field}` must be an object"))),
    };
    let mut positions = BTreeMap::new();
    for (key, value) in entries {
        let Ok(conversation) = key.parse::<ConversationId>() else {
            return Err(bad(field, format!("a key of `{field}` is not a conversation's id")));
        };
        if positions.insert(conversation, position(field, value)?).is_some() {
            return Err(bad(field, format!("`{field}` names a conversation twice")));
        }
    }
    Ok(positions)
}
