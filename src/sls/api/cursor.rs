//! The calls that find the cursor of a time, and the time of a cursor.

use serde::Deserialize;

use super::paths::shard_path;
use super::reading::{ReadError, garbled, read_json};
use crate::core::cursor::{Cursor, ShardId, Start};
use crate::sls::Config;
use crate::sls::message::{Call, Method, Reply, Request};

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
