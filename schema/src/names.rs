//! What may be a name: usernames of both kinds, room and group names, and the text of a message.

use unicode_normalization::UnicodeNormalization;

use crate::limits::{self, text};

/// Why a name or text is refused. The `Display` text is what the rooms dialect shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    #[error("Username is required")]
    UsernameMissing,
    #[error("Username must be at least 2 characters")]
    UsernameShort,
    #[error("Username must be at most 30 characters")]
    UsernameLong,
    #[error("Username can only contain letters, numbers, underscores, and hyphens")]
    UsernameCharacters,
    #[error("Room name is required")]
    RoomNameMissing,
    #[error("Invalid room name format")]
    RoomNameFormat,
    #[error("Message content is required")]
    ContentMissing,
    #[error("Message too long (max 4096 characters)")]
    ContentLong,
    #[error("Name must have 3 to 64 characters, none of them a control character")]
    AccountName,
    #[error("Group name must have 1 to 100 characters, none of them a control character")]
    GroupName,
    #[error("Display name must have 1 to 64 characters, none of them a control character")]
    DisplayName,
}

/// Checks a username of the rooms dialect: `^[A-Za-z0-9_-]{2,30}$`.
pub fn rooms_username(name: &str) -> Result<&str, BadText> {
    let count = name.chars().count();
    if name.trim().is_empty() {
        Err(BadText::UsernameMissing)
    } else if count < text::ROOMS_USERNAME_MIN_CHARS {
        Err(BadText::UsernameShort)
    } else if count > text::ROOMS_USERNAME_MAX_CHARS {
        Err(BadText::UsernameLong)
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        Err(BadText::UsernameCharacters)
    } else {
        Ok(name)
    }
}

/// Checks and normalises the name of an account: trimmed, NFC, 3–64 characters, no control characters.
pub fn account_name(name: &str) -> Result<String, BadText> {
    let name: String = name.trim().nfc().collect();
    let count = name.chars().count();
    let fits = (text::ACCOUNT_NAME_MIN_CHARS..=text::ACCOUNT_NAME_MAX_CHARS).contains(&count);
    if fits && !name.chars().any(char::is_control) { Ok(name) } else { Err(BadText::AccountName) }
}

/// Checks a public room's name, trimmed: `^[A-Za-z0-9_\-\s]{3,50}$`.
pub fn room_name(name: &str) -> Result<&str, BadText> {
    let name = name.trim();
    if name.is_empty() {
        return Err(BadText::RoomNameMissing);
    }
    let fits = (text::ROOM_NAME_MIN_CHARS..=text::ROOM_NAME_MAX_CHARS).contains(&name.chars().count());
    let clean = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c.is_whitespace());
    if fits && clean { Ok(name) } else { Err(BadText::RoomNameFormat) }
}

/// Checks a group's name, trimmed.
pub fn group_name(name: &str) -> Result<&str, BadText> {
    shown_name(name, text::GROUP_NAME_MAX_CHARS).ok_or(BadText::GroupName)
}

/// Checks a display name, trimmed.
pub fn display_name(name: &str) -> Result<&str, BadText> {
    shown_name(name, text::DISPLAY_NAME_MAX_CHARS).ok_or(BadText::DisplayName)
}

fn shown_name(name: &str, max_chars: usize) -> Option<&str> {
    let name = name.trim();
    let fits = (1..=max_chars).contains(&name.chars().count());
    (fits && !name.chars().any(char::is_control)).then_some(name)
}

/// Checks the text of a message: 1–4,096 characters after trimming. It is stored as typed, not trimmed.
pub fn content(content: &str) -> Result<&str, BadText> {
    let trimmed = content.trim();
    if trimmed.is_empty() {
        Err(BadText::ContentMissing)
    } else if over(trimmed, text::CONTENT_MAX_CHARS) || content.len() > limits::text::CONTENT_MAX_BYTES {
        Err(BadText::ContentLong)
    } else {
        Ok(content)
    }
}

fn over(text: &str, max_chars: usize) -> bool {
    // A text of at most `max_chars` bytes can't have more characters: no need to count.
    text.len() > max_chars && text.chars().count() > max_chars
}

/// Returns the messenger dialect's `chatId`: both names in ascending order of UTF-16 units, as JavaScript sorts, joined by `-`.
pub fn chat_id(a: &str, b: &str) -> String {
    let (first, second) = if a.encode_utf16().le(b.encode_utf16()) { (a, b) } else { (b, a) };
    format!("{first}-{second}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_usernames() {
        assert_eq!(rooms_username("ann_B-9"), Ok("ann_B-9"));
        assert_eq!(rooms_username(" "), Err(BadText::UsernameMissing));
        assert_eq!(rooms_username("a"), Err(BadText::UsernameShort));
        assert_eq!(rooms_username(&"a".repeat(31)), Err(BadText::UsernameLong));
        assert_eq!(rooms_username("zoë"), Err(BadText::UsernameCharacters));
    }

    #[test]
    fn account_names_are_trimmed_and_composed() {
        assert_eq!(account_name("  zoe\u{308}  ").as_deref(), Ok("zo\u{eb}"));
        assert_eq!(account_name("ab"), Err(BadText::AccountName));
        assert_eq!(account_name("a\u{7}bc"), Err(BadText::AccountName));
        assert!(account_name(&"x".repeat(64)).is_ok() && account_name(&"x".repeat(65)).is_err());
    }

    #[test]
    fn content_counts_characters_after_trimming_and_keeps_what_was_typed() {
        let exact = "é".repeat(4096);
        assert_eq!(content(&exact), Ok(exact.as_str()));
        let padded = format!("  {exact}\n");
        assert_eq!(content(&padded), Ok(padded.as_str()));
        assert_eq!(content(&"é".repeat(4097)), Err(BadText::ContentLong));
        assert_eq!(content(" \n\t"), Err(BadText::ContentMissing));
        assert_eq!(content(&format!("x{}", " ".repeat(100_000))), Err(BadText::ContentLong));
    }

    #[test]
    fn chat_ids_sort_as_javascript_does() {
        assert_eq!(chat_id("bob", "alice"), "alice-bob");
        // U+FF5E sorts after U+1F600 by UTF-16 units (surrogates), though before it by code point.
        assert_eq!(chat_id("\u{ff5e}aa", "\u{1f600}aa"), "\u{1f600}aa-\u{ff5e}aa");
    }
}
