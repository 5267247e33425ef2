//! `chinwag doctor`: looks at everything that a start needs, and says what to do about what isn't right. Changes nothing.

mod addresses;
pub(crate) mod certificate;
mod files;
mod machine;
mod services;

use std::{io::Write as _, time::Duration};

use serde_json::json;

use super::counted;
use crate::{
    bootstrap::{Failure, exit},
    config::{Config, Loaded},
};

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    /// Works, but not as well, as safely or as long as it should.
    Warn,
    /// A start fails, or what it serves would be wrong.
    Fail,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What was looked at.
    pub about: String,
    pub found: String,
    /// What to do; always there unless all is well.
    pub advice: Option<String>,
}

impl Finding {
    pub fn ok(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, about: about.into(), found: found.into(), advice: None }
    }

    pub fn warn(about: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warn, about: about.into(), found: found.into(), advice: Some(advice.into()) }
    }

    pub fn fail(about: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fail, about: about.into(), found: found.into(), advice: Some(advice.into()) }
    }
}

/// How the findings are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// Looks at everything and tells it.
///
/// # Errors
/// When something must be mended before a start.
pub fn run(loaded: &Loaded, form: Form) -> Result<(), Failure> {
    let config = &loaded.config;
    let mut findings = machine::clock();
    findings.extend(machine::open_files());
    findings.extend(settings(loaded));
    findings.extend(files::data(config));
    findings.extend(files::secrets(config));
    findings.extend(config.tls.as_ref().map(certificate::check));
    findings.extend(addresses::check(config));
    findings.extend(services::check(config));
    let text = match form {
        Form::Text => as_text(&findings),
        Form::Json => format!("{:#}\n", as_json(&findings)),
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::new(exit::FAILED, error))?;
    match findings.iter().filter(|finding| finding.level == Level::Fail).count() {
        0 => Ok(()),
        1 => Err(anyhow::anyhow!("one thing must be mended before a start").into()),
        failed => Err(anyhow::anyhow!("{failed} things must be mended before a start").into()),
    }
}

/// Settings that are allowed and risky.
fn settings(loaded: &Loaded) -> Vec<Finding> {
    let risks = crate::bootstrap::risks(loaded);
    if risks.is_empty() {
        return vec![Finding::ok("settings", kind(&loaded.config))];
    }
    let advice = "see that nobody else can connect, or change it: `chinwag config` shows where each setting comes from";
    risks.into_iter().map(|risk| Finding::warn("settings", risk, advice)).collect()
}

fn kind(config: &Config) -> String {
    match &config.cluster {
        Some(cluster) => format!("node {} of a cluster", cluster.node),
        None => "a server with an embedded store".to_owned(),
    }
}

fn as_text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.about.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { level, about, found, advice } in findings {
        text.push_str(&format!("{:<5} {about:<width$}  {found}\n", level.as_str()));
        if let Some(advice) = advice {
            text.push_str(&format!("{:6}{:width$}  → {advice}\n", "", ""));
        }
    }
    text
}

fn as_json(findings: &[Finding]) -> serde_json::Value {
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let each = findings.iter().map(|Finding { level, about, found, advice }| {
        json!({"level": level.as_str().to_ascii_lowercase(), "about": about, "found": found, "advice": advice})
    });
    json!({"level": worst.as_str().to_ascii_lowercase(), "findings": each.collect::<Vec<_>>()})
}

/// Writes a latency as people read it.
fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_in_lines_with_what_to_do() {
        let findings = [Finding::ok("disk", "9 GiB free"), Finding::fail("clock", "is wrong", "set it")];
        assert_eq!(as_text(&findings), "ok    disk   9 GiB free\nFAIL  clock  is wrong\n             → set it\n");
        let json = as_json(&findings);
        assert_eq!((&json["level"], &json["findings"][0]["advice"]), (&json!("fail"), &json!(null)));
        assert_eq!(json["findings"][1]["advice"], "set it");
    }
}
