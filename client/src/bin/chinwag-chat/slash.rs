//! What a line means: a message, or one of the slash commands.

use chinwag_client::ConversationId;

/// Messages that `/history` shows at most.
pub const HISTORY_MAX: usize = 1000;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slash {
    /// To a room by name, which is made if need be, or to a group by its id.
    Join(String),
    Leave,
    Rooms(usize),
    Users,
    Stats,
    Me,
    Help,
    Clear,
    Quit,
    Logout,
    /// Opens the chat with a user, and says something there.
    Msg(String, Option<String>),
    Group(String),
    /// Changes the user's newest message here.
    Edit(String),
    /// Deletes the user's newest message here.
    Delete,
    /// Pages so many more messages.
    History(usize),
    /// Opens a conversation of the list by name.
    Open(String),
    /// Tries what wasn't sent again.
    Retry,
    /// Gives up what wasn't sent.
    Discard,
    /// The name that others see; none removes it.
    Nick(Option<String>),
    /// The id of this conversation, by which others join a group.
    Id,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Nothing,
    Text(String),
    Command(Slash),
    /// What is wrong with it.
    Wrong(String),
}

/// All commands, for help and completion: name, arguments, what it does.
pub const COMMANDS: &[(&str, &str, &str)] = &[
    ("join", "ROOM | #GROUP-ID", "talk in a public room (made if there is none), or join a group by its id"),
    ("open", "NAME", "go to a conversation of your list"),
    ("msg", "USER [TEXT]", "chat with a user"),
    ("group", "NAME", "make a group; its /id is the way in for others"),
    ("leave", "", "leave this room or group"),
    ("rooms", "[N]", "list the active rooms"),
    ("users", "", "list who is here"),
    ("history", "[N]", "load N older messages (50)"),
    ("edit", "TEXT", "change your newest message here"),
    ("delete", "", "delete your newest message here"),
    ("retry", "", "send again what was refused"),
    ("discard", "", "give up what wasn't sent"),
    ("id", "", "show this conversation's id"),
    ("nick", "[NAME]", "set or remove the name that others see"),
    ("me", "", "show who you are"),
    ("stats", "", "show figures of the server"),
    ("clear", "", "forget what is on the screen, not on the server"),
    ("help", "", "show this"),
    ("logout", "", "end the session and the program"),
    ("quit", "", "end the program; you stay logged in"),
];

/// Reads a line. `//` begins a message with a slash.
pub fn read(line: &str) -> Line {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Line::Nothing;
    }
    let Some(rest) = trimmed.strip_prefix('/') else { return Line::Text(line.to_owned()) };
    if rest.starts_with('/') {
        return Line::Text(rest.to_owned());
    }
    let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match command(&name.to_lowercase(), arguments.trim()) {
        Ok(command) => Line::Command(command),
        Err(wrong) => Line::Wrong(wrong),
    }
}

fn command(name: &str, arguments: &str) -> Result<Slash, String> {
    let text = |what: &str| match arguments {
        "" => Err(format!("/{name} needs {what}")),
        arguments => Ok(arguments.to_owned()),
    };
    let number = |default: usize, max: usize| match arguments {
        "" => Ok(default),
        arguments => match arguments.parse() {
            Ok(number) if (1..=max).contains(&number) => Ok(number),
            _ => Err(format!("/{name}: '{arguments}' is no number from 1 to {max}")),
        },
    };
    Ok(match name {
        "join" | "j" => Slash::Join(text("the name of a room, or # and the id of a group")?),
        "open" | "o" => Slash::Open(text("the name of a conversation")?),
        "leave" | "part" => Slash::Leave,
        "rooms" | "list" => Slash::Rooms(number(20, 200)?),
        "users" | "who" | "names" => Slash::Users,
        "stats" => Slash::Stats,
        "me" | "whoami" => Slash::Me,
        "help" | "h" | "?" => Slash::Help,
        "clear" => Slash::Clear,
        "quit" | "q" | "exit" => Slash::Quit,
        "logout" => Slash::Logout,
        "msg" | "m" | "chat" => {
            let arguments = text("the name of a user")?;
            match arguments.split_once(char::is_whitespace) {
                Some((user, words)) => Slash::Msg(user.to_owned(), Some(words.trim().to_owned())),
                None => Slash::Msg(arguments, None),
            }
        }
        "group" => Slash::Group(text("a name")?),
        "edit" | "e" => Slash::Edit(text("the new text")?),
        "delete" | "del" => Slash::Delete,
        "history" => Slash::History(number(50, HISTORY_MAX)?),
        "retry" => Slash::Retry,
        "discard" => Slash::Discard,
        "nick" => Slash::Nick((!arguments.is_empty()).then(|| arguments.to_owned())),
        "id" => Slash::Id,
        _ => return Err(format!("Unknown command: {name} (/help lists them)")),
    })
}

/// Reads `#ID` of a group.
pub fn group_id(text: &str) -> Option<ConversationId> {
    text.strip_prefix('#')?.parse().ok()
}

/// Completes the name of a command.
pub fn complete(line: &str) -> Option<String> {
    let begun = line.strip_prefix('/').filter(|begun| !begun.contains(char::is_whitespace))?;
    let mut fitting = COMMANDS.iter().filter(|(name, ..)| name.starts_with(begun));
    let (name, ..) = fitting.next()?;
    fitting.next().is_none().then(|| format!("/{name} "))
}

/// Returns the help, a line a command.
pub fn help() -> Vec<String> {
    let usage = |(name, arguments, does): &(&str, &str, &str)| format!("{:<24} {does}", format!("/{name} {arguments}"));
    COMMANDS.iter().map(usage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_commands_or_wrong() {
        assert_eq!(read("  "), Line::Nothing);
        assert_eq!(read(" hi there"), Line::Text(" hi there".into()));
        assert_eq!(read("//etc"), Line::Text("/etc".into()));
        assert_eq!(read("/join  tea room "), Line::Command(Slash::Join("tea room".into())));
        assert_eq!(read("/MSG bob hi  you"), Line::Command(Slash::Msg("bob".into(), Some("hi  you".into()))));
        assert_eq!(read("/msg bob"), Line::Command(Slash::Msg("bob".into(), None)));
        assert_eq!(read("/rooms"), Line::Command(Slash::Rooms(20)));
        assert_eq!(read("/nick"), Line::Command(Slash::Nick(None)));
        let wrong = |line: &str| match read(line) {
            Line::Wrong(wrong) => wrong,
            other => panic!("{line}: {other:?}"),
        };
        assert!(wrong("/join").contains("needs the name of a room"));
        assert!(wrong("/rooms 0").contains("1 to 200"));
        assert!(wrong("/history x").contains("'x' is no number from 1 to 1000"));
        assert!(wrong("/frobnicate").contains("Unknown command: frobnicate"));
    }

    #[test]
    fn every_command_that_help_names_exists_and_is_completed() {
        for (name, ..) in COMMANDS {
            assert!(!matches!(read(&format!("/{name} 7")), Line::Wrong(_)), "{name}");
        }
        assert_eq!(complete("/hi"), Some("/history ".into()));
        assert_eq!(complete("/h"), None);
        assert_eq!(complete("/msg bob"), None);
        assert_eq!(complete("hi"), None);
        assert_eq!(group_id("#7352"), Some(ConversationId(7352)));
        assert_eq!((group_id("7352"), group_id("#tea")), (None, None));
    }
}
