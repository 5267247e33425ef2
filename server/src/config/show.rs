//! `chinwag config`: the effective settings as a `chinwag.toml` that would give the same, with the source of each.

use super::{
    RawSettings,
    settings::{Kind, SETTINGS, Setting},
    urls,
};

/// Writes all settings, one a line, secrets masked, each with its source as a comment.
pub fn show(raw: &RawSettings) -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let Some(found) = raw.get(setting.name) else { continue };
        let line = match value(setting, &found.values) {
            Some(value) => format!("{} = {value}", setting.name),
            None => format!("# {} is not set", setting.name),
        };
        text.push_str(&format!("{line:<48} # {}\n", found.source));
    }
    text
}

fn value(setting: &Setting, values: &[String]) -> Option<String> {
    match (setting.kind, values) {
        (Kind::Many, values) => {
            Some(format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")))
        }
        (_, []) => None,
        (Kind::Secret, _) => Some(quoted(urls::MASK)),
        (Kind::Url, [url, ..]) => Some(quoted(&urls::masked(url))),
        (Kind::Switch, [value, ..]) => Some(value.clone()),
        (Kind::One, [value, ..]) if value.parse::<u64>().is_ok() => Some(value.clone()),
        (Kind::One, [value, ..]) => Some(quoted(value)),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
