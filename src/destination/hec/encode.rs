//! Formats an event as a HEC event object.
//!
//! Only the seven keys that HEC knows are written: after an unknown key, Splunk silently skips the rest of the
//! request ("Format events for HTTP Event Collector").

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{Config, compat};
use crate::core::event::{Body, BodyError, Format, Head, Time};
use crate::destination::Preview;

/// Writes an encoded event with another index, otherwise unchanged.
pub(super) fn with_index(event: &[u8], index: &str, out: &mut Vec<u8>) {
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Envelope<'a> {
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        time: Option<&'a RawValue>,
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        host: Option<&'a RawValue>,
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        source: Option<&'a RawValue>,
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        sourcetype: Option<&'a RawValue>,
        #[serde(skip_deserializing)]
        index: &'a str,
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        event: Option<&'a RawValue>,
        #[serde(borrow, skip_serializing_if = "Option::is_none")]
        fields: Option<&'a RawValue>,
    }
    match serde_json::from_slice::<Envelope<'_>>(event) {
        Ok(envelope) => {
            serde_json::to_writer(&mut *out, &Envelope { index, ..envelope }).expect("writing to a Vec cannot fail");
            out.push(b'\n');
        }
        // It is not one of ours; the collector will reject it.
        Err(_) => out.extend_from_slice(event),
    }
}

/// HEC event objects, one per line. Attributes that an event does not set (or sets to empty text) come from the
/// settings.
#[derive(Debug, Clone)]
pub struct HecFormat {
    host: Option<String>,
    source: Option<String>,
    sourcetype: Option<String>,
    index: Option<String>,
    compat: bool,
    /// `,"host":…,"source":…,"sourcetype":…,"index":…` of the settings: used by nearly every event.
    usual: Vec<u8>,
}

/// The settings of the format, without the address.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// `host` of events that name none.
    pub host: Option<String>,
    /// `source` of events that name none.
    pub source: Option<String>,
    /// `sourcetype` of events that name none.
    pub sourcetype: Option<String>,
    /// `index` of events that name none.
    pub index: Option<String>,
    /// The form of the vendor's Python script: see [`Config::compat`].
    pub compat: bool,
}

impl HecFormat {
    /// The format with the settings' defaults.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with(Layout {
            host: config.host.clone(),
            source: config.source.clone(),
            sourcetype: config.sourcetype.clone(),
            index: config.index.clone(),
            compat: config.compat,
        })
    }

    /// The format with these defaults.
    #[must_use]
    pub fn with(layout: Layout) -> Self {
        let Layout { host, source, sourcetype, index, compat } = layout;
        let mut usual = Vec::new();
        let defaults = [("host", &host), ("source", &source), ("sourcetype", &sourcetype), ("index", &index)];
        for (key, value) in defaults {
            member(key, given(value.as_deref().map(Cow::Borrowed)), &mut usual);
        }
        Self { host, source, sourcetype, index, compat, usual }
    }

    fn write_plain(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let start = out.len();
        if let Some(time) = &head.time {
            out.extend_from_slice(b",\"time\":");
            write_time(time, out)?;
        }
        if head.host.is_none() && head.source.is_none() && head.sourcetype.is_none() && head.index.is_none() {
            out.extend_from_slice(&self.usual);
        } else {
            member("host", attribute(head.host.as_deref(), self.host.as_deref()), out);
            member("source", attribute(head.source.as_deref(), self.source.as_deref()), out);
            member("sourcetype", attribute(head.sourcetype.as_deref(), self.sourcetype.as_deref()), out);
            member("index", attribute(head.index.as_deref(), self.index.as_deref()), out);
        }
        out.extend_from_slice(b",\"event\":");
        let event = out.len();
        body.json(out)?;
        if is_blank(&out[event..]) {
            return Err(blank());
        }
        if !head.fields.is_empty() {
            out.extend_from_slice(b",\"fields\":");
            write_fields(head, out);
        }
        // Every member was written with a comma before it; the first of them opens the object.
        out[start] = b'{';
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    /// The object as Python's `json.dumps(…, sort_keys=True)` writes it, with `event` a string and `time` too.
    fn write_compat(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let start = out.len();
        body.json(out)?;
        let text = if out[start..].starts_with(b"\"") {
            // The script already returned text, as the Python script does with `json.dumps(log)`.
            if is_blank(&out[start..]) {
                return Err(blank());
            }
            let mut text = Vec::new();
            compat::dumps(&out[start..], &mut text);
            text
        } else {
            let mut dumped = Vec::new();
            compat::dumps(&out[start..], &mut dumped);
            let mut text = Vec::new();
            compat::quote(&String::from_utf8_lossy(&dumped), &mut text);
            text
        };
        out.truncate(start);
        out.extend_from_slice(b"{\"event\": ");
        out.extend_from_slice(&text);
        if !head.fields.is_empty() {
            let mut fields = Vec::new();
            write_fields(head, &mut fields);
            out.extend_from_slice(b", \"fields\": ");
            compat::dumps(&fields, out);
        }
        let attributes = [
            ("host", attribute(head.host.as_deref(), self.host.as_deref())),
            ("index", attribute(head.index.as_deref(), self.index.as_deref())),
            ("source", attribute(head.source.as_deref(), self.source.as_deref())),
            ("sourcetype", attribute(head.sourcetype.as_deref(), self.sourcetype.as_deref())),
        ];
        for (key, value) in attributes {
            if let Some(value) = value {
                out.extend_from_slice(format!(", \"{key}\": ").as_bytes());
                compat::quote(&value, out);
            }
        }
        if let Some(time) = &head.time {
            out.extend_from_slice(b", \"time\": \"");
            write_time(time, out)?;
            out.push(b'"');
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

impl Preview for HecFormat {
    fn preview(&self, event: &[u8]) -> Vec<String> {
        vec![String::from_utf8_lossy(event).into_owned()]
    }
}

impl Format for HecFormat {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        if self.compat { self.write_compat(head, body, out) } else { self.write_plain(head, body, out) }
    }
}

/// The event's own attribute, else that of the settings. Empty text counts as absent.
fn attribute<'a>(own: Option<&'a [u8]>, default: Option<&'a str>) -> Option<Cow<'a, str>> {
    given(own.map(String::from_utf8_lossy)).or(given(default.map(Cow::Borrowed)))
}

fn given(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    text.filter(|text| !text.is_empty())
}

/// Appends `,"key":"value"`, if there is a value.
fn member(key: &str, value: Option<Cow<'_, str>>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        quote(&value, out);
    }
}

/// Appends `text` as a JSON string.
fn quote(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is valid JSON, and writing to a Vec cannot fail");
}

/// Appends the digits unchanged: a float cannot hold nanoseconds of this century, and Splunk refuses the exponents
/// with which a float may be printed.
fn write_time(time: &Time<'_>, out: &mut Vec<u8>) -> Result<(), BodyError> {
    let (sign, digits) = match time.digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", &*time.digits),
    };
    // JSON allows no leading zeros, except a single one before the fraction.
    let zeros = match digits.bytes().take_while(|byte| *byte == b'0').count() {
        zeros if digits.as_bytes().get(zeros).is_none_or(|next| *next == b'.') => zeros.saturating_sub(1),
        zeros => zeros,
    };
    out.extend_from_slice(sign.as_bytes());
    out.extend_from_slice(&digits.as_bytes()[zeros..]);
    match time.nanos {
        None => Ok(()),
        Some(nanos) if nanos >= 1_000_000_000 => {
            Err(BodyError::new("time_ns", format!("{nanos} is more than 999999999, the nanoseconds of a second")))
        }
        Some(_) if sign == "-" => {
            Err(BodyError::new("time_ns", "cannot go with a negative time: write the fraction into time"))
        }
        Some(nanos) => {
            out.extend_from_slice(format!(".{nanos:09}").as_bytes());
            Ok(())
        }
    }
}

/// Appends a flat object. Every value is a string, because Splunk silently drops integers here; a repeated key gets
/// an array, at the position of the first.
fn write_fields(head: &Head<'_>, out: &mut Vec<u8>) {
    let mut grouped: Vec<(Cow<'_, str>, Vec<Cow<'_, str>>)> = Vec::with_capacity(head.fields.len());
    let mut places = BTreeMap::new();
    for (key, value) in &head.fields {
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        let place = *places.entry(key.clone()).or_insert(grouped.len());
        match grouped.get_mut(place) {
            Some((_, values)) => values.push(value),
            None => grouped.push((key, vec![value])),
        }
    }
    let mut before = b'{';
    for (key, values) in &grouped {
        out.push(before);
        before = b',';
        quote(key, out);
        out.push(b':');
        match values.as_slice() {
            [value] => quote(value, out),
            values => {
                let mut before = b'[';
                for value in values {
                    out.push(before);
                    before = b',';
                    quote(value, out);
                }
                out.push(b']');
            }
        }
    }
    out.push(b'}');
}

/// What Splunk answers with code 13, "Event field cannot be blank".
fn is_blank(event: &[u8]) -> bool {
    match event.trim_ascii() {
        b"" | b"null" => true,
        [b'{', inside @ .., b'}'] | [b'[', inside @ .., b']'] => inside.trim_ascii().is_empty(),
        // Text that begins with a visible character is not blank.
        [b'"', first, ..] if !matches!(first, b' ' | b'\\' | b'"') && first.is_ascii() => false,
        text @ [b'"', ..] => {
            serde_json::from_slice::<Cow<'_, str>>(text).is_ok_and(|text| text.trim_ascii().is_empty())
        }
        _ => false,
    }
}

fn blank() -> BodyError {
    BodyError::new(
        "event",
        "Splunk takes no blank event (null, \"\", white space, {} or []); to drop the log, return nil",
    )
}

#[cfg(test)]
mod tests;
