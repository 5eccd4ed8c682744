//! The last raw logs, to test a new version with.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::core::page::Page;
use crate::loggroup;

/// Maximum number of logs, and maximum bytes of them, of all shards together.
const MAX_LOGS: usize = 200;
const MAX_BYTES: usize = 1 << 20;

/// Limits for one page, so that other pages are included as well.
const LOGS_OF_PAGE: usize = 20;
const BYTES_OF_PAGE: usize = 64 << 10;

/// Copies of the first logs of the last pages.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Each with its number of logs; the newest is last.
    pages: VecDeque<(Page, usize)>,
    logs: usize,
    bytes: usize,
}

impl Samples {
    /// Keeps the first logs of a page, if it can be decoded.
    pub(crate) fn keep(&self, page: &Page) {
        let Ok((body, logs)) = loggroup::sample(&page.body, LOGS_OF_PAGE, BYTES_OF_PAGE) else { return };
        if logs == 0 {
            return;
        }
        let bytes = body.len();
        let page = Page { body: body.into(), ..page.clone() };
        // Not worth waiting for the lock: the next page has logs too.
        let Ok(mut kept) = self.0.try_lock() else { return };
        kept.pages.push_back((page, logs));
        kept.logs += logs;
        kept.bytes += bytes;
        while kept.logs > MAX_LOGS || kept.bytes > MAX_BYTES {
            let Some((page, logs)) = kept.pages.pop_front() else { break };
            kept.logs -= logs;
            kept.bytes -= page.body.len();
        }
    }

    /// The pages, the oldest first.
    pub(crate) fn read(&self) -> Vec<Page> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pages.iter().map(|(page, _)| page.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loggroup::Logs;
    use crate::script::versions::reload::tests::page_of;

    fn logs(pages: &[Page]) -> usize {
        let mut reader = Logs::default();
        let count = |page: &Page| {
            reader.open(page.body.clone()).unwrap();
            std::iter::from_fn(|| reader.read().unwrap().map(|_| ())).count()
        };
        pages.iter().map(count).sum()
    }

    #[test]
    fn the_newest_logs_are_kept_within_bounds() {
        let samples = Samples::default();
        samples.keep(&page_of(&["a"; 3]));
        assert_eq!(logs(&samples.read()), 3);
        for _ in 0..100 {
            samples.keep(&page_of(&["b"; 50]));
        }
        let kept = samples.read();
        assert_eq!((kept.len(), logs(&kept)), (MAX_LOGS / LOGS_OF_PAGE, MAX_LOGS));
        let long = "c".repeat(BYTES_OF_PAGE - 1000);
        for _ in 0..100 {
            samples.keep(&page_of(&[long.as_str(); 4]));
        }
        let kept = samples.read();
        let bytes: usize = kept.iter().map(|page| page.body.len()).sum();
        assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES / 2 && logs(&kept) == kept.len(), "{bytes}");
    }
}
