//! `--fail-if`: a condition on the result under which the run fails.
//!
//! `[TIMER.]STAT OP VALUE[UNIT]`, or `errors`, `rate`, `violations` or a figure instead of the delay: `p99>50ms`, `handshake.p95>=20ms`,
//! `errors>0`, `rate<10000`, `cpu-per-delivery>1.5us`, `"CPU per delivery">1.5us`.

use std::{fmt, str::FromStr};

use super::model::{Delays, Figure, Report};
use crate::run::meter::Timer;

const STATS: [&str; 7] = ["p50", "p90", "p95", "p99", "p999", "max", "mean"];

/// A condition such as `p99>50ms`.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// As it was written.
    text: String,
    of: Of,
    is: Is,
    value: f64,
    unit: Option<Unit>,
}

/// What is held to the value.
#[derive(Debug, Clone, PartialEq)]
enum Of {
    Delay {
        timer: String,
        stat: &'static str,
    },
    Errors,
    Rate,
    Violations,
    /// By its name, or by a slug.
    Figure(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Us,
    Ms,
    S,
    KiB,
    MiB,
}

impl Unit {
    const ALL: [(&'static str, Self); 5] =
        [("us", Self::Us), ("ms", Self::Ms), ("s", Self::S), ("KiB", Self::KiB), ("MiB", Self::MiB)];

    /// Reads a unit, or the unit that a longer one ('KiB per connection') begins with.
    fn of(text: &str) -> Option<Self> {
        let text = text.split([' ', '/']).next()?.replace(['µ', 'μ'], "u");
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, unit)| unit)
    }

    /// Microseconds, or bytes.
    fn size(self) -> f64 {
        match self {
            Self::Us => 1.0,
            Self::Ms => 1e3,
            Self::S => 1e6,
            Self::KiB => 1024.0,
            Self::MiB => 1024.0 * 1024.0,
        }
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Us | Self::Ms | Self::S)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, unit)| unit == self).map_or("", |(name, _)| *name);
        f.write_str(name)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (of, is, value) = parts(text)?;
        let of = Of::from_str(of)?;
        let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
        let (number, unit) = (&value[..digits], value[digits..].trim());
        let number = number
            .parse()
            .map_err(|_| format!("'{value}' isn't a value: a number, then us, ms, s, KiB, MiB or nothing"))?;
        let unit = match unit {
            "" => None,
            unit => Some(
                Unit::ALL
                    .into_iter()
                    .find(|(name, _)| *name == unit)
                    .map(|(_, unit)| unit)
                    .ok_or_else(|| format!("'{unit}' isn't a unit: us, ms, s, KiB, MiB or none"))?,
            ),
        };
        match (&of, unit) {
            (Of::Delay { .. }, None) => return Err(format!("{value} of what? A delay needs us, ms or s")),
            (Of::Delay { .. }, Some(unit)) if !unit.is_time() => {
                return Err(format!("a delay isn't measured in {unit}, but in us, ms or s"));
            }
            (Of::Errors | Of::Rate | Of::Violations, Some(unit)) => {
                return Err(format!("errors, rate and violations are plain numbers, without {unit}"));
            }
            _ => {}
        }
        Ok(Self { text: text.to_owned(), of, is, value: number, unit })
    }
}

/// Cuts a condition at its operator, which may stand within the quotes of a figure's name.
fn parts(text: &str) -> Result<(&str, Is, &str), String> {
    let mut quoted = false;
    let at = text
        .find(|c| {
            quoted ^= c == '"';
            !quoted && matches!(c, '<' | '>' | '=' | '!')
        })
        .ok_or_else(|| format!("'{text}' has no operator: <, <=, > or >="))?;
    let (of, rest) = text.split_at(at);
    for (sign, is) in [("<=", Is::AtMost), (">=", Is::AtLeast), ("<", Is::Less), (">", Is::More)] {
        if let Some(value) = rest.strip_prefix(sign) {
            return Ok((of.trim(), is, value.trim()));
        }
    }
    let sign: String = rest.chars().take_while(|c| "<>=!".contains(*c)).collect();
    Err(format!("'{sign}' isn't an operator: <, <=, > or >="))
}

impl FromStr for Of {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('"') {
            return match name.strip_suffix('"') {
                Some(name) if !name.is_empty() => Ok(Self::Figure(name.to_owned())),
                _ => Err(format!("{text} isn't the name of a figure in quotes")),
            };
        }
        let (timer, stat) = text.split_once('.').unwrap_or(("delivered", text));
        if let Some(stat) = STATS.into_iter().find(|known| *known == stat) {
            let timers: Vec<_> = Timer::names().collect();
            if !timers.contains(&timer) {
                return Err(format!("'{timer}' isn't timed: {}", timers.join(", ")));
            }
            return Ok(Self::Delay { timer: timer.to_owned(), stat });
        }
        let is_percentile = stat.strip_prefix('p').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if text.contains('.') || is_percentile {
            return Err(format!("'{stat}' isn't kept of delays: {}", STATS.join(", ")));
        }
        match text {
            "errors" => Ok(Self::Errors),
            "rate" => Ok(Self::Rate),
            "violations" => Ok(Self::Violations),
            _ if !text.is_empty() && slug(text) == text => Ok(Self::Figure(text.to_owned())),
            _ => Err(format!(
                "'{text}' is nothing to hold a value against: {}, errors, rate, violations, or a figure (in quotes, or like cpu-per-delivery)",
                STATS.join(", ")
            )),
        }
    }
}

impl Threshold {
    /// Returns a sentence if the report fails it; an error if the report doesn't have what it is about.
    pub fn broken(&self, report: &Report) -> Result<Option<String>, String> {
        let (what, value, unit) = self.measured(report)?;
        if !value.is_finite() {
            return Err(format!("--fail-if '{}': {what} couldn't be measured", self.text));
        }
        let wanted = match (self.unit, unit.and_then(Unit::of)) {
            (None, _) => self.value,
            (Some(wanted), Some(own)) if wanted.is_time() == own.is_time() => self.value * wanted.size() / own.size(),
            (Some(wanted), _) => {
                let own =
                    unit.filter(|unit| !unit.is_empty()).map_or("a plain number".to_owned(), |u| format!("in {u}"));
                return Err(format!("--fail-if '{}': {what} is {own}, which doesn't compare with {wanted}", self.text));
            }
        };
        let broken = match self.is {
            Is::Less => value < wanted,
            Is::AtMost => value <= wanted,
            Is::More => value > wanted,
            Is::AtLeast => value >= wanted,
        };
        let value = super::format::number(value);
        let unit = unit.filter(|unit| !unit.is_empty()).map(|unit| format!(" {unit}")).unwrap_or_default();
        Ok(broken.then(|| format!("{what} is {value}{unit}, and '{}' was to fail the run", self.text)))
    }

    /// Returns what it is called, its value, and its unit if it has one.
    fn measured<'a>(&self, report: &'a Report) -> Result<(String, f64, Option<&'a str>), String> {
        let lacks = |what: String| format!("--fail-if '{}': the run has no {what}", self.text);
        match &self.of {
            Of::Delay { timer, stat } => {
                let delays = report.delays.get(timer).filter(|delays| delays.count > 0);
                let delays =
                    delays.ok_or_else(|| lacks(format!("'{timer}' delays (it has {})", had(report.delays.keys()))))?;
                Ok((format!("{stat} of '{timer}'"), of_stat(delays, stat), Some("ms")))
            }
            Of::Errors => Ok(("the number of errors".into(), report.errors.values().sum::<u64>() as f64, None)),
            Of::Violations if report.checked == Default::default() => Err(lacks("messages that were checked".into())),
            Of::Violations => Ok(("the number of violations".into(), report.violation_count() as f64, None)),
            Of::Rate => {
                let rate = report.deliveries_per_s().ok_or_else(|| lacks("deliveries".into()))?;
                Ok(("the rate of deliveries per second".into(), rate, None))
            }
            Of::Figure(name) => {
                let figure = figure(report, name)?;
                let figure = figure.ok_or_else(|| {
                    let names = report.figures.iter().map(|figure| slug(&figure.name)).collect::<Vec<_>>();
                    lacks(format!("figure '{name}' (it has {})", had(&names)))
                })?;
                Ok((figure.name.clone(), figure.value, Some(&figure.unit)))
            }
        }
    }
}

fn of_stat(delays: &Delays, stat: &str) -> f64 {
    match stat {
        "p50" => delays.p50,
        "p90" => delays.p90,
        "p95" => delays.p95,
        "p99" => delays.p99,
        "p999" => delays.p999,
        "max" => delays.max,
        _ => delays.mean,
    }
}

/// Finds a figure by its name, its slug, or the beginning of its slug if no other begins so.
fn figure<'a>(report: &'a Report, name: &str) -> Result<Option<&'a Figure>, String> {
    let of = |is: &dyn Fn(&Figure) -> bool| report.figures.iter().filter(|figure| is(figure)).collect::<Vec<_>>();
    for found in [
        of(&|figure| figure.name == name),
        of(&|figure| slug(&figure.name) == name),
        of(&|figure| slug(&figure.name).starts_with(&format!("{name}-"))),
    ] {
        match found.as_slice() {
            [] => {}
            [figure] => return Ok(Some(figure)),
            several => {
                let names: Vec<_> = several.iter().map(|figure| slug(&figure.name)).collect();
                return Err(format!("--fail-if: '{name}' may be any of {}", names.join(", ")));
            }
        }
    }
    Ok(None)
}

fn had(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Makes 'cpu-per-delivery' of 'CPU per delivery'.
fn slug(name: &str) -> String {
    let words: Vec<_> = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{model::Checked, sample};

    fn broken(text: &str, report: &Report) -> Result<bool, String> {
        text.parse::<Threshold>()?.broken(report).map(|sentence| sentence.is_some())
    }

    fn report() -> Report {
        let mut report = sample::report();
        let delays = Delays { count: 1000, mean: 4.0, p50: 3.0, p90: 5.0, p95: 6.0, p99: 50.0, p999: 70.0, max: 80.0 };
        report.delays = [("delivered".into(), delays), ("login".into(), Delays { p95: 120.0, ..delays })].into();
        report.took_s = 10.0;
        report.errors = [("refused".into(), 2), ("timeout".into(), 3)].into();
        report.violations.clear();
        report.figures = vec![
            Figure::new("CPU per delivery", "µs", 1.5),
            Figure::new("memory", "KiB per connection", 4.5),
            Figure::new("growth, offline", "", 1.1),
            Figure::new("growth, online", "", 1.3),
        ];
        report
    }

    #[test]
    fn delays_are_held_in_any_unit_of_time() {
        let report = report();
        for (text, fails) in [
            ("p99>50ms", false),
            ("p99>=50ms", true),
            ("p99 > 49999us", true),
            ("p99<0.051s", true),
            ("p99<=0.05s", true),
            ("mean<4ms", false),
            ("max>79ms", true),
            ("p999>70ms", false),
            ("delivered.p50>2.9ms", true),
            ("login.p95>119ms", true),
        ] {
            assert_eq!(broken(text, &report), Ok(fails), "{text}");
        }
    }

    #[test]
    fn counts_and_figures_are_held() {
        let report = report();
        for (text, fails) in [
            ("errors>4", true),
            ("errors>5", false),
            ("violations>0", false),
            ("rate<101", true),
            ("rate<100", false),
            ("cpu-per-delivery>1499us", false),
            ("cpu-per-delivery>=0.0015ms", true),
            ("\"CPU per delivery\">1.4us", true),
            ("cpu>1.4us", true),
            ("cpu>1.4", true),
            ("memory>4KiB", true),
            ("memory>0.005MiB", false),
            ("growth-online>1.2", true),
        ] {
            assert_eq!(broken(text, &report), Ok(fails), "{text}");
        }
    }

    #[test]
    fn a_broken_threshold_says_what_was_measured() {
        let sentence = "p99>20ms".parse::<Threshold>().unwrap().broken(&report()).unwrap().unwrap();
        assert_eq!(sentence, "p99 of 'delivered' is 50 ms, and 'p99>20ms' was to fail the run");
    }

    #[test]
    fn what_the_report_lacks_is_an_error() {
        let mut report = report();
        report.figures.push(Figure::new("ratio", "", f64::NAN));
        for (text, part) in [
            ("history.p99>1ms", "no 'history' delays (it has delivered, login)"),
            ("idle>1", "no figure 'idle' (it has cpu-per-delivery, memory,"),
            ("growth>1", "may be any of growth-offline, growth-online"),
            ("memory>1ms", "in KiB per connection, which doesn't compare with ms"),
            ("growth-online>1ms", "a plain number, which doesn't compare with ms"),
            ("ratio>1", "couldn't be measured"),
        ] {
            let error = broken(text, &report).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        report.delays.clear();
        report.checked = Checked::default();
        assert!(broken("rate<1", &report).is_err() && broken("violations>0", &report).is_err());
    }

    #[test]
    fn a_wrong_condition_is_refused_with_what_is_allowed() {
        for (text, part) in [
            ("p99", "no operator: <, <=, > or >="),
            ("p99=50ms", "'=' isn't an operator: <"),
            ("p99!=50ms", "'!=' isn't an operator"),
            ("p98>50ms", "'p98' isn't kept of delays: p50, p90"),
            ("connect.p99>5ms", "'connect' isn't timed: login, handshake"),
            ("login.best>5ms", "'best' isn't kept"),
            ("p99>50", "needs us, ms or s"),
            ("p99>50kb", "'kb' isn't a unit: us, ms"),
            ("p99>50KiB", "isn't measured in KiB"),
            ("p99>fast", "'fast' isn't a value: a number"),
            ("p99>-1ms", "'-1ms' isn't a value"),
            ("p99>1.2.3ms", "isn't a value"),
            ("errors>1ms", "plain numbers, without ms"),
            ("CPU per delivery>1us", "is nothing to hold a value against"),
            (">1", "is nothing to hold a value against"),
            ("\"CPU>1us", "no operator"),
            ("\"\">1us", "isn't the name of a figure"),
            ("", "no operator"),
        ] {
            let error = text.parse::<Threshold>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
