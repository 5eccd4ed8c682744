//! Runs the hook over a page, part by part, and decides about failed logs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::breaker::Breaker;
use super::dead_letters::OnError;
use super::error_throttle::ErrorThrottle;
use super::room::Room;
use super::surplus::Surplus;
use super::{PAUSED_RETRY_INTERVAL, ReaderEnd, Shard};
use crate::core::batch::{Batch, Part};
use crate::core::cause::{Cause, Retry};
use crate::core::ledger::Wait;
use crate::core::page::Page;
use crate::core::source::Source;
use crate::destination::Destination;
use crate::script::{Bounds, Failed, GivesUp, Hook, NotMade, PassedOn, Stretch, UnreadablePage};

/// A page on which the script has worked for this long is reported as slow.
pub const SLOW_PAGE: Duration = Duration::from_secs(10);

/// Runs the script over the pages of a shard.
pub(super) struct PageRunner {
    /// `None` only while it runs.
    hook: Option<Hook>,
    /// Shared with the hook, which consults it after costly logs.
    breaker: Arc<Mutex<Breaker>>,
    throttle: ErrorThrottle,
    pub(super) surplus: Surplus,
}

impl PageRunner {
    /// With this hook; `max_share` as in [`Breaker::new`], and `surplus` for the next part.
    pub(super) fn new(hook: Hook, max_share: u32, surplus: Surplus) -> Self {
        let breaker = Arc::new(Mutex::new(Breaker::new(max_share)));
        Self { hook: Some(hook), breaker, throttle: ErrorThrottle::default(), surplus }
    }

    /// The version of the script that made the last batch.
    pub(super) fn version(&self) -> String {
        self.hook.as_ref().expect("the hook is back after each run").script().version.clone()
    }
}

/// The part of a page that the hook has not processed.
pub(super) struct RemainingPage {
    page: Page,
    pulled_at: Instant,
    /// Logs before it.
    from: u32,
    /// Logs of the page that the ledger counts; `None` before the first part.
    counted: Option<u32>,
    /// How long the script has worked on the page.
    spent: Duration,
    /// Whether the slow page was reported.
    is_logged: bool,
}

impl RemainingPage {
    /// All of a page that was just pulled.
    pub(super) fn of(page: Page) -> Self {
        Self { page, pulled_at: Instant::now(), from: 0, counted: None, spent: Duration::ZERO, is_logged: false }
    }
}

/// What to do with a batch on some of whose logs the script failed.
enum Decision {
    /// Deliver it, with these logs as dead letters.
    Deliver(Vec<Failed>),
    /// Run the hook again after a pause: too many would become dead letters.
    Pause(String),
    /// The shard waits until the script is corrected.
    Halt,
}

impl<S: Source, K: Destination> Shard<S, K> {
    /// Runs the hook over the next part of a page, for which there is `room`, until the breaker admits it. Returns the batch, and the logs that become dead letters.
    pub(super) async fn make(
        &self,
        runner: &mut PageRunner,
        rest: &mut RemainingPage,
        room: &Room,
    ) -> Result<Result<(Batch, Vec<Failed>), UnreadablePage>, ReaderEnd> {
        if rest.page.body.is_empty() {
            self.account.pulled(0, 0, None);
            return Ok(Ok((Batch::empty(rest.page.clone()), Vec::new())));
        }
        let mut retry_log = self.retry_log("go past a page on which the script fails");
        let mut is_paused = false;
        loop {
            let ran = self.run_hook(runner, rest, room).await;
            let made = ran.ok_or(if is_paused { ReaderEnd::Halted } else { ReaderEnd::Stopped })?;
            let (mut batch, failed) = match made {
                Ok(made) => made,
                Err(unreadable) => return Ok(Err(unreadable)),
            };
            self.count(rest, &batch);
            self.pipeline.taps.fails(&self.name, &batch, &failed);
            match self.decide(&mut batch, failed, runner) {
                Decision::Deliver(dead_letters) => {
                    self.pipeline.taps.passes(&self.name, &batch, self.pipeline.destinations.iter().map(|to| &to.name));
                    rest.from += batch.logs;
                    retry_log.recovered();
                    self.account.goes_on(Wait::Script);
                    return Ok(Ok((batch, dead_letters)));
                }
                Decision::Halt => return Err(ReaderEnd::Halted),
                Decision::Pause(why) => {
                    is_paused = true;
                    drop(batch);
                    room.abandon();
                    self.account.waits(Wait::Script, why.clone());
                    retry_log.next(&Cause::new(why), Retry::AfterChange, Instant::now());
                    self.stop.or(sleep(PAUSED_RETRY_INTERVAL)).await.ok_or(ReaderEnd::Halted)?;
                    // The state of the script may be the cause.
                    if let Ok(fresh) = self.begin().await {
                        runner.hook = Some(fresh);
                    }
                }
            }
        }
    }

    /// Runs the hook once there is memory for what it makes. `None`: the shard was asked to stop, and no part of the page
    /// is in flight.
    async fn run_hook(
        &self,
        runner: &mut PageRunner,
        rest: &mut RemainingPage,
        room: &Room,
    ) -> Option<Result<(Batch, Vec<Failed>), UnreadablePage>> {
        loop {
            match self.run_once(runner, rest, room).await? {
                Ok(made) => return Some(Ok(made)),
                Err(NotMade::Unreadable(page)) => return Some(Err(*page)),
                Err(NotMade::NoMemory) => {
                    let free = self.pipeline.budget.until_a_part_may_begin();
                    if rest.from == 0 { self.stop.or(free).await? } else { free.await }
                }
            }
        }
    }

    async fn run_once(
        &self,
        runner: &mut PageRunner,
        rest: &mut RemainingPage,
        room: &Room,
    ) -> Option<Result<(Batch, Vec<Failed>), NotMade>> {
        let part = self.pipeline.pace.part;
        let bounds = Bounds {
            bytes: room.bytes().min(part.bytes),
            time: part.time,
            gives_up: self.gives_up(&runner.breaker),
            buffers: Some(self.pipeline.budget.buffers()),
            begins: Some(Arc::new(room.begins(runner.surplus.expected()))),
        };
        let stretch = Stretch { page: rest.page.clone(), from: rest.from, bounds };
        let hook = runner.hook.take().expect("the hook is back after each run");
        let began = Instant::now();
        self.account.enters_script(began.checked_sub(rest.spent).unwrap_or(began));
        let run = self.pipeline.hooks.run(hook, stretch);
        let ran = if rest.from == 0 { self.stop.or(run).await } else { Some(run.await) };
        self.account.leaves_script();
        // A panic of a hook thread is passed on to this task: the group restarts the shard from its checkpoint.
        let run = ran?.unwrap_or_else(|panic| panic!("{panic}"));
        runner.hook = Some(run.hook);
        if !matches!(run.made, Err(NotMade::NoMemory)) {
            self.account.timings.script.observe(began.elapsed(), 1);
            rest.spent += began.elapsed();
        }
        Some(run.made)
    }

    /// Called by the hook after a log that exceeded a limit. If the breaker will refuse this part anyway, the hook
    /// stops: the rest of the page would only take time from other shards.
    fn gives_up(&self, breaker: &Arc<Mutex<Breaker>>) -> Option<Arc<GivesUp>> {
        match self.pipeline.dead_letters.on_error {
            OnError::DeadLetter => {
                let breaker = Arc::clone(breaker);
                Some(Arc::new(move |logs, failed| lock(&breaker).refuses(Instant::now(), logs, failed)))
            }
            OnError::Halt => Some(Arc::new(|_, _| true)),
            OnError::Pass | OnError::Drop => None,
        }
    }

    /// Counts the logs of a part in the ledger, once: a repeated part may end at another log.
    fn count(&self, rest: &mut RemainingPage, batch: &Batch) {
        let Part { first, is_last } = batch.part;
        let end = first + batch.logs;
        match rest.counted {
            None => self.account.pulled(end, rest.page.body.len(), rest.page.received_at),
            Some(counted) => self.account.read_on(end.saturating_sub(counted)),
        }
        rest.counted = Some(end.max(rest.counted.unwrap_or(0)));
        if is_last && rest.page.at_end == Some(true) {
            self.account.read_to_end(rest.pulled_at);
        }
        if !is_last && rest.spent >= SLOW_PAGE && !rest.is_logged {
            rest.is_logged = true;
            warn!(
                shard = %self.name, at = rest.page.cursor.when(), logs = end,
                "the script is slow: it has worked on one page for {} s; the events made so far are delivered, and \
                 the checkpoint moves when the page is done",
                rest.spent.as_secs()
            );
        }
    }

    /// Applies the settings to the logs that the script failed on.
    fn decide(&self, batch: &mut Batch, failed: Vec<Failed>, runner: &mut PageRunner) -> Decision {
        let PageRunner { breaker, throttle, .. } = runner;
        let mut breaker = lock(breaker);
        let now = Instant::now();
        let Some(first) = failed.first() else {
            let _clean = breaker.admit(now, batch.logs, 0);
            return Decision::Deliver(failed);
        };
        for Failed { error, .. } in &failed {
            self.account.script_failed(error.without_text());
        }
        let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
        let first =
            format!("log {} of the page at {}: {}", first.log, batch.page.cursor.when(), first.error.without_text());
        let dead_letters = match self.pipeline.dead_letters.on_error {
            OnError::DeadLetter => failed,
            OnError::Halt => {
                self.tell(&batch.page, &failed, "the shard is halted", throttle);
                self.halt(count, first);
                return Decision::Halt;
            }
            OnError::Pass => {
                let PassedOn { outputs, passed, left } = self.pipeline.hooks.pass(batch, failed);
                self.tell(&batch.page, &passed, "sent unchanged", throttle);
                let again = Batch::new(batch.page.clone(), batch.part, outputs, batch.logs, batch.dropped);
                *batch = Batch { drop_reasons: std::mem::take(&mut batch.drop_reasons), ..again };
                left
            }
            OnError::Drop => {
                self.tell(&batch.page, &failed, "dropped", throttle);
                batch.dropped += count;
                batch.drop_reasons.add(b"the script failed", count.into());
                Vec::new()
            }
        };
        let count = u32::try_from(dead_letters.len()).unwrap_or(u32::MAX);
        match breaker.admit(now, batch.logs, count) {
            Ok(()) => {
                self.tell(&batch.page, &dead_letters, "written as a dead letter", throttle);
                Decision::Deliver(dead_letters)
            }
            Err(excess) => {
                self.tell(&batch.page, &dead_letters, "paused: the page is retried", throttle);
                Decision::Pause(format!(
                    "the script fails on {excess}, too many for dead letters; the checkpoint is not moved, and the page \
                     is retried every {PAUSED_RETRY_INTERVAL:?}; {first}"
                ))
            }
        }
    }

    /// Logs the script errors of a page, and what happens to its logs.
    fn tell(&self, page: &Page, failed: &[Failed], fate: &str, throttle: &mut ErrorThrottle) {
        for Failed { log, error } in failed {
            let at = page.cursor.when();
            let which = format_args!("log {log} of the page at {at} of shard {}", self.name);
            if let Some(words) = throttle.message(error, which, fate, Instant::now()) {
                let logs = failed.len();
                warn!(shard = %self.name, at, log, logs, "the script failed on a log: {words}");
            }
        }
    }
}

fn lock(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}
