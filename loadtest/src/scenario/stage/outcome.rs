//! What becomes of what a run measured: the report, its files, its text, and whether the run failed.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::summary;
use crate::{
    checker::ledger::Verdict,
    report::{
        html,
        model::{Delays, FORMAT, Figure, Report},
    },
    run::{machine, sampler::Recorded},
    target::Common,
};

/// What is known of a run before it begins.
pub struct Setting {
    pub scenario: &'static str,
    pub settings: Value,
    pub protocol: String,
    pub seed: u64,
    pub started_at_ms: i64,
}

impl Setting {
    /// Notes the settings and the time.
    pub fn new(scenario: &'static str, common: &Common, mut settings: Value) -> Self {
        if let Value::Object(settings) = &mut settings {
            settings.insert("deflate".into(), json!(common.deflate));
            settings.insert("max_seconds".into(), json!(common.max_seconds));
            settings.insert("nodes".into(), json!(common.node));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            scenario,
            settings,
            protocol: json!(common.protocol).as_str().unwrap_or_default().to_owned(),
            seed: common.seed.unwrap_or_else(rand::random),
            started_at_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// Everything that a run found.
pub struct Outcome {
    pub setting: Setting,
    pub servers: Vec<Value>,
    pub partial: Option<String>,
    /// Seconds from the run's origin to its end.
    pub took_s: f64,
    pub recorded: Recorded,
    pub figures: Vec<Figure>,
    pub verdict: Verdict,
    pub metrics: BTreeMap<String, f64>,
}

impl Outcome {
    /// Writes and prints the report.
    ///
    /// # Errors
    /// When the run failed, with all reasons in one sentence each.
    pub fn tell(self, common: &Common) -> anyhow::Result<()> {
        let report = self.report();
        // A reader that has gone is no reason to lose the files.
        let _ = std::io::stdout().write_all(summary::text(&report).as_bytes());
        let mut reasons = reasons(&report, common);
        let written = [
            common.json.as_deref().map(|path| write(path, || Ok(serde_json::to_string_pretty(&report)? + "\n"))),
            common.html.as_deref().map(|path| write(path, || Ok(html::render(&report)))),
        ];
        reasons.extend(written.into_iter().flatten().filter_map(Result::err).map(|error| format!("{error:#}")));
        if reasons.is_empty() {
            return Ok(());
        }
        bail!("{}", reasons.join("; "))
    }

    fn report(self) -> Report {
        let Self { setting, recorded, verdict, .. } = self;
        let totals = &recorded.totals;
        Report {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            scenario: setting.scenario.into(),
            command: std::env::args().skip(1).collect(),
            settings: setting.settings,
            protocol: setting.protocol,
            seed: setting.seed,
            started_at_ms: setting.started_at_ms,
            took_s: (self.took_s - recorded.begun_s.unwrap_or(0.0)).max(0.0),
            machine: machine::facts(),
            servers: self.servers,
            partial: self.partial,
            figures: self.figures,
            delays: totals.timers().map(|(name, times)| (name.to_owned(), Delays::of(times))).collect(),
            counts: totals.counters().map(|(name, count)| (name.to_owned(), count)).collect(),
            errors: totals.errors.clone(),
            phases: recorded.phases,
            series: recorded.series,
            violations: verdict.violations,
            checked: verdict.checked,
            metrics: self.metrics,
        }
    }
}

/// Returns why a run failed; empty if it didn't.
fn reasons(report: &Report, common: &Common) -> Vec<String> {
    let mut reasons = Vec::new();
    reasons.extend(report.partial.clone());
    if let Some(first) = report.violations.first() {
        let count = match report.violation_count() {
            1 => "a violation".to_owned(),
            more => format!("{more} violations, first"),
        };
        reasons.push(format!("the checker found {count}: {first}"));
    }
    for threshold in &common.fail_if {
        // What isn't there can't be held to anything: that must not pass.
        reasons.extend(threshold.broken(report).unwrap_or_else(Some));
    }
    if common.bars {
        let missed = report.figures.iter().filter(|figure| figure.passes() == Some(false));
        reasons.extend(missed.map(|figure| format!("{} misses its bar", figure.name)));
    }
    reasons
}

fn write(path: &Path, text: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<()> {
    let text = text().with_context(|| format!("the report for {} can't be made", path.display()))?;
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}
