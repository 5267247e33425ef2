//! `chinwag explain MESSAGE --user NAME`: how a message got to a user, or where it stopped.

use std::io::{self, Write as _};

use anyhow::ensure;
use serde_json::Value;

use super::{
    ask::Operations,
    top::{ended_by_reader, printable},
};
use crate::{
    bootstrap::Failure,
    config::{Config, ExplainArgs},
};

/// Runs `chinwag explain`.
///
/// # Errors
/// When the server doesn't answer, or there is no such user or message.
pub fn run(config: &Config, args: &ExplainArgs) -> Result<(), Failure> {
    let operations = Operations::of(config, args.address)?;
    let answer = operations.get(&path(args)?)?;
    let text = if args.json { format!("{answer:#}\n") } else { told(&answer) };
    ended_by_reader(io::stdout().write_all(text.as_bytes()))?;
    Ok(())
}

fn path(args: &ExplainArgs) -> anyhow::Result<String> {
    for (name, id) in [("the message", Some(&args.message)), ("--conversation", args.conversation.as_ref())] {
        let id = id.map_or("0", String::as_str);
        ensure!(!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()), "{name}: ids are decimal numbers");
    }
    let mut path = format!("explain?message={}&user={}", args.message, encoded(&args.user));
    if let Some(conversation) = &args.conversation {
        path += &format!("&conversation={conversation}");
    }
    Ok(path)
}

/// Percent-encodes all but letters and digits.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn told(answer: &Value) -> String {
    let text_of = |value: &Value| printable(value.as_str().unwrap_or("?"));
    let mut text = String::new();
    for step in answer["steps"].as_array().into_iter().flatten() {
        text += &format!("{:<13} {:<8} {}\n", text_of(&step["step"]), text_of(&step["state"]), text_of(&step["text"]));
    }
    text + "\n" + &text_of(&answer["verdict"]) + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_asked_for_whole_and_ids_are_numbers() {
        let args = |message: &str, conversation: Option<&str>| ExplainArgs {
            message: message.to_owned(),
            user: "zoë&x".to_owned(),
            conversation: conversation.map(str::to_owned),
            json: false,
            address: None,
        };
        assert_eq!(path(&args("7", Some("8"))).unwrap(), "explain?message=7&user=zo%C3%AB%26x&conversation=8");
        assert!(
            path(&args("7&x=1", None)).is_err()
                && path(&args("", None)).is_err()
                && path(&args("7", Some("a"))).is_err()
        );
    }

    #[test]
    fn steps_are_lines() {
        let steps = json!([{"step": "stored", "state": "yes", "text": "position 4"}]);
        let text = told(&json!({"steps": steps, "verdict": "It was read."}));
        assert_eq!(text, "stored        yes      position 4\n\nIt was read.\n");
    }
}
