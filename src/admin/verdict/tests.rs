//! The verdict on snapshots with one problem each.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::*;
use crate::admin::tests::{in_group, to, well, with_health, with_letters};
use crate::core::budget::SourceMemory;
use crate::core::cause::Cause;
use crate::core::certificates::CertificateEnds;
use crate::core::cursor::{Cursor, ShardId, ShardName, SourceName};
use crate::core::failing::Failing;
use crate::core::ledger::{Ask, Ledger, Settled, Wait};
use crate::core::probes::ProbeStatus;
use crate::core::source::SourceError;
use crate::dead_letter::DeadLettersOnDisk;
use crate::destination::DestinationStatus;
use crate::group::ShortOf;
use crate::sls::api::SavedAt;
use crate::sls::shard_state::{Seen, ShardPlace, ShardReport, judge};

fn shard(number: u32) -> ShardName {
    ShardName { source: SourceName::new("audit"), shard: ShardId(number) }
}

fn refused() -> SourceError {
    SourceError::Refused(Cause::new("pull: 401 Unauthorized"))
}

fn busy() -> SourceError {
    SourceError::Busy { retry_after: None, cause: Cause::new("500") }
}

fn failing(error: &SourceError, seconds: u64) -> Failing {
    let now = Instant::now();
    Failing { since: now - Duration::from_secs(seconds), ..Failing::again(None, error, now) }
}

#[track_caller]
fn check(snapshot: &Snapshot, state: State, words: &str) {
    let verdict = verdict(snapshot);
    assert_eq!(verdict.state(), state, "{verdict:?}");
    assert!(verdict.reasons[0].text.contains(words), "{verdict:?}");
}

#[test]
fn all_is_well_only_when_everything_is_known_to_be_well() {
    let verdict = verdict(&well());
    assert_eq!((verdict.state(), verdict.reasons), (State::Well, Vec::new()));
}

#[test]
fn an_unknown_state_does_not_count_as_well() {
    let unread = Ledger::default();
    unread.account(&shard(2)).acquired();
    check(&with_health(Health::Unknown, well()), State::Waiting, "the destination has not answered yet");
    let destinations = vec![to("a", Health::Up { since: Instant::now() }), to("b", down())];
    let text = "the destination b is down, all logs wait in SLS: refused";
    check(&Snapshot { destinations, ..well() }, State::Trouble, text);
    let isolated = |mode, health| with_isolated(mode, health, well());
    let text = "the destination b is down, the others continue: its events become dead letters";
    check(&isolated(IsolationMode::DeadLettering, down()), State::Trouble, text);
    says(&isolated(IsolationMode::DeadLettering, down()), "Delivering");
    let up = Health::Up { since: Instant::now() };
    let text = "the destination b is receiving its missed events";
    check(&isolated(IsolationMode::Returning, up), State::Waiting, text);
    check(&Snapshot { shards: unread.read(), ..well() }, State::Waiting, "nothing was read of shard audit/2 yet");
    check(&Snapshot { shards: BTreeMap::new(), ..well() }, State::Waiting, "no shard is assigned yet");
    check(&Snapshot { letters: None, ..well() }, State::Waiting, "not counted");
}

#[test]
fn a_destination_that_is_up_and_gives_no_results_is_reported() {
    let now = Instant::now();
    let silent = |seconds| {
        let mut destination = to("a", Health::Up { since: now });
        destination.events.waiting_since = Some(now);
        Snapshot { destinations: vec![destination], at: now + Duration::from_secs(seconds), ..well() }
    };
    says(&silent(29), "Delivering");
    let text = "the destination has given no result for any event in flight for 30";
    check(&silent(30), State::Waiting, text);
    check(&silent(120), State::Trouble, "the destination has given no result for any event in flight for 2m");
    says(&silent(120), "Paused");
}

#[test]
fn one_stalled_source_is_a_problem_and_only_all_stalled_sources_stop_everything() {
    let mut snapshot = well();
    let mut second = snapshot.sources[0].clone();
    second.name = "waf".to_owned();
    second.group = GroupHealth { failing: Some(failing(&refused(), 60)), ..GroupHealth::default() };
    snapshot.sources.push(second);
    check(&snapshot, State::Trouble, "the consumer group of source waf cannot be joined, for");
    assert!(verdict(&snapshot).is_ready());
    snapshot.sources[0].group = GroupHealth::default();
    check(&snapshot, State::Stopped, "the consumer group of source audit is not joined yet");
    assert!(!verdict(&snapshot).is_ready());
}

#[test]
fn a_group_that_is_not_joined_or_whose_heartbeats_fail_stops_everything() {
    let group = |joined, failing| Snapshot {
        at: Instant::now(),
        ..in_group(GroupHealth { joined, failing, ..GroupHealth::default() }, well())
    };
    check(&group(false, None), State::Stopped, "not joined yet");
    check(&group(false, Some(failing(&busy(), 1))), State::Stopped, "cannot be joined, for 1.0 s: 500");
    check(&group(true, Some(failing(&refused(), 0))), State::Stopped, "heartbeats fail");
    check(&group(true, Some(failing(&busy(), 3))), State::Waiting, "heartbeats fail");
    check(&group(true, Some(failing(&busy(), 20))), State::Stopped, "heartbeats fail");
    let silent = GroupHealth {
        joined: true,
        last_heartbeat: Some(Instant::now() - Duration::from_secs(120)),
        ..GroupHealth::default()
    };
    check(&in_group(silent, well()), State::Stopped, "no heartbeat was answered for 2m");
}

#[test]
fn a_key_that_cannot_be_renewed_is_a_problem_that_says_how_long_the_key_lasts() {
    let held = |error: &SourceError, seconds, left| {
        let mut snapshot = well();
        let credentials = &mut snapshot.sources[0].credentials;
        credentials.valid_for = Some(Duration::from_secs(left));
        credentials.failing = Some(failing(error, seconds));
        Snapshot { at: Instant::now(), ..snapshot }
    };
    check(&held(&busy(), 1, 2400), State::Waiting, "valid for another 40m");
    check(&held(&busy(), 300, 2100), State::Trouble, "valid for another 35m; for 5m: 500");
    check(&held(&refused(), 0, 60), State::Trouble, "no new key for SLS can be obtained");
    check(&held(&busy(), 3000, 0), State::Trouble, "the last one has expired");
}

/// A destination that is up, and an isolated one in this state.
fn with_isolated(mode: IsolationMode, health: Health, snapshot: Snapshot) -> Snapshot {
    let one = DestinationStatus { isolation: Some(mode), ..to("b", health) };
    Snapshot { destinations: vec![to("a", Health::Up { since: Instant::now() }), one], ..snapshot }
}

fn down() -> Health {
    Health::Down { since: Instant::now(), cause: "refused".into() }
}

#[test]
fn a_process_without_shards_stands_by_and_says_who_holds_them_and_which_destination_is_down() {
    let group = GroupHealth {
        joined: true,
        waiting: Some("shards 0-3 are held by x: standing by".into()),
        ..GroupHealth::default()
    };
    let standing_by = Snapshot { shards: BTreeMap::new(), ..in_group(group, well()) };
    check(&standing_by, State::Waiting, "shards 0-3 are held by x: standing by");
    says(&standing_by, "Standing by");
    for mode in [IsolationMode::Direct, IsolationMode::DeadLettering] {
        let snapshot = with_isolated(mode, down(), standing_by.clone());
        check(&snapshot, State::Trouble, "the destination b is down");
        says(&snapshot, "Standing by");
        assert!(verdict(&snapshot).line().contains("shards 0-3 are held by x: standing by"));
    }
    says(&with_isolated(IsolationMode::DeadLettering, down(), well()), "Delivering");
}

#[test]
fn an_isolated_destination_whose_missed_events_are_not_written_pauses_everything() {
    let ledger = Ledger::default();
    // The other shard has nothing to deliver.
    for number in [1, 2] {
        ledger.account(&shard(number)).acquired();
        ledger.account(&shard(number)).caught_up();
    }
    for wait in [Wait::Disk, Wait::Write] {
        ledger.account(&shard(1)).waits(wait, "no room".into());
        let snapshot = Snapshot { shards: ledger.read(), ..well() };
        let snapshot = with_isolated(IsolationMode::DeadLettering, down(), snapshot);
        let text = "the destination b is down (refused), and newer events for it cannot become dead letters: no room";
        assert!(verdict(&snapshot).line().contains(text), "{}", verdict(&snapshot).line());
        says(&snapshot, "Paused");
        assert!(!verdict(&snapshot).is_ready(), "an operator must make room");
        assert!(!verdict(&snapshot).line().contains("the others continue"));
        ledger.account(&shard(1)).goes_on(wait);
    }
    says(
        &with_isolated(IsolationMode::DeadLettering, down(), Snapshot { shards: ledger.read(), ..well() }),
        "Delivering",
    );
}

#[test]
fn an_isolated_destination_that_gets_copies_of_dead_letters_does_not_promise_that_the_others_continue() {
    let ledger = Ledger::default();
    ledger.account(&shard(1)).acquired();
    ledger.account(&shard(1)).caught_up();
    let snapshot = || {
        let snapshot = Snapshot { shards: ledger.read(), ..well() };
        let mut snapshot = with_isolated(IsolationMode::DeadLettering, down(), snapshot);
        snapshot.destinations[1].gets_copies = true;
        snapshot
    };
    says(&snapshot(), "Delivering");
    check(&snapshot(), State::Trouble, "the others continue until a log becomes a dead letter");
    ledger.account(&shard(1)).waits(Wait::Copies, "b does not take the copies".into());
    says(&snapshot(), "Paused");
    let line = verdict(&snapshot()).line();
    assert!(line.contains("is down, shards wait until the copies of their dead letters are delivered"), "{line}");
    assert!(!line.contains("the others continue"), "{line}");
}

#[test]
fn a_destination_whose_missed_events_cannot_be_replayed_says_why() {
    let up = Health::Up { since: Instant::now() };
    let mut snapshot = with_isolated(IsolationMode::Returning, up, well());
    check(&snapshot, State::Waiting, "the destination b is receiving its missed events");
    snapshot.destinations[1].replay_fault = Some("another replay is using the dead letters in /d".into());
    let text = "the destination b does not get its missed events: another replay is using the dead letters in /d";
    check(&snapshot, State::Trouble, text);
}

#[test]
fn a_process_is_not_ready_while_every_shard_of_every_source_is_paused() {
    let ledger = Ledger::default();
    for number in [1, 2] {
        ledger.account(&shard(number)).acquired();
        ledger.account(&shard(number)).caught_up();
    }
    ledger.account(&shard(1)).waits(Wait::Disk, "no room".into());
    let one = Snapshot { shards: ledger.read(), ..well() };
    says(&one, "Paused in part: shard audit/1");
    assert!(verdict(&one).is_ready());
    ledger.account(&shard(2)).halted(1, "log 7 failed".into());
    let mut all = Snapshot { shards: ledger.read(), ..well() };
    says(&all, "Paused");
    assert!(!verdict(&all).is_ready());
    let waf = ShardName { source: SourceName::new("waf"), shard: ShardId(0) };
    ledger.account(&waf).acquired();
    ledger.account(&waf).caught_up();
    all.shards = ledger.read();
    all.sources.push(SourceSnapshot { name: "waf".into(), ..all.sources[0].clone() });
    says(&all, "Paused in part: shards audit/1, audit/2");
    assert!(verdict(&all).is_ready());
}

#[test]
fn shards_that_a_limit_leaves_out_are_a_problem_that_names_the_limit() {
    let group = |short_of| GroupHealth { joined: true, surplus: 8_000, short_of, ..GroupHealth::default() };
    let text = "8000 shards that SLS gave us are read by nobody, since run.memory is not enough";
    check(&in_group(group(ShortOf::Memory), well()), State::Trouble, text);
    let text = "8000 shards that SLS gave us are read by nobody, since a source has as many shards as it may have";
    check(&in_group(group(ShortOf::Source), well()), State::Trouble, text);
    let mut several = in_group(group(ShortOf::Memory), well());
    several.sources.push(SourceSnapshot { name: "waf".into(), ..several.sources[0].clone() });
    check(&several, State::Trouble, "8000 shards of source audit that SLS gave us are read by nobody");
}

#[test]
fn a_source_that_gets_no_memory_is_a_problem_and_all_of_them_pause_everything() {
    let (mut snapshot, since) = (well(), Instant::now());
    snapshot.at = since + Duration::from_secs(60);
    snapshot.sources.push(SourceSnapshot { name: "waf".into(), ..snapshot.sources[0].clone() });
    snapshot.sources[0].memory = SourceMemory { held: 5_000_000, waiting_since: Some(since) };
    let text = "source audit waits for memory for 1m: 950 B of 1.0 kB are in use, 5.0 MB by source audit, 950 B by";
    check(&snapshot, State::Trouble, text);
    assert_eq!((verdict(&snapshot).problems(), verdict(&snapshot).is_ready()), (1, true));
    says(&snapshot, "Delivering");
    snapshot.sources[1].memory.waiting_since = Some(since);
    says(&snapshot, "Paused");
}

#[test]
fn refused_pulls_are_a_problem_and_stop_everything_when_every_shard_is_refused() {
    let ledger = Ledger::default();
    for number in [1, 2] {
        ledger.account(&shard(number)).acquired();
        ledger.account(&shard(number)).caught_up();
    }
    let now = Instant::now();
    ledger.account(&shard(1)).fails(Ask::Pull, &refused(), now);
    let one = Snapshot { shards: ledger.read(), at: now, ..well() };
    check(&one, State::Trouble, "SLS does not let us read shard audit/1 for 0.0 s: pull: 401");
    says(&one, "Paused in part: shard audit/1");
    ledger.account(&shard(2)).fails(Ask::Pull, &refused(), now);
    let all = Snapshot { shards: ledger.read(), at: now + Duration::from_secs(95), ..well() };
    check(&all, State::Stopped, "SLS does not let us read shards audit/1, audit/2 for 1m 35s");
    ledger.account(&shard(1)).works(Ask::Pull);
    ledger.account(&shard(2)).works(Ask::Pull);
    ledger.account(&shard(2)).fails(Ask::Pull, &busy(), now);
    check(&Snapshot { shards: ledger.read(), at: now, ..well() }, State::Waiting, "audit/2");
    ledger.account(&shard(2)).works(Ask::Pull);
    ledger.account(&shard(2)).fails(Ask::Save, &refused(), now);
    check(&Snapshot { shards: ledger.read(), at: now, ..well() }, State::Trouble, "no checkpoint can be saved");
}

#[test]
fn a_certificate_is_reported_two_weeks_before_it_expires() {
    let ends = |sls: Option<i64>, server: Option<i64>, ours: Option<i64>| {
        let mut snapshot = well();
        snapshot.sources[0].certificate_end = sls.map(|left| snapshot.now + left);
        let end = |left: Option<i64>| left.map(|left| snapshot.now + left);
        snapshot.destinations[0].certificates = CertificateEnds { server: end(server), ours: end(ours) };
        snapshot
    };
    const DAY: i64 = 86_400;
    assert_eq!(verdict(&ends(Some(14 * DAY), Some(14 * DAY), Some(14 * DAY))).problems(), 0);
    check(&ends(Some(3 * DAY), None, None), State::Trouble, "the certificate of SLS ends in 3 d");
    check(&ends(None, Some(14 * DAY - 1), None), State::Trouble, "the certificate of the destination ends in 13 d");
    check(&ends(None, None, Some(-1)), State::Trouble, "our certificate for the destination has ended");
}

#[test]
fn a_probe_log_that_does_not_arrive_or_cannot_be_written_is_reported() {
    let with = |probe: ProbeStatus| {
        let mut snapshot = well();
        snapshot.sources[0].probe = Some(probe);
        snapshot
    };
    let waiting = |seconds| with(ProbeStatus { waiting: Some(Duration::from_secs(seconds)), ..ProbeStatus::default() });
    assert_eq!(verdict(&waiting(299)).problems(), 0);
    check(&waiting(300), State::Trouble, "a probe log that was written 5 min ago is not delivered");
    let transient = with(ProbeStatus { failing: Some(failing(&busy(), 1)), ..ProbeStatus::default() });
    assert_eq!(verdict(&Snapshot { at: Instant::now(), ..transient }).problems(), 0, "it is retried");
    let failing = Some(failing(&refused(), 0));
    let unwritten = with(ProbeStatus { failing, ..ProbeStatus::default() });
    check(&Snapshot { at: Instant::now(), ..unwritten }, State::Trouble, "no probe log can be written for");
}

#[test]
fn lost_and_dead_lettered_logs_are_reported_until_an_operator_acts() {
    check(&Snapshot { open_gaps: 1, ..well() }, State::Trouble, "logs were LOST: 1 gap:");
    check(&with_letters(71, well()), State::Trouble, "71 dead letters wait for an operator");
    check(&with_letters(1, well()), State::Trouble, "1 dead letter waits for an operator");
}

#[test]
fn the_worst_state_comes_first_and_only_states_that_need_an_operator_are_problems() {
    let ledger = Ledger::default();
    let account = ledger.account(&shard(2));
    account.acquired();
    account.pulled(1, 10, None);
    account.waits(Wait::Disk, "no room".into());
    account.settled(Settled::default(), None);
    let group = GroupHealth::default();
    let bad = Snapshot { shards: ledger.read(), ..in_group(group, with_health(Health::Unknown, well())) };
    let verdict = verdict(&bad);
    let states: Vec<State> = verdict.reasons.iter().map(|reason| reason.state).collect();
    assert_eq!(states, [State::Stopped, State::Trouble, State::Waiting]);
    assert_eq!(verdict.problems(), 2);
    let line = "the consumer group is not joined yet; shard audit/2 is PAUSED: no room; the destination has not";
    assert!(verdict.line().starts_with(line), "{}", verdict.line());
}

/// A shard with this lag in seconds, a retention of a week, and this change of the lag per second.
fn behind(lag: i64, change: Option<f64>) -> Snapshot {
    let ledger = Ledger::default();
    let account = ledger.account(&shard(2));
    account.acquired();
    account.pulled(10, 100, Some(1_000));
    let mut snapshot = Snapshot { shards: ledger.read(), now: 1_000 + lag, lag_change: change, ..well() };
    snapshot.sources[0].retention = Some(Duration::from_secs(7 * 24 * 3_600));
    snapshot
}

#[track_caller]
fn says(snapshot: &Snapshot, headline: &str) {
    assert_eq!(verdict(snapshot).headline.to_string(), headline, "{:?}", verdict(snapshot));
}

#[test]
fn the_headline_says_what_happens_to_logs() {
    const DAY: i64 = 24 * 3_600;
    says(&well(), "Delivering");
    says(&behind(30, None), "Delivering");
    says(&behind(600, None), "Catching up");
    says(&behind(600, Some(-2.5)), "Catching up (4 min left)");
    says(&behind(100, Some(0.0)), "Delivering late");
    says(&behind(100, Some(1.0)), "Delivering late");
    says(&with_health(Health::Unknown, well()), "Waiting");
    let down = || Health::Down { since: Instant::now(), cause: "503".into() };
    says(&with_health(down(), behind(600, Some(1.0))), "Paused");
    says(&with_health(down(), behind(7 * DAY - 6 * 3_600, None)), "Losing logs in 6 h");
    says(&behind(7 * DAY - 6 * 3_600, Some(0.5)), "Losing logs in 12 h");
    says(&behind(7 * DAY - 6 * 3_600, Some(-3.0)), "Catching up (2 d left)");
    says(&Snapshot { open_gaps: 2, ..well() }, "Logs were lost");
    says(&in_group(GroupHealth::default(), well()), "Waiting");
    let refused = GroupHealth { joined: true, failing: Some(failing(&refused(), 0)), ..GroupHealth::default() };
    says(&Snapshot { at: Instant::now(), ..in_group(refused, well()) }, "Paused");
}

/// Two shards of others that are not read: one is held by a consumer that saved it once, and nobody has saved the other.
fn unread() -> Vec<ShardReport> {
    let saved = SavedAt { shard: 5, cursor: Cursor::from_number(1), consumer: "ghost".into(), micros: 300_000_000 };
    let seen = |shard, saved| Seen { shard, is_read_only: false, saved, place: ShardPlace::Log(400) };
    let judge = |seen| judge(seen, 600, Duration::from_secs(60), None);
    vec![judge(seen(5, Some(saved))), judge(seen(7, None))]
}

#[test]
fn a_shard_of_another_process_that_nobody_reads_is_a_problem_until_this_process_holds_it() {
    let mut snapshot = well();
    snapshot.sources[0].unread = unread();
    let still =
        "shard audit/5 stands still: logs wait, and no checkpoint was saved for 5 min; ghost saved the last one";
    check(&snapshot, State::Trouble, still);
    let verdict = verdict(&snapshot);
    let unread = "shard audit/7 is not read: logs wait for 3 min, and no process has saved a checkpoint";
    assert_eq!(verdict.line(), format!("{still}; {unread}"));
    assert!(verdict.is_ready(), "this process does its part");
    assert!(verdict.reasons.iter().all(|reason| !reason.consequence.is_empty() && !reason.remedy.is_empty()));
    says(&snapshot, "Paused in part: shards audit/5, audit/7");

    let ledger = Ledger::default();
    for number in [5, 7] {
        ledger.account(&shard(number)).acquired();
        ledger.account(&shard(number)).caught_up();
    }
    snapshot.shards = ledger.read();
    says(&snapshot, "Delivering");
    assert_eq!(super::verdict(&snapshot).state(), State::Well);
}

#[test]
fn a_process_that_delivers_or_stands_by_is_ready() {
    let is_ready = |snapshot: &Snapshot| verdict(snapshot).is_ready();
    assert!(is_ready(&well()) && is_ready(&with_letters(3, well())));
    let since = Instant::now();
    assert!(is_ready(&with_health(Health::Down { since, cause: "503".into() }, well())), "it comes back by itself");
    assert!(!is_ready(&with_health(Health::Refusing { since, cause: "403".into() }, well())));
    assert!(!is_ready(&in_group(GroupHealth::default(), well())));
    let none = |waiting| Snapshot {
        shards: BTreeMap::new(),
        ..in_group(GroupHealth { joined: true, waiting, ..GroupHealth::default() }, well())
    };
    assert!(!is_ready(&none(None)));
    assert!(is_ready(&none(Some("shards 0-3 are held by x: standing by".into()))));
}

#[test]
fn a_growing_lag_is_a_problem_and_a_shrinking_one_is_not() {
    assert_eq!(verdict(&behind(600, Some(-0.5))).problems(), 0);
    check(&behind(600, Some(0.5)), State::Trouble, "the oldest undelivered log is 10 min old, and the lag grows");
}

#[test]
fn a_lag_that_waits_for_an_isolated_destination_is_no_sign_of_catching_up() {
    for (mode, headline) in [(IsolationMode::Direct, "Waiting"), (IsolationMode::DeadLettering, "Delivering late")] {
        let snapshot = with_isolated(mode, down(), behind(600, Some(1.0)));
        says(&snapshot, headline);
        let text = "its events wait in memory while there is room, and the checkpoint waits for them";
        assert_eq!(verdict(&snapshot).line().contains(text), mode == IsolationMode::Direct);
    }
}

#[test]
fn events_that_an_isolated_destination_missed_are_nobodys_task() {
    let letters = DeadLettersOnDisk { missed: 9, ..DeadLettersOnDisk::default() };
    assert_eq!(verdict(&Snapshot { letters: Some(letters), ..well() }).state(), State::Well);
}

#[test]
fn every_problem_has_a_consequence_and_a_remedy() {
    let evil = Snapshot { open_gaps: 1, ..with_letters(3, crate::admin::tests::snapshot()) };
    for reason in verdict(&evil).reasons.iter().filter(|reason| reason.state >= State::Trouble) {
        assert!(!reason.consequence.is_empty() && !reason.remedy.is_empty(), "{reason:?}");
    }
}

#[test]
fn a_pattern_without_a_match_waits_and_is_not_ready() {
    let waiting = Some("waiting: no logstore of project p matches audit-*".to_owned());
    let group = || GroupHealth { waiting: waiting.clone(), ..GroupHealth::default() };
    let alone = Snapshot { shards: BTreeMap::new(), ..in_group(group(), well()) };
    check(&alone, State::Waiting, "waiting: no logstore of project p matches audit-*");
    says(&alone, "Waiting");
    assert!(!verdict(&alone).is_ready());
    let mut beside = well();
    beside.sources.push(SourceSnapshot { name: "audit-*".into(), group: group(), ..beside.sources[0].clone() });
    assert!(verdict(&beside).is_ready());
    let named = "source audit-*: waiting: no logstore of project p matches audit-*";
    assert!(verdict(&beside).line().contains(named), "{}", verdict(&beside).line());
}
