//! Tracks which requests the indexers have acknowledged. A pure state machine for one member.
//!
//! With indexer acknowledgement ("About HTTP Event Collector Indexer Acknowledgment" in Splunk's manual) each
//! accepted request gets an id. Ids count from 0 in every channel of every indexer. A poll asks about ids. An indexer
//! answers `true` once and then forgets the id; an unknown id is `false`, not an error. An indexer that restarted, or
//! another one behind the same address, may therefore answer `true` for an id that it assigned to another request.
//! These rules prevent such a `true` from confirming lost events:
//!
//! * The first request of a channel is sent alone, so that the cookies of a load balancer are known before the second one.
//! * A channel whose request failed without a clear answer takes no more requests. Each such request may have used up an id
//!   in another life of the indexer: as many of the first ids of the channel prove nothing, since lives count from 0.
//! * An id that is assigned twice proves a restart: nothing of that channel counts, and all its events are sent again.
//! * A `true` counts when all requests of the channel that were in flight at the time have been answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// Channels that are opened before requests share one: behind a load balancer with cookies, each uses one indexer.
const CHANNELS: usize = 4;

/// Maximum idle time of a channel, after which it takes no more requests: an indexer forgets it after ten minutes
/// (`maxIdleTime` in inputs.conf).
const MAX_IDLE: Duration = Duration::from_secs(60);

/// After this many channels in a row with an id assigned twice, the cause is not restarts but a load balancer without
/// cookies. From then on each request has its own channel.
const MAX_COLLISIONS: u32 = 3;

/// Maximum number of ids in one poll.
const MAX_IDS_PER_POLL: usize = 2_000;

/// Maximum number of ids of a channel that are remembered out of order; beyond it, a new channel is used.
const MAX_GAPS: usize = 4_096;

/// A channel of this member; numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(pub u64);

/// A request in flight on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Post {
    /// The channel that it names.
    pub channel: ChannelNumber,
    number: u64,
}

/// Ids of a channel to ask about.
#[derive(Debug, PartialEq, Eq)]
pub struct Poll {
    /// Their channel.
    pub channel: ChannelNumber,
    /// The ids.
    pub ids: Vec<u64>,
}

/// The result of an accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The indexer acknowledged it.
    Indexed,
    /// No acknowledgement arrived in time: send it again.
    Expired,
    /// No acknowledgement can arrive any more: send it again.
    Lost,
}

/// The waiter of a request, and the result to report.
pub type Completions<T> = Vec<(T, Fate)>;

/// The state of all requests: sent, accepted, polled, acknowledged, expired. `T` is the waiter of a request.
#[derive(Debug)]
pub struct AckTracker<T> {
    timeout: Duration,
    channels: BTreeMap<ChannelNumber, Channel<T>>,
    next: u64,
    /// Polls so far, and the number at the start of the round.
    polls: u64,
    round: u64,
    /// Channels in a row in which an id came twice, without an acknowledgement in between.
    collisions: u32,
    /// When the last accepted of the acknowledged requests was accepted.
    last_indexed: Option<Instant>,
    /// A request expired that was accepted after it, and nothing was acknowledged since.
    overdue: bool,
}

/// The backlog of unacknowledged requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Requests.
    pub requests: usize,
    /// When the oldest of them was accepted.
    pub oldest: Option<Instant>,
    /// [`AckTracker::is_overdue`].
    pub overdue: bool,
}

#[derive(Debug)]
struct Channel<T> {
    state: ChannelState,
    given: GivenIds,
    pending: BTreeMap<u64, Pending<T>>,
    /// Numbers of the requests in flight.
    under_way: BTreeSet<u64>,
    posts: u64,
    /// Requests that failed without a clear answer.
    unclear: u64,
    /// Ids reported as `true`, each with the number of requests sent by then.
    reported: Vec<(u64, u64)>,
    polling: bool,
    /// The next poll starts after this id.
    asked: u64,
    /// The number of its last poll.
    turn: u64,
    used: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelState {
    /// Its first request is in flight.
    Opening,
    Open,
    /// It takes no more requests.
    Closed,
}

#[derive(Debug)]
struct Pending<T> {
    waiter: T,
    since: Instant,
}

/// The ids of a channel: all below a number, and some above it.
#[derive(Debug, Default)]
struct GivenIds {
    below: u64,
    above: BTreeSet<u64>,
}

impl GivenIds {
    /// Whether the id is a new one.
    fn insert(&mut self, id: u64) -> bool {
        if id < self.below || !self.above.insert(id) {
            return false;
        }
        while self.above.remove(&self.below) {
            self.below += 1;
        }
        true
    }
}

impl<T> AckTracker<T> {
    /// Nothing was sent yet. A request that is not acknowledged within `timeout` must be sent again.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            channels: BTreeMap::new(),
            next: 0,
            polls: 0,
            round: 0,
            collisions: 0,
            last_indexed: None,
            overdue: false,
        }
    }

    /// Chooses the channel of the next request.
    pub fn begin(&mut self, now: Instant) -> Post {
        let fresh = |channel: &Channel<T>| now < channel.used + MAX_IDLE;
        let taking =
            self.channels.values().filter(|channel| channel.state != ChannelState::Closed && fresh(channel)).count();
        let open =
            self.channels.iter_mut().filter(|(_, channel)| channel.state == ChannelState::Open && fresh(channel));
        match open.min_by_key(|(number, channel)| (channel.under_way.len(), **number)) {
            Some((number, channel))
                if self.collisions < MAX_COLLISIONS && (channel.under_way.is_empty() || taking >= CHANNELS) =>
            {
                channel.begin(*number, now)
            }
            _ => {
                let number = ChannelNumber(self.next);
                self.next += 1;
                self.channels.entry(number).or_insert_with(|| Channel::new(now)).begin(number, now)
            }
        }
    }

    /// The request was accepted under this id. It has no waiter if its events are sent again anyway. Returns the
    /// results to report, including its own.
    pub fn accepted(&mut self, post: Post, id: u64, waiter: Option<T>, now: Instant) -> Completions<T> {
        let lost = |waiter: T| (waiter, Fate::Lost);
        let Some(channel) = self.channels.get_mut(&post.channel) else {
            return waiter.map(lost).into_iter().collect();
        };
        channel.under_way.remove(&post.number);
        if !channel.given.insert(id) {
            self.collisions += 1;
            let pending = self.channels.remove(&post.channel).map(|channel| channel.pending).unwrap_or_default();
            return pending.into_values().map(|pending| pending.waiter).chain(waiter).map(lost).collect();
        }
        if channel.state == ChannelState::Opening {
            channel.state = if self.collisions < MAX_COLLISIONS { ChannelState::Open } else { ChannelState::Closed };
        }
        if channel.given.above.len() > MAX_GAPS {
            channel.state = ChannelState::Closed;
        }
        channel.pending.extend(waiter.map(|waiter| (id, Pending { waiter, since: now })));
        self.believe(post.channel)
    }

    /// The request was answered, and not accepted.
    pub fn refused(&mut self, post: Post) -> Completions<T> {
        let Some(channel) = self.channels.get_mut(&post.channel) else { return Vec::new() };
        channel.under_way.remove(&post.number);
        if channel.state == ChannelState::Opening {
            channel.state = ChannelState::Closed;
        }
        self.believe(post.channel)
    }

    /// It is unknown whether the request was accepted.
    pub fn unclear(&mut self, post: Post) -> Completions<T> {
        let Some(channel) = self.channels.get_mut(&post.channel) else { return Vec::new() };
        channel.under_way.remove(&post.number);
        channel.state = ChannelState::Closed;
        channel.unclear += 1;
        self.believe(post.channel)
    }

    /// Starts a round: every channel may be polled once.
    pub fn start_round(&mut self) {
        self.round = self.polls;
    }

    /// The next polls of this round, for at most this many channels. Each poll ends with [`AckTracker::polled`] or
    /// [`AckTracker::poll_failed`].
    pub fn polls(&mut self, most: usize) -> Vec<Poll> {
        let (round, mut polls) = (self.round, Vec::new());
        let waits = |channel: &Channel<T>| !channel.polling && channel.turn <= round && !channel.pending.is_empty();
        for (number, channel) in self.channels.iter_mut().filter(|(_, channel)| waits(channel)).take(most) {
            self.polls += 1;
            polls.push(channel.poll(*number, self.polls));
        }
        polls
    }

    /// The polls so far get no answer: their task has ended.
    pub fn forget_polls(&mut self) {
        self.channels.values_mut().for_each(|channel| channel.polling = false);
    }

    /// The answer to a poll: the acknowledged ids. Ids that were not asked about are ignored.
    pub fn polled(&mut self, poll: &Poll, safe: &BTreeSet<u64>) -> Completions<T> {
        let Some(channel) = self.channels.get_mut(&poll.channel) else { return Vec::new() };
        channel.polling = false;
        let asked = poll.ids.iter().filter(|id| safe.contains(id));
        channel.reported.extend(asked.map(|id| (*id, channel.posts)));
        self.believe(poll.channel)
    }

    /// The poll failed, or its answer is invalid: it confirms nothing.
    pub fn poll_failed(&mut self, poll: &Poll) {
        if let Some(channel) = self.channels.get_mut(&poll.channel) {
            channel.polling = false;
        }
    }

    /// The requests that waited too long. Forgets unused channels.
    pub fn expired(&mut self, now: Instant) -> Completions<T> {
        let mut completions = Vec::new();
        for channel in self.channels.values_mut() {
            let late = channel.pending.iter().filter(|(_, pending)| now >= pending.since + self.timeout);
            let late: Vec<u64> = late.map(|(id, _)| *id).collect();
            for pending in late.iter().filter_map(|id| channel.pending.remove(id)) {
                // If a later one was acknowledged, only this acknowledgement is lost.
                self.overdue |= self.last_indexed.is_none_or(|last| pending.since > last);
                completions.push((pending.waiter, Fate::Expired));
            }
        }
        self.channels.retain(|_, channel| channel.is_needed(now));
        completions
    }

    /// Whether a channel is still known.
    #[must_use]
    pub fn has(&self, channel: ChannelNumber) -> bool {
        self.channels.contains_key(&channel)
    }

    /// Whether several indexers are behind one address without sticky sessions.
    #[must_use]
    pub fn is_scattered(&self) -> bool {
        self.collisions >= MAX_COLLISIONS
    }

    /// Whether the indexers acknowledge nothing: a request expired, none that was accepted later is acknowledged, and
    /// nothing was acknowledged since.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.overdue
    }

    /// The backlog.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let requests = self.channels.values().map(|channel| channel.pending.len()).sum();
        let since = self.channels.values().flat_map(|channel| channel.pending.values()).map(|pending| pending.since);
        Waiting { requests, oldest: since.min(), overdue: self.overdue }
    }

    /// Updates the state of a channel.
    fn believe(&mut self, number: ChannelNumber) -> Completions<T> {
        let Some(channel) = self.channels.get_mut(&number) else { return Vec::new() };
        let first = channel.under_way.first().copied().unwrap_or(u64::MAX);
        // A request without a clear answer may have any of the first ids of a restarted indexer.
        let certain = channel.pending.split_off(&channel.unclear);
        let doubtful = std::mem::replace(&mut channel.pending, certain);
        let mut completions: Completions<T> =
            doubtful.into_values().map(|pending| (pending.waiter, Fate::Lost)).collect();
        let due: Vec<u64> =
            channel.reported.extract_if(.., |(_, sent_before)| *sent_before <= first).map(|(id, _)| id).collect();
        for id in due {
            if let Some(pending) = channel.pending.remove(&id) {
                completions.push((pending.waiter, Fate::Indexed));
                self.last_indexed = self.last_indexed.max(Some(pending.since));
                if self.collisions < MAX_COLLISIONS {
                    self.collisions = 0;
                }
                self.overdue = false;
            }
        }
        completions
    }
}

impl<T> Channel<T> {
    fn new(now: Instant) -> Self {
        Self {
            state: ChannelState::Opening,
            given: GivenIds::default(),
            pending: BTreeMap::new(),
            under_way: BTreeSet::new(),
            posts: 0,
            unclear: 0,
            reported: Vec::new(),
            polling: false,
            asked: 0,
            turn: 0,
            used: now,
        }
    }

    fn begin(&mut self, channel: ChannelNumber, now: Instant) -> Post {
        let number = self.posts;
        self.posts += 1;
        self.under_way.insert(number);
        self.used = now;
        Post { channel, number }
    }

    /// Asks about the ids in turns when they are too many for one poll.
    fn poll(&mut self, channel: ChannelNumber, turn: u64) -> Poll {
        self.polling = true;
        self.turn = turn;
        let ids = self.pending.range(self.asked..).chain(self.pending.range(..self.asked));
        let ids: Vec<u64> = ids.map(|(id, _)| *id).take(MAX_IDS_PER_POLL).collect();
        self.asked = ids.last().map_or(0, |last| last + 1);
        Poll { channel, ids }
    }

    fn is_needed(&self, now: Instant) -> bool {
        let takes_more = self.state != ChannelState::Closed && now < self.used + MAX_IDLE;
        takes_more || !self.pending.is_empty() || !self.under_way.is_empty()
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
