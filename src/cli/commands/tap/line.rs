//! Formats a line of a tap for people. Pure.

use serde::Deserialize;

use crate::core::printable::printable;
use crate::script::Paint;

/// A line from a tap.
pub(super) enum Line {
    /// An item to show.
    Shown(Shown),
    /// The number of items that were left out.
    Missed(u64),
}

/// An item to show.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    kind: String,
    shard: String,
    destination: Option<String>,
    /// The place in the script.
    at: Option<String>,
    id: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    text: String,
}

/// Parses a line; `None` if its kind is not known.
pub(super) fn read(line: &[u8]) -> Option<Line> {
    #[derive(Deserialize)]
    struct Missed {
        missed: u64,
    }
    if let Ok(Missed { missed }) = serde_json::from_slice(line) {
        return Some(Line::Missed(missed));
    }
    serde_json::from_slice(line).ok().map(Line::Shown)
}

/// Formats an item on one line. Control characters are escaped, because the other side is not trusted.
pub(super) fn text(shown: &Shown, paint: Paint) -> String {
    let Shown { kind, shard, destination, at, id, reason, message, text } = shown;
    let kind = printable(kind);
    let kind = match kind.as_str() {
        "log" => paint.blue(&kind),
        "event" => paint.green(&kind),
        _ => paint.red(&kind),
    };
    let more = [destination, at, id, reason, message].into_iter().flatten().map(printable);
    let parts = [paint.dim(&printable(shard)), kind].into_iter().chain(more).chain([printable(text)]);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_control_the_terminal() {
        let sent = r#"{"kind":"letter","shard":"a/1","destination":"hec","id":"1-2-3","reason":"rejected","message":"no\u001b[2J","text":"x\r"}"#;
        let Some(Line::Shown(shown)) = read(sent.as_bytes()) else { panic!("{sent}") };
        assert_eq!(text(&shown, Paint(false)), r"a/1  letter  hec  1-2-3  rejected  no\u{1b}[2J  x\r");
    }

    #[test]
    fn skipped_events_are_reported_and_unknown_messages_are_ignored() {
        assert!(matches!(read(b"{\"missed\":7}\n"), Some(Line::Missed(7))));
        assert!(read(b"hello\n").is_none());
    }
}
