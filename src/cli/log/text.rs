//! A log line for people: time, level, message, and fields.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::core::printable::Escape;

/// `2026-02-03T04:05:06Z  INFO shard acquired shard=audit/3`. The module of the program is shown at the level DEBUG and
/// below, the module of a library always.
pub(super) struct TextLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        Seconds.format_time(&mut writer)?;
        match writer.has_ansi_escapes() {
            true => write!(writer, " \u{1b}[{}m{level:>5}\u{1b}[0m", colour(level))?,
            false => write!(writer, " {level:>5}")?,
        }
        if level > Level::INFO || !target.starts_with("forwarder") {
            write!(writer, " {target}:")?;
        }
        let mut fields = Fields { writer: Escape(writer.by_ref()), written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        writeln!(writer)
    }
}

fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// The wall clock in seconds, in UTC.
pub(super) struct Seconds;

impl FormatTime for Seconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// Writes the fields of an event; tracing passes the message first.
struct Fields<'a> {
    writer: Escape<Writer<'a>>,
    written: fmt::Result,
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, value: &str) {
        let written = match field.name() {
            "message" => write!(self.writer, " {value}"),
            name if is_bare(value) => write!(self.writer, " {name}={value}"),
            name => write!(self.writer, " {name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        };
        self.written = self.written.and(written);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, value);
    }
}

/// Whether a value is one word, so that its end is visible.
fn is_bare(value: &str) -> bool {
    !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_words_is_quoted() {
        assert!(is_bare("audit/3") && is_bare("https://splunk.example:8088"));
        assert!(!is_bare("") && !is_bare("a b") && !is_bare("a=b") && !is_bare("say \"x\"") && !is_bare("a\nb"));
    }
}
