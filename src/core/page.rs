//! A page of logs: the result of one pull.

use bytes::Bytes;

use super::cursor::{Cursor, ShardId};

/// Unpacks a body; the second argument is its unpacked length.
pub type Unpack = fn(&[u8], usize) -> Bytes;

/// A body as received over the network.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The received bytes.
    pub bytes: Bytes,
    /// Number of bytes when unpacked.
    pub unpacked: usize,
    /// The function that unpacks them.
    pub unpack: Unpack,
}

/// The reply to one pull: the bytes of its logs, and the checkpoint after them.
#[derive(Debug, Clone)]
pub struct Page {
    /// The shard it was pulled from.
    pub shard: ShardId,
    /// The cursor of the request.
    pub cursor: Cursor,
    /// The checkpoint to save once everything in this page is durable (`x-log-cursor`).
    pub next: Cursor,
    /// The serialised `LogGroupList`, unpacked. Empty if there is nothing new, if a query dropped everything, and
    /// after [`Page::pack`].
    pub body: Bytes,
    /// The body as received, if that takes less memory.
    pub packed: Option<Packed>,
    /// Log groups in the body (`x-log-count`).
    pub groups: u32,
    /// Number of the last group's cursor (`x-log-read-last-cursor`), absent under a query.
    pub last_group: Option<i64>,
    /// Index of the first log, in its group or after the cursor. 0 except for a page that holds a single dead letter.
    pub first_log: u32,
    /// Whether the page reached the current end of the shard (`x-log-end-of-cursor`), if SLS sent it.
    pub at_end: Option<bool>,
    /// When SLS received the end of this page, in unix seconds by our clock (`x-log-cursor-time`).
    pub received_at: Option<i64>,
    /// Bytes that SLS read to make the page, before any query (`x-log-rawdatasize`); otherwise the size of the body.
    pub scanned_bytes: u64,
    /// Bytes of the page as received over the network.
    pub wire_bytes: u64,
}

impl Page {
    /// A page without logs from `cursor` to `next`, with nothing else known.
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

    /// Drops the body if it can be unpacked again. Most pages are not needed any more after the script has read them.
    pub fn pack(&mut self) {
        if self.packed.is_some() {
            self.body = Bytes::new();
        }
    }

    /// The body; unpacks it if necessary.
    #[must_use]
    pub fn unpacked(&self) -> Bytes {
        match &self.packed {
            Some(packed) if self.body.is_empty() => (packed.unpack)(&packed.bytes, packed.unpacked),
            _ => self.body.clone(),
        }
    }

    /// Bytes of memory that the page holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.len() + self.packed.as_ref().map_or(0, |packed| packed.bytes.len())
    }

    /// Bytes of memory that the page holds after [`Page::pack`].
    #[must_use]
    pub fn packed_weight(&self) -> usize {
        self.packed.as_ref().map_or(self.body.len(), |packed| packed.bytes.len())
    }

    /// Whether it has neither logs nor progress: the shard has nothing new.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.body.is_empty() && self.next == self.cursor
    }

    /// Whether the next cursor is before the requested one: continuing from there would deliver the same logs again
    /// and again. Cursors without numbers are assumed to go forward.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        matches!((self.cursor.number(), self.next.number()), (Some(from), Some(to)) if to < from)
    }

    /// The cursor number of log group number `group` of this page (Go SDK rule: last − n + 1 + i). `None` if it is
    /// unknown, or if the server's last number is out of range.
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
    fn a_packed_page_unpacks_to_its_body() {
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
    fn an_impossible_group_number_is_ignored() {
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
