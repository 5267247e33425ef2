//! Times as people here read them.

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// Shows times in one time zone.
#[derive(Debug, Clone)]
pub struct Times {
    zone: TimeZone,
}

impl Times {
    /// Takes the system's time zone (`TZ`, `/etc/localtime`); UTC if that can't be found out.
    pub fn local() -> Self {
        Self { zone: TimeZone::system() }
    }

    fn zoned(&self, unix_ms: i64) -> Zoned {
        Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
    }

    /// `14:05`.
    pub fn clock(&self, unix_ms: i64) -> String {
        self.zoned(unix_ms).strftime("%H:%M").to_string()
    }

    /// `Sunday, 22 November 2026`.
    pub fn day(&self, unix_ms: i64) -> String {
        self.zoned(unix_ms).strftime("%A, %-d %B %Y").to_string()
    }

    /// `14:05` of today, else `22 Nov 14:05`.
    pub fn short(&self, unix_ms: i64) -> String {
        let then = self.zoned(unix_ms);
        let format =
            if then.date() == Zoned::now().with_time_zone(self.zone.clone()).date() { "%H:%M" } else { "%-d %b %H:%M" };
        then.strftime(format).to_string()
    }

    /// Says whether both are of one day.
    pub fn same_day(&self, a_ms: i64, b_ms: i64) -> bool {
        self.zoned(a_ms).date() == self.zoned(b_ms).date()
    }
}

/// `3 d`, `4 h`, `5 min`, `6 s`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_zone() {
        let times = Times { zone: TimeZone::fixed(jiff::tz::offset(2)) };
        assert_eq!(times.clock(1_795_377_600_000), "22:00");
        assert_eq!(times.day(1_795_377_600_000), "Sunday, 22 November 2026");
        assert!(times.same_day(1_795_377_600_000, 1_795_377_600_000 + 7_199_000));
        assert!(!times.same_day(1_795_377_600_000, 1_795_377_600_000 + 7_200_000));
        assert_eq!(
            (span(5000), span(300_000), span(36_000_000), span(864_000_000)),
            ("5 s".into(), "5 min".into(), "10 h".into(), "10 d".into())
        );
    }
}
