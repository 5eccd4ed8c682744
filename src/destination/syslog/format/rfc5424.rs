//! The header of a message in RFC 5424.

use jiff::tz::TimeZone;

use super::escape::{Escape, field, host};
use super::structured;
use super::structured::Lent;
use super::timestamp::Moment;
use crate::destination::syslog::number::number;

/// The parts of HEADER and STRUCTURED-DATA (section 6), not yet cleaned.
pub(super) struct Opening<'a> {
    /// `facility × 8 + severity`.
    pub(super) priority: u8,
    pub(super) moment: Option<Moment>,
    /// The time zone of the vendor's script.
    pub(super) compat: Option<&'a TimeZone>,
    pub(super) hostname: &'a [u8],
    pub(super) program: &'a [u8],
    pub(super) procid: &'a [u8],
    pub(super) msgid: &'a [u8],
    pub(super) elements: &'a [Lent<'a>],
}

impl Opening<'_> {
    /// Appends it, without the space that goes before a message.
    pub(super) fn write(&self, escape: Escape, out: &mut Vec<u8>) {
        out.push(b'<');
        number(self.priority.into(), out);
        out.extend_from_slice(b">1 ");
        match self.moment {
            Some(moment) => moment.write_rfc3339(self.compat, self.compat.is_some(), out),
            None => out.push(b'-'),
        }
        out.push(b' ');
        host(self.hostname, out);
        for (text, most) in [(self.program, 48), (self.procid, 128), (self.msgid, 32)] {
            out.push(b' ');
            field(text, most, out);
        }
        out.push(b' ');
        structured::write(self.elements, escape, out);
    }
}
