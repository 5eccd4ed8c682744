//! Shards, and positions in them.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

/// A shard of the logstore, as SLS numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in a shard: opaque text from SLS, base64 of a decimal number.
///
/// It is the position of the next log group to read, not of the last one that was read. Cursors cannot be ordered by
/// their text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor from the text that SLS sent.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The cursor of the group with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        Self(BASE64.encode(number.to_string()))
    }

    /// The text that SLS sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number inside the cursor, if the cursor has the form that the vendor's SDKs rely on. The form is not
    /// documented, so only ids, displays and optional checks may use it.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        let bytes = BASE64.decode(&self.0).ok()?;
        std::str::from_utf8(&bytes).ok()?.parse().ok()
    }

    /// Whether it is between two cursors, or one of them. Cursors without numbers are not.
    #[must_use]
    pub fn is_within(&self, first: &Self, last: &Self) -> bool {
        match (self.number(), first.number(), last.number()) {
            (Some(number), Some(first), Some(last)) => (first..=last).contains(&number),
            _ => false,
        }
    }

    /// The cursor for people. If the number inside is a nanosecond time of this century, shows it as the time at
    /// which SLS received the group; otherwise the text that SLS sent. For display only: see [`Cursor::number`].
    #[must_use]
    pub fn when(&self) -> String {
        let time = self.number().and_then(|number| Timestamp::from_nanosecond(number.into()).ok());
        match time.filter(|time| time.as_second() >= FIRST_SECOND) {
            Some(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            None => self.0.clone(),
        }
    }

    /// The cursor for people beside another one: of two in the same second, the text that SLS sent is shown too.
    #[must_use]
    pub fn when_beside(&self, other: &Self) -> String {
        let when = self.when();
        match when == other.when() && when != self.0 {
            true => format!("{when} (cursor {})", self.0),
            false => when,
        }
    }
}

/// 2010-01-01, before SLS existed.
const FIRST_SECOND: i64 = 1_262_304_000;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a source of logs, unique within a process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// A source with this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A shard together with its source: `audit/3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardName {
    /// The source that it belongs to.
    pub source: SourceName,
    /// Its number in that source.
    pub shard: ShardId,
}

impl fmt::Display for ShardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.shard)
    }
}

/// A position between two logs of a shard: a cursor and a number of logs after it. Only a cursor can be saved, so
/// durable logs after the cursor are pulled again after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The last cursor before the position.
    pub cursor: Cursor,
    /// Number of logs of the page at the cursor that are before the position.
    pub logs: u32,
}

impl From<Cursor> for Place {
    fn from(cursor: Cursor) -> Self {
        Self { cursor, logs: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.logs {
            0 => self.cursor.fmt(f),
            logs => write!(f, "{}+{logs}", self.cursor),
        }
    }
}

/// The interval of a shard that a batch covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// Where it begins.
    pub from: Place,
    /// Where it ends. For a part of a page other than the last, the cursor is the same as in `from`.
    pub to: Place,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

/// A position in a shard: the start of a shard without a checkpoint, or the end of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest retained log.
    Begin,
    /// The current end. As a start, it means only logs that are written from now on.
    End,
    /// The first log that was received at or after this time, in unix seconds.
    Time(i64),
}

/// Where the reading of a shard ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The first cursor that is not read.
    pub cursor: Cursor,
    /// Whether no more logs can arrive before it. If false, look up the bound again when it is reached.
    pub is_final: bool,
}

impl Bound {
    /// Whether nothing is left to read at `cursor`. Cursors without numbers can only be compared for equality.
    #[must_use]
    pub fn is_reached(&self, cursor: &Cursor) -> bool {
        let is_behind = matches!((cursor.number(), self.cursor.number()), (Some(at), Some(end)) if at >= end);
        *cursor == self.cursor || is_behind
    }

    /// Whether `cursor` is after the bound: more was read than requested.
    #[must_use]
    pub fn is_passed(&self, cursor: &Cursor) -> bool {
        matches!((cursor.number(), self.cursor.number()), (Some(at), Some(end)) if at > end)
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("the oldest log"),
            Self::End => f.write_str("the end"),
            Self::Time(seconds) => match Timestamp::from_second(*seconds) {
                Ok(time) => time.fmt(f),
                Err(_) => write!(f, "unix second {seconds}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_shown_as_its_time_where_it_has_one() {
        assert_eq!(Cursor::new("MTUyNDE1NTM3OTM3MzkwODQ5Ng==").when(), "2018-04-19T16:29:39Z");
        assert_eq!(Cursor::from_number(7).when(), Cursor::from_number(7).as_str());
        assert_eq!(Cursor::new("opaque").when(), "opaque");
    }

    #[test]
    fn two_cursors_of_one_second_are_told_apart() {
        let at = |nanos: i64| Cursor::from_number(1_700_000_000_000_000_000 + nanos);
        let (first, second, later) = (at(1), at(2), at(1_000_000_000));
        assert_eq!(first.when_beside(&later), "2023-11-14T22:13:20Z");
        assert_eq!(first.when_beside(&second), format!("2023-11-14T22:13:20Z (cursor {first})"));
        assert_eq!(second.when_beside(&first), format!("2023-11-14T22:13:20Z (cursor {second})"));
        assert_eq!(Cursor::new("x").when_beside(&Cursor::new("x")), "x");
    }

    #[test]
    fn an_end_is_reached_at_its_cursor_and_after_it() {
        let bound = Bound { cursor: Cursor::from_number(5), is_final: true };
        let at = |number| Cursor::from_number(number);
        assert_eq!([4, 5, 6].map(|number| bound.is_reached(&at(number))), [false, true, true]);
        assert_eq!([4, 5, 6].map(|number| bound.is_passed(&at(number))), [false, false, true]);
        let opaque = Bound { cursor: Cursor::new("x"), is_final: true };
        assert!(opaque.is_reached(&Cursor::new("x")) && !opaque.is_reached(&Cursor::new("y")));
        assert!(!opaque.is_passed(&Cursor::new("y")));
    }
}
