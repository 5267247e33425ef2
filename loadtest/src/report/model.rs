//! The result of a run, as JSON has it. Everything that is needed to repeat it is in it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Version of the form below; readers refuse newer ones.
pub const FORMAT: u32 = 1;

/// The result of a run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Report {
    pub format: u32,
    /// Version of the program that made it.
    #[serde(default)]
    pub version: String,
    pub scenario: String,
    /// The command line, without the program.
    pub command: Vec<String>,
    /// Options as they were in effect.
    pub settings: Value,
    pub protocol: String,
    pub seed: u64,
    /// Unix milliseconds.
    pub started_at_ms: i64,
    /// Seconds that the scenario played: from its first phase (without phases, from the run's origin) to its end.
    pub took_s: f64,
    pub machine: Machine,
    /// Of each node: its `/health`, and whether this program started it.
    pub servers: Vec<Value>,
    /// Why the run ended before its end; `None`: it is whole.
    pub partial: Option<String>,
    /// Headline results, in the order to be shown.
    pub figures: Vec<Figure>,
    /// Parts of the run with delays of their own (the steps of `steps`); may be empty.
    pub phases: Vec<Phase>,
    /// Delays of the whole run by name ('delivered', 'acknowledged', 'handshake', …).
    pub delays: BTreeMap<String, Delays>,
    pub counts: BTreeMap<String, u64>,
    pub errors: BTreeMap<String, u64>,
    /// What the checker found; empty: nothing lost, repeated or out of order.
    pub violations: Vec<String>,
    /// How many messages and deliveries the checker compared.
    pub checked: Checked,
    pub series: Vec<Second>,
    /// Metrics of the servers, after minus before (counters) or after (gauges), only those that changed.
    pub metrics: BTreeMap<String, f64>,
}

impl Report {
    /// Reads a stored result.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        let value: Value =
            serde_json::from_str(&text).with_context(|| format!("{} isn't JSON: is it a result?", path.display()))?;
        let format = value["format"].as_u64().unwrap_or(0);
        ensure!(format > 0, "{} isn't a result of this program: it names no format", path.display());
        ensure!(
            format <= u64::from(FORMAT),
            "{} has format {format}, and this program reads up to {FORMAT}: use a newer one",
            path.display()
        );
        serde_json::from_value(value).with_context(|| format!("{} isn't a whole result", path.display()))
    }

    /// Returns how many violations there were: the checker lists the first, and then says how many more it found.
    pub fn violation_count(&self) -> u64 {
        let more = self.violations.last();
        let more = more.and_then(|last| last.strip_prefix("… and ")?.strip_suffix(" more")?.parse::<u64>().ok());
        let listed = self.violations.len() as u64;
        more.map_or(listed, |more| listed - 1 + more)
    }

    /// Returns deliveries per second over the whole run; `None` if nothing was to be delivered.
    pub fn deliveries_per_s(&self) -> Option<f64> {
        let delivered = self.delays.get("delivered")?;
        (self.took_s > 0.0).then(|| delivered.count as f64 / self.took_s)
    }
}

/// JSON has no NaN: what couldn't be measured is stored as null.
fn null_is_nan<'a, D: Deserializer<'a>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
pub struct Machine {
    pub system: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
}

/// A headline result.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Figure {
    /// Unique within the report, e.g. 'CPU per delivery'.
    pub name: String,
    pub unit: String,
    /// The median, if there were several rounds; NaN if it couldn't be measured.
    #[serde(deserialize_with = "null_is_nan")]
    pub value: f64,
    /// Smallest and largest of the rounds.
    pub range: Option<(f64, f64)>,
    /// The reference of the same run that it is held to.
    pub reference: Option<Reference>,
    /// Passes at or below this (or at or above, with `at_least`); in the unit of the value, or of `value / reference` if there is one.
    pub bar: Option<f64>,
    pub at_least: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Reference {
    pub name: String,
    #[serde(deserialize_with = "null_is_nan")]
    pub value: f64,
}

impl Figure {
    /// Makes a figure without bar.
    pub fn new(name: &str, unit: &str, value: f64) -> Self {
        Self { name: name.into(), unit: unit.into(), value, range: None, reference: None, bar: None, at_least: false }
    }

    /// Makes a figure of several rounds: their median (of an even number the mean of the middle two), with the range.
    pub fn of_rounds(name: &str, unit: &str, rounds: &[f64]) -> Self {
        let mut sorted: Vec<f64> = rounds.iter().copied().filter(|round| round.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let value = match sorted.len() {
            0 => f64::NAN,
            even if even.is_multiple_of(2) => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
            odd => sorted[odd / 2],
        };
        let range = (sorted.len() > 1).then(|| (sorted[0], sorted[sorted.len() - 1]));
        Self { range, ..Self::new(name, unit, value) }
    }

    /// Adds the reference of the same run.
    #[must_use]
    pub fn beside(mut self, name: &str, value: f64) -> Self {
        self.reference = Some(Reference { name: name.into(), value });
        self
    }

    /// Adds a bar: at most this.
    #[must_use]
    pub fn at_most(mut self, bar: f64) -> Self {
        (self.bar, self.at_least) = (Some(bar), false);
        self
    }

    /// Adds a bar: at least this.
    #[must_use]
    pub fn at_least(mut self, bar: f64) -> Self {
        (self.bar, self.at_least) = (Some(bar), true);
        self
    }

    /// Returns what the bar is held to: the ratio to the reference, or the value.
    pub fn held(&self) -> f64 {
        self.reference.as_ref().map_or(self.value, |reference| self.value / reference.value)
    }

    /// Says whether the bar is met; `None` without one.
    pub fn passes(&self) -> Option<bool> {
        self.bar.map(|bar| if self.at_least { self.held() >= bar } else { self.held() <= bar })
    }
}

/// A part of the run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Phase {
    pub name: String,
    /// Seconds since the run's origin.
    pub from_s: f64,
    pub to_s: f64,
    pub counts: BTreeMap<String, u64>,
    pub delays: BTreeMap<String, Delays>,
    pub errors: BTreeMap<String, u64>,
}

/// A distribution of delays, milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq)]
pub struct Delays {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Delays {
    /// Reads a histogram of microseconds.
    pub fn of(times: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |percentile| times.value_at_percentile(percentile) as f64 / 1000.0;
        Self {
            count: times.len(),
            mean: times.mean() / 1000.0,
            p50: at(50.0),
            p90: at(90.0),
            p95: at(95.0),
            p99: at(99.0),
            p999: at(99.9),
            max: times.max() as f64 / 1000.0,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Checked {
    pub messages: u64,
    pub deliveries: u64,
    /// Histories read afterwards.
    pub histories: u64,
}

/// One second of the run. Beyond an hour neighbours are joined, again and again: then entries stand for 2, 4, 8 … seconds, and their
/// percentiles are the worst of these.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
pub struct Second {
    /// End of the second, seconds since the run's origin.
    pub at_s: f64,
    pub counts: BTreeMap<String, u64>,
    pub delays: BTreeMap<String, Delays>,
    pub errors: u64,
    /// CPU of all measured servers in this second, seconds.
    pub cpu_s: Option<f64>,
    /// Resident memory of all measured servers, bytes.
    pub resident_bytes: Option<u64>,
    /// Open connections of the run.
    pub open: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn rounds_are_told_by_their_median_and_range() {
        let of = |rounds: &[f64]| Figure::of_rounds("", "", rounds);
        assert_eq!((of(&[3.0, 1.0, 8.0]).value, of(&[3.0, 1.0, 8.0]).range), (3.0, Some((1.0, 8.0))));
        assert_eq!(of(&[8.0, 1.0]).value, 4.5);
        assert_eq!((of(&[2.0, f64::NAN]).value, of(&[2.0]).range), (2.0, None));
        assert!(of(&[]).value.is_nan());
    }

    #[test]
    fn violations_that_arent_listed_count_too() {
        let mut report = sample::report();
        assert_eq!(report.violation_count(), 0);
        report.violations = vec!["1 was lost".into(), "2 was lost".into()];
        assert_eq!(report.violation_count(), 2);
        report.violations.push("… and 40 more".into());
        assert_eq!(report.violation_count(), 42);
    }
}
