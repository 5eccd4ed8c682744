//! Formats an event as a line of JSON.

use crate::core::event::{Body, BodyError, Format, Head};
use crate::destination::Preview;
use crate::destination::hec::{HecFormat, Layout};

/// One JSON object a line, in the form that HEC accepts: `time`, `host`, `source`, `sourcetype`, `index`, `event`,
/// `fields`, each only if present. The file can be sent to a collector later, and a dry run shows what Splunk would
/// get. An event without a time has that of its log.
#[derive(Debug, Clone)]
pub struct FileFormat(HecFormat);

impl Default for FileFormat {
    fn default() -> Self {
        Self(HecFormat::with(Layout::default()))
    }
}

impl Preview for FileFormat {
    fn preview(&self, event: &[u8]) -> Vec<String> {
        self.0.preview(event)
    }
}

impl Format for FileFormat {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        if head.time.is_some() {
            return self.0.write(head, body, out);
        }
        let head = Head { time: body.log_time(), ..head.clone() };
        self.0.write(&head, body, out)
    }
}
