//! What a hook returns, on its way into a destination's bytes.
//!
//! A hook's event is written straight into the batch: the script side lends the parts ([`Head`], [`Body`]), the
//! destination's [`Format`] lays them out.

use std::borrow::Cow;
use std::sync::Arc;

use super::destination_name::DestinationName;

/// The attributes of an event as the script gave them. What is absent comes from the settings of the destination.
///
/// All text is bytes: a log's bytes may be anything. A format cleans what its protocol cannot carry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Head<'a> {
    /// The names of the destinations that it goes to; none means all of them.
    pub to: Vec<Cow<'a, [u8]>>,
    /// When it happened.
    pub time: Option<Time<'a>>,
    /// `host` for HEC, HOSTNAME for syslog.
    pub host: Option<Cow<'a, [u8]>>,
    /// HEC `source`.
    pub source: Option<Cow<'a, [u8]>>,
    /// HEC `sourcetype`.
    pub sourcetype: Option<Cow<'a, [u8]>>,
    /// HEC `index`.
    pub index: Option<Cow<'a, [u8]>>,
    /// HEC indexed fields in the script's order, every value as text. A key may repeat: then it has several values.
    pub fields: Vec<Pair<'a>>,
    /// Syslog attributes.
    pub syslog: SyslogHead<'a>,
}

/// A name and its value.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The attributes that only syslog knows.
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

/// A moment as decimal text, so that no digit passes through a float.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time<'a> {
    /// Unix seconds, `-?[0-9]+`, or with a fraction `-?[0-9]+\.[0-9]+`. Already checked: nothing else gets here.
    pub digits: Cow<'a, str>,
    /// Nanoseconds within the second, when given apart (`time_ns`); then `digits` has no fraction.
    pub nanos: Option<u32>,
}

/// The event itself, lent by the script side, which knows how to write it without building a tree.
pub trait Body {
    /// Appends the event as one JSON value on one line. Invalid UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// What the script returned cannot be written as JSON; `out` may hold a torn value, which the caller cuts off.
    fn json(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError>;

    /// Appends the event as text: a string as its bytes, the log itself as `key=value` pairs each after `separator`
    /// in the dict's order, any other table as JSON.
    ///
    /// # Errors
    /// As for [`Body::json`].
    fn text(&mut self, separator: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError>;

    /// Appends the event as [`Body::text`] does, and where its pairs are, counted from where it begins, when it is the log
    /// itself.
    ///
    /// # Errors
    /// As for [`Body::json`].
    fn pairs(&mut self, separator: &[u8], places: &mut PairPlaces, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let _ = places;
        self.text(separator, out)
    }

    /// The time of the log that the event was made of, for a destination that needs one when the script gave none.
    fn log_time(&mut self) -> Option<Time<'static>> {
        None
    }
}

/// A pair in a text of `key=value`: the key lies between these two, and the value behind the `=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairPlace {
    /// Where the key begins.
    pub key: usize,
    /// Where the `=` is.
    pub equals: usize,
}

/// Where the pairs of a text are: a few without a heap allocation, as most logs have.
#[derive(Debug, Clone, Default)]
pub struct PairPlaces {
    few: [PairPlace; 24],
    len: usize,
    more: Vec<PairPlace>,
}

impl PairPlaces {
    /// Adds the next one.
    pub fn push(&mut self, place: PairPlace) {
        match self.few.get_mut(self.len) {
            Some(free) => *free = place,
            None => self.more.push(place),
        }
        self.len += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the text is none of pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All, in their order.
    pub fn iter(&self) -> impl Iterator<Item = PairPlace> {
        self.few[..self.len.min(self.few.len())].iter().chain(&self.more).copied()
    }
}

/// Why an event could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BodyError {
    /// Where in the returned value: `event.a.b[3]`.
    pub path: String,
    /// What is wrong there: "a function cannot be sent", "nested deeper than 64".
    pub problem: String,
    /// The key, when what is wrong is that an event has no such key.
    pub unknown_key: Option<String>,
}

impl BodyError {
    /// `problem` at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into(), unknown_key: None }
    }
}

/// How a destination lays an event out in a batch.
pub trait Format: Send + Sync {
    /// Appends one event, complete with whatever separates it from the next.
    ///
    /// # Errors
    /// The event cannot be written; the caller cuts `out` back to where it was.
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError>;
}

/// How the events of a hook are laid out: one format for each destination of the process, in their order.
#[derive(Clone)]
pub struct Formats(Arc<[DestinationFormat]>);

/// The format of one destination.
#[derive(Clone)]
pub struct DestinationFormat {
    /// What an event calls the destination to go there. One without a name gets every event.
    pub name: Option<DestinationName>,
    /// How events are laid out for it.
    pub format: Arc<dyn Format>,
}

impl Formats {
    /// How many destinations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The formats, in the order of the destinations.
    pub fn iter(&self) -> impl Iterator<Item = &DestinationFormat> {
        self.0.iter()
    }

    /// The number of the destination of this name.
    #[must_use]
    pub fn position(&self, name: &DestinationName) -> Option<usize> {
        self.0.iter().position(|one| one.is_called(name.as_str().as_bytes()))
    }

    /// Whether an event may name this destination: there is one of the name, or one that takes every event.
    #[must_use]
    pub fn knows(&self, name: &[u8]) -> bool {
        self.0.iter().any(|one| one.is_called(name))
    }
}

impl DestinationFormat {
    fn is_called(&self, name: &[u8]) -> bool {
        self.name.as_ref().is_none_or(|ours| ours.as_str().as_bytes() == name)
    }

    /// Whether an event goes there that names these destinations.
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

/// One format for every event, whatever destination it names.
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
