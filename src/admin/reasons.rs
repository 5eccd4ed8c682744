//! Collects the reasons from a snapshot. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::memory_wait::{REMEDY, memory_wait};
use super::reason::{Effect, Reason, State};
use super::shard_names::names;
use super::snapshot::{Snapshot, SourceSnapshot};
use super::unread;
use super::unwritten::{self, unwritten};
use crate::core::count::count;
use crate::core::cursor::ShardName;
use crate::core::destination_account::SILENCE;
use crate::core::duration::{in_words, roughly};
use crate::core::failing::Failing;
use crate::core::ledger::{Ask, ShardLedger, Wait};
use crate::destination::{DestinationStatus, Health, IsolationMode, called};
use crate::group::ShortOf;
use crate::pipeline::SLOW_PAGE;

/// Without an answered heartbeat for this long, no shard is kept: the heartbeat interval is shorter, and so is,
/// usually, the group's timeout.
const STALE_HEARTBEAT: Duration = Duration::from_secs(120);

/// A certificate that ends within this many seconds is reported: two weeks.
const CERTIFICATE_WARNING: i64 = 14 * 86_400;

/// A probe log that is not delivered after this time is reported.
const LATE_PROBE: Duration = Duration::from_secs(300);

/// After this long a silence is a problem.
const LONG_SILENCE: Duration = Duration::from_secs(120);

const ALL_WAIT: &str = "all logs with events for it wait in SLS, and the checkpoints are not moved; nothing is lost as \
                        long as SLS keeps the logs";

const WAITS: &str = "logs wait in SLS; nothing is lost as long as SLS keeps them";

/// All reasons, worst first.
pub(super) fn reasons(snapshot: &Snapshot) -> Vec<Reason> {
    let by_source: Vec<Vec<Reason>> = snapshot.sources.iter().map(|source| of_source(source, snapshot)).collect();
    let stand_still = by_source.iter().all(|reasons| reasons.iter().any(|reason| reason.is_not_ready));
    let mut reasons: Vec<Reason> = by_source.into_iter().flatten().collect();
    if !stand_still {
        reasons = reasons.into_iter().map(Reason::while_others_flow).collect();
    }
    for destination in &snapshot.destinations {
        let is_alone = snapshot.destinations.len() == 1;
        reasons.extend(of_destination(destination, is_alone, snapshot));
        let who = called(&destination.name, is_alone);
        let warn = |warning: &String| {
            Reason::new(State::Trouble, format!("{who}: {warning}"))
                .so(Effect::Flows, "delivery is slower, or about to stop")
                .remedy("as the message says")
        };
        reasons.extend(destination.warnings.iter().map(warn));
    }
    reasons.extend(certificates(snapshot));
    reasons.extend(rest(snapshot).into_iter().flatten());
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
    reasons
}

/// Reasons of one source.
fn of_source(source: &SourceSnapshot, snapshot: &Snapshot) -> Vec<Reason> {
    let mut reasons = Vec::new();
    group(source, snapshot, &mut reasons);
    reasons.extend(credentials(source, snapshot));
    reasons.extend(probe(source, snapshot));
    reasons.extend(memory(source, snapshot));
    shards(source, snapshot, &mut reasons);
    reasons.extend(unread::reasons(source, snapshot));
    reasons
}

/// Reasons of all sources and destinations.
fn rest(snapshot: &Snapshot) -> [Option<Reason>; 4] {
    let missing = snapshot.total().difference();
    let bug = (missing != 0).then(|| {
        Reason::new(State::Trouble, format!("BUG: {missing} logs are missing: ledger mismatch"))
            .so(Effect::Flows, "the counts of this page are wrong")
            .remedy("report it with the log of the program")
    });
    let script = snapshot.reloads.trouble.as_ref().map(|problem| {
        Reason::new(State::Trouble, format!("script: {problem}"))
            .so(Effect::Flows, "the version before it keeps running")
            .remedy("correct the file and save it; it is loaded by itself")
    });
    let gaps = (snapshot.open_gaps > 0).then(|| {
        let text = format!(
            "logs were LOST: {}: they expired in SLS before they were pulled",
            count(snapshot.open_gaps, "gap")
        );
        Reason::new(State::Trouble, text)
            .so(Effect::Lost, "the log of the program has their time ranges (\"GAP\"); nothing can bring them back")
            .remedy("raise the retention or the rate, then acknowledge the gap")
    });
    let dir = &snapshot.letters_dir;
    let letters = match snapshot.letters.as_ref().map(|letters| letters.open) {
        Some(0) => None,
        Some(open) => Some(
            Reason::new(
                State::Trouble,
                format!("{} for an operator: forwarder dlq list --dir {dir}", count(open, "dead letter") + wait(open)),
            )
            .so(Effect::Flows, "these logs did not arrive")
            .remedy(format!("correct the script or the destination, then forwarder dlq replay --dir {dir}")),
        ),
        None => Some(Reason::new(State::Waiting, "the dead letters are not counted".to_owned())),
    };
    [bug, script, gaps, letters]
}

/// Certificates that end soon, or have ended.
fn certificates(snapshot: &Snapshot) -> Vec<Reason> {
    let sls = snapshot.sources.iter().map(|source| {
        let whose = format!("the certificate of SLS{}", of(source, snapshot));
        (whose, source.certificate_end, "SLS renews it; if there is a proxy in between, renew the proxy's")
    });
    let is_alone = snapshot.destinations.len() == 1;
    let of_destinations = snapshot.destinations.iter().flat_map(|destination| {
        let who = called(&destination.name, is_alone);
        let ends = destination.certificates;
        let ours = "renew the files of client_cert and client_key; they are read again by themselves";
        [
            (format!("the certificate of {who}"), ends.server, "renew it there"),
            (format!("our certificate for {who}"), ends.ours, ours),
        ]
    });
    let mut reasons = Vec::new();
    for (whose, end, remedy) in sls.chain(of_destinations) {
        let Some(left) = end.map(|end| end - snapshot.now).filter(|left| *left < CERTIFICATE_WARNING) else { continue };
        let text = match u64::try_from(left) {
            Ok(left) => format!("{whose} ends in {}", roughly(Duration::from_secs(left))),
            Err(_) => format!("{whose} has ended"),
        };
        let reason = Reason::new(State::Trouble, text);
        reasons.push(reason.so(Effect::Flows, "no new connection is made once it has ended").remedy(remedy));
    }
    reasons
}

fn of_destination(destination: &DestinationStatus, is_alone: bool, snapshot: &Snapshot) -> Option<Reason> {
    if let Some(text) = unwritten(destination, &snapshot.shards) {
        let reason = Reason::new(State::Trouble, text).so(Effect::Pauses, ALL_WAIT);
        return Some(reason.remedy(unwritten::REMEDY).not_ready());
    }
    let who = called(&destination.name, is_alone);
    let waits_for_copies = |entry: &ShardLedger| entry.held && entry.waits.contains_key(&Wait::Copies);
    let (waits, effect, consequence) = match destination.isolation {
        // A log is complete when all its destinations have it, so it delays later logs.
        None if is_alone => ("logs wait in SLS", Effect::Pauses, WAITS),
        None => ("all logs wait in SLS", Effect::Pauses, WAITS),
        Some(_) if destination.gets_copies && snapshot.shards.values().any(waits_for_copies) => (
            "shards wait until the copies of their dead letters are delivered there (dead_letters.to)",
            Effect::Flows,
            "the checkpoints of these shards are not moved, even though the destination is isolated; their logs wait in SLS",
        ),
        Some(_) if destination.gets_copies => (
            "the others continue until a log becomes a dead letter: its copy must be delivered there (dead_letters.to)",
            Effect::Flows,
            "events that it misses are replayed when it is back; a shard with a dead letter is paused until then",
        ),
        Some(IsolationMode::Direct) => (
            "the others continue: its events wait in memory while there is room, and the checkpoint waits for them",
            Effect::Flows,
            "when that memory is used up, its events become dead letters, and are replayed when it is back",
        ),
        Some(IsolationMode::DeadLettering | IsolationMode::Returning) => (
            "the others continue: its events become dead letters, and are replayed when it is back",
            Effect::Flows,
            "it gets its events late",
        ),
    };
    match &destination.health {
        Health::Up { .. } => match destination.isolation {
            Some(IsolationMode::DeadLettering | IsolationMode::Returning) => Some(match &destination.replay_fault {
                Some(fault) => Reason::new(State::Trouble, format!("{who} does not get its missed events: {fault}"))
                    .so(Effect::Flows, "newer events for it wait behind them, in memory or as dead letters")
                    .remedy("do what the message says; the missed events are then replayed by themselves"),
                None => {
                    let text = format!("{who} is receiving its missed events, and newer events after them");
                    Reason::new(State::Waiting, text)
                }
            }),
            _ => {
                let silent = snapshot.at.saturating_duration_since(destination.events.waiting_since?);
                let text = format!("{who} has given no result for any event in flight for {}", in_words(silent));
                let remedy = "look at the destination: it answers late, or not at all, or asked for a pause";
                if silent >= LONG_SILENCE {
                    return Some(Reason::new(State::Trouble, text).so(effect, consequence).remedy(remedy));
                }
                (silent >= SILENCE).then(|| Reason::new(State::Waiting, text).remedy(remedy))
            }
        },
        Health::Unknown => Some(Reason::new(State::Waiting, format!("{who} has not answered yet"))),
        Health::Down { cause, .. } => Some(
            Reason::new(State::Trouble, format!("{who} is down, {waits}: {cause}"))
                .so(effect, consequence)
                .remedy("bring it back; transient errors are retried"),
        ),
        Health::Refusing { cause, .. } => {
            let text = format!("{who} rejects our requests, {waits}: {cause}");
            let reason = Reason::new(State::Trouble, text).so(effect, consequence);
            let reason = if effect == Effect::Pauses { reason.not_ready() } else { reason };
            Some(reason.remedy("correct what it names; delivery resumes by itself"))
        }
    }
}

/// The renewal of the signing key. If there was no key yet, the group is not joined, which is reported for the group.
fn credentials(source: &SourceSnapshot, snapshot: &Snapshot) -> Option<Reason> {
    let (failing, left) = (source.credentials.failing.as_ref()?, source.credentials.valid_for?);
    let rest = match left {
        Duration::ZERO => "the last one has expired".to_owned(),
        left => format!("the current one is valid for another {}", in_words(left)),
    };
    let (of, since) = (of(source, snapshot), in_words(snapshot.at - failing.since));
    let text = format!("no new key for SLS{of} can be obtained, {rest}; for {since}: {}", failing.cause);
    Some(match failing.is_trouble(snapshot.at) {
        true => Reason::new(State::Trouble, text)
            .so(Effect::Flows, "SLS refuses requests when the key expires")
            .remedy("fix the provider of the key; it is retried by itself"),
        false => Reason::new(State::Waiting, text),
    })
}

/// The probe logs.
fn probe(source: &SourceSnapshot, snapshot: &Snapshot) -> Option<Reason> {
    let probe = source.probe.as_ref()?;
    let of = of(source, snapshot);
    if let Some(failing) = probe.failing.as_ref().filter(|failing| failing.is_trouble(snapshot.at)) {
        let since = in_words(snapshot.at.saturating_duration_since(failing.since));
        let text = format!("no probe log{of} can be written for {since}: {}", failing.cause);
        let reason = Reason::new(State::Trouble, text).so(Effect::Flows, "the arrival of logs is not monitored");
        return Some(reason.remedy("correct what it names, or leave out probe.enabled"));
    }
    let age = probe.waiting.filter(|age| *age >= LATE_PROBE)?;
    let text = format!("a probe log{of} that was written {} ago is not delivered", roughly(age));
    let reason = Reason::new(State::Trouble, text).so(Effect::Flows, "logs written now arrive as late, or not at all");
    Some(reason.remedy("check the lag and the other reasons; sls.query must let the probe log pass"))
}

/// The wait for memory that other shards hold.
fn memory(source: &SourceSnapshot, snapshot: &Snapshot) -> Option<Reason> {
    let waits = |source| memory_wait(source, &snapshot.sources, snapshot.memory, snapshot.at);
    let text = waits(source)?;
    let effect = if snapshot.sources.iter().all(|one| waits(one).is_some()) { Effect::Pauses } else { Effect::Flows };
    Some(Reason::new(State::Trouble, text).so(effect, WAITS).remedy(REMEDY))
}

/// The membership of a consumer group.
fn group(source: &SourceSnapshot, snapshot: &Snapshot, say: &mut Vec<Reason>) {
    let (group, now) = (&source.group, snapshot.at);
    let of = of(source, snapshot);
    let failing = |failing: &Failing| format!("for {}: {}", in_words(now - failing.since), failing.cause);
    let stopped = |text: String| {
        Reason::new(State::Stopped, text)
            .so(Effect::Pauses, WAITS)
            .remedy("correct what the message names; no restart is needed")
    };
    match (&group.failing, group.joined) {
        (None, true) => {}
        // It has nothing to join yet.
        (None, false) if group.waiting.is_some() => {}
        (None, false) => {
            say.push(Reason::new(State::Stopped, format!("the consumer group{of} is not joined yet")));
        }
        (Some(why), false) => say.push(stopped(format!("the consumer group{of} cannot be joined, {}", failing(why)))),
        (Some(why), true) => {
            let text = format!("heartbeats{of} fail, so that no shard can be kept, {}", failing(why));
            say.push(if why.is_trouble(now) { stopped(text) } else { Reason::new(State::Waiting, text) });
        }
    }
    let silent = group.last_heartbeat.map(|at| now.saturating_duration_since(at));
    if let Some(silent) = silent.filter(|silent| group.failing.is_none() && *silent >= STALE_HEARTBEAT) {
        let silent = in_words(silent);
        say.push(stopped(format!("no heartbeat{of} was answered for {silent}, so that no shard can be kept")));
    }
    if group.surplus > 0 {
        let (limit, remedy) = match group.short_of {
            ShortOf::Memory => ("run.memory is not enough for them", "raise run.memory, or start more processes"),
            ShortOf::Source => (
                "a source has as many shards as it may have",
                "divide the logstores of the pattern among several sources, or start more processes",
            ),
        };
        let text = format!(
            "{}{of} that SLS gave us {} read by nobody, since {limit}",
            count(group.surplus as u64, "shard"),
            if group.surplus == 1 { "is" } else { "are" }
        );
        let reason = Reason::new(State::Trouble, text).so(Effect::Flows, "their logs wait in SLS");
        say.push(reason.remedy(remedy));
    }
    if let Some(waiting) = &group.waiting {
        let whose = if of.is_empty() { String::new() } else { format!("source {}: ", source.name) };
        let reason = Reason::new(State::Waiting, format!("{whose}{waiting}"));
        say.push(if group.joined { reason } else { reason.not_ready() });
    }
}

fn shards(source: &SourceSnapshot, snapshot: &Snapshot, say: &mut Vec<Reason>) {
    let of_source = || snapshot.shards.iter().filter(|(shard, _)| shard.source.as_str() == source.name);
    let held: BTreeMap<&ShardName, &ShardLedger> = of_source().filter(|(_, entry)| entry.held).collect();
    let is_all_still = held.values().all(|entry| entry.standstill().is_some());
    let effect = if is_all_still { Effect::Pauses } else { Effect::Flows };
    let stands = |text: String| {
        let reason = Reason::new(State::Trouble, text).so(effect, "its logs wait in SLS");
        if is_all_still { reason.not_ready() } else { reason }
    };
    for (shard, entry) in of_source() {
        if let Some(why) = &entry.halted {
            let text = format!("shard {shard} is HALTED: {why}");
            say.push(stands(text).remedy("correct the script and save it, or restart"));
        }
        for why in entry.waits.values() {
            let text = format!("shard {shard} is PAUSED: {why}");
            say.push(stands(text).remedy("correct what it names; the shard resumes by itself"));
        }
        let at_page = Duration::from_secs(entry.page_seconds());
        if at_page >= SLOW_PAGE {
            let text = format!(
                "shard {shard} is SLOW: the script has worked on one page for {}; its logs take long, or run into \
                 script.timeout",
                in_words(at_page)
            );
            say.push(Reason::new(State::Trouble, text).remedy("look at what the script does with long logs"));
        }
    }
    if held.is_empty() && source.group.joined && source.group.waiting.is_none() {
        let text = format!("no shard{} is assigned yet, and their owners are not known", of(source, snapshot));
        say.push(Reason::new(State::Waiting, text).not_ready());
    }
    for (ask, what) in [
        (Ask::Locate, "the start position cannot be looked up for"),
        (Ask::Pull, "SLS does not let us read"),
        (Ask::Save, "no checkpoint can be saved of"),
    ] {
        say.extend(asked(ask, what, &held, snapshot.at));
    }
    let unread = |entry: &ShardLedger| !entry.caught_up && entry.counts.pages == 0 && entry.failing.is_empty();
    let unread: Vec<&ShardName> = held
        .iter()
        .filter(|(_, entry)| unread(entry) && entry.standstill().is_none())
        .map(|(shard, _)| *shard)
        .collect();
    if !unread.is_empty() {
        say.push(Reason::new(State::Waiting, format!("nothing was read of {} yet", names(unread.iter().copied()))));
    }
}

/// Calls for shards that fail.
fn asked(ask: Ask, what: &str, held: &BTreeMap<&ShardName, &ShardLedger>, now: Instant) -> Option<Reason> {
    let failing: Vec<(&ShardName, &Failing)> =
        held.iter().filter_map(|(shard, entry)| Some((*shard, entry.failing.get(&ask)?))).collect();
    let (_, first) = failing.iter().min_by_key(|(_, failing)| failing.since)?;
    let is_trouble = failing.iter().any(|(_, failing)| failing.is_trouble(now));
    let names = names(failing.iter().map(|(shard, _)| *shard));
    let text = format!("{what} {names} for {}: {}", in_words(now - first.since), first.cause);
    let remedy = "correct what the message names; no restart is needed";
    Some(match is_trouble {
        true if ask == Ask::Save => Reason::new(State::Trouble, text)
            .so(Effect::Flows, "logs are delivered, and would be delivered again after a restart")
            .remedy(remedy),
        true if failing.len() == held.len() => {
            Reason::new(State::Stopped, text).so(Effect::Pauses, WAITS).remedy(remedy)
        }
        true => Reason::new(State::Trouble, text).so(Effect::Flows, "their logs wait in SLS").remedy(remedy),
        false => Reason::new(State::Waiting, text),
    })
}

/// Names the source if there are several.
fn of(source: &SourceSnapshot, snapshot: &Snapshot) -> String {
    if snapshot.sources.len() > 1 { format!(" of source {}", source.name) } else { String::new() }
}

fn wait(number: u64) -> &'static str {
    if number == 1 { " waits" } else { " wait" }
}
