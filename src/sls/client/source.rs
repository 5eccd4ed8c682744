//! The client as a source of logs for the pipeline and the group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{FirstLook, Sls, server_date};
use crate::core::budget::Credit;
use crate::core::cause::Cause;
use crate::core::cursor::{Bound, Cursor, ShardId, Start};
use crate::core::page::Page;
use crate::core::printable::excerpt;
use crate::core::source::{Checkpoint, Source, SourceError};
use crate::sls::api;
use crate::sls::api::{Group, ReadError};
use crate::sls::group_start::ShardStart;
use crate::sls::message::{Call, Reply};
use crate::sls::unpack::UnpackError;

/// Seconds after which no new log gets an earlier receive time: the clocks of servers differ a little.
const SETTLING: i64 = 5;

/// Maximum time that a look at the checkpoints adds to a heartbeat.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

enum Pulled {
    Page(Page),
    TooLarge(UnpackError),
}

impl Source for Sls {
    async fn ensure_group(&self) -> Result<Duration, SourceError> {
        if let Some(first) = self.first_look.get() {
            self.look_again(first).await?;
        }
        match self.find_group().await? {
            Some(group) => self.settle_group(group).await,
            None => {
                self.ask(&api::build_create_group(&self.config), |_| Ok(())).await?;
                // Another member may have created it first, with its own settings.
                let group = self.find_group().await?.ok_or_else(|| SourceError::Busy {
                    retry_after: None,
                    cause: Cause::new(format!("the consumer group {} is created but not listed", self.config.group)),
                })?;
                self.settle_group(group).await
            }
        }
    }

    async fn heartbeat(&self, held: &BTreeSet<ShardId>) -> Result<BTreeSet<ShardId>, SourceError> {
        let assigned = self.ask(&api::build_heartbeat(&self.config, held), api::read_heartbeat).await?;
        self.note(self.signs().heartbeat(Instant::now(), self.config.group_timeout));
        if held.is_empty() && assigned.is_empty() && self.first_look.get().is_some() && self.signs().has_seen_none() {
            // Without a shard to acquire, nothing waits for this. The next heartbeat looks again.
            let _ = timeout(LOOK_TIMEOUT, self.checkpoints()).await;
        }
        Ok(assigned)
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, SourceError> {
        let request = api::build_checkpoint(&self.config, shard);
        let known = self.signs().known().intersection(&[shard].into()).copied().collect();
        let saved = self.ask(&request, |reply| api::read_checkpoint(reply, shard)).await?;
        self.note(self.signs().look(&known, saved.iter().map(|_| shard)));
        Ok(saved)
    }

    async fn received_at(&self, shard: ShardId, cursor: &Cursor) -> Result<i64, SourceError> {
        let request = api::build_cursor_time(&self.config, shard, cursor);
        self.ask(&request, api::read_cursor_time).await
    }

    fn consumer(&self) -> &str {
        &self.config.consumer
    }

    fn deletions(&self) -> u64 {
        self.errors.missing_logstores()
    }

    async fn save(&self, shard: ShardId, cursor: &Cursor) -> Result<(), SourceError> {
        self.ask(&api::build_save(&self.config, shard, cursor), |_| Ok(())).await?;
        self.signs().save(shard);
        Ok(())
    }

    async fn cursor(&self, shard: ShardId, start: Start) -> Result<Cursor, SourceError> {
        let first_look = self.first_look.get().filter(|_| start == Start::End);
        if first_look.is_some() {
            // The group may have been created again unnoticed.
            self.checkpoints().await?;
        }
        let first_start = first_look.map(|first| {
            // Whether this client or another one of the process got this reply.
            if self.errors.missing_logstores() > first.deletions {
                return ShardStart::Position(Start::Begin);
            }
            first.group.of(shard, self.errors.possible_new_groups() > first.possible_new_groups)
        });
        let start = match first_start {
            Some(ShardStart::At(cursor)) => return Ok(cursor),
            Some(ShardStart::Position(start)) => start,
            None => start,
        };
        self.ask(&api::build_cursor(&self.config, shard, start), api::read_cursor).await
    }

    /// A time is final when the server's clock is well past it.
    async fn bound(&self, shard: ShardId, until: Start) -> Result<Bound, SourceError> {
        let read = |reply: &Reply| Ok((api::read_cursor(reply)?, server_date(reply)));
        let (cursor, date) = self.ask(&api::build_cursor(&self.config, shard, until), read).await?;
        let now = date.unwrap_or_else(|| self.server_now());
        let is_final = match until {
            Start::Begin | Start::End => true,
            Start::Time(second) => now >= second + SETTLING,
        };
        Ok(Bound { cursor, is_final })
    }

    /// Without the right to list shards, only those with a checkpoint in the group: a shard without one is missing.
    async fn progress(&self) -> Result<BTreeMap<ShardId, Option<Cursor>>, SourceError> {
        let shards = match self.shards().await {
            Err(SourceError::Refused(cause)) => {
                if !self.shards_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "the shards cannot be listed, so a shard that nobody has read yet is not waited for: grant \
                         log:ListShards on the logstore; {cause}"
                    );
                }
                Vec::new()
            }
            listed => listed?,
        };
        let mut progress: BTreeMap<_, _> = shards.into_iter().map(|shard| (ShardId(shard.id), None)).collect();
        for saved in self.checkpoints().await? {
            progress.insert(ShardId(saved.shard), Some(saved.cursor));
        }
        Ok(progress)
    }

    /// A page above the size limit is pulled again with half the log groups, down to one.
    async fn pull(
        &self,
        shard: ShardId,
        cursor: &Cursor,
        groups: u32,
        until: Option<&Cursor>,
        room: &mut Credit,
    ) -> Result<Page, SourceError> {
        let mut groups = groups;
        loop {
            match self.pull_groups(shard, cursor, groups, until, room).await? {
                Pulled::Page(page) => return Ok(page),
                Pulled::TooLarge(_) if groups > 1 => groups /= 2,
                Pulled::TooLarge(error) => {
                    return Err(SourceError::Refused(Cause {
                        what: format!(
                            "pull of one log group from shard {shard} at {}: {error}",
                            excerpt(cursor.as_str())
                        ),
                        hint: Some("a single write is larger than any SLS accepts: look for a proxy in between"),
                    }));
                }
            }
        }
    }
}

impl Sls {
    /// Pulls at most `groups` log groups.
    async fn pull_groups(
        &self,
        shard: ShardId,
        cursor: &Cursor,
        groups: u32,
        until: Option<&Cursor>,
        room: &mut Credit,
    ) -> Result<Pulled, SourceError> {
        let request = api::build_pull(&self.config, shard, cursor, groups, until);
        let reply = self.send(&request, Some(room)).await?;
        let id = reply.header("x-log-requestid").map(str::to_owned);
        match api::read_pull(&self.config, shard, cursor, reply, &room.buffers()) {
            Ok(page) => {
                // All ages of logs are computed with our clock.
                let received_at = page.received_at.map(|second| self.by_our_clock(second));
                Ok(Pulled::Page(Page { received_at, ..page }))
            }
            Err(ReadError::Body(error @ UnpackError::TooLarge(_))) => Ok(Pulled::TooLarge(error)),
            Err(error) => Err(self.unreadable(Call::Pull, &error, id.as_deref())),
        }
    }

    /// Notices whether the logstore was deleted and created again. Without the permission, only a call that meets the
    /// logstore while it is away shows that.
    async fn look_again(&self, first: &FirstLook) -> Result<(), SourceError> {
        let shards = match self.shards().await {
            Err(SourceError::Refused(_)) => return Ok(()),
            listed => listed?,
        };
        if self.errors.missing_logstores() == first.deletions && first.group.is_of_another_logstore(&shards) {
            self.errors.count_missing_logstore();
        }
        Ok(())
    }

    /// Updates an existing group to match the settings if that is allowed, otherwise logs the difference.
    async fn settle_group(&self, found: Group) -> Result<Duration, SourceError> {
        let wanted = api::configured_group(&self.config);
        if found == wanted {
            return Ok(found.timeout());
        }
        if self.config.manage_group {
            self.ask(&api::build_update_group(&self.config), |_| Ok(())).await?;
            let Group { name, timeout, order } = &wanted;
            tracing::info!("changed the consumer group {name} to a timeout of {timeout} s and order {order}");
            return Ok(wanted.timeout());
        }
        if !self.group_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the consumer group {} has a timeout of {} s and order {}, the settings say {} s and {}: those of the \
                group apply",
                excerpt(&found.name),
                found.timeout,
                found.order,
                wanted.timeout,
                wanted.order,
            );
        }
        Ok(found.timeout())
    }
}
