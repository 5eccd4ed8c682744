//! Whether acknowledgements limit a destination. Pure.

use super::snapshot::Memory;
use crate::core::count::bytes;
use crate::destination::DestinationStatus;

/// The gauge of a destination that waits for acknowledgements.
const UNACKNOWLEDGED: &str = "unacknowledged_bytes";

/// What limits the rate of a destination: `run.memory`, with or without the time until events are acknowledged, or
/// neither. `None`: it waits for no acknowledgements.
pub(super) fn ack_limit(destination: &DestinationStatus, memory: Memory) -> Option<String> {
    let waiting = destination.gauges.iter().find(|gauge| gauge.name == UNACKNOWLEDGED)?.value;
    Some(match (memory.is_full(), waiting) {
        (true, 0) => "run.memory, and not acknowledgements: none is awaited".to_owned(),
        (true, waiting) => format!(
            "run.memory and acknowledgements: the memory is used up, and {} of events wait to be acknowledged; raise \
             run.memory, or let the indexers acknowledge sooner",
            bytes(waiting)
        ),
        (false, _) => {
            let free = bytes(memory.limit.saturating_sub(memory.used));
            format!("neither run.memory nor acknowledgements: {free} of memory are free")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::to;
    use crate::destination::Health;

    #[test]
    fn acknowledgements_limit_a_destination_only_while_the_memory_is_used_up() {
        let mut destination = to("hec", Health::Unknown);
        let limit = |destination: &DestinationStatus, used| ack_limit(destination, Memory { used, limit: 1_000_000 });
        let full = limit(&destination, 999_000).unwrap();
        assert!(full.contains("the memory is used up, and 900 B of events wait to be acknowledged"), "{full}");
        assert_eq!(
            limit(&destination, 10_000).unwrap(),
            "neither run.memory nor acknowledgements: 990.0 kB of memory are free"
        );
        destination.gauges.iter_mut().for_each(|gauge| gauge.value = 0);
        assert!(limit(&destination, 999_000).unwrap().starts_with("run.memory, and not acknowledgements"));
        destination.gauges.clear();
        assert_eq!(limit(&destination, 999_000), None);
    }
}
