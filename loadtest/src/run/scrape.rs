//! Metrics of the servers in Prometheus' text format, before and after a run.

use std::collections::BTreeMap;

/// Series kept of a result: the server has about two hundred, and labels could multiply them.
const SERIES_MAX: usize = 1000;

/// The metrics of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    /// By name with labels, as the server writes them.
    series: BTreeMap<String, Series>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Series {
    value: f64,
    /// Only grows: a counter, or the sum or count of a histogram.
    counts: bool,
}

impl Scrape {
    /// Reads the text. Buckets of histograms are left out (their counts and sums stay), and lines that can't be read.
    pub fn parse(text: &str) -> Self {
        let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
        let mut series = BTreeMap::new();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                kinds.extend(kind.split_once(' '));
                continue;
            }
            // The name may have blanks in its labels; a time may follow the value, but ours writes none.
            let Some((name, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let bare = name.split('{').next().unwrap_or(name);
            let of_histogram =
                |suffix: &str| bare.strip_suffix(suffix).is_some_and(|family| kinds.get(family) == Some(&"histogram"));
            if of_histogram("_bucket") || !value.is_finite() {
                continue;
            }
            let counts = of_histogram("_sum") || of_histogram("_count") || kinds.get(bare) == Some(&"counter");
            series.insert(name.to_owned(), Series { value, counts });
        }
        Self { series }
    }

    /// Adds another server's metrics, series by series.
    pub fn add(&mut self, other: Self) {
        for (name, series) in other.series {
            self.series.entry(name).and_modify(|own| own.value += series.value).or_insert(series);
        }
    }

    /// Returns what changed since `before`: of counters the difference, of gauges the value now. At most the first 1,000 by name.
    pub fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let changed = |(name, now): (&String, &Series)| {
            let before = before.series.get(name).map_or(0.0, |series| series.value);
            let value = if now.counts { now.value - before } else { now.value };
            (now.value != before).then(|| (name.clone(), value))
        };
        self.series.iter().filter_map(changed).take(SERIES_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
# HELP chinwag_sockets Sockets.
# TYPE chinwag_sockets gauge
chinwag_sockets{dialect=\"native\"} 2
chinwag_sockets{dialect=\"rooms\"} 1
# TYPE chinwag_refused_total counter
chinwag_refused_total{why=\"too many\"} 5
# TYPE chinwag_wait_seconds histogram
chinwag_wait_seconds_bucket{le=\"+Inf\"} 4
chinwag_wait_seconds_sum 0.5
chinwag_wait_seconds_count 4
";

    #[test]
    fn counters_are_subtracted_and_gauges_are_as_they_are() {
        let after = BEFORE
            .replace("native\"} 2", "native\"} 7")
            .replace("many\"} 5", "many\"} 9")
            .replace("sum 0.5", "sum 2.5")
            .replace("+Inf\"} 4", "+Inf\"} 6");
        let changed = Scrape::parse(&after).since(&Scrape::parse(BEFORE));
        let expected = [
            ("chinwag_refused_total{why=\"too many\"}", 4.0),
            ("chinwag_sockets{dialect=\"native\"}", 7.0),
            ("chinwag_wait_seconds_sum", 2.0),
        ];
        assert_eq!(changed, expected.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn series_that_are_new_count_from_nothing_and_the_same_of_several_nodes_are_added() {
        let mut both = Scrape::parse(BEFORE);
        both.add(Scrape::parse(BEFORE));
        let changed = both.since(&Scrape::default());
        assert_eq!(changed["chinwag_refused_total{why=\"too many\"}"], 10.0);
        assert_eq!(changed["chinwag_wait_seconds_count"], 8.0);
    }

    #[test]
    fn what_is_no_metric_is_passed_over_and_the_result_is_bounded() {
        let scrape = Scrape::parse("<html>\nno metric here\nnan NaN\n# TYPE\nalone\n");
        assert_eq!(scrape, Scrape::default());
        let many: String = (0..2 * SERIES_MAX).map(|n| format!("m{{n=\"{n}\"}} 1\n")).collect();
        assert_eq!(Scrape::parse(&many).since(&scrape).len(), SERIES_MAX);
    }
}
