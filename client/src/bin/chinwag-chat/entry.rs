//! Who logs in, and where: from the command line, from what was kept, or by asking.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use chinwag_client::{Account, Error, Login, Server, Trust, names};

use crate::{
    options::Options,
    store::{Last, Store, UserStore},
    text,
};

/// Offered when there is no last server: where `chinwag` listens by itself.
const HERE: &str = "http://127.0.0.1:3000";
/// A longer password is refused by the server, too.
const PASSWORD_MAX_BYTES: u64 = 1024;

/// A user at a server.
pub struct Entry {
    pub server: Server,
    pub trust: Trust,
    pub login: Login,
    pub store: UserStore,
}

/// Finds out who is to be connected where.
pub async fn enter(options: &Options, store: Store) -> anyhow::Result<Entry> {
    // Also with --plain somebody may sit there.
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let trust = Trust::new(options.ca.as_deref())?;
    let last = store.last();
    let server: Server = match (&options.server, &last) {
        (Some(server), _) => server.clone(),
        (None, Some(last)) => last.server.clone(),
        (None, None) if asks => ask("Server", Some(HERE))?,
        (None, None) => bail!("which server? Say --server URL"),
    }
    .parse()?;
    let last = last.filter(|last| last.server == server.to_string());
    let (name, guest) = match (&options.name, last) {
        (Some(name), _) => (name.clone(), options.guest),
        (None, Some(last)) if last.guest == options.guest || !options.guest => (last.name, last.guest),
        _ if asks => (ask("Name", None)?, options.guest),
        _ => bail!("who are you? Say --name NAME"),
    };
    let login = if guest {
        Login::Guest(names::rooms_username(&name)?.to_owned())
    } else {
        log_in(options, &store, &server, &trust, &name, asks).await?
    };
    let (name, guest) = match &login {
        Login::Guest(name) => (name.clone(), true),
        Login::Account(account) => (account.name(), false),
    };
    store.keep_last(&Last { server: server.to_string(), name: name.clone(), guest })?;
    let store = store.of(&server, &name, guest)?;
    let login = match login {
        Login::Account(mut account) => {
            account.remember(&store.session())?;
            Login::Account(account)
        }
        guest => guest,
    };
    Ok(Entry { server, trust, login, store })
}

async fn log_in(
    options: &Options,
    store: &Store,
    server: &Server,
    trust: &Trust,
    name: &str,
    asks: bool,
) -> anyhow::Result<Login> {
    let session = store.of(server, name, false)?.session();
    if options.password_file.is_none()
        && let Some(account) = Account::remembered(server, trust, &session)
    {
        return Ok(Login::Account(account));
    }
    if server.is_exposed() {
        eprintln!("Beware: {server} isn't encrypted, others on the way can read your password and messages.");
    }
    let password = match &options.password_file {
        Some(path) => of_file(path)?,
        None if asks => {
            let asked = "Password (none: in as a guest): ";
            rpassword::prompt_password(asked).context("can't ask for the password")?
        }
        None => bail!("{name} isn't logged in here: say --password-file FILE, or --guest"),
    };
    if password.is_empty() && options.password_file.is_none() {
        return Ok(Login::Guest(names::rooms_username(name)?.to_owned()));
    }
    if options.register {
        match Account::register(server, trust, name, &password).await {
            // It exists: the password decides.
            Err(Error::Account { status: 409, .. }) => {}
            other => other.with_context(|| format!("can't make the account {name}"))?,
        }
    }
    let refused = match Account::login(server, trust, name, &password).await {
        Err(Error::Account { status: 401, message, .. }) => message,
        other => return Ok(Login::Account(other.context("can't log in")?)),
    };
    ensure!(asks && !options.register, "can't log in as {name}: {refused}");
    eprintln!("{}.", text::line(&refused));
    let yes = ask(&format!("Make a new account '{name}' with this password? (y/n)"), Some("n"))?;
    ensure!(yes.to_lowercase().starts_with('y'), "not logged in");
    let again = rpassword::prompt_password("The password again: ").context("can't ask for the password")?;
    ensure!(again == password, "these aren't the same");
    Account::register(server, trust, name, &password)
        .await
        .with_context(|| format!("can't make the account {name}"))?;
    Ok(Login::Account(Account::login(server, trust, name, &password).await.context("can't log in")?))
}

/// Asks on the terminal, beside what the program prints.
fn ask(what: &str, default: Option<&str>) -> anyhow::Result<String> {
    match default {
        Some(default) => eprint!("{what} [{default}]: "),
        None => eprint!("{what}: "),
    }
    io::stderr().flush()?;
    let mut answer = String::new();
    ensure!(io::stdin().lock().read_line(&mut answer)? > 0, "no answer");
    let answer = answer.trim();
    match (answer, default) {
        ("", Some(default)) => Ok(default.to_owned()),
        ("", None) => bail!("{what} is needed"),
        (answer, _) => Ok(answer.to_owned()),
    }
}

fn of_file(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("can't read {}", path.display()))?;
    let mut line = String::new();
    BufReader::new(file.take(PASSWORD_MAX_BYTES + 2)).read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "{} begins with an empty line: no password", path.display());
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "correct horse\r\nnot this\n").unwrap();
        assert_eq!(of_file(file.path()).unwrap(), "correct horse");
        std::fs::write(file.path(), "\n").unwrap();
        assert!(of_file(file.path()).unwrap_err().to_string().contains("no password"));
        assert!(of_file(Path::new("/nowhere/password")).is_err());
    }
}
