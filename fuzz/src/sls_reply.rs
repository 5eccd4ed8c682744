//! Replies of SLS: parsed values are those that another JSON parser finds, and an error is safe for a log line.

use std::collections::BTreeSet;

use forwarder::core::budget::Buffers;
use forwarder::core::cursor::{Cursor, ShardId};
use forwarder::core::source::SourceError;
use forwarder::sls::api;
use forwarder::sls::api::ReadError;
use forwarder::sls::error::{Refusal, Verdict, unreadable, verdict};
use forwarder::sls::message::{Call, Reply};
use forwarder::sls::project::read_project;
use serde_json::Value;

use super::input::Input;
use super::pull_body::config;

const CALLS: [Call; 13] = [
    Call::ListGroups,
    Call::CreateGroup,
    Call::UpdateGroup,
    Call::Heartbeat,
    Call::Checkpoint,
    Call::Save,
    Call::Cursor,
    Call::CursorTime,
    Call::Pull,
    Call::ListShards,
    Call::Project,
    Call::Logstore,
    Call::ListLogstores,
];

const HEADERS: [&str; 8] = [
    "x-log-requestid",
    "retry-after",
    "x-log-cursor",
    "x-log-count",
    "x-log-bodyrawsize",
    "x-log-compresstype",
    "x-log-read-last-cursor",
    "x-log-end-of-cursor",
];

/// Longest error line, in characters: the server's code, text and id with 300 characters each, all of them escaped
/// (`\u{202e}` has eight), and our own words.
const MAX_ERROR_CHARS: usize = 3 * 301 * 8 + 200;

/// Call, status, headers, body.
pub fn sls_reply(input: &[u8]) {
    let mut input = Input::new(input);
    let call = input.pick(&CALLS);
    let status = match input.byte() {
        0..=127 => 200,
        any => input.pick(&[400, 401, 403, 404, 405, 409, 413, 429, 500, 502, 503, 301, 204, u16::from(any)]),
    };
    let count = input.byte() % 4;
    let headers =
        (0..count).filter_map(|_| Some((input.pick(&HEADERS).parse().ok()?, input.text().parse().ok()?))).collect();
    let reply = Reply { status, headers, body: input.rest().to_vec().into() };

    if status != 200 {
        let error = match verdict(call, &Refusal::read(&reply)) {
            Verdict::AlreadyDone => {
                assert_eq!(call, Call::CreateGroup);
                return;
            }
            Verdict::Clock(error) | Verdict::Key(error) | Verdict::Signature(error) | Verdict::Failed(error) => error,
        };
        return fit_to_show(&error);
    }
    if let Err(error) = read(call, &reply) {
        fit_to_show(&unreadable(call, &error, reply.header("x-log-requestid")));
    }
}

fn fit_to_show(error: &SourceError) {
    let text = error.to_string();
    assert!(text.chars().count() <= MAX_ERROR_CHARS, "{} characters: {text}", text.chars().count());
    assert!(!text.contains(char::is_control), "it would act on a terminal: {text:?}");
    if let SourceError::Busy { retry_after: Some(wait), .. } = error {
        assert!(wait.as_secs() <= 3600, "{wait:?}");
    }
}

fn read(call: Call, reply: &Reply) -> Result<(), ReadError> {
    // Another parser. It refuses more than a parser that skips unknown parts: then there is nothing to compare.
    let other: Option<Value> = serde_json::from_slice(&reply.body).ok();
    match call {
        Call::ListGroups => {
            let groups = api::read_groups(reply)?;
            let Some(other) = other else { return Ok(()) };
            let list = other.get("consumerGroups").unwrap_or(&other).as_array().expect("a list was read");
            assert_eq!(groups.len(), list.len());
            for (group, other) in groups.iter().zip(list) {
                assert_eq!(Some(group.name.as_str()), member(other, "name", 0).as_str());
                assert_eq!(Some(u64::from(group.timeout.get())), member(other, "timeout", 1).as_u64());
                assert_eq!(group.order, member(other, "order", 2).as_bool().unwrap_or(false));
                assert!(group.timeout().as_secs() > 0);
            }
        }
        Call::Heartbeat => {
            let shards = api::read_heartbeat(reply)?;
            let Some(other) = other else { return Ok(()) };
            let list = other.get("shards").unwrap_or(&other).as_array().expect("a list was read");
            let other: BTreeSet<_> = list.iter().map(|id| id.as_u64().expect("a number was read")).collect();
            assert_eq!(shards.iter().map(|shard| u64::from(shard.0)).collect::<BTreeSet<_>>(), other);
        }
        Call::Checkpoint => {
            let shard = ShardId(3);
            let checkpoint = api::read_checkpoint(reply, shard)?;
            let Some(other) = other else { return Ok(()) };
            let list = other.as_array().expect("a list was read");
            let entry = list.iter().find(|entry| member(entry, "shard", 0).as_u64() == Some(3));
            let text = entry.and_then(|entry| member(entry, "checkpoint", 1).as_str()).filter(|text| !text.is_empty());
            assert_eq!(checkpoint.as_ref().map(|checkpoint| checkpoint.cursor.as_str()), text);
        }
        Call::Cursor => {
            let cursor = api::read_cursor(reply)?;
            assert!(!cursor.as_str().is_empty());
            let Some(other) = other else { return Ok(()) };
            assert_eq!(Some(cursor.as_str()), member(&other, "cursor", 0).as_str());
            if let Some(number) = cursor.number() {
                assert_eq!(Cursor::from_number(number).number(), Some(number));
            }
        }
        Call::CursorTime => {
            let time = api::read_cursor_time(reply)?;
            let Some(other) = other else { return Ok(()) };
            assert_eq!(Some(time), member(&other, "cursor_time", 0).as_i64());
        }
        Call::ListShards => {
            let shards = api::read_shards(reply)?;
            let Some(other) = other else { return Ok(()) };
            let list = other.as_array().expect("a list was read");
            assert_eq!(shards.len(), list.len());
            for (shard, other) in shards.iter().zip(list) {
                assert_eq!(Some(u64::from(shard.id)), member(other, "shardID", 0).as_u64());
                assert_eq!(Some(shard.status.as_str()), member(other, "status", 1).as_str());
            }
        }
        Call::Pull => {
            let page = api::read_pull(&config(), ShardId(3), &Cursor::new("c"), reply.clone(), &Buffers::none())?;
            assert_eq!(Some(page.next.as_str()), reply.header("x-log-cursor"));
        }
        Call::Project => drop(read_project(reply)?),
        Call::Logstore => {
            let days = api::read_retention(reply)?;
            let Some(other) = other else { return Ok(()) };
            assert_eq!(Some(u64::from(days)), member(&other, "ttl", 0).as_u64());
        }
        Call::ListLogstores => {
            let page = api::read_logstores(reply)?;
            let Some(other) = other else { return Ok(()) };
            assert_eq!(page.logstores.len(), member(&other, "logstores", 0).as_array().expect("a list was read").len());
            assert_eq!(u64::try_from(page.total).ok(), member(&other, "total", 1).as_u64());
        }
        Call::CreateGroup | Call::UpdateGroup | Call::Save | Call::Put => {}
    }
    Ok(())
}

/// A member by its name. An array can replace an object with its members in order: the JSON library reads both.
fn member<'a>(value: &'a Value, name: &str, place: usize) -> &'a Value {
    value.get(name).or_else(|| value.get(place)).unwrap_or(&Value::Null)
}
