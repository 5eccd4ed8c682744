//! Polls for the acknowledgements of one member, and reports them to the waiters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::ack_probes::AckProbes;
use super::acks::{AckTracker, ChannelNumber, Completions, Fate, Poll, Post, Waiting};
use super::channel::Channel;
use super::concurrency::FlowState;
use super::endpoint::Endpoint;
use super::poll_pace::PollPace;
use super::reply::acknowledged;
use super::timing::Timing;
use crate::core::backoff::Backoff;
use crate::core::cause::Cause;
use crate::destination::health::HealthTracker;
use crate::destination::peers::Peer;
use crate::destination::{CheckError, Health};

/// Maximum number of polls of a member in flight.
const MAX_POLLS: usize = 8;

/// Longest pause after failed polls: an acknowledgement that is polled too late causes a repeat.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// From this age on, an unacknowledged request is a problem. Splunk acknowledges most requests within seconds, and
/// the last ones before a quiet period within two minutes.
const LATE: Duration = Duration::from_secs(150);

/// The acknowledgements of one member. Dropping it ends the polling task.
#[derive(Debug)]
pub(super) struct Indexing {
    shared: Arc<Shared>,
    poller: Mutex<Poller>,
    /// The member itself.
    peer: Arc<Peer>,
}

/// The polling task, and a channel by which others notice its end.
#[derive(Debug, Default)]
struct Poller {
    task: JoinSet<()>,
    alive: Option<watch::Receiver<()>>,
}

#[derive(Debug)]
struct Shared {
    endpoint: Arc<Endpoint>,
    every: Duration,
    /// Age from which a request is late.
    late: Duration,
    state: Mutex<IndexingState>,
    health: HealthTracker,
    /// Whether the collector has answered a poll, which proves that the token has acknowledgements.
    is_supported: AtomicBool,
    probes: Arc<Probes>,
}

/// The probes while the acknowledgements are overdue.
#[derive(Debug)]
struct Probes {
    state: Mutex<AckProbes>,
    /// Notified when the member may take more requests.
    changed: Arc<Notify>,
}

impl Probes {
    fn state(&self) -> MutexGuard<'_, AckProbes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to probe whether the indexers acknowledge again. It is held until the probe is decided.
#[derive(Debug)]
pub(super) struct AckProbe(Arc<Probes>);

impl AckProbe {
    fn sent(&self) {
        self.0.state().sent(Instant::now());
    }
}

impl Drop for AckProbe {
    fn drop(&mut self) {
        self.0.state().end();
        self.0.changed.notify_waiters();
    }
}

/// The answer to a poll: the ids that are acknowledged.
#[derive(Debug)]
struct Polled {
    poll: Poll,
    began: Instant,
    answer: Result<BTreeSet<u64>, CheckError>,
}

#[derive(Debug)]
struct IndexingState {
    tracker: AckTracker<Waiter>,
    channels: BTreeMap<ChannelNumber, Arc<Channel>>,
    pace: PollPace,
}

/// The waiter of an accepted request.
#[derive(Debug)]
struct Waiter {
    fate: oneshot::Sender<Fate>,
    since: Instant,
    /// If it is a probe.
    _probe: Option<AckProbe>,
}

impl Indexing {
    /// Polls `endpoint` periodically; events that are not acknowledged within `timeout` must be sent again. `peer`:
    /// itself, among the members. `changed` is notified when it may take more requests.
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        health: HealthTracker,
        peer: Arc<Peer>,
        changed: Arc<Notify>,
        timing: &Timing,
        timeout: Duration,
    ) -> Self {
        let every = timing.ack_poll;
        let state =
            IndexingState { tracker: AckTracker::new(timeout), channels: BTreeMap::new(), pace: PollPace::new(every) };
        let shared = Shared {
            endpoint,
            every,
            late: LATE.min(timeout),
            state: Mutex::new(state),
            health,
            is_supported: AtomicBool::new(false),
            probes: Arc::new(Probes { state: Mutex::new(AckProbes::new(timing.ack_probe)), changed }),
        };
        Self { shared: Arc::new(shared), poller: Mutex::default(), peer }
    }

    /// Whether the member can take a request, if its flow is in this state.
    pub(super) fn state(&self, flow: FlowState, now: Instant) -> FlowState {
        if self.takes_only_probes() { self.shared.probes.state().state(flow, now) } else { flow }
    }

    /// Whether the indexers acknowledge nothing, and there are other members for the events.
    pub(super) fn takes_only_probes(&self) -> bool {
        self.shared.state().tracker.is_overdue() && !self.peer.is_alone()
    }

    /// Begins a probe, which may be sent at the returned time. `None`: there is one already.
    pub(super) fn probe(&self, now: Instant) -> Option<(AckProbe, Instant)> {
        let at = self.shared.probes.state().begin(now)?;
        Some((AckProbe(Arc::clone(&self.shared.probes)), at))
    }

    /// The last probe had an event that the collector refused: the next one, without it, may begin at once.
    pub(super) fn probe_again(&self) {
        self.shared.probes.state().undecided();
        self.shared.probes.changed.notify_waiters();
    }

    /// Verifies that the token has acknowledgements, before any event is sent.
    ///
    /// # Errors
    /// It has none, or the answer is not known yet.
    pub(super) async fn confirm(&self) -> Result<(), CheckError> {
        if self.shared.is_supported.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reply = self.shared.endpoint.ask(&[0], &Channel::new()).await.map_err(|fault| fault.check_error())?;
        acknowledged(&reply)?;
        self.shared.is_supported.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Events were accepted without an id: verifies the token again before more are sent.
    pub(super) fn doubt(&self) {
        self.shared.is_supported.store(false, Ordering::Relaxed);
    }

    /// A request is about to be sent; `probe`: with the right to probe.
    pub(super) fn begin(&self, probe: Option<AckProbe>) -> Sending {
        let alive = self.poll();
        probe.iter().for_each(AckProbe::sent);
        let mut state = self.shared.state();
        let post = state.tracker.begin(Instant::now());
        let channel = state.channels.entry(post.channel).or_insert_with(|| Arc::new(Channel::new()));
        Sending { channel: Arc::clone(channel), shared: Arc::clone(&self.shared), post: Some(post), alive, probe }
    }

    /// The backlog.
    pub(super) fn waiting(&self) -> Waiting {
        self.shared.state().tracker.waiting()
    }

    /// Whether a load balancer spreads one channel over several indexers.
    pub(super) fn is_scattered(&self) -> bool {
        self.shared.state().tracker.is_scattered()
    }

    /// The health of the polls.
    pub(super) fn health(&self) -> Health {
        self.tracker().health()
    }

    /// The tracker of that health.
    pub(super) fn tracker(&self) -> &HealthTracker {
        &self.shared.health
    }

    /// Starts the polling task, unless it runs.
    fn poll(&self) -> watch::Receiver<()> {
        let mut poller = self.poller.lock().unwrap_or_else(PoisonError::into_inner);
        // A panicked task has notified its waiters; new requests get a new task.
        while poller.task.try_join_next().is_some() {}
        match &poller.alive {
            Some(alive) if !poller.task.is_empty() => alive.clone(),
            _ => {
                let (running, alive) = watch::channel(());
                let shared = Arc::clone(&self.shared);
                shared.state().tracker.forget_polls();
                poller.task.spawn(async move { shared.run(running).await });
                poller.alive.insert(alive).clone()
            }
        }
    }
}

/// A request in flight. If it is dropped, it may have been accepted.
#[derive(Debug)]
pub(super) struct Sending {
    channel: Arc<Channel>,
    shared: Arc<Shared>,
    post: Option<Post>,
    alive: watch::Receiver<()>,
    probe: Option<AckProbe>,
}

impl Sending {
    /// Its channel.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// It was accepted under this id; `None` if the acknowledgement is not needed.
    pub(super) fn accepted(mut self, id: u64, waits: bool) -> Option<Acknowledgement> {
        let (waiter, fate) = oneshot::channel();
        let post = self.post.take()?;
        let now = Instant::now();
        let waiter = waits.then(|| Waiter { fate: waiter, since: now, _probe: self.probe.take() });
        notify(self.shared.state().tracker.accepted(post, id, waiter, now));
        waits.then(|| Acknowledgement { fate, alive: self.alive.clone() })
    }

    /// It was answered, and not accepted.
    pub(super) fn refused(mut self) {
        if let Some(post) = self.post.take() {
            notify(self.shared.state().tracker.refused(post));
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(post) = self.post.take() {
            notify(self.shared.state().tracker.unclear(post));
        }
    }
}

/// The wait for an acknowledgement.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    fate: oneshot::Receiver<Fate>,
    alive: watch::Receiver<()>,
}

impl Acknowledgement {
    /// Resolves when it has arrived, or will not arrive any more.
    ///
    /// # Panics
    /// When the polling task has panicked.
    pub(super) async fn fate(mut self) -> Fate {
        tokio::select! {
            biased;
            fate = self.fate => fate.unwrap_or(Fate::Lost),
            ended = self.alive.changed() => panic!("the task that asks for acknowledgements has ended: {ended:?}"),
        }
    }
}

impl Shared {
    async fn run(&self, _running: watch::Sender<()>) {
        let mut next_round = Instant::now() + self.every;
        let mut pause = Backoff::new(self.every, MAX_PAUSE.min(self.late / 10).max(self.every), fastrand::u64(..));
        let mut not_before = Instant::now();
        let mut under_way = FuturesUnordered::new();
        loop {
            let polled: Option<Polled> = tokio::select! {
                biased;
                Some(polled) = under_way.next() => Some(polled),
                () = sleep_until(next_round) => None,
            };
            let now = Instant::now();
            match polled {
                Some(polled) => {
                    let failed = polled.answer.is_err();
                    self.take(polled);
                    // Several polls that fail together count once.
                    if failed && now >= not_before {
                        not_before = now + pause.next(None);
                    } else if !failed {
                        pause.reset();
                    }
                }
                None => {
                    self.give_up(now);
                    let mut state = self.state();
                    state.tracker.start_round();
                    next_round = now + state.pace.pause(state.tracker.waiting().requests);
                }
            }
            if now >= not_before {
                let due = self.due(MAX_POLLS - under_way.len());
                under_way.extend(due.into_iter().map(|(poll, channel)| self.ask(poll, channel)));
            }
        }
    }

    async fn ask(&self, poll: Poll, channel: Arc<Channel>) -> Polled {
        let began = Instant::now();
        let answer = match self.endpoint.ask(&poll.ids, &channel).await {
            Ok(reply) => acknowledged(&reply),
            Err(fault) => Err(fault.check_error()),
        };
        Polled { poll, began, answer }
    }

    /// The next polls.
    fn due(&self, most: usize) -> Vec<(Poll, Arc<Channel>)> {
        let mut state = self.state();
        let polls = state.tracker.polls(most);
        let channel = |poll: Poll| state.channels.get(&poll.channel).map(|channel| (poll, Arc::clone(channel)));
        polls.into_iter().filter_map(channel).collect()
    }

    /// Expires requests that waited too long, and forgets unused channels.
    fn give_up(&self, now: Instant) {
        let expired = {
            let mut state = self.state();
            let IndexingState { tracker, channels, .. } = &mut *state;
            let expired = tracker.expired(now);
            channels.retain(|number, _| tracker.has(*number));
            expired
        };
        if !expired.is_empty() {
            tracing::warn!(
                url = self.endpoint.name(),
                requests = expired.len(),
                "no indexer acknowledgement arrived in time (hec.ack_timeout); sending the events again"
            );
        }
        notify(expired);
        if let Some((since, cause)) = self.trouble(now) {
            self.health.failed(since, now, &cause);
        }
    }

    fn take(&self, polled: Polled) {
        let Polled { poll, began, answer } = polled;
        match answer {
            Ok(safe) => {
                let (was_overdue, completions, is_overdue) = {
                    let tracker = &mut self.state().tracker;
                    (tracker.is_overdue(), tracker.polled(&poll, &safe), tracker.is_overdue())
                };
                let now = Instant::now();
                let indexed = completions.iter().filter(|(_, fate)| *fate == Fate::Indexed);
                if let Some(last) = indexed.map(|(waiter, _)| waiter.since).max() {
                    self.state().pace.acknowledged(now - last);
                }
                notify(completions);
                if was_overdue && !is_overdue {
                    self.probes.changed.notify_waiters();
                }
                if self.trouble(now).is_none() {
                    self.health.up(now);
                }
            }
            Err(error) => {
                self.state().tracker.poll_failed(&poll);
                self.health.check_failed(began, Instant::now(), &error);
            }
        }
    }

    /// A problem although polls are answered, and since when.
    fn trouble(&self, now: Instant) -> Option<(Instant, Cause)> {
        let waiting = self.state().tracker.waiting();
        let oldest = waiting.oldest.unwrap_or(now);
        if waiting.overdue || now >= oldest + self.late {
            let mut what = "events are accepted, but the indexers do not acknowledge them".to_owned();
            if self.health.meanwhile().is_none() {
                what += "; the checkpoint waits, and the events are sent again after hec.ack_timeout";
            }
            let hint = "check the indexers' queues and replication; behind a load balancer, check its sticky sessions";
            return Some((oldest, Cause { what, hint: Some(hint) }));
        }
        None
    }

    fn state(&self) -> MutexGuard<'_, IndexingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiter that is gone is not notified.
fn notify(completions: Completions<Waiter>) {
    for (waiter, fate) in completions {
        let _ = waiter.fate.send(fate);
    }
}
