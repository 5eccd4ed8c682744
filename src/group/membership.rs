//! Which shards belong to this process: a state machine driven by heartbeat replies and the clock.
//!
//! When the server reassigns a shard, its task is stopped first, and the shard is reported as held until the task has
//! ended: only then may the server give it to another consumer. If the server no longer knows the membership, or it
//! was not renewed in time, it ends at once: all shards are dropped, and the process joins again without shards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::places::{LogstorePlaces, ShortOf};
use crate::core::cursor::ShardId;
use crate::core::failing::Failing;
use crate::core::lease::Lease;
use crate::core::source::SourceError;

/// The state of the membership.
#[derive(Debug)]
pub struct Membership {
    /// Time without a heartbeat after which the server reassigns our shards.
    group_timeout: Duration,
    /// The places of the shards to work on: one for each of `shards`.
    places: LogstorePlaces,
    lease: Lease,
    /// The shards of the last reply, without those that turned out to belong to another consumer.
    assigned: BTreeSet<ShardId>,
    /// The shards to report with heartbeats.
    shards: BTreeMap<ShardId, ShardTarget>,
    /// Shards whose task ended without being stopped, with the earliest time of the next start.
    resting: BTreeMap<ShardId, Instant>,
    /// Number of the latest tenure.
    tenures: u64,
    leaving: bool,
    failing: Option<Failing>,
    /// When the last heartbeat was answered in time.
    heartbeat: Option<Instant>,
    /// Since when the membership has lasted without a loss.
    member_since: Option<Instant>,
}

/// The target state of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardTarget {
    /// Number of this tenure: a shard that was dropped and assigned again has a new one.
    pub tenure: u64,
    /// Whether to work on it; false to stop it in order.
    pub hold: bool,
}

/// The target state of all shards. If the shard and tenure of a task are not listed, the task has lost its shard.
#[derive(Debug, Clone)]
pub struct View {
    /// How long the shards may be worked on.
    pub lease: Lease,
    /// The shards to report.
    pub shards: BTreeMap<ShardId, ShardTarget>,
    /// Assigned shards that wait because there is no place for them.
    pub surplus: usize,
    /// The limit that they wait for.
    pub short_of: ShortOf,
    /// The current failure of heartbeats.
    pub failing: Option<Failing>,
    /// When the last heartbeat was answered in time.
    pub heartbeat: Option<Instant>,
    /// Since when heartbeats have been answered without a loss of the membership.
    pub member_since: Option<Instant>,
}

impl Membership {
    /// A membership that has not started, in a group that reassigns shards `group_timeout` after the last heartbeat.
    /// It works on at most as many shards at once as it has `places`; further assigned shards wait.
    #[must_use]
    pub fn new(group_timeout: Duration, places: LogstorePlaces, now: Instant) -> Self {
        Self {
            group_timeout,
            places,
            lease: Lease::lapsed(now),
            assigned: BTreeSet::new(),
            shards: BTreeMap::new(),
            resting: BTreeMap::new(),
            tenures: 0,
            leaving: false,
            failing: None,
            heartbeat: None,
            member_since: None,
        }
    }

    /// The shards to report with the next heartbeat.
    #[must_use]
    pub fn reported(&self) -> BTreeSet<ShardId> {
        self.shards.keys().copied().collect()
    }

    /// Time without a heartbeat after which the server reassigns our shards.
    #[must_use]
    pub fn group_timeout(&self) -> Duration {
        self.group_timeout
    }

    /// The target state of all shards.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            lease: self.lease.clone(),
            shards: self.shards.clone(),
            surplus: self.surplus(),
            short_of: self.places.short_of(),
            failing: self.failing.clone(),
            heartbeat: self.heartbeat,
            member_since: self.member_since,
        }
    }

    fn surplus(&self) -> usize {
        if self.places.is_free() { 0 } else { self.without_place() }
    }

    /// Assigned shards that wait for a place.
    fn without_place(&self) -> usize {
        if self.leaving {
            return 0;
        }
        let waits = |shard: &&ShardId| !self.shards.contains_key(shard) && !self.resting.contains_key(shard);
        self.assigned.iter().filter(waits).count()
    }

    /// Whether every task has ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// When [`Membership::on_tick`] has to be called at the latest, if ever.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let lapse = (!self.shards.is_empty()).then(|| self.lease.until());
        let rested = self.resting.values().min().copied();
        lapse.into_iter().chain(rested).min()
    }

    /// A heartbeat that began at `asked` was answered with `assigned`. A reply that took longer than the term is
    /// ignored.
    pub fn on_reply(&mut self, asked: Instant, assigned: &BTreeSet<ShardId>, now: Instant) {
        self.on_tick(now);
        let until = asked + self.term();
        if now >= until {
            return;
        }
        // A member without shards may have missed its lease unnoticed.
        if self.member_since.is_none() || now >= self.lease.until() {
            self.member_since = Some(now);
        }
        self.lease.extend(until);
        self.failing = None;
        self.heartbeat = Some(now);
        self.assigned.clone_from(assigned);
        for (shard, target) in &mut self.shards {
            target.hold &= assigned.contains(shard);
        }
        self.resting.retain(|shard, _| assigned.contains(shard));
        self.start_rested(now);
    }

    /// A heartbeat failed, or a call that must precede the next one.
    pub fn on_failure(&mut self, error: &SourceError, now: Instant) {
        self.failing = Some(Failing::again(self.failing.as_ref(), error, now));
    }

    /// The server no longer knows this consumer or the group: all shards are lost.
    pub fn on_lost(&mut self, now: Instant) {
        self.lease.extend(now);
        self.lease = Lease::lapsed(now);
        self.member_since = None;
        self.assigned.clear();
        self.places.give_back(self.shards.len());
        self.places.wants(0);
        self.shards.clear();
        self.resting.clear();
    }

    /// The group was looked up or created again: from the next heartbeat on this is its timeout.
    pub fn on_group(&mut self, group_timeout: Duration) {
        self.group_timeout = group_timeout;
    }

    /// How long the shards may be worked on after the start of a successful heartbeat: a quarter less than the server
    /// waits, to allow for requests in flight, different clock rates, and a server that rounds down.
    fn term(&self) -> Duration {
        self.group_timeout - self.group_timeout / 4
    }

    /// The task of a shard ended. With `again`, it may be restarted from that time on. Without, the shard is released
    /// until the server assigns it again.
    pub fn on_ended(&mut self, shard: ShardId, tenure: u64, again: Option<Instant>) {
        if self.shards.get(&shard).is_none_or(|target| target.tenure != tenure) {
            return;
        }
        self.shards.remove(&shard);
        self.places.give_back(1);
        match again {
            Some(at) => {
                self.resting.insert(shard, at);
            }
            None => {
                self.assigned.remove(&shard);
            }
        }
    }

    /// Leaves the group: stops every shard in order, and acquires no more.
    pub fn on_leave(&mut self) {
        self.leaving = true;
        self.places.wants(0);
        self.resting.clear();
        for target in self.shards.values_mut() {
            target.hold = false;
        }
    }

    /// Drops all shards if the lease has expired, and restarts shards whose pause is over.
    pub fn on_tick(&mut self, now: Instant) {
        if !self.shards.is_empty() && now >= self.lease.until() {
            self.on_lost(now);
        }
        self.start_rested(now);
    }

    fn start_rested(&mut self, now: Instant) {
        self.resting.retain(|_, at| *at > now);
        if self.leaving || now >= self.lease.until() {
            return;
        }
        for shard in &self.assigned {
            if !self.shards.contains_key(shard) && !self.resting.contains_key(shard) {
                if !self.places.take() {
                    break;
                }
                self.tenures += 1;
                self.shards.insert(*shard, ShardTarget { tenure: self.tenures, hold: true });
            }
        }
        self.places.wants(self.without_place());
        self.give_up_places();
    }

    /// Stops shards whose places other sources need more.
    fn give_up_places(&mut self) {
        let stopping = self.shards.values().filter(|target| !target.hold).count();
        let more = self.places.excess().saturating_sub(stopping);
        for target in self.shards.values_mut().rev().filter(|target| target.hold).take(more) {
            target.hold = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Places;

    const GROUP_TIMEOUT: Duration = Duration::from_secs(60);
    const TERM: Duration = Duration::from_secs(45);

    fn set(shards: &[u32]) -> BTreeSet<ShardId> {
        shards.iter().map(|shard| ShardId(*shard)).collect()
    }

    fn places(most: usize) -> LogstorePlaces {
        Places::new(most).source(usize::MAX).logstore()
    }

    /// Shard, tenure, hold.
    fn targets(membership: &Membership) -> Vec<(u32, u64, bool)> {
        membership.view().shards.iter().map(|(shard, target)| (shard.0, target.tenure, target.hold)).collect()
    }

    fn joined(assigned: &[u32]) -> (Membership, Instant) {
        let now = Instant::now();
        let mut membership = Membership::new(GROUP_TIMEOUT, places(usize::MAX), now);
        membership.on_reply(now, &set(assigned), now);
        (membership, now)
    }

    #[test]
    fn a_new_member_reports_no_shards_and_acquires_the_assigned_ones() {
        let now = Instant::now();
        let mut membership = Membership::new(GROUP_TIMEOUT, places(usize::MAX), now);
        assert_eq!(membership.reported(), set(&[]));
        assert!(now >= membership.view().lease.until(), "nothing is ours before the first reply");
        membership.on_reply(now, &set(&[0, 2]), now);
        assert_eq!(targets(&membership), [(0, 1, true), (2, 2, true)]);
        assert_eq!(membership.view().lease.until(), now + TERM);
    }

    #[test]
    fn a_member_counts_its_time_from_the_first_heartbeat_after_a_loss() {
        let (mut membership, start) = joined(&[]);
        let at = |seconds| start + Duration::from_secs(seconds);
        membership.on_reply(at(20), &set(&[0]), at(20));
        assert_eq!(membership.view().member_since, Some(start));
        membership.on_lost(at(30));
        assert_eq!(membership.view().member_since, None);
        membership.on_reply(at(40), &set(&[]), at(40));
        assert_eq!(membership.view().member_since, Some(at(40)));
        membership.on_reply(at(100), &set(&[]), at(100));
        assert_eq!(membership.view().member_since, Some(at(100)), "the lease had ended");
    }

    #[test]
    fn a_revoked_shard_is_stopped_and_reported_until_its_task_has_ended() {
        let (mut membership, now) = joined(&[0, 1]);
        membership.on_reply(now, &set(&[1]), now);
        assert_eq!(targets(&membership), [(0, 1, false), (1, 2, true)]);
        assert_eq!(membership.reported(), set(&[0, 1]));
        membership.on_ended(ShardId(0), 1, None);
        assert_eq!(membership.reported(), set(&[1]));
    }

    #[test]
    fn a_shard_reassigned_while_it_stops_is_started_only_after_it_has_stopped() {
        let (mut membership, now) = joined(&[0]);
        membership.on_reply(now, &set(&[]), now);
        membership.on_reply(now, &set(&[0]), now);
        assert_eq!(targets(&membership), [(0, 1, false)]);
        membership.on_ended(ShardId(0), 1, None);
        membership.on_reply(now, &set(&[0]), now);
        assert_eq!(targets(&membership), [(0, 2, true)]);
    }

    #[test]
    fn shards_beyond_the_maximum_wait_until_another_is_released() {
        let now = Instant::now();
        let mut membership = Membership::new(GROUP_TIMEOUT, places(2), now);
        membership.on_reply(now, &set(&[0, 1, 2, 3]), now);
        assert_eq!(targets(&membership), [(0, 1, true), (1, 2, true)]);
        assert_eq!((membership.view().surplus, membership.reported()), (2, set(&[0, 1])));
        membership.on_ended(ShardId(0), 1, None);
        membership.on_tick(now);
        assert_eq!(targets(&membership), [(1, 2, true), (2, 3, true)]);
        assert_eq!(membership.view().surplus, 1);
        membership.on_reply(now, &set(&[1, 2]), now);
        assert_eq!(membership.view().surplus, 0);
    }

    #[test]
    fn a_source_that_joins_later_gets_places_that_another_gives_up() {
        let (now, places) = (Instant::now(), Places::new(4));
        let [mut first, mut second] =
            [0, 1].map(|_| Membership::new(GROUP_TIMEOUT, places.source(usize::MAX).logstore(), now));
        first.on_reply(now, &set(&[0, 1, 2, 3, 4]), now);
        second.on_reply(now, &set(&[0, 1, 2]), now);
        assert_eq!((first.view().surplus, second.view().surplus, second.is_empty()), (1, 3, true));
        first.on_reply(now, &set(&[0, 1, 2, 3, 4]), now);
        assert_eq!(targets(&first), [(0, 1, true), (1, 2, true), (2, 3, false), (3, 4, false)]);
        first.on_tick(now);
        assert_eq!(first.reported().len(), 4, "no more than the other needs");
        first.on_ended(ShardId(3), 4, None);
        second.on_reply(now, &set(&[0, 1, 2]), now);
        first.on_ended(ShardId(2), 3, None);
        first.on_reply(now, &set(&[0, 1, 2, 3, 4]), now);
        second.on_reply(now, &set(&[0, 1, 2]), now);
        assert_eq!((targets(&first).len(), targets(&second).len()), (2, 2));
        first.on_lost(now);
        second.on_reply(now, &set(&[0, 1, 2]), now);
        assert_eq!((targets(&second).len(), second.view().surplus), (3, 0));
    }

    #[test]
    fn an_evicted_member_drops_everything_and_joins_again_with_nothing() {
        let (mut membership, now) = joined(&[0, 1]);
        let old = membership.view().lease;
        membership.on_lost(now);
        assert_eq!(membership.reported(), set(&[]));
        assert!(now >= old.until(), "whoever still works under the old lease is fenced at once");
        membership.on_reply(now, &set(&[0]), now);
        assert_eq!(targets(&membership), [(0, 3, true)]);
        assert!(now >= old.until(), "the new lease does not revive the old one");
    }

    #[test]
    fn a_lease_that_was_not_renewed_ends_before_the_server_gives_the_shards_away() {
        let (mut membership, now) = joined(&[0]);
        assert_eq!(membership.next_tick(), Some(now + TERM));
        membership.on_tick(now + TERM - Duration::from_millis(1));
        assert_eq!(targets(&membership), [(0, 1, true)]);
        membership.on_tick(now + TERM);
        assert_eq!(targets(&membership), []);
    }

    #[test]
    fn a_recreated_group_is_left_in_time_for_its_new_timeout() {
        let (mut membership, now) = joined(&[0]);
        membership.on_lost(now);
        membership.on_group(GROUP_TIMEOUT / 2);
        membership.on_reply(now, &set(&[0]), now);
        assert_eq!(membership.view().lease.until(), now + TERM / 2);
    }

    #[test]
    fn the_lease_counts_from_the_request_not_from_the_reply() {
        let (mut membership, now) = joined(&[0]);
        membership.on_reply(now + Duration::from_secs(10), &set(&[0]), now + Duration::from_secs(15));
        assert_eq!(membership.view().lease.until(), now + Duration::from_secs(10) + TERM);
    }

    #[test]
    fn a_reply_older_than_the_lease_is_ignored() {
        let (mut membership, now) = joined(&[0]);
        membership.on_reply(now, &set(&[0]), now + TERM);
        assert_eq!(targets(&membership), [], "a process that slept through its lease starts anew");
    }

    #[test]
    fn a_task_that_ended_by_itself_restarts_after_a_pause_and_is_not_reported_meanwhile() {
        let (mut membership, now) = joined(&[0]);
        let later = now + Duration::from_secs(5);
        membership.on_ended(ShardId(0), 1, Some(later));
        membership.on_reply(now, &set(&[0]), now);
        assert_eq!(membership.reported(), set(&[]));
        assert_eq!(membership.next_tick(), Some(later));
        membership.on_tick(later);
        assert_eq!(targets(&membership), [(0, 2, true)]);
    }

    #[test]
    fn a_shard_that_another_consumer_holds_waits_for_the_next_reply() {
        let (mut membership, now) = joined(&[0]);
        membership.on_ended(ShardId(0), 1, None);
        membership.on_tick(now);
        assert_eq!(targets(&membership), []);
        membership.on_reply(now, &set(&[0]), now);
        assert_eq!(targets(&membership), [(0, 2, true)]);
    }

    #[test]
    fn the_end_of_an_old_tenure_does_not_affect_the_new_one() {
        let (mut membership, now) = joined(&[0]);
        membership.on_lost(now);
        membership.on_reply(now, &set(&[0]), now);
        membership.on_ended(ShardId(0), 1, None);
        assert_eq!(targets(&membership), [(0, 2, true)]);
    }

    #[test]
    fn a_leaving_member_stops_all_shards_and_acquires_none_but_keeps_its_lease() {
        let (mut membership, now) = joined(&[0, 1]);
        membership.on_leave();
        let later = now + Duration::from_secs(20);
        membership.on_reply(later, &set(&[0, 1, 2]), later);
        assert_eq!(targets(&membership), [(0, 1, false), (1, 2, false)]);
        assert_eq!(membership.view().lease.until(), later + TERM);
        membership.on_ended(ShardId(0), 1, None);
        membership.on_ended(ShardId(1), 2, None);
        assert!(membership.is_empty());
    }
}
