//! Encodes a flattened log as a page, so that a stored log can go through the script again.

use prost::Message as _;

use super::proto::{Log, LogGroup, LogGroupList, Pair};
use crate::core::cursor::{Cursor, ShardId};
use crate::core::page::Page;

/// A page with one log: log number `index` (from 0) after `cursor`. When flattened, the log has these pairs, in the
/// order of a flattened log: times, topic, source, tags, contents.
#[must_use]
pub fn page_of(shard: ShardId, cursor: Cursor, index: u32, log: &[(Vec<u8>, Vec<u8>)]) -> Page {
    page_with(shard, cursor, index, group_of(log))
}

/// A page with one log group. Its first log is number `index` (from 0) after `cursor`.
#[must_use]
pub fn page_with(shard: ShardId, cursor: Cursor, index: u32, group: LogGroup) -> Page {
    let body = LogGroupList { groups: vec![group] }.encode_to_vec();
    Page {
        last_group: cursor.number(),
        scanned_bytes: body.len() as u64,
        packed: None,
        wire_bytes: 0,
        body: body.into(),
        groups: 1,
        first_log: index,
        ..Page::empty(shard, cursor.clone(), cursor)
    }
}

/// A log group with only this log. A time that is not a valid number becomes one of the contents; when the group is
/// flattened, it replaces the time.
#[must_use]
pub fn group_of(pairs: &[(Vec<u8>, Vec<u8>)]) -> LogGroup {
    let mut group = LogGroup::default();
    let mut log = Log::default();
    for (key, value) in pairs {
        match key.as_slice() {
            b"__time__" if number(value).is_some() => log.time = number(value).unwrap_or_default(),
            b"__time_ns_part__" if number(value).is_some() => log.time_ns = number(value),
            b"__topic__" => group.topic = Some(value.clone()),
            b"__source__" => group.source = Some(value.clone()),
            key => match key.strip_prefix(b"__tag__:") {
                Some(tag) => group.tags.push(Pair { key: tag.to_vec(), value: value.clone() }),
                None => log.contents.push(Pair { key: key.to_vec(), value: value.clone() }),
            },
        }
    }
    group.logs.push(log);
    group
}

/// Parses a number that has the same text when it is written again.
fn number(text: &[u8]) -> Option<u32> {
    let number: u32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loggroup::Logs;

    /// Checks that the pairs of a log are unchanged after encoding and decoding.
    fn check(pairs: &[(&str, &str)]) {
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        let page = page_of(ShardId(3), Cursor::from_number(7), 5, &pairs);
        let mut logs = Logs::default();
        logs.open(page.body.clone()).unwrap();
        let log = logs.read().unwrap().expect("there is one");
        let read: Vec<_> = log.fields().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        assert_eq!(read, pairs);
        assert_eq!(log.place(&page).to_string(), "3|7|5");
        assert!(logs.read().unwrap().is_none());
    }

    #[test]
    fn a_flattened_log_does_not_change_when_flattened_again() {
        check(&[("__time__", "1700000000"), ("__topic__", ""), ("__source__", "")]);
        check(&[
            ("__time__", "1700000000"),
            ("__topic__", "audit"),
            ("__source__", "10.0.0.1"),
            ("__time_ns_part__", "5"),
            ("__tag__:host", "a"),
            ("__tag__:", "b"),
            ("user", "x"),
            ("", "y"),
        ]);
    }

    #[test]
    fn a_log_with_a_time_field_of_its_own_keeps_it() {
        check(&[("__time__", "yesterday"), ("__topic__", "t"), ("__source__", ""), ("a", "b")]);
        check(&[("__time__", "007"), ("__topic__", "t"), ("__source__", "")]);
    }
}
