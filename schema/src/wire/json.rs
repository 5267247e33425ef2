//! What the three codecs share: reading a frame in one pass, with fields of any type, and writing one.
//!
//! A dialect lists the fields it knows in a struct of [`Loose`] values and looks at their types afterwards, when it knows
//! the command: so each wrong field gets that dialect's own error, and unknown fields cost nothing.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess},
};

/// Entries that are kept of a list or object; one more than any field may have, so that 'too many' shows.
const ENTRIES_KEPT: usize = 1024;

/// A field as it came. Strings without escapes are borrowed from the frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Loose<'a> {
    #[default]
    Absent,
    Null,
    Bool(bool),
    Unsigned(u64),
    /// Negative, fractional or huge.
    OtherNumber,
    Text(Cow<'a, str>),
    List(Vec<Loose<'a>>),
    Object(Vec<(Cow<'a, str>, Loose<'a>)>),
}

impl<'a> Loose<'a> {
    /// Returns a string that isn't empty; the frozen dialects take everything else for missing.
    pub(crate) fn filled(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Returns a string that isn't empty, or a whole number as one.
    pub(crate) fn filled_or_number(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Unsigned(number) => Some(Cow::Owned(number.to_string())),
            other => other.filled(),
        }
    }

    /// Says whether there is nothing: no such field, or `null`.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> de::Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Loose<'de>, E> {
        Ok(Loose::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose<'de>, E> {
        Ok(Loose::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Loose<'de>, E> {
        Ok(Loose::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Loose<'de>, E> {
        Ok(u64::try_from(value).map_or(Loose::OtherNumber, Loose::Unsigned))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Loose<'de>, E> {
        Ok(Loose::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Loose<'de>, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < ENTRIES_KEPT {
            match list.next_element()? {
                Some(item) => kept.push(item),
                None => return Ok(Loose::List(kept)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::List(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Loose<'de>, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < ENTRIES_KEPT {
            match object.next_entry::<Loose<'de>, Loose<'de>>()? {
                Some((Loose::Text(key), value)) => kept.push((key, value)),
                Some(_) => return Err(de::Error::custom("a key must be a string")),
                None => return Ok(Loose::Object(kept)),
            }
        }
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Object(kept))
    }
}

/// Why a text isn't a frame of any dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAFrame {
    /// Not JSON, too deep (128 levels), or with a known field twice. The text says what and where, never the content.
    #[error("{0}")]
    Syntax(String),
    #[error("a frame must be a JSON object")]
    NotAnObject,
}

/// Reads one JSON object into a struct of a dialect's fields.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, NotAFrame> {
    // Trap: serde reads a struct from an array too, by position.
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        // An error of the grammar goes first, so that "not JSON" isn't called "not an object".
        return match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Err(NotAFrame::NotAnObject),
            Err(error) => Err(NotAFrame::Syntax(error.to_string())),
        };
    }
    serde_json::from_str(text).map_err(|error| NotAFrame::Syntax(error.to_string()))
}

/// Writes a frame.
pub(crate) fn write<T: Serialize + ?Sized>(frame: &T) -> Vec<u8> {
    serde_json::to_vec(frame).expect("frames have string keys only and write to memory: that can't fail")
}

/// Shortens what a client sent, for repeating it in an error text: at most 64 characters.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(64) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// A token or password: sent as text, shown in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Fields<'a> {
        #[serde(default, borrow)]
        content: Loose<'a>,
    }

    fn content(text: &str) -> Result<Loose<'_>, NotAFrame> {
        read::<Fields<'_>>(text).map(|fields| fields.content)
    }

    #[test]
    fn plain_strings_are_borrowed() {
        assert!(matches!(content(r#"{"content":"hi"}"#), Ok(Loose::Text(Cow::Borrowed("hi")))));
        assert!(matches!(content(r#"{"content":"h\u0069"}"#), Ok(Loose::Text(Cow::Owned(text))) if text == "hi"));
    }

    #[test]
    fn arrays_are_not_taken_for_objects_by_position() {
        assert_eq!(content(r#" ["hi"]"#), Err(NotAFrame::NotAnObject));
        assert_eq!(content("[]"), Err(NotAFrame::NotAnObject));
        assert!(matches!(content("[1"), Err(NotAFrame::Syntax(_))));
        assert!(matches!(content(""), Err(NotAFrame::Syntax(_))));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_the_end_of_the_stack() {
        let brackets = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        let refused =
            |text: &str| matches!(content(text), Err(NotAFrame::Syntax(why)) if why.contains("recursion limit"));
        assert!(refused(&format!(r#"{{"content":{brackets}}}"#)));
        // What is skipped is skipped without recursion, however deep.
        assert_eq!(content(&format!(r#"{{"unknown":{brackets}}}"#)), Ok(Loose::Absent));
        assert_eq!(content(&brackets), Err(NotAFrame::NotAnObject));
    }

    #[test]
    fn long_lists_are_kept_in_part() {
        let long = format!(r#"{{"content":[{}1]}}"#, "1,".repeat(30_000));
        assert!(matches!(content(&long), Ok(Loose::List(kept)) if kept.len() == ENTRIES_KEPT));
        let entries: Vec<_> = (0..5000).map(|n| format!("\"{n}\":0")).collect();
        let long = format!(r#"{{"content":{{{}}}}}"#, entries.join(","));
        assert!(matches!(content(&long), Ok(Loose::Object(kept)) if kept.len() == ENTRIES_KEPT));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", Secret("hunter2".into())), "***");
    }
}
