//! The paths of the calls.

use crate::core::cursor::ShardId;
use crate::sls::Config;
use crate::sls::percent::percent_encode;

pub(super) fn groups_path(config: &Config) -> String {
    format!("/logstores/{}/consumergroups", percent_encode(&config.logstore))
}

pub(super) fn group_path(config: &Config) -> String {
    format!("{}/{}", groups_path(config), percent_encode(&config.group))
}

pub(super) fn shards_path(config: &Config) -> String {
    format!("/logstores/{}/shards", percent_encode(&config.logstore))
}

pub(super) fn shard_path(config: &Config, shard: ShardId) -> String {
    format!("{}/{shard}", shards_path(config))
}
