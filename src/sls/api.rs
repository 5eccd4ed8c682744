//! The calls of a consumer, each as two pure halves: `build_x` makes the request, `read_x` reads the reply.
//!
//! Source: Alibaba Cloud SLS API reference, the page named at each half. Where the reference and the vendor's SDKs
//! differ on a reply, both forms are accepted. Unknown fields are skipped.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{Call, Method, Reply, Request};
use super::percent::percent_encode;
use super::unpack::{UnpackError, can_unpack, check_compression, check_size, unpack};
use super::{Compression, Config};
use crate::core::budget::Buffers;
use crate::core::cursor::{Cursor, ShardId, Start};
use crate::core::page::{Packed, Page};
use crate::core::printable::excerpt;
use crate::core::source::Checkpoint;

/// Maximum number of shards of a source. SLS gives a logstore 256, more on request; a longer list is an error.
pub const MAX_SHARDS: usize = 10_000;

/// Logstores that a project may have. SLS allows 200, and more on request.
pub const MAX_LOGSTORES: usize = 10_000;

/// Number of logstores requested per call: the maximum of SLS.
const LOGSTORES_PAGE: usize = 500;

/// A reply with status 200 that does not have the form that the call promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Something is missing or malformed.
    #[error("the reply cannot be understood: {0}")]
    Garbled(String),
    /// The body of a page.
    #[error("the reply cannot be understood: {0}")]
    Body(#[from] UnpackError),
}

fn garbled(problem: impl Into<String>) -> ReadError {
    ReadError::Garbled(problem.into())
}

/// Reads a list about shards.
fn read_list<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Vec<T>, ReadError> {
    bounded(read_json(body)?)
}

fn bounded<T>(list: Vec<T>) -> Result<Vec<T>, ReadError> {
    if list.len() > MAX_SHARDS {
        return Err(garbled(format!("it lists {} shards; a source may have at most {MAX_SHARDS}", list.len())));
    }
    Ok(list)
}

pub(super) fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ReadError> {
    serde_json::from_slice(body).map_err(|error| garbled(error.to_string()))
}

fn groups_path(config: &Config) -> String {
    format!("/logstores/{}/consumergroups", percent_encode(&config.logstore))
}

fn group_path(config: &Config) -> String {
    format!("{}/{}", groups_path(config), percent_encode(&config.group))
}

fn shards_path(config: &Config) -> String {
    format!("/logstores/{}/shards", percent_encode(&config.logstore))
}

fn shard_path(config: &Config, shard: ShardId) -> String {
    format!("{}/{shard}", shards_path(config))
}

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

/// Distinguishes the two forms of a reply by the first byte, so that an error refers to the form that was sent.
fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
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

/// "GetCheckPoint" of one shard.
#[must_use]
pub fn build_checkpoint(config: &Config, shard: ShardId) -> Request {
    let query = vec![("shard", shard.to_string())];
    Request::new(Call::Checkpoint, Method::Get, group_path(config), query)
}

/// A shard's checkpoint, and when it was last saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedAt {
    /// Number of the shard.
    pub shard: u32,
    /// The next cursor to read.
    pub cursor: Cursor,
    /// The consumer that saved it; empty if none was named.
    pub consumer: String,
    /// `updateTime`, unix microseconds; 0 when the server does not say.
    pub micros: i64,
}

/// "GetCheckPoint" without a shard: for all shards.
#[must_use]
pub fn build_checkpoints(config: &Config) -> Request {
    Request::new(Call::Checkpoint, Method::Get, group_path(config), vec![])
}

/// "GetCheckPoint" without a shard: all checkpoints that were ever saved.
///
/// # Errors
/// The body is not the array that the reference shows.
pub fn read_checkpoints(reply: &Reply) -> Result<Vec<SavedAt>, ReadError> {
    #[derive(Deserialize)]
    struct Entry {
        shard: u32,
        checkpoint: String,
        #[serde(default)]
        consumer: String,
        #[serde(rename = "updateTime", default)]
        update_time: i64,
    }
    let entries: Vec<Entry> = read_list(&reply.body)?;
    let saved = entries.into_iter().filter(|entry| !entry.checkpoint.is_empty());
    let saved = saved.map(|entry| SavedAt {
        shard: entry.shard,
        cursor: Cursor::new(entry.checkpoint),
        consumer: entry.consumer,
        micros: entry.update_time,
    });
    Ok(saved.collect())
}

/// "GetCheckPoint": `None` when the shard was never saved, which is an empty text or no entry.
///
/// # Errors
/// The body is not the array that the reference shows.
pub fn read_checkpoint(reply: &Reply, shard: ShardId) -> Result<Option<Checkpoint>, ReadError> {
    #[derive(Deserialize)]
    struct Entry {
        shard: u32,
        checkpoint: String,
        #[serde(default)]
        consumer: String,
    }
    let entries: Vec<Entry> = read_json(&reply.body)?;
    Ok(entries
        .into_iter()
        .find(|entry| entry.shard == shard.0)
        .filter(|entry| !entry.checkpoint.is_empty())
        .map(|entry| Checkpoint { cursor: Cursor::new(entry.checkpoint), consumer: entry.consumer }))
}

/// "ConsumerGroupUpdateCheckPoint", with our name and not forced: the server accepts it only from the shard's owner.
/// The reply has no body.
#[must_use]
pub fn build_save(config: &Config, shard: ShardId, cursor: &Cursor) -> Request {
    save(config, shard, cursor, &config.consumer, false)
}

/// The same in the name of another consumer: accepted only while that consumer holds the shard.
#[must_use]
pub fn build_save_of(config: &Config, saved: &SavedAt) -> Request {
    save(config, ShardId(saved.shard), &saved.cursor, &saved.consumer, false)
}

/// The same without the check of ownership, for an operator.
#[must_use]
pub fn build_forced_save(config: &Config, shard: ShardId, cursor: &Cursor) -> Request {
    save(config, shard, cursor, OPERATOR, true)
}

/// Consumer name of a forced save.
const OPERATOR: &str = "forwarder-seek";

fn save(config: &Config, shard: ShardId, cursor: &Cursor, consumer: &str, is_forced: bool) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        shard: u32,
        checkpoint: &'a str,
    }
    let query =
        vec![("type", "checkpoint".into()), ("consumer", consumer.into()), ("forceSuccess", is_forced.to_string())];
    Request::new(Call::Save, Method::Post, group_path(config), query)
        .json(&Body { shard: shard.0, checkpoint: cursor.as_str() })
}

/// "GetCursor". Times are when the server received a log.
#[must_use]
pub fn build_cursor(config: &Config, shard: ShardId, start: Start) -> Request {
    let from = match start {
        Start::Begin => "begin".to_owned(),
        Start::End => "end".to_owned(),
        Start::Time(seconds) => seconds.to_string(),
    };
    let query = vec![("type", "cursor".into()), ("from", from)];
    Request::new(Call::Cursor, Method::Get, shard_path(config, shard), query)
}

/// "GetCursor".
///
/// # Errors
/// The reply has no cursor.
pub fn read_cursor(reply: &Reply) -> Result<Cursor, ReadError> {
    #[derive(Deserialize)]
    struct Body {
        cursor: String,
    }
    let Body { cursor } = read_json(&reply.body)?;
    if cursor.is_empty() {
        return Err(garbled("the cursor is empty"));
    }
    Ok(Cursor::new(cursor))
}

/// "GetCursorTime".
#[must_use]
pub fn build_cursor_time(config: &Config, shard: ShardId, cursor: &Cursor) -> Request {
    let query = vec![("type", "cursor_time".into()), ("cursor", cursor.as_str().to_owned())];
    Request::new(Call::CursorTime, Method::Get, shard_path(config, shard), query)
}

/// "GetCursorTime": when the server received the log group at the cursor, unix seconds.
///
/// # Errors
/// The reply has no time.
pub fn read_cursor_time(reply: &Reply) -> Result<i64, ReadError> {
    #[derive(Deserialize)]
    struct Body {
        cursor_time: i64,
    }
    Ok(read_json::<Body>(&reply.body)?.cursor_time)
}

/// "PullLogs" of at most `groups` log groups (1..=1000), before `until`.
#[must_use]
pub fn build_pull(config: &Config, shard: ShardId, cursor: &Cursor, groups: u32, until: Option<&Cursor>) -> Request {
    let mut query = vec![("type", "log".into()), ("cursor", cursor.as_str().to_owned()), ("count", groups.to_string())];
    if let Some(until) = until {
        query.push(("end_cursor", until.as_str().to_owned()));
    }
    if let Some(text) = &config.query {
        query.push(("pullMode", "scan_on_stream".into()));
        query.push(("query", text.clone()));
    }
    if let Some(processor) = &config.processor {
        query.push(("processor", processor.clone()));
    }
    let encoding = match config.compression {
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
        Compression::Plain => "",
    };
    let mut request = Request::new(Call::Pull, Method::Get, shard_path(config, shard), query);
    request.headers.push(("accept", "application/x-protobuf".to_owned()));
    request.headers.push(("accept-encoding", encoding.to_owned()));
    request
}

/// "PullLogs": the size of the unpacked body, known before the body is read.
///
/// # Errors
/// It is missing, or above the limit.
pub fn read_raw_size(reply: &Reply) -> Result<u64, ReadError> {
    let size = required(reply, "x-log-bodyrawsize")?;
    check_size(size)?;
    Ok(size)
}

/// "PullLogs". The page is unpacked into one of the buffers.
///
/// # Errors
/// A header that the reference promises is missing or malformed, or the body does not match the headers.
pub fn read_pull(
    config: &Config,
    shard: ShardId,
    cursor: &Cursor,
    reply: Reply,
    buffers: &Buffers,
) -> Result<Page, ReadError> {
    let next = reply.header("x-log-cursor").filter(|next| !next.is_empty());
    let next = Cursor::new(next.ok_or_else(|| garbled("there is no x-log-cursor"))?);
    let groups: u32 = required(&reply, "x-log-count")?;
    let raw_size = read_raw_size(&reply)?;
    if groups > 0 && raw_size == 0 {
        return Err(garbled(format!("x-log-count says {groups}, but there is no body")));
    }
    let filtered = config.query.is_some() || config.processor.is_some();
    let last_group = number(&reply, "x-log-read-last-cursor").filter(|_| !filtered);
    let at_end = reply.header("x-log-end-of-cursor").map(|flag| flag == "1");
    let received_at = number(&reply, "x-log-cursor-time");
    let scanned_bytes = number(&reply, "x-log-rawdatasize").unwrap_or(raw_size);
    check_compression(config.compression, reply.header("x-log-compresstype"))?;
    let wire_bytes = reply.body.len() as u64;
    let compression = reply.header("x-log-compresstype");
    let body = unpack(compression, raw_size, reply.body.clone(), buffers)?;
    let packed = can_unpack(compression).filter(|_| reply.body.len() < body.len()).map(|unpack| Packed {
        bytes: reply.body.clone(),
        unpacked: body.len(),
        unpack,
    });
    Ok(Page {
        shard,
        cursor: cursor.clone(),
        next,
        body,
        packed,
        groups,
        last_group,
        first_log: 0,
        at_end,
        received_at,
        scanned_bytes,
        wire_bytes,
    })
}

fn required<T: FromStr>(reply: &Reply, name: &str) -> Result<T, ReadError> {
    number(reply, name).ok_or_else(|| match reply.header(name) {
        Some(text) => garbled(format!("{name} is {}, which is not a valid number", excerpt(text))),
        None => garbled(format!("there is no {name}")),
    })
}

/// A header that is a number. If it is optional, a malformed value counts as absent.
fn number<T: FromStr>(reply: &Reply, name: &str) -> Option<T> {
    reply.header(name)?.trim().parse().ok()
}

/// A shard as described by the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Shard {
    /// Number.
    #[serde(rename = "shardID")]
    pub id: u32,
    /// `readwrite`, or `readonly` for one that was split or merged and is kept until its logs expire.
    pub status: String,
    /// Its first hash key, 32 hexadecimal digits.
    #[serde(rename = "inclusiveBeginKey", default)]
    pub begin_key: String,
    /// The first hash key after its range.
    #[serde(rename = "exclusiveEndKey", default)]
    pub end_key: String,
    /// When it was created, unix seconds.
    #[serde(rename = "createTime", default)]
    pub created: i64,
}

impl Shard {
    /// Whether it was split or merged.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.status == "readonly"
    }

    /// Whether the ranges of hash keys overlap. Keys of equal length compare as text.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.begin_key < other.end_key && other.begin_key < self.end_key
    }
}

/// "ListShards".
#[must_use]
pub fn build_list_shards(config: &Config) -> Request {
    Request::new(Call::ListShards, Method::Get, shards_path(config), vec![])
}

/// "ListShards".
///
/// # Errors
/// The body is not the array that the reference shows.
pub fn read_shards(reply: &Reply) -> Result<Vec<Shard>, ReadError> {
    read_list(&reply.body)
}

/// "ListLogStores": the logstores of the project from number `offset` on.
#[must_use]
pub fn build_list_logstores(offset: usize) -> Request {
    let query = vec![("offset", offset.to_string()), ("size", LOGSTORES_PAGE.to_string())];
    Request::new(Call::ListLogstores, Method::Get, "/logstores".to_owned(), query)
}

/// Some logstores of a project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogstoreNames {
    /// Names, in the server's order.
    pub logstores: Vec<String>,
    /// The total number.
    pub total: usize,
}

/// "ListLogStores".
///
/// # Errors
/// The body is not what the reference shows, or there are more than [`MAX_LOGSTORES`].
pub fn read_logstores(reply: &Reply) -> Result<LogstoreNames, ReadError> {
    let names: LogstoreNames = read_json(&reply.body)?;
    if names.total > MAX_LOGSTORES {
        return Err(garbled(format!("it lists {} logstores; a project may have at most {MAX_LOGSTORES}", names.total)));
    }
    Ok(names)
}

/// "GetLogStore".
#[must_use]
pub fn build_logstore(config: &Config) -> Request {
    Request::new(Call::Logstore, Method::Get, format!("/logstores/{}", percent_encode(&config.logstore)), vec![])
}

/// "GetLogStore": how many days logs are kept; 3650 means forever.
///
/// # Errors
/// The body does not say.
pub fn read_retention(reply: &Reply) -> Result<u32, ReadError> {
    #[derive(Deserialize)]
    struct Body {
        ttl: u32,
    }
    Ok(read_json::<Body>(&reply.body)?.ttl)
}

/// Number of days that means forever ("GetLogStore").
const FOREVER: u32 = 3_650;

/// The retention for this number of days; `None`: forever.
#[must_use]
pub fn kept_for(days: u32) -> Option<Duration> {
    (days < FOREVER).then(|| Duration::from_secs(u64::from(days) * 24 * 3_600))
}

#[cfg(test)]
pub(super) mod tests;
