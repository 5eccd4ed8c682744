//! The bodies of requests, and their maximum size.

use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::encode::with_index;
use crate::core::batch::Output;

/// The learned limit does not fall below this, however small a failed request was.
const MIN_BODY: usize = 64 * 1024;

/// How long a learned limit is used before twice the size is tried: the cause may be gone.
const TRUST: Duration = Duration::from_secs(3_600);

/// The maximum size of a request: that of the settings, or less if larger requests fail. Pure.
#[derive(Debug)]
pub(super) struct BodyLimit {
    setting: usize,
    limit: usize,
    learnt: Option<Instant>,
}

impl BodyLimit {
    /// What the settings say.
    pub(super) fn new(setting: usize) -> Self {
        Self { setting, limit: setting, learnt: None }
    }

    /// The current maximum.
    pub(super) fn bytes(&mut self, now: Instant) -> usize {
        if self.learnt.is_some_and(|at| now >= at + TRUST) {
            self.limit = self.limit.saturating_mul(2).min(self.setting);
            self.learnt = (self.limit < self.setting).then_some(now);
        }
        self.limit
    }

    /// Requests above this size fail. Returns the new limit if it changed.
    pub(super) fn lower(&mut self, bytes: usize, now: Instant) -> Option<usize> {
        let limit = bytes.max(MIN_BODY);
        if limit >= self.limit {
            return None;
        }
        self.limit = limit;
        self.learnt = Some(now);
        Some(limit)
    }
}

/// The events as stored in the batch, not copied.
pub(super) fn body(batch: &Arc<Output>, range: &Range<usize>) -> Bytes {
    struct Owner(Arc<Output>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.events.bytes()
        }
    }
    let bytes = batch.events.range(range.start).start..batch.events.range(range.end - 1).end;
    Bytes::from_owner(Owner(Arc::clone(batch))).slice(bytes)
}

/// The events with another index than they name.
pub(super) fn body_for_index(batch: &Output, range: &Range<usize>, index: &str) -> Bytes {
    let mut body = Vec::with_capacity(range.len() * 512);
    for event in range.clone() {
        with_index(batch.events.get(event), index, &mut body);
    }
    body.into()
}

/// Up to this size, compressing and unpacking is quicker than passing the work to another thread. A megabyte takes
/// milliseconds, which is too long for a shared thread.
pub(super) const SMALL_BODY: usize = 16 * 1024;

/// The body as it is sent with gzip.
pub(super) async fn compress(body: Bytes) -> Bytes {
    if body.len() <= SMALL_BODY {
        return gzip(&body).into();
    }
    let packed = tokio::task::spawn_blocking(move || gzip(&body));
    Bytes::from(packed.await.expect("compressing does not panic"))
}

/// The body of a request as it is sent with gzip.
///
/// # Panics
/// Never: a vector takes every byte.
#[must_use]
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 6), flate2::Compression::fast());
    encoder.write_all(body).expect("writing to a Vec cannot fail");
    encoder.finish().expect("writing to a Vec cannot fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learnt_limit_applies_for_an_hour_and_then_doubles_up_to_the_setting() {
        let (mut limit, now) = (BodyLimit::new(1_000_000), Instant::now());
        assert_eq!(limit.lower(250_000, now), Some(250_000));
        let hours = |hours: u32| now + hours * TRUST;
        assert_eq!(limit.bytes(hours(1) - Duration::from_secs(1)), 250_000);
        let bytes: Vec<_> = (1..6).map(|hour| limit.bytes(hours(hour))).collect();
        assert_eq!(bytes, [500_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000]);
    }

    #[test]
    fn a_limit_is_never_raised_by_a_failure_and_never_below_the_minimum() {
        let (mut limit, now) = (BodyLimit::new(1_000_000), Instant::now());
        assert_eq!(limit.lower(2_000_000, now), None);
        assert_eq!(limit.lower(400_000, now), Some(400_000));
        assert_eq!(limit.lower(400_000, now), None);
        assert_eq!(limit.lower(10, now), Some(MIN_BODY));
        assert_eq!(BodyLimit::new(10_000).lower(10, now), None, "the settings may say less");
    }
}
