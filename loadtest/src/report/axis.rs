//! Scales of plots: where a value stands, and the ticks that people expect (1, 2, 5, 10; 30 s, 1 min).

use super::format;

/// A value axis, from the bottom of a plot (0.0) to its top (1.0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// From 0 to this.
    Linear { to: f64 },
    /// By decades, between powers of ten or 2 or 5 times them.
    Log { from: f64, to: f64 },
}

/// From this ratio of largest to smallest value on, a logarithmic axis shows more than a linear one.
const LOG_FROM_RATIO: f64 = 30.0;

impl Scale {
    /// Chooses the scale for these values; logarithmic only if `may_be_log` and their range needs it.
    pub fn of(values: impl Iterator<Item = f64> + Clone, may_be_log: bool) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let largest = finite.clone().fold(0.0, f64::max);
        let smallest = finite.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        if may_be_log && largest / smallest >= LOG_FROM_RATIO {
            return Self::Log { from: nice_below(smallest), to: nice_above(largest) };
        }
        let step = nice_above(largest / 4.0);
        Self::Linear { to: if largest > 0.0 { (largest / step - 1e-9).ceil() * step } else { 1.0 } }
    }

    /// Returns where a value stands; `None` if it can't be shown (NaN, or nothing on a logarithmic axis).
    pub fn place(self, value: f64) -> Option<f64> {
        let place = match self {
            Self::Linear { to } => value / to,
            Self::Log { from, to } => (value / from).log10() / (to / from).log10(),
        };
        place.is_finite().then(|| place.clamp(0.0, 1.0))
    }

    /// Returns the values to be named, at most ten.
    pub fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { to } => {
                let step = nice_above(to / 5.0 * (1.0 - 1e-9));
                let count = (to / step + 1e-9).floor() as usize;
                (0..=count).map(|n| n as f64 * step).collect()
            }
            Self::Log { from, to } => {
                let decades = (to / from).log10();
                let first = from.log10().floor() as i32;
                let last = to.log10().ceil() as i32;
                let within: &[f64] = if decades <= 3.01 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let every = (decades / 6.0).ceil().max(1.0) as usize;
                (first..=last)
                    .step_by(every)
                    .flat_map(|power| within.iter().map(move |factor| factor * 10f64.powi(power)))
                    .filter(|tick| (from * 0.999..=to * 1.001).contains(tick))
                    .collect()
            }
        }
    }
}

/// Returns the smallest of 1, 2, 5, 10, … that isn't below the value.
fn nice_above(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= value * (1.0 - 1e-9));
    if power.is_normal() { factor.unwrap_or(10.0) * power } else { 1.0 }
}

/// Returns the largest of 1, 2, 5, 10, … that isn't above the value.
fn nice_below(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = [5.0, 2.0, 1.0].into_iter().find(|factor| factor * power <= value * (1.0 + 1e-9));
    factor.unwrap_or(1.0) * power
}

/// Distances of ticks of a time axis, seconds.
const TIMES_S: [f64; 17] =
    [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0];

/// Longest time axis, seconds (30 years).
const LONGEST_S: f64 = 1e9;

/// A named place on an x axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    pub at: f64,
    pub name: String,
    /// Left out where there is little room.
    pub minor: bool,
}

/// Returns the ticks of a time axis from 0 to so many seconds, at most nine.
pub fn times(to_s: f64) -> Vec<Tick> {
    // A strange result may say any number.
    let to_s = to_s.min(LONGEST_S);
    let long = || (1..).map(|days| f64::from(days) * 86_400.0);
    let step = TIMES_S.into_iter().chain(long()).find(|step| to_s / step <= 8.0).unwrap_or(1.0);
    let count = (to_s / step + 1e-9).floor() as usize;
    let name = |at: f64| match step {
        _ if at == 0.0 => "0".to_owned(),
        3600.0.. => format!("{} h", format::number(at / 3600.0)),
        60.0.. => format!("{} min", format::number(at / 60.0)),
        _ => format!("{} s", format::number(at)),
    };
    (0..=count)
        .map(|n| (n as f64 * step, count > 4 && n % 2 == 1))
        .map(|(at, minor)| Tick { at, name: name(at), minor })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64], may_be_log: bool) -> Scale {
        Scale::of(values.iter().copied(), may_be_log)
    }

    #[test]
    fn linear_axes_begin_at_zero_and_have_round_ticks() {
        assert_eq!(of(&[3.0, 17.0], true).ticks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(of(&[0.9], true).ticks(), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        for largest in [1e-9, 0.013, 1.0, 7.0, 99.0, 1234.0, 6e12] {
            let scale = of(&[largest], false);
            let ticks = scale.ticks();
            assert!((3..=7).contains(&ticks.len()), "{largest}: {ticks:?}");
            assert!(
                *ticks.last().unwrap() >= largest * 0.999 && scale.place(largest).unwrap() > 0.6,
                "{largest}: {ticks:?}"
            );
        }
    }

    #[test]
    fn wide_ranges_of_delays_become_logarithmic() {
        let scale = of(&[1.3, 80.0], true);
        assert_eq!(scale, Scale::Log { from: 1.0, to: 100.0 });
        assert_eq!(scale.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!([scale.place(1.0), scale.place(10.0), scale.place(100.0)], [Some(0.0), Some(0.5), Some(1.0)]);
        assert_eq!(scale.place(0.0), None);
        let wide = of(&[0.002, 90_000.0], true).ticks();
        assert!((3..=8).contains(&wide.len()), "{wide:?}");
        assert!(matches!(of(&[1.3, 80.0], false), Scale::Linear { .. }));
    }

    #[test]
    fn nothing_and_no_numbers_have_axes_too() {
        for values in [&[][..], &[0.0], &[f64::NAN, f64::INFINITY], &[f64::MIN_POSITIVE]] {
            let ticks = of(values, true).ticks();
            assert!(
                (1..=8).contains(&ticks.len()) && ticks.iter().all(|tick| tick.is_finite()),
                "{values:?}: {ticks:?}"
            );
        }
        assert_eq!(of(&[1.0], true).place(f64::NAN), None);
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let names = |to_s| times(to_s).into_iter().map(|tick| tick.name).collect::<Vec<_>>();
        assert_eq!(names(1.0), ["0", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1 s"]);
        assert_eq!(names(120.0), ["0", "20 s", "40 s", "60 s", "80 s", "100 s", "120 s"]);
        assert_eq!(names(240.0), ["0", "1 min", "2 min", "3 min", "4 min"]);
        assert_eq!(names(86_400.0), ["0", "4 h", "8 h", "12 h", "16 h", "20 h", "24 h"]);
        assert!(times(172_800.0 * 30.0).len() <= 9);
        assert_eq!(times(0.0).len(), 1);
        assert!(times(f64::MAX).len() <= 9 && times(f64::NAN).len() <= 9);
    }
}
