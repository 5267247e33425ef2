//! A straight line through measurements: how fast something grows, and by how much in all. Pure.

/// A line fitted by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Change per unit of x.
    pub slope: f64,
    /// Values of the line at the first and the last x.
    pub first: f64,
    pub last: f64,
}

impl Trend {
    /// Fits a line through points in the order of their x; `None` for fewer than two different x.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let (first, last) = (points.first()?.0, points.last()?.0);
        let count = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
        let at = |x: f64| mean_y + slope * (x - mean_x);
        Some(Self { slope, first: at(first), last: at(last) })
    }

    /// Returns the growth from first to last, percent of the first.
    pub fn growth_percent(&self) -> f64 {
        (self.last - self.first) / self.first * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_is_found_again() {
        let points: Vec<_> = (0..100).map(|x| (f64::from(x), 50.0 + 0.5 * f64::from(x))).collect();
        let trend = Trend::of(&points).unwrap();
        assert!((trend.slope - 0.5).abs() < 1e-9, "{trend:?}");
        assert!((trend.first - 50.0).abs() < 1e-9 && (trend.last - 99.5).abs() < 1e-9, "{trend:?}");
        assert!((trend.growth_percent() - 99.0).abs() < 1e-9);
    }

    #[test]
    fn waves_without_growth_have_none() {
        let points: Vec<_> = (0..1000).map(|x| (f64::from(x), 100.0 + (f64::from(x) * 0.7).sin())).collect();
        assert!(Trend::of(&points).unwrap().growth_percent().abs() < 0.5);
    }

    #[test]
    fn one_point_has_no_trend() {
        assert_eq!(Trend::of(&[]), None);
        assert_eq!(Trend::of(&[(1.0, 2.0)]), None);
        assert_eq!(Trend::of(&[(1.0, 2.0), (1.0, 3.0)]), None);
    }
}
