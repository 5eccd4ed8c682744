//! The keys of a table in order.

use std::ffi::c_int;

/// Keys with the stack indexes of their values: the first few without a heap allocation, enough for most tables.
#[derive(Default)]
pub(super) struct Order<'k> {
    few: [(&'k [u8], c_int); 12],
    len: usize,
    many: Vec<(&'k [u8], c_int)>,
}

impl<'k> Order<'k> {
    pub(super) fn push(&mut self, pair: (&'k [u8], c_int)) {
        if self.len < self.few.len() {
            self.few[self.len] = pair;
        } else {
            if self.many.is_empty() {
                self.many.extend_from_slice(&self.few);
            }
            self.many.push(pair);
        }
        self.len += 1;
    }

    pub(super) fn sort(&mut self) {
        if self.many.is_empty() {
            self.few[..self.len].sort_unstable();
        } else {
            self.many.sort_unstable();
        }
    }

    pub(super) fn as_slice(&self) -> &[(&'k [u8], c_int)] {
        if self.many.is_empty() { &self.few[..self.len] } else { &self.many }
    }
}
