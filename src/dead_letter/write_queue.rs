//! Joins writes of several shards that wait for the disk into one write with one sync.

use std::mem::take;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use super::journal::StoreError;

/// Writes that wait until the file is free.
#[derive(Debug, Default)]
pub(super) struct WriteQueue(Mutex<Vec<QueuedWrite>>);

/// Complete lines of one shard. They are written together or not at all.
#[derive(Debug)]
pub(super) struct QueuedWrite {
    pub(super) lines: Vec<u8>,
    done: Sender<Result<(), StoreError>>,
}

impl WriteQueue {
    /// Adds a write. The returned value receives its result from whoever does it.
    pub(super) fn push(&self, lines: Vec<u8>) -> Receiver<Result<(), StoreError>> {
        let (done, result) = channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(QueuedWrite { lines, done });
        result
    }

    /// Does all waiting writes: with one call of `write` or, if that fails, with a call for each of them, so that one
    /// that does not fit fails alone.
    pub(super) fn write_all(&self, mut write: impl FnMut(&[QueuedWrite]) -> Result<(), StoreError>) {
        let writes = take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if writes.len() > 1 && write(&writes).is_ok() {
            writes.into_iter().for_each(|one| one.finish(Ok(())));
            return;
        }
        for one in writes {
            let result = write(std::slice::from_ref(&one));
            one.finish(result);
        }
    }
}

impl QueuedWrite {
    fn finish(self, result: Result<(), StoreError>) {
        // The caller may be gone.
        let _ = self.done.send(result);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;

    #[test]
    fn waiting_writes_are_joined_and_one_that_fails_does_not_fail_the_others() {
        let queue = WriteQueue::default();
        let results = [b"a", b"b", b"c"].map(|lines| queue.push(lines.to_vec()));
        let mut calls = Vec::new();
        queue.write_all(|writes| {
            calls.push(writes.len());
            let has_b = writes.iter().any(|one| one.lines == b"b");
            if has_b { Err(StoreError::of("write to", Path::new("f"))(io::Error::other("no"))) } else { Ok(()) }
        });
        assert_eq!(calls, [3, 1, 1, 1]);
        assert_eq!(results.map(|result| result.recv().unwrap().is_ok()), [true, false, true]);
        let result = queue.push(b"d".to_vec());
        let other = queue.push(b"e".to_vec());
        calls.clear();
        queue.write_all(|writes| {
            calls.push(writes.len());
            Ok(())
        });
        assert_eq!((calls, result.recv().unwrap().is_ok(), other.recv().unwrap().is_ok()), (vec![2], true, true));
    }
}
