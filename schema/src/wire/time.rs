//! ISO 8601 timestamps as the frozen dialects write them: UTC, milliseconds, `2026-11-22T06:00:00.000Z`.
//!
//! Days ↔ civil dates by Howard Hinnant's algorithms (<https://howardhinnant.github.io/date_algorithms.html>).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DAY_MS: i64 = 86_400_000;
/// 0000-01-01T00:00:00.000Z, Unix ms.
const MIN_MS: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z, Unix ms.
const MAX_MS: i64 = 253_402_300_799_999;

/// A time in Unix milliseconds that is written as ISO 8601. Times outside the years 0–9999 are written as the nearest one inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iso(pub i64);

/// Why a text is not a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp looks like 2026-11-22T06:00:00.000Z")]
pub struct BadTimestamp;

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.clamp(MIN_MS, MAX_MS);
        let (year, month, day) = civil_from_days(ms.div_euclid(DAY_MS));
        let in_day = ms.rem_euclid(DAY_MS);
        let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
        let milli = in_day % 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

impl FromStr for Iso {
    type Err = BadTimestamp;

    /// Parses exactly the form that is written.
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let bytes: &[u8; 24] = text.as_bytes().try_into().map_err(|_| BadTimestamp)?;
        for (place, mark) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')] {
            if bytes[place] != mark {
                return Err(BadTimestamp);
            }
        }
        let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..10])?);
        let (hour, minute) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?);
        let (second, milli) = (digits(&bytes[17..19])?, digits(&bytes[20..23])?);
        let exists = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
        let days = days_from_civil(year, month, day);
        // The way back finds days that the month doesn't have.
        if !exists || civil_from_days(days) != (year, month, day) {
            return Err(BadTimestamp);
        }
        Ok(Self(days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + milli))
    }
}

impl Serialize for Iso {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Iso {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

fn digits(bytes: &[u8]) -> Result<i64, BadTimestamp> {
    bytes.iter().try_fold(0, |number, byte| {
        if byte.is_ascii_digit() { Ok(number * 10 + i64::from(byte - b'0')) } else { Err(BadTimestamp) }
    })
}

/// Returns (year, month 1–12, day 1–31) of a count of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Returns the count of days since 1970-01-01; a day beyond the month's end runs over into the next.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_753_570_766_000, "2025-07-26T22:59:26.000Z"),
            (1_795_327_200_007, "2026-11-22T06:00:00.007Z"),
            (MIN_MS, "0000-01-01T00:00:00.000Z"),
            (MAX_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Iso(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Iso(ms)));
        }
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        assert_eq!(Iso(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Iso(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_not_exactly_a_timestamp_is_refused() {
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22T06:00:00Z",
            "2026-11-22T06:00:00.000+00:00",
            "2026-02-29T06:00:00.000Z",
            "2026-00-10T06:00:00.000Z",
            "2026-13-10T06:00:00.000Z",
            "2026-11-31T06:00:00.000Z",
            "2026-11-22T24:00:00.000Z",
            "2026-11-22T06:60:00.000Z",
            "2026-11-22T06:00:60.000Z",
            "2026-11-22t06:00:00.000Z",
            "+026-11-22T06:00:00.000Z",
            "２026-11-22T06:00:00.000",
        ] {
            assert_eq!(bad.parse::<Iso>(), Err(BadTimestamp), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again_is_the_same(ms in MIN_MS..=MAX_MS) {
            prop_assert_eq!(Iso(ms).to_string().parse(), Ok(Iso(ms)));
        }

        #[test]
        fn later_times_sort_later_as_text(a in MIN_MS..=MAX_MS, b in MIN_MS..=MAX_MS) {
            prop_assert_eq!(a.cmp(&b), Iso(a).to_string().cmp(&Iso(b).to_string()));
        }
    }
}
