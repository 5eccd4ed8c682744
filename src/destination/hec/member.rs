//! A member: one collector's address and its state.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::body::BodyLimit;
use super::channel::Channel;
use super::choice::{Candidate, Level};
use super::concurrency::{ConcurrencyLimit, FlowState};
use super::config_error::ConfigError;
use super::endpoint::Endpoint;
use super::indexing::Indexing;
use super::notices::{GO_ELSEWHERE, SENT_AGAIN};
use super::reply::{Reply, classify_empty};
use super::request_fault::RequestFault;
use super::tally::Tally;
use super::timing::Timing;
use super::{Config, MemberConfig};
use crate::destination::health::HealthTracker;
use crate::destination::peers::Peer;
use crate::destination::{CheckError, Health};

/// One of the collectors, with its own concurrency, health, limits and acknowledgements.
#[derive(Debug)]
pub(super) struct Member {
    /// Its connections.
    pub(super) endpoint: Arc<Endpoint>,
    /// Its health, judged by the results of its requests.
    pub(super) request_health: HealthTracker,
    /// The size limit, and whether it accepts gzip.
    pub(super) tally: Tally,
    /// Its acknowledgements, if used.
    pub(super) acks: Option<Indexing>,
    peer: Arc<Peer>,
    limit: Mutex<ConcurrencyLimit>,
    weight: u32,
    gzip: AtomicBool,
    max_body: Mutex<BodyLimit>,
    outstanding: AtomicU64,
    unacked: AtomicU64,
    sent: AtomicU64,
    level: Arc<Level>,
}

impl Member {
    /// Checks the settings and reads the files that they name. It sends nothing yet. `address`: the one to connect to,
    /// if the name has several. `peer` and `level`: itself, among the members. `changed` is notified when it may take
    /// more requests.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(super) fn new(
        config: &Config,
        member: &MemberConfig,
        address: Option<IpAddr>,
        (peer, level): (Peer, &Arc<Level>),
        limit: ConcurrencyLimit,
        changed: &Arc<Notify>,
        timing: &Timing,
    ) -> Result<Self, ConfigError> {
        let endpoint = Arc::new(Endpoint::new(config, &member.url, address, Channel::new())?);
        let peer = Arc::new(peer);
        let health =
            |name, meanwhile| HealthTracker::of_member(name, endpoint.name().to_owned(), Arc::clone(&peer), meanwhile);
        let indexing = |timeout| {
            let health = health("HEC indexer acknowledgement", SENT_AGAIN);
            let (endpoint, peer, changed) = (Arc::clone(&endpoint), Arc::clone(&peer), Arc::clone(changed));
            Indexing::new(endpoint, health, peer, changed, timing, timeout)
        };
        Ok(Self {
            request_health: health("Splunk HEC", GO_ELSEWHERE),
            tally: Tally::default(),
            acks: config.ack.map(indexing),
            peer,
            limit: Mutex::new(limit),
            weight: member.weight.max(1),
            gzip: AtomicBool::new(config.gzip),
            max_body: Mutex::new(BodyLimit::new(config.max_body)),
            outstanding: AtomicU64::new(0),
            unacked: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            level: Arc::clone(level),
            endpoint,
        })
    }

    /// Where requests go, for people: the URL, and the address if its name has several.
    pub(super) fn url(&self) -> &str {
        self.endpoint.name()
    }

    /// Checks whether it answers and accepts the token, without events.
    pub(super) async fn check(&self) -> Result<Reply, CheckError> {
        let reply = self.endpoint.post_empty().await.map_err(RequestFault::check_error)?;
        classify_empty(&reply)?;
        if let Some(acks) = &self.acks {
            acks.confirm().await?;
        }
        Ok(reply)
    }

    /// [`Member::check`], with the member.
    pub(super) async fn checked(&self) -> (&Self, Result<Reply, CheckError>) {
        (self, self.check().await)
    }

    /// Whether it answers an empty request correctly within this time.
    pub(super) async fn answers_empty(&self, patience: Duration) -> bool {
        let answer = tokio::time::timeout(patience, self.endpoint.post_empty()).await;
        matches!(answer, Ok(Ok(reply)) if classify_empty(&reply).is_ok())
    }

    /// Its health: the worse of requests and acknowledgements.
    pub(super) fn health(&self) -> Health {
        let acks = self.acks.as_ref().map_or(Health::Unknown, Indexing::health);
        match (self.request_health.health(), acks) {
            (worse @ Health::Refusing { .. }, _) | (_, worse @ Health::Refusing { .. }) => worse,
            (worse @ Health::Down { .. }, _) | (_, worse @ Health::Down { .. }) => worse,
            (sending, _) => sending,
        }
    }

    /// It gets no more requests.
    pub(super) fn leave(&self) {
        self.peer.leave();
    }

    /// What fails, in words; nothing while it works.
    pub(super) fn faults(&self) -> Vec<String> {
        let trackers = [Some(&self.request_health), self.acks.as_ref().map(Indexing::tracker)];
        let fault = |tracker: &HealthTracker| {
            let (does, cause) = match tracker.health() {
                Health::Down { cause, .. } => ("is down", cause),
                Health::Refusing { cause, .. } => ("rejects our requests", cause),
                Health::Up { .. } | Health::Unknown => return None,
            };
            let so = tracker.meanwhile().map(|meanwhile| format!("; {meanwhile}")).unwrap_or_default();
            Some(format!("{} {does}{so}: {cause}", self.url()))
        };
        trackers.into_iter().flatten().filter_map(fault).collect()
    }

    pub(super) fn limit(&self) -> MutexGuard<'_, ConcurrencyLimit> {
        self.limit.lock().expect("the flow does not panic")
    }

    /// Whether it can take a request.
    pub(super) fn state(&self, now: Instant) -> FlowState {
        let flow = self.limit().state();
        self.acks.as_ref().map_or(flow, |acks| acks.state(flow, now))
    }

    /// Whether it takes requests, at once or when another request has ended.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.state(now).is_open()
    }

    /// Whether its indexers acknowledge nothing, so that it gets only probes until they do.
    pub(super) fn takes_only_probes(&self) -> bool {
        self.acks.as_ref().is_some_and(Indexing::takes_only_probes)
    }

    /// Maximum size of a request, in bytes.
    pub(super) fn most_bytes(&self, now: Instant) -> usize {
        self.body_limit().bytes(now)
    }

    /// Requests above this size fail. Logs it if that is new.
    pub(super) fn learn(&self, bytes: usize, now: Instant, what: &str) {
        let lower = self.body_limit().lower(bytes, now);
        if let Some(most) = lower {
            tracing::warn!(url = self.url(), most, "{what}");
        }
    }

    /// Whether it accepts gzip, as far as known.
    pub(super) fn gzip(&self) -> bool {
        self.gzip.load(Ordering::Relaxed)
    }

    /// It does not accept gzip. Returns whether that is new.
    pub(super) fn no_gzip(&self) -> bool {
        self.gzip.swap(false, Ordering::Relaxed)
    }

    /// Bytes that were accepted and wait for an acknowledgement.
    pub(super) fn unacked_bytes(&self) -> u64 {
        self.unacked.load(Ordering::Relaxed)
    }

    /// The state for the choice of a member. `suits`: whether it takes the request's size, which has not failed there.
    pub(super) fn candidate(&self, suits: bool, now: Instant) -> Candidate {
        Candidate {
            suits,
            state: self.state(now),
            outstanding: self.outstanding.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            weight: self.weight,
        }
    }

    fn body_limit(&self) -> MutexGuard<'_, BodyLimit> {
        self.max_body.lock().expect("the limit does not panic")
    }
}

/// Bytes of a request that are outstanding at a member, until this is dropped.
#[derive(Debug)]
pub(super) struct Load {
    member: Arc<Member>,
    bytes: u64,
    is_unacked: bool,
}

impl Load {
    /// They are sent now.
    pub(super) fn new(member: &Arc<Member>, bytes: usize) -> Self {
        let bytes = bytes as u64;
        member.outstanding.fetch_add(bytes, Ordering::Relaxed);
        let after = |sent| Some(member.level.after(sent, member.weight, bytes));
        let _ = member.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        Self { member: Arc::clone(member), bytes, is_unacked: false }
    }

    /// They were accepted, and wait for an acknowledgement.
    pub(super) fn accepted(mut self) -> Self {
        self.is_unacked = true;
        self.member.unacked.fetch_add(self.bytes, Ordering::Relaxed);
        self
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.member.outstanding.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.is_unacked {
            self.member.unacked.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
