//! How a value enters a checksum: the same bytes whichever store it was read from, and no two values the same ones.

use sha2::{Digest, Sha256};

/// A value of a column.
pub(crate) trait Canonical {
    /// Adds the value.
    fn feed(&self, sum: &mut Sha256);
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Canonical for $number {
            fn feed(&self, sum: &mut Sha256) {
                sum.update(i64::from(*self).to_be_bytes());
            }
        })*
    };
}
numbers!(i64, i16, i8, bool);

impl Canonical for Vec<u8> {
    fn feed(&self, sum: &mut Sha256) {
        sum.update((self.len() as u64).to_be_bytes());
        sum.update(self);
    }
}

impl Canonical for String {
    fn feed(&self, sum: &mut Sha256) {
        sum.update((self.len() as u64).to_be_bytes());
        sum.update(self.as_bytes());
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn feed(&self, sum: &mut Sha256) {
        sum.update([u8::from(self.is_some())]);
        if let Some(value) = self {
            value.feed(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[&dyn Canonical]) -> Vec<u8> {
        let mut sum = Sha256::new();
        for value in values {
            value.feed(&mut sum);
        }
        sum.finalize().to_vec()
    }

    #[test]
    fn neighbours_cannot_run_into_each_other() {
        let text = |text: &str| text.to_owned();
        assert_ne!(sum(&[&text("ab"), &text("c")]), sum(&[&text("a"), &text("bc")]));
        assert_ne!(sum(&[&Some(text(""))]), sum(&[&None::<String>]));
        assert_ne!(sum(&[&Some(0_i64), &None::<i64>]), sum(&[&None::<i64>, &Some(0_i64)]));
    }
}
