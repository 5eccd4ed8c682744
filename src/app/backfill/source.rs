//! The logstore as a source of a backfill, which owns every shard and keeps its checkpoints in a file. The consumer
//! group is neither changed nor read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::positions::Positions;
use super::rate::Rate;
use crate::core::budget::Credit;
use crate::core::cause::Cause;
use crate::core::cursor::{Bound, Cursor, ShardId, Start};
use crate::core::page::Page;
use crate::core::source::{Checkpoint, Source, SourceError};
use crate::sls::Sls;

/// How long the lease lasts without a heartbeat. No other process competes for the shards.
pub(super) const TENURE: Duration = Duration::from_secs(3_600);

/// Consumer name of saved positions.
const NAME: &str = "this backfill";

/// A range of a logstore, independent of its consumer group.
#[derive(Debug, Clone)]
pub struct Beside {
    /// The logstore.
    pub sls: Arc<Sls>,
    /// The positions.
    pub positions: Arc<Positions>,
    /// The shards that existed at the start: shards of later splits and merges have only later logs.
    pub shards: Arc<BTreeSet<ShardId>>,
    /// The rate limit.
    pub rate: Arc<Rate>,
}

impl Source for Beside {
    async fn ensure_group(&self) -> Result<Duration, SourceError> {
        Ok(TENURE)
    }

    async fn heartbeat(&self, _: &BTreeSet<ShardId>) -> Result<BTreeSet<ShardId>, SourceError> {
        Ok((*self.shards).clone())
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, SourceError> {
        let position = self.positions.get(shard);
        Ok(position.map(|cursor| Checkpoint { cursor, consumer: NAME.to_owned() }))
    }

    async fn received_at(&self, shard: ShardId, cursor: &Cursor) -> Result<i64, SourceError> {
        self.sls.received_at(shard, cursor).await
    }

    fn consumer(&self) -> &str {
        NAME
    }

    fn deletions(&self) -> u64 {
        self.sls.deletions()
    }

    async fn save(&self, shard: ShardId, cursor: &Cursor) -> Result<(), SourceError> {
        self.positions.save(shard, cursor).await.map_err(|error| SourceError::Busy {
            retry_after: None,
            cause: Cause::new(format!("the position cannot be written to the state directory: {error}")),
        })
    }

    async fn cursor(&self, shard: ShardId, start: Start) -> Result<Cursor, SourceError> {
        self.sls.cursor(shard, start).await
    }

    async fn bound(&self, shard: ShardId, until: Start) -> Result<Bound, SourceError> {
        self.sls.bound(shard, until).await
    }

    async fn progress(&self) -> Result<BTreeMap<ShardId, Option<Cursor>>, SourceError> {
        Ok(self.shards.iter().map(|shard| (*shard, self.positions.get(*shard))).collect())
    }

    async fn pull(
        &self,
        shard: ShardId,
        cursor: &Cursor,
        groups: u32,
        until: Option<&Cursor>,
        room: &mut Credit,
    ) -> Result<Page, SourceError> {
        let turn = self.rate.turn(shard, groups).await;
        let page = self.sls.pull(shard, cursor, turn.groups, until, room).await?;
        turn.took(page.groups, page.body.len());
        Ok(page)
    }
}
