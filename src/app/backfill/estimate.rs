//! Estimates what a backfill would deliver: counts log groups by their cursors, and reads one page of each shard.

use std::collections::BTreeMap;

use super::progress::Extent;
use crate::core::budget::Budget;
use crate::core::cursor::ShardId;
use crate::core::source::{Source as _, SourceError};
use crate::loggroup::Logs;
use crate::sls::Sls;

/// Log groups of a shard that are read as a sample.
const SAMPLE_GROUPS: u32 = 100;

/// Bytes for one page at a time: enough for any page.
const ROOM: usize = 64 << 20;

/// The content of the range in a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Log groups, counted by the cursors.
    pub groups: u64,
    /// Logs, extrapolated from the sample.
    pub logs: u64,
    /// Bytes over the network, extrapolated.
    pub wire_bytes: u64,
    /// Unpacked bytes, extrapolated.
    pub bytes: u64,
}

/// The content of the range in each shard.
///
/// # Errors
/// SLS cannot be reached, or refuses.
pub async fn estimate(
    sls: &Sls,
    extents: &BTreeMap<ShardId, Extent>,
) -> Result<BTreeMap<ShardId, Estimate>, SourceError> {
    let mut room = Budget::new(ROOM).take(ROOM).await;
    let mut found = BTreeMap::new();
    for (shard, extent) in extents {
        let groups = extent.groups();
        let mut estimate = Estimate { groups, ..Estimate::default() };
        if groups > 0 {
            let page = sls.pull(*shard, &extent.from, SAMPLE_GROUPS, Some(&extent.to), &mut room).await?;
            let seen = u64::from(page.groups).max(1);
            let scaled = |sample: u64| {
                u64::try_from(u128::from(sample) * u128::from(groups) / u128::from(seen)).unwrap_or(u64::MAX)
            };
            estimate.logs = scaled(count(page.body.clone()));
            estimate.wire_bytes = scaled(page.wire_bytes);
            estimate.bytes = scaled(page.body.len() as u64);
        }
        found.insert(*shard, estimate);
    }
    Ok(found)
}

/// The number of logs of a page, as far as it can be decoded.
fn count(body: bytes::Bytes) -> u64 {
    let mut logs = Logs::default();
    if logs.open(body).is_err() {
        return 0;
    }
    let mut count = 0;
    while let Ok(Some(_)) = logs.read() {
        count += 1;
    }
    count
}
