//! Formats an event as framed syslog messages.
//!
//! The bytes of a log stay within its message: header fields are restricted to what the standard allows, control
//! characters that could end a frame are escaped, and only this module writes the count or the line feed around a
//! message.

mod escape;
mod rfc3164;
mod rfc5424;
pub(crate) mod structured;
mod timestamp;

use sha2::{Digest as _, Sha256};

use super::number::number;
use super::{Config, Framing, Layout, Oversize, Standard, Transport};
use crate::core::event::{Body, BodyError, Format, Head, PairPlaces};
use crate::destination::Preview;
use escape::Escape;
use structured::Lent;
use timestamp::Moment;

/// SD-ID of the part of a split message. A private id needs a number after the `@`; this one is reserved for
/// documentation (RFC 5612).
const PART: &[u8] = b"part@32473";

/// UTF-8's byte order mark.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// The text between opening and message in RFC 5424.
const SPACE_BOM: &[u8] = " \u{feff}".as_bytes();

/// Syslog messages, framed for the transport: for UDP and RELP with a count in front, by which the transport
/// separates them ([`frames`]).
///
/// An event is one message, or several if it is split. Attributes that it does not set (or sets to empty text) come
/// from the settings, and its time from the log.
#[derive(Debug, Clone)]
pub struct SyslogFormat {
    layout: Layout,
    framing: Framing,
    escape: Escape,
    /// Maximum size of a message, in bytes.
    limit: usize,
}

impl SyslogFormat {
    /// The format that the settings describe.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let most = config.layout.max_message;
        let (framing, limit) = match config.transport {
            Transport::Udp { max_datagram, .. } => (Framing::Octet, most.min(max_datagram)),
            Transport::Relp(_) => (Framing::Octet, most),
            Transport::Tcp | Transport::Tls(_) => (config.framing, most),
        };
        Self { limit, ..Self::with(config.layout.clone(), framing) }
    }

    /// Messages with this layout and framing, up to this size.
    #[must_use]
    pub fn with(layout: Layout, framing: Framing) -> Self {
        let limit = layout.max_message;
        let escape = Escape::new(framing, layout.compat.is_some(), &layout.separator);
        Self { escape, layout, framing, limit }
    }

    /// Appends the part before the text of a message; [`SyslogFormat::lead`] comes between.
    fn open(&self, event: &MessageParts<'_>, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let layout = &self.layout;
        let syslog = &event.head.syslog;
        let facility = syslog.facility.unwrap_or(layout.facility);
        let severity = syslog.severity.unwrap_or(layout.severity);
        let priority = facility.min(23) * 8 + severity.min(7);
        let hostname = given(event.head.host.as_deref(), &layout.hostname);
        let program = given(syslog.program.as_deref(), &layout.program);
        let procid = syslog.procid.as_deref().unwrap_or_default();
        match &layout.standard {
            Standard::Rfc5424 => {
                let opening = rfc5424::Opening {
                    priority,
                    moment: event.moment,
                    compat: layout.compat.as_ref(),
                    hostname,
                    program,
                    procid,
                    msgid: syslog.msgid.as_deref().unwrap_or_default(),
                    elements: &event.elements,
                };
                opening.write(self.escape, out);
            }
            Standard::Rfc3164 { full_time, zone } => {
                let moment = event.moment.ok_or_else(|| {
                    BodyError::new("time", "missing, and the log has none either: RFC 3164 requires it")
                })?;
                let (full_time, brings_tag) = (*full_time, event.brings_tag);
                let opening =
                    rfc3164::Opening { priority, moment, zone, full_time, hostname, program, procid, brings_tag };
                opening.write(out);
            }
        }
        Ok(())
    }

    /// The part between the opening and `text`. Text that begins with a byte order mark gets another one, because
    /// receivers remove the first (RFC 5424 section 6.4).
    fn lead(&self, text: &[u8]) -> &'static [u8] {
        match self.layout.standard {
            Standard::Rfc5424 if text.is_empty() => b"",
            Standard::Rfc5424 if self.layout.bom || text.starts_with(BOM) => SPACE_BOM,
            Standard::Rfc5424 => b" ",
            Standard::Rfc3164 { .. } => b"",
        }
    }

    /// The SD-ELEMENTs of the event, or of the settings if it has none.
    fn elements<'a>(&'a self, head: &'a Head<'_>) -> Vec<Lent<'a>> {
        if head.syslog.structured_data.is_empty() {
            let own = self.layout.structured_data.iter();
            own.map(|(id, pairs)| (id.as_bytes(), pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect()))
                .collect()
        } else {
            let theirs = head.syslog.structured_data.iter();
            theirs.map(|(id, pairs)| (&**id, pairs.iter().map(|(k, v)| (&**k, &**v)).collect())).collect()
        }
    }

    /// Appends an event whose message is too long; `opening` is the part before its `text`.
    fn write_oversize(
        &self,
        event: &MessageParts<'_>,
        opening: &[u8],
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), BodyError> {
        match self.layout.oversize {
            Oversize::DeadLetter => Err(BodyError::new(
                "event",
                format!(
                    "a message of {} bytes is longer than the {} that syslog.max_message allows",
                    opening.len() + self.lead(text).len() + text.len(),
                    self.limit
                ),
            )),
            Oversize::Truncate => {
                let note = format!(" [truncated: {} bytes, sha256 {}]", text.len(), hex(&Sha256::digest(text)));
                let room = self.room(opening.len() + SPACE_BOM.len() + note.len())?;
                let kept = &text[..self.escape.cut(text, room)];
                self.frame(&[opening, self.lead(kept), kept, note.as_bytes()], out);
                Ok(())
            }
            Oversize::Split => self.write_parts(event, text, out),
        }
    }

    fn write_parts(&self, event: &MessageParts<'_>, text: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        let id = hex(&Sha256::digest(text)[..8]);
        // A part number has at most as many digits as the length of the text.
        let widest = self.open_part(event, &id, text.len(), text.len())?;
        let room = self.room(widest.len() + SPACE_BOM.len())?;
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(self.escape.cut(rest, room));
            parts.push(part);
            rest = behind;
        }
        for (place, part) in parts.iter().enumerate() {
            let opening = self.open_part(event, &id, place + 1, parts.len())?;
            self.frame(&[&opening, self.lead(part), part], out);
        }
        Ok(())
    }

    /// The beginning of a part: structured data in RFC 5424, or text in RFC 3164, has its number.
    fn open_part(&self, event: &MessageParts<'_>, id: &str, part: usize, of: usize) -> Result<Vec<u8>, BodyError> {
        let mut opening = Vec::new();
        if matches!(self.layout.standard, Standard::Rfc5424) {
            let (part, of) = (part.to_string(), of.to_string());
            let pairs = [("id", id), ("part", &part), ("of", &of)].map(|(k, v)| (k.as_bytes(), v.as_bytes()));
            let mut elements = event.elements.clone();
            elements.push((PART, pairs.to_vec()));
            let whole = MessageParts { elements, ..*event };
            self.open(&whole, &mut opening)?;
        } else {
            self.open(event, &mut opening)?;
            opening.extend_from_slice(format!("[part {part}/{of} id={id}] ").as_bytes());
        }
        Ok(opening)
    }

    /// The room for text within the limit: at least a quarter of it, otherwise parts would be mostly header.
    fn room(&self, taken: usize) -> Result<usize, BodyError> {
        let room = self.limit.saturating_sub(taken);
        if room < self.limit.div_ceil(4) {
            return Err(BodyError::new(
                "event",
                format!(
                    "it is too long for one message, and header and structured data take {taken} of the {} bytes that \
                     syslog.max_message allows",
                    self.limit
                ),
            ));
        }
        Ok(room)
    }

    /// Appends a message made of these pieces, with its frame.
    fn frame(&self, pieces: &[&[u8]], out: &mut Vec<u8>) {
        if self.framing == Framing::Octet {
            let len: usize = pieces.iter().map(|piece| piece.len()).sum();
            number(len, out);
            out.push(b' ');
        }
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        if self.framing == Framing::Lf {
            out.push(b'\n');
        }
    }
}

impl Preview for SyslogFormat {
    fn preview(&self, event: &[u8]) -> Vec<String> {
        frames(event, self.framing).map(|message| String::from_utf8_lossy(message).into_owned()).collect()
    }
}

impl Format for SyslogFormat {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let time = match &head.time {
            Some(time) => Some(Moment::of(time)?),
            None => body.log_time().and_then(|time| Moment::of(&time).ok()),
        };
        let start = out.len();
        let (separator, mut places) = (self.layout.separator.as_bytes(), PairPlaces::default());
        body.pairs(separator, &mut places, out)?;
        self.escape.clean_pairs(start, separator, &places, out);
        let brings_tag = rfc3164::brings_tag(&out[start..]);
        let event = MessageParts { head, moment: time, elements: self.elements(head), brings_tag };
        let lead = self.lead(&out[start..]);
        // The opening depends on the text, so it is written after the text and then the two are exchanged: a message
        // needs no allocation, and its text is moved once.
        let end = out.len();
        self.open(&event, out)?;
        let opened = out.len();
        out.extend_from_slice(lead);
        let len = out.len() - start;
        if len > self.limit {
            let opening = out[end..opened].to_vec();
            out.truncate(end);
            let text = out.split_off(start);
            return self.write_oversize(&event, &opening, &text, out);
        }
        let counted = out.len();
        if self.framing == Framing::Octet {
            number(len, out);
            out.push(b' ');
        }
        let (before, count) = (out.len() - end, out.len() - counted);
        out[start..].rotate_right(before);
        out[start..start + before].rotate_right(count);
        if self.framing == Framing::Lf {
            out.push(b'\n');
        }
        Ok(())
    }
}

/// The parts of an event for a message.
struct MessageParts<'a> {
    head: &'a Head<'a>,
    moment: Option<Moment>,
    elements: Vec<Lent<'a>>,
    brings_tag: bool,
}

/// The messages in the bytes that [`SyslogFormat`] wrote with this framing (with [`Framing::Octet`] for UDP and
/// RELP), without their frames.
///
/// # Panics
/// The bytes do not have this framing.
pub fn frames(bytes: &[u8], framing: Framing) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (message, taken) = first_frame(rest, framing);
        rest = &rest[taken..];
        Some(message)
    })
}

/// The first of these [`frames`], and how many bytes it takes with its frame.
pub(super) fn first_frame(bytes: &[u8], framing: Framing) -> (&[u8], usize) {
    let (start, len, trailer) = match framing {
        Framing::Octet => {
            let space = memchr::memchr(b' ', bytes).expect("a count is followed by a space");
            let count = std::str::from_utf8(&bytes[..space]).ok().and_then(|count| count.parse().ok());
            (space + 1, count.expect("a frame begins with its count"), 0)
        }
        Framing::Lf => (0, memchr::memchr(b'\n', bytes).expect("a frame ends with a line feed"), 1),
    };
    (&bytes[start..start + len], start + len + trailer)
}

/// The event's own value, else that of the settings. Empty text counts as absent.
fn given<'a>(own: Option<&'a [u8]>, default: &'a str) -> &'a [u8] {
    own.filter(|own| !own.is_empty()).unwrap_or(default.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
