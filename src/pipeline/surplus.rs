//! By how much the next part of a shard may be larger than its room. Pure.

/// The surplus that is expected.
#[derive(Debug)]
pub(super) struct Surplus {
    /// Maximum bytes of the events of one log.
    most: usize,
    /// `None` until a part was measured.
    expected: Option<usize>,
}

impl Surplus {
    /// For a shard of which no part was measured; one log may become `most` bytes of events.
    pub(super) fn new(most: usize) -> Self {
        Self { most, expected: None }
    }

    /// In bytes.
    pub(super) fn expected(&self) -> usize {
        self.expected.unwrap_or(self.most)
    }

    /// A part was larger than its room by `surplus` bytes. Many parts without large logs are needed until none are
    /// expected, because such logs often come in groups.
    pub(super) fn measured(&mut self, surplus: usize) {
        let before = self.expected.unwrap_or(0);
        self.expected = Some(surplus.max(before / 2).min(self.most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_expected_until_a_part_is_measured_and_large_logs_are_remembered_for_some_parts() {
        let mut surplus = Surplus::new(1000);
        assert_eq!(surplus.expected(), 1000);
        let mut after = |measured| {
            surplus.measured(measured);
            surplus.expected()
        };
        assert_eq!([0, 0, 800, 0, 0, 500].map(&mut after), [0, 0, 800, 400, 200, 500]);
        assert_eq!([0; 10].map(&mut after).last(), Some(&0));
        assert_eq!(after(5000), 1000);
    }
}
