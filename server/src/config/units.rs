//! Values with units, as people type them: `10/s`, `7d`, `512KiB`, `on`.

use std::{fmt, time::Duration};

use chinwag_actors::protection::Rate;

/// Largest count of a rate: the limiter remembers so many times per key.
const RATE_COUNT_MAX: u32 = 10_000;
/// Longest period of a rate.
const RATE_PERIOD_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Reads a time: a whole number and `ms`, `s`, `min` (or `m`), `h` or `d`.
pub fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a time: write a whole number and ms, s, min, h or d, such as 90s");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let count: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit_ms = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

/// Reads a rate: a count from 1 to 10,000, `/`, and a period of at most 30 days (`s`, `min`, `h`, `d`, or such as `30s`).
pub fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("'{text}' is not a rate: write a count and a period, such as 10/s, 20/min or 5/h");
    let (count, period) = text.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count.trim().parse().map_err(|_| wrong())?;
    let period = period.trim();
    let per = if period.starts_with(|c: char| c.is_ascii_digit()) {
        time(period).map_err(|_| wrong())?
    } else {
        time(&format!("1{period}")).map_err(|_| wrong())?
    };
    if !(1..=RATE_COUNT_MAX).contains(&count) {
        return Err(format!("the count of a rate must be from 1 to {RATE_COUNT_MAX}, not {count}"));
    }
    if per.is_zero() || per > RATE_PERIOD_MAX {
        return Err("the period of a rate must be from 1 ms to 30 d".into());
    }
    Ok(Rate::new(count, per))
}

/// Reads a count of bytes: a whole number, alone or with `KiB` or `MiB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a count of bytes: write a whole number, alone or with KiB or MiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit).ok_or_else(wrong)
}

/// Reads a whole number.
pub fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is not a whole number"))
}

/// Reads a switch.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

/// Checks that a value lies within a range (ends included); `show` writes it as a person would.
pub fn within<T: PartialOrd + Copy>(value: T, min: T, max: T, show: impl Fn(T) -> String) -> Result<T, String> {
    if value < min || value > max {
        return Err(format!("must be from {} to {}, not {}", show(min), show(max), show(value)));
    }
    Ok(value)
}

/// Writes a time with the largest unit that fits.
pub fn show_time(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0 => "0s".into(),
        _ if ms.is_multiple_of(86_400_000) => format!("{}d", ms / 86_400_000),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}min", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// A text that must not be shown: its `Debug` is `[hidden]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for use only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rates_and_bytes_are_read_and_nonsense_is_refused() {
        assert_eq!(time("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(rate("10/s"), Ok(Rate::new(10, Duration::from_secs(1))));
        assert_eq!(rate("5/30min"), Ok(Rate::new(5, Duration::from_secs(1800))));
        assert_eq!(bytes("512KiB"), Ok(524_288));
        for bad in ["", "5", "s", "-1s", "1.5h", "5 weeks", "99999999999999999999d", "18446744073709551615d"] {
            assert!(time(bad).is_err(), "{bad}");
        }
        for bad in ["10", "0/s", "-1/s", "10/", "10/0s", "10/x", "10001/s", "1/31d", "a/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        for bad in ["", "KiB", "-1", "1.5MiB", "1GB", "18446744073709551615KiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert!(switch("maybe").is_err() && switch("on") == Ok(true));
    }

    #[test]
    fn hidden_texts_stay_hidden() {
        assert_eq!(format!("{:?}", Hidden::new("hunter2")), "[hidden]");
    }
}
