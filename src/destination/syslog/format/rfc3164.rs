//! What goes before a message in RFC 3164.

use jiff::tz::TimeZone;

use super::escape::host;
use super::timestamp::Moment;
use crate::core::name;

/// TAG of an event that names no program, nor do the settings: without one, receivers take the message's first word.
const TAG: &[u8] = b"forwarder";

/// The parts of PRI, HEADER and TAG (section 4.1), as they were given.
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
}

impl Opening<'_> {
    /// Appends it, with the space that goes before `text`.
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("<{}>", self.priority).as_bytes());
        if self.full_time {
            self.moment.write_rfc3339(Some(self.zone), false, out);
        } else {
            self.moment.write_rfc3164(self.zone, out);
        }
        out.push(b' ');
        host(self.hostname, out);
        out.push(b' ');
        // The receivers of these two look for them where the tag would be.
        if self.program.is_empty() && (text.starts_with(b"CEF:") || text.starts_with(b"LEEF:")) {
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
