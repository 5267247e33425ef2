//! Identifiers, as newtypes, so that one can't be passed for another.
//!
//! Snowflakes travel as decimal strings: 64 bits don't fit a JavaScript number, so an id is never parsed through a double.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Start of the snowflake clock, Unix milliseconds (frozen by the messenger dialect).
pub const SNOWFLAKE_EPOCH_MS: i64 = 1_753_570_766_000;

/// Low bits of a snowflake: 10 of node, 12 of sequence.
pub const SNOWFLAKE_LOW_BITS: u32 = 22;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a decimal number of at most 64 bits, written as a string")]
pub struct BadId;

macro_rules! snowflake_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub i64);

        impl $name {
            /// Returns the time at which the id was made, Unix milliseconds.
            pub const fn unix_ms(self) -> i64 {
                (self.0 >> SNOWFLAKE_LOW_BITS) + SNOWFLAKE_EPOCH_MS
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_decimal(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(DecimalVisitor).map(Self)
            }
        }
    };
}

snowflake_id!(
    /// A user, account or guest.
    UserId
);
snowflake_id!(
    /// A conversation: public room, group or one-to-one chat.
    ConversationId
);
snowflake_id!(
    /// A sequenced event of a conversation; of a message, the id that all dialects show.
    EventId
);

/// Parses a canonical decimal: digits only, no sign, no leading zero, within a positive `i64`.
fn parse_decimal(text: &str) -> Result<i64, BadId> {
    let canonical = !text.is_empty()
        && text.len() <= 19
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if !canonical {
        return Err(BadId);
    }
    text.parse().map_err(|_| BadId)
}

struct DecimalVisitor;

impl de::Visitor<'_> for DecimalVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an identifier: a decimal number written as a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
        parse_decimal(text).map_err(E::custom)
    }

    // The messenger dialect allows group ids as JSON integers; floats stay refused.
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::custom(BadId))
    }
}

/// Position of an event in its conversation's log: 1, 2, 3, … without holes. 0 is 'before the first'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Seq = Seq(0);

    /// Returns the position right after this one.
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(BadId);
                }
                u64::from_str_radix(text, 16).map(Self).map_err(|_| BadId)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(|_| de::Error::custom($expected))
            }
        }
    };
}

hex_id!(
    /// Name of the log: positions of another epoch are void (`protocol-native`, 'epoch').
    Epoch,
    "an epoch is 16 hexadecimal digits"
);
hex_id!(
    /// One life of a node's process, made at random when it starts. Never 0.
    Incarnation,
    "an incarnation is 16 hexadecimal digits"
);

impl Incarnation {
    /// Makes one from 64 random bits.
    pub const fn from_random(bits: u64) -> Self {
        Self(if bits == 0 { 1 } else { bits })
    }
}

/// A term of ownership of a shard; the store refuses writes of a smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u64);

/// One of the virtual shards onto which conversations hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shard(pub u8);

impl Shard {
    /// How many shards there are.
    pub const COUNT: usize = 256;
}

impl ConversationId {
    /// Returns the shard of this conversation. Stable for ever: owners on all nodes must agree.
    pub const fn shard(self) -> Shard {
        // Fibonacci hashing: the low bits of a snowflake alone are far from uniform.
        Shard(((self.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
    }
}

/// A node of the cluster (10 bits, part of each snowflake it makes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl NodeId {
    /// How many nodes a cluster can ever have: what 10 bits hold.
    pub const COUNT: u16 = 1024;
}

/// One socket: the node and the worker thread it lives on, its place in that thread's table, and a generation that tells a later
/// socket in the same place from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    pub node: NodeId,
    pub worker: u16,
    pub generation: u16,
    pub index: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.node.0, self.worker, self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parsed_exactly_and_only_in_canonical_form() {
        assert_eq!("9007199254740993".parse(), Ok(EventId(9_007_199_254_740_993)));
        for bad in ["", "-1", "+1", "01", "1.0", "1e3", " 1", "9223372036854775808", "99999999999999999999"] {
            assert_eq!(bad.parse::<EventId>(), Err(BadId), "{bad}");
        }
    }

    #[test]
    fn ids_travel_as_strings_and_floats_are_refused() {
        assert_eq!(serde_json::to_string(&UserId(7)).unwrap(), "\"7\"");
        assert_eq!(serde_json::from_str::<UserId>("7").unwrap(), UserId(7));
        assert!(serde_json::from_str::<UserId>("7.0").is_err());
    }

    #[test]
    fn conversations_spread_over_the_shards() {
        let mut hits = [0u32; Shard::COUNT];
        for n in 0..25_600i64 {
            hits[usize::from(ConversationId(n << SNOWFLAKE_LOW_BITS).shard().0)] += 1;
        }
        assert!(hits.iter().all(|&n| (50..200).contains(&n)), "{hits:?}");
    }
}
