//! Encoded events, and the output that they are for one destination.

use super::budget::Buffer;
use super::cursor::ShardId;

/// Unused capacity up to this fraction of the events is kept: freeing it is not worth the call.
const SLACK_PART: usize = 8;

/// Encoded events, back to back in one buffer. Each has the index of the log it was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    bytes: Buffer,
    ends: Vec<usize>,
    logs: Vec<u32>,
}

/// No events yet, to be written into this buffer.
impl From<Buffer> for Events {
    fn from(bytes: Buffer) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl Events {
    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all events, back to back.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The byte range of event number `event` in [`Events::bytes`].
    #[must_use]
    pub fn range(&self, event: usize) -> std::ops::Range<usize> {
        let start = if event == 0 { 0 } else { self.ends[event - 1] };
        start..self.ends[event]
    }

    /// The bytes of event number `event`.
    #[must_use]
    pub fn get(&self, event: usize) -> &[u8] {
        &self.bytes[self.range(event)]
    }

    /// The index (from 0) of the log in the page from which event number `event` was made.
    #[must_use]
    pub fn log_of(&self, event: usize) -> u32 {
        self.logs[event]
    }

    /// The numbers of the events that were made from log number `log`: the events are in the order of their logs.
    #[must_use]
    pub fn of_log(&self, log: u32) -> std::ops::Range<usize> {
        let start = self.logs.partition_point(|of| *of < log);
        start..start + self.logs[start..].partition_point(|of| *of == log)
    }

    /// Bytes of memory that the events hold.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() + self.logs.capacity() * size_of::<u32>()
    }

    /// The same events without their bytes.
    pub(super) fn outline(&self) -> Self {
        Self { bytes: Buffer::default(), ends: self.ends.clone(), logs: self.logs.clone() }
    }

    /// The same events with these bytes: those that they had before [`Events::outline`].
    pub(super) fn with_bytes(&self, bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), ends: self.ends.clone(), logs: self.logs.clone() }
    }

    /// Frees unused capacity.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / SLACK_PART {
            self.bytes.shrink_to_fit();
        }
        self.ends.shrink_to_fit();
        self.logs.shrink_to_fit();
    }

    /// Appends an event made from log number `log`. `write` writes it into the buffer. If `write` fails, nothing is
    /// added.
    ///
    /// # Errors
    /// The error that `write` returns.
    pub fn push<E>(&mut self, log: u32, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.ends.push(self.bytes.len());
        self.logs.push(log);
        Ok(())
    }

    /// Whether there is an event of log number `log`. Checks only the last event.
    #[must_use]
    pub fn has_of_last(&self, log: u32) -> bool {
        self.logs.last() == Some(&log)
    }

    /// Removes the events of log number `log` from the end.
    pub fn drop_of_last(&mut self, log: u32) {
        let kept = self.logs.iter().rposition(|of| *of != log).map_or(0, |last| last + 1);
        self.truncate(kept);
    }

    /// Shortens the events to the first `len`, for example when a later event of the same log is unusable.
    pub fn truncate(&mut self, len: usize) {
        if len < self.ends.len() {
            self.bytes.truncate(if len == 0 { 0 } else { self.ends[len - 1] });
            self.ends.truncate(len);
            self.logs.truncate(len);
        }
    }
}

/// The part of a batch for one destination.
#[derive(Debug, Clone)]
pub struct Output {
    /// The shard of the logs.
    pub shard: ShardId,
    /// The events, encoded for that destination.
    pub events: Events,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a vector keeps unused capacity: `run.memory` would count memory that nothing uses.
    #[test]
    fn shrunk_events_use_little_more_memory_than_they_need() {
        let mut events = Events::from(Buffer::from(Vec::with_capacity(100_000)));
        for log in 0..110 {
            let push = |out: &mut Vec<u8>| {
                out.extend_from_slice(&[b'x'; 1000]);
                Ok::<(), std::convert::Infallible>(())
            };
            let Ok(()) = events.push(log, push);
        }
        assert!(events.weight() > 150_000, "it grew in steps: {}", events.weight());
        events.shrink();
        assert_eq!(events.weight(), 110 * (1000 + size_of::<usize>() + size_of::<u32>()));
        assert_eq!((events.len(), events.get(109)), (110, &[b'x'; 1000][..]));
    }
}
