//! Sources that wait for memory. Pure.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{Memory, SourceSnapshot};
use crate::core::count::bytes;
use crate::core::duration::in_words;

/// A source without any new memory for this long is reported. With a slow destination, shorter waits are usual.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum number of sources that are named as the holders of the memory.
const MAX_NAMED: usize = 3;

/// How the wait of a source ends.
pub const REMEDY: &str = "deliver what holds the memory: see the destinations of those sources; if they deliver, raise \
                          run.memory";

/// Why a source is not read, if it waits for memory: `source waf waits for memory for 2m: 62.0 MB of 64.0 MB are in use,
/// 56.0 MB by source audit, 6.0 MB by source waf`.
#[must_use]
pub fn memory_wait(source: &SourceSnapshot, all: &[SourceSnapshot], memory: Memory, now: Instant) -> Option<String> {
    let waited = now.saturating_duration_since(source.memory.waiting_since?);
    if waited < PATIENCE {
        return None;
    }
    let mut holders: Vec<(u64, &str)> =
        all.iter().map(|one| (one.memory.held as u64, one.name.as_str())).filter(|(held, _)| *held > 0).collect();
    holders.sort_by_key(|(held, _)| Reverse(*held));
    let named = holders.iter().take(MAX_NAMED).map(|(held, name)| format!(", {} by source {name}", bytes(*held)));
    let rest: u64 = holders.iter().skip(MAX_NAMED).map(|(held, _)| held).sum();
    let rest = if rest > 0 { format!(", {} by others", bytes(rest)) } else { String::new() };
    Some(format!(
        "source {} waits for memory for {}: {} of {} are in use{}{rest}",
        source.name,
        in_words(waited),
        bytes(memory.used),
        bytes(memory.limit),
        named.collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::SourceMemory;

    fn source(name: &str, held: usize, waiting_since: Option<Instant>) -> SourceSnapshot {
        let source = crate::admin::tests::snapshot().sources.remove(0);
        SourceSnapshot { name: name.to_owned(), memory: SourceMemory { held, waiting_since }, ..source }
    }

    #[test]
    fn a_source_without_memory_for_half_a_minute_is_named_with_the_sources_that_hold_it() {
        let begun = Instant::now();
        let memory = Memory { used: 63_000_000, limit: 64_000_000 };
        let all = [
            source("waf", 1_000_000, Some(begun)),
            source("audit", 50_000_000, None),
            source("oss", 2_000_000, Some(begun)),
            source("rds", 6_000_000, None),
            source("idle", 0, None),
            source("k8s", 4_000_000, None),
        ];
        let text = |seconds| memory_wait(&all[0], &all, memory, begun + Duration::from_secs(seconds));
        assert_eq!(text(29), None);
        assert_eq!(
            text(90).as_deref(),
            Some(
                "source waf waits for memory for 1m 30s: 63.0 MB of 64.0 MB are in use, 50.0 MB by source audit, \
                 6.0 MB by source rds, 4.0 MB by source k8s, 3.0 MB by others"
            )
        );
        assert_eq!(memory_wait(&all[1], &all, memory, begun + Duration::from_secs(90)), None, "it has what it needs");
    }
}
