//! The report as plain text, for the terminal.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::report::{
    format::{count, number, seconds},
    model::{Delays, Figure, Report},
};

/// Kinds of errors and violations that are printed; all are in the report.
const LINES_MAX: usize = 10;

/// Writes the summary.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = write_all(&mut text, report);
    text
}

fn write_all(text: &mut String, report: &Report) -> std::fmt::Result {
    let (scenario, protocol, seed) = (&report.scenario, &report.protocol, report.seed);
    writeln!(text, "{scenario}: {protocol}, {}, seed {seed}", seconds(report.took_s))?;
    if let Some(why) = &report.partial {
        writeln!(text, "  PARTIAL: {why}")?;
    }
    let width = report.figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
    for figure in &report.figures {
        writeln!(text, "  {:width$}  {}", figure.name, told(figure))?;
    }
    let width = report.phases.iter().map(|phase| phase.name.chars().count() + 2).max().unwrap_or(0).max(16);
    if !report.delays.is_empty() {
        let (delays, n) = ("delays, ms", "count");
        writeln!(text, "  {delays:width$}{n:>12}{:>10}{:>10}{:>10}{:>10}{:>10}", "p50", "p95", "p99", "p99.9", "max")?;
    }
    for phase in &report.phases {
        writeln!(text, "    {}, {}", phase.name, seconds(phase.to_s - phase.from_s))?;
        write_delays(text, &phase.delays, width)?;
    }
    if !report.phases.is_empty() && !report.delays.is_empty() {
        writeln!(text, "    all")?;
    }
    write_delays(text, &report.delays, width)?;
    let counts: Vec<String> = report.counts.iter().map(|(name, n)| format!("{name} {}", count(*n))).collect();
    writeln!(text, "  counts: {}", counts.join(", "))?;
    write_errors(text, &report.errors)?;
    let checked = report.checked;
    let (messages, deliveries) = (count(checked.messages), count(checked.deliveries));
    let found = match report.violation_count() {
        0 if checked.messages == 0 => {
            writeln!(text, "  checked: no messages")?;
            return Ok(());
        }
        0 => "nothing lost, repeated or out of order".to_owned(),
        1 => "1 violation".to_owned(),
        more => format!("{} violations", count(more)),
    };
    writeln!(
        text,
        "  checked: {messages} messages, {deliveries} deliveries, {} histories: {found}",
        count(checked.histories)
    )?;
    for violation in report.violations.iter().take(LINES_MAX) {
        writeln!(text, "    {violation}")?;
    }
    Ok(())
}

fn write_delays(text: &mut String, delays: &BTreeMap<String, Delays>, width: usize) -> std::fmt::Result {
    for (name, of) in delays {
        write!(text, "      {name:0$}{1:>12}", width.saturating_sub(4), count(of.count))?;
        for delay in [of.p50, of.p95, of.p99, of.p999, of.max] {
            write!(text, "{:>10}", number(delay))?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn write_errors(text: &mut String, errors: &BTreeMap<String, u64>) -> std::fmt::Result {
    writeln!(text, "  errors: {}", count(errors.values().sum()))?;
    let mut kinds: Vec<_> = errors.iter().collect();
    kinds.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    for (kind, n) in kinds.iter().take(LINES_MAX) {
        writeln!(text, "    {:>8}  {kind}", count(**n))?;
    }
    Ok(())
}

/// Tells a figure: value, range, reference, bar and whether it is met.
fn told(figure: &Figure) -> String {
    let mut text = format!("{} {}", number(figure.value), figure.unit).trim_end().to_owned();
    if let Some((least, most)) = figure.range {
        let _ = write!(text, " ({} to {})", number(least), number(most));
    }
    if let Some(reference) = &figure.reference {
        let _ = write!(text, ", {} × {} ({})", number(figure.held()), reference.name, number(reference.value));
    }
    if let (Some(bar), Some(passes)) = (figure.bar, figure.passes()) {
        let (at, word) = (if figure.at_least { '≥' } else { '≤' }, if passes { "PASS" } else { "missed" });
        let _ = write!(text, "; bar {at} {}: {word}", number(bar));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{model::Checked, sample};

    #[test]
    fn a_figure_tells_its_bar_and_whether_it_is_met() {
        let figure = Figure::of_rounds("CPU", "us", &[1.5, 1.0, 2.0]).beside("limit", 1.2).at_most(1.25);
        assert_eq!(told(&figure), "1.5 us (1 to 2), 1.25 × limit (1.2); bar ≤ 1.25: PASS");
        assert_eq!(told(&Figure::new("rate", "/s", 900.0).at_least(1000.0)), "900 /s; bar ≥ 1,000: missed");
        assert_eq!(told(&Figure::new("rate", "/s", 900.0)), "900 /s");
        assert_eq!(told(&Figure::new("moves", "", 900.0)), "900");
    }

    #[test]
    fn nothing_is_said_to_be_whole_that_was_not_checked() {
        let mut report = sample::report();
        assert!(text(&report).contains("1 histories: nothing lost, repeated or out of order"));
        report.checked = Checked::default();
        assert!(text(&report).contains("checked: no messages\n") && !text(&report).contains("lost"));
        report.violations = vec!["1 was lost".into(), "… and 40 more".into()];
        assert!(text(&report).contains("histories: 41 violations"), "{}", text(&report));
    }
}
