//! First step: raw texts from flags, variables, `.env` and `chinwag.toml`, each with where it came from.

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    Problem,
    settings::{self, Flags, Kind, SETTINGS, Setting, VARIABLE_PREFIX},
    urls,
};

/// Where a value came from; the later in this list, the weaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Flag,
    Environment,
    DotEnv { path: PathBuf, line: usize },
    File { path: PathBuf, line: usize },
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::DotEnv { path, line } | Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The texts of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub values: Vec<String>,
    pub source: Source,
}

impl Raw {
    /// Says where a person would correct the value: the flag, variable, or line.
    pub fn place(&self, setting: &Setting) -> String {
        match &self.source {
            Source::Flag => setting.flag(),
            Source::Environment => format!("variable {}", setting.variable()),
            Source::DotEnv { .. } => format!("{}: {}", self.source, setting.variable()),
            Source::File { .. } => format!("{}: {}", self.source, setting.name),
            Source::Default => format!("{} (default)", setting.name),
        }
    }
}

/// The effective text of every setting, by name.
pub type RawSettings = BTreeMap<&'static str, Raw>;

/// Gathers all settings. `environment` is the process's; `.env` and `chinwag.toml` are looked for in `directory`.
///
/// # Errors
/// All unknown names, unreadable files and syntax errors at once, each naming its flag, variable or line.
pub fn gather(
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
    directory: &Path,
) -> Result<RawSettings, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut raw = RawSettings::new();
    for (name, values) in flags.given() {
        let setting = settings::find(name).expect("flags and table are made from the same list");
        match setting.kind {
            Kind::Secret => problems.push(Problem(format!(
                "{}: a secret on the command line is visible to everyone on the machine; use {}",
                setting.flag(),
                setting.variable()
            ))),
            Kind::One | Kind::Switch | Kind::Url if values.len() > 1 => {
                problems.push(Problem(format!("{}: given {} times", setting.flag(), values.len())));
            }
            _ => put(&mut raw, setting, values.to_vec(), Source::Flag),
        }
    }
    for (variable, value) in environment {
        put_variable(&mut raw, &mut problems, &variable, &value, Source::Environment);
    }
    read_dot_env(&mut raw, &mut problems, &directory.join(".env"));
    read_file(&mut raw, &mut problems, directory);
    for setting in SETTINGS {
        let values = if setting.default.is_empty() { vec![] } else { vec![setting.default.to_owned()] };
        put(&mut raw, setting, values, Source::Default);
    }
    if problems.is_empty() { Ok(raw) } else { Err(problems) }
}

/// Puts a value unless a stronger source has one: sources are read strongest first.
fn put(raw: &mut RawSettings, setting: &'static Setting, values: Vec<String>, source: Source) {
    raw.entry(setting.name).or_insert(Raw { values, source });
}

fn put_variable(raw: &mut RawSettings, problems: &mut Vec<Problem>, variable: &str, value: &str, source: Source) {
    if !variable.starts_with(VARIABLE_PREFIX) {
        return;
    }
    let Some(setting) = settings::find_variable(variable) else {
        if is_service_link(variable, value) {
            return;
        }
        let place = match &source {
            Source::DotEnv { .. } => format!("{source}: "),
            _ => String::new(),
        };
        problems.push(Problem(format!("{place}unknown variable {variable}{}", suggestion(variable))));
        return;
    };
    let values = match setting.kind {
        Kind::Many => value.split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect(),
        _ if value.trim().is_empty() => vec![],
        _ => vec![value.trim().to_owned()],
    };
    put(raw, setting, values, source);
}

/// Says whether Kubernetes made this variable: it describes every Service to every container, so a Service named `chinwag` (or
/// `chinwag-http`) puts `CHINWAG_SERVICE_HOST`, `CHINWAG_PORT=tcp://…`, `CHINWAG_PORT_3000_TCP_ADDR` and the like into ours.
fn is_service_link(variable: &str, value: &str) -> bool {
    let address = value.starts_with("tcp://") || value.starts_with("udp://");
    let of_port = ["_TCP", "_UDP"].iter().any(|protocol| variable.contains(protocol)) && variable.contains("_PORT_");
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || of_port
        || (variable.ends_with("_PORT") && address)
}

/// Reads `.env`; other programs' variables in it are none of our business and are not exported.
fn read_dot_env(raw: &mut RawSettings, problems: &mut Vec<Problem>, path: &Path) {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => return problems.push(Problem(format!("{}: {error}", path.display()))),
    };
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok((variable, value)) => {
                let source = Source::DotEnv { path: path.to_owned(), line: line_of_variable(&text, &variable) };
                put_variable(raw, problems, &variable, &value, source);
            }
            Err(dotenvy::Error::LineParse(wrong, _)) => {
                let line = text.lines().position(|line| line.contains(wrong.trim())).map_or(0, |n| n + 1);
                // The line itself may hold a secret: only its number is shown.
                problems.push(Problem(format!("{}:{line}: not of the form NAME=value", path.display())));
                return;
            }
            Err(error) => return problems.push(Problem(format!("{}: {error}", path.display()))),
        }
    }
    problems.extend(exposed_secret(raw, path));
}

/// Says what is wrong when a secret came from a file that others may read.
fn exposed_secret(raw: &RawSettings, path: &Path) -> Option<Problem> {
    let secret = SETTINGS.iter().find(|setting| {
        raw.get(setting.name).is_some_and(|found| match &found.source {
            Source::DotEnv { path: from, .. } | Source::File { path: from, .. } => {
                from == path && is_secret(setting, found)
            }
            _ => false,
        })
    })?;
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    let place = raw.get(secret.name)?.place(secret);
    (mode & 0o077 != 0).then(|| Problem(format!("{place}: others may read this file (mode {mode:04o}); set mode 0600")))
}

/// Says whether a value is one that others must not read.
fn is_secret(setting: &Setting, found: &Raw) -> bool {
    match setting.kind {
        Kind::Secret => true,
        Kind::Url => found.values.iter().any(|url| urls::has_password(url)),
        Kind::One | Kind::Many | Kind::Switch => false,
    }
}

/// Returns the number of the line that sets a variable, 1-based (dotenvy doesn't tell).
fn line_of_variable(text: &str, variable: &str) -> usize {
    let sets = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        line.strip_prefix(variable).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(sets).map_or(0, |n| n + 1)
}

fn read_file(raw: &mut RawSettings, problems: &mut Vec<Problem>, directory: &Path) {
    let chosen = raw.get("config").and_then(|raw| raw.values.first().cloned());
    let path = directory.join(chosen.as_deref().unwrap_or("chinwag.toml"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && chosen.is_none() => return,
        Err(error) => return problems.push(Problem(format!("{}: {error}", path.display()))),
    };
    let table = match DeTable::parse(&text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = error.span().map_or(0, |span| line_at(&text, span.start));
            return problems.push(Problem(format!("{}:{line}: {}", path.display(), error.message())));
        }
    };
    for (key, value) in &table {
        let line = line_at(&text, key.span().start);
        let place = format!("{}:{line}", path.display());
        let Some(setting) = settings::find(key.get_ref()) else {
            problems.push(Problem(format!(
                "{place}: unknown setting '{}'{}",
                key.get_ref(),
                suggestion(key.get_ref())
            )));
            continue;
        };
        if setting.name == "config" {
            problems.push(Problem(format!("{place}: a settings file can't name another one")));
            continue;
        }
        match texts(value.get_ref(), setting.kind) {
            Ok(values) => put(raw, setting, values, Source::File { path: path.clone(), line }),
            Err(wrong) => problems.push(Problem(format!("{place}: {}: {wrong}", setting.name))),
        }
    }
    problems.extend(exposed_secret(raw, &path));
}

fn texts(value: &DeValue<'_>, kind: Kind) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(items) if kind == Kind::Many => items.iter().map(|item| text(item.get_ref())).collect(),
        other => text(other).map(|text| vec![text]),
    }
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().replace('_', "")),
        DeValue::Boolean(on) => Ok(on.to_string()),
        other => Err(format!("can't be a {}", other.type_str())),
    }
}

/// Returns the 1-based number of the line at a byte offset.
fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// Suggests the setting that shares most with a misspelt name.
fn suggestion(wrong: &str) -> String {
    let name = wrong.strip_prefix(VARIABLE_PREFIX).unwrap_or(wrong).to_ascii_lowercase().replace('-', "_");
    let close = |setting: &&Setting| distance(&name, setting.name) <= 2;
    match SETTINGS.iter().find(close) {
        Some(setting) if wrong.starts_with(VARIABLE_PREFIX) => format!("; did you mean {}?", setting.variable()),
        Some(setting) => format!("; did you mean '{}'?", setting.name),
        None => String::new(),
    }
}

/// Edit distance (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1).min(row[j] + 1).min(diagonal + usize::from(x != y));
            diagonal = above;
        }
    }
    row[b.len()]
}
