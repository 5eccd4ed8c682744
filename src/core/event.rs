//! An event that a hook returned, and how it is encoded for a destination.
//!
//! An event is encoded directly into the batch: the script side provides its parts ([`Head`], [`Body`]), and the
//! [`Format`] of the destination encodes them.

use std::borrow::Cow;
use std::sync::Arc;

use super::destination_name::DestinationName;

/// The attributes of an event as the script set them. Missing attributes are taken from the settings of the
/// destination.
///
/// All text is bytes, because a log may contain any bytes. A format replaces what its protocol does not allow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Head<'a> {
    /// The names of the destinations that get the event. Empty means all of them.
    pub to: Vec<Cow<'a, [u8]>>,
    /// The time of the event.
    pub time: Option<Time<'a>>,
    /// `host` for HEC, HOSTNAME for syslog.
    pub host: Option<Cow<'a, [u8]>>,
    /// HEC `source`.
    pub source: Option<Cow<'a, [u8]>>,
    /// HEC `sourcetype`.
    pub sourcetype: Option<Cow<'a, [u8]>>,
    /// HEC `index`.
    pub index: Option<Cow<'a, [u8]>>,
    /// HEC indexed fields in the script's order, with every value as text. A repeated key has several values.
    pub fields: Vec<Pair<'a>>,
    /// Syslog attributes.
    pub syslog: SyslogHead<'a>,
}

/// A name and its value.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The attributes that only syslog has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SyslogHead<'a> {
    /// 0..=23 (RFC 5424 table 1).
    pub facility: Option<u8>,
    /// 0..=7 (RFC 5424 table 2).
    pub severity: Option<u8>,
    /// APP-NAME.
    pub program: Option<Cow<'a, [u8]>>,
    /// PROCID.
    pub procid: Option<Cow<'a, [u8]>>,
    /// MSGID.
    pub msgid: Option<Cow<'a, [u8]>>,
    /// SD-ELEMENTs: id, then name and value pairs.
    pub structured_data: Vec<(Cow<'a, [u8]>, Vec<Pair<'a>>)>,
}

/// A time as decimal text, so that no precision is lost in a float.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time<'a> {
    /// Unix seconds, `-?[0-9]+`, or with a fraction, `-?[0-9]+\.[0-9]+`. Already validated.
    pub digits: Cow<'a, str>,
    /// Nanoseconds within the second, if they were given separately (`time_ns`). Then `digits` has no fraction.
    pub nanos: Option<u32>,
}

/// The content of an event, provided by the script side, which can encode it without building a tree.
pub trait Body {
    /// Appends the event as one JSON value on one line. Invalid UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// The value cannot be written as JSON. `out` may then end with an incomplete value, which the caller removes.
    fn json(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError>;

    /// Appends the event as text: a string as its bytes; the log itself as `key=value` pairs in the dict's order,
    /// each after `separator`; any other table as JSON.
    ///
    /// # Errors
    /// As for [`Body::json`].
    fn text(&mut self, separator: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError>;

    /// Like [`Body::text`]. If the event is the log itself, also adds the positions of its pairs, relative to the
    /// start of the event.
    ///
    /// # Errors
    /// As for [`Body::json`].
    fn pairs(&mut self, separator: &[u8], places: &mut PairPlaces, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let _ = places;
        self.text(separator, out)
    }

    /// The time of the log that the event was made from, for a destination that needs a time when the script set
    /// none.
    fn log_time(&mut self) -> Option<Time<'static>> {
        None
    }
}

/// The position of a pair in a `key=value` text: the key is between `key` and `equals`, and the value is after the
/// `=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairPlace {
    /// Start of the key.
    pub key: usize,
    /// Position of the `=`.
    pub equals: usize,
}

/// The positions of the pairs of a text. Stores a few without a heap allocation, enough for most logs.
#[derive(Debug, Clone, Default)]
pub struct PairPlaces {
    few: [PairPlace; 24],
    len: usize,
    more: Vec<PairPlace>,
}

impl PairPlaces {
    /// Adds the next position.
    pub fn push(&mut self, place: PairPlace) {
        match self.few.get_mut(self.len) {
            Some(free) => *free = place,
            None => self.more.push(place),
        }
        self.len += 1;
    }

    /// The number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All positions, in order.
    pub fn iter(&self) -> impl Iterator<Item = PairPlace> {
        self.few[..self.len.min(self.few.len())].iter().chain(&self.more).copied()
    }
}

/// Why an event cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BodyError {
    /// Path to the fault in the returned value: `event.a.b[3]`.
    pub path: String,
    /// The fault: "a function cannot be sent", "nested deeper than 64".
    pub problem: String,
    /// The key, if the fault is a key that events do not have.
    pub unknown_key: Option<String>,
}

impl BodyError {
    /// `problem` at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into(), unknown_key: None }
    }
}

/// The encoding of events for a destination.
pub trait Format: Send + Sync {
    /// Appends one event, including the separator to the next one.
    ///
    /// # Errors
    /// The event cannot be encoded. The caller truncates `out` to its previous length.
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError>;
}

/// The formats of a hook's events: one for each destination of the process, in their order.
#[derive(Clone)]
pub struct Formats(Arc<[DestinationFormat]>);

/// The format of one destination.
#[derive(Clone)]
pub struct DestinationFormat {
    /// The name by which an event selects the destination. Without a name, the destination gets every event.
    pub name: Option<DestinationName>,
    /// The encoding of its events.
    pub format: Arc<dyn Format>,
}

impl Formats {
    /// The number of destinations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no destinations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The formats, in the order of the destinations.
    pub fn iter(&self) -> impl Iterator<Item = &DestinationFormat> {
        self.0.iter()
    }

    /// The index of the destination with this name.
    #[must_use]
    pub fn position(&self, name: &DestinationName) -> Option<usize> {
        self.0.iter().position(|one| one.is_called(name.as_str().as_bytes()))
    }

    /// Whether an event may select this name: a destination has it, or a destination without a name gets every event.
    #[must_use]
    pub fn knows(&self, name: &[u8]) -> bool {
        self.0.iter().any(|one| one.is_called(name))
    }
}

impl DestinationFormat {
    fn is_called(&self, name: &[u8]) -> bool {
        self.name.as_ref().is_none_or(|ours| ours.as_str().as_bytes() == name)
    }

    /// Whether an event that selects these names goes to this destination.
    #[must_use]
    #[inline]
    pub fn is_meant(&self, to: &[Cow<'_, [u8]>]) -> bool {
        to.is_empty() || to.iter().any(|name| self.is_called(name))
    }
}

impl From<Vec<DestinationFormat>> for Formats {
    fn from(formats: Vec<DestinationFormat>) -> Self {
        Self(formats.into())
    }
}

/// One format for every event, whichever destinations it selects.
impl From<Arc<dyn Format>> for Formats {
    fn from(format: Arc<dyn Format>) -> Self {
        Self([DestinationFormat { name: None, format }].into())
    }
}

impl<F: Format + 'static> From<Arc<F>> for Formats {
    fn from(format: Arc<F>) -> Self {
        Self::from(format as Arc<dyn Format>)
    }
}
