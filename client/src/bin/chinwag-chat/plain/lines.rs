//! What is printed: one harmless line at a time.

use std::io::{self, Write};

use chinwag_client::wire::{LoggedEvent, LoggedKind};

use crate::{slash::HISTORY_MAX, text};

/// Shows an event of a log in one line; `None`: it isn't shown.
pub fn line_of(event: &LoggedEvent) -> Option<String> {
    let name = text::line(&event.sender.name);
    let content = text::line(event.content.as_deref().unwrap_or_default());
    Some(match event.event {
        LoggedKind::Message if event.deleted => format!("{name}: [Message deleted]"),
        LoggedKind::Message => format!("{name}: {content}"),
        LoggedKind::Edited if event.content.is_some() => format!("{name} edited: {content}"),
        LoggedKind::Deleted => format!("{name} deleted a message"),
        LoggedKind::MemberJoined => format!("* {name} joined"),
        LoggedKind::MemberLeft => format!("* {name} left"),
        LoggedKind::Edited | LoggedKind::Unknown => return None,
    })
}

/// Says what came before this run, and how to see it.
pub fn unread_line(unread: u64, label: &str, name: &str) -> String {
    format!("* {unread} unread in {label}; /open {name}, then /history {} shows them", unread.min(HISTORY_MAX as u64))
}

/// Prints a line at once. Nobody is left to be told when the reader has gone: the program ends as `SIGPIPE` would have it.
pub fn say(line: &str) {
    if write_line(&mut io::stdout().lock(), line).is_err() {
        std::process::exit(0);
    }
}

/// Writes one harmless line, whoever its words are from: users, the server's errors, an operator.
fn write_line(out: &mut impl Write, line: &str) -> io::Result<()> {
    writeln!(out, "{}", text::line(line))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use chinwag_client::Error;

    use super::*;

    #[test]
    fn no_word_of_the_server_reaches_the_terminal_as_more_than_a_word() {
        let error = Error::Account { status: 400, code: String::new(), message: "no\u{1b}[2J\nann: forged".into() };
        let mut out = Vec::new();
        write_line(&mut out, &format!("* {error}")).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "* no\u{fffd}[2J⏎ann: forged\n");
        let line = unread_line(3, "@Bob", "bob");
        assert_eq!(line, "* 3 unread in @Bob; /open bob, then /history 3 shows them");
    }
}
