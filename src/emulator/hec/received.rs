//! The indexed events, and how many of them are kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// An event as Splunk would index it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received<'a> {
    /// `time` as it was sent, digit by digit; `None` means the time of receipt.
    pub time: Option<Cow<'a, str>>,
    /// `host`.
    pub host: Option<Cow<'a, str>>,
    /// `source`.
    pub source: Option<Cow<'a, str>>,
    /// `sourcetype`.
    pub sourcetype: Option<Cow<'a, str>>,
    /// `index`; `None` means the token's default index.
    pub index: Option<Cow<'a, str>>,
    /// Splunk's `_raw`: the text of a JSON string, any other JSON as it was written, a line of the raw endpoint.
    pub event_raw: Cow<'a, [u8]>,
    /// Indexed fields, each with its values as text. Integers are missing, because Splunk silently drops them.
    pub fields: BTreeMap<String, Vec<String>>,
    /// The request's channel.
    pub channel: Option<Cow<'a, str>>,
}

impl Received<'_> {
    /// The same event, independent of the request that brought it.
    #[must_use]
    pub fn into_owned(self) -> Received<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Received {
            time: own(self.time),
            host: own(self.host),
            source: own(self.source),
            sourcetype: own(self.sourcetype),
            index: own(self.index),
            event_raw: Cow::Owned(self.event_raw.into_owned()),
            fields: self.fields,
            channel: own(self.channel),
        }
    }
}

/// One line of `GET /_emulator/events`: `raw` is text, or `raw_base64` where the bytes are not UTF-8.
impl Serialize for Received<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("host", &self.host)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("sourcetype", &self.sourcetype)?;
        map.serialize_entry("index", &self.index)?;
        map.serialize_entry("channel", &self.channel)?;
        map.serialize_entry("fields", &self.fields)?;
        match std::str::from_utf8(&self.event_raw) {
            Ok(text) => map.serialize_entry("raw", text)?,
            Err(_) => map.serialize_entry("raw_base64", &BASE64_STANDARD.encode(&self.event_raw))?,
        }
        map.end()
    }
}

/// How many received events stay in memory. The counts always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Every event.
    All,
    /// The newest events, this many at most.
    Last(usize),
    /// No event, only [`Counts::digest`].
    Digest,
}

/// Sees every event at the moment it is indexed, in the order of indexing within a request. It must be quick: the
/// reply waits for it.
pub trait Tap: Send + Sync {
    /// An event has been indexed.
    fn indexed(&self, event: &Received<'_>);
}

impl<F: Fn(&Received<'_>) + Send + Sync> Tap for F {
    fn indexed(&self, event: &Received<'_>) {
        self(event);
    }
}

impl fmt::Debug for dyn Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// The counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Requests with events, whatever their result.
    pub requests: u64,
    /// Ack polls.
    pub polls: u64,
    /// Events indexed, duplicates included.
    pub events: u64,
    /// Bytes of their `_raw`.
    pub event_bytes: u64,
    /// Bytes of request bodies as they came over the wire.
    pub body_bytes: u64,
    /// Objects with `fields` and no `event`, which Splunk silently ignores.
    pub skipped: u64,
    /// Requests with a fault.
    pub faults: u64,
    /// Replies by status, those of faults included; 0 counts the requests that were cut off without a reply.
    pub replies: BTreeMap<u16, u64>,
    /// With [`Keep::Digest`], the wrapping sum of the first eight bytes (big-endian) of the SHA-256 of each event's
    /// `_raw`: the same for the same events in any order.
    pub digest: u64,
}

/// The store behind [`super::HecEmulator::received`].
#[derive(Debug)]
pub(super) struct Store {
    keep: Keep,
    pub(super) counts: Counts,
    kept: VecDeque<Received<'static>>,
}

impl Store {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, counts: Counts::default(), kept: VecDeque::new() }
    }

    /// Indexes events, in order.
    pub(super) fn index(&mut self, events: Vec<Received<'_>>) {
        for event in events {
            self.counts.events += 1;
            self.counts.event_bytes += event.event_raw.len() as u64;
            match self.keep {
                Keep::All => self.kept.push_back(event.into_owned()),
                Keep::Last(0) => {}
                Keep::Last(most) => {
                    if self.kept.len() == most {
                        self.kept.pop_front();
                    }
                    self.kept.push_back(event.into_owned());
                }
                Keep::Digest => {
                    let hash = Sha256::digest(&event.event_raw);
                    let first = u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes"));
                    self.counts.digest = self.counts.digest.wrapping_add(first);
                }
            }
        }
    }

    /// What is kept, oldest first.
    pub(super) fn kept(&self) -> Vec<Received<'static>> {
        self.kept.iter().cloned().collect()
    }
}
