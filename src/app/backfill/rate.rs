//! Limits the rate of a backfill.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::core::cursor::ShardId;

/// A limit in bytes per second over all shards, or none.
#[derive(Debug)]
pub struct Rate(Option<Limit>);

/// The size of a page is known only when it has arrived. Each pull therefore pays for the expected size before it
/// begins, so that the next one waits, and pays the difference when its page is there.
#[derive(Debug)]
struct Limit {
    bytes_a_second: f64,
    /// The shards in the order in which they asked; the first waits for `free_at`.
    queue: tokio::sync::Mutex<()>,
    paid: Mutex<Paid>,
    /// `free_at` is earlier than it was.
    refunded: Notify,
}

#[derive(Debug)]
struct Paid {
    /// When the next page may be pulled.
    free_at: Instant,
    /// The expected bytes of a log group of each shard.
    group_bytes: BTreeMap<ShardId, f64>,
}

impl Rate {
    /// A limit of unpacked bytes per second; `None` means no limit.
    #[must_use]
    pub fn new(bytes_a_second: Option<usize>) -> Self {
        Self(bytes_a_second.map(|rate| Limit {
            bytes_a_second: rate.max(1) as f64,
            queue: tokio::sync::Mutex::default(),
            paid: Mutex::new(Paid { free_at: Instant::now(), group_bytes: BTreeMap::new() }),
            refunded: Notify::new(),
        }))
    }

    /// Waits for the turn of a shard that wants to pull `groups` log groups. The turn may allow fewer: a page should be
    /// no larger than a second of the rate.
    pub(super) async fn turn(&self, shard: ShardId, groups: u32) -> Turn<'_> {
        let Some(limit) = &self.0 else { return Turn { groups, paid: None } };
        let _first = limit.queue.lock().await;
        limit.wait().await;
        limit.pay(shard, groups)
    }

    /// How long the next pull has to wait for the pages so far.
    pub(super) fn debt(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |limit| limit.lock().free_at.saturating_duration_since(Instant::now()))
    }
}

impl Limit {
    async fn wait(&self) {
        loop {
            let free_at = self.lock().free_at;
            if Instant::now() >= free_at {
                return;
            }
            tokio::select! {
                () = sleep_until(free_at) => {}
                () = self.refunded.notified() => {}
            }
        }
    }

    /// Pays for the expected page. A group of unknown size costs a second, so that the first page is one group.
    fn pay(&self, shard: ShardId, groups: u32) -> Turn<'_> {
        let mut paid = self.lock();
        let group_bytes = paid.group_bytes.get(&shard).copied().unwrap_or(self.bytes_a_second);
        let groups = groups.min((self.bytes_a_second / group_bytes) as u32).max(1);
        let bytes = f64::from(groups) * group_bytes;
        paid.free_at = paid.free_at.max(Instant::now()) + self.time_of(bytes);
        Turn { groups, paid: Some(PaidTurn { limit: self, shard, bytes, came: 0.0 }) }
    }

    fn time_of(&self, bytes: f64) -> Duration {
        Duration::from_secs_f64(bytes / self.bytes_a_second)
    }

    /// Every writer leaves the value consistent before it can panic.
    fn lock(&self) -> MutexGuard<'_, Paid> {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to pull one page. The rest of what was paid is returned when it is dropped: all of it if no page came.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    /// How many log groups to pull.
    pub(super) groups: u32,
    paid: Option<PaidTurn<'a>>,
}

#[derive(Debug)]
struct PaidTurn<'a> {
    limit: &'a Limit,
    shard: ShardId,
    /// What was paid for.
    bytes: f64,
    /// What came.
    came: f64,
}

impl Turn<'_> {
    /// A page of `groups` log groups and this many bytes arrived.
    pub(super) fn took(mut self, groups: u32, bytes: usize) {
        let Some(paid) = &mut self.paid else { return };
        paid.came = bytes as f64;
        let mut state = paid.limit.lock();
        let expected = state.group_bytes.get(&paid.shard).map_or(0.0, |bytes| bytes / 2.0);
        // It falls slowly: the groups of a shard may be of very different sizes. It also falls with an empty page, so
        // that a query that drops most log groups is asked for more of them.
        let found = if groups > 0 { bytes as f64 / f64::from(groups) } else { 0.0 };
        if found.max(expected) > 0.0 {
            state.group_bytes.insert(paid.shard, found.max(expected));
        }
    }
}

impl Drop for PaidTurn<'_> {
    fn drop(&mut self) {
        let mut state = self.limit.lock();
        if self.came >= self.bytes {
            state.free_at += self.limit.time_of(self.came - self.bytes);
        } else {
            let refund = self.limit.time_of(self.bytes - self.came);
            state.free_at = state.free_at.checked_sub(refund).unwrap_or(state.free_at);
            self.limit.refunded.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;

    /// Lets shards pull at the same time from a log whose groups have this many bytes; each pull takes 50 ms. Returns
    /// when each page came, and its bytes.
    async fn pull(rate: &Arc<Rate>, shards: u32, pages: usize, group_bytes: usize) -> Vec<(Duration, usize)> {
        let (began, mut tasks) = (Instant::now(), JoinSet::new());
        for shard in (0..shards).map(ShardId) {
            let rate = Arc::clone(rate);
            tasks.spawn(async move {
                let mut came = Vec::new();
                for _ in 0..pages {
                    let turn = rate.turn(shard, 1_000).await;
                    let groups = turn.groups;
                    sleep(Duration::from_millis(50)).await;
                    turn.took(groups, groups as usize * group_bytes);
                    came.push((began.elapsed(), groups as usize * group_bytes));
                }
                came
            });
        }
        let mut came: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        came.sort_unstable();
        came
    }

    #[tokio::test(start_paused = true)]
    async fn all_shards_together_keep_to_the_rate_from_the_first_page_on() {
        for (shards, group_bytes) in [(1, 10), (8, 10), (8, 1_000), (8, 5_000), (8, 100_000)] {
            let rate = Arc::new(Rate::new(Some(1_000)));
            let mut sum = 0;
            for (at, bytes) in pull(&rate, shards, 5, group_bytes).await {
                let most = 1_000.0 * at.as_secs_f64() + bytes.max(1_000) as f64;
                assert!(sum as f64 <= most, "{sum} bytes came before {at:?}: {shards} shards, {group_bytes} bytes");
                sum += bytes;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_reached_with_pages_of_a_second() {
        let rate = Arc::new(Rate::new(Some(1_000)));
        let came = pull(&rate, 4, 25, 10).await;
        let (took, sum) = (came.last().unwrap().0.as_secs_f64(), came.iter().map(|(_, bytes)| bytes).sum::<usize>());
        assert!((900.0..1_100.0).contains(&(sum as f64 / took)), "{sum} bytes in {took} s");
        assert!(came.iter().all(|(_, bytes)| *bytes <= 1_000), "{came:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pull_that_brings_nothing_costs_nothing() {
        let (rate, began) = (Rate::new(Some(1_000)), Instant::now());
        for _ in 0..100 {
            drop(rate.turn(ShardId(0), 10).await);
            rate.turn(ShardId(1), 10).await.took(0, 0);
        }
        assert_eq!((began.elapsed(), rate.debt()), (Duration::ZERO, Duration::ZERO));
        rate.turn(ShardId(0), 10).await.took(1, 5_000);
        assert_eq!(rate.debt(), Duration::from_secs(5));
        let unlimited = Rate::new(None);
        unlimited.turn(ShardId(0), 10).await.took(10, usize::MAX);
        assert_eq!((unlimited.turn(ShardId(0), 10).await.groups, unlimited.debt()), (10, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_that_drops_most_log_groups_is_asked_for_more_of_them() {
        let rate = Rate::new(Some(1_000));
        rate.turn(ShardId(0), 64).await.took(1, 1_000);
        let mut asked = Vec::new();
        for _ in 0..8 {
            let turn = rate.turn(ShardId(0), 64).await;
            asked.push(turn.groups);
            turn.took(0, 0);
        }
        assert_eq!(asked, [1, 2, 4, 8, 16, 32, 64, 64]);
    }
}
