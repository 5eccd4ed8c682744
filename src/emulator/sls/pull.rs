//! Reading and writing logs: `PullLogs`, its HEAD, and `PutLogs`.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use prost::Message as _;

use super::codec::Codec;
use super::logstore::Route;
use super::refusal::Refusal;
use super::reply::Reply;
use super::shard::Slice;
use super::spl::Filter;
use super::state::SlsState;
use crate::core::cursor::Cursor;
use crate::emulator::request::Request;
use crate::loggroup::proto::{LogGroup, LogGroupList, Pair};

/// Maximum number of log groups per pull.
const MAX_GROUPS: usize = 1000;

/// Maximum size of a written log group before compression, in bytes.
const MAX_PUT: usize = 30 << 20;

/// How far the time of a log may lie in the past and in the future.
const OLDEST: Duration = Duration::from_secs(7 * 86_400);
const NEWEST: Duration = Duration::from_secs(15 * 60);

/// Answers a pull. The state is locked only to collect the groups: they are stored as a page holds them.
pub(super) fn pull(
    state: &Mutex<SlsState>,
    logstore: &str,
    shard: u32,
    request: &Request,
    now: Duration,
) -> Result<Reply, Refusal> {
    let count = request.parameter("count").and_then(|count| count.parse().ok());
    let count = count.filter(|count| (1..=MAX_GROUPS).contains(count));
    let count = count.ok_or_else(|| Refusal::parameter("Invalid loggroup count, (0,1000]"))?;
    let cursor = cursor_parameter(request, "cursor")?.ok_or_else(|| Refusal::parameter("cursor is missing"))?;
    let until = cursor_parameter(request, "end_cursor")?;
    if request.parameter("processor").is_some() {
        return Err(Refusal::parameter("emulator: it has no consume processors"));
    }
    let query = request.parameter("query").filter(|query| !query.trim().is_empty());
    let filter = query.map(Filter::parse).transpose()?;

    let slice = super::state::lock(state)
        .logstore(&request.project, logstore, now)?
        .shard(shard)?
        .read(cursor, count, until)?;
    let page = page(&slice, filter.as_ref())?;

    let mut reply = Reply::empty()
        .with("content-type", "application/x-protobuf")
        .with("x-log-cursor", Cursor::from_number(slice.next).as_str())
        .with("x-log-count", page.groups)
        .with("x-log-bodyrawsize", page.body.len())
        .with("x-log-end-of-cursor", u8::from(slice.at_end));
    if !slice.fields.is_empty() {
        reply = reply.with("x-log-read-last-cursor", slice.next - 1);
    }
    if let Some(received) = slice.received {
        reply = reply.with("x-log-cursor-time", received.as_secs());
    }
    if let Some(scanned) = &page.scanned {
        reply = reply
            .with("x-log-rawdatacount", slice.fields.len())
            .with("x-log-rawdatasize", scanned.bytes)
            .with("x-log-rawdatalines", scanned.lines)
            .with("x-log-resultlines", page.lines)
            .with("x-log-failedlines", 0);
    }
    if page.body.is_empty() || request.method == Method::HEAD {
        return Ok(reply);
    }
    let Some(codec) = Codec::accepted(&request.header("accept-encoding").unwrap_or_default()) else {
        return Ok(reply.body(page.body));
    };
    let packed =
        codec.compress(&page.body).map_err(|error| Refusal::new(500, "InternalServerError", error.to_string()))?;
    Ok(reply.with("x-log-compresstype", codec.name()).body(packed))
}

/// The cursor in a parameter.
pub(super) fn cursor_parameter(request: &Request, name: &str) -> Result<Option<i64>, Refusal> {
    let Some(text) = request.parameter(name) else {
        return Ok(None);
    };
    let number = Cursor::new(text).number();
    number.map(Some).ok_or_else(|| Refusal::parameter(format!("Invalid cursor {text}")))
}

/// A `LogGroupList` and the data for its headers.
struct Page {
    body: Bytes,
    groups: usize,
    /// Logs in the body, counted only behind a filter.
    lines: usize,
    scanned: Option<Scanned>,
}

/// The input of a filter.
struct Scanned {
    bytes: usize,
    lines: usize,
}

fn page(slice: &Slice, filter: Option<&Filter>) -> Result<Page, Refusal> {
    let body = slice.fields.concat();
    let Some(filter) = filter else {
        return Ok(Page { body: body.into(), groups: slice.fields.len(), lines: 0, scanned: None });
    };
    let mut list = LogGroupList::decode(body.as_slice())
        .map_err(|error| Refusal::new(500, "InternalServerError", format!("a stored log group: {error}")))?;
    let lines = |list: &LogGroupList| list.groups.iter().map(|group| group.logs.len()).sum();
    let scanned = Scanned { bytes: body.len(), lines: lines(&list) };
    for group in &mut list.groups {
        filter.apply(group);
    }
    list.groups.retain(|group| !group.logs.is_empty());
    Ok(Page {
        groups: list.groups.len(),
        lines: lines(&list),
        body: list.encode_to_vec().into(),
        scanned: Some(scanned),
    })
}

/// Handles a written log group.
pub(super) fn put(
    state: &Mutex<SlsState>,
    logstore: &str,
    route: Route,
    request: &Request,
    now: Duration,
) -> Result<Reply, Refusal> {
    let raw = uncompressed(request)?;
    check_group(&raw, now)?;
    super::state::lock(state).logstore(&request.project, logstore, now)?.put(route, &raw, now)?;
    Ok(Reply::empty())
}

fn uncompressed(request: &Request) -> Result<Bytes, Refusal> {
    let name = request.header("x-log-compresstype").unwrap_or_default();
    if name.is_empty() {
        return Ok(request.body.clone());
    }
    let codec = Codec::named(&name)
        .ok_or_else(|| Refusal::new(400, "InvalidCompressType", format!("compress type {name} is unsupported")))?;
    let size = request.header("x-log-bodyrawsize");
    let size = size.ok_or_else(|| Refusal::new(400, "MissingBodyRawSize", "x-log-bodyrawsize is missing"))?;
    let size: usize =
        size.parse().map_err(|_| Refusal::new(400, "InvalidBodyRawSize", format!("x-log-bodyrawsize: {size}")))?;
    if size > MAX_PUT {
        return Err(too_large(size));
    }
    codec.decompress(&request.body, size).map(Bytes::from)
}

/// A body over the limit.
pub(super) fn too_large(size: impl std::fmt::Display) -> Refusal {
    let message = format!("body size {size} is more than {MAX_PUT}");
    Refusal::new(400, "PostBodyTooLarge", message)
}

/// Maximum size of a body in bytes, compressed or not.
pub(super) const MAX_BODY: usize = MAX_PUT;

fn check_group(raw: &[u8], now: Duration) -> Result<(), Refusal> {
    let group = LogGroup::decode(raw)
        .map_err(|error| Refusal::new(400, "PostBodyInvalid", format!("the body is no LogGroup: {error}")))?;
    let (oldest, newest) = (now.saturating_sub(OLDEST).as_secs(), (now + NEWEST).as_secs());
    let times = group.logs.iter().map(|log| u64::from(log.time));
    if let Some(time) = times.into_iter().find(|time| *time < oldest || *time > newest) {
        let message = format!("Invalid timestamp {time}: a log is at most 7 days old and 15 minutes early");
        return Err(Refusal::new(400, "InvalidTimestamp", message));
    }
    let is_text = |pair: &Pair| std::str::from_utf8(&pair.key).is_ok() && std::str::from_utf8(&pair.value).is_ok();
    let contents = group.logs.iter().flat_map(|log| &log.contents);
    let around = [&group.topic, &group.source].into_iter().flatten();
    let clean =
        contents.chain(&group.tags).all(is_text) && around.clone().all(|text| std::str::from_utf8(text).is_ok());
    if !clean {
        return Err(Refusal::new(400, "InvalidEncoding", "the log group is not UTF-8"));
    }
    Ok(())
}
