//! The supported part of SPL: everything, or one comparison of one field.

use super::refusal::Refusal;
use crate::loggroup::proto::{Log, LogGroup};

/// A filter: `*`, or `* | where field = 'value'`, with `!=` or `in ('a', 'b')` as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Keeps everything.
    All,
    /// Keeps the logs whose field is (or is not) one of these values. A log without the field is dropped, as SQL does
    /// with NULL.
    Field {
        /// Name of the field; `__topic__`, `__source__`, `__time__` and `__tag__:…` name the parts of a log that are
        /// not contents.
        name: String,
        /// Whether to keep or to drop the logs whose value is in `values`.
        keep: bool,
        /// The values.
        values: Vec<String>,
    },
}

impl Filter {
    /// Reads a query.
    ///
    /// # Errors
    /// `ParameterInvalid` for everything that is not supported.
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        let unsupported = || {
            Refusal::parameter(format!(
                "emulator: unsupported SPL: {query}; it knows * and * | where field = 'value' (or !=, or in ('a', 'b'))"
            ))
        };
        let mut tokens = Tokens(query);
        if tokens.next() != Some(Token::Sign("*")) {
            return Err(unsupported());
        }
        match tokens.next() {
            None => return Ok(Self::All),
            Some(Token::Sign("|")) => {}
            Some(_) => return Err(unsupported()),
        }
        let (Some(Token::Word(verb)), Some(Token::Word(name) | Token::Name(name)), Some(operator)) =
            (tokens.next(), tokens.next(), tokens.next())
        else {
            return Err(unsupported());
        };
        let keep = operator != Token::Sign("!=");
        let values = match operator {
            Token::Sign("=" | "!=") => match tokens.next() {
                Some(Token::Text(value)) => Some(vec![value]),
                _ => None,
            },
            Token::Word(word) if word.eq_ignore_ascii_case("in") => tokens.list(),
            _ => None,
        };
        match values {
            Some(values) if verb.eq_ignore_ascii_case("where") && tokens.0.trim().is_empty() => {
                Ok(Self::Field { name, keep, values })
            }
            _ => Err(unsupported()),
        }
    }

    /// Removes the logs of a group that do not match.
    pub fn apply(&self, group: &mut LogGroup) {
        let Self::Field { name, keep, values } = self else {
            return;
        };
        let logs = std::mem::take(&mut group.logs);
        let passes = |log: &Log| {
            let value = field(group, log, name);
            value.is_some_and(|value| values.iter().any(|other| other.as_bytes() == value) == *keep)
        };
        group.logs = logs.into_iter().filter(passes).collect();
    }
}

/// The field of a flattened log: contents take precedence over the parts around them.
fn field(group: &LogGroup, log: &Log, name: &str) -> Option<Vec<u8>> {
    let last = |pairs: &[crate::loggroup::proto::Pair], key: &str| {
        let found = pairs.iter().rfind(|pair| pair.key == key.as_bytes());
        found.map(|pair| pair.value.clone())
    };
    last(&log.contents, name).or_else(|| match name {
        "__time__" => Some(log.time.to_string().into_bytes()),
        "__topic__" => Some(group.topic.clone().unwrap_or_default()),
        "__source__" => Some(group.source.clone().unwrap_or_default()),
        _ => last(&group.tags, name.strip_prefix("__tag__:")?),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(String),
    /// "quoted": always a name.
    Name(String),
    /// 'quoted': always a value.
    Text(String),
    Sign(&'a str),
}

/// The unread rest of the text.
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        self.0 = self.0.trim_start();
        let first = self.0.chars().next()?;
        if first == '\'' || first == '"' {
            return self.quoted(first).map(|text| if first == '"' { Token::Name(text) } else { Token::Text(text) });
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            self.0.find(|c| !is_word(c)).unwrap_or(self.0.len())
        } else if self.0.starts_with("!=") {
            2
        } else {
            first.len_utf8()
        };
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(if is_word(first) { Token::Word(token.to_owned()) } else { Token::Sign(token) })
    }

    /// Text between quotes; a doubled quote stands for one. `None` if the quote is not closed.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut rest = self.0.strip_prefix(quote)?;
        loop {
            let (before, after) = rest.split_once(quote)?;
            text += before;
            rest = after;
            match rest.strip_prefix(quote) {
                Some(after) => {
                    text.push(quote);
                    rest = after;
                }
                None => break,
            }
        }
        self.0 = rest;
        Some(text)
    }

    /// `('a', 'b')`.
    fn list(&mut self) -> Option<Vec<String>> {
        let mut values = Vec::new();
        let mut separator = Token::Sign("(");
        while self.next()? == separator {
            let Token::Text(value) = self.next()? else { return None };
            values.push(value);
            if self.0.trim_start().starts_with(')') {
                self.next();
                return Some(values);
            }
            separator = Token::Sign(",");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loggroup::proto::Pair;

    fn group() -> LogGroup {
        let pair = |key: &str, value: &str| Pair { key: key.into(), value: value.into() };
        let log = |time, contents| Log { time, contents, time_ns: None };
        LogGroup {
            logs: vec![
                log(1, vec![pair("a", "x y"), pair("a", "last")]),
                log(2, vec![pair("a", "x y"), pair("__topic__", "own")]),
                log(3, vec![pair("b", "it's")]),
            ],
            topic: Some(b"t".to_vec()),
            tags: vec![pair("host", "h1")],
            ..LogGroup::default()
        }
    }

    /// Compares the times of the logs that match.
    fn check(query: &str, expected: &[u32]) {
        let mut group = group();
        Filter::parse(query).unwrap().apply(&mut group);
        let times: Vec<_> = group.logs.iter().map(|log| log.time).collect();
        assert_eq!(times, expected, "{query}");
    }

    #[test]
    fn a_star_keeps_everything() {
        check("*", &[1, 2, 3]);
        check(" * ", &[1, 2, 3]);
    }

    #[test]
    fn one_field_is_compared_with_its_last_value() {
        check("* | where a = 'x y'", &[2]);
        check("*|where a='last'", &[1]);
        check("* | WHERE a IN ('last', 'x y')", &[1, 2]);
        check("* | where a in ('nothing')", &[]);
        check("* | where b = 'it''s'", &[3]);
    }

    #[test]
    fn a_log_without_the_field_is_dropped_either_way() {
        check("* | where a != 'last'", &[2]);
        check("* | where c != 'x'", &[]);
    }

    #[test]
    fn topic_source_and_tags_can_be_compared_too() {
        check("* | where __topic__ = 't'", &[1, 3]);
        check("* | where __topic__ = 'own'", &[2]);
        check("* | where \"__tag__:host\" = 'h1'", &[1, 2, 3]);
        check("* | where __time__ = '3'", &[3]);
        check("* | where __source__ = ''", &[1, 2, 3]);
    }

    #[test]
    fn an_unsupported_query_is_refused() {
        for query in [
            "",
            "a",
            "* |",
            "* | where",
            "* | where a",
            "* | where a =",
            "* | where a = x",
            "* | where a = 'x",
            "* | where a > 'x'",
            "* | where a = 'x' and b = 'y'",
            "* | where a in 'x'",
            "* | where a in ()",
            "* | where a in ('x'",
            "* | where a in ('x' 'y')",
            "* | extend a = 'x'",
            "* | where 'a' = 'x'",
            "* and a: x",
        ] {
            let refusal = Filter::parse(query).expect_err(query);
            assert_eq!((refusal.status, refusal.code.as_ref()), (400, "ParameterInvalid"));
            assert!(refusal.message.starts_with("emulator: unsupported SPL"), "{}", refusal.message);
        }
    }
}
