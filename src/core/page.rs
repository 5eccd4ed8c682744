//! The page of logs that a pull brings.

use bytes::Bytes;

use super::cursor::{Cursor, ShardId};

/// What unpacks a body again that was unpacked before, given how long it is unpacked.
pub type Unpack = fn(&[u8], usize) -> Bytes;

/// A body as it came over the network.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The bytes that came.
    pub bytes: Bytes,
    /// How many there are unpacked.
    pub unpacked: usize,
    /// How they are unpacked.
    pub unpack: Unpack,
}

/// The reply to one pull: the bytes of its logs, and the checkpoint after them.
#[derive(Debug, Clone)]
pub struct Page {
    /// The shard it was pulled from.
    pub shard: ShardId,
    /// The cursor of the request.
    pub cursor: Cursor,
    /// The checkpoint once everything in this page is durable (`x-log-cursor`).
    pub next: Cursor,
    /// The serialised `LogGroupList`, unpacked; empty when nothing is new or a query dropped it all, and after
    /// [`Page::pack`].
    pub body: Bytes,
    /// The same as it came, where that takes less memory.
    pub packed: Option<Packed>,
    /// Log groups in the body (`x-log-count`).
    pub groups: u32,
    /// Number of the last group's cursor (`x-log-read-last-cursor`), absent under a query.
    pub last_group: Option<i64>,
    /// Number of the first log in its group, or behind the cursor: 0 but for a page that holds one log given up before.
    pub first_log: u32,
    /// The page reached the present end of the shard (`x-log-end-of-cursor`), when SLS says so.
    pub at_end: Option<bool>,
    /// When SLS received the end of this page, unix seconds (`x-log-cursor-time`).
    pub received_at: Option<i64>,
    /// Bytes that SLS read to make the page: before a query dropped any (`x-log-rawdatasize`), else the body's size.
    pub scanned_bytes: u64,
    /// Bytes of the page as it came over the network.
    pub wire_bytes: u64,
}

impl Page {
    /// A page without logs from `cursor` to `next`, of which nothing else is known.
    #[must_use]
    pub fn empty(shard: ShardId, cursor: Cursor, next: Cursor) -> Self {
        Self {
            shard,
            cursor,
            next,
            body: Bytes::new(),
            packed: None,
            groups: 0,
            last_group: None,
            first_log: 0,
            at_end: None,
            received_at: None,
            scanned_bytes: 0,
            wire_bytes: 0,
        }
    }

    /// Drops the body where it can be unpacked again: most pages are not looked at any more once the script has read them.
    pub fn pack(&mut self) {
        if self.packed.is_some() {
            self.body = Bytes::new();
        }
    }

    /// The body, packed or not.
    #[must_use]
    pub fn unpacked(&self) -> Bytes {
        match &self.packed {
            Some(packed) if self.body.is_empty() => (packed.unpack)(&packed.bytes, packed.unpacked),
            _ => self.body.clone(),
        }
    }

    /// Bytes of memory that it holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.len() + self.packed.as_ref().map_or(0, |packed| packed.bytes.len())
    }

    /// Bytes of memory that it holds after [`Page::pack`].
    #[must_use]
    pub fn packed_weight(&self) -> usize {
        self.packed.as_ref().map_or(self.body.len(), |packed| packed.bytes.len())
    }

    /// Neither logs nor progress: there is nothing new in the shard.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.body.is_empty() && self.next == self.cursor
    }

    /// The next cursor is one before that which was asked for: going on from there would deliver for ever what was
    /// delivered before. Cursors that have no numbers are taken to go on.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        matches!((self.cursor.number(), self.next.number()), (Some(from), Some(to)) if to < from)
    }

    /// The cursor number of the `group`th log group of this page (Go SDK rule: last − n + 1 + i), if it can be told:
    /// not when the server's last number is one that no shard reaches.
    #[must_use]
    pub fn group_number(&self, group: u32) -> Option<i64> {
        let behind_last = i64::from(group) + 1 - i64::from(self.groups);
        self.last_group?.checked_add(behind_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_page_gives_its_body_back() {
        let body = Bytes::from_static(b"aaaa");
        let packed = Packed { bytes: body.slice(..1), unpacked: 4, unpack: |bytes, times| bytes.repeat(times).into() };
        let mut page = Page { body, ..Page::empty(ShardId(0), Cursor::new("c"), Cursor::new("d")) };
        page.pack();
        assert_eq!((&page.unpacked()[..], page.weight()), (&b"aaaa"[..], 4), "there is nothing to unpack it from");
        page.packed = Some(packed);
        assert_eq!((&page.unpacked()[..], page.weight(), page.packed_weight()), (&b"aaaa"[..], 5, 1));
        page.pack();
        assert_eq!((&page.unpacked()[..], page.weight()), (&b"aaaa"[..], 1));
    }

    #[test]
    fn a_last_number_that_no_shard_reaches_tells_no_number() {
        let page = |last_group, groups| Page {
            groups,
            last_group: Some(last_group),
            ..Page::empty(ShardId(0), Cursor::new("c"), Cursor::new("d"))
        };
        assert_eq!(page(41, 2).group_number(0), Some(40));
        assert_eq!(page(i64::MIN, 2).group_number(0), None);
        assert_eq!(page(i64::MAX, 0).group_number(0), None);
    }
}
