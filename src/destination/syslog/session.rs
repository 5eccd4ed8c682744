//! What all transports share: receiving batches, choosing a target, reporting failures and pausing after them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::dial::ConnectFault;
use super::jobs::Jobs;
use super::shared::SyslogShared;
use super::targets::Targets;
use super::window::{Break, Id, Window, WindowProgress};
use super::{Config, Delivery, Target, Transport};
use crate::core::backoff::Backoff;
use crate::core::batch::Output;
use crate::core::cause::Cause;
use crate::core::lease::Tenure;

/// Longest wait after a failure.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(10);

/// How a connection ended.
pub(super) enum SessionEnd {
    /// The destination was dropped.
    Gone,
    /// The peer closed it while nothing was in flight.
    Idle,
    /// Unproven events must be sent again.
    Broken(Break, ConnectFault),
}

/// The batches, their state, and the connection settings.
pub(super) struct Session<'a> {
    pub(super) shared: &'a SyslogShared,
    pub(super) jobs: Jobs,
    pub(super) window: Window,
    pub(super) targets: Targets,
    pub(super) backoff: Backoff,
    /// When the current connection, or try, began.
    pub(super) began: Instant,
    pub(super) has_warned_of_data: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(shared: &'a SyslogShared, jobs: Jobs) -> Self {
        let is_relp = matches!(shared.config.transport, Transport::Relp(_));
        let (interval, lag) = match shared.config.delivery {
            Delivery::Confirmed { interval, lag } if !is_relp => (interval, lag),
            // RELP answers need no lag, and without confirmation there is none.
            _ => (Duration::ZERO, Duration::ZERO),
        };
        let Config { targets, transport, .. } = &shared.config;
        let doubted: Vec<bool> =
            targets.iter().map(|target| shared.findings.is_doubted(&address(transport, target))).collect();
        Self {
            shared,
            jobs,
            window: Window::new(interval, lag),
            targets: Targets::new(&doubted),
            backoff: Backoff::new(Duration::from_millis(250), MAX_RETRY_PAUSE, u64::from(std::process::id())),
            began: Instant::now(),
            has_warned_of_data: false,
        }
    }

    pub(super) fn target(&self) -> &'a Target {
        &self.shared.config.targets[self.targets.current()]
    }

    /// Adds a received batch; returns whether the destination still exists.
    pub(super) fn came(&mut self, came: Option<(Id, Arc<Output>)>) -> bool {
        let Some((id, batch)) = came else { return false };
        self.window.push(id, batch.events.len(), batch.events.bytes().len());
        true
    }

    pub(super) fn reap(&mut self) {
        for id in self.jobs.reap() {
            self.window.forget(id);
        }
    }

    pub(super) fn apply(&mut self, settled: WindowProgress) {
        for (id, event) in settled.rejected {
            let reason = "the receiver closes the connection whenever it gets this event, and takes others".to_owned();
            self.jobs.reject(id, event, reason);
        }
        for id in settled.finished {
            self.jobs.finish(id);
        }
    }

    /// Returns whether the destination still exists.
    pub(super) async fn wait_until(&mut self, until: Instant) -> bool {
        loop {
            let came = tokio::select! {
                biased;
                came = self.jobs.recv() => came,
                () = self.shared.left.notified() => {
                    self.reap();
                    continue;
                }
                () = sleep_until(until) => return true,
            };
            if !self.came(came) {
                return false;
            }
        }
    }

    /// Connects as soon as there is something to send, to the first target that works; `None` when the destination is
    /// dropped.
    pub(super) async fn connect(&mut self) -> Option<Connection> {
        loop {
            while self.window.is_empty() {
                let came = self.jobs.recv().await;
                if !self.came(came) {
                    return None;
                }
            }
            self.began = Instant::now();
            let (dial, target) = (self.shared.dial.clone(), self.target());
            let mut connecting = std::pin::pin!(dial.connect(target));
            let connected = loop {
                let came = tokio::select! {
                    biased;
                    connected = &mut connecting => break connected,
                    came = self.jobs.recv() => came,
                    () = self.shared.left.notified() => {
                        self.reap();
                        continue;
                    }
                };
                if !self.came(came) {
                    return None;
                }
            };
            match connected {
                Ok(connection) => {
                    self.log_promise();
                    return Some(connection);
                }
                Err(fault) => {
                    let now = Instant::now();
                    fault.report(&self.shared.health, self.began, now);
                    let until = now + self.backoff.next(None);
                    if self.targets.unreachable(now) && !self.wait_until(until).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Stores for the next start whether the target proves nothing.
    pub(super) fn keep_finding(&self, doubted: bool) {
        self.shared.findings.keep(address(&self.shared.config.transport, self.target()), doubted);
    }

    pub(super) fn log_promise(&self) {
        self.shared.written_only.store(self.targets.is_written_only(), Ordering::Relaxed);
    }

    pub(super) fn by_peer(&self, cause: &str) -> SessionEnd {
        SessionEnd::Broken(Break::ByPeer, ConnectFault::Down(Cause::new(format!("{}: {cause}", self.target()))))
    }

    /// A connection that failed.
    pub(super) fn failed(&self, error: &io::Error) -> SessionEnd {
        use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
        let is_network = matches!(error.kind(), HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut);
        SessionEnd::Broken(
            if is_network { Break::Other } else { Break::ByPeer },
            ConnectFault::of(self.target(), error),
        )
    }

    pub(super) fn other(&self, cause: &str) -> SessionEnd {
        SessionEnd::Broken(Break::Other, ConnectFault::Down(Cause::new(format!("{}: {cause}", self.target()))))
    }

    pub(super) fn settle(&mut self, now: Instant) {
        let settled = self.window.prove(now);
        self.accepted(settled, now);
    }

    /// Applies the result of a proof.
    pub(super) fn accepted(&mut self, settled: WindowProgress, now: Instant) {
        if settled.proven {
            self.targets.worked();
            self.backoff.reset();
            self.shared.health.up(now);
        }
        self.apply(settled);
    }

    /// An event was accepted.
    pub(super) fn up(&self) {
        self.shared.health.up(Instant::now());
    }

    /// The next batch in the order of arrival, for a transport that sends one after the other.
    pub(super) async fn next_batch(&mut self) -> Option<(Id, Arc<Output>)> {
        loop {
            if let Some(span) = self.window.begin(Instant::now()) {
                match self.jobs.get(span.id) {
                    Some(job) => return Some((span.id, Arc::clone(&job.batch))),
                    None => self.window.forget(span.id),
                }
            } else {
                let came = self.jobs.recv().await;
                if !self.came(came) {
                    return None;
                }
            }
        }
    }

    /// Whether another batch is waiting.
    pub(super) fn has_more(&self) -> bool {
        self.jobs.has_more()
    }

    /// Its tenure ended.
    pub(super) fn abandon(&mut self, id: Id) {
        self.jobs.abandon(id);
        self.window.forget(id);
    }

    /// Handles the end of a connection: everything unproven must be sent again, after a pause if there was an error.
    /// Returns whether the destination still exists.
    pub(super) async fn recover(&mut self, ended: SessionEnd) -> bool {
        let (how, fault) = match ended {
            SessionEnd::Gone => return false,
            SessionEnd::Idle => (Break::Other, None),
            SessionEnd::Broken(how, fault) => (how, Some(fault)),
        };
        let settled = self.window.broke(how);
        self.apply(settled);
        let Some(fault) = fault else { return true };
        let now = Instant::now();
        self.targets.broke(now);
        fault.report(&self.shared.health, self.began, now);
        let until = now + self.backoff.next(None);
        self.wait_until(until).await
    }
}

/// The address that identifies a target.
fn address(transport: &Transport, target: &Target) -> String {
    format!("{}://{target}", transport.scheme())
}

/// Resolves when the tenure ends, never without one.
pub(super) async fn fenced(tenure: Option<&Tenure>) {
    match tenure {
        Some(tenure) => tenure.ended().await,
        None => std::future::pending().await,
    }
}
