//! Choosing by a power law (Zipf): the first is chosen most, the second half as often, the tenth a tenth as often. Pure.

use rand::{Rng, RngExt as _};

/// Weights of `1 / rank^exponent`.
#[derive(Debug, Clone)]
pub struct PowerLaw {
    /// Sum of the weights up to each rank; the last is 1.
    up_to: Vec<f64>,
}

impl PowerLaw {
    /// Makes weights for `count` ranks (at least one).
    pub fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count.max(1)).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        let mut up_to: Vec<f64> = weights.collect();
        up_to.iter_mut().for_each(|part| *part /= sum);
        Self { up_to }
    }

    /// Chooses a rank, from 0.
    pub fn choose(&self, random: &mut impl Rng) -> usize {
        let at = random.random::<f64>();
        self.up_to.partition_point(|&part| part <= at).min(self.up_to.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    #[test]
    fn ranks_are_chosen_in_inverse_proportion() {
        let (law, mut random) = (PowerLaw::new(100, 1.0), SmallRng::seed_from_u64(7));
        let mut chosen = [0_u32; 100];
        (0..200_000).for_each(|_| chosen[law.choose(&mut random)] += 1);
        let ratio = |a: usize, b: usize| f64::from(chosen[a - 1]) / f64::from(chosen[b - 1]);
        assert!((1.9..2.1).contains(&ratio(1, 2)), "{}", ratio(1, 2));
        assert!((8.5..11.5).contains(&ratio(1, 10)), "{}", ratio(1, 10));
        assert!(chosen[99] > 0);
    }

    #[test]
    fn an_exponent_of_zero_makes_all_equal_and_one_rank_is_always_chosen() {
        let mut random = SmallRng::seed_from_u64(7);
        let equal = PowerLaw::new(4, 0.0);
        assert_eq!(equal.up_to, [0.25, 0.5, 0.75, 1.0]);
        assert_eq!(PowerLaw::new(1, 1.0).choose(&mut random), 0);
        assert_eq!(PowerLaw::new(0, 1.0).choose(&mut random), 0);
    }
}
