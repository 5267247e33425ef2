//! The nine steps and what is left of them after `--from`, `--only` and `--time-scale`. Pure.

use anyhow::ensure;

/// Maximum users at once, seconds, arrivals per second: the steps that users of the messenger server know.
const STEPS: [(usize, u32, u32); 9] = [
    (5, 20, 2),
    (10, 30, 5),
    (25, 60, 10),
    (50, 90, 20),
    (100, 120, 40),
    (200, 150, 80),
    (400, 180, 120),
    (600, 210, 180),
    (800, 240, 250),
];

/// Scales of time that are taken: a step of 0.2 s still has an arrival, ten times the longest is 40 minutes.
const SCALES: std::ops::RangeInclusive<f64> = 0.01..=10.0;

/// Users that arrive at a rate, for a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// From 1 to 9.
    pub number: usize,
    /// Most users at once; further arrivals are turned away.
    pub users: usize,
    pub seconds: f64,
    pub per_second: f64,
}

impl Step {
    /// Returns how many users arrive, at least one.
    pub fn arrivals(&self) -> u64 {
        ((self.seconds * self.per_second).round() as u64).max(1)
    }

    /// Returns the name of its phase in the report.
    pub fn name(&self) -> String {
        format!("step {}: {} users, {} arrivals/s", self.number, self.users, self.per_second)
    }
}

/// Chooses the steps to be run: one, or all from one on, with their seconds scaled.
pub fn choose(from: usize, only: Option<usize>, time_scale: f64) -> anyhow::Result<Vec<Step>> {
    let last = STEPS.len();
    ensure!((1..=last).contains(&from), "--from: a step from 1 to {last}");
    ensure!(only.is_none_or(|only| (1..=last).contains(&only)), "--only: a step from 1 to {last}");
    ensure!(SCALES.contains(&time_scale), "--time-scale: {} to {}", SCALES.start(), SCALES.end());
    let (from, to) = only.map_or((from, last), |only| (only, only));
    let step = |number: usize| {
        let (users, seconds, per_second) = STEPS[number - 1];
        Step { number, users, seconds: f64::from(seconds) * time_scale, per_second: f64::from(per_second) }
    };
    Ok((from..=to).map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(steps: &[Step]) -> Vec<usize> {
        steps.iter().map(|step| step.number).collect()
    }

    #[test]
    fn all_steps_are_those_that_users_know() {
        let steps = choose(1, None, 1.0).unwrap();
        let known: Vec<_> = steps.iter().map(|s| (s.users, s.seconds as u32, s.per_second as u32)).collect();
        assert_eq!(known, STEPS);
        assert_eq!(steps.iter().map(Step::arrivals).sum::<u64>(), 138_790);
        assert_eq!(steps[8].name(), "step 9: 800 users, 250 arrivals/s");
    }

    #[test]
    fn only_wins_over_from() {
        assert_eq!(numbers(&choose(7, None, 1.0).unwrap()), [7, 8, 9]);
        assert_eq!(numbers(&choose(1, Some(4), 1.0).unwrap()), [4]);
    }

    #[test]
    fn scaling_shortens_a_step_and_leaves_its_users_and_rate() {
        let step = choose(1, Some(5), 0.05).unwrap()[0];
        assert_eq!(step, Step { number: 5, users: 100, seconds: 6.0, per_second: 40.0 });
        assert_eq!(step.arrivals(), 240);
        assert_eq!(choose(1, Some(1), 0.01).unwrap()[0].arrivals(), 1, "0.4 users are one");
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let error = |from, only, scale| choose(from, only, scale).unwrap_err().to_string();
        assert_eq!(error(0, None, 1.0), "--from: a step from 1 to 9");
        assert_eq!(error(1, Some(10), 1.0), "--only: a step from 1 to 9");
        assert_eq!(error(1, None, f64::NAN), "--time-scale: 0.01 to 10");
    }
}
