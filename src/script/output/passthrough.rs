//! The built-in event for a log that the script failed on, if the settings request it: the unchanged log.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

use super::{escape, time};
use crate::core::batch::{Batch, Events, Output};
use crate::core::event::{Body, BodyError, DestinationFormat, Head, PairPlace, PairPlaces, Time};
use crate::loggroup::{Log, Logs};
use crate::script::{Failed, Hooks};

/// A page whose failed logs are sent unchanged.
#[derive(Debug)]
pub struct PassedOn {
    /// The events of the whole page, for each destination.
    pub outputs: Vec<Events>,
    /// The failed logs that are included.
    pub passed: Vec<Failed>,
    /// The failed logs for which the destination has no room. They remain failed.
    pub left: Vec<Failed>,
}

impl Hooks {
    /// The batch's outputs with the events of the failed logs inserted at their positions: each log as it was pulled,
    /// with its own time. `failed` is in the order of the page.
    #[must_use]
    pub fn pass(&self, batch: &Batch, failed: Vec<Failed>) -> PassedOn {
        let (mut passed, mut left) = (Vec::new(), Vec::new());
        let outputs: Vec<Arc<Output>> = batch.outputs.iter().map(|output| output.output()).collect();
        let mut wholes = vec![Events::default(); outputs.len()];
        let mut copied = vec![0; outputs.len()];
        let mut logs = Logs::default();
        let readable = "the hook has read this page to its end";
        logs.open(batch.page.body.clone()).expect(readable);
        for failed in failed {
            for ((output, whole), next) in outputs.iter().zip(&mut wholes).zip(&mut copied) {
                let events = &output.events;
                while *next < events.len() && events.log_of(*next) < failed.log {
                    copy(events, *next, whole);
                    *next += 1;
                }
            }
            while logs.read().expect(readable).is_some_and(|log| log.index() < failed.log) {}
            let mut log = Plain(logs.log());
            let written = log.head().is_some_and(|head| {
                let mut write = |(to, whole): (&DestinationFormat, &mut Events)| {
                    whole.push(failed.log, |out| to.format.write(&head, &mut log, out)).is_ok()
                };
                self.formats.iter().zip(&mut wholes).all(&mut write)
            });
            if !written {
                wholes.iter_mut().for_each(|whole| whole.drop_of_last(failed.log));
            }
            if written { &mut passed } else { &mut left }.push(failed);
        }
        for ((output, whole), next) in outputs.iter().zip(&mut wholes).zip(copied) {
            (next..output.events.len()).for_each(|event| copy(&output.events, event, whole));
        }
        PassedOn { outputs: wholes, passed, left }
    }
}

fn copy(from: &Events, event: usize, to: &mut Events) {
    let Ok(()) = to.push(from.log_of(event), |out| {
        out.extend_from_slice(from.get(event));
        Ok::<(), Infallible>(())
    });
}

/// A log without a script.
struct Plain<'a>(Log<'a>);

impl<'a> Plain<'a> {
    /// The head with the log's own time; `None` if that is a time that not every destination can write.
    fn head(&self) -> Option<Head<'a>> {
        let text = |wanted: &[u8]| {
            let (_, value) = self.0.fields().find(|(key, _)| *key == wanted)?;
            std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let nanos =
            text(b"__time_ns_part__").and_then(|nanos| nanos.parse().ok()).filter(|nanos| *nanos < 1_000_000_000);
        let digits = text(b"__time__").filter(|digits| !digits.is_empty());
        digits.map_or(Ok(()), time::check).ok()?;
        Some(Head { time: digits.map(|digits| Time { digits: Cow::Borrowed(digits), nanos }), ..Head::default() })
    }
}

impl Body for Plain<'_> {
    fn json(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        out.push(b'{');
        for (position, (key, value)) in self.0.fields().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            escape::string(key, out);
            out.push(b':');
            escape::string(value, out);
        }
        out.push(b'}');
        Ok(())
    }

    fn text(&mut self, separator: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.pairs(separator, &mut PairPlaces::default(), out)
    }

    fn pairs(&mut self, separator: &[u8], places: &mut PairPlaces, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let start = out.len();
        for (key, value) in self.0.fields() {
            out.extend_from_slice(separator);
            let begins = out.len() - start;
            out.extend_from_slice(key);
            places.push(PairPlace { key: begins, equals: out.len() - start });
            out.push(b'=');
            out.extend_from_slice(value);
        }
        Ok(())
    }
}
