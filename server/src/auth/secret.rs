//! The keys that sign access tokens.
//!
//! A file of mode 0600 with a key per line, hexadecimal, at least 32 bytes; the first signs, all verify. To rotate, put a new key
//! on top and remove the old one when the tokens it signed are over. A key's id (`kid`) is derived from the key.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{
    config::{MakeIfMissing, SecretSource},
    files::{self, FileError},
    hex,
};

/// Shortest key, bytes: as long as the hash of HS256 (RFC 7518, 3.2).
const KEY_MIN_BYTES: usize = 32;
/// Most keys in one file: verifying never searches long.
const KEYS_MAX: usize = 16;
/// A random key of 32 bytes has fewer different bytes than this once in 10^20 keys.
const DISTINCT_BYTES_MIN: usize = 12;

/// Why there are no usable keys.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}: there is no key in it")]
    Empty(String),
    #[error("{0}: more than {KEYS_MAX} keys")]
    TooMany(String),
    #[error("{place}: key {number} {why}; make one with: openssl rand -hex 32")]
    Weak { place: String, number: usize, why: &'static str },
}

/// A signing key with its id. Has no `Debug`: it must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    pub kid: String,
    pub bytes: Vec<u8>,
}

/// All keys, the signing one first; never empty.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

/// Keys, and the file if it was made just now.
pub struct LoadedKeys {
    pub keys: Keys,
    pub made: Option<PathBuf>,
}

impl Keys {
    /// Loads the keys, making the file first if it is missing and may be made. The directory must exist.
    ///
    /// # Errors
    /// When the file is missing (and not ours to make), exposed, empty, or holds a short or guessable key.
    pub fn load(source: &SecretSource) -> Result<LoadedKeys, SecretError> {
        let (path, make_if_missing) = match source {
            SecretSource::Given(text) => {
                return Ok(LoadedKeys { keys: Self::parse(text.reveal(), "secret")?, made: None });
            }
            SecretSource::File { path, make_if_missing } => (path, *make_if_missing),
        };
        let missing = !path.try_exists().unwrap_or(true);
        let made = (missing && make_if_missing == MakeIfMissing::Yes).then(|| path.clone());
        if made.is_some() {
            make(path)?;
        }
        let keys = Self::parse(&files::read_private(path)?, &path.display().to_string())?;
        Ok(LoadedKeys { keys, made })
    }

    fn parse(text: &str, place: &str) -> Result<Self, SecretError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut keys = Vec::new();
        for (n, line) in lines.enumerate() {
            let weak = |why| SecretError::Weak { place: place.to_owned(), number: n + 1, why };
            let bytes = hex::decode(line).ok_or_else(|| weak("isn't written in hexadecimal digits"))?;
            check(&bytes).map_err(weak)?;
            keys.push(Key { kid: hex::encode(&Sha256::digest(&bytes)[..6]), bytes });
        }
        match keys.len() {
            0 => Err(SecretError::Empty(place.to_owned())),
            1..=KEYS_MAX => Ok(Self(keys)),
            _ => Err(SecretError::TooMany(place.to_owned())),
        }
    }

    /// Returns the key that signs.
    pub fn signing(&self) -> &Key {
        &self.0[0]
    }

    /// Returns all keys.
    pub fn all(&self) -> &[Key] {
        &self.0
    }

    /// Makes one random key.
    pub fn random() -> Self {
        Self::parse(&hex::encode(&hex::random_32()), "random").expect("a random key is strong")
    }
}

/// Refuses a key that is short or looks made up; says why.
///
/// # Errors
/// As said: the reason, which follows 'the key'.
pub fn check(bytes: &[u8]) -> Result<(), &'static str> {
    let distinct = bytes.iter().collect::<std::collections::HashSet<_>>().len();
    let step = |pair: &[u8]| pair[1].wrapping_sub(pair[0]);
    if bytes.len() < KEY_MIN_BYTES {
        Err("is shorter than 32 bytes")
    } else if distinct < DISTINCT_BYTES_MIN || bytes.windows(2).map(step).all(|by| by == step(bytes)) {
        Err("is a pattern, not random")
    } else if bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        Err("is a text, not random")
    } else {
        Ok(())
    }
}

fn make(path: &Path) -> Result<(), SecretError> {
    let text = format!(
        "# Signing keys of access tokens, one a line; the first signs. Keep this file secret.\n{}\n",
        hex::encode(&hex::random_32())
    );
    match files::create_private(path, &text) {
        // Another process made it first: then its key counts.
        Err(FileError::Io { error, .. }) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::config::Hidden;

    fn source(path: &Path, make_if_missing: MakeIfMissing) -> SecretSource {
        SecretSource::File { path: path.to_owned(), make_if_missing }
    }

    fn load_text(text: &str) -> Result<LoadedKeys, SecretError> {
        Keys::load(&SecretSource::Given(Hidden::new(text)))
    }

    #[test]
    fn the_first_start_makes_a_private_key_and_later_ones_use_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let first = Keys::load(&source(&path, MakeIfMissing::Yes)).unwrap();
        assert_eq!(first.made.as_deref(), Some(path.as_path()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = Keys::load(&source(&path, MakeIfMissing::Yes)).unwrap();
        assert!(second.made.is_none());
        assert!(first.keys.signing() == second.keys.signing());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_named_file_that_is_missing_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("typo");
        assert!(matches!(Keys::load(&source(&path, MakeIfMissing::No)), Err(SecretError::File(_))));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        Keys::load(&source(&path, MakeIfMissing::Yes)).unwrap();
        for mode in [0o644, 0o640, 0o604] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = Keys::load(&source(&path, MakeIfMissing::Yes));
            assert!(matches!(refused, Err(SecretError::File(FileError::Exposed { .. }))), "{mode:o}");
        }
    }

    #[test]
    fn short_default_and_guessable_keys_are_refused() {
        let text = hex::encode(b"this-is-my-secret-key-of-32-bytes");
        let counting = hex::encode(&(0..32).collect::<Vec<u8>>());
        for weak in
            ["secret", "changeme", "00", &"00".repeat(32), &"ab".repeat(64), &"deadbeef".repeat(8), &counting, &text]
        {
            assert!(matches!(load_text(weak), Err(SecretError::Weak { .. })), "{weak}");
        }
        assert!(matches!(load_text("# nothing\n\n"), Err(SecretError::Empty(_))));
    }

    #[test]
    fn errors_do_not_show_the_key() {
        let Err(error) = load_text("hunter2hunter2") else { panic!("must be refused") };
        assert!(!error.to_string().contains("hunter2") && error.to_string().contains("key 1"));
    }

    #[test]
    fn the_first_of_several_keys_signs() {
        let (new, old) = (hex::encode(&hex::random_32()), hex::encode(&hex::random_32()));
        let keys = load_text(&format!("{new}\n# until May\n{old}\n")).unwrap().keys;
        assert_eq!(hex::encode(&keys.signing().bytes), new);
        assert_eq!(keys.all().len(), 2);
        assert_ne!(keys.all()[0].kid, keys.all()[1].kid);
    }
}
