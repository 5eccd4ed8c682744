//! Finds the column of an error. Lua reports only lines, so the column is that of the name in the message, if it
//! occurs once on the line.

use std::ops::Range;

/// The subject of a message of Lua: `(field 'user')`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject<'a> {
    /// `field`, `local`, `global`, `upvalue`, `method`, `constant`; `function` for one with a bad argument; `symbol` for
    /// what a syntax error is near to.
    pub(crate) kind: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
}

/// The subject of the message.
pub(crate) fn subject(message: &str) -> Option<Subject<'_>> {
    if let Some((_, near)) = message.rsplit_once(" near '") {
        return near.strip_suffix('\'').map(|name| Subject { kind: "symbol", name });
    }
    if let Some((_, rest)) = message.split_once("bad argument #") {
        let (_, rest) = rest.split_once(" to '")?;
        return rest.split_once('\'').map(|(name, _)| Subject { kind: "function", name });
    }
    let (_, subject) = message.strip_suffix("')")?.rsplit_once(" (")?;
    let (kind, name) = subject.split_once(" '")?;
    Some(Subject { kind, name })
}

/// The range of the subject on the line in bytes, if it occurs once.
pub(crate) fn find(line: &str, subject: Subject<'_>) -> Option<Range<usize>> {
    let tokens = tokens(line);
    let mut found = tokens.iter().enumerate().filter(|&(at, token)| {
        let text = &line[token.range.clone()];
        let before = at.checked_sub(1).map(|before| &line[tokens[before].range.clone()]);
        let is_member = matches!(before, Some("." | ":"));
        match (subject.kind, token.kind) {
            ("symbol", _) => text == subject.name || text.starts_with(subject.name) && token.kind == Kind::Mark,
            ("field", Kind::Text) => before == Some("[") && text.get(1..text.len() - 1) == Some(subject.name),
            ("field" | "method", Kind::Name) => is_member && text == subject.name,
            ("function", Kind::Name) => text == subject.name,
            ("local" | "upvalue" | "global", Kind::Name) => !is_member && text == subject.name,
            _ => false,
        }
    });
    let first = found.next()?.1.range.clone();
    found.next().is_none().then_some(first)
}

/// The names before a member on a line, the outermost first: `log`, `event` for `user` in `log.event.user`.
pub(crate) fn owners<'a>(line: &'a str, member: &Range<usize>) -> Vec<&'a str> {
    let tokens = tokens(line);
    let mut owners = Vec::new();
    let Some(mut at) = tokens.iter().position(|token| token.range == *member) else { return owners };
    while at >= 2 && line[tokens[at - 1].range.clone()] == *"." && tokens[at - 2].kind == Kind::Name {
        at -= 2;
        owners.insert(0, &line[tokens[at].range.clone()]);
    }
    owners
}

/// The one name that stands before a member wherever it is on a line: `log` for `n` in `log.n = log.n + 1`.
pub(crate) fn only_owner<'a>(line: &'a str, member: &str) -> Option<&'a str> {
    let words = words(line);
    let mut owners = words.windows(3).filter(|three| three[1] == "." && three[2] == member).map(|three| three[0]);
    let first = owners.next()?;
    owners.all(|owner| owner == first).then_some(first)
}

/// The name that a line of code which begins a function gives it: `process` for `function process(log)` and for
/// `process = function(log)`.
pub(crate) fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("function")?;
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':'))
    };
    let named = after.split('(').next().map(str::trim).filter(is_name);
    named.or_else(|| {
        let assigned = before.trim_end().strip_suffix('=')?.trim();
        let name = assigned.strip_prefix("local ").unwrap_or(assigned).trim();
        Some(name).filter(is_name)
    })
}

/// Whether the text has this word in code, not in a string or a comment.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.lines()
        .any(|line| tokens(line).iter().any(|token| token.kind == Kind::Name && line[token.range.clone()] == *word))
}

/// The words and signs of a line, its texts with their quotes.
pub(crate) fn words(line: &str) -> Vec<&str> {
    tokens(line).into_iter().map(|token| &line[token.range]).collect()
}

/// The end of a line's code, before a comment.
pub(crate) fn is_code(line: &str) -> bool {
    tokens(line).iter().any(|token| match token.kind {
        Kind::Name => !matches!(&line[token.range.clone()], "end" | "else" | "do" | "then" | "repeat"),
        Kind::Text => true,
        Kind::Mark => false,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A name, a keyword, or a number.
    Name,
    /// A string with its quotes.
    Text,
    /// One character of anything else.
    Mark,
}

struct Token {
    kind: Kind,
    range: Range<usize>,
}

/// The tokens of one line up to a comment. Long strings and comments of several lines are not known.
fn tokens(line: &str) -> Vec<Token> {
    let bytes = line.as_bytes();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b' ' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => break,
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
                Kind::Text
            }
            byte if is_name(&byte) => {
                at += bytes[at..].iter().take_while(|byte| is_name(byte)).count();
                Kind::Name
            }
            _ => {
                at += line[at..].chars().next().map_or(1, char::len_utf8);
                Kind::Mark
            }
        };
        // An escape may end inside of a character.
        while !line.is_char_boundary(at) {
            at += 1;
        }
        tokens.push(Token { kind, range: start..at });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line with the found place marked, or nothing.
    fn check(line: &str, message: &str, expected: &str) {
        let found = subject(message).and_then(|subject| find(line, subject));
        let marked = found.map(|at| format!("{}[{}]{}", &line[..at.start], &line[at.clone()], &line[at.end..]));
        assert_eq!(marked.unwrap_or_default(), expected, "{line}: {message}");
    }

    #[test]
    fn a_name_that_occurs_once_on_the_line_is_found() {
        let nil = "attempt to index a nil value (field 'user')";
        check("return log.event.user.name", nil, "return log.event.[user].name");
        check("return t['user'].name -- user.user", nil, "return t[['user']].name -- user.user");
        check("local user = t.user.id .. \".user\"", nil, "local user = t.[user].id .. \".user\"");
        check("user = user", "attempt to call a nil value (global 'user')", "");
        check("return a.user.x or b.user.x", nil, "");
        check("x = s:trim()", "attempt to call a nil value (method 'trim')", "x = s:[trim]()");
        check("f(é, user)", "attempt to call a nil value (local 'user')", "f(é, [user])");
        check("if x = 1 then", "'then' expected near '='", "if x [=] 1 then");
        check("return x", "'end' expected near <eof>", "");
        check(
            "return ('x'):rep(log.n)",
            "bad argument #1 to 'rep' (number expected, got nil)",
            "return ('x'):[rep](log.n)",
        );
    }

    #[test]
    fn a_function_is_named_by_the_line_that_defines_it() {
        let check = |line, expected| assert_eq!(function_name(line), expected, "{line}");
        check("local function mask(text)", Some("mask"));
        check("function process(log, meta)", Some("process"));
        check("M.clean = function(x)", Some("M.clean"));
        check("local f = function ()", Some("f"));
        check("pcall(function() error('x') end)", None);
    }

    #[test]
    fn any_line_can_be_searched() {
        for line in ["'", "\"\\", "'\\é", "é'é", "--", "[[", "\"\\é\" x"] {
            let _ = find(line, Subject { kind: "local", name: "x" });
            let _ = find(line, Subject { kind: "field", name: "" });
            let _ = owners(line, &(0..1));
        }
    }
}
