//! Checks the events that arrive against the generated logs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::memmem;

use crate::emulator::{hec, syslog};

/// The text before the id of a generated log (audit and web), and after it: in JSON, and in a syslog message of
/// `||key=value`.
const ID_KEYS: [(&[u8], u8); 4] =
    [(b"\"eventId\":\"", b'"'), (b"\"request_id\":\"", b'"'), (b"||eventId=", b'|'), (b"||request_id=", b'|')];

/// Which logs were expected, and how often each arrived.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Read only by key, so its order does not matter.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    times: HashMap<Vec<u8>, u32>,
    arrived: u64,
    repeats: u64,
    unexpected: u64,
}

impl Oracle {
    pub(super) fn expect(&self, ids: impl Iterator<Item = String>) {
        self.lock().times.extend(ids.map(|id| (id.into_bytes(), 0)));
    }

    /// Expected logs that have arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.lock().arrived
    }

    /// Repeated events.
    pub(super) fn repeats(&self) -> u64 {
        self.lock().repeats
    }

    /// Unexpected events.
    pub(super) fn unexpected(&self) -> u64 {
        self.lock().unexpected
    }

    /// Expected logs that have not arrived, without those that the script dropped.
    pub(super) fn missing(&self, dropped: u64) -> u64 {
        let seen = self.lock();
        (seen.times.len() as u64).saturating_sub(seen.arrived + dropped)
    }

    fn arrives(&self, raw: &[u8]) {
        let mut seen = self.lock();
        match id(raw).and_then(|id| seen.times.get_mut(id)) {
            Some(times) => {
                *times += 1;
                let first = *times == 1;
                seen.arrived += u64::from(first);
                seen.repeats += u64::from(!first);
            }
            None => seen.unexpected += 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl hec::Tap for Oracle {
    fn indexed(&self, event: &hec::Received<'_>) {
        self.arrives(&event.event_raw);
    }
}

impl syslog::Tap for Oracle {
    fn received(&self, message: &[u8]) {
        self.arrives(message);
    }
}

fn id(raw: &[u8]) -> Option<&[u8]> {
    ID_KEYS.iter().find_map(|(key, end)| {
        let start = memmem::find(raw, key)? + key.len();
        let len = memchr::memchr(*end, &raw[start..]).unwrap_or(raw.len() - start);
        Some(&raw[start..start + len])
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use super::*;
    use crate::emulator::hec::{Received, Tap as _};

    fn event(raw: &str) -> Received<'_> {
        Received {
            time: None,
            host: None,
            source: None,
            sourcetype: None,
            index: None,
            event_raw: Cow::Borrowed(raw.as_bytes()),
            fields: BTreeMap::new(),
            channel: None,
        }
    }

    #[test]
    fn the_oracle_counts_missing_repeated_and_unknown_logs() {
        let oracle = Oracle::default();
        oracle.expect(["a", "b", "c", "d"].into_iter().map(str::to_owned));
        oracle.indexed(&event(r#"{"event":{"eventId":"a"}}"#));
        oracle.indexed(&event(r#"{"request_id":"b","x":1}"#));
        oracle.indexed(&event(r#"{"request_id":"b","x":1}"#));
        oracle.indexed(&event(r#"{"request_id":"z"}"#));
        oracle.indexed(&event(r#"{}"#));
        assert_eq!((oracle.arrived(), oracle.repeats(), oracle.unexpected()), (2, 1, 2));
        assert_eq!(oracle.missing(0), 2);
        assert_eq!(oracle.missing(1), 1);
    }
}
