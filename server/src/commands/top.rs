//! `chinwag top`: a running server at a glance, again and again.
//!
//! Plain text and two escape sequences: it works in any terminal, in a pipe, and with `--once` in a script.

use std::{
    collections::HashMap,
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::ask::Operations;
use crate::{
    bootstrap::Failure,
    config::{Config, TopArgs},
};

/// Rates need two looks; for a single frame they are this far apart.
const APART: Duration = Duration::from_secs(1);
/// Where nobody knows the width of the terminal.
const WIDTH: usize = 110;
/// Goes to the top left; what is written over is cleared line by line, so that nothing flickers.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K\n";
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[2J";
/// Conversations and slow readers shown.
const SHOWN: usize = 8;

/// Runs `chinwag top`.
///
/// # Errors
/// When the server doesn't answer.
pub fn run(config: &Config, args: &TopArgs) -> Result<(), Failure> {
    let operations = Operations::of(config, args.address)?;
    let every = Duration::from_secs_f64(args.every.clamp(0.5, 3600.0));
    let mut kinds = Kinds::default();
    let mut output = io::stdout().lock();
    let terminal = output.is_terminal() && !args.once;
    // The first look has nothing to compare with.
    frame(&operations, &mut kinds)?;
    thread::sleep(APART.min(every));
    if terminal {
        ended_by_reader(output.write_all(CLEAR_ALL.as_bytes()))?;
    }
    loop {
        let text = frame(&operations, &mut kinds)?;
        let written = match (terminal, size()) {
            (true, size) => output.write_all(fitted(&text, size).as_bytes()),
            (false, _) => writeln!(output, "{text}"),
        };
        if args.once || !ended_by_reader(written.and_then(|()| output.flush()))? {
            return Ok(());
        }
        thread::sleep(every);
    }
}

/// Says whether the reader is still there: one that closed its end of the pipe has seen enough.
pub(super) fn ended_by_reader(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns columns and rows of the terminal.
fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 1).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// Makes a frame that fits: longer lines and more rows would scroll.
fn fitted(text: &str, size: Option<(usize, usize)>) -> String {
    let (columns, rows) = size.unwrap_or((WIDTH, usize::MAX));
    let lines = text.lines().take(rows - 1).map(|line| line.chars().take(columns).collect::<String>() + CLEAR_LINE);
    HOME.to_owned() + &lines.collect::<String>() + CLEAR_BELOW
}

fn frame(operations: &Operations, kinds: &mut Kinds) -> anyhow::Result<String> {
    let overview = operations.get("overview")?;
    let actors = operations.get("actors")?;
    let conversations = operations.get(&format!("conversations?limit={SHOWN}"))?;
    let sockets = operations.get(&format!("sockets?limit={SHOWN}"))?;
    let mut text = head(&overview);
    text += "\n";
    text += &kinds.table(&actors, Some(Instant::now()));
    text += "\n";
    text += &busy(&conversations);
    text += "\n";
    text += &slow(&sockets);
    Ok(text)
}

fn head(overview: &Value) -> String {
    let (node, sockets, rates) = (&overview["node"], &overview["sockets"], &overview["rates"]);
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let mut text = format!(
        "chinwag {}  {}  {}  up {}\n",
        node["version"].as_str().unwrap_or("?"),
        node["name"].as_str().unwrap_or("?"),
        node["status"].as_str().unwrap_or("?"),
        span(number(&node["uptime_s"])),
    );
    text += &format!(
        "sockets {}  users {}  messages/s {}  frames/s {}  append p99 {}  cpu {:.0} %  memory {}\n",
        sockets["open"],
        sockets["users"],
        rate(number(&rates["messages_per_s"])),
        rate(number(&rates["frames_written_per_s"])),
        rates["append_p99_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{ms:.1} ms")),
        number(&rates["cpu_percent"]),
        bytes(number(&node["memory_bytes"])),
    );
    let breakers = overview["breakers"].as_array().into_iter().flatten();
    let open: Vec<_> = breakers
        .filter(|breaker| breaker["state"] != "CLOSED")
        .map(|breaker| {
            let (store, state) = (breaker["store"].as_str().unwrap_or("?"), breaker["state"].as_str().unwrap_or("?"));
            format!("{store} {state}")
        })
        .collect();
    let shed = &overview["shedding"];
    text += &format!(
        "breakers {}  outboxes {}  left out {}  refused {}  slow closes {}\n",
        if open.is_empty() { "closed".to_owned() } else { open.join(", ") },
        bytes(number(&overview["outbox"]["bytes"])),
        shed["events_in_gaps"],
        number(&shed["mailbox_refused"]) + number(&shed["rate_limited"]) + number(&shed["spam"]),
        shed["slow_closes"],
    );
    if let Some(owned) = overview["cluster"]["shards_of"].as_object() {
        let owned: Vec<_> = owned.iter().map(|(node, count)| format!("{node}: {count}")).collect();
        text += &format!("shards by node  {}\n", owned.join("  "));
    }
    text
}

fn busy(conversations: &Value) -> String {
    let mut text = format!(
        "{:<32} {:<6} {:>9} {:>9} {:>8}\n",
        format!("CONVERSATION ({} awake)", conversations["awake"]),
        "KIND",
        "EVENTS/s",
        "SOCKETS",
        "WAITING"
    );
    for row in conversations["shown"].as_array().into_iter().flatten() {
        let name = row["name"].as_str().or(row["conversation"].as_str()).unwrap_or("?");
        text += &format!(
            "{:<32} {:<6} {:>9} {:>9} {:>8}\n",
            cut(name, 32),
            row["kind"].as_str().unwrap_or("?"),
            row["events_per_s"].as_f64().map_or("-".to_owned(), rate),
            row["sockets"].as_u64().unwrap_or(0),
            row["mailbox_depth"].as_u64().unwrap_or(0),
        );
    }
    text
}

fn slow(sockets: &Value) -> String {
    let slow: Vec<_> =
        sockets["shown"].as_array().into_iter().flatten().filter(|socket| !socket["slow"].is_null()).collect();
    if slow.is_empty() {
        return format!("no slow reader among {} sockets\n", sockets["sockets"]);
    }
    let title = format!("SLOW READER ({})", sockets["slow"]);
    let mut text = format!("{title:<32} {:<16} {:>9} {:>9}  WHY\n", "SOCKET", "OLDEST", "WAITING");
    for socket in slow {
        text += &format!(
            "{:<32} {:<16} {:>9} {:>9}  {}\n",
            cut(socket["user"].as_str().unwrap_or("not logged in"), 32),
            socket["socket"].as_str().unwrap_or("?"),
            span(socket["lag_ms"].as_f64().unwrap_or(0.0) / 1000.0),
            bytes(socket["outbox_bytes"].as_f64().unwrap_or(0.0)),
            socket["slow"].as_str().unwrap_or("?"),
        );
    }
    text
}

/// What the last look saw of each kind, for rates.
#[derive(Default)]
pub(super) struct Kinds {
    before: HashMap<String, (Instant, u64, Vec<u64>)>,
}

impl Kinds {
    /// Writes the table of kinds. Rate and percentiles are of the time since the last look; without one, percentiles are of all time.
    pub(super) fn table(&mut self, actors: &Value, now: Option<Instant>) -> String {
        let bounds = numbers(&actors["buckets_us"]);
        let mut text = format!(
            "{:<16} {:>7} {:>8} {:>14} {:>9} {:>8} {:>8} {:>8} {:>8}\n",
            "ACTOR", "LIVE", "WAITING", "FULLEST", "RATE/s", "P50", "P99", "REFUSED", "RESTARTS"
        );
        for kind in actors["kinds"].as_array().into_iter().flatten() {
            let name = kind["kind"].as_str().unwrap_or("?");
            let (handled, buckets) = (kind["handled"].as_u64().unwrap_or(0), numbers(&kind["buckets"]));
            let before = now.and_then(|now| self.before.insert(name.to_owned(), (now, handled, buckets.clone())));
            let (mut lately, mut per_s) = (buckets.clone(), None);
            if let (Some((at, known, counts)), Some(now)) = (before, now) {
                per_s = Some(handled.saturating_sub(known) as f64 / (now - at).as_secs_f64().max(0.001));
                lately.iter_mut().zip(&counts).for_each(|(count, known)| *count = count.saturating_sub(*known));
                if lately.iter().sum::<u64>() == 0 {
                    lately = buckets;
                }
            }
            let fullest = format!("{}/{}", kind["mailbox_depth_max"], kind["mailbox_bound"]);
            let p = |share| percentile(&bounds, &lately, share);
            text += &format!(
                "{name:<16} {:>7} {:>8} {fullest:>14} {:>9} {:>8} {:>8} {:>8} {:>8}\n",
                kind["live"].to_string(),
                kind["mailbox_depth"].to_string(),
                per_s.map_or("-".to_owned(), rate),
                p(0.5),
                p(0.99),
                kind["refused"].to_string(),
                kind["restarts"].to_string(),
            );
        }
        text
    }
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

/// Writes the upper bound of the bucket in which a percentile lies.
fn percentile(bounds_us: &[u64], counts: &[u64], share: f64) -> String {
    let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (index, count) in counts.iter().enumerate() {
        seen += count;
        if wanted > 0 && seen >= wanted {
            return match (bounds_us.get(index), bounds_us.last()) {
                (Some(&us), _) if us < 1000 => format!("{us}us"),
                (Some(&us), _) => format!("{}ms", us / 1000),
                (None, Some(&us)) => format!(">{}ms", us / 1000),
                (None, None) => break,
            };
        }
    }
    "-".to_owned()
}

fn rate(per_s: f64) -> String {
    if per_s > 0.0 && per_s < 10.0 { format!("{per_s:.1}") } else { format!("{per_s:.0}") }
}

fn bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.0} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

fn cut(name: &str, chars: usize) -> String {
    printable(name).chars().take(chars).collect()
}

/// Makes a text of others safe for a terminal: what isn't visible is written as an escape.
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ';
    text.chars().flat_map(|c| if safe(c) { vec![c] } else { c.escape_debug().collect() }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn actors(handled: u64, buckets: [u64; 3]) -> Value {
        json!({"buckets_us": [10, 2000], "kinds": [{
            "kind": "room", "live": 2, "mailbox_depth": 7, "mailbox_depth_max": 6, "mailbox_bound": 8192,
            "handled": handled, "buckets": buckets, "refused": 1, "restarts": 0,
        }]})
    }

    #[test]
    fn rates_and_percentiles_are_of_the_time_between_two_looks() {
        let (mut kinds, start) = (Kinds::default(), Instant::now());
        let first = kinds.table(&actors(1000, [1000, 0, 0]), Some(start));
        assert!(first.lines().nth(1).unwrap().contains(" - "), "{first}");
        let second = kinds.table(&actors(1100, [1000, 90, 10]), Some(start + Duration::from_secs(2)));
        let columns: Vec<_> = second.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(columns, ["room", "2", "7", "6/8192", "50", "2ms", ">2ms", "1", "0"]);
    }

    #[test]
    fn a_frame_fits_its_terminal() {
        let frame = fitted("aaaa\nbbbb\ncccc\n", Some((3, 3)));
        assert_eq!(frame, format!("{HOME}aaa{CLEAR_LINE}bbb{CLEAR_LINE}{CLEAR_BELOW}"));
    }

    #[test]
    fn slow_readers_are_named_and_cannot_play_with_the_terminal() {
        let socket = json!({"user": "ca\u{1b}rol", "socket": "0-1-2-3", "lag_ms": 4200, "outbox_bytes": 2048, "slow": "events wait"});
        let text = slow(&json!({"sockets": 3, "slow": 1, "shown": [socket, {"user": "bob", "slow": null}]}));
        assert!(text.contains("ca\\u{1b}rol") && text.contains("4.2 s") && text.contains("2 KiB"), "{text}");
        assert!(!text.contains("bob"), "{text}");
        assert!(slow(&json!({"sockets": 3, "slow": 0, "shown": []})).starts_with("no slow reader among 3"));
    }
}
