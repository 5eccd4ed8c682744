//! The calls about a consumer group and its consumers.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::paths::{group_path, groups_path};
use super::reading::{ReadError, bounded, is_object, read_json};
use crate::core::cursor::ShardId;
use crate::sls::Config;
use crate::sls::message::{Call, Method, Reply, Request};

/// A consumer group as configured on the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Seconds of silence after which a consumer loses its shards.
    pub timeout: NonZeroU32,
    /// Children of a split or merge wait for their parents.
    #[serde(default)]
    pub order: bool,
}

impl Group {
    /// [`Group::timeout`] as a duration.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.get().into())
    }
}

/// The group with the values of the settings. The server uses whole seconds: fractions are rounded up.
#[must_use]
pub fn configured_group(config: &Config) -> Group {
    let seconds = config.group_timeout.as_nanos().div_ceil(1_000_000_000);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    Group {
        name: config.group.clone(),
        timeout: NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN),
        order: config.in_order,
    }
}

/// "ListConsumerGroup".
#[must_use]
pub fn build_list_groups(config: &Config) -> Request {
    Request::new(Call::ListGroups, Method::Get, groups_path(config), vec![])
}

/// "ListConsumerGroup": a bare array, as all SDKs read it, or inside `consumerGroups`, as the reference shows it.
///
/// # Errors
/// Neither.
pub fn read_groups(reply: &Reply) -> Result<Vec<Group>, ReadError> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "consumerGroups")]
        groups: Vec<Group>,
    }
    if is_object(&reply.body) {
        return Ok(read_json::<Named>(&reply.body)?.groups);
    }
    read_json(&reply.body)
}

/// "CreateConsumerGroup". The reply has no body.
#[must_use]
pub fn build_create_group(config: &Config) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "consumerGroup")]
        name: &'a str,
        timeout: NonZeroU32,
        order: bool,
    }
    let group = configured_group(config);
    Request::new(Call::CreateGroup, Method::Post, groups_path(config), vec![]).json(&Body {
        name: &group.name,
        timeout: group.timeout,
        order: group.order,
    })
}

/// "UpdateConsumerGroup". The reply has no body.
#[must_use]
pub fn build_update_group(config: &Config) -> Request {
    #[derive(Serialize)]
    struct Body {
        order: bool,
        timeout: NonZeroU32,
    }
    let Group { order, timeout, .. } = configured_group(config);
    Request::new(Call::UpdateGroup, Method::Put, group_path(config), vec![]).json(&Body { order, timeout })
}

/// "ConsumerGroupHeartBeat": `held` are the shards that we still work on, including those being released.
#[must_use]
pub fn build_heartbeat(config: &Config, held: &BTreeSet<ShardId>) -> Request {
    let query = vec![("type", "heartbeat".into()), ("consumer", config.consumer.clone())];
    let ids: Vec<u32> = held.iter().map(|shard| shard.0).collect();
    Request::new(Call::Heartbeat, Method::Post, group_path(config), query).json(&ids)
}

/// "ConsumerGroupHeartBeat": the shards that we should hold, as a bare array or inside `shards`.
///
/// # Errors
/// Neither.
pub fn read_heartbeat(reply: &Reply) -> Result<BTreeSet<ShardId>, ReadError> {
    #[derive(Deserialize)]
    struct Named {
        shards: Vec<u32>,
    }
    let ids = if is_object(&reply.body) {
        read_json::<Named>(&reply.body)?.shards
    } else {
        read_json::<Vec<u32>>(&reply.body)?
    };
    Ok(bounded(ids)?.into_iter().map(ShardId).collect())
}
