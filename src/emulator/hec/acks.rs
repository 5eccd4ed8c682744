//! Indexer acknowledgement (Splunk, "About HTTP Event Collector Indexer Acknowledgment").

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Idle time after which a channel is forgotten with all its acks (`maxIdleTime` in inputs.conf).
const MAX_IDLE: Duration = Duration::from_secs(600);

/// The channels of one indexer.
#[derive(Debug, Default)]
pub(super) struct Acks {
    channels: BTreeMap<String, Channel>,
}

#[derive(Debug)]
struct Channel {
    next: u64,
    /// When each request will be safe; `None` is never.
    pending: BTreeMap<u64, Option<Instant>>,
    used: Instant,
}

impl Acks {
    /// Gives a request its id; ids count from 0 in every channel. `ready` is when it will be safe, `None` is never.
    pub(super) fn accept(&mut self, channel: &str, ready: Option<Instant>, now: Instant) -> u64 {
        self.forget_idle(now);
        let fresh = || Channel { next: 0, pending: BTreeMap::new(), used: now };
        let channel = self.channels.entry(channel.to_owned()).or_insert_with(fresh);
        channel.used = now;
        let id = channel.next;
        channel.next += 1;
        channel.pending.insert(id, ready);
        id
    }

    /// Which of `ids` are safe. `true` is returned once and then forgotten; an unknown id is `false`, not an error.
    pub(super) fn poll(&mut self, channel: &str, ids: &[u64], now: Instant) -> BTreeMap<u64, bool> {
        self.forget_idle(now);
        let mut channel = self.channels.get_mut(channel);
        if let Some(channel) = &mut channel {
            channel.used = now;
        }
        let mut safe = |id: &u64| {
            let Some(channel) = &mut channel else { return false };
            let is_safe = matches!(channel.pending.get(id), Some(Some(ready)) if *ready <= now);
            if is_safe {
                channel.pending.remove(id);
            }
            is_safe
        };
        ids.iter().map(|id| (*id, safe(id))).collect()
    }

    fn forget_idle(&mut self, now: Instant) {
        self.channels.retain(|_, channel| now.saturating_duration_since(channel.used) < MAX_IDLE);
    }
}
