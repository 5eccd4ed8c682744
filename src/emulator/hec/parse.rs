//! Reads a request's body as Splunk does: as a stream of objects, up to the first bad one.
//!
//! The rules are those of Splunk's "Format events for HTTP Event Collector" and, where the manual is silent, what
//! Splunk 10.4 was measured to do: the objects before a bad one are indexed, the bad one and all after it are not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::received::Received;
use super::reply::Code;

/// The request's defaults for its events, and the permissions of the token.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) host: Option<String>,
    pub(super) source: Option<String>,
    pub(super) sourcetype: Option<String>,
    pub(super) index: Option<String>,
    pub(super) channel: Option<String>,
    /// Indexes that the token may write to; `None` accepts every name, even of an index that does not exist.
    pub(super) indexes: Option<Vec<String>>,
    /// Most bytes of the JSON of one event (`maxEventSize` in inputs.conf).
    pub(super) max_event: usize,
}

/// The content of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading<'a> {
    /// The events to index.
    pub(super) events: Vec<Received<'a>>,
    /// Objects with `fields` and no `event`.
    pub(super) skipped: u64,
    /// Why reading stopped.
    pub(super) end: End,
}

/// Why reading stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing was left.
    Complete,
    /// An object has an unknown key. Splunk silently stops there.
    ForeignKey,
    /// An object was refused. `number` is what Splunk reports: the object's index counted from 0, but from 1 for
    /// [`Code::INCORRECT_INDEX`].
    Refused { code: Code, number: u64 },
}

/// Reads JSON events: objects with or without whitespace between them, or arrays of objects.
pub(super) fn events<'a>(body: &'a [u8], rules: &'a Rules) -> Reading<'a> {
    let mut reading = Reading { events: Vec::new(), skipped: 0, end: End::Complete };
    for item in serde_json::Deserializer::from_slice(body).into_iter::<Item<'a>>() {
        let envelopes = match item {
            Ok(Item::One(envelope)) => vec![envelope],
            Ok(Item::Many(envelopes)) => envelopes,
            Err(_) => {
                let number = reading.events.len() as u64 + reading.skipped;
                reading.end = End::Refused { code: Code::INVALID_DATA, number };
                break;
            }
        };
        for envelope in envelopes {
            let number = reading.events.len() as u64 + reading.skipped;
            if envelope.foreign {
                reading.end = End::ForeignKey;
                return reading;
            }
            match envelope.check(rules) {
                Ok(Some(event)) => reading.events.push(event),
                Ok(None) => reading.skipped += 1,
                Err(code) => {
                    let number = if code == Code::INCORRECT_INDEX { number + 1 } else { number };
                    reading.end = End::Refused { code, number };
                    return reading;
                }
            }
        }
    }
    reading
}

/// Reads the body of the raw endpoint: every line that is not blank is an event.
pub(super) fn lines<'a>(body: &'a [u8], rules: &'a Rules) -> Reading<'a> {
    if !rules.allows(rules.index.as_deref()) {
        let end = End::Refused { code: Code::INCORRECT_INDEX, number: 1 };
        return Reading { events: Vec::new(), skipped: 0, end };
    }
    let events = body
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.trim_ascii().is_empty())
        .map(|line| Received {
            time: None,
            host: rules.host.as_deref().map(Cow::Borrowed),
            source: rules.source.as_deref().map(Cow::Borrowed),
            sourcetype: rules.sourcetype.as_deref().map(Cow::Borrowed),
            index: rules.index.as_deref().map(Cow::Borrowed),
            event_raw: Cow::Borrowed(line),
            fields: BTreeMap::new(),
            channel: rules.channel.as_deref().map(Cow::Borrowed),
        })
        .collect();
    Reading { events, skipped: 0, end: End::Complete }
}

impl Rules {
    fn allows(&self, index: Option<&str>) -> bool {
        match (&self.indexes, index) {
            (Some(allowed), Some(index)) => allowed.iter().any(|name| name == index),
            _ => true,
        }
    }
}

/// An event object, not yet validated.
#[derive(Default)]
struct Envelope<'a> {
    time: Option<&'a RawValue>,
    host: Option<&'a RawValue>,
    source: Option<&'a RawValue>,
    sourcetype: Option<&'a RawValue>,
    index: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    fields: Option<&'a RawValue>,
    foreign: bool,
}

impl<'a> Envelope<'a> {
    /// The event to index, `None` for an object that Splunk ignores, or why it is refused.
    fn check(&self, rules: &'a Rules) -> Result<Option<Received<'a>>, Code> {
        let Some(event) = self.event else {
            return if self.fields.is_some() { Ok(None) } else { Err(Code::EVENT_REQUIRED) };
        };
        let event_raw = event_raw(event.get(), rules.max_event)?;
        let time = self.time.map(|time| time_digits(time.get())).transpose()?;
        let fields = self.fields.map(|fields| indexed_fields(fields.get())).transpose()?.unwrap_or_default();
        let index = attribute(self.index, rules.index.as_deref())?;
        if !rules.allows(index.as_deref()) {
            return Err(Code::INCORRECT_INDEX);
        }
        Ok(Some(Received {
            time,
            host: attribute(self.host, rules.host.as_deref())?,
            source: attribute(self.source, rules.source.as_deref())?,
            sourcetype: attribute(self.sourcetype, rules.sourcetype.as_deref())?,
            index,
            event_raw,
            fields,
            channel: rules.channel.as_deref().map(Cow::Borrowed),
        }))
    }
}

/// The bytes that become `_raw`.
fn event_raw(json: &str, most: usize) -> Result<Cow<'_, [u8]>, Code> {
    if json.len() > most {
        return Err(Code::INVALID_DATA);
    }
    let inside = || json[1..json.len() - 1].trim_ascii();
    match json.as_bytes()[0] {
        b'"' => match text(json)? {
            text if text.trim().is_empty() => Err(Code::EVENT_BLANK),
            Cow::Borrowed(text) => Ok(Cow::Borrowed(text.as_bytes())),
            Cow::Owned(text) => Ok(Cow::Owned(text.into_bytes())),
        },
        b'n' => Err(Code::EVENT_BLANK),
        b'{' | b'[' if inside().is_empty() => Err(Code::EVENT_BLANK),
        _ => Ok(Cow::Borrowed(json.as_bytes())),
    }
}

/// `time` as text. Splunk takes a number or a numeric string, and no exponent.
fn time_digits(json: &str) -> Result<Cow<'_, str>, Code> {
    let digits = if json.starts_with('"') { text(json)? } else { Cow::Borrowed(json) };
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(whole) && is_number(fraction) { Ok(digits) } else { Err(Code::INDEXED_FIELDS) }
}

/// `host`, `source`, `sourcetype` or `index`: a string, else what the URL says.
fn attribute<'a>(json: Option<&'a RawValue>, otherwise: Option<&'a str>) -> Result<Option<Cow<'a, str>>, Code> {
    match json.map(RawValue::get) {
        None | Some("null") => Ok(otherwise.map(Cow::Borrowed)),
        Some(json) if json.starts_with('"') => text(json).map(Some),
        Some(_) => Err(Code::INVALID_DATA),
    }
}

/// `fields`: scalars, or arrays of scalars. Integers are silently dropped, and nulls have no value to index.
fn indexed_fields(json: &str) -> Result<BTreeMap<String, Vec<String>>, Code> {
    let given: BTreeMap<Text<'_>, &RawValue> = serde_json::from_str(json).map_err(|_| Code::INVALID_DATA)?;
    let mut fields = BTreeMap::new();
    for (Text(key), value) in given {
        let values = if value.get().starts_with('[') {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| Code::INVALID_DATA)?;
            elements.into_iter().map(|element| field_value(element.get())).collect::<Result<Vec<_>, _>>()?
        } else {
            vec![field_value(value.get())?]
        };
        let values: Vec<String> = values.into_iter().flatten().collect();
        if !values.is_empty() {
            fields.insert(key.into_owned(), values);
        }
    }
    Ok(fields)
}

fn field_value(json: &str) -> Result<Option<String>, Code> {
    match json.as_bytes()[0] {
        b'"' => text(json).map(|text| Some(text.into_owned())),
        b'{' | b'[' => Err(Code::INDEXED_FIELDS),
        b'n' => Ok(None),
        b't' | b'f' => Ok(Some(json.to_owned())),
        _ if json.contains(['.', 'e', 'E']) => Ok(Some(json.to_owned())),
        _ => Ok(None),
    }
}

/// The text of a JSON string.
fn text(json: &str) -> Result<Cow<'_, str>, Code> {
    serde_json::from_str::<Text<'_>>(json).map(|Text(text)| text).map_err(|_| Code::INVALID_DATA)
}

/// A string that is borrowed when it holds no escape.
#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The values at the top level of a body.
enum Item<'a> {
    One(Envelope<'a>),
    Many(Vec<Envelope<'a>>),
}

impl<'de> Deserialize<'de> for Item<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TopLevel)
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(TopLevel)? {
            Item::One(envelope) => Ok(envelope),
            Item::Many(_) => Err(D::Error::custom("an array within an array")),
        }
    }
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object or an array of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(Text(key)) = map.next_key()? {
            let slot = match key.as_ref() {
                "time" => &mut envelope.time,
                "host" => &mut envelope.host,
                "source" => &mut envelope.source,
                "sourcetype" => &mut envelope.sourcetype,
                "index" => &mut envelope.index,
                "event" => &mut envelope.event,
                "fields" => &mut envelope.fields,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    envelope.foreign = true;
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(Item::One(envelope))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Item<'de>, A::Error> {
        let mut envelopes = Vec::new();
        while let Some(envelope) = sequence.next_element()? {
            envelopes.push(envelope);
        }
        Ok(Item::Many(envelopes))
    }
}
