//! Numbers, sizes and texts as people read them.

use chinwag_schema::wire::time::Iso;

/// Writes a number with three significant digits, thousands apart by commas; a dash if it is none.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    let decimals = match size {
        0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        // Three digits, of which none is for show.
        _ => (2 - size.log10().floor() as i32).clamp(0, 9) as usize,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let whole = thousands(whole);
    if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") }
}

/// Writes a count.
pub fn count(value: u64) -> String {
    thousands(&value.to_string())
}

fn thousands(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes milliseconds in the unit that suits them.
pub fn ms(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "–".into(),
        1000.0.. => format!("{} s", number(value / 1000.0)),
        1.0.. => format!("{} ms", number(value)),
        _ => format!("{} µs", number((value * 1000.0).round())),
    }
}

/// Writes bytes in the unit that suits them.
pub fn bytes(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "–".into(),
        1_073_741_824.0.. => format!("{} GiB", number(value / 1_073_741_824.0)),
        1_048_576.0.. => format!("{} MiB", number(value / 1_048_576.0)),
        1024.0.. => format!("{} KiB", number(value / 1024.0)),
        _ => format!("{} B", number(value)),
    }
}

/// Writes seconds as `90 s`, `12 min`, `3 h 20 min`.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let whole = value.round() as i64;
    match whole {
        ..10 => format!("{} s", number(value)),
        10..120 => format!("{whole} s"),
        120..3600 if whole % 60 == 0 => format!("{} min", whole / 60),
        120..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ if whole % 3600 / 60 == 0 => format!("{} h", whole / 3600),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Writes a unit as people read it: `us` is only how it is typed.
pub fn unit(unit: &str) -> String {
    match unit.strip_prefix("us") {
        Some(rest) if rest.is_empty() || rest.starts_with([' ', '/']) => format!("µs{rest}"),
        _ => unit.to_owned(),
    }
}

/// Writes a moment in Unix milliseconds as `2026-11-22 06:00:00 UTC`.
pub fn moment(ms: i64) -> String {
    let iso = Iso(ms).to_string();
    format!("{} {} UTC", &iso[..10], &iso[11..19])
}

/// Writes an argument as a shell takes it.
pub fn shell(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// Writes a text so that HTML shows it as it is, in elements and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Forbidden in HTML, even as references.
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_123_4, "0.000123"),
            (0.25, "0.25"),
            (1.0, "1"),
            (1.256, "1.26"),
            (12.34, "12.3"),
            (99.99, "100"),
            (1234.5, "1,234"),
            (-1_234_567.0, "-1,234,567"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
        assert_eq!((count(0), count(999), count(1000)), ("0".into(), "999".into(), "1,000".into()));
    }

    #[test]
    fn sizes_are_in_the_unit_that_suits_them() {
        assert_eq!([ms(0.25), ms(12.0), ms(1500.0)], ["250 µs", "12 ms", "1.5 s"]);
        assert_eq!([bytes(512.0), bytes(6144.0), bytes(50e6), bytes(3e9)], ["512 B", "6 KiB", "47.7 MiB", "2.79 GiB"]);
        assert_eq!(
            [seconds(3.25), seconds(90.0), seconds(720.0), seconds(12_000.0)],
            ["3.25 s", "90 s", "12 min", "3 h 20 min"]
        );
        assert_eq!([seconds(130.0), seconds(7200.0)], ["2 min 10 s", "2 h"]);
        assert_eq!(moment(1_795_327_200_000), "2026-11-22 06:00:00 UTC");
    }

    #[test]
    fn units_are_written_as_people_read_them() {
        assert_eq!(
            [unit("us"), unit("us per user"), unit("users"), unit("KiB")],
            ["µs", "µs per user", "users", "KiB"]
        );
    }

    #[test]
    fn arguments_survive_a_shell() {
        assert_eq!(shell("--fail-if"), "--fail-if");
        assert_eq!(shell("p99>5ms"), "'p99>5ms'");
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(shell(""), "''");
    }
}
