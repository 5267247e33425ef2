//! The key that all nodes of a cluster share, and the codes made with it (HMAC-SHA256, RFC 2104).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of a code.
pub const MAC_BYTES: usize = 32;

/// Shortest key, bytes: as long as a code, so that guessing the one is no easier than the other.
pub const KEY_MIN_BYTES: usize = 32;

/// The keys of a cluster. The first signs; any of them verifies, so that a key can be changed while the cluster runs: add the new one
/// as the second line on each node, then make it the first, then remove the old one.
#[derive(Clone)]
pub struct Keyring {
    /// Keyed once: an envelope costs two blocks less.
    keys: Vec<Hmac<Sha256>>,
}

/// Why a key file can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("the cluster key file is empty; make a key with `openssl rand -hex 32` and give every node the same")]
    Missing,
    #[error("the cluster key file must be text, one key per line; make a key with `openssl rand -hex 32`")]
    NotText,
    #[error("a cluster key must have at least {KEY_MIN_BYTES} bytes; make one with `openssl rand -hex 32`")]
    TooShort,
    #[error("the cluster key file may hold two keys, the one in use and the one before or after it")]
    TooMany,
}

impl Keyring {
    /// Reads a key file: one key per line, without the blanks around it; empty lines don't count.
    pub fn parse(file: &[u8]) -> Result<Self, BadKey> {
        let text = std::str::from_utf8(file).map_err(|_| BadKey::NotText)?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.len() {
            0 => return Err(BadKey::Missing),
            1 | 2 => {}
            _ => return Err(BadKey::TooMany),
        }
        if lines.iter().any(|line| line.len() < KEY_MIN_BYTES) {
            return Err(BadKey::TooShort);
        }
        Ok(Self { keys: lines.iter().map(|line| keyed(line.as_bytes())).collect() })
    }

    /// Makes a key that nobody else has, for a node alone.
    pub fn random() -> Self {
        Self { keys: vec![keyed(&rand::random::<[u8; KEY_MIN_BYTES]>())] }
    }

    /// Returns the code of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; MAC_BYTES] {
        let first = self.keys.first().expect("a keyring has a key");
        first.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Says whether `code` is that of `message`, in a time that tells nothing about the right one.
    pub fn verify(&self, message: &[u8], code: &[u8]) -> bool {
        self.keys.iter().any(|key| key.clone().chain_update(message).verify_slice(code).is_ok())
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} hidden)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "an old key of thirty-two bytes or more";
    const NEW: &str = "the new key of thirty-two bytes or more";

    fn parse(text: &str) -> Result<Keyring, BadKey> {
        Keyring::parse(text.as_bytes())
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 4231, test case 6: a key longer than a block.
        let key = keyed(&[0xaa; 131]);
        let code = Keyring { keys: vec![key] }.sign(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(code[..8], [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f]);
    }

    #[test]
    fn the_key_changes_while_the_cluster_runs() {
        let steps = [format!("{OLD}\n"), format!("{OLD}\n{NEW}"), format!(" {NEW}\r\n\n{OLD}\n"), NEW.to_owned()];
        let rings: Vec<Keyring> = steps.iter().map(|text| parse(text).unwrap()).collect();
        for (one, other) in rings.iter().zip(&rings[1..]) {
            assert!(other.verify(b"m", &one.sign(b"m")) && one.verify(b"m", &other.sign(b"m")), "neighbouring steps");
        }
        assert!(!rings[3].verify(b"m", &rings[0].sign(b"m")), "the old key is void in the end");
        assert!(!rings[0].verify(b"m", b"") && !rings[0].verify(b"n", &rings[0].sign(b"m")));
    }

    #[test]
    fn bad_key_files_are_refused() {
        assert_eq!(parse("\n \n").unwrap_err(), BadKey::Missing);
        assert_eq!(parse("short").unwrap_err(), BadKey::TooShort);
        assert_eq!(parse(&[OLD, NEW, OLD].join("\n")).unwrap_err(), BadKey::TooMany);
        assert_eq!(Keyring::parse(&[0xff; 32]).unwrap_err(), BadKey::NotText);
    }

    #[test]
    fn debug_output_hides_the_keys() {
        assert_eq!(format!("{:?}", parse(OLD).unwrap()), "Keyring(1 hidden)");
    }
}
