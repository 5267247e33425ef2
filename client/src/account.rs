//! Accounts over HTTP, and the session that is kept between runs. Access tokens are sent in the hello frame, never in an address.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chinwag_schema::wire::{json::Secret, native::Credentials};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    error::Error,
    server::{Server, Trust},
};

/// A token that runs out this soon is changed before it is used.
const EARLY_MS: i64 = 60_000;
/// Longest answer of the REST API that is read.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(15);

/// Who connects.
#[derive(Debug, Clone)]
pub enum Login {
    /// Without an account, where the server allows it: rooms only.
    Guest(String),
    Account(Account),
}

/// What is kept of a session.
#[derive(Clone, Serialize, Deserialize)]
struct Saved {
    server: String,
    username: String,
    token: String,
    refresh_token: String,
    expires_at_ms: i64,
}

/// A user who is logged in. Clones are the same session.
#[derive(Clone)]
pub struct Account {
    server: Server,
    trust: Trust,
    saved: Arc<Mutex<Saved>>,
    file: Option<PathBuf>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Opened {
    username: String,
    token: String,
    refresh_token: String,
    expires_in: i64,
}

impl Account {
    /// Makes an account. Names have 3 to 64 characters, passwords at least 6 and at most 1,024 bytes.
    ///
    /// # Errors
    /// [`Error::Account`] with the server's reason, or [`Error::Unreachable`].
    pub async fn register(server: &Server, trust: &Trust, name: &str, password: &str) -> Result<(), Error> {
        let body = json!({"username": name, "password": password});
        let _: Value = post(server, trust, "/api/auth/register", body, None).await?;
        Ok(())
    }

    /// Logs in.
    ///
    /// # Errors
    /// [`Error::Account`] with the server's reason, or [`Error::Unreachable`].
    pub async fn login(server: &Server, trust: &Trust, name: &str, password: &str) -> Result<Self, Error> {
        let body = json!({"username": name, "password": password});
        let opened: Opened = post(server, trust, "/api/auth/login", body, None).await?;
        let saved = Arc::new(Mutex::new(saved(server, opened)));
        Ok(Self { server: server.clone(), trust: trust.clone(), saved, file: None })
    }

    /// Returns the session that an earlier run has kept in a file; `None`: there is none for this server.
    pub fn remembered(server: &Server, trust: &Trust, file: &Path) -> Option<Self> {
        let saved = load(file).filter(|saved| saved.server == server.to_string())?;
        let (server, trust) = (server.clone(), trust.clone());
        Some(Self { server, trust, saved: Arc::new(Mutex::new(saved)), file: Some(file.to_owned()) })
    }

    /// Keeps the session in a file, mode 0600, from now on.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn remember(&mut self, file: &Path) -> Result<(), Error> {
        keep(file, &self.saved())?;
        self.file = Some(file.to_owned());
        Ok(())
    }

    /// Returns the user's name.
    pub fn name(&self) -> String {
        self.saved().username.clone()
    }

    /// Ends the session here, and on the server if that can be reached. Waits for another process that gets a new token, 15 s at most.
    ///
    /// # Errors
    /// When the file can't be locked or removed; the server's errors are passed over.
    pub async fn logout(&self) -> Result<(), Error> {
        let account = self.clone();
        tokio::task::spawn_blocking(move || account.forget()).await.map_err(|_| Error::Timeout)??;
        let token = self.saved().token.clone();
        let _: Result<Value, Error> = post(&self.server, &self.trust, "/api/auth/logout", json!({}), Some(token)).await;
        Ok(())
    }

    /// Returns what a hello needs, with a new token if the old one runs out.
    pub(crate) async fn credentials(&self) -> Result<Credentials, Error> {
        if self.saved().expires_at_ms - EARLY_MS < now_ms() {
            self.refresh().await?;
        }
        Ok(Credentials::Token(Secret(self.saved().token.clone())))
    }

    /// Gets a new token. Refresh tokens are for one use, and using one twice ends the session: processes that share a file take turns.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let account = self.clone();
        tokio::task::spawn_blocking(move || account.refresh_now()).await.map_err(|_| Error::Timeout)?
    }

    /// Removes the file. In turn with those who change it: the session would come back with what they write.
    fn forget(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let _turn = lock(file)?;
        self.take_over(file);
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes the token that another process has got; `false`: none has.
    fn take_over(&self, file: &Path) -> bool {
        let Some(kept) = load(file) else { return false };
        let mut saved = self.saved();
        let is_newer = (&kept.username, &kept.server) == (&saved.username, &saved.server) && kept.token != saved.token;
        if is_newer {
            *saved = kept;
        }
        is_newer
    }

    fn refresh_now(&self) -> Result<(), Error> {
        let _turn = self.file.as_deref().map(lock).transpose()?;
        if self.file.as_deref().is_some_and(|file| self.take_over(file)) {
            return Ok(());
        }
        let before = self.saved().clone();
        let body = json!({"refresh_token": before.refresh_token});
        let opened = post_now(&self.server, &self.trust, "/api/auth/refresh", &body, None)?;
        *self.saved() = saved(&self.server, opened);
        match &self.file {
            // Gone: another process has logged out meanwhile, and what it removed mustn't come back.
            Some(file) if file.try_exists()? => keep(file, &self.saved()),
            _ => Ok(()),
        }
    }

    fn saved(&self) -> MutexGuard<'_, Saved> {
        // Whole at every moment: each change is one assignment.
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn saved(server: &Server, opened: Opened) -> Saved {
    let Opened { username, token, refresh_token, expires_in } = opened;
    let expires_at_ms = now_ms().saturating_add(expires_in.saturating_mul(1000));
    Saved { server: server.to_string(), username, token, refresh_token, expires_at_ms }
}

fn load(file: &Path) -> Option<Saved> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Writes a session so that there is a whole one at every moment, readable by the user alone.
fn keep(file: &Path, saved: &Saved) -> Result<(), Error> {
    let directory = file.parent().unwrap_or(Path::new("."));
    // Such files are made with mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    new.write_all(&serde_json::to_vec_pretty(saved).map_err(std::io::Error::from)?)?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// Waits for the turn; it ends with the file.
fn lock(file: &Path) -> Result<File, Error> {
    let path = file.with_extension("lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    lock.lock()?;
    Ok(lock)
}

async fn post<T: DeserializeOwned + Send + 'static>(
    server: &Server,
    trust: &Trust,
    path: &'static str,
    body: Value,
    token: Option<String>,
) -> Result<T, Error> {
    let (server, trust) = (server.clone(), trust.clone());
    let call = move || post_now(&server, &trust, path, &body, token.as_deref());
    tokio::task::spawn_blocking(call).await.map_err(|_| Error::Timeout)?
}

fn post_now<T: DeserializeOwned>(
    server: &Server,
    trust: &Trust,
    path: &str,
    body: &Value,
    token: Option<&str>,
) -> Result<T, Error> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
    // A redirect would take the password elsewhere.
    let config = config.max_redirects(0).tls_config(trust.rest.clone());
    let agent = ureq::Agent::new_with_config(config.build());
    let mut request = agent.post(server.rest(path));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = request.send_json(body).map_err(|error| Error::Unreachable(error.to_string()))?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().with_config().limit(ANSWER_MAX_BYTES).read_to_string();
    let text = text.map_err(|error| Error::Unreachable(error.to_string()))?;
    if answer.status().is_success() {
        return serde_json::from_str(&text).map_err(|error| Error::Strange(error.to_string()));
    }
    let refused: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = refused["error"].as_str().map_or_else(|| format!("the server answered {status}"), str::to_owned);
    Err(Error::Account { status, code: refused["code"].as_str().unwrap_or_default().to_owned(), message })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn account(server: &Server, opened: Opened) -> Account {
        let saved = Arc::new(Mutex::new(saved(server, opened)));
        Account { server: server.clone(), trust: Trust::new(None).unwrap(), saved, file: None }
    }

    fn opened(token: &str) -> Opened {
        Opened { username: "ann".into(), token: token.into(), refresh_token: "r".into(), expires_in: 60 }
    }

    #[tokio::test]
    async fn logging_out_waits_for_a_process_that_gets_a_new_token() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("session.json");
        // Nobody listens there.
        let server: Server = "http://127.0.0.1:1".parse().unwrap();
        let mut account = account(&server, opened("old"));
        account.remember(&file).unwrap();
        let turn = lock(&file).unwrap();
        let leaving = tokio::spawn({
            let account = account.clone();
            async move { account.logout().await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(file.exists() && !leaving.is_finished());
        keep(&file, &saved(&server, opened("new"))).unwrap();
        drop(turn);
        leaving.await.unwrap().unwrap();
        assert!(!file.exists());
        // The session that the server was to end is the newest.
        assert_eq!(account.saved().token, "new");
    }

    #[test]
    fn a_new_token_is_not_kept_where_the_user_has_logged_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server: Server = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let answers = std::thread::spawn(move || {
            for token in ["second", "third"] {
                let (mut socket, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    let mut part = [0; 1024];
                    let count = std::io::Read::read(&mut socket, &mut part).unwrap();
                    assert!(count > 0, "{}", String::from_utf8_lossy(&request));
                    request.extend_from_slice(&part[..count]);
                }
                let body =
                    json!({"username": "ann", "token": token, "refresh_token": "r2", "expires_in": 60}).to_string();
                let length = body.len();
                write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                    .unwrap();
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("session.json");
        let mut account = account(&server, opened("first"));
        account.remember(&file).unwrap();
        account.refresh_now().unwrap();
        assert_eq!(load(&file).unwrap().token, "second");
        fs::remove_file(&file).unwrap();
        account.refresh_now().unwrap();
        assert_eq!(account.saved().token, "third");
        assert!(!file.exists());
        answers.join().unwrap();
    }

    #[test]
    fn a_session_is_kept_for_its_user_and_its_server_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("session.json");
        let server: Server = "http://127.0.0.1:3000".parse().unwrap();
        let other: Server = "http://127.0.0.1:4000".parse().unwrap();
        let trust = Trust::new(None).unwrap();
        assert!(Account::remembered(&server, &trust, &file).is_none());
        let opened = Opened { username: "ann".into(), token: "t".into(), refresh_token: "r".into(), expires_in: 60 };
        let mut account = account(&server, opened);
        account.remember(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Account::remembered(&server, &trust, &file).unwrap().name(), "ann");
        assert!(Account::remembered(&other, &trust, &file).is_none());
        let shown = format!("{account:?}");
        assert!(shown.contains("ann") && !shown.contains("\"t\""), "{shown}");
    }
}
