//! `chinwag actors`: the kinds of actors of a running server, or the busiest single ones of a kind, for scripts.

use std::io::{self, Write as _};

use serde_json::Value;

use super::{
    ask::Operations,
    top::{Kinds, ended_by_reader, printable},
};
use crate::{
    bootstrap::Failure,
    config::{ActorsArgs, Config},
};

/// Runs `chinwag actors`.
///
/// # Errors
/// When the server doesn't answer, or knows no such kind.
pub fn run(config: &Config, args: &ActorsArgs) -> Result<(), Failure> {
    let operations = Operations::of(config, args.address)?;
    let text = match &args.kind {
        Some(kind) => {
            let bad = !kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if bad {
                return Err(anyhow::anyhow!("--kind: names of kinds are lower-case letters and '_'").into());
            }
            let answer = operations.get(&format!("actors?kind={kind}&top={}", args.top))?;
            if args.json { pretty(&answer) } else { busiest(&answer) }
        }
        None => {
            let answer = operations.get("actors")?;
            if args.json { pretty(&answer) } else { Kinds::default().table(&answer, None) }
        }
    };
    ended_by_reader(io::stdout().write_all(text.as_bytes()))?;
    Ok(())
}

fn pretty(answer: &Value) -> String {
    format!("{answer:#}\n")
}

/// One actor a line: rate, what waits, and its state as JSON.
fn busiest(answer: &Value) -> String {
    let mut text = format!("{:>10} {:>8}  STATE\n", "RATE/s", "WAITING");
    for actor in answer["busiest"].as_array().into_iter().flatten() {
        let (rate, waiting) = (actor["handled_per_s"].as_f64().unwrap_or(0.0), actor["mailbox_depth"].to_string());
        text += &format!("{rate:>10.1} {waiting:>8}  {}\n", printable(&actor["state"].to_string()));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn single_actors_are_a_line_each() {
        let actor = json!({"handled_per_s": 12.34, "mailbox_depth": 5, "state": {"name": "Tea\u{1b}[2J"}});
        let text = busiest(&json!({"busiest": [actor]}));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[1].starts_with("      12.3        5  {\"name\":"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
