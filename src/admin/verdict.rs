//! What a snapshot comes to: how well the program does, and why not better. Pure.
//!
//! Well is said only when it is known. What is not known yet is a reason of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{GroupHealth, Snapshot};
use crate::core::count::count;
use crate::core::cursor::ShardName;
use crate::core::duration::in_words;
use crate::core::failing::Failing;
use crate::core::ledger::{Ask, Counts, ShardLedger};
use crate::destination::{DestinationStatus, Health, IsolationMode, called};
use crate::pipeline::SLOW_PAGE;
use crate::sls::KeyStatus;

/// Most shards that a reason names.
const MOST_NAMED: usize = 5;

/// How well the program does, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// All of it is known to be as it should be.
    Well,
    /// Nothing is known to be wrong, but something is not known yet, or there is nothing to do.
    Waiting,
    /// Somebody should have a look.
    Trouble,
    /// Nothing is read from SLS.
    Stopped,
}

impl State {
    /// In a word, for programs.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Waiting => "waiting",
            Self::Trouble => "trouble",
            Self::Stopped => "stopped",
        }
    }
}

/// One thing that keeps the program from being well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// How much it matters.
    pub(super) state: State,
    /// What it is and what to do, as a sentence begins and without its full stop.
    pub(super) text: String,
}

/// How well the program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Why it does not do better, worst first.
    pub(super) reasons: Vec<Reason>,
}

impl Verdict {
    /// The worst of the reasons.
    pub(super) fn state(&self) -> State {
        self.reasons.first().map_or(State::Well, |worst| worst.state)
    }

    /// How many of the reasons ask for somebody.
    pub(super) fn problems(&self) -> usize {
        self.reasons.iter().filter(|reason| reason.state >= State::Trouble).count()
    }

    /// All that is to be said, on one line.
    pub(super) fn line(&self) -> String {
        self.reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// What the snapshot comes to.
pub(super) fn verdict(snapshot: &Snapshot) -> Verdict {
    let mut reasons = Vec::new();
    let mut say = |state, text: String| reasons.push(Reason { state, text });
    group(&snapshot.group, snapshot.at, &mut say);
    credentials(&snapshot.credentials, snapshot.at, &mut say);
    shards(snapshot, &mut say);
    let total = snapshot.shards.values().fold(Counts::default(), |sum, entry| sum.plus(&entry.counts));
    let missing = total.difference();
    if missing != 0 {
        say(State::Trouble, format!("BUG: {missing} logs are missing: ledger mismatch"));
    }
    destinations(&snapshot.destinations, &mut say);
    if let Some(problem) = &snapshot.reloads.trouble {
        say(State::Trouble, format!("script: {problem}"));
    }
    if total.gaps > 0 {
        let text = format!(
            "logs were LOST: {}, since they expired in SLS before they were pulled; the log has their time ranges (\"GAP\"), \
             and this is shown until the next start",
            count(total.gaps, "gap")
        );
        say(State::Trouble, text);
    }
    match snapshot.open_letters {
        Some(0) => {}
        Some(open) => {
            let text = format!("{} for somebody: forwarder dlq list", count(open, "dead letter") + wait(open));
            say(State::Trouble, text);
        }
        None => say(State::Waiting, "the dead letters are not counted".to_owned()),
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
    Verdict { reasons }
}

/// The destinations, each by name where there are several.
fn destinations(destinations: &[DestinationStatus], say: &mut impl FnMut(State, String)) {
    for DestinationStatus { name, health, isolation, warnings, .. } in destinations {
        let who = called(name, destinations.len() == 1);
        let waits = match isolation {
            // A log is finished when all its destinations have it, so it holds up what comes behind it.
            None if destinations.len() == 1 => "logs wait in SLS",
            None => "all logs wait in SLS",
            Some(IsolationMode::Direct) => "the others go on: its events wait in memory while there is room",
            Some(IsolationMode::Aside | IsolationMode::Returning) => {
                "the others go on: its events become dead letters, and are replayed when it is back"
            }
        };
        match health {
            Health::Up { .. } => {}
            Health::Unknown => say(State::Waiting, format!("{who} has not answered yet")),
            Health::Down { cause, .. } => say(State::Trouble, format!("{who} is down, {waits}: {cause}")),
            Health::Held { cause, .. } => {
                say(State::Trouble, format!("{who} rejects our requests, {waits}: {cause}"));
            }
        }
        if let (Some(IsolationMode::Aside | IsolationMode::Returning), Health::Up { .. }) = (isolation, health) {
            say(State::Waiting, format!("{who} is getting what it missed, and newer events behind that"));
        }
        for warning in warnings {
            say(State::Trouble, format!("{who}: {warning}"));
        }
    }
}

/// The membership of the consumer group.
fn group(group: &GroupHealth, now: Instant, say: &mut impl FnMut(State, String)) {
    let failing = |failing: &Failing| format!("for {}: {}", in_words(now - failing.since), failing.cause);
    match (&group.failing, group.joined) {
        (None, true) => {}
        (None, false) => say(State::Stopped, "the consumer group is not joined yet".to_owned()),
        (Some(why), false) => say(State::Stopped, format!("the consumer group cannot be joined, {}", failing(why))),
        (Some(why), true) => {
            let state = if why.is_trouble(now) { State::Stopped } else { State::Waiting };
            let text = format!("heartbeats fail, so that no shard can be kept, {}", failing(why));
            say(state, text);
        }
    }
    if group.surplus > 0 {
        let text = format!(
            "{} that SLS gave us {} read by nobody, since run.memory is not enough for them: raise it, or start more \
             processes",
            count(group.surplus as u64, "shard"),
            if group.surplus == 1 { "is" } else { "are" }
        );
        say(State::Trouble, text);
    }
    if let Some(waiting) = &group.waiting {
        say(State::Waiting, format!("waiting: {waiting}"));
    }
}

/// The renewal of the key that signs. As long as there was none, the group is not joined, which is said of the group.
fn credentials(credentials: &KeyStatus, now: Instant, say: &mut impl FnMut(State, String)) {
    let (Some(failing), Some(left)) = (&credentials.failing, credentials.valid_for) else { return };
    let rest = match left {
        Duration::ZERO => "the last one has ended".to_owned(),
        left => format!("the one that is held is valid for another {}", in_words(left)),
    };
    let state = if failing.is_trouble(now) { State::Trouble } else { State::Waiting };
    let since = in_words(now - failing.since);
    say(state, format!("no new key for SLS can be had, {rest}; for {since}: {}", failing.cause));
}

fn shards(snapshot: &Snapshot, say: &mut impl FnMut(State, String)) {
    for (shard, entry) in &snapshot.shards {
        if let Some(why) = &entry.halted {
            say(State::Trouble, format!("shard {shard} is HALTED: {why}"));
        }
        for why in entry.waits.values() {
            say(State::Trouble, format!("shard {shard} is PAUSED: {why}"));
        }
        let at_page = Duration::from_secs(entry.page_seconds());
        if at_page >= SLOW_PAGE {
            let text = format!(
                "shard {shard} is SLOW: the script has been at one page for {}; its logs take long, or run into \
                 script.timeout",
                in_words(at_page)
            );
            say(State::Trouble, text);
        }
    }
    let held: BTreeMap<&ShardName, &ShardLedger> = snapshot.shards.iter().filter(|(_, entry)| entry.held).collect();
    if held.is_empty() && snapshot.group.joined && snapshot.group.waiting.is_none() {
        say(State::Waiting, "no shard is ours yet".to_owned());
    }
    for (ask, what) in [
        (Ask::Locate, "it cannot be found out where to start in"),
        (Ask::Pull, "SLS does not let us read"),
        (Ask::Save, "no checkpoint can be saved of"),
    ] {
        let failing: Vec<(&ShardName, &Failing)> =
            held.iter().filter_map(|(shard, entry)| Some((*shard, entry.failing.get(&ask)?))).collect();
        let Some((_, first)) = failing.iter().min_by_key(|(_, failing)| failing.since) else { continue };
        let is_trouble = failing.iter().any(|(_, failing)| failing.is_trouble(snapshot.at));
        let state = match is_trouble {
            true if ask != Ask::Save && failing.len() == held.len() => State::Stopped,
            true => State::Trouble,
            false => State::Waiting,
        };
        let names = names(failing.iter().map(|(shard, _)| *shard));
        say(state, format!("{what} {names} for {}: {}", in_words(snapshot.at - first.since), first.cause));
    }
    let unread = |entry: &ShardLedger| !entry.caught_up && entry.counts.pages == 0 && entry.failing.is_empty();
    let unread: Vec<&ShardName> = held
        .iter()
        .filter(|(_, entry)| unread(entry) && entry.standstill().is_none())
        .map(|(shard, _)| *shard)
        .collect();
    if !unread.is_empty() {
        say(State::Waiting, format!("nothing was read of {} yet", names(unread.iter().copied())));
    }
}

/// `shard a/1`, `shards a/1, a/2`, `shards a/1, a/2, a/3, a/4, a/5 and 3 more`.
fn names<'a>(shards: impl ExactSizeIterator<Item = &'a ShardName>) -> String {
    let all = shards.len();
    let named: Vec<String> = shards.take(MOST_NAMED).map(ToString::to_string).collect();
    let more = if all > named.len() { format!(" and {} more", all - named.len()) } else { String::new() };
    format!("{} {}{more}", if all == 1 { "shard" } else { "shards" }, named.join(", "))
}

fn wait(number: u64) -> &'static str {
    if number == 1 { " waits" } else { " wait" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{to, well};
    use crate::core::cause::Cause;
    use crate::core::cursor::{ShardId, SourceName};
    use crate::core::ledger::{Ledger, Settled, Wait};
    use crate::core::source::SourceError;

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
    fn what_is_known_to_be_well_is_well() {
        let verdict = verdict(&well());
        assert_eq!((verdict.state(), verdict.reasons), (State::Well, Vec::new()));
    }

    #[test]
    fn what_is_not_known_yet_is_not_well() {
        let unread = Ledger::default();
        unread.account(&shard(2)).acquired();
        check(
            &Snapshot { destinations: vec![to("siem", Health::Unknown)], ..well() },
            State::Waiting,
            "the destination has not answered yet",
        );
        let down = Health::Down { since: Instant::now(), cause: "refused".into() };
        check(
            &Snapshot { destinations: vec![to("a", Health::Up { since: Instant::now() }), to("b", down)], ..well() },
            State::Trouble,
            "the destination b is down, all logs wait in SLS: refused",
        );
        let isolated = |mode, health| {
            let one = DestinationStatus { isolation: Some(mode), ..to("b", health) };
            Snapshot { destinations: vec![to("a", Health::Up { since: Instant::now() }), one], ..well() }
        };
        let down = Health::Down { since: Instant::now(), cause: "refused".into() };
        check(
            &isolated(IsolationMode::Aside, down),
            State::Trouble,
            "the destination b is down, the others go on: its events become dead letters",
        );
        check(
            &isolated(IsolationMode::Returning, Health::Up { since: Instant::now() }),
            State::Waiting,
            "the destination b is getting what it missed",
        );
        check(&Snapshot { shards: unread.read(), ..well() }, State::Waiting, "nothing was read of shard audit/2 yet");
        check(&Snapshot { shards: BTreeMap::new(), ..well() }, State::Waiting, "no shard is ours yet");
        check(&Snapshot { open_letters: None, ..well() }, State::Waiting, "not counted");
    }

    #[test]
    fn a_group_that_is_not_joined_or_not_kept_stops_everything() {
        let group = |joined, failing| Snapshot {
            group: GroupHealth { joined, failing, ..GroupHealth::default() },
            at: Instant::now(),
            ..well()
        };
        check(&group(false, None), State::Stopped, "not joined yet");
        check(&group(false, Some(failing(&busy(), 1))), State::Stopped, "cannot be joined, for 1.0 s: 500");
        check(&group(true, Some(failing(&refused(), 0))), State::Stopped, "heartbeats fail");
        check(&group(true, Some(failing(&busy(), 3))), State::Waiting, "heartbeats fail");
        check(&group(true, Some(failing(&busy(), 20))), State::Stopped, "heartbeats fail");
    }

    #[test]
    fn a_key_that_cannot_be_renewed_is_trouble_that_says_how_long_it_lasts() {
        let held = |error: &SourceError, seconds, left| Snapshot {
            credentials: KeyStatus {
                valid_for: Some(Duration::from_secs(left)),
                failing: Some(failing(error, seconds)),
                ..well().credentials
            },
            at: Instant::now(),
            ..well()
        };
        check(&held(&busy(), 1, 2400), State::Waiting, "valid for another 40m");
        check(&held(&busy(), 300, 2100), State::Trouble, "valid for another 35m; for 5m: 500");
        check(&held(&refused(), 0, 60), State::Trouble, "no new key for SLS can be had");
        check(&held(&busy(), 3000, 0), State::Trouble, "the last one has ended");
    }

    #[test]
    fn a_process_without_shards_says_whose_they_are() {
        let group = GroupHealth { joined: true, waiting: Some("shards 0-3 were x's".into()), ..GroupHealth::default() };
        let shards = BTreeMap::new();
        check(&Snapshot { group, shards, ..well() }, State::Waiting, "waiting: shards 0-3 were x's");
    }

    #[test]
    fn shards_that_wait_for_memory_are_trouble() {
        let group = GroupHealth { joined: true, surplus: 8_000, ..GroupHealth::default() };
        check(&Snapshot { group, ..well() }, State::Trouble, "8000 shards that SLS gave us are read by nobody");
    }

    #[test]
    fn pulls_that_are_refused_are_trouble_and_stop_everything_when_no_shard_is_left() {
        let ledger = Ledger::default();
        for number in [1, 2] {
            ledger.account(&shard(number)).acquired();
            ledger.account(&shard(number)).caught_up();
        }
        let now = Instant::now();
        ledger.account(&shard(1)).fails(Ask::Pull, &refused(), now);
        let one = Snapshot { shards: ledger.read(), at: now, ..well() };
        check(&one, State::Trouble, "SLS does not let us read shard audit/1 for 0.0 s: pull: 401");
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
    fn logs_that_were_lost_or_put_aside_are_said_until_somebody_acts() {
        let ledger = Ledger::default();
        let account = ledger.account(&shard(2));
        account.acquired();
        account.caught_up();
        account.missed();
        check(&Snapshot { shards: ledger.read(), ..well() }, State::Trouble, "logs were LOST: 1 gap,");
        check(&Snapshot { open_letters: Some(71), ..well() }, State::Trouble, "71 dead letters wait for somebody");
        check(&Snapshot { open_letters: Some(1), ..well() }, State::Trouble, "1 dead letter waits for somebody");
    }

    #[test]
    fn the_worst_comes_first_and_only_what_asks_for_somebody_is_a_problem() {
        let ledger = Ledger::default();
        let account = ledger.account(&shard(2));
        account.acquired();
        account.pulled(1, 10, None);
        account.waits(Wait::Disk, "no room".into());
        account.settled(Settled::default(), None);
        let group = GroupHealth::default();
        let bad = Snapshot { shards: ledger.read(), destinations: vec![to("siem", Health::Unknown)], group, ..well() };
        let verdict = verdict(&bad);
        let states: Vec<State> = verdict.reasons.iter().map(|reason| reason.state).collect();
        assert_eq!(states, [State::Stopped, State::Trouble, State::Waiting]);
        assert_eq!(verdict.problems(), 2);
        let line = "the consumer group is not joined yet; shard audit/2 is PAUSED: no room; the destination has not";
        assert!(verdict.line().starts_with(line), "{}", verdict.line());
    }
}
