//! Refresh tokens: 32 random bytes, of which only the SHA-256 is stored. Each works once and is replaced by the next of its family.

use sha2::{Digest, Sha256};

use crate::hex;

/// A new refresh token: the text for the client, the hash for the store.
pub struct NewRefreshToken {
    pub text: String,
    pub hash: [u8; 32],
}

/// Makes a random token.
pub fn generate() -> NewRefreshToken {
    let bytes = hex::random_32();
    NewRefreshToken { text: hex::encode(&bytes), hash: Sha256::digest(bytes).into() }
}

/// Returns the hash under which a client's token would be stored; `None` for what can't be one.
pub fn hash_of(text: &str) -> Option<[u8; 32]> {
    // Checked first: hashing megabytes of nonsense would only cost time.
    if text.len() != 64 {
        return None;
    }
    hex::decode(text).map(|bytes| Sha256::digest(bytes).into())
}

/// Makes the number of a new family, random and positive.
pub fn new_family() -> i64 {
    let bytes = hex::random_32();
    let number = i64::from_le_bytes(bytes[..8].try_into().expect("eight bytes of 32"));
    (number & i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_finds_a_token_by_its_hash_and_never_sees_it() {
        let token = generate();
        assert_eq!(hash_of(&token.text), Some(token.hash));
        assert_eq!(hash_of(&token.text.to_uppercase()), Some(token.hash));
        assert_ne!(hex::decode(&token.text).as_deref(), Some(&token.hash[..]));
    }

    #[test]
    fn nonsense_is_no_token() {
        for bad in ["", "x", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), &"0".repeat(1_000_000)] {
            assert_eq!(hash_of(bad), None);
        }
    }

    #[test]
    fn families_are_positive_and_differ() {
        let (a, b) = (new_family(), new_family());
        assert!(a > 0 && b > 0 && a != b);
    }
}
