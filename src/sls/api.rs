//! The calls of a consumer, each as two pure halves: `build_x` makes the request, `read_x` reads the reply.
//!
//! Source: Alibaba Cloud SLS API reference, the page named at each half. Where the reference and the vendor's SDKs
//! differ on a reply, both forms are accepted. Unknown fields are skipped.

mod checkpoint;
mod cursor;
mod group;
mod logstore;
mod paths;
mod pull;
mod reading;
mod shard;

pub use checkpoint::{
    SavedAt, build_checkpoint, build_checkpoints, build_forced_save, build_save, build_save_of, read_checkpoint,
    read_checkpoints,
};
pub use cursor::{build_cursor, build_cursor_time, read_cursor, read_cursor_time};
pub use group::{
    Group, build_create_group, build_heartbeat, build_list_groups, build_update_group, configured_group, read_groups,
    read_heartbeat,
};
pub use logstore::{
    LogstoreNames, MAX_LOGSTORES, build_list_logstores, build_logstore, kept_for, read_logstores, read_retention,
};
pub use pull::{build_pull, read_pull, read_raw_size};
pub(super) use reading::read_json;
pub use reading::{MAX_SHARDS, ReadError};
pub use shard::{Shard, build_list_shards, read_shards};

#[cfg(test)]
pub(super) mod tests;
