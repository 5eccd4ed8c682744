//! Keeps the compressed bodies of requests while their events wait for acknowledgements.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::Range;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::core::page::Packed;

/// The compressed bodies of the accepted requests of an output. Together they are the output, once there is one for
/// each event.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// Each with the end of its events, by their start.
    by_start: BTreeMap<usize, (usize, Bytes)>,
}

impl Bodies {
    /// The body of a request with these events, as they are in the output.
    pub(super) fn add(&mut self, range: &Range<usize>, body: Bytes) {
        self.by_start.insert(range.start, (range.end, body));
    }

    /// The bodies of all `events` events, whose size is `unpacked`. `None` if one is missing.
    pub(super) fn join(&self, events: usize, unpacked: usize) -> Option<Packed> {
        let (mut at, mut bodies) = (0, Vec::new());
        while at < events {
            let (end, body) = self.by_start.get(&at)?;
            bodies.push(&body[..]);
            at = *end;
        }
        // A file of several gzip members is as long as their contents, one after the other (RFC 1952).
        Some(Packed { bytes: bodies.concat().into(), unpacked, unpack: gunzip })
    }
}

/// Unpacks what this program has packed.
fn gunzip(packed: &[u8], unpacked: usize) -> Bytes {
    let mut plain = Vec::with_capacity(unpacked);
    MultiGzDecoder::new(packed).read_to_end(&mut plain).expect("gzip that was made here is valid");
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::super::body::gzip;
    use super::*;

    fn bodies(ranges: &[Range<usize>]) -> Bodies {
        let mut bodies = Bodies::default();
        for range in ranges {
            let text: Vec<u8> = range.clone().map(|event| b'a' + u8::try_from(event).unwrap()).collect();
            bodies.add(range, gzip(&text).into());
        }
        bodies
    }

    #[test]
    fn bodies_of_all_events_are_the_output_in_order() {
        let Packed { bytes, unpacked, unpack } = bodies(&[3..5, 0..3]).join(5, 5).expect("they are all there");
        assert_eq!(unpack(&bytes, unpacked), "abcde");
    }

    #[test]
    fn without_the_body_of_an_event_there_is_no_output() {
        assert!(bodies(&[0..2, 2..3]).join(5, 5).is_none());
        assert!(bodies(&[1..3, 3..5]).join(5, 5).is_none());
        assert!(bodies(&[0..2, 3..5]).join(5, 5).is_none());
    }

    #[test]
    fn a_request_that_was_sent_again_in_parts_counts_once() {
        let bodies = bodies(&[0..3, 3..5, 0..2, 2..3]);
        assert_eq!(bodies.join(5, 5).map(|packed| (packed.unpack)(&packed.bytes, 5)), Some("abcde".into()));
    }
}
