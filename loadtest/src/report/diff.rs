//! `diff`: two results side by side: first what differs in how they were made, then what they found.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, path::PathBuf};

use anyhow::ensure;
use serde_json::Value;

use super::{
    format,
    model::{Delays, Figure, Report},
};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The earlier result (JSON)
    before: PathBuf,
    /// The later one
    after: PathBuf,
    /// Compares results of different scenarios, too
    #[arg(long)]
    anyway: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let (before, after) = (Report::read(&options.before)?, Report::read(&options.after)?);
    ensure!(
        options.anyway || before.scenario == after.scenario,
        "'{}' and '{}' are different scenarios, whose numbers mean different things: --anyway compares them",
        before.scenario,
        after.scenario
    );
    // A reader that has seen enough is no reason to fail.
    let _ = std::io::stdout().write_all(compare(&before, &after).as_bytes());
    Ok(())
}

/// A table's line: what, before, after, change.
type Line = [String; 4];

/// Compares two results; a text table, one line per figure, delay and count, with the change in percent.
pub fn compare(before: &Report, after: &Report) -> String {
    let mut text = String::new();
    section(&mut text, "Conditions", ["", "before", "after", ""], conditions(before, after));
    section(&mut text, "Figures", ["", "before", "after", "change"], figures(before, after));
    section(&mut text, "Delays (ms)", ["", "before", "after", "change"], delays(before, after));
    section(&mut text, "Phases (ms)", ["", "before", "after", "change"], phases(before, after));
    section(&mut text, "Counts", ["", "before", "after", "change"], counts(before, after));
    if text.contains(BEYOND) {
        let _ = writeln!(text, "\n{BEYOND}: no round of the one was like any round of the other.");
    }
    text
}

/// What marks a change that chance doesn't explain.
const BEYOND: &str = "beyond the ranges";

fn section(text: &mut String, title: &str, head: [&str; 4], lines: Vec<Line>) {
    if lines.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let mut rows = vec![head.map(str::to_owned)];
    rows[0][0] = title.to_owned();
    rows.extend(lines.into_iter().map(|[what, before, after, change]| [format!("  {what}"), before, after, change]));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (what, before, after) = (width(0), width(1), width(2));
    for row in &rows {
        // Widths count characters: µ and – are one.
        let line = format!("{:what$}  {:>before$}  {:>after$}  {}", row[0], row[1], row[2], row[3]);
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Everything that was set or given and isn't the same.
fn conditions(before: &Report, after: &Report) -> Vec<Line> {
    let (old, new) = (described(before), described(after));
    let mut names: Vec<_> = old.iter().map(|(name, _)| name).collect();
    names.extend(new.iter().map(|(name, _)| name).filter(|name| !old.iter().any(|(other, _)| other == *name)));
    let value = |of: &[(String, String)], name: &str| {
        of.iter().find(|(other, _)| other == name).map_or("–".to_owned(), |(_, value)| value.clone())
    };
    let mut lines: Vec<_> = names
        .into_iter()
        .map(|name| [name.clone(), value(&old, name), value(&new, name), String::new()])
        .filter(|[_, before, after, _]| before != after)
        .collect();
    let started = |report: &Report| format::moment(report.started_at_ms);
    lines.insert(0, ["started".into(), started(before), started(after), String::new()]);
    if lines.len() == 1 {
        lines.push(["all else".into(), "the same".into(), String::new(), String::new()]);
    }
    lines
}

/// Returns everything that may explain a difference, by name.
fn described(report: &Report) -> Vec<(String, String)> {
    let machine = &report.machine;
    let mut all = vec![
        ("scenario".to_owned(), report.scenario.clone()),
        ("load test version".to_owned(), report.version.clone()),
        ("protocol".to_owned(), report.protocol.clone()),
        ("seed".to_owned(), report.seed.to_string()),
        ("ended early".to_owned(), report.partial.clone().unwrap_or_else(|| "no".into())),
        ("system".to_owned(), machine.system.clone()),
        ("processor".to_owned(), machine.cpu.clone()),
        ("cores".to_owned(), machine.cores.to_string()),
        ("memory".to_owned(), format::bytes(machine.memory_bytes as f64)),
        ("servers".to_owned(), report.servers.len().to_string()),
    ];
    leaves("setting", &report.settings, &mut all);
    // What a health check says of the moment is no condition.
    for (index, server) in report.servers.iter().enumerate() {
        let name = if report.servers.len() > 1 { format!("server {}", index + 1) } else { "server".into() };
        for fact in ["version", "arguments", "unlimited"] {
            all.extend(server.get(fact).map(|value| (format!("{name} {fact}"), plain(value))));
        }
    }
    all
}

/// Flattens JSON: a line for each value, named by its path.
pub(super) fn leaves(name: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| {
            let name = if name.is_empty() { field.clone() } else { format!("{name} {field}") };
            leaves(&name, value, into);
        }),
        value => into.push((name.to_owned(), plain(value))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".into(),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(plain).collect();
            // Arguments of a command.
            values.join(if values[0].starts_with('-') { " " } else { ", " })
        }
        other => other.to_string(),
    }
}

fn figures(before: &Report, after: &Report) -> Vec<Line> {
    let names = before.figures.iter().chain(&after.figures);
    let mut seen = Vec::new();
    let mut lines = Vec::new();
    for Figure { name, unit, .. } in names {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let of = |report: &'_ Report| report.figures.iter().find(|figure| figure.name == *name).cloned();
        let (old, new) = (of(before), of(after));
        let changed = match (&old, &new) {
            (Some(old), Some(new)) if old.unit != new.unit => format!("in other units: {} and {}", old.unit, new.unit),
            (Some(old), Some(new)) => figure_change(old, new),
            _ => String::new(),
        };
        let named = if unit.is_empty() { name.clone() } else { format!("{name} ({})", format::unit(unit)) };
        lines.push([named, shown(old.as_ref()), shown(new.as_ref()), changed]);
        let held = |figure: &Option<Figure>| figure.as_ref().filter(|f| f.reference.is_some()).map(Figure::held);
        if let (Some(old), Some(new)) = (held(&old), held(&new)) {
            let cells = [format::number(old), format::number(new), change(old, new)];
            let [old, new, change] = cells;
            lines.push(["  beside its reference".into(), old, new, change]);
        }
    }
    lines
}

fn shown(figure: Option<&Figure>) -> String {
    let Some(figure) = figure else { return "–".into() };
    let value = format::number(figure.value);
    match figure.range {
        Some((least, most)) => format!("{value} ({} to {})", format::number(least), format::number(most)),
        None => value,
    }
}

fn figure_change(old: &Figure, new: &Figure) -> String {
    let change = change(old.value, new.value);
    match (old.range, new.range) {
        (Some(old), Some(new)) if old.1 < new.0 || new.1 < old.0 => format!("{change}  {BEYOND}"),
        _ => change,
    }
}

/// What is compared of delays.
type Stat = (&'static str, fn(&Delays) -> f64);
const STATS: [Stat; 4] = [("p50", |d| d.p50), ("p95", |d| d.p95), ("p99", |d| d.p99), ("max", |d| d.max)];

fn delays(before: &Report, after: &Report) -> Vec<Line> {
    let lines = pairs(&before.delays, &after.delays)
        .flat_map(|(name, old, new)| STATS.map(|(stat, of)| line(format!("{name} {stat}"), old.map(of), new.map(of))));
    lines.collect()
}

/// Compares the phases that both have, where there are no figures: those sum phases up.
fn phases(before: &Report, after: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    if !before.figures.is_empty() || !after.figures.is_empty() {
        return lines;
    }
    for old in &before.phases {
        let Some(new) = after.phases.iter().find(|new| new.name == old.name) else { continue };
        for (name, old_delays, new_delays) in pairs(&old.delays, &new.delays) {
            let told = STATS.into_iter().filter(|(stat, _)| *stat != "max");
            lines.extend(told.map(|(stat, of)| {
                line(format!("{}: {name} {stat}", old.name), old_delays.map(of), new_delays.map(of))
            }));
        }
    }
    lines
}

fn counts(before: &Report, after: &Report) -> Vec<Line> {
    let number = |value: Option<&u64>| value.map(|&value| value as f64);
    let mut lines: Vec<_> = pairs(&before.counts, &after.counts)
        .map(|(name, old, new)| line(name.to_owned(), number(old), number(new)))
        .collect();
    let delivered = |report: &Report| report.delays.get("delivered").map(|delays| delays.count as f64);
    if let (old @ Some(_), new) | (old, new @ Some(_)) = (delivered(before), delivered(after)) {
        lines.push(line("delivered".into(), old, new));
        lines.push(line("delivered per second".into(), before.deliveries_per_s(), after.deliveries_per_s()));
    }
    let violations = |report: &Report| Some(report.violation_count() as f64);
    lines.push(line("violations".into(), violations(before), violations(after)));
    for (kind, old, new) in pairs(&before.errors, &after.errors) {
        lines.push(line(format!("error: {kind}"), Some(number(old).unwrap_or(0.0)), Some(number(new).unwrap_or(0.0))));
    }
    lines
}

/// Pairs what two maps have under the same name.
fn pairs<'a, T>(
    old: &'a BTreeMap<String, T>,
    new: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a str, Option<&'a T>, Option<&'a T>)> {
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    names.into_iter().map(|name| (name.as_str(), old.get(name), new.get(name)))
}

fn line(what: String, old: Option<f64>, new: Option<f64>) -> Line {
    let cell = |value: Option<f64>| value.map_or("–".into(), format::number);
    let change = old.zip(new).map(|(old, new)| change(old, new)).unwrap_or_default();
    [what, cell(old), cell(new), change]
}

/// Writes a change in percent.
fn change(old: f64, new: f64) -> String {
    if !old.is_finite() || !new.is_finite() {
        return String::new();
    }
    match (new - old) / old.abs() * 100.0 {
        _ if old == new => "=".into(),
        percent if !percent.is_finite() => "from none".into(),
        percent if percent.abs() < 0.05 => "=".into(),
        percent if percent.abs() < 999.5 || new / old < 0.0 => format!("{percent:+.1} %"),
        _ => format!("× {}", format::number(new / old)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// A later run: another seed and version, twice the receivers, CPU beyond the range, a new error.
    fn later() -> Report {
        let mut report = sample::report();
        report.seed = 5;
        report.version = "0.2.0".into();
        report.settings["receivers"] = 2000.into();
        report.settings["compressed"] = true.into();
        report.figures[0].value = 1.5;
        report.figures[0].range = Some((1.4, 1.6));
        report.figures.remove(3);
        report.delays.get_mut("delivered").unwrap().p99 *= 2.0;
        report.errors.insert("timeout".into(), 7);
        report
    }

    fn row<'a>(text: &'a str, start: &str) -> &'a str {
        text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_else(|| panic!("no {start}: {text}"))
    }

    #[test]
    fn conditions_come_first_and_only_those_that_differ() {
        let text = compare(&sample::report(), &later());
        assert!(text.starts_with("Conditions"), "{text}");
        assert!(row(&text, "setting receivers").ends_with("1000                     2000"), "{text}");
        assert!(row(&text, "setting compressed").contains('–'));
        assert!(row(&text, "load test version").contains("0.2.0"));
        assert!(!text.contains("setting mode") && !text.contains("processor"), "{text}");
    }

    #[test]
    fn changes_are_in_percent_and_marked_beyond_the_ranges() {
        let text = compare(&sample::report(), &later());
        let cpu = row(&text, "CPU per delivery");
        assert!(cpu.contains("1.14 (1.09 to 1.21)") && cpu.ends_with("+31.6 %  beyond the ranges"), "{cpu}");
        assert!(row(&text, "delivered p99  ").ends_with("+100.0 %"));
        assert!(row(&text, "delivered p50").ends_with('='));
        assert!(row(&text, "error: timeout").ends_with("from none"));
        assert!(row(&text, "deliveries (per second)").contains('–'));
        let mut near = later();
        near.figures[0].range = Some((1.2, 1.6));
        assert!(!compare(&sample::report(), &near).contains(BEYOND));
    }

    #[test]
    fn phases_are_compared_where_there_are_no_figures() {
        let (mut before, mut after) = (sample::report(), sample::report());
        assert!(!compare(&before, &after).contains("Phases"));
        before.figures.clear();
        after.figures.clear();
        after.phases[1].delays.get_mut("delivered").unwrap().p95 *= 1.5;
        after.phases.remove(0);
        let text = compare(&before, &after);
        assert!(row(&text, "400 users: delivered p95").ends_with("+50.0 %"), "{text}");
        assert!(!text.contains("100 users"), "{text}");
    }

    #[test]
    fn changes_have_the_sign_of_their_direction() {
        for (old, new, text) in [
            (-2.0, 2.0, "+200.0 %"),
            (-2.0, -4.0, "-100.0 %"),
            (2.0, -2.0, "-200.0 %"),
            (-1.0, 30.0, "+3100.0 %"),
            (1.0, 30.0, "× 30"),
            (0.0, 0.0, "="),
            (0.0, 3.0, "from none"),
        ] {
            assert_eq!(change(old, new), text, "{old} to {new}");
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let text = compare(&sample::report(), &later());
        let end = |line: &str, word: &str| line[..line.find(word).unwrap() + word.len()].chars().count();
        let head = row(&text, "Figures");
        let cpu = row(&text, "CPU per delivery");
        assert_eq!((end(head, "before"), end(head, "after")), (end(cpu, "1.21)"), end(cpu, "1.6)")), "{text}");
        let p99 = row(&text, "delivered p99 (ms)");
        assert_eq!(end(head, "before"), end(p99, "12.4"), "{text}");
    }

    #[test]
    fn the_same_result_differs_in_nothing() {
        let text = compare(&sample::report(), &sample::report());
        assert!(text.contains("all else") && !text.contains('%'), "{text}");
    }

    #[test]
    fn other_scenarios_newer_formats_and_strange_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = |name: &str, report: &Report| {
            let path = directory.path().join(name);
            std::fs::write(&path, serde_json::to_vec(report).unwrap()).unwrap();
            path
        };
        let fails = |before: &PathBuf, after: &PathBuf, anyway| {
            run(&Options { before: before.clone(), after: after.clone(), anyway })
                .err()
                .map(|error| format!("{error:#}"))
        };
        let mut other = later();
        other.scenario = "storm".into();
        other.figures[0].value = f64::NAN;
        let (first, other) = (store("a.json", &sample::report()), store("b.json", &other));
        assert!(fails(&first, &other, false).unwrap().contains("'fanout' and 'storm' are different scenarios"));
        assert_eq!(fails(&first, &other, true), None);
        let newer = store("c.json", &Report { format: 99, ..later() });
        assert!(fails(&first, &newer, false).unwrap().contains("has format 99"));
        let strange = directory.path().join("d.json");
        std::fs::write(&strange, "{}").unwrap();
        assert!(fails(&strange, &first, false).unwrap().contains("isn't a result"));
        assert!(fails(&directory.path().join("none"), &first, false).unwrap().contains("can't read"));
    }
}
