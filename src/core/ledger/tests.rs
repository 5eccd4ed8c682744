//! What the accounts report after each step of the logs.

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
