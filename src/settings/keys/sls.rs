//! The settings of the source: `[sls]`.

use std::path::PathBuf;
use std::time::Duration;

use super::choices::SignatureVersion;
use super::key::{Key, SECOND};
use super::row::{Row, Scope};
use crate::core::secret::Secret;
use crate::pipeline::FetchInterval;
use crate::sls::Compression;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[
    &ENDPOINT.row,
    &PROJECT.row,
    &LOGSTORE.row,
    &ENDPOINTS.row,
    &PROJECTS.row,
    &LOGSTORES.row,
    &GROUP.row,
    &CONSUMER.row,
    &ACCESS_KEY_ID.row,
    &ACCESS_KEY_SECRET.row,
    &SECURITY_TOKEN.row,
    &ACCESS_KEY_ID_FILE.row,
    &ACCESS_KEY_SECRET_FILE.row,
    &SECURITY_TOKEN_FILE.row,
    &START.row,
    &UNTIL.row,
    &WAIT.row,
    &QUERY.row,
    &PROCESSOR.row,
    &FETCH_INTERVAL.row,
    &HEARTBEAT_INTERVAL.row,
    &GROUP_TIMEOUT.row,
    &SAVE_INTERVAL.row,
    &IN_ORDER.row,
    &MANAGE_GROUP.row,
    &PAGE_GROUPS.row,
    &COMPRESSION.row,
    &SIGNATURE.row,
    &REGION.row,
    &CA_FILE.row,
    &TIMEOUT.row,
];

pub const ENDPOINT: Key<String> = Key::text("sls.endpoint")
    .required()
    .flag("endpoint")
    .also(&["SLS_ENDPOINT"])
    .means("SLS endpoint of the region, such as https://cn-hangzhou.log.aliyuncs.com; without a scheme it is http");

pub const PROJECT: Key<String> =
    Key::text("sls.project").required().flag("project").also(&["SLS_PROJECT"]).means("SLS project");

pub const LOGSTORE: Key<String> =
    Key::text("sls.logstore").required().flag("logstore").also(&["SLS_LOGSTORE"]).means("logstore to read, or a pattern such as audit-* (* any text, ? one character) for all logstores of the project that have such a name, looked up every minute");

pub const ENDPOINTS: Key<String> = Key::text("sls.endpoints").scope(Scope::Process).also(&["SLS_ENDPOINTS"]).means(
    "endpoints of several projects, separated by ;, as in the vendor's script for several logstores; prefer [[source]]",
);

pub const PROJECTS: Key<String> = Key::text("sls.projects")
    .scope(Scope::Process)
    .also(&["SLS_PROJECTS"])
    .means("projects of sls.endpoints, separated by ;, in the same order");

pub const LOGSTORES: Key<String> = Key::text("sls.logstores")
    .scope(Scope::Process)
    .also(&["SLS_LOGSTORES"])
    .means("logstores of sls.projects, separated by ;, and those of one project by a comma");

pub const GROUP: Key<String> = Key::text("sls.group")
    .required()
    .flag("group")
    .also(&["SLS_CG"])
    .known_as(&["consumer_group", "consumer_group_name"])
    .means("consumer group: processes with the same group share the shards; it is created if it does not exist");

pub const CONSUMER: Key<String> = Key::text("sls.consumer")
    .computed("{group}-{hostname}-{id}, with an id kept in state.dir")
    .flag("consumer")
    .known_as(&["consumer_name"])
    .means("name of this process in the group; no two live processes may share it");

pub const ACCESS_KEY_ID: Key<String> = Key::text("sls.access_key_id")
    .also(&["SLS_AK_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID"])
    .known_as(&["accessKeyId", "access_id"])
    .means("AccessKey ID");

pub const ACCESS_KEY_SECRET: Key<Secret> = Key::environment_secret("sls.access_key_secret")
    .also(&["SLS_AK_KEY", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
    .known_as(&["accessKey", "access_key"])
    .means("AccessKey secret; from the environment only");

pub const SECURITY_TOKEN: Key<Secret> = Key::environment_secret("sls.security_token")
    .also(&["ALIBABA_CLOUD_SECURITY_TOKEN"])
    .known_as(&["sts_token"])
    .means("STS token of a temporary AccessKey; from the environment only");

pub const ACCESS_KEY_ID_FILE: Key<PathBuf> =
    Key::path("sls.access_key_id_file").means("file with the AccessKey ID; read again when it changes");

pub const ACCESS_KEY_SECRET_FILE: Key<PathBuf> =
    Key::path("sls.access_key_secret_file").means("file with the AccessKey secret; read again when it changes");

pub const SECURITY_TOKEN_FILE: Key<PathBuf> =
    Key::path("sls.security_token_file").means("file with the STS token; read again when it changes");

pub const START: Key<String> =
    Key::start("sls.start").default("begin").flag("start").known_as(&["cursor_start_time", "cursor_position"]).means(
        "where shards without a checkpoint start: begin, end, unix seconds, a span such as -2h, or a time such as \
         2026-01-31 8:00:00+08:00 (without an offset: in the local time zone); a shard created by a split or merge \
         after the group was created starts with its oldest log, even with end",
    );

pub const UNTIL: Key<String> = Key::start("sls.until").flag("until").means(
    "where every shard ends, with the values of sls.start, by the time at which SLS receives the logs; end is the \
     time of the process's start. Logs received at that time or later are not read, and the process ends when all \
     shards of the group are past it",
);

pub const WAIT: Key<bool> = Key::switch("sls.wait")
    .default("false")
    .means("wait for a project or logstore that does not exist yet, instead of ending with an error");

pub const QUERY: Key<String> = Key::text("sls.query")
    .flag("query")
    .means("SPL that filters or trims logs at the source, such as * | where status = '500'");

pub const PROCESSOR: Key<String> =
    Key::text("sls.processor").means("stored consume processor that filters at the source, instead of a query");

pub const FETCH_INTERVAL: Key<FetchInterval> = Key::interval("sls.fetch_interval", Duration::from_millis(100))
    .default("1s")
    .known_as(&["data_fetch_interval"])
    .means(
        "pause between two pulls of a shard that has no new logs; 100ms..1s: 100 ms while logs arrive, and longer without \
         logs, up to 1 s",
    );

pub const HEARTBEAT_INTERVAL: Key<Duration> = Key::seconds("sls.heartbeat_interval", SECOND)
    .default("20s")
    .means("time between two heartbeats to the group; at most a third of its timeout");

pub const GROUP_TIMEOUT: Key<Duration> =
    Key::seconds("sls.group_timeout", Duration::from_secs(2)).computed("three times sls.heartbeat_interval").means(
        "time without a heartbeat after which SLS gives the shards of a process to others; at least two heartbeats; \
         set when the group is created",
    );

pub const SAVE_INTERVAL: Key<Duration> = Key::duration("sls.save_interval", Duration::from_millis(100))
    .default("1s")
    .known_as(&["checkpoint_timeout"])
    .means("minimum time between two saves of a shard's checkpoint");

pub const IN_ORDER: Key<bool> = Key::switch("sls.in_order")
    .default("false")
    .means("read the children of a split or merged shard only after their parents; set when the group is created");

pub const MANAGE_GROUP: Key<bool> = Key::switch("sls.manage_group")
    .default("false")
    .means("update timeout and order of an existing group when they differ from these settings");

pub const PAGE_GROUPS: Key<u32> = Key::count("sls.page_groups", 1, 1000)
    .default("1000")
    .known_as(&["max_fetch_log_group_size"])
    .means("maximum number of log groups in one pull");

pub const COMPRESSION: Key<Compression> = Key::choice("sls.compression")
    .default("lz4")
    .known_as(&["accept_compress_type"])
    .means("compression of pulled data");

pub const SIGNATURE: Key<SignatureVersion> = Key::choice("sls.signature")
    .default("auto")
    .known_as(&["auth_version"])
    .means("signature version; auto: v1, or v4 where SLS accepts only that and the region is known");

pub const REGION: Key<String> = Key::text("sls.region")
    .computed("taken from an endpoint of Alibaba Cloud")
    .means("region ID for signature v4, such as cn-hangzhou");

pub const CA_FILE: Key<PathBuf> =
    Key::path("sls.ca_file").means("certificates (PEM) to trust for SLS in addition to the system's");

pub const TIMEOUT: Key<Duration> =
    Key::duration("sls.timeout", SECOND).default("60s").means("time limit for one call to SLS");
