//! The ledger: the result of every log, per shard.
//!
//! At all times `pulled = delivered + dropped + dead_lettered + in_flight`. Each count is incremented where its event
//! happens, and none is computed from the others, so a bug shows as a difference.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;

use super::arrival::Arrival;
use super::cursor::{Cursor, ShardName, SourceName};
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

/// The state of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardLedger {
    /// The counts.
    pub counts: Counts,
    /// Whether this process works on the shard now.
    pub held: bool,
    /// Everything before it is durable, as far as this process knows.
    pub position: Option<Position>,
    /// When SLS received the newest durable log, in unix seconds.
    pub durable_to: Option<i64>,
    /// When SLS received the end of the first page that was pulled after the shard was acquired or had caught up. The
    /// waiting logs are about that old, or younger.
    pub waiting_from: Option<i64>,
    /// What was read since the shard was acquired, and when SLS had received it.
    pub arrival: Arrival,
    /// Whether everything that the shard had at the last pull is durable.
    pub caught_up: bool,
    /// Why the shard is halted until a person acts.
    pub halted: Option<String>,
    /// Why the shard is paused; it resumes automatically.
    pub waits: BTreeMap<Wait, String>,
    /// When the script began with the current page, not counting the time between its parts. `None` while it does not
    /// run.
    pub in_script: Option<Instant>,
    /// When its checkpoint was last saved.
    pub saved_at: Option<Instant>,
    /// Calls to the source that currently fail for this shard.
    pub failing: BTreeMap<Ask, Failing>,
}

/// A position in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The cursor of the next log.
    pub cursor: Cursor,
    /// How often the logstore had been deleted by then, as its source counts.
    pub deletions: u64,
}

/// The calls to the source for a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// Look up its checkpoint, or its start position.
    Locate,
    /// Pull the next page.
    Pull,
    /// Save its checkpoint.
    Save,
}

/// Why a shard is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// The script fails on too many logs.
    Script,
    /// The destination refuses too many events.
    Destination,
    /// Dead letters cannot be written.
    Disk,
    /// A write of dead letters takes long, its own or that of another shard.
    Write,
    /// Copies of dead letters are not delivered.
    Copies,
}

impl ShardLedger {
    /// Why the shard does not advance now; `None` if it does.
    #[must_use]
    pub fn standstill(&self) -> Option<&str> {
        self.halted.as_deref().or_else(|| self.waits.values().next().map(String::as_str))
    }

    /// For how many seconds the script has worked on the current page, including the wait for a thread.
    #[must_use]
    pub fn page_seconds(&self) -> u64 {
        self.in_script.map_or(0, |since| since.elapsed().as_secs())
    }

    /// Approximate age of the oldest log that is not durable, in seconds before `now` (unix seconds). It is taken
    /// from the ends of pages. 0 when caught up, `None` when unknown. While the shard cannot be read, the lag is at
    /// least the time since the first failure, because unread logs may be that old.
    #[must_use]
    pub fn lag(&self, now: i64) -> Option<u64> {
        let read = if self.caught_up {
            Some(0)
        } else {
            self.durable_to.max(self.waiting_from).map(|from| u64::try_from(now - from).unwrap_or(0))
        };
        let unread = [Ask::Locate, Ask::Pull].iter().filter_map(|ask| self.failing.get(ask));
        read.into_iter().chain(unread.map(|failing| failing.since.elapsed().as_secs())).max()
    }

    /// Number of logs that are not durable: those in flight, and an estimate of those that were not read. `None` when
    /// unknown.
    #[must_use]
    pub fn lag_logs(&self, now: i64) -> Option<u64> {
        Some(self.counts.in_flight + self.arrival.unread(now)?)
    }
}

/// The counts, in logs unless stated otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pulled and read, without those that were returned undelivered when the shard was released.
    pub pulled: u64,
    /// All events made from it are durable, as the destination defines it.
    pub delivered: u64,
    /// Dropped by the script on purpose.
    pub dropped: u64,
    /// Written to disk as undeliverable.
    pub dead_lettered: u64,
    /// Pulled, with no result yet.
    pub in_flight: u64,
    /// Logs in flight that failed in the script or were refused for good by the destination. They halt the shard.
    pub failed: u64,
    /// Returned undelivered; the next owner of the shard pulls them again.
    pub returned: u64,
    /// Durable events (a log may have several).
    pub events: u64,
    /// Bytes of pulled pages, unpacked.
    pub bytes: u64,
    /// Bytes of pages as received over the network, including pages that were pulled again.
    pub wire_bytes: u64,
    /// Pulled pages, including empty ones.
    pub pages: u64,
    /// How often the script stopped in the middle of a page, so that the page was delivered in parts.
    pub cuts: u64,
    /// Saved checkpoints.
    pub saves: u64,
    /// How often the checkpoint had expired and logs were missed.
    pub gaps: u64,
}

impl Counts {
    /// Number of logs that are counted nowhere or twice. Anything but 0 is a bug.
    #[must_use]
    pub fn difference(&self) -> i128 {
        i128::from(self.pulled)
            - i128::from(self.delivered)
            - i128::from(self.dropped)
            - i128::from(self.dead_lettered)
            - i128::from(self.in_flight)
    }

    /// The sums of the counts.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            pulled: self.pulled + other.pulled,
            delivered: self.delivered + other.delivered,
            dropped: self.dropped + other.dropped,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            in_flight: self.in_flight + other.in_flight,
            failed: self.failed + other.failed,
            returned: self.returned + other.returned,
            events: self.events + other.events,
            bytes: self.bytes + other.bytes,
            wire_bytes: self.wire_bytes + other.wire_bytes,
            pages: self.pages + other.pages,
            cuts: self.cuts + other.cuts,
            saves: self.saves + other.saves,
            gaps: self.gaps + other.gaps,
        }
    }
}

/// The results of the logs of one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Logs delivered.
    pub delivered: u32,
    /// Logs dropped on purpose.
    pub dropped: u32,
    /// Logs dead-lettered.
    pub dead_lettered: u32,
    /// Events delivered.
    pub events: u32,
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
mod tests {
    use super::*;
    use crate::core::cursor::{ShardId, SourceName};

    fn shard(number: u32) -> ShardName {
        ShardName { source: SourceName::new("audit"), shard: ShardId(number) }
    }

    #[test]
    fn the_ledger_balances_from_pull_to_delivery() {
        let ledger = Ledger::default();
        let account = ledger.account(&shard(3));
        account.acquired();
        account.pulled(10, 1000, None);
        assert_eq!(ledger.total().difference(), 0);
        assert_eq!(ledger.total().in_flight, 10);
        account.settled(Settled { delivered: 7, dropped: 2, dead_lettered: 1, events: 9 }, Some(1_700_000_000));
        let total = ledger.total();
        assert_eq!((total.difference(), total.in_flight, total.delivered, total.events), (0, 0, 7, 9));
    }

    #[test]
    fn logs_returned_to_the_group_no_longer_count_as_pulled() {
        let account = Account::default();
        account.acquired();
        account.pulled(10, 1000, None);
        account.settled(Settled { delivered: 4, ..Settled::default() }, None);
        account.released();
        let counts = account.read().counts;
        assert_eq!((counts.pulled, counts.returned, counts.in_flight, counts.difference()), (4, 6, 0, 0));
    }

    #[test]
    fn a_log_counted_twice_is_a_ledger_mismatch() {
        let account = Account::default();
        account.pulled(2, 10, None);
        account.settled(Settled { delivered: 2, ..Settled::default() }, None);
        let mut counts = account.read().counts;
        counts.delivered += 1;
        assert_eq!(counts.difference(), -1);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_the_lag_in_logs_is_the_number_of_logs_in_flight() {
        let account = Account::default();
        let lag = |now| account.read().lag_logs(now);
        account.acquired();
        assert_eq!(lag(2_000), None);
        for second in [1_000, 1_000, 1_001, 1_001] {
            account.pulled(25_000, 1_000, Some(second));
        }
        assert_eq!(lag(1_010), None, "a burst does not tell what came after it");
        account.pulled(7, 1_000, Some(1_002));
        account.read_to_end(Instant::now());
        assert_eq!(lag(1_010), Some(100_007), "all of it is in flight");
        account.settled(Settled { delivered: 100_000, ..Settled::default() }, Some(1_001));
        assert_eq!((account.read().lag(1_010), lag(1_010)), (Some(9), Some(7)));
        account.settled(Settled { delivered: 7, ..Settled::default() }, Some(1_002));
        account.caught_up();
        assert_eq!(lag(2_000), Some(0));
    }

    #[test]
    fn lag_is_known_before_anything_is_durable_and_excludes_times_without_logs() {
        let account = Account::default();
        let lag = |now| account.read().lag(now);
        account.acquired();
        // The destination is down from the start.
        account.pulled(10, 1000, Some(1_000));
        account.pulled(10, 1000, Some(1_010));
        assert_eq!(lag(1_060), Some(60));
        account.settled(Settled { delivered: 10, ..Settled::default() }, Some(1_000));
        account.settled(Settled { delivered: 10, ..Settled::default() }, Some(1_010));
        assert_eq!(lag(1_060), Some(50));
        account.caught_up();
        account.pulled(1, 100, Some(30_000));
        assert_eq!(lag(30_005), Some(5), "nobody wrote for eight hours");
        // Another consumer had the shard in between.
        account.released();
        account.acquired();
        account.pulled(1, 100, Some(60_000));
        assert_eq!(lag(60_005), Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_cannot_be_read_falls_behind_although_it_had_caught_up() {
        let account = Account::default();
        account.acquired();
        account.caught_up();
        assert_eq!(account.read().lag(1_000), Some(0));
        let refused = SourceError::Refused(crate::core::cause::Cause::new("401"));
        account.fails(Ask::Pull, &refused, Instant::now());
        tokio::time::advance(std::time::Duration::from_secs(95)).await;
        account.fails(Ask::Pull, &refused, Instant::now());
        assert_eq!(account.read().lag(1_095), Some(95));
        account.works(Ask::Pull);
        assert_eq!(account.read().lag(1_095), Some(0));
    }

    #[test]
    fn script_errors_are_counted_by_kind_in_bounded_memory() {
        let ledger = Ledger::default();
        let (one, other) = (ledger.account(&shard(1)), ledger.account(&shard(2)));
        for account in [&one, &other, &one] {
            account.script_failed("s.lua:3: nil".into());
        }
        other.script_failed("s.lua:9: number".into());
        assert_eq!(ledger.script_errors(), [("s.lua:3: nil".into(), 3), ("s.lua:9: number".into(), 1)]);
        (0..100).for_each(|line| one.script_failed(format!("s.lua:{line}: other")));
        assert_eq!(ledger.script_errors().len(), MAX_ERRORS);
    }

    #[test]
    fn a_shard_with_an_undelivered_log_is_late_even_if_the_last_pull_was_empty() {
        let account = Account::default();
        account.acquired();
        account.pulled(2, 10, Some(1_000));
        account.settled(Settled { delivered: 2, ..Settled::default() }, Some(1_000));
        account.caught_up();
        assert_eq!(account.read().lag(1_030), Some(0));
        account.pulled(1, 10, Some(1_010));
        account.halted(1, "log 7 failed".into());
        account.caught_up();
        assert_eq!(account.read().lag(1_030), Some(20));
    }

    #[test]
    fn lag_is_the_age_of_the_newest_durable_log_and_zero_when_caught_up() {
        let mut entry = ShardLedger { durable_to: Some(1_000), ..ShardLedger::default() };
        assert_eq!(entry.lag(1_030), Some(30));
        assert_eq!(entry.lag(990), Some(0));
        entry.caught_up = true;
        assert_eq!(entry.lag(1_030), Some(0));
        assert_eq!(ShardLedger::default().lag(1_030), None);
    }
}
