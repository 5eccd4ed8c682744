//! The settings of the source: `[sls]`.

use std::time::Duration;

use super::key::{Default, Key, Kind, PLAIN, SECOND};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "sls.endpoint",
        default: Default::Required,
        flag: Some("endpoint"),
        also: &["SLS_ENDPOINT"],
        meaning: "SLS endpoint of the region, as https://cn-hangzhou.log.aliyuncs.com; without a scheme it is http",
        ..PLAIN
    },
    Key {
        name: "sls.project",
        default: Default::Required,
        flag: Some("project"),
        also: &["SLS_PROJECT"],
        meaning: "SLS project",
        ..PLAIN
    },
    Key {
        name: "sls.logstore",
        default: Default::Required,
        flag: Some("logstore"),
        also: &["SLS_LOGSTORE"],
        meaning: "logstore to read",
        ..PLAIN
    },
    Key {
        name: "sls.group",
        default: Default::Required,
        flag: Some("group"),
        also: &["SLS_CG"],
        known_as: &["consumer_group", "consumer_group_name"],
        meaning: "consumer group: processes with the same group share the shards; it is created when absent",
        ..PLAIN
    },
    Key {
        name: "sls.consumer",
        default: Default::Computed("{group}-{hostname}-{pid}, and a nonce when the pid is 1"),
        flag: Some("consumer"),
        known_as: &["consumer_name"],
        meaning: "our name in the group; no two live processes may share it",
        ..PLAIN
    },
    Key {
        name: "sls.access_key_id",
        also: &["SLS_AK_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID"],
        known_as: &["accessKeyId", "access_id"],
        meaning: "AccessKey ID",
        ..PLAIN
    },
    Key {
        name: "sls.access_key_secret",
        kind: Kind::EnvironmentSecret,
        also: &["SLS_AK_KEY", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        known_as: &["accessKey", "access_key"],
        meaning: "AccessKey secret; from the environment only",
        ..PLAIN
    },
    Key {
        name: "sls.security_token",
        kind: Kind::EnvironmentSecret,
        also: &["ALIBABA_CLOUD_SECURITY_TOKEN"],
        known_as: &["sts_token"],
        meaning: "STS token of a temporary AccessKey; from the environment only",
        ..PLAIN
    },
    Key {
        name: "sls.access_key_id_file",
        kind: Kind::Path,
        meaning: "file with the AccessKey ID, read again when it changes",
        ..PLAIN
    },
    Key {
        name: "sls.access_key_secret_file",
        kind: Kind::Path,
        meaning: "file with the AccessKey secret, read again when it changes",
        ..PLAIN
    },
    Key {
        name: "sls.security_token_file",
        kind: Kind::Path,
        meaning: "file with the STS token, read again when it changes",
        ..PLAIN
    },
    Key {
        name: "sls.start",
        kind: Kind::Start,
        default: Default::Is("begin"),
        flag: Some("start"),
        known_as: &["cursor_start_time", "cursor_position"],
        meaning: "where shards without a checkpoint start: begin, end, unix seconds, or a time such as \
                  2026-01-31 8:00:00+08:00 (without an offset: in the local time zone); a shard that comes of a split or \
                  merge while we run starts with its oldest log, also with end",
        ..PLAIN
    },
    Key {
        name: "sls.query",
        flag: Some("query"),
        meaning: "SPL that filters or trims at the source, as * | where status = '500'",
        ..PLAIN
    },
    Key {
        name: "sls.processor",
        meaning: "stored consume processor that filters at the source, in place of a query",
        ..PLAIN
    },
    Key {
        name: "sls.fetch_interval",
        kind: Kind::Seconds(Duration::from_millis(100)),
        default: Default::Is("1s"),
        known_as: &["data_fetch_interval"],
        meaning: "pause between two looks at a shard that has nothing new",
        ..PLAIN
    },
    Key {
        name: "sls.heartbeat_interval",
        kind: Kind::Seconds(SECOND),
        default: Default::Is("20s"),
        meaning: "time between two heartbeats to the group; at most a third of its timeout",
        ..PLAIN
    },
    Key {
        name: "sls.group_timeout",
        kind: Kind::Seconds(Duration::from_secs(2)),
        default: Default::Computed("three times sls.heartbeat_interval"),
        meaning: "silence after which SLS gives our shards to others; at least two heartbeats; written when the group is \
                  created",
        ..PLAIN
    },
    Key {
        name: "sls.save_interval",
        kind: Kind::Duration(Duration::from_millis(100)),
        default: Default::Is("1s"),
        known_as: &["checkpoint_timeout"],
        meaning: "least time between two saves of a shard's checkpoint",
        ..PLAIN
    },
    Key {
        name: "sls.in_order",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "read the children of a split or merged shard only after their parents; written when the group is created",
        ..PLAIN
    },
    Key {
        name: "sls.manage_group",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "change timeout and order of an existing group that has others",
        ..PLAIN
    },
    Key {
        name: "sls.page_groups",
        kind: Kind::Count(1, 1000),
        default: Default::Is("1000"),
        known_as: &["max_fetch_log_group_size"],
        meaning: "most log groups in one pull",
        ..PLAIN
    },
    Key {
        name: "sls.compression",
        kind: Kind::OneOf(&["lz4", "zstd", "none"]),
        default: Default::Is("lz4"),
        known_as: &["accept_compress_type"],
        meaning: "compression of what is pulled",
        ..PLAIN
    },
    Key {
        name: "sls.signature",
        kind: Kind::OneOf(&["v1", "v4"]),
        default: Default::Is("v1"),
        known_as: &["auth_version"],
        meaning: "signature version; v4 needs sls.region",
        ..PLAIN
    },
    Key { name: "sls.region", meaning: "region id for signature v4, as cn-hangzhou", ..PLAIN },
    Key {
        name: "sls.ca_file",
        kind: Kind::Path,
        meaning: "certificates (PEM) to trust for SLS besides the system's",
        ..PLAIN
    },
    Key {
        name: "sls.timeout",
        kind: Kind::Duration(SECOND),
        default: Default::Is("60s"),
        meaning: "longest time for one call to SLS",
        ..PLAIN
    },
];
