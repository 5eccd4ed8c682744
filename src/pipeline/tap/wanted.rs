//! What a tap shows: its kinds, filters and rate. Pure.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;

/// Default number of lines per second.
pub const USUAL_RATE: u32 = 10;

/// Maximum number of lines per second.
pub const MAX_RATE: u32 = 1_000;

/// Maximum number of bytes of a compiled pattern, and of its search cache.
const MAX_PATTERN: usize = 1 << 20;

/// The kinds of entries that a tap can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A log as it was pulled, before the script runs: nothing is masked yet.
    Log,
    /// An event that is sent to a destination.
    Event,
    /// A script error, without the log.
    Failure,
    /// A dead letter that was written: its reason and its event, without the log.
    Letter,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Log, Self::Event, Self::Failure, Self::Letter];

    /// Its name in a query and in a line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Event => "event",
            Self::Failure => "failure",
            Self::Letter => "letter",
        }
    }

    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The filters and the rate of a tap.
#[derive(Debug, Clone)]
pub struct TapQuery {
    /// A bit for each [`Kind`].
    pub(super) kinds: u8,
    pattern: Option<Regex>,
    /// Only logs with this field and value.
    field: Option<(Vec<u8>, Vec<u8>)>,
    /// Maximum number of lines per second.
    pub(super) rate: u32,
}

/// The query that [`TapQuery::parse`] reads: `kind=event&match=%5Ea&field=status%3D500&rate=10`.
#[must_use]
pub fn query(kinds: &[Kind], pattern: Option<&str>, field: Option<&str>, rate: u32) -> String {
    let encoded = |name: &str, text: &str| format!("{name}={}", utf8_percent_encode(text, NON_ALPHANUMERIC));
    let mut parts: Vec<String> = kinds.iter().map(|kind| encoded("kind", kind.name())).collect();
    parts.extend(pattern.map(|pattern| encoded("match", pattern)));
    parts.extend(field.map(|field| encoded("field", field)));
    parts.push(format!("rate={rate}"));
    parts.join("&")
}

impl TapQuery {
    /// Reads a query. The default kind is `event`: events have passed the script, so what the script masks is masked.
    ///
    /// # Errors
    /// The problem, as a sentence.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self { kinds: 0, pattern: None, field: None, rate: USUAL_RATE };
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| format!("{name} is not UTF-8"))?;
            match name {
                "kind" => {
                    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == value);
                    wanted.kinds |= kind.ok_or_else(|| "a kind is log, event, failure or letter".to_owned())?.bit();
                }
                "match" => wanted.pattern = Some(compile(&value)?),
                "field" => {
                    let (key, value) = value.split_once('=').ok_or("a field is written NAME=VALUE")?;
                    wanted.field = Some((key.as_bytes().to_owned(), value.as_bytes().to_owned()));
                }
                "rate" => {
                    let rate = value.parse().ok().filter(|rate| (1..=MAX_RATE).contains(rate));
                    wanted.rate = rate.ok_or_else(|| format!("a rate is 1 to {MAX_RATE} lines a second"))?;
                }
                _ => return Err("there are kind, match, field and rate".to_owned()),
            }
        }
        if wanted.kinds == 0 {
            wanted.kinds = Kind::Event.bit();
        }
        Ok(wanted)
    }

    pub(super) fn wants(&self, kind: Kind) -> bool {
        self.kinds & kind.bit() != 0
    }

    /// Whether a text matches the pattern.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }

    /// Whether the tap filters by a field of the log.
    pub(super) fn asks_for_field(&self) -> bool {
        self.field.is_some()
    }

    /// Whether a log has the field that the tap filters by.
    pub(super) fn fits<'a>(&self, mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> bool {
        let Some((key, value)) = &self.field else { return true };
        fields.any(|(found, text)| found == key && text == value)
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let limits = Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(MAX_PATTERN))
        .onepass_size_limit(Some(MAX_PATTERN))
        .hybrid_cache_capacity(MAX_PATTERN);
    let syntax = syntax::Config::new().utf8(false).nest_limit(100);
    let built = Regex::builder().configure(limits).syntax(syntax).build(pattern);
    built.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        // The error text shows the pattern over several lines; its last line names the problem.
        format!("the pattern cannot be used: {}", cause.lines().last().unwrap_or_default().trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_parsed_as_written() {
        let text = query(&[Kind::Event, Kind::Letter], Some("^\\{\"a b\":\\d+&\\}$"), Some("k=a=b&c"), 7);
        let wanted = TapQuery::parse(&text).unwrap();
        assert_eq!(Kind::ALL.map(|kind| wanted.wants(kind)), [false, true, false, true]);
        assert_eq!(wanted.rate, 7);
        assert!(wanted.matches(b"{\"a b\":12&}") && !wanted.matches(b"{\"a b\":x&}"));
        let fits = |value: &str| wanted.fits([("k".as_bytes(), value.as_bytes())].into_iter());
        assert!(fits("a=b&c") && !fits("a"));
    }

    #[test]
    fn without_a_kind_a_tap_shows_events_and_no_raw_logs() {
        let wanted = TapQuery::parse("").unwrap();
        assert_eq!(Kind::ALL.map(|kind| wanted.wants(kind)), [false, true, false, false]);
    }

    #[test]
    fn an_invalid_query_is_an_error() {
        for (text, part) in [
            ("kind=secret", "log, event"),
            ("rate=0", "1 to 1000"),
            ("rate=1001", "1 to 1000"),
            ("field=x", "NAME=VALUE"),
            ("match=%28", "pattern"),
            ("match=%28%3F%3Aa%7B1000%7D%29%7B1000%7D", "pattern"),
            ("colour=red", "there are kind"),
        ] {
            assert!(TapQuery::parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
