//! Limits the bytes that are written and not proven, by what the receiver reads in a limited time. Pure.
//!
//! Sockets and the receiver's system take megabytes at once, so writing is no measure of reading. A proof is: the
//! receiver has read all bytes of its connection by then.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes that may always be unproven: before the first proof, and whatever the receiver's rate.
const MIN_BYTES: usize = 1_000_000;

/// A proof lets at most this many times as much be unproven: what it says about the rate is little, if it is of little.
const MAX_GROWTH: usize = 4;

/// At least this fraction of the time of a proof counts as reading, however short that time is.
const READING_PART: u32 = 8;

/// How many bytes may be unproven.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    /// The time in which the receiver must be able to read what is unproven; zero means no limit.
    time: Duration,
    /// Bytes that may always be unproven.
    least: usize,
    /// Bytes that may be unproven now.
    allowed: usize,
    /// Bytes and seconds of reading of the last proofs. Each proof counts twice as much as the one before it.
    read: (f64, f64),
    /// The shortest time between the first byte on a connection and its proof: opening the witness and closing take
    /// that long even if reading takes no time.
    overhead: Option<Duration>,
    /// When the last proof came.
    proven: Option<Instant>,
}

impl Allowance {
    /// What is read within `time` may be unproven, as soon as the rate is known.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, least: MIN_BYTES, allowed: MIN_BYTES, read: (0.0, 0.0), overhead: None, proven: None }
    }

    /// The number of bytes that may be unproven.
    pub(super) fn bytes(&self) -> usize {
        if self.time.is_zero() { usize::MAX } else { self.allowed }
    }

    /// The receiver has read a connection that carried `bytes` to its end. Its first byte was written at `began`.
    pub(super) fn proven(&mut self, bytes: usize, began: Instant, now: Instant) {
        let whole = now - began;
        let overhead = self.overhead.map_or(whole, |overhead| overhead.min(whole));
        self.overhead = Some(overhead);
        // Until the proof before this one, the receiver was reading an earlier connection, and the overhead passed meanwhile.
        let before = self.proven.replace(now).unwrap_or(began);
        let reading = now.saturating_duration_since(before.max(began + overhead));
        let reading = reading.max((now - before.max(began)) / READING_PART).max(Duration::from_micros(1));
        self.read = (self.read.0 / 2.0 + bytes as f64, self.read.1 / 2.0 + reading.as_secs_f64());
        let within = (self.time + overhead).as_secs_f64() * self.read.0 / self.read.1;
        self.allowed = (within as usize).min(self.allowed.saturating_mul(MAX_GROWTH)).max(self.least);
    }

    /// The connection broke: whoever reads next may be slower.
    pub(super) fn reset(&mut self) {
        *self = Self { least: self.least, allowed: self.least, ..Self::new(self.time) };
    }
}

#[cfg(test)]
impl Allowance {
    /// This many bytes, whatever the receiver reads.
    pub(super) fn fixed(bytes: usize) -> Self {
        Self { least: bytes, allowed: bytes, ..Self::new(Duration::from_secs(1)) }
    }
}

#[cfg(test)]
mod tests;
