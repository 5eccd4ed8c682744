//! The first half of a shard: pull → hook.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::breaker::Breaker;
use super::deliverer::{FromReader, Parcel};
use super::error_throttle::ErrorThrottle;
use super::{OnError, PAUSED_RETRY_INTERVAL, ReaderEnd, Shard};
use crate::core::batch::{Batch, Events};
use crate::core::cause::Cause;
use crate::core::cursor::{Cursor, Start};
use crate::core::ledger::Wait;
use crate::core::page::Page;
use crate::core::source::{Source, SourceError};
use crate::destination::Destination;
use crate::script::{Failed, Hook, Made, PassedOn};

/// What a page should weigh, unpacked. Small enough that many shards fit into the budget and that a hook takes
/// milliseconds; large enough that a round trip for each keeps up with what SLS lets a shard read (10 MB/s).
const PAGE_TARGET: usize = 2 << 20;

/// Credit taken for the first page of a shard, before anything is known about its logs.
const FIRST_CREDIT: usize = 2 * PAGE_TARGET;

/// Credit taken at least, however small the last page was.
const LEAST_CREDIT: usize = PAGE_TARGET / 16;

/// Log groups asked for at first.
const FIRST_GROUPS: u32 = 64;

impl<S: Source, K: Destination> Shard<S, K> {
    /// Pulls pages from `cursor` on and sends what the hook made of them into the slot.
    pub(super) async fn run_ahead(
        &self,
        mut cursor: Cursor,
        mut hook: Hook,
        slot: mpsc::Sender<FromReader>,
    ) -> ReaderEnd {
        let most = self.parts.pace.page_groups;
        let mut fit = FIRST_GROUPS.min(most);
        let mut groups = fit;
        let mut weight = FIRST_CREDIT;
        let mut idle = false;
        let mut trouble = self.trouble("pull");
        let mut breaker = Breaker::new(self.parts.letters.max_share);
        let mut told = ErrorThrottle::default();
        loop {
            let Some(Ok(room)) = self.stop.or(slot.reserve()).await else { return ReaderEnd::Stopped };
            let Some(mut credit) = self.stop.or(self.parts.budget.take(weight)).await else {
                return ReaderEnd::Stopped;
            };
            let Some(pulled) = self.stop.or(self.pull(&cursor, groups)).await else { return ReaderEnd::Stopped };
            let page = match pulled {
                Ok(page) => page,
                Err(SourceError::Lost(cause)) => {
                    warn!(shard = %self.id, %cause, "shard lost");
                    return ReaderEnd::Lost;
                }
                Err(SourceError::Stale(cause)) => match self.stop.or(self.begin_again(&cursor, &cause)).await {
                    Some(Some(begin)) => self.gap(cursor, begin),
                    Some(None) => return ReaderEnd::Lost,
                    None => return ReaderEnd::Stopped,
                },
                Err(fault) => {
                    drop((room, credit));
                    if self.stop.or(trouble.pause(&fault)).await.is_none() {
                        return ReaderEnd::Stopped;
                    }
                    continue;
                }
            };
            trouble.over();
            cursor = page.next.clone();
            let pause = self.pause_after(&page);

            if page.is_idle() {
                drop(credit);
                if !idle {
                    // What comes next is what was written since: not much, and hundreds of idle shards share the
                    // budget. Should it be much, it is asked for in small steps first, as the credit is small.
                    weight = LEAST_CREDIT;
                    groups = (fit / (PAGE_TARGET / LEAST_CREDIT) as u32).clamp(1, groups);
                    room.send(FromReader::Idle);
                    idle = true;
                }
            } else {
                idle = false;
                fit = fitting_groups(&page).unwrap_or(fit).min(most);
                // A page that was not full says little about those to come: grow, but step by step.
                groups = fit.min(groups.saturating_mul(4));
                let (returned, made) = match self.stop.or(self.make(hook, page, &mut breaker, &mut told)).await {
                    Some(Some(made)) => made,
                    Some(None) => return ReaderEnd::Halted,
                    None => return ReaderEnd::Stopped,
                };
                hook = returned;
                match made {
                    Ok((batch, failed)) => {
                        weight = batch.weight().max(LEAST_CREDIT);
                        credit.resize(batch.weight());
                        let script = hook.script().version.clone();
                        room.send(FromReader::Batch(Parcel { batch: Arc::new(batch), script, failed, credit }));
                    }
                    Err(torn) => {
                        // The page cannot be read: the next pull may bring it whole.
                        cursor = torn.cursor;
                        drop((room, credit));
                        let fault = SourceError::Busy { retry_after: None, cause: torn.cause };
                        if self.stop.or(trouble.pause(&fault)).await.is_none() {
                            return ReaderEnd::Stopped;
                        }
                        continue;
                    }
                }
            }
            if let Some(pause) = pause
                && self.stop.or(sleep(pause)).await.is_none()
            {
                return ReaderEnd::Stopped;
            }
        }
    }

    async fn pull(&self, cursor: &Cursor, groups: u32) -> Result<Page, SourceError> {
        let page = self.parts.source.pull(self.id, cursor, groups).await?;
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
        at_end.then_some(self.parts.pace.fetch_interval)
    }

    /// The cursor is not retained any more: what lies between it and the oldest log is lost to retention, whatever we
    /// do. Says so, and starts at the oldest log. `None`: the shard is not ours.
    async fn begin_again(&self, from: &Cursor, cause: &Cause) -> Option<Cursor> {
        let mut trouble = self.trouble("find the oldest log");
        loop {
            match self.parts.source.cursor(self.id, Start::Begin).await {
                Ok(begin) => {
                    self.say_missed(from, &begin, cause).await;
                    return Some(begin);
                }
                Err(SourceError::Lost(_)) => return None,
                Err(fault) => trouble.pause(&fault).await,
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
        let before = self.parts.source.received_at(self.id, to).await.ok();
        let time = |seconds: Option<i64>| {
            let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            time.map_or_else(|| "unknown".to_owned(), |time| time.to_string())
        };
        error!(
            shard = %self.id, %from, %to, received_after = %time(after), received_before = %time(before), %cause,
            "logs were missed: the position is no longer retained, going on with the oldest log there is"
        );
    }

    /// Runs the hook over a page. `None`: a log failed, and the shard stands still.
    async fn make(
        &self,
        mut hook: Hook,
        mut page: Page,
        breaker: &mut Breaker,
        told: &mut ErrorThrottle,
    ) -> Option<(Hook, Result<Goods, Torn>)> {
        if page.body.is_empty() {
            let batch = Batch { page, events: Events::default(), logs: 0, dropped: 0 };
            self.account.pulled(0, 0, None);
            return Some((hook, Ok((batch, Vec::new()))));
        }
        let mut trouble = self.trouble("go past a page on which the script fails");
        let mut counted = false;
        loop {
            // The panic of a hook thread is this task's: the group starts the shard again from its checkpoint.
            let ran = self.parts.hooks.run(hook, page).await.unwrap_or_else(|panic| panic!("{panic}"));
            let made = match ran.made {
                Ok(made) => made,
                Err(fault) => {
                    let cause = Cause::new(format!("the page at {} cannot be read: {fault}", ran.page.cursor));
                    return Some((ran.hook, Err(Torn { cursor: ran.page.cursor, cause })));
                }
            };
            (hook, page) = (ran.hook, ran.page);
            if !counted {
                self.account.pulled(made.logs, page.body.len(), page.received_at);
                counted = true;
            }
            match self.judge(&page, made, breaker, told) {
                Judged::Goes(made, failed) => {
                    trouble.over();
                    self.account.goes_on(Wait::Script);
                    let batch = Batch { page, events: made.events, logs: made.logs, dropped: made.dropped };
                    return Some((hook, Ok((batch, failed))));
                }
                Judged::Halts => return None,
                Judged::Waits(why) => {
                    self.account.waits(Wait::Script, why.clone());
                    let _ = trouble.next(&SourceError::Refused(Cause::new(why)), Instant::now());
                    sleep(PAUSED_RETRY_INTERVAL).await;
                    // It may be the state of the script that is broken.
                    if let Ok(fresh) = self.parts.hooks.load(self.id) {
                        hook = fresh;
                    }
                }
            }
        }
    }

    /// Does with the logs that the script failed on what the settings say.
    fn judge(&self, page: &Page, mut made: Made, breaker: &mut Breaker, told: &mut ErrorThrottle) -> Judged {
        let failed = std::mem::take(&mut made.failed);
        let Some(first) = failed.first() else {
            let _clean = breaker.admit(Instant::now(), made.logs, 0);
            return Judged::Goes(made, failed);
        };
        let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
        let first = format!("log {} of the page at {}: {}", first.log, page.cursor, first.error);
        let letters = match self.parts.letters.on_error {
            OnError::DeadLetter => failed,
            OnError::Halt => {
                self.tell(page, &failed, "held: the shard stands still", told);
                self.halt(count, first);
                return Judged::Halts;
            }
            OnError::Pass => {
                let PassedOn { events, passed, left } = self.parts.hooks.pass(page, &made.events, failed);
                self.tell(page, &passed, "sent as it is", told);
                made.events = events;
                left
            }
            OnError::Drop => {
                self.tell(page, &failed, "dropped", told);
                made.dropped += count;
                Vec::new()
            }
        };
        let count = u32::try_from(letters.len()).unwrap_or(u32::MAX);
        match breaker.admit(Instant::now(), made.logs, count) {
            Ok(()) => {
                self.tell(page, &letters, "kept as a dead letter", told);
                Judged::Goes(made, letters)
            }
            Err(excess) => {
                self.tell(page, &letters, "held: the page is tried again", told);
                Judged::Waits(format!(
                    "the script fails on {excess}, too many for dead letters; the position is held and the page tried \
                     again every {PAUSED_RETRY_INTERVAL:?}; {first}"
                ))
            }
        }
    }

    /// Says which logs the script failed on, and what becomes of them.
    fn tell(&self, page: &Page, failed: &[Failed], fate: &str, told: &mut ErrorThrottle) {
        for Failed { log, error } in failed {
            let which = format_args!("log {log} of the page at {} of shard {}", page.cursor, self.id);
            if let Some(words) = told.words(error, which, fate, Instant::now()) {
                let logs = failed.len();
                warn!(shard = %self.id, cursor = %page.cursor, log, logs, "the script failed on a log: {words}");
            }
        }
    }
}

/// What a page came to: a batch, and the logs of it that are to become dead letters.
type Goods = (Batch, Vec<Failed>);

/// What is to become of a page.
enum Judged {
    Goes(Made, Vec<Failed>),
    Waits(String),
    Halts,
}

/// A page that is not what it should be.
struct Torn {
    cursor: Cursor,
    cause: Cause,
}

/// How many log groups like those of `page` make one of about [`PAGE_TARGET`].
fn fitting_groups(page: &Page) -> Option<u32> {
    let fit = (PAGE_TARGET as u64 * u64::from(page.groups)).checked_div(page.body.len() as u64)?;
    (page.groups > 0).then(|| u32::try_from(fit).unwrap_or(u32::MAX).max(1))
}
