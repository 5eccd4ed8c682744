//! Encodes a record as one line of JSON, and decodes it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{LogOrigin, Reason, Record};
use crate::core::cursor::{Cursor, ShardId};
use crate::core::destination_name::DestinationName;
use crate::core::printable::is_unprintable;

/// The newest format version.
const VERSION: u32 = 2;

/// The version of a line: the oldest version that has the reason, so that older programs can read as many lines as
/// possible.
fn version_of(record: &Record) -> u32 {
    if record.reason == Reason::DestinationDown { 2 } else { 1 }
}

/// The start of every line of every version; the digits of the version follow.
pub(super) const START: &[u8] = b"{\"v\":";

/// Separates the checked bytes of a line from the checksum.
const CRC_KEY: &[u8] = b",\"crc\":\"";

/// Maximum number of bytes of a code, and of a message.
const MAX_CODE_BYTES: usize = 64;
const MAX_MESSAGE: usize = 1024;

/// Appends `record` as one line, including the line feed.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    RecordLine::of(record)
        .serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Printable))
        .expect("every key is a string, and writing to a Vec cannot fail");
    out.pop();
    let crc = crc(&out[start..]);
    out.extend_from_slice(CRC_KEY);
    out.extend_from_slice(format!("{crc:08x}\"}}\n").as_bytes());
}

/// Decodes a line without its line feed.
pub(super) fn decode(line: &[u8]) -> Result<Record, Defect> {
    if !is_sound(line) {
        return Err(Defect::Damaged);
    }
    match version(line) {
        Some(1..=VERSION) => {}
        Some(newer) if newer > VERSION => return Err(Defect::Newer(newer)),
        _ => return Err(Defect::Foreign("it has an unknown format version".to_owned())),
    }
    let line: RecordLine<'_> = serde_json::from_slice(line).map_err(|error| Defect::Foreign(error.to_string()))?;
    line.record().map_err(|problem| Defect::Foreign(problem.to_owned()))
}

/// Whether the checksum at the end of a line matches the bytes before it, in any format version.
pub(super) fn is_sound(line: &[u8]) -> bool {
    let Some(checked) = line.len().checked_sub(CRC_KEY.len() + 10) else {
        return false;
    };
    let (checked, seal) = line.split_at(checked);
    seal == [CRC_KEY, format!("{:08x}\"}}", crc(checked)).as_bytes()].concat()
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// The checksum does not match.
    #[error("the checksum does not match: the line is damaged")]
    Damaged,
    /// The last line has no line feed: it is being written, or the program or the machine stopped during the write.
    /// Nothing is lost: no checkpoint moves past a record before it is complete.
    #[error("the last line is incomplete: it is being written, or its writer crashed (then the log is sent again)")]
    Unfinished,
    /// It was written by a newer program.
    #[error("written by a newer forwarder (format version {0}, this one reads {VERSION}): use that one to read it")]
    Newer(u32),
    /// The checksum matches, but the line is not a record.
    #[error("not a dead letter: {0}")]
    Foreign(String),
    /// The rest of the file cannot be read.
    #[error("cannot read further: {0}")]
    Io(#[from] io::Error),
}

fn version(line: &[u8]) -> Option<u32> {
    let rest = line.strip_prefix(START)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The keys of a line in order, without `crc`.
#[derive(Serialize, Deserialize)]
struct RecordLine<'a> {
    v: u32,
    id: Cow<'a, str>,
    at: Cow<'a, str>,
    reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination: Option<Cow<'a, str>>,
    code: Cow<'a, str>,
    message: Cow<'a, str>,
    project: Cow<'a, str>,
    logstore: Cow<'a, str>,
    shard: u32,
    cursor: Cow<'a, str>,
    log_index: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_index: Option<u32>,
    script: Cow<'a, str>,
    log: Pairs<'a>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log_base64: Vec<(usize, String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_base64: Option<String>,
}

impl<'a> RecordLine<'a> {
    fn of(record: &'a Record) -> Self {
        let (log, log_base64) = split(&record.log);
        let (event, event_base64) = match record.event.as_deref().map(|event| (event, std::str::from_utf8(event))) {
            None => (None, None),
            Some((_, Ok(text))) => (Some(text.into()), None),
            Some((bytes, Err(_))) => (None, Some(BASE64.encode(bytes))),
        };
        let LogOrigin { project, logstore, shard, cursor, log: log_index, event: event_index } = &record.origin;
        Self {
            v: version_of(record),
            id: record.id().into(),
            at: record.at.to_string().into(),
            reason: record.reason,
            destination: record.destination.as_ref().map(|name| name.as_str().into()),
            code: cut(&record.code, MAX_CODE_BYTES),
            message: cut(&record.message, MAX_MESSAGE),
            project: project.into(),
            logstore: logstore.into(),
            shard: shard.0,
            cursor: cursor.as_str().into(),
            log_index: *log_index,
            event_index: *event_index,
            script: (&record.script).into(),
            log,
            log_base64,
            event,
            event_base64,
        }
    }

    fn record(self) -> Result<Record, &'static str> {
        let text_bytes = |text: Cow<'_, str>| text.into_owned().into_bytes();
        let base64_bytes = |text: String| BASE64.decode(text).map_err(|_| "a text is not base64");
        let mut log: Vec<_> = self.log.0.into_iter().map(|(key, value)| (text_bytes(key), text_bytes(value))).collect();
        for (position, key, value) in self.log_base64 {
            if position > log.len() {
                return Err("a position in log_base64 is outside of the log");
            }
            log.insert(position, (base64_bytes(key)?, base64_bytes(value)?));
        }
        let destination = self.destination.map(|name| DestinationName::new(&name)).transpose();
        Ok(Record {
            at: self.at.parse().map_err(|_| "`at` is not a time")?,
            reason: self.reason,
            destination: destination.map_err(|_| "`destination` is not a name")?,
            code: self.code.into_owned(),
            message: self.message.into_owned(),
            origin: LogOrigin {
                project: self.project.into_owned(),
                logstore: self.logstore.into_owned(),
                shard: ShardId(self.shard),
                cursor: Cursor::new(self.cursor),
                log: self.log_index,
                event: self.event_index,
            },
            script: self.script.into_owned(),
            log,
            event: match (self.event, self.event_base64) {
                (Some(text), _) => Some(text_bytes(text)),
                (None, Some(text)) => Some(base64_bytes(text)?),
                (None, None) => None,
            },
        })
    }
}

/// The pairs that fit into a JSON object, and the other pairs with their positions.
fn split(log: &[(Vec<u8>, Vec<u8>)]) -> (Pairs<'_>, Vec<(usize, String, String)>) {
    let mut seen = BTreeSet::new();
    let mut plain = Vec::with_capacity(log.len());
    let mut other = Vec::new();
    for (position, (key, value)) in log.iter().enumerate() {
        match (std::str::from_utf8(key), std::str::from_utf8(value)) {
            (Ok(key), Ok(value)) if seen.insert(key) => plain.push((key.into(), value.into())),
            _ => other.push((position, BASE64.encode(key), BASE64.encode(value))),
        }
    }
    (Pairs(plain), other)
}

/// A text cut to at most `most` bytes, at a character boundary.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let mut end = most - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end]).into()
}

/// A JSON object of strings that keeps their order.
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Pairs<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'static>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    pairs.push((key.into(), value.into()));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// JSON on one line in which every [`is_unprintable`] character is escaped. (JSON requires this only below U+0020.)
struct Printable;

impl serde_json::ser::Formatter for Printable {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        for piece in fragment.split_inclusive(is_unprintable) {
            let (fine, odd) = piece.split_at(piece.find(is_unprintable).unwrap_or(piece.len()));
            out.write_all(fine.as_bytes())?;
            for unit in odd.encode_utf16() {
                write!(out, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}
