//! The sources at work: those of the settings, and those that patterns found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admin::SourceSnapshot;
use crate::core::cursor::SourceName;
use crate::core::timings::TimingsRead;

/// Reports the state of a source.
pub(super) trait Watched: Send + Sync {
    /// Its current state; `None` if there is none to report. Its times are taken from those of all sources.
    fn read(&self, timings: &mut BTreeMap<SourceName, TimingsRead>) -> Option<SourceSnapshot>;
}

/// All of them, in the order in which they came.
#[derive(Debug, Default, Clone)]
pub(super) struct SourceList(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<u64, Entry>,
    next: u64,
}

struct Entry {
    name: String,
    watched: Arc<dyn Watched>,
}

/// A source in the list, until this is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    list: SourceList,
    number: u64,
}

impl SourceList {
    /// Adds a source.
    pub(super) fn add(&self, name: &str, watched: Arc<dyn Watched>) -> Listed {
        let mut known = self.lock();
        let number = known.next;
        known.next += 1;
        known.entries.insert(number, Entry { name: name.to_owned(), watched });
        Listed { list: self.clone(), number }
    }

    /// Their current states.
    pub(super) fn read(&self, mut timings: BTreeMap<SourceName, TimingsRead>) -> Vec<SourceSnapshot> {
        let watched: Vec<_> = self.lock().entries.values().map(|entry| Arc::clone(&entry.watched)).collect();
        watched.iter().filter_map(|watched| watched.read(&mut timings)).collect()
    }

    /// Every writer leaves the value consistent before it can panic.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.list.lock().entries.remove(&self.number);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
