//! The header of a message in RFC 3164.

use jiff::tz::TimeZone;

use super::escape::host;
use super::timestamp::Moment;
use crate::core::name;
use crate::destination::syslog::number::number;

/// Default TAG: without one, receivers use the first word of the message.
const TAG: &[u8] = b"forwarder";

/// The parts of PRI, HEADER and TAG (section 4.1), not yet cleaned.
pub(super) struct Opening<'a> {
    /// `facility × 8 + severity`.
    pub(super) priority: u8,
    pub(super) moment: Moment,
    pub(super) zone: &'a TimeZone,
    /// The time with year and offset.
    pub(super) full_time: bool,
    pub(super) hostname: &'a [u8],
    pub(super) program: &'a [u8],
    pub(super) procid: &'a [u8],
    /// The message begins with text that takes the place of a tag: see [`brings_tag`].
    pub(super) brings_tag: bool,
}

/// Whether receivers look for the beginning of a message where the tag would be: those of CEF and LEEF do.
pub(super) fn brings_tag(text: &[u8]) -> bool {
    text.starts_with(b"CEF:") || text.starts_with(b"LEEF:")
}

impl Opening<'_> {
    /// Appends it, with the space that goes before the message.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'<');
        number(self.priority.into(), out);
        out.push(b'>');
        if self.full_time {
            self.moment.write_rfc3339(Some(self.zone), false, out);
        } else {
            self.moment.write_rfc3164(self.zone, out);
        }
        out.push(b' ');
        host(self.hostname, out);
        out.push(b' ');
        if self.program.is_empty() && self.brings_tag {
            return;
        }
        let tag = if self.program.is_empty() { TAG } else { self.program };
        name::write(tag, 32, |byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte), out);
        if !self.procid.is_empty() {
            out.push(b'[');
            name::write(self.procid, 128, |byte| byte.is_ascii_graphic() && !b"[]:".contains(&byte), out);
            out.push(b']');
        }
        out.extend_from_slice(b": ");
    }
}
