//! Read-only calls, for `forwarder check` and `forwarder status`: they create, join and save nothing.

use jiff::Timestamp;

use super::Sls;
use crate::core::budget::Buffers;
use crate::core::cause::Cause;
use crate::core::cursor::{Cursor, ShardId, Start};
use crate::core::source::SourceError;
use crate::core::wildcard;
use crate::sls::Config;
use crate::sls::api;
use crate::sls::api::{Group, LogstoreNames, ReadError, SavedAt, Shard};
use crate::sls::error::{Refusal, Verdict, busy, unreadable, verdict};
use crate::sls::message::{Call, Reply, Request};
use crate::sls::permissions::Permission;
use crate::sls::shard_state::ShardPlace;

/// A shard that no logstore has: a save for it is always refused.
const NO_SHARD: ShardId = ShardId(u32::MAX);

/// A consumer that no group has.
const NOBODY: &str = "forwarder-check";

/// Why a read failed.
#[derive(Debug)]
pub enum InspectError {
    /// The key is valid, but a permission is missing.
    Denied {
        /// The missing permission.
        permission: Permission,
        /// The message of the server.
        cause: Cause,
    },
    /// Anything else.
    Failed(SourceError),
}

impl Sls {
    /// Seconds by which the server's clock is ahead of ours, from the date of any reply. Requests are signed with the
    /// server's time from then on.
    ///
    /// # Errors
    /// There is no reply.
    pub async fn clock_ahead(&self) -> Result<Option<i64>, SourceError> {
        // A pattern is not the name of a logstore.
        let request = match wildcard::has_wildcards(&self.config.logstore) {
            true => api::build_list_logstores(0),
            false => api::build_list_shards(&self.config),
        };
        let key = self.keys.current().await?;
        let asked = Timestamp::now().as_second();
        let reply = self.in_time(request.call, self.attempt(&request, &key, None)).await?;
        Ok(self.clock.compare(asked, &reply))
    }

    /// The consumer groups of the logstore.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_groups(&self) -> Result<Vec<Group>, InspectError> {
        self.look(&api::build_list_groups(&self.config), api::read_groups).await
    }

    /// Our consumer group, if it exists.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_group(&self) -> Result<Option<Group>, InspectError> {
        Ok(self.inspect_groups().await?.into_iter().find(|group| group.name == self.config.group))
    }

    /// The shards of the logstore.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_shards(&self) -> Result<Vec<Shard>, InspectError> {
        self.look(&api::build_list_shards(&self.config), api::read_shards).await
    }

    /// The first of the project's logstores, to see whether they may be listed.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_logstores(&self) -> Result<LogstoreNames, InspectError> {
        self.look(&api::build_list_logstores(0), api::read_logstores).await
    }

    /// Days that the logstore keeps logs.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_retention(&self) -> Result<u32, InspectError> {
        self.look(&api::build_logstore(&self.config), api::read_retention).await
    }

    /// The checkpoints that were ever saved; `None` if there is no group.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_checkpoints(&self) -> Result<Option<Vec<SavedAt>>, InspectError> {
        match self.look(&api::build_checkpoints(&self.config), api::read_checkpoints).await {
            Ok(saved) => Ok(Some(saved)),
            Err(InspectError::Failed(SourceError::Lost(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The cursor at a position of a shard.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_cursor(&self, shard: ShardId, start: Start) -> Result<Cursor, InspectError> {
        self.look(&api::build_cursor(&self.config, shard, start), api::read_cursor).await
    }

    /// When the log group at a cursor was received, unix seconds; `None` if it has expired.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_cursor_time(&self, shard: ShardId, cursor: &Cursor) -> Result<Option<i64>, InspectError> {
        match self.look(&api::build_cursor_time(&self.config, shard, cursor), api::read_cursor_time).await {
            Ok(time) => Ok(Some(time)),
            Err(InspectError::Failed(SourceError::Stale(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is at a checkpoint or, without one, at the start position.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_place(
        &self,
        shard: ShardId,
        saved: Option<&Cursor>,
        start: Start,
    ) -> Result<ShardPlace, InspectError> {
        let start = match saved {
            Some(cursor) => cursor.clone(),
            None => self.inspect_cursor(shard, start).await?,
        };
        if self.inspect_cursor(shard, Start::End).await? == start {
            return Ok(ShardPlace::End);
        }
        Ok(self.inspect_cursor_time(shard, &start).await?.map_or(ShardPlace::Expired, ShardPlace::Log))
    }

    /// Reads at most one log group, so that the filter is tested too. This changes nothing.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_page(&self, shard: ShardId, cursor: &Cursor) -> Result<(), InspectError> {
        let request = api::build_pull(&self.config, shard, cursor, 1, None);
        self.look(&request, |reply| {
            api::read_pull(&self.config, shard, cursor, reply.clone(), &Buffers::none()).map(drop)
        })
        .await
    }

    /// Whether a checkpoint may be saved: tries to save one for a shard and a consumer that do not exist, so that the
    /// save is refused even with the permission.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_save_permission(&self) -> Result<(), InspectError> {
        let config = Config { consumer: NOBODY.to_owned(), ..self.config.clone() };
        self.is_allowed(&api::build_save(&config, NO_SHARD, &Cursor::from_number(0))).await
    }

    /// Whether heartbeats are allowed. Call it only while there is no group: otherwise the heartbeat would join it.
    ///
    /// # Errors
    /// [`InspectError`]
    pub async fn inspect_heartbeat_permission(&self) -> Result<(), InspectError> {
        let config = Config { consumer: NOBODY.to_owned(), ..self.config.clone() };
        self.is_allowed(&api::build_heartbeat(&config, &std::collections::BTreeSet::new())).await
    }

    /// Any reply except a refusal of the key means that the call is allowed.
    async fn is_allowed(&self, request: &Request) -> Result<(), InspectError> {
        match self.look(request, |_| Ok(())).await {
            Err(InspectError::Failed(
                SourceError::Lost(_) | SourceError::Stale(_) | SourceError::Refused(_) | SourceError::Absent(_),
            )) => Ok(()),
            other => other,
        }
    }

    async fn look<T>(
        &self,
        request: &Request,
        read: impl Fn(&Reply) -> Result<T, ReadError>,
    ) -> Result<T, InspectError> {
        loop {
            let key = self.keys.current().await.map_err(InspectError::Failed)?;
            let reply = self.in_time(request.call, self.attempt(request, &key, None)).await;
            let reply = reply.map_err(InspectError::Failed)?;
            if reply.status == 200 {
                let failed = |error| unreadable(request.call, &error, reply.header("x-log-requestid"));
                return read(&reply).map_err(|error| InspectError::Failed(failed(error)));
            }
            let refusal = Refusal::read(&reply);
            return Err(match verdict(request.call, &refusal) {
                Verdict::Signature(_) if self.turn_to_v4() => continue,
                Verdict::Key(SourceError::Refused(cause)) if refusal.is_permission() => {
                    InspectError::Denied { permission: Permission::of(request.call), cause }
                }
                Verdict::Key(error) | Verdict::Clock(error) | Verdict::Signature(error) | Verdict::Failed(error) => {
                    InspectError::Failed(error)
                }
                Verdict::AlreadyDone => {
                    unreachable!("only the creation of a group is done already, and a look creates none")
                }
            });
        }
    }

    async fn in_time(
        &self,
        call: Call,
        attempt: impl Future<Output = Result<Reply, SourceError>>,
    ) -> Result<Reply, SourceError> {
        let timeout = self.config.timeout;
        let late = |_| Err(busy(call, format!("no complete reply within {timeout:?}"), None));
        tokio::time::timeout(timeout, attempt).await.unwrap_or_else(late)
    }
}
