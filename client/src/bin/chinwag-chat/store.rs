//! What is kept between runs, by server and user: the session, the outbox, positions. Directories are the user's own (0700), files 0600.

use std::{
    fs::{self, DirBuilder},
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use chinwag_client::{ConversationId, Resume, Server};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The directory of all servers.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// What was used last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Last {
    pub server: String,
    pub name: String,
    #[serde(default)]
    pub guest: bool,
}

/// The directory of a user of a server.
#[derive(Debug, Clone)]
pub struct UserStore {
    directory: PathBuf,
}

/// Where a run was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    #[serde(default)]
    pub resume: Resume,
    /// The conversation that was open, and its name.
    #[serde(default)]
    pub open: Option<(ConversationId, String)>,
}

impl Store {
    /// Opens the directory, which is made if need be.
    pub fn open(asked: Option<&Path>) -> anyhow::Result<Self> {
        let root = match asked {
            Some(path) => path.to_owned(),
            None => data_home().context("neither XDG_DATA_HOME nor HOME is set: say --data DIR")?.join("chinwag-chat"),
        };
        make(&root)?;
        Ok(Self { root })
    }

    pub fn last(&self) -> Option<Last> {
        read(&self.root.join("last.json"))
    }

    /// Notes what to use when nothing is said.
    pub fn keep_last(&self, last: &Last) -> anyhow::Result<()> {
        write(&self.root.join("last.json"), last)
    }

    /// Opens the directory of a user.
    pub fn of(&self, server: &Server, name: &str, guest: bool) -> anyhow::Result<UserStore> {
        let user = format!("{}{}", if guest { "guest-" } else { "user-" }, escaped(name));
        let directory = self.root.join(server.file_name()).join(user);
        make(&directory)?;
        Ok(UserStore { directory })
    }
}

impl UserStore {
    /// Returns where the outbox is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the file of the session.
    pub fn session(&self) -> PathBuf {
        self.directory.join("session.json")
    }

    /// Returns where the last run was; nothing if that can't be read.
    pub fn load(&self) -> State {
        read(&self.directory.join("state.json")).unwrap_or_default()
    }

    pub fn keep(&self, state: &State) -> anyhow::Result<()> {
        write(&self.directory.join("state.json"), state)
    }
}

fn data_home() -> Option<PathBuf> {
    // A relative path is to be ignored (XDG Base Directory Specification).
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
}

/// Writes a name so that no two are the same file, and none leads elsewhere.
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}

fn make(directory: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("can't make {}", directory.display()))
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a file so that there is a whole one at every moment.
fn write<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let wrote = || -> anyhow::Result<()> {
        let mut new = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        new.write_all(&serde_json::to_vec(value)?)?;
        new.persist(path)?;
        Ok(())
    };
    wrote().with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn users_of_servers_have_directories_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(&directory.path().join("chat"))).unwrap();
        let here: Server = "http://127.0.0.1:3000".parse().unwrap();
        let there: Server = "http://127.0.0.1:4000".parse().unwrap();
        let of = |server: &Server, name: &str, guest| store.of(server, name, guest).unwrap().directory().to_owned();
        let all = [
            of(&here, "ann", false),
            of(&here, "ann", true),
            of(&there, "ann", false),
            of(&here, "../ann", false),
            of(&here, "Zoë", false),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(one.starts_with(directory.path().join("chat")) && !all[..at].contains(one), "{one:?}");
            assert_eq!(fs::metadata(one).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn where_a_run_was_is_kept_and_a_broken_file_is_no_state() {
        let directory = tempfile::tempdir().unwrap();
        let store =
            Store::open(Some(directory.path())).unwrap().of(&"localhost:1".parse().unwrap(), "ann", false).unwrap();
        assert_eq!(store.load(), State::default());
        let state = State { open: Some((ConversationId(7), "lobby".into())), ..State::default() };
        store.keep(&state).unwrap();
        assert_eq!(store.load(), state);
        fs::write(store.directory().join("state.json"), "{\"resume\":").unwrap();
        assert_eq!(store.load(), State::default());
    }
}
