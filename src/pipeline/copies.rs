//! Copies of dead letters for a destination, beside those on disk or instead of them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::warn;

use super::Route;
use crate::core::batch::{Events, Output};
use crate::core::destination_name::DestinationName;
use crate::core::event::{Body, BodyError, Format, Formats, Head, Time};
use crate::core::lease::Tenure;
use crate::dead_letter::{Reason, Record, encode};
use crate::destination::{Destination, Outcome};

/// The HEC `sourcetype` of these events.
const SOURCETYPE: &[u8] = b"forwarder:dead-letter";

/// Sends copies of dead letters to a destination.
#[derive(Clone)]
pub struct Copies {
    /// The number of the destination.
    destination: usize,
    format: Arc<dyn Format>,
    is_instead: bool,
}

impl Copies {
    /// Copies for the destination with this name, beside the dead letters on disk; `None` if `formats` has no such
    /// destination.
    #[must_use]
    pub fn to(name: &DestinationName, formats: &Formats) -> Option<Self> {
        let destination = formats.position(name)?;
        let format = Arc::clone(&formats.iter().nth(destination)?.format);
        Some(Self { destination, format, is_instead: false })
    }

    /// The same, but only those that it does not take are on disk, if `is_instead`.
    #[must_use]
    pub fn instead_of_disk(self, is_instead: bool) -> Self {
        Self { is_instead, ..self }
    }

    /// Whether only those that it does not take are on disk.
    pub(super) fn is_instead_of_disk(&self) -> bool {
        self.is_instead
    }

    /// Sends copies of the dead letters of one shard. When they are durable, returns the dead letters that it did not
    /// take: those whose copies the destination refuses for good, and the events that an isolated destination missed,
    /// which are delivered when it is back. `None`: the tenure ended first.
    pub(super) async fn send<K: Destination>(
        &self,
        routes: &[Route<K>],
        letters: &[Record],
        tenure: &Tenure,
    ) -> Option<Vec<Record>> {
        let route = self.route(routes);
        let mut events = Events::default();
        let (mut left, mut refused) = (BTreeSet::new(), None);
        for (letter, number) in letters.iter().zip(0..) {
            if letter.reason == Reason::DestinationDown {
                left.insert(number);
            } else if let Err(error) = events.push(number, |out| self.write(letter, out)) {
                left.insert(number);
                refused = Some((letter.id(), error.to_string()));
            }
        }
        if !events.is_empty() {
            let output = Arc::new(Output { shard: letters[0].origin.shard, events });
            let events = &output.events;
            let _in_flight = route.account.sends(events.len());
            let outcome = route.destination.deliver(Arc::clone(&output), tenure.clone()).await;
            let Outcome::Done(rejected) = outcome else { return None };
            route.account.delivered(events.len() - rejected.len());
            route.account.undelivered(rejected.len(), 0);
            for rejected in &rejected {
                let number = events.log_of(rejected.event);
                left.insert(number);
                refused = Some((letters[number as usize].id(), format!("{}: {}", rejected.code, rejected.reason)));
            }
        }
        if let Some((id, why)) = refused {
            warn!(
                destination = %route.name, id, why,
                "the destination for copies of dead letters (dead_letters.to) refuses some of them: these exist only on disk"
            );
        }
        Some(left.into_iter().map(|number| letters[number as usize].clone()).collect())
    }

    /// The destination of the copies.
    pub(super) fn route<'a, K>(&self, routes: &'a [Route<K>]) -> &'a Route<K> {
        &routes[self.destination]
    }

    fn write(&self, letter: &Record, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let mut line = Vec::new();
        encode(letter, &mut line);
        line.pop();
        let nanos = u32::try_from(letter.at.subsec_nanosecond()).ok();
        let time = Time { digits: Cow::Owned(letter.at.as_second().to_string()), nanos };
        let head = Head { time: Some(time), sourcetype: Some(Cow::Borrowed(SOURCETYPE)), ..Head::default() };
        self.format.write(&head, &mut Line(&line), out)
    }
}

impl std::fmt::Debug for Copies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copies").field("destination", &self.destination).finish_non_exhaustive()
    }
}

/// A dead letter as one line of JSON.
struct Line<'a>(&'a [u8]);

impl Body for Line<'_> {
    fn json(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        out.extend_from_slice(self.0);
        Ok(())
    }

    fn text(&mut self, _: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.json(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cursor::{Cursor, ShardId};
    use crate::core::event::DestinationFormat;
    use crate::dead_letter::LogOrigin;
    use crate::destination::hec::{HecFormat, Layout};

    #[test]
    fn a_copy_is_the_record_on_disk_as_an_event_with_its_time() {
        let name = DestinationName::new("archive").unwrap();
        let format = Arc::new(HecFormat::with(Layout::default()));
        let formats = Formats::from(vec![DestinationFormat { name: Some(name.clone()), format }]);
        let letter = Record {
            at: "2026-02-03T04:05:06.000000007Z".parse().unwrap(),
            reason: Reason::ScriptError,
            destination: None,
            code: "runtime".to_owned(),
            message: "line 3".to_owned(),
            origin: LogOrigin {
                project: "project".to_owned(),
                logstore: "logstore".to_owned(),
                shard: ShardId(3),
                cursor: Cursor::from_number(7),
                log: 1,
                event: None,
            },
            script: "0123456789ab".to_owned(),
            log: vec![(b"bytes".to_vec(), b"\xff\n".to_vec())],
            event: None,
        };
        let mut event = Vec::new();
        Copies::to(&name, &formats).unwrap().write(&letter, &mut event).unwrap();
        let mut line = Vec::new();
        encode(&letter, &mut line);
        let event = String::from_utf8(event).unwrap();
        assert!(event.contains(std::str::from_utf8(line.trim_ascii_end()).unwrap()), "{event}");
        assert!(event.contains(r#""time":1770091506.000000007"#), "{event}");
        assert!(event.contains(r#""sourcetype":"forwarder:dead-letter""#), "{event}");
        assert!(Copies::to(&DestinationName::new("other").unwrap(), &formats).is_none());
    }
}
