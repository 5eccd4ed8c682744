//! One shard: an append-only sequence of log groups, of which the oldest expire.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::refusal::Refusal;

/// Maximum raw bytes of a pull. SLS documents no figure; its soft read limit for a shard is 10 MB/s.
const PAGE_BYTES: usize = 10 << 20;

/// The first cursor number of shard 0, in the shape of the nanosecond times that seed real cursors.
const FIRST_CURSOR: i64 = 1_700_000_000_000_000_000;

/// Distance between the cursors of neighbouring shards: a cursor of another shard is refused.
const SHARD_STEP: i64 = 1_000_000_000_000;

/// A shard of a logstore.
#[derive(Debug)]
pub struct Shard {
    /// Its id in the logstore.
    pub id: u32,
    /// Split or merged: readable, but closed for writes.
    pub readonly: bool,
    /// The first of its hash keys …
    pub begin_key: u128,
    /// … and the end of them, exclusive; `u128::MAX` itself belongs to the last shard.
    pub end_key: u128,
    /// The shards that it was split or merged from.
    pub parents: Vec<u32>,
    /// When it was created, since the Unix epoch.
    pub created: Duration,
    begin: i64,
    groups: VecDeque<Stored>,
    bytes: usize,
}

#[derive(Debug)]
struct Stored {
    /// One `LogGroupList.LogGroups` field, tag and length included: a page is these back to back.
    field: Bytes,
    received: Duration,
}

/// The log groups between two cursors.
#[derive(Debug, PartialEq, Eq)]
pub struct Slice {
    /// The groups as fields of a `LogGroupList`.
    pub fields: Vec<Bytes>,
    /// The cursor after the last of them.
    pub next: i64,
    /// Whether `next` is the cursor of the next write.
    pub at_end: bool,
    /// When the group before `next` was received, if it is retained.
    pub received: Option<Duration>,
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(id: u32, begin_key: u128, end_key: u128, parents: Vec<u32>, now: Duration) -> Self {
        Self {
            id,
            readonly: false,
            begin_key,
            end_key,
            parents,
            created: now,
            begin: FIRST_CURSOR + i64::from(id) * SHARD_STEP,
            groups: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Cursor of the oldest retained group.
    #[must_use]
    pub fn begin(&self) -> i64 {
        self.begin
    }

    /// Cursor that the next write will get.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.begin + self.groups.len() as i64
    }

    /// Bytes retained.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a write with this hash key belongs here.
    #[must_use]
    pub fn takes(&self, key: u128) -> bool {
        !self.readonly && key >= self.begin_key && (key < self.end_key || self.end_key == u128::MAX)
    }

    /// Appends a serialised log group: one step of the cursor.
    pub fn append(&mut self, group: &[u8], now: Duration) {
        let mut field = BytesMut::with_capacity(group.len() + 6);
        prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut field);
        prost::encoding::encode_varint(group.len() as u64, &mut field);
        field.put_slice(group);
        self.bytes += field.len();
        self.groups.push_back(Stored { field: field.freeze(), received: now });
    }

    /// Removes every group before `cursor`.
    pub fn expire(&mut self, cursor: i64) {
        while self.begin < cursor
            && let Some(oldest) = self.groups.pop_front()
        {
            self.begin += 1;
            self.bytes -= oldest.field.len();
        }
    }

    /// Removes every group received before `time`.
    pub fn expire_received_before(&mut self, time: Duration) {
        let gone = self.groups.partition_point(|group| group.received < time);
        self.expire(self.begin + gone as i64);
    }

    /// The cursor of the first group received at or after `seconds` since the Unix epoch, else the end.
    #[must_use]
    pub fn cursor_at(&self, seconds: u64) -> i64 {
        self.begin + self.groups.partition_point(|group| group.received.as_secs() < seconds) as i64
    }

    /// When the group with this cursor was received; `None` for the end and for what is not retained.
    #[must_use]
    pub fn received(&self, cursor: i64) -> Option<Duration> {
        let index = usize::try_from(cursor.checked_sub(self.begin)?).ok()?;
        self.groups.get(index).map(|group| group.received)
    }

    /// Reads at most `count` groups from `cursor`, stopping before `until` if that is given, and before the page grows
    /// past its limit; one group is read however big it is.
    ///
    /// # Errors
    /// `InvalidCursor`: the cursor is outside of what is retained.
    pub fn read(&self, cursor: i64, count: usize, until: Option<i64>) -> Result<Slice, Refusal> {
        let start = usize::try_from(cursor.saturating_sub(self.begin)).map_err(|_| Refusal::cursor())?;
        if start > self.groups.len() {
            return Err(Refusal::cursor());
        }
        let count = match until {
            Some(until) => count.min(usize::try_from(until.saturating_sub(cursor)).unwrap_or(0)),
            None => count,
        };
        let mut fields = Vec::new();
        let mut bytes = 0;
        for group in self.groups.range(start..).take(count) {
            bytes += group.field.len();
            if bytes > PAGE_BYTES && !fields.is_empty() {
                break;
            }
            fields.push(group.field.clone());
        }
        let next = cursor + fields.len() as i64;
        Ok(Slice { next, at_end: next == self.end(), received: self.received(next - 1), fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: i64 = FIRST_CURSOR + SHARD_STEP;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Shard 1 with a group at each of these seconds.
    fn shard(received: &[u64]) -> Shard {
        let mut shard = Shard::new(1, 0, u128::MAX, Vec::new(), at(0));
        for second in received {
            shard.append(b"x", at(*second));
        }
        shard
    }

    #[test]
    fn every_group_is_one_step_of_the_cursor() {
        let shard = shard(&[1, 2, 3]);
        assert_eq!((shard.begin(), shard.end()), (B, B + 3));
        let slice = shard.read(B + 1, 1, None).unwrap();
        assert_eq!(slice.fields, [Bytes::from_static(b"\x0a\x01x")]);
        assert_eq!((slice.next, slice.at_end, slice.received), (B + 2, false, Some(at(2))));
    }

    #[test]
    fn a_read_at_the_end_returns_nothing_new() {
        let slice = shard(&[1]).read(B + 1, 1000, None).unwrap();
        assert_eq!(slice, Slice { fields: Vec::new(), next: B + 1, at_end: true, received: Some(at(1)) });
    }

    #[test]
    fn a_cursor_that_is_not_retained_or_belongs_to_another_shard_is_invalid() {
        let mut shard = shard(&[1, 2, 3]);
        shard.expire(B + 2);
        assert_eq!((shard.begin(), shard.end(), shard.bytes()), (B + 2, B + 3, 3));
        for cursor in [B, B + 1, B + 4, FIRST_CURSOR, B + SHARD_STEP, i64::MIN, i64::MAX] {
            assert_eq!(shard.read(cursor, 1, None), Err(Refusal::cursor()), "{cursor}");
            assert_eq!(shard.received(cursor), None, "{cursor}");
        }
    }

    #[test]
    fn the_end_cursor_is_exclusive_and_may_lie_before_the_start() {
        let shard = shard(&[1, 2, 3]);
        let read = |until| shard.read(B + 1, 1000, Some(until)).unwrap().next;
        assert_eq!(
            [read(B), read(B + 1), read(B + 2), read(B + 99), read(i64::MAX)],
            [B + 1, B + 1, B + 2, B + 3, B + 3]
        );
    }

    #[test]
    fn a_page_stops_before_its_limit_but_has_at_least_one_group() {
        let mut shard = Shard::new(1, 0, u128::MAX, Vec::new(), at(0));
        shard.append(&vec![0; PAGE_BYTES + 1], at(1));
        for _ in 0..3 {
            shard.append(&vec![0; PAGE_BYTES / 2 - 10], at(1));
        }
        let lengths: Vec<_> =
            [B, B + 1, B + 3].map(|cursor| shard.read(cursor, 1000, None).unwrap().fields.len()).into();
        assert_eq!(lengths, [1, 2, 1]);
    }

    #[test]
    fn a_time_selects_the_first_group_received_at_or_after_it() {
        let shard = shard(&[10, 20, 20, 30]);
        let found = [0, 10, 11, 20, 21, 30, 31].map(|second| shard.cursor_at(second) - B);
        assert_eq!(found, [0, 0, 1, 1, 3, 3, 4]);
    }

    #[test]
    fn retention_removes_groups_by_receipt_time() {
        let mut shard = shard(&[10, 20, 30]);
        shard.expire_received_before(at(20));
        assert_eq!((shard.begin(), shard.end()), (B + 1, B + 3));
        shard.expire_received_before(at(99));
        assert_eq!((shard.begin(), shard.end(), shard.bytes()), (B + 3, B + 3, 0));
    }

    #[test]
    fn each_shard_takes_keys_up_to_the_next_shard_and_the_last_key_has_a_shard() {
        let low = Shard::new(0, 0, 100, Vec::new(), at(0));
        let mut high = Shard::new(1, 100, u128::MAX, Vec::new(), at(0));
        let taken = |key| (low.takes(key), high.takes(key));
        assert_eq!(
            [taken(0), taken(99), taken(100), taken(u128::MAX)],
            [(true, false), (true, false), (false, true), (false, true)]
        );
        high.readonly = true;
        assert!(!high.takes(100));
    }
}
