//! The filter: says of a name that nobody has it, or that somebody may.

use chinwag_schema::limits::lookups::{FILTER_FALSE_POSITIVES, FILTER_FIRST_NAMES, FILTER_LAYERS_MAX};
use fastbloom::BloomFilter;

/// A Bloom filter that grows by layers (Almeida and others, 'Scalable Bloom filters', 2007), so that it is never made anew for having
/// become full. Each has a seed of its own, which nobody else knows: names that it is wrong about can't be worked out.
///
/// Invariant: a name that was added is never denied.
pub(super) struct Filter {
    layers: Vec<Layer>,
    names: usize,
}

struct Layer {
    bloom: BloomFilter,
    room: usize,
}

impl Layer {
    fn new(names: usize) -> Self {
        let bloom = BloomFilter::with_false_pos(FILTER_FALSE_POSITIVES).seed(&rand::random()).expected_items(names);
        Self { bloom, room: names }
    }
}

impl Filter {
    pub(super) fn new() -> Self {
        Self { layers: vec![Layer::new(FILTER_FIRST_NAMES)], names: 0 }
    }

    pub(super) fn may_contain(&self, name: &str) -> bool {
        // Most names are in the last layer, which is as large as the others together.
        self.layers.iter().rev().any(|layer| layer.bloom.contains(name))
    }

    pub(super) fn add(&mut self, name: &str) {
        if self.may_contain(name) {
            return;
        }
        self.names += 1;
        let count = self.layers.len();
        let last = self.layers.last_mut().expect("there is a first layer");
        last.bloom.insert(name);
        last.room = last.room.saturating_sub(1);
        if last.room == 0 && count < FILTER_LAYERS_MAX {
            self.layers.push(Layer::new(FILTER_FIRST_NAMES << count));
        }
    }

    /// Returns how many names were added, but for the few that it took for others.
    pub(super) fn names(&self) -> usize {
        self.names
    }

    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.bloom.num_bits() / 8).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_denied_and_few_unknown_ones_are_let_through_while_it_grows() {
        let mut filter = Filter::new();
        let names = 5 * FILTER_FIRST_NAMES;
        (0..names).for_each(|n| filter.add(&format!("user {n}")));
        assert_eq!(filter.layers.len(), 3);
        assert!((0..names).all(|n| filter.may_contain(&format!("user {n}"))));
        let wrong = (0..100_000).filter(|n| filter.may_contain(&format!("nobody {n}"))).count();
        // Three layers with a chance of one in a thousand each.
        assert!((1..1_000).contains(&wrong), "{wrong} of 100,000");
        assert!(filter.names() > names - names / 100 && filter.names() <= names);
        assert!(filter.bytes() < 7 * FILTER_FIRST_NAMES * 2, "{}", filter.bytes());
    }

    #[test]
    fn a_name_added_again_takes_no_room() {
        let mut filter = Filter::new();
        (0..3 * FILTER_FIRST_NAMES).for_each(|_| filter.add("ann"));
        assert_eq!((filter.names(), filter.layers.len()), (1, 1));
    }

    #[test]
    fn it_stops_growing_at_its_bound_and_goes_on_to_know_every_name() {
        let mut filter = Filter::new();
        // As if all layers but small ones were full.
        filter.layers.extend((2..FILTER_LAYERS_MAX).map(|_| Layer::new(8)));
        (0..100).for_each(|n| filter.add(&format!("user {n}")));
        assert_eq!(filter.layers.len(), FILTER_LAYERS_MAX);
        assert!((0..100).all(|n| filter.may_contain(&format!("user {n}"))));
    }
}
