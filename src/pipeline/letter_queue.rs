//! Dead letters of a shard that wait to be written, in shard order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dead_letter::Record;

/// Maximum number of bytes of events that are written together, except for those of the first batch.
const MAX_BYTES: usize = 8 << 20;

/// The waiting dead letters of the batches of one shard.
#[derive(Debug, Default)]
pub(super) struct LetterQueue(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<[Record]>>,
    /// Number of batches that were written, which is the number of the first waiting one.
    written: u64,
}

impl LetterQueue {
    /// Adds the dead letters of a batch; returns its number.
    pub(super) fn push(&self, records: Arc<[Record]>) -> u64 {
        let mut queue = self.lock();
        queue.waiting.push_back(records);
        queue.written + queue.waiting.len() as u64 - 1
    }

    /// The batches to write next, unless batch `number` is already written: the first one if `is_alone`, otherwise also
    /// those behind it that fit.
    pub(super) fn next(&self, number: u64, is_alone: bool) -> Option<Vec<Arc<[Record]>>> {
        let queue = self.lock();
        if number < queue.written {
            return None;
        }
        let mut bytes = 0_usize;
        let fits = |batch: &&Arc<[Record]>| {
            let is_first = bytes == 0;
            bytes += batch.iter().filter_map(|record| record.event.as_ref()).map(Vec::len).sum::<usize>().max(1);
            is_first || (!is_alone && bytes <= MAX_BYTES)
        };
        Some(queue.waiting.iter().take_while(fits).cloned().collect())
    }

    /// The first `batches` batches are on disk.
    pub(super) fn wrote(&self, batches: usize) {
        let mut queue = self.lock();
        queue.waiting.drain(..batches);
        queue.written += batches as u64;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Arc<[Record]> {
        Arc::from([])
    }

    #[test]
    fn the_first_batch_is_written_with_those_behind_it_or_alone_and_none_twice() {
        let queue = LetterQueue::default();
        let [first, second, third] = [batch(), batch(), batch()].map(|batch| queue.push(batch));
        assert_eq!(queue.next(first, true).map(|batches| batches.len()), Some(1));
        assert_eq!(queue.next(first, false).map(|batches| batches.len()), Some(3));
        queue.wrote(2);
        assert_eq!(queue.next(second, false), None);
        assert_eq!(queue.next(third, false).map(|batches| batches.len()), Some(1));
        queue.wrote(1);
        assert_eq!(queue.push(batch()), third + 1);
    }
}
