//! The reader of a shard: pull → hook.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::breaker::Breaker;
use super::dead_letters::OnError;
use super::error_throttle::ErrorThrottle;
use super::in_flight::{FromReader, InFlight};
use super::page_size::PageSize;
use super::{PAUSED_RETRY_INTERVAL, ReaderEnd, Shard};
use crate::core::batch::Batch;
use crate::core::budget::Credit;
use crate::core::cause::{Cause, Retry};
use crate::core::cursor::{Cursor, Start};
use crate::core::ledger::{Ask, Wait};
use crate::core::page::Page;
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source, SourceError};
use crate::destination::Destination;
use crate::script::{Failed, Hook, PassedOn, UnreadablePage};

impl<S: Source, K: Destination> Shard<S, K> {
    /// Pulls pages from `cursor` on and sends what the hook made of them to the deliverer.
    pub(super) async fn run_reader(&self, mut cursor: Cursor, hook: Hook, slot: mpsc::Sender<FromReader>) -> ReaderEnd {
        let mut reader = Reader {
            hook: Some(hook),
            size: PageSize::new(self.pipeline.pace.page_groups),
            pull_log: self.retry_log("pull"),
            breaker: Breaker::new(self.pipeline.dead_letters.max_share),
            throttle: ErrorThrottle::default(),
            paused: false,
        };
        loop {
            // Whatever is under way is dropped when the shard is asked to stop: nothing of it was promised to anybody.
            match self.stop.or(self.read_page(&mut reader, &cursor, &slot)).await {
                None if reader.paused => return ReaderEnd::Halted,
                None => return ReaderEnd::Stopped,
                Some(Err(end)) => return end,
                Some(Ok(next)) => cursor = next,
            }
        }
    }

    /// Pulls one page from `cursor` on, runs the hook over it, and sends the batch. Returns where to read on: the same
    /// cursor when the page has to be pulled again.
    async fn read_page(
        &self,
        reader: &mut Reader,
        cursor: &Cursor,
        slot: &mpsc::Sender<FromReader>,
    ) -> Result<Cursor, ReaderEnd> {
        let room = slot.reserve().await.map_err(|_| ReaderEnd::Stopped)?;
        let mut credit = self.pipeline.budget.take(reader.size.reserve()).await;
        let page = match self.pull(cursor, reader.size.groups(), &mut credit).await {
            Ok(page) => page,
            Err(SourceError::Lost(cause)) => {
                warn!(shard = %self.name, %cause, "shard lost");
                return Err(ReaderEnd::Lost);
            }
            Err(SourceError::Stale(cause)) => {
                let oldest = self.oldest_after_gap(cursor, &cause).await.ok_or(ReaderEnd::Lost)?;
                self.gap(cursor.clone(), oldest)
            }
            Err(SourceError::NoRoom { bytes, .. }) => {
                // Whoever waits for more gives back first what it holds.
                reader.size.on_no_room(bytes);
                return Ok(cursor.clone());
            }
            Err(error) => {
                drop((room, credit));
                self.account.fails(Ask::Pull, &error, Instant::now());
                reader.pull_log.pause_after(&error).await;
                return Ok(cursor.clone());
            }
        };
        reader.pull_log.recovered();
        self.account.works(Ask::Pull);
        let next = page.next.clone();
        let pause = self.pause_after(&page);
        if page.is_idle() {
            drop(credit);
            if reader.size.on_idle() {
                room.send(FromReader::Idle);
            }
        } else {
            reader.size.on_page(&page);
            match self.make(reader, page).await? {
                Ok((batch, dead_letters)) => {
                    reader.size.on_batch(batch.weight());
                    credit.resize(batch.weight());
                    let script = reader.version();
                    let batch = Arc::new(batch);
                    room.send(FromReader::Batch(InFlight { batch, script, dead_letters, credit }));
                }
                Err(unreadable) => {
                    // The next pull may bring it whole.
                    drop((room, credit));
                    reader.pull_log.pause(&Cause::new(unreadable.to_string()), Retry::SOON).await;
                    return Ok(cursor.clone());
                }
            }
        }
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        Ok(next)
    }

    async fn pull(&self, cursor: &Cursor, groups: u32, room: &mut Credit) -> Result<Page, SourceError> {
        let page = self.pipeline.source.pull(self.id, cursor, groups, room).await?;
        let what = if page.next == page.cursor && !page.body.is_empty() {
            "sent logs but no progress: the next cursor of"
        } else if page.goes_back() {
            "went back: the next cursor of"
        } else {
            return Ok(page);
        };
        let cause = Cause::new(format!("SLS {what} {cursor} is {}", page.next));
        Err(SourceError::Busy { retry_after: None, cause })
    }

    /// How long to wait before the next pull: not at all while there is more.
    fn pause_after(&self, page: &Page) -> Option<Duration> {
        let at_end = page.is_idle() || page.at_end == Some(true);
        at_end.then_some(self.pipeline.pace.fetch_interval)
    }

    /// The cursor is not retained any more: what lies between it and the oldest log is lost to retention, whatever we
    /// do. Says so, and starts at the oldest log. `None`: the shard is not ours.
    async fn oldest_after_gap(&self, from: &Cursor, cause: &Cause) -> Option<Cursor> {
        let mut retry_log = self.retry_log("find the oldest log");
        loop {
            match self.pipeline.source.cursor(self.id, Start::Begin).await {
                Ok(begin) => {
                    self.say_missed(from, &begin, cause).await;
                    return Some(begin);
                }
                Err(SourceError::Lost(_)) => return None,
                Err(error) => retry_log.pause_after(&error).await,
            }
        }
    }

    /// A gap as an empty page, so that the checkpoint passes it even if nothing ever comes after it. As if it were the
    /// last page: a server to which every cursor is stale is not asked again at once.
    fn gap(&self, from: Cursor, to: Cursor) -> Page {
        Page { at_end: Some(true), ..Page::empty(self.id, from, to) }
    }

    /// Counts and reports a gap, with the times between which SLS received what was missed, as far as they can be told:
    /// the newest log that this process delivered, and the oldest that is still there.
    async fn say_missed(&self, from: &Cursor, to: &Cursor, cause: &Cause) {
        self.account.missed();
        let after = self.account.read().durable_to;
        let before = self.pipeline.source.received_at(self.id, to).await.ok();
        let time = |seconds: Option<i64>| {
            let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            time.map_or_else(|| "unknown".to_owned(), |time| time.to_string())
        };
        error!(
            shard = %self.name, %from, %to, received_after = %time(after), received_before = %time(before), %cause,
            "GAP: logs expired in SLS before they were pulled; going on with the oldest log"
        );
    }

    /// Runs the hook over a page until its logs may go on: the batch, and the logs that are to become dead letters.
    async fn make(
        &self,
        reader: &mut Reader,
        mut page: Page,
    ) -> Result<Result<(Batch, Vec<Failed>), UnreadablePage>, ReaderEnd> {
        if page.body.is_empty() {
            self.account.pulled(0, 0, None);
            return Ok(Ok((Batch::empty(page), Vec::new())));
        }
        let mut retry_log = self.retry_log("go past a page on which the script fails");
        let mut counted = false;
        loop {
            let hook = reader.hook.take().expect("the hook is back after each run");
            // The panic of a hook thread is this task's: the group starts the shard again from its checkpoint.
            let run = self.pipeline.hooks.run(hook, page).await.unwrap_or_else(|panic| panic!("{panic}"));
            reader.hook = Some(run.hook);
            let (mut batch, failed) = match run.made {
                Ok(made) => made,
                Err(unreadable) => return Ok(Err(unreadable)),
            };
            if !counted {
                self.account.pulled(batch.logs, batch.page.body.len(), batch.page.received_at);
                counted = true;
            }
            match self.decide(&mut batch, failed, reader) {
                Decision::Deliver(dead_letters) => {
                    reader.paused = false;
                    retry_log.recovered();
                    self.account.goes_on(Wait::Script);
                    return Ok(Ok((batch, dead_letters)));
                }
                Decision::Halt => return Err(ReaderEnd::Halted),
                Decision::Pause(why) => {
                    page = batch.page;
                    reader.paused = true;
                    self.account.waits(Wait::Script, why.clone());
                    retry_log.next(&Cause::new(why), Retry::AfterChange, Instant::now());
                    sleep(PAUSED_RETRY_INTERVAL).await;
                    // It may be the state of the script that is broken.
                    if let Ok(fresh) = self.pipeline.hooks.load(self.id) {
                        reader.hook = Some(fresh);
                    }
                }
            }
        }
    }

    /// Does with the logs that the script failed on what the settings say.
    fn decide(&self, batch: &mut Batch, failed: Vec<Failed>, reader: &mut Reader) -> Decision {
        let Reader { breaker, throttle, .. } = reader;
        let now = Instant::now();
        let Some(first) = failed.first() else {
            let _clean = breaker.admit(now, batch.logs, 0);
            return Decision::Deliver(failed);
        };
        let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
        let first = format!("log {} of the page at {}: {}", first.log, batch.page.cursor, first.error.without_text());
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
                *batch = Batch::new(batch.page.clone(), outputs, batch.logs, batch.dropped);
                left
            }
            OnError::Drop => {
                self.tell(&batch.page, &failed, "dropped", throttle);
                batch.dropped += count;
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

    /// Says which logs the script failed on, and what becomes of them.
    fn tell(&self, page: &Page, failed: &[Failed], fate: &str, throttle: &mut ErrorThrottle) {
        for Failed { log, error } in failed {
            let which = format_args!("log {log} of the page at {} of shard {}", page.cursor, self.name);
            if let Some(words) = throttle.message(error, which, fate, Instant::now()) {
                let logs = failed.len();
                warn!(shard = %self.name, cursor = %page.cursor, log, logs, "the script failed on a log: {words}");
            }
        }
    }
}

/// What a reader keeps from page to page.
struct Reader {
    /// Absent only while it runs on a hook thread.
    hook: Option<Hook>,
    size: PageSize,
    pull_log: RetryLog,
    breaker: Breaker,
    throttle: ErrorThrottle,
    /// A page waits, since too many of its logs would become dead letters.
    paused: bool,
}

impl Reader {
    /// The version of the script that made the last batch.
    fn version(&self) -> String {
        self.hook.as_ref().expect("the hook is back after each run").script().version.clone()
    }
}

/// What is to become of a batch on some of whose logs the script failed.
enum Decision {
    /// Deliver it; these logs become dead letters.
    Deliver(Vec<Failed>),
    /// Run the hook again after a pause: too many would become dead letters.
    Pause(String),
    /// The shard waits until somebody acts.
    Halt,
}
