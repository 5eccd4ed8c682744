//! The ledger: the result of every log, per shard.
//!
//! At all times `pulled = delivered + dropped + dead_lettered + in_flight`. Each count is incremented where its event
//! happens, and none is computed from the others, so a bug shows as a difference.

mod counts;
mod shard_ledger;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;

pub use counts::{Counts, Settled};
pub use shard_ledger::{Ask, Position, ShardLedger, Wait};

use super::arrival::Arrival;
use super::cursor::{ShardName, SourceName};
use super::drop_reasons::DropReasons;
use super::failing::Failing;
use super::probes::Probes;
use super::source::SourceError;
use super::timings::{Timings, TimingsRead};

/// Maximum number of distinct script errors.
const MAX_ERRORS: usize = 20;

/// The accounts of all shards that this process has worked on.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Locked to open an account and to read all accounts, never per log.
    accounts: Mutex<BTreeMap<ShardName, Arc<Account>>>,
    /// Reasons of logs that the script dropped, over all shards. The accounts share it.
    drop_reasons: Arc<Mutex<DropReasons>>,
    /// Probe logs that are not durable yet.
    probes: Arc<Probes>,
}

impl Ledger {
    /// The probe logs.
    #[must_use]
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The account of `shard`, opened if there is none.
    #[must_use]
    pub fn account(&self, shard: &ShardName) -> Arc<Account> {
        let open = || {
            let (drop_reasons, probes) = (Arc::clone(&self.drop_reasons), Arc::clone(&self.probes));
            Arc::new(Account { drop_reasons, probes, ..Account::default() })
        };
        Arc::clone(lock(&self.accounts).entry(shard.clone()).or_insert_with(open))
    }

    /// Forgets the positions of a source whose logstore was deleted.
    pub fn forget_positions(&self, source: &SourceName) {
        for (shard, account) in &*lock(&self.accounts) {
            if shard.source == *source {
                lock(&account.entry).position = None;
            }
        }
    }

    /// The current state of every account.
    #[must_use]
    pub fn read(&self) -> BTreeMap<ShardName, ShardLedger> {
        let accounts = lock(&self.accounts);
        accounts.iter().map(|(shard, account)| (shard.clone(), account.read())).collect()
    }

    /// Number of script errors by place and cause, the most frequent first.
    #[must_use]
    pub fn script_errors(&self) -> Vec<(String, u64)> {
        let mut sums = BTreeMap::<String, u64>::new();
        for account in lock(&self.accounts).values() {
            for (what, count) in lock(&account.script_errors).iter() {
                *sums.entry(what.clone()).or_default() += count;
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        sums.truncate(MAX_ERRORS);
        sums
    }

    /// Reasons of logs that the script dropped, if it gave any. [`Counts::dropped`] counts these logs too.
    #[must_use]
    pub fn drop_reasons(&self) -> DropReasons {
        lock(&self.drop_reasons).clone()
    }

    /// Durations of the steps of each source, over all its shards.
    #[must_use]
    pub fn timings(&self) -> BTreeMap<SourceName, TimingsRead> {
        let mut sums = BTreeMap::<SourceName, TimingsRead>::new();
        for (shard, account) in lock(&self.accounts).iter() {
            let sum = sums.entry(shard.source.clone()).or_default();
            *sum = sum.plus(&account.timings.read());
        }
        sums
    }

    /// The sum over all accounts.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.read().values().fold(Counts::default(), |sum, entry| sum.plus(&entry.counts))
    }
}

/// The account of one shard. Written once per batch.
#[derive(Debug, Default)]
pub struct Account {
    /// One lock over all counts, so that every reader sees each log exactly once.
    entry: Mutex<ShardLedger>,
    /// Durations of the steps.
    pub timings: Timings,
    /// Number of script errors by place and cause.
    script_errors: Mutex<BTreeMap<String, u64>>,
    /// Reasons of logs that the script dropped, over all shards of the ledger.
    drop_reasons: Arc<Mutex<DropReasons>>,
    /// Probe logs that are not durable yet, over all shards of the ledger.
    probes: Arc<Probes>,
}

impl Account {
    /// The current state.
    #[must_use]
    pub fn read(&self) -> ShardLedger {
        lock(&self.entry).clone()
    }

    /// The shard was acquired.
    pub fn acquired(&self) {
        let mut entry = lock(&self.entry);
        entry.held = true;
        entry.halted = None;
        entry.waits.clear();
        entry.failing.clear();
        entry.caught_up = false;
    }

    /// The shard was released; what was in flight is returned.
    pub fn released(&self) {
        let mut entry = lock(&self.entry);
        entry.held = false;
        entry.halted = None;
        entry.waits.clear();
        entry.failing.clear();
        entry.caught_up = false;
        entry.waiting_from = None;
        entry.arrival = Arrival::default();
        entry.in_script = None;
        let counts = &mut entry.counts;
        counts.pulled -= counts.in_flight;
        counts.returned += counts.in_flight;
        counts.in_flight = 0;
        counts.failed = 0;
    }

    /// The script works on a page; `since` is its start, moved forward by the pauses between the parts of the page.
    pub fn enters_script(&self, since: Instant) {
        lock(&self.entry).in_script = Some(since);
    }

    /// The script has finished the page, or a part of it.
    pub fn leaves_script(&self) {
        lock(&self.entry).in_script = None;
    }

    /// The script stopped in the middle of a page; the events made so far are delivered.
    pub fn cut(&self) {
        lock(&self.entry).counts.cuts += 1;
    }

    /// `logs` more logs of the last page were read.
    pub fn read_on(&self, logs: u32) {
        let mut entry = lock(&self.entry);
        entry.arrival.read_on(logs.into());
        entry.counts.pulled += u64::from(logs);
        entry.counts.in_flight += u64::from(logs);
    }

    /// A page of `bytes` bytes was pulled, and `logs` of its logs were read so far. SLS received the end of the page
    /// at `received_at`, in unix seconds.
    pub fn pulled(&self, logs: u32, bytes: usize, received_at: Option<i64>) {
        let mut entry = lock(&self.entry);
        if logs > 0 && (entry.caught_up || entry.waiting_from.is_none()) {
            entry.waiting_from = received_at;
        }
        entry.caught_up &= logs == 0;
        entry.arrival.read(logs.into(), received_at);
        entry.counts.pulled += u64::from(logs);
        entry.counts.in_flight += u64::from(logs);
        entry.counts.bytes += bytes as u64;
        entry.counts.pages += 1;
    }

    /// All of the last page was read. It was pulled at `pulled_at`, and the shard had nothing more.
    pub fn read_to_end(&self, pulled_at: Instant) {
        lock(&self.entry).arrival.ended(pulled_at);
    }

    /// A page of `wire_bytes` bytes was received over the network.
    pub fn received(&self, wire_bytes: u64) {
        lock(&self.entry).counts.wire_bytes += wire_bytes;
    }

    /// A batch is durable. SLS received its newest log at `durable_to`, in unix seconds.
    pub fn settled(&self, settled: Settled, durable_to: Option<i64>) {
        let mut entry = lock(&self.entry);
        entry.durable_to = durable_to.or(entry.durable_to);
        let counts = &mut entry.counts;
        counts.delivered += u64::from(settled.delivered);
        counts.dropped += u64::from(settled.dropped);
        counts.dead_lettered += u64::from(settled.dead_lettered);
        counts.events += u64::from(settled.events);
        counts.in_flight -= u64::from(settled.delivered + settled.dropped + settled.dead_lettered);
    }

    /// Everything before `position` is durable.
    pub fn stands_at(&self, position: Position) {
        lock(&self.entry).position = Some(position);
    }

    /// The last pull found nothing new. The shard has caught up only if nothing is in flight: a log that halts the
    /// shard stays in flight.
    pub fn caught_up(&self) {
        let mut entry = lock(&self.entry);
        entry.caught_up = entry.counts.in_flight == 0;
        entry.arrival.ended(Instant::now());
    }

    /// `logs` logs in flight cannot be delivered; the shard is halted because of `why`.
    pub fn halted(&self, logs: u32, why: String) {
        let mut entry = lock(&self.entry);
        entry.counts.failed += u64::from(logs);
        entry.halted = Some(why);
    }

    /// The shard is paused by `what` because of `why`, and will retry.
    pub fn waits(&self, what: Wait, why: String) {
        lock(&self.entry).waits.insert(what, why);
    }

    /// The shard is no longer paused by `what`.
    pub fn goes_on(&self, what: Wait) {
        lock(&self.entry).waits.remove(&what);
    }

    /// A call to the source failed at `now`.
    pub fn fails(&self, ask: Ask, error: &SourceError, now: Instant) {
        let failing = &mut lock(&self.entry).failing;
        let again = Failing::again(failing.get(&ask), error, now);
        failing.insert(ask, again);
    }

    /// A call to the source succeeded.
    pub fn works(&self, ask: Ask) {
        lock(&self.entry).failing.remove(&ask);
    }

    /// A checkpoint was saved.
    pub fn saved(&self) {
        let mut entry = lock(&self.entry);
        entry.counts.saves += 1;
        entry.saved_at = Some(Instant::now());
    }

    /// The script failed on a log. `what` is the place and the cause, without text of the log.
    pub fn script_failed(&self, what: String) {
        let mut errors = lock(&self.script_errors);
        if errors.len() < MAX_ERRORS || errors.contains_key(&what) {
            *errors.entry(what).or_default() += 1;
        }
    }

    /// Logs of a durable batch were dropped for these reasons.
    pub fn dropped_for(&self, reasons: &DropReasons) {
        if !reasons.is_empty() {
            lock(&self.drop_reasons).add_all(reasons);
        }
    }

    /// All logs of a page of this shard are durable; `body` unpacks the page, which is done only if it is needed.
    pub fn passed(&self, shard: &ShardName, body: impl FnOnce() -> Bytes) {
        self.probes.durable(&shard.source, shard.shard, body, Instant::now());
    }

    /// Logs were missed because the checkpoint had expired.
    pub fn missed(&self) {
        lock(&self.entry).counts.gaps += 1;
    }
}

/// A poisoned lock is usable: every writer leaves the state complete before it can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
