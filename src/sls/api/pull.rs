//! The call that pulls a page of logs.

use std::str::FromStr;

use super::paths::shard_path;
use super::reading::{ReadError, garbled};
use crate::core::budget::Buffers;
use crate::core::cursor::{Cursor, ShardId};
use crate::core::page::{Packed, Page};
use crate::core::printable::excerpt;
use crate::sls::message::{Call, Method, Reply, Request};
use crate::sls::unpack::{can_unpack, check_compression, check_size, unpack};
use crate::sls::{Compression, Config};

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
