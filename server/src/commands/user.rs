//! `chinwag user …` over [`Accounts`]: the same checks, hashes and revocations as over HTTP.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
};

use chinwag_schema::{error::ClientError, ids::UserId, limits::text::PASSWORD_MAX_BYTES, model::User};

use crate::{
    auth::{Accounts, service::Ban},
    config::{PasswordSource, UserCommand},
};

/// Accounts read at once by `list`.
const PAGE: usize = 500;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Refused: unknown or taken name, unfit password.
    #[error("{0}")]
    Refused(#[from] ClientError),
    #[error("the password can't be read: {0}")]
    Password(io::Error),
    #[error("can't write: {0}")]
    Output(io::Error),
    #[error(transparent)]
    Store(#[from] chinwag_actors::ports::StoreError),
}

/// Runs a command; reads a password from `input` unless a file is named, and writes what it did to `output`.
///
/// # Errors
/// When the store, the names or the password refuse; nothing was changed then.
pub async fn run(
    command: &UserCommand,
    accounts: &Accounts,
    input: impl Read,
    output: &mut impl Write,
) -> Result<(), CommandError> {
    let done = match command {
        UserCommand::Add { name, display_name, password } => {
            let password = read_password(password, input)?;
            let user = accounts.add_user(name, display_name.as_deref(), &password).await?;
            format!("added {} with id {}", printable(&user.name), user.id)
        }
        UserCommand::List => return list(accounts, output).await,
        UserCommand::Passwd { name, password } => {
            let password = read_password(password, input)?;
            let user = accounts.set_password(name, &password).await?;
            format!("set the password of {}; its sessions are over", printable(&user.name))
        }
        UserCommand::Ban { name, unban: false } => {
            let user = accounts.set_banned(name, Ban::Set).await?;
            format!("banned {}; its sessions are over", printable(&user.name))
        }
        UserCommand::Ban { name, unban: true } => {
            let user = accounts.set_banned(name, Ban::Lift).await?;
            format!("lifted the ban of {}", printable(&user.name))
        }
    };
    writeln!(output, "{done}").map_err(CommandError::Output)
}

async fn list(accounts: &Accounts, output: &mut impl Write) -> Result<(), CommandError> {
    let mut after = UserId(0);
    loop {
        let page = accounts.list_users(after, PAGE).await?;
        for user in &page {
            writeln!(output, "{}", line(user)).map_err(CommandError::Output)?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.id,
            _ => return Ok(()),
        }
    }
}

/// Writes an account in a line: id, name, display name, ban; separated by tabs.
fn line(user: &User) -> String {
    let shown = user.display_name.as_deref().map(printable).unwrap_or_default();
    format!("{}\t{}\t{shown}\t{}", user.id, printable(&user.name), if user.banned { "banned" } else { "" })
}

/// Makes a name safe for a terminal: bidirectional and other invisible marks are written as escapes.
fn printable(name: &str) -> String {
    name.chars()
        .flat_map(|c| if c.is_alphanumeric() || c == ' ' { vec![c] } else { c.escape_debug().collect() })
        .collect()
}

/// Reads the first line of a file or of `input`, at most the longest password and a little.
fn read_password(source: &PasswordSource, input: impl Read) -> Result<String, CommandError> {
    let reader: Box<dyn Read + '_> = match &source.password_file {
        Some(path) => Box::new(File::open(path).map_err(CommandError::Password)?),
        None => Box::new(input),
    };
    let mut line = String::new();
    // One byte more than allowed, so that a longer one is refused rather than cut.
    let mut reader = BufReader::new(reader.take(PASSWORD_MAX_BYTES as u64 + 3));
    reader.read_line(&mut line).map_err(CommandError::Password)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{auth::service::testing::Fixture, config::Command};

    /// Runs a command line with standard input; returns what it printed, or the error's text.
    async fn chinwag(fixture: &Fixture, args: &[&str], input: &str) -> Result<String, String> {
        let cli = crate::config::Cli::parse_from(["chinwag", "user"].iter().chain(args));
        let Some(Command::User(command)) = cli.command else { panic!("not a user command") };
        let mut output = Vec::new();
        let result = run(&command, &fixture.accounts, input.as_bytes(), &mut output).await;
        result.map(|()| String::from_utf8(output).unwrap()).map_err(|error| error.to_string())
    }

    #[actix_rt::test]
    async fn accounts_are_added_listed_banned_and_get_new_passwords() {
        let fixture = Fixture::new().await;
        let added = chinwag(&fixture, &["add", " ann ", "--display-name", "Ann"], "secret1\nrest\n").await.unwrap();
        assert!(added.starts_with("added ann with id "), "{added}");
        assert!(fixture.login("ann", "secret1").await.is_ok());

        chinwag(&fixture, &["passwd", "ann"], "secret2\r\n").await.unwrap();
        assert!(fixture.login("ann", "secret1").await.is_err());
        assert!(fixture.login("ann", "secret2").await.is_ok());

        chinwag(&fixture, &["ban", "ann"], "").await.unwrap();
        assert!(fixture.login("ann", "secret2").await.is_err());
        let listed = chinwag(&fixture, &["list"], "").await.unwrap();
        assert!(listed.contains("\tann\tAnn\tbanned"), "{listed}");
        chinwag(&fixture, &["ban", "ann", "--unban"], "").await.unwrap();
        assert!(fixture.login("ann", "secret2").await.is_ok());
    }

    #[actix_rt::test]
    async fn a_password_may_come_from_a_file() {
        let fixture = Fixture::new().await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-file\n").unwrap();
        chinwag(&fixture, &["add", "bob", "--password-file", file.path().to_str().unwrap()], "").await.unwrap();
        assert!(fixture.login("bob", "from-file").await.is_ok());
    }

    #[actix_rt::test]
    async fn what_is_refused_stores_nothing() {
        let fixture = Fixture::new().await;
        chinwag(&fixture, &["add", "ann"], "secret1\n").await.unwrap();
        let long = format!("{}\n", "x".repeat(1025));
        for (args, input, expected) in [
            (&["add", "ann"][..], "secret1\n", "Username already exists"),
            (&["add", "al"], "secret1\n", "Username must be at least 3 characters long"),
            (&["add", "bob"], "12345\n", "Password must be at least 6 characters long"),
            (&["add", "bob"], "", "Username and password are required"),
            (&["add", "bob"], &long, "Password must be at most 1024 bytes long"),
            (&["add", "bob", "--display-name", "a\u{7}b"], "secret1\n", "Display name must have 1 to 64 characters"),
            (&["passwd", "nobody"], "secret1\n", "User nobody does not exist."),
            (&["passwd", "ann"], "short\n", "Password must be at least 6 characters long"),
            (&["ban", "nobody"], "", "User nobody does not exist."),
            (&["add", "bob", "--password-file", "/nowhere"], "", "the password can't be read"),
        ] {
            let error = chinwag(&fixture, args, input).await.unwrap_err();
            assert!(error.starts_with(expected), "{args:?}: {error}");
        }
        assert_eq!(fixture.user_names().await, ["ann"]);
        assert!(fixture.login("ann", "secret1").await.is_ok(), "and the password is the old one");
    }

    #[test]
    fn listed_names_cannot_play_with_the_terminal() {
        assert_eq!(printable("a\u{202e}b zoë"), "a\\u{202e}b zoë");
    }
}
