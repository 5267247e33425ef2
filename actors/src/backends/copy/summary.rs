//! What a comparison of both stores found.

use std::fmt;

use chinwag_schema::limits::copy::DIFFERENCES_TOLD;

/// How many there are, and a checksum of all of them in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    pub rows: u64,
    /// SHA-256.
    pub sum: [u8; 32],
}

impl Counted {
    /// Returns the first digits of the checksum.
    pub fn short(&self) -> String {
        self.sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One kind of rows, in both stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    pub what: &'static str,
    pub source: Counted,
    pub target: Counted,
}

/// What was found when both stores were read again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub compared: Vec<Compared>,
    /// The first differences, by name; none: the copy is whole.
    pub differences: Vec<String>,
    /// All of them.
    pub differences_count: u64,
}

impl Summary {
    /// Notes a difference.
    pub(super) fn differs(&mut self, what: impl FnOnce() -> String) {
        self.differences_count += 1;
        if self.differences.len() < DIFFERENCES_TOLD {
            self.differences.push(what());
        }
    }

    /// Adds what another part found.
    pub(super) fn add(&mut self, other: Self) {
        let room = DIFFERENCES_TOLD.saturating_sub(self.differences.len());
        self.compared.extend(other.compared);
        self.differences.extend(other.differences.into_iter().take(room));
        self.differences_count += other.differences_count;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:>12} {:>12}  checksum", "", "source", "cluster")?;
        for Compared { what, source, target } in &self.compared {
            let sums = if source.sum == target.sum {
                source.short()
            } else {
                format!("{} is not {}", source.short(), target.short())
            };
            writeln!(f, "{what:<16} {:>12} {:>12}  {sums}", source.rows, target.rows)?;
        }
        for difference in &self.differences {
            writeln!(f, "differs: {difference}")?;
        }
        let more = self.differences_count - self.differences.len() as u64;
        if more > 0 {
            writeln!(f, "differs: {more} more")?;
        }
        Ok(())
    }
}
