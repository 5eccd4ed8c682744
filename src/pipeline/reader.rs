//! The reader of a shard: pull → hook.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, warn};

use super::in_flight::{FromReader, InFlight};
use super::page_size::{MANY_IN_FLIGHT, PageSize, Reserve, SHORT_PART};
use super::parts::{PageRunner, RemainingPage};
use super::room::Rooms;
use super::surplus::Surplus;
use super::{ReaderEnd, Shard};
use crate::core::batch::Part;
use crate::core::budget::Credit;
use crate::core::cause::{Cause, Retry};
use crate::core::cursor::{Bound, Cursor, Start};
use crate::core::ledger::Ask;
use crate::core::page::Page;
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source, SourceError};
use crate::destination::Destination;
use crate::script::{Failed, Hook};

impl<S: Source, K: Destination> Shard<S, K> {
    /// Pulls pages from `cursor` on and sends the batches of the hook to the deliverer.
    pub(super) async fn run_reader(&self, mut cursor: Cursor, hook: Hook, slot: mpsc::Sender<FromReader>) -> ReaderEnd {
        let surplus = Surplus::new(self.pipeline.hooks.most_bytes_of_log());
        let mut reader = Reader {
            script: PageRunner::new(hook, self.pipeline.dead_letters.max_share, surplus),
            size: PageSize::new(self.pipeline.pace.page_groups),
            pull_log: self.retry_log("pull"),
            bound: None,
            had_logs: Instant::now(),
        };
        loop {
            match self.read_page(&mut reader, &cursor, &slot).await {
                Ok(next) => cursor = next,
                Err(end) => return end,
            }
        }
    }

    /// Pulls one page from `cursor` on, runs the hook over it, and sends the batches. Returns the cursor of the next
    /// pull: the same one if the page must be pulled again.
    async fn read_page(
        &self,
        reader: &mut Reader,
        cursor: &Cursor,
        slots: &mpsc::Sender<FromReader>,
    ) -> Result<Cursor, ReaderEnd> {
        self.stop.or(self.look_ahead(reader, cursor, slots)).await.ok_or(ReaderEnd::Stopped)??;
        // A pull in progress is dropped when the shard is asked to stop; it has no effect on the server.
        let pulled = self.stop.or(self.pull_page(reader, cursor, slots)).await.ok_or(ReaderEnd::Stopped)??;
        let Some(Pulled { page, reserved, slot }) = pulled else { return Ok(cursor.clone()) };
        let next = page.next.clone();
        let pause = self.pause_after(reader, &page, Instant::now());
        // Cursors that are not numbers cannot be compared with the end.
        if page.is_idle() && reader.bound.as_ref().is_some_and(|bound| bound.is_final && page.next.number().is_none()) {
            return Err(ReaderEnd::Past);
        }
        if page.is_idle() {
            drop(reserved);
            if reader.size.on_idle() {
                slot.send(FromReader::Idle);
            }
        } else {
            reader.size.on_page(&page);
            if !self.send_page(reader, Pulled { page, reserved, slot }, slots).await? {
                return Ok(cursor.clone());
            }
        }
        if let Some(pause) = pause {
            self.stop.or(sleep(pause)).await.ok_or(ReaderEnd::Stopped)?;
        }
        Ok(next)
    }

    /// Waits until there may be something to read before the end of the shard, if it has one.
    async fn look_ahead(
        &self,
        reader: &mut Reader,
        cursor: &Cursor,
        slots: &mpsc::Sender<FromReader>,
    ) -> Result<(), ReaderEnd> {
        let Some(until) = self.pipeline.pace.until else { return Ok(()) };
        loop {
            if let Some(bound) = &reader.bound {
                if !bound.is_reached(cursor) {
                    return Ok(());
                }
                if bound.is_final {
                    return Err(ReaderEnd::Past);
                }
                slots.send(FromReader::Idle).await.map_err(|_| ReaderEnd::Stopped)?;
                sleep(self.pipeline.pace.fetch_interval.after(reader.had_logs.elapsed())).await;
            }
            match self.pipeline.source.bound(self.id, until).await {
                Ok(bound) => {
                    reader.pull_log.recovered();
                    self.account.works(Ask::Pull);
                    reader.bound = Some(bound);
                }
                Err(SourceError::Lost(cause)) => {
                    warn!(shard = %self.name, %cause, "shard lost");
                    return Err(ReaderEnd::Lost);
                }
                Err(fault) => {
                    self.account.fails(Ask::Pull, &fault, Instant::now());
                    reader.pull_log.pause_after(&fault).await;
                }
            }
        }
    }

    /// Pulls one page. `None`: it must be tried again.
    async fn pull_page<'a>(
        &self,
        reader: &mut Reader,
        cursor: &Cursor,
        slots: &'a mpsc::Sender<FromReader>,
    ) -> Result<Option<Pulled<'a>>, ReaderEnd> {
        let slot = slots.reserve().await.map_err(|_| ReaderEnd::Stopped)?;
        let mut reserved = match reader.size.reserve() {
            Reserve::About(bytes) if self.is_short_of_memory() => {
                self.pipeline.budget.take_about(bytes / SHORT_PART).await
            }
            Reserve::About(bytes) => self.pipeline.budget.take_about(bytes).await,
            Reserve::All(bytes) => self.pipeline.budget.take(bytes).await,
        };
        let groups = reader.size.groups(reserved.bytes());
        let asked = Instant::now();
        let page = match self.pull(cursor, groups, reader.bound.as_ref(), &mut reserved).await {
            Ok(_) if self.pipeline.source.deletions() != self.deletions => {
                warn!(shard = %self.name, "shard lost: the logstore was deleted and created again");
                return Err(ReaderEnd::Lost);
            }
            Ok(page) => {
                self.account.timings.pull.observe(asked.elapsed(), 1);
                page
            }
            Err(SourceError::Lost(cause)) => {
                warn!(shard = %self.name, %cause, "shard lost");
                return Err(ReaderEnd::Lost);
            }
            Err(SourceError::Stale(cause)) => {
                // With the group and its logstore, the logs would be deleted, not expired.
                if let Err(SourceError::Lost(cause)) = self.pipeline.source.checkpoint(self.id).await {
                    warn!(shard = %self.name, %cause, "shard lost");
                    return Err(ReaderEnd::Lost);
                }
                let (oldest, end) = self.retained().await.ok_or(ReaderEnd::Lost)?;
                if cursor.is_within(&oldest, &end) {
                    drop((slot, reserved));
                    let cause = Cause::new(format!("SLS refuses a cursor whose logs it still has: {cause}"));
                    let error = SourceError::Busy { retry_after: None, cause };
                    self.account.fails(Ask::Pull, &error, Instant::now());
                    reader.pull_log.pause_after(&error).await;
                    return Ok(None);
                }
                self.say_missed(cursor, &oldest, &cause).await;
                self.gap(cursor.clone(), oldest)
            }
            Err(SourceError::NoRoom { bytes, .. }) => {
                // The reservation is returned before waiting for a larger one.
                reader.size.on_no_room(groups, reserved.bytes(), bytes);
                return Ok(None);
            }
            Err(error) => {
                drop((slot, reserved));
                self.account.fails(Ask::Pull, &error, Instant::now());
                reader.pull_log.pause_after(&error).await;
                return Ok(None);
            }
        };
        reader.pull_log.recovered();
        self.account.works(Ask::Pull);
        Ok(Some(Pulled { page, reserved, slot }))
    }

    /// Whether the next page should be smaller than usual.
    fn is_short_of_memory(&self) -> bool {
        self.pipeline.budget.is_half_used() && self.in_flight.load(Ordering::Relaxed) < MANY_IN_FLIGHT
    }

    /// Sends the batches of a page, part by part. Returns whether all were sent; otherwise the page must be pulled
    /// again.
    ///
    /// Once a part is in flight, a stop also waits for the remaining parts: the checkpoint cannot be saved between
    /// them, so the sent part would be repeated.
    async fn send_page(
        &self,
        reader: &mut Reader,
        pulled: Pulled<'_>,
        slots: &mpsc::Sender<FromReader>,
    ) -> Result<bool, ReaderEnd> {
        let Pulled { page, reserved, mut slot } = pulled;
        let bytes = page.weight();
        let mut rooms = Rooms::new(&self.pipeline.budget, reserved, bytes, page.packed_weight());
        let mut rest = RemainingPage::of(page);
        loop {
            let mut room = rooms.next().await;
            let (mut batch, dead_letters) = match self.make(&mut reader.script, &mut rest, &room).await? {
                Ok(made) => made,
                Err(unreadable) => {
                    // The next pull may return it undamaged.
                    drop((slot, room, rooms));
                    let cause = Cause::new(unreadable.to_string());
                    self.stop.or(reader.pull_log.pause(&cause, Retry::SOON)).await.ok_or(ReaderEnd::Stopped)?;
                    return Ok(false);
                }
            };
            let Part { first, is_last } = batch.part;
            let weight = batch.weight() + dead_letters.iter().map(Failed::weight).sum::<usize>();
            let surplus = room.fill(weight, is_last);
            if batch.logs > 0 {
                reader.script.surplus.measured(surplus);
            }
            rooms.share(&room, &batch.outputs);
            if first == 0 {
                reader.size.on_batch(bytes + weight);
            }
            // Only a dead letter needs the original log again.
            batch.page.pack();
            let script = reader.script.version();
            slot.send(FromReader::Batch(InFlight { batch: Arc::new(batch), script, dead_letters, room }));
            if is_last {
                return Ok(true);
            }
            self.account.cut();
            slot = slots.reserve().await.map_err(|_| ReaderEnd::Stopped)?;
        }
    }

    async fn pull(
        &self,
        cursor: &Cursor,
        groups: u32,
        bound: Option<&Bound>,
        room: &mut Credit,
    ) -> Result<Page, SourceError> {
        let until = bound.map(|bound| &bound.cursor);
        let page = self.pipeline.source.pull(self.id, cursor, groups, until, room).await?;
        self.account.received(page.wire_bytes);
        let what = if page.next == page.cursor && !page.body.is_empty() {
            "sent logs but no progress: the next cursor of"
        } else if page.goes_back() {
            "went back: the next cursor of"
        } else if bound.is_some_and(|bound| bound.is_passed(&page.next)) {
            "sent logs after the requested end: the next cursor of"
        } else {
            return Ok(page);
        };
        let cause = Cause::new(format!("SLS {what} {cursor} is {}", page.next));
        Err(SourceError::Busy { retry_after: None, cause })
    }

    /// How long to wait before the next pull; `None` while there is more.
    fn pause_after(&self, reader: &mut Reader, page: &Page, now: Instant) -> Option<Duration> {
        if !page.body.is_empty() {
            reader.had_logs = now;
        }
        let at_end = page.is_idle() || page.at_end == Some(true);
        at_end.then(|| self.pipeline.pace.fetch_interval.after(now - reader.had_logs))
    }

    /// The range of the logs that SLS has: the oldest one, and the end. `None`: the shard does not belong to us.
    async fn retained(&self) -> Option<(Cursor, Cursor)> {
        let mut retry_log = self.retry_log("find the oldest log");
        let source = &self.pipeline.source;
        loop {
            let range = async {
                let oldest = source.cursor(self.id, Start::Begin).await?;
                Ok((oldest, source.cursor(self.id, Start::End).await?))
            };
            match range.await {
                Ok(range) => return Some(range),
                Err(SourceError::Lost(_)) => return None,
                Err(error) => retry_log.pause_after(&error).await,
            }
        }
    }

    /// The cursor has expired: the logs between it and the oldest retained log are lost, and the shard continues there.
    /// A gap as an empty page, so that the checkpoint passes it even if no log follows. It is marked as the last
    /// page, so that a server that rejects every cursor is not asked again at once.
    fn gap(&self, from: Cursor, to: Cursor) -> Page {
        Page { at_end: Some(true), ..Page::empty(self.id, from, to) }
    }

    /// Counts and reports a gap, with the range of receive times of the lost logs as far as known: from the newest
    /// log that this process delivered to the oldest one that is still there.
    async fn say_missed(&self, from: &Cursor, to: &Cursor, cause: &Cause) {
        self.account.missed();
        let after = self.account.read().durable_to;
        let before = self.pipeline.source.received_at(self.id, to).await.ok();
        debug!(shard = %self.name, %from, %to, "a gap");
        let time = |seconds: Option<i64>| {
            let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            time.map_or_else(|| "unknown".to_owned(), |time| time.to_string())
        };
        error!(
            shard = %self.name, received_after = %time(after), received_before = %time(before), %cause,
            "GAP: logs expired in SLS before they were pulled; continuing with the oldest log"
        );
    }
}

/// The state of a reader between pages.
struct Reader {
    script: PageRunner,
    size: PageSize,
    pull_log: RetryLog,
    /// Where the shard ends, as far as known.
    bound: Option<Bound>,
    /// When the last page with logs arrived, or when the work on the shard began.
    had_logs: Instant,
}

/// A received page.
struct Pulled<'a> {
    page: Page,
    /// The memory reserved before the pull.
    reserved: Credit,
    /// The slot to the deliverer.
    slot: mpsc::Permit<'a, FromReader>,
}
