//! Sends over TCP and TLS: one connection for all shards, and its successor in parallel while the previous one is
//! proven.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Delivery;
use super::connection::{CLOSED_BY_RECEIVER, Closed, Connection, Turn};
use super::dial::ConnectFault;
use super::jobs::Jobs;
use super::session::{Session, SessionEnd, fenced};
use super::shared::SyslogShared;
use super::targets::Missed;
use super::window::{Id, Span};
use crate::core::batch::Output;
use crate::core::cause::Cause;
use crate::core::lease::Tenure;

/// Maximum size of a write, unless one event is larger.
const WRITE_BYTES: usize = 64 * 1024;

/// Maximum wait for the answer to a close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// Polling interval where there is no notification.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of bytes that a receiver may send on a connection beyond those that it was sent. Syslog receivers
/// send nothing; some greet, or echo.
const MAX_TALK: usize = 64 * 1024;

/// How long a new witness must stay connected: a receiver with too many connections accepts it, and ends it at once.
const WITNESS_MIN_LIFETIME: Duration = Duration::from_millis(50);

/// Pause before the next try to connect a witness.
const WITNESS_RETRY_PAUSE: Duration = Duration::from_secs(1);

type Promised<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs until the destination is dropped.
pub(super) async fn run(shared: &SyslogShared, jobs: Jobs) {
    let mut line = Session::new(shared, jobs);
    while let Some(connection) = line.connect().await {
        let ended = line.drive(connection).await;
        if !line.recover(ended).await {
            return;
        }
    }
}

/// What counts as proof at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// A strict close.
    Close,
    /// Acknowledged by the receiver's system.
    Acked,
    /// Accepted by our system.
    Write,
}

/// Events while a connection is up.
enum StreamEvent {
    Turn(Turn),
    Closed(Closed),
    Opened(Result<Connection, ConnectFault>),
    Home(Result<Connection, ConnectFault>),
    Fenced,
    Came(Option<(Id, Arc<Output>)>),
    Left,
    Tick,
}

/// Complete events of one batch that are written in one piece.
struct Chunk {
    batch: Arc<Output>,
    tenure: Tenure,
    /// The rest of its span after it.
    rest: Span,
    /// The unwritten rest.
    bytes: Range<usize>,
    /// Whether a part of it, or of its TLS record, may have been written.
    begun: bool,
}

impl Chunk {
    fn of(batch: &Arc<Output>, tenure: &Tenure, span: Span) -> Self {
        let events = &batch.events;
        let start = events.range(span.events.start).start;
        let mut last = span.events.start;
        while last + 1 < span.events.end && events.range(last + 1).end - start <= WRITE_BYTES {
            last += 1;
        }
        Self {
            bytes: start..events.range(last).end,
            rest: Span { id: span.id, events: last + 1..span.events.end },
            batch: Arc::clone(batch),
            tenure: tenure.clone(),
            begun: false,
        }
    }

    fn left(&self) -> &[u8] {
        &self.batch.events.bytes()[self.bytes.clone()]
    }
}

impl Session<'_> {
    fn proof(&self, now: Instant) -> Proof {
        match self.shared.config.delivery {
            Delivery::Sent => Proof::Write,
            Delivery::Confirmed { .. } if self.targets.is_tried(now) => Proof::Close,
            Delivery::Confirmed { .. } => Proof::Acked,
        }
    }

    /// Sends over `current` and its successors until one of them breaks.
    async fn drive(&mut self, mut current: Connection) -> SessionEnd {
        let mut buffer = [0; 512];
        let mut chunk: Option<Chunk> = None;
        let mut opening: Option<Promised<Result<Connection, ConnectFault>>> = None;
        let mut successor: Option<Connection> = None;
        let mut closing: Option<Promised<Closed>> = None;
        let mut going_home: Option<Promised<Result<Connection, ConnectFault>>> = None;
        let mut home: Option<Connection> = None;
        let mut before_opening = Duration::ZERO;
        let mut progressed = Instant::now();
        // Bytes received beyond those written. A receiver that sends without end is read first, so it would stop
        // everything else.
        let mut talk = 0_usize;
        loop {
            let now = Instant::now();
            // A closing connection's witness is known only after the close.
            if closing.is_none() && self.window.due().is_some_and(|due| due <= now) {
                if current.is_quiet() {
                    self.settle(now);
                    continue;
                }
                // Lets the runtime notice received data, which is read below.
                tokio::task::yield_now().await;
            }
            let proof = self.proof(now);
            self.window.set_room(if proof == Proof::Close { self.targets.room() } else { usize::MAX });
            let is_crowded = self.shared.budget.is_half_used();
            self.window.set_crowded(is_crowded);
            let rotate = self.window.rotate_at().filter(|_| closing.is_none());
            let is_due = rotate.is_some_and(|at| at <= now);
            if chunk.is_none() {
                // A witness that the receiver closed while it was idle proves nothing, and says nothing about the
                // current connection.
                let witness = successor.take_if(|_| is_due || proof != Proof::Close);
                if let Some(next) = witness.filter(|witness| proof == Proof::Close && witness.is_quiet()) {
                    let patience = self.shared.config.timeout.min(CLOSE_PATIENCE);
                    closing = Some(Box::pin(std::mem::replace(&mut current, next).close(patience)));
                    self.window.closes();
                    continue;
                }
                let is_taken = proof == Proof::Write || proof == Proof::Acked && current.is_acked();
                if is_taken && is_due {
                    self.window.rotated(now);
                    continue;
                }
                if home.is_some() && !self.window.is_unproven() {
                    current = home.take().expect("checked in the line above");
                    self.targets.home();
                    self.log_promise();
                    tracing::info!(target = %self.target(), "syslog: back at the first target");
                    continue;
                }
                if home.is_none() {
                    chunk = self.next_chunk(now);
                    progressed = now;
                }
            }
            // Opening a witness takes a while. If the receiver is known to accept one, it is opened ahead.
            let is_ahead = self.targets.has_proven() && self.window.nears_a_proof();
            if proof == Proof::Close && opening.is_none() && successor.is_none() && (is_due || is_ahead) {
                let (dial, target, peer) = (self.shared.dial.clone(), self.target().clone(), current.peer());
                let pause = std::mem::take(&mut before_opening);
                opening = Some(Box::pin(async move {
                    sleep(pause).await;
                    let mut witness = dial.connect_beside(&target, peer).await?;
                    let is_welcome = witness.lives_on(WITNESS_MIN_LIFETIME).await;
                    is_welcome
                        .then_some(witness)
                        .ok_or_else(|| ConnectFault::Down(Cause::new(format!("{target}: {CLOSED_BY_RECEIVER}"))))
                }));
            }
            if going_home.is_none() && home.is_none() && self.targets.home_at().is_some_and(|at| at <= now) {
                let (dial, target) = (self.shared.dial.clone(), self.shared.config.targets[0].clone());
                going_home = Some(Box::pin(async move { dial.connect(&target).await }));
            }
            let tick = [
                self.window.due().filter(|_| closing.is_none()),
                rotate.filter(|_| opening.is_none()),
                // There is no notification when memory becomes short.
                rotate.filter(|_| !is_crowded).map(|_| now + POLL_INTERVAL),
                chunk.as_ref().map(|_| progressed + self.shared.config.timeout),
                self.targets.home_at().filter(|_| going_home.is_none() && home.is_none()),
            ];
            // An overdue step waits for a condition without notification.
            let tick = tick.into_iter().flatten().map(|at| if at > now { at } else { now + POLL_INTERVAL }).min();
            let out = chunk.as_ref().map_or(&[][..], Chunk::left);
            let event = tokio::select! {
                // A receiver that always accepts more must not delay the check of its proof.
                biased;
                closed = promised(&mut closing) => StreamEvent::Closed(closed),
                opened = promised(&mut opening) => StreamEvent::Opened(opened),
                turn = current.turn_under(chunk.as_ref().map(|chunk| &chunk.tenure), &mut buffer, out) => StreamEvent::Turn(turn),
                opened = promised(&mut going_home) => StreamEvent::Home(opened),
                () = fenced(chunk.as_ref().map(|chunk| &chunk.tenure)) => StreamEvent::Fenced,
                came = self.jobs.recv() => StreamEvent::Came(came),
                () = self.shared.left.notified() => StreamEvent::Left,
                () = sleep_until(tick.unwrap_or(now)), if tick.is_some() => StreamEvent::Tick,
            };
            if let Some(chunk) = &mut chunk {
                chunk.begun |= current.is_bound();
            }
            match event {
                StreamEvent::Turn(Turn::Wrote(count)) => {
                    progressed = Instant::now();
                    talk = talk.saturating_sub(count);
                    chunk = chunk.take().and_then(|chunk| self.wrote(chunk, count));
                }
                StreamEvent::Turn(Turn::Read(count)) => {
                    self.warn_of_data();
                    talk += count;
                    if talk > MAX_TALK {
                        current.abort();
                        return self.other("it sends data without end");
                    }
                }
                StreamEvent::Turn(Turn::Ended | Turn::Failed(_)) if !self.window.is_unproven() => {
                    return SessionEnd::Idle;
                }
                StreamEvent::Turn(Turn::Ended) => return self.by_peer(CLOSED_BY_RECEIVER),
                StreamEvent::Turn(Turn::Failed(error)) => return self.failed(&error),
                StreamEvent::Closed(Closed::Proven) => {
                    closing = None;
                    self.shared.proofs.fetch_add(1, Ordering::Relaxed);
                    self.proven();
                    self.window.closed(Instant::now());
                }
                // This counts only if the receiver is still alive, as the witness shows: a dying receiver answers
                // nothing either.
                StreamEvent::Closed(Closed::Unproven(why)) => {
                    closing = None;
                    if !current.lives_on(self.lag()).await {
                        return self.by_peer(CLOSED_BY_RECEIVER);
                    }
                    if self.missed(why) == Missed::Late {
                        return self.other(why);
                    }
                    self.window.closed(Instant::now());
                }
                StreamEvent::Closed(Closed::Stalled) => return self.other("it does not read what was sent"),
                StreamEvent::Closed(Closed::Broken(error)) => return self.failed(&error),
                StreamEvent::Opened(Ok(connection)) => {
                    opening = None;
                    successor = Some(connection);
                }
                // Written events stay unproven meanwhile. A receiver that accepted a second connection once will do
                // so again.
                StreamEvent::Opened(Err(fault)) => {
                    opening = None;
                    before_opening = WITNESS_RETRY_PAUSE;
                    if !current.lives_on(self.lag()).await {
                        return self.by_peer(CLOSED_BY_RECEIVER);
                    }
                    let why = || format!("it accepts no second connection ({})", fault.cause());
                    if self.targets.has_proven() || self.missed(&why()) == Missed::Late {
                        fault.report(&self.shared.health, now, Instant::now());
                    }
                }
                StreamEvent::Home(opened) => {
                    going_home = None;
                    match opened {
                        Ok(connection) => home = Some(connection),
                        Err(_) => self.targets.still_away(Instant::now()),
                    }
                }
                StreamEvent::Fenced => {
                    let Some(fenced) = chunk.take() else { continue };
                    self.abandon(fenced.rest.id);
                    if fenced.begun {
                        // A part of an event was written, and the rest must not follow.
                        current.abort();
                        return self.other("a shard was lost half-way through an event");
                    }
                }
                StreamEvent::Came(came) => {
                    if !self.came(came) {
                        return SessionEnd::Gone;
                    }
                }
                StreamEvent::Left => self.reap(),
                StreamEvent::Tick => {
                    if chunk.is_some() && progressed.elapsed() >= self.shared.config.timeout {
                        current.abort();
                        return self.other("it accepts no data");
                    }
                }
            }
        }
    }

    /// The next piece to write, of a batch whose tenure is valid.
    fn next_chunk(&mut self, now: Instant) -> Option<Chunk> {
        while let Some(span) = self.window.begin(now) {
            if let Some(chunk) = self.chunk_of(span) {
                return Some(chunk);
            }
        }
        None
    }

    fn chunk_of(&mut self, span: Span) -> Option<Chunk> {
        let id = span.id;
        match self.jobs.get(id).filter(|job| job.tenure.holds()) {
            Some(job) => Some(Chunk::of(&job.batch, &job.tenure, span)),
            None => {
                self.abandon(id);
                None
            }
        }
    }

    /// This much was written: the rest of it, or the next piece of its span.
    fn wrote(&mut self, mut chunk: Chunk, count: usize) -> Option<Chunk> {
        chunk.bytes.start += count;
        chunk.begun = true;
        if !chunk.bytes.is_empty() {
            return Some(chunk);
        }
        if chunk.rest.events.is_empty() { None } else { self.chunk_of(chunk.rest) }
    }

    /// A close proved everything.
    fn proven(&mut self) {
        if self.targets.proven() {
            self.log_promise();
            self.keep_finding(false);
            tracing::info!(
                target = %self.target(),
                "the syslog receiver, which proved nothing before, now proves what it has read: from now on \
                 delivered means confirmed"
            );
        }
    }

    /// There was no error, but no proof either.
    fn missed(&mut self, why: &str) -> Missed {
        let missed = self.targets.unproven(Instant::now());
        if missed == Missed::FoundOut {
            self.log_promise();
            self.keep_finding(true);
            tracing::warn!(
                target = %self.target(),
                "the syslog receiver does not prove what it has read: {why}; from now on delivered means written, and what is in the receiver's memory is lost when it crashes"
            );
        }
        missed
    }

    fn lag(&self) -> Duration {
        match self.shared.config.delivery {
            Delivery::Sent => Duration::ZERO,
            Delivery::Confirmed { lag, .. } => lag,
        }
    }

    fn warn_of_data(&mut self) {
        if !std::mem::replace(&mut self.has_warned_of_data, true) {
            tracing::warn!(target = %self.target(), "the receiver sends data, which syslog receivers do not do; ignored");
        }
    }
}

/// Resolves when the given future does; never if there is none.
async fn promised<T>(promise: &mut Option<Promised<T>>) -> T {
    match promise {
        Some(promise) => promise.await,
        None => std::future::pending().await,
    }
}
