//! Probe logs: written into the logstore, and tracked until they are durable at the destinations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::cursor::{ShardId, SourceName};
use super::failing::Failing;
use super::source::SourceError;

/// Maximum number of outstanding probe logs of a source: those of one hour. At the maximum, no more are written.
const MAX_WAITING: usize = 60;

/// The id of a probe log: 32 random hexadecimal digits, which occur in no other log.
pub type ProbeId = String;

/// The probe logs of all sources.
#[derive(Debug, Default)]
pub struct Probes {
    sources: Mutex<BTreeMap<SourceName, Probe>>,
    /// Number of outstanding probe logs. While it is 0, nothing is locked or searched.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Probe {
    waiting: Vec<Waiting>,
    /// Number of probe logs so far: the shards take turns.
    turn: usize,
    took: Option<Duration>,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Waiting {
    id: ProbeId,
    shard: ShardId,
    written: Instant,
}

/// The state of the probe logs of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeStatus {
    /// Age of the oldest probe log that is not durable yet.
    pub waiting: Option<Duration>,
    /// Time from writing the last durable probe log until it was durable.
    pub took: Option<Duration>,
    /// Why probe logs currently cannot be written.
    pub failing: Option<Failing>,
}

impl Probes {
    /// Adds a probe log for the next of the shards that this process reads, and returns that shard; `None` without
    /// shards, or if there are too many probe logs. Probe logs in other shards are forgotten: they arrive elsewhere. Call
    /// it before the write, because the probe log may arrive before the write is answered.
    pub fn begin(&self, source: &SourceName, held: &[ShardId], id: &str, now: Instant) -> Option<ShardId> {
        self.change(source, |probe| {
            probe.waiting.retain(|waiting| held.contains(&waiting.shard));
            if probe.waiting.len() >= MAX_WAITING {
                return None;
            }
            let shard = *held.get(probe.turn % held.len().max(1))?;
            probe.turn = probe.turn.wrapping_add(1);
            probe.waiting.push(Waiting { id: id.to_owned(), shard, written: now });
            Some(shard)
        })
    }

    /// A probe log was written.
    pub fn written(&self, source: &SourceName) {
        self.change(source, |probe| probe.failing = None);
    }

    /// A probe log could not be written.
    pub fn failed(&self, source: &SourceName, id: &str, error: &SourceError, now: Instant) {
        self.change(source, |probe| {
            probe.waiting.retain(|waiting| waiting.id != id);
            probe.failing = Some(Failing::again(probe.failing.as_ref(), error, now));
        });
    }

    /// All logs of a page are durable; `body` unpacks the page, which is done only while probe logs are outstanding.
    pub fn durable(&self, source: &SourceName, shard: ShardId, body: impl FnOnce() -> Bytes, now: Instant) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let body = body();
        self.change(source, |probe| {
            let took = &mut probe.took;
            probe.waiting.retain(|waiting| {
                let is_there = waiting.shard == shard && memchr::memmem::find(&body, waiting.id.as_bytes()).is_some();
                if is_there {
                    *took = Some(now.saturating_duration_since(waiting.written));
                }
                !is_there
            });
        });
    }

    /// The state of the probe logs by source. Includes only sources that have had any.
    #[must_use]
    pub fn read(&self, now: Instant) -> BTreeMap<SourceName, ProbeStatus> {
        let status = |probe: &Probe| ProbeStatus {
            waiting: probe.waiting.iter().map(|waiting| now.saturating_duration_since(waiting.written)).max(),
            took: probe.took,
            failing: probe.failing.clone(),
        };
        self.sources().iter().map(|(source, probe)| (source.clone(), status(probe))).collect()
    }

    fn change<T>(&self, source: &SourceName, change: impl FnOnce(&mut Probe) -> T) -> T {
        let mut sources = self.sources();
        let changed = change(sources.entry(source.clone()).or_default());
        let waiting = sources.values().map(|probe| probe.waiting.len()).sum();
        self.waiting.store(waiting, Ordering::Relaxed);
        changed
    }

    /// A poisoned lock is usable: every writer leaves the state complete.
    fn sources(&self) -> MutexGuard<'_, BTreeMap<SourceName, Probe>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cause::Cause;

    const SECOND: Duration = Duration::from_secs(1);

    fn status(probes: &Probes, now: Instant) -> ProbeStatus {
        probes.read(now).remove(&SourceName::new("audit")).unwrap_or_default()
    }

    #[test]
    fn a_probe_is_pending_until_its_page_is_durable() {
        let (probes, audit, began) = (Probes::default(), SourceName::new("audit"), Instant::now());
        let held = [ShardId(1), ShardId(2)];
        assert_eq!(probes.begin(&audit, &held, "abc", began), Some(ShardId(1)));
        assert_eq!(probes.begin(&audit, &held, "def", began + SECOND), Some(ShardId(2)), "the shards take turns");
        probes.written(&audit);
        let later = began + 5 * SECOND;
        assert_eq!(status(&probes, later).waiting, Some(5 * SECOND));
        probes.durable(&audit, ShardId(2), || Bytes::from_static(b"\x0a\x03abc"), later);
        assert_eq!(status(&probes, later).waiting, Some(5 * SECOND), "it is another shard's");
        probes.durable(&audit, ShardId(1), || Bytes::from_static(b"\x0a\x03abc\x12"), later);
        assert_eq!(
            status(&probes, later),
            ProbeStatus { waiting: Some(4 * SECOND), took: Some(5 * SECOND), failing: None }
        );
        assert_eq!(probes.begin(&audit, &held, "mno", later), Some(ShardId(1)));
        probes.durable(&audit, ShardId(1), || Bytes::from_static(b"mno"), later + 2 * SECOND);
        assert_eq!(status(&probes, later).took, Some(2 * SECOND), "that of the last one");
        assert_eq!(probes.begin(&audit, &[ShardId(1)], "ghi", later), Some(ShardId(1)));
        assert_eq!(status(&probes, later).waiting, Some(Duration::ZERO), "another process reads shard 2 now");
        assert_eq!(probes.begin(&audit, &[], "jkl", later), None);
        assert_eq!(status(&probes, later).waiting, None);
    }

    #[test]
    fn a_probe_that_cannot_be_written_is_not_pending_and_the_number_pending_is_bounded() {
        let (probes, audit, now) = (Probes::default(), SourceName::new("audit"), Instant::now());
        assert!(probes.begin(&audit, &[ShardId(1)], "abc", now).is_some());
        let refused = SourceError::Refused(Cause::new("put logs: 401"));
        probes.failed(&audit, "abc", &refused, now);
        let failing = status(&probes, now);
        assert_eq!((failing.waiting, failing.failing.unwrap().cause.as_str()), (None, "put logs: 401"));
        for number in 0..MAX_WAITING {
            assert!(probes.begin(&audit, &[ShardId(1)], &number.to_string(), now).is_some());
        }
        assert_eq!(probes.begin(&audit, &[ShardId(1)], "more", now), None);
        probes.written(&audit);
        assert_eq!(status(&probes, now).failing, None);
    }
}
