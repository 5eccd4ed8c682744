//! The protobuf wire format, as far as SLS uses it: tags, varints, length-delimited and fixed fields.

use std::ops::Range;

/// Why a page cannot be decoded, and the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page is not a LogGroupList: at byte {offset}: {fault}")]
pub struct PageError {
    /// Offset in the unpacked body.
    pub offset: usize,
    /// The fault at that offset.
    pub fault: PageFault,
}

/// The fault of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// A field is longer than the message that contains it.
    #[error("it ends in the middle of a field")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("a number has more than 64 bits")]
    Varint,
    /// Field number 0 or above 29 bits, or wire type 6 or 7.
    #[error("this cannot start a field")]
    Tag,
    /// A known field whose wire type differs from the schema.
    #[error("a known field has the wrong wire type")]
    WireType,
    /// A group end without a start, or groups that are nested too deeply.
    #[error("unknown groups are not nested properly")]
    Nesting,
    /// Larger than the supported maximum.
    #[error("it is larger than 256 MiB")]
    TooLarge,
}

/// A wire type, the low three bits of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Varint,
    Fixed64,
    Bytes,
    GroupStart,
    GroupEnd,
    Fixed32,
}

/// Maximum nesting of unknown groups (the protobuf runtimes limit all nesting to 100).
const MAX_NESTING: usize = 96;

/// Reads one message: `bytes[at..end]`.
pub(crate) struct Wire<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(body: &'a [u8], at: usize, end: usize) -> Self {
        Self { bytes: &body[..end], at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Continues at `at`, which is the end of a field that the caller has decoded, and not after the end of the
    /// message.
    pub(crate) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The next field's number and wire type; `None` at the end of the message.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<(u32, Kind)>, PageError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint()?;
        let kind = match tag & 7 {
            0 => Kind::Varint,
            1 => Kind::Fixed64,
            2 => Kind::Bytes,
            3 => Kind::GroupStart,
            4 => Kind::GroupEnd,
            5 => Kind::Fixed32,
            _ => return Err(fault(start, PageFault::Tag)),
        };
        match u32::try_from(tag) {
            Ok(tag) if tag >> 3 != 0 => Ok(Some((tag >> 3, kind))),
            _ => Err(fault(start, PageFault::Tag)),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, PageError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, PageError> {
        let mut value = 0;
        for (position, &byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                if position == 9 && byte > 1 {
                    break;
                }
                self.at += position + 1;
                return Ok(value);
            }
        }
        let why = if self.bytes.len() - self.at < 10 { PageFault::Truncated } else { PageFault::Varint };
        Err(fault(self.at, why))
    }

    /// The number of a field that must be a varint.
    #[inline]
    pub(crate) fn varint_of(&mut self, kind: Kind) -> Result<u64, PageError> {
        self.expect(kind, Kind::Varint)?;
        self.varint()
    }

    /// The range of a length-delimited field's content.
    #[inline]
    pub(crate) fn bytes(&mut self, kind: Kind) -> Result<Range<usize>, PageError> {
        self.expect(kind, Kind::Bytes)?;
        let start = self.at;
        let len = self.varint()?;
        if len > (self.bytes.len() - self.at) as u64 {
            return Err(fault(start, PageFault::Truncated));
        }
        let place = self.at..self.at + len as usize;
        self.at = place.end;
        Ok(place)
    }

    /// The number of a field that must be four bytes, little-endian.
    pub(crate) fn fixed32(&mut self, kind: Kind) -> Result<u32, PageError> {
        self.expect(kind, Kind::Fixed32)?;
        let place = self.forward(4)?;
        let four = self.bytes[place].try_into().expect("four bytes were taken");
        Ok(u32::from_le_bytes(four))
    }

    #[inline]
    fn expect(&self, kind: Kind, wanted: Kind) -> Result<(), PageError> {
        if kind == wanted {
            return Ok(());
        }
        Err(fault(self.at, PageFault::WireType))
    }

    fn forward(&mut self, len: usize) -> Result<Range<usize>, PageError> {
        let place = self.at..self.at + len;
        if place.end > self.bytes.len() {
            return Err(fault(self.at, PageFault::Truncated));
        }
        self.at = place.end;
        Ok(place)
    }

    /// Skips an unknown field, which may be a group with fields of its own.
    pub(crate) fn skip(&mut self, field: u32, kind: Kind) -> Result<(), PageError> {
        if self.step_over(kind)? {
            return Ok(());
        }
        let start = self.at;
        if kind == Kind::GroupEnd {
            return Err(fault(start, PageFault::Nesting));
        }
        let mut open = vec![field];
        while let Some(&innermost) = open.last() {
            let at = self.at;
            let Some((field, kind)) = self.tag()? else {
                return Err(fault(start, PageFault::Truncated));
            };
            if self.step_over(kind)? {
                continue;
            }
            match kind {
                Kind::GroupStart if open.len() < MAX_NESTING => open.push(field),
                Kind::GroupEnd if field == innermost => open.truncate(open.len() - 1),
                _ => return Err(fault(at, PageFault::Nesting)),
            }
        }
        Ok(())
    }

    /// Skips a field that is not a group. Returns false for a group.
    fn step_over(&mut self, kind: Kind) -> Result<bool, PageError> {
        match kind {
            Kind::Varint => self.varint().map(|_| true),
            Kind::Fixed64 => self.forward(8).map(|_| true),
            Kind::Bytes => self.bytes(kind).map(|_| true),
            Kind::Fixed32 => self.forward(4).map(|_| true),
            Kind::GroupStart | Kind::GroupEnd => Ok(false),
        }
    }
}

fn fault(offset: usize, fault: PageFault) -> PageError {
    PageError { offset, fault }
}
