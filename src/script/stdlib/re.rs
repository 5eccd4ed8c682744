//! `re`: regular expressions in linear time, with the engine of the `regex-automata` crate.
//!
//! A search reads each byte of the text at most once for each state of the pattern. A search cannot be interrupted,
//! so states times bytes are limited according to the time limit of a log; several searches in one text can be
//! stopped between two searches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mlua::{Function, IntoLua as _, Lua, LuaString, MultiValue, Table, Value};
use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, PatternID};

use super::native::{MAX_BYTES, Raise, answering, chunk, function, integer_or_none, text};
use crate::script::engine::raising::raising;
use crate::script::engine::time_limit;

/// Maximum length of a pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 4096;

/// Maximum size of a compiled pattern, in bytes: about ten thousand states.
const MAX_PROGRAM_BYTES: usize = 256 << 10;

/// Maximum size of the regex engine's cache for a pattern, in bytes.
const MAX_CACHE_BYTES: usize = 256 << 10;

/// Maximum number of compiled patterns cached by a Lua state.
const CACHED_PATTERNS: usize = 64;

/// States times bytes that a search processes per millisecond in the worst case.
const WORK_PER_MILLISECOND: u128 = 90_000;

/// Puts `re` into `globals`. In the worst case a search takes as long as `limit`.
pub(super) fn install(lua: &Lua, globals: &Table, limit: Duration) -> mlua::Result<()> {
    let patterns = Patterns::new(limit);
    let library = lua.create_table()?;
    library.set("find", with(lua, &patterns, find)?)?;
    library.set("match", with(lua, &patterns, first_match)?)?;
    library.set("captures", with(lua, &patterns, captures)?)?;
    library.set("escape", function(lua, escape)?)?;
    let walkers: Table = chunk(lua, include_str!("re.lua")).call((
        answering_with(lua, &patterns, next)?,
        answering_with(lua, &patterns, replace)?,
        lua.globals().get::<Table>("table")?.get::<Function>("concat")?,
        lua.globals().get::<Table>("string")?.get::<Function>("sub")?,
        lua.globals().get::<Function>("type")?,
        // Ours, which writes all digits of a float.
        globals.get::<Function>("tostring")?,
    ))?;
    for name in ["gmatch", "gsub"] {
        library.set(name, raising(lua, walkers.get(name)?)?)?;
    }
    globals.set("re", library)
}

type Native = fn(&Lua, &Patterns, [Value; 4]) -> Result<MultiValue, Raise>;
type Arguments = (Value, Value, Value, Value);

fn with(lua: &Lua, patterns: &Patterns, native: Native) -> mlua::Result<Function> {
    raising(lua, answering_with(lua, patterns, native)?)
}

fn answering_with(lua: &Lua, patterns: &Patterns, native: Native) -> mlua::Result<Function> {
    let patterns = patterns.clone();
    answering(lua, move |lua, (a, b, c, d): Arguments| native(lua, &patterns, [a, b, c, d]))
}

/// `re.find(text, pattern [, init])` → first, last, groups…
fn find(lua: &Lua, patterns: &Patterns, [subject, pattern, init, _]: [Value; 4]) -> Result<MultiValue, Raise> {
    let (subject, pattern) = (text(lua, 1, subject)?, patterns.get(lua, 2, pattern)?);
    let Some(from) = start(lua, init, subject.as_bytes().len())? else { return nothing(lua) };
    let Some(found) = pattern.search(&subject.as_bytes(), from)? else { return nothing(lua) };
    let (first, end) = found.span(0).expect("a match has a span");
    let mut results = vec![position(first + 1), position(end)];
    for group in 1..pattern.groups() {
        results.push(found.text(lua, &subject, group)?);
    }
    Ok(MultiValue::from_vec(results))
}

/// `re.match(text, pattern [, init])` → the groups, or the whole match when the pattern has none.
fn first_match(lua: &Lua, patterns: &Patterns, [subject, pattern, init, _]: [Value; 4]) -> Result<MultiValue, Raise> {
    let (subject, pattern) = (text(lua, 1, subject)?, patterns.get(lua, 2, pattern)?);
    let Some(from) = start(lua, init, subject.as_bytes().len())? else { return nothing(lua) };
    let Some(found) = pattern.search(&subject.as_bytes(), from)? else { return nothing(lua) };
    let groups = if pattern.groups() == 1 { 0..1 } else { 1..pattern.groups() };
    let results: Result<Vec<Value>, mlua::Error> = groups.map(|group| found.text(lua, &subject, group)).collect();
    Ok(MultiValue::from_vec(results?))
}

/// `re.captures(text, pattern [, init])` → a table of the groups that matched, by number and by name; 0 is the whole
/// match.
fn captures(lua: &Lua, patterns: &Patterns, [subject, pattern, init, _]: [Value; 4]) -> Result<MultiValue, Raise> {
    let (subject, pattern) = (text(lua, 1, subject)?, patterns.get(lua, 2, pattern)?);
    let Some(from) = start(lua, init, subject.as_bytes().len())? else { return nothing(lua) };
    let Some(found) = pattern.search(&subject.as_bytes(), from)? else { return nothing(lua) };
    let table = lua.create_table()?;
    let names = pattern.engine.group_info().pattern_names(PatternID::ZERO);
    for (group, name) in names.enumerate().filter(|&(group, _)| found.span(group).is_some()) {
        let value = found.text(lua, &subject, group)?;
        if let Some(name) = name {
            table.raw_set(name, &value)?;
        }
        table.raw_set(group, value)?;
    }
    Ok(MultiValue::from_vec(vec![Value::Table(table)]))
}

/// `re.escape(text)` → a pattern that matches only this text.
fn escape(lua: &Lua, value: Value) -> Result<LuaString, Raise> {
    let plain = text(lua, 1, value)?;
    let mut escaped = Vec::with_capacity(plain.as_bytes().len());
    for &byte in &*plain.as_bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            escaped.push(byte);
        } else {
            escaped.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
    Ok(lua.create_string(escaped)?)
}

/// One step of `gmatch` and `gsub`, from byte `from`, counted from 1, with the last byte of the previous match:
/// first, last, groups…; nil after the last match. Without `from`, only the arguments are checked.
fn next(lua: &Lua, patterns: &Patterns, [subject, pattern, from, before]: [Value; 4]) -> Result<MultiValue, Raise> {
    let (subject, pattern) = (text(lua, 1, subject)?, patterns.get(lua, 2, pattern)?);
    let (from, before) = (integer_or_none(lua, 3, from)?, integer_or_none(lua, 4, before)?);
    let Some(from) = from else {
        pattern.check_work(subject.as_bytes().len())?;
        return nothing(lua);
    };
    let place = |position: i64| usize::try_from(position).unwrap_or(0);
    let found = pattern.next(&subject.as_bytes(), place(from - 1), before.map(place))?;
    let Some(found) = found else { return nothing(lua) };
    let (first, end) = found.span(0).expect("a match has a span");
    let mut results = vec![position(first + 1), position(end)];
    for group in if pattern.groups() == 1 { 0..1 } else { 1..pattern.groups() } {
        results.push(found.text(lua, &subject, group)?);
    }
    Ok(MultiValue::from_vec(results))
}

/// `re.gsub` with a text as replacement.
fn replace(lua: &Lua, patterns: &Patterns, [subject, pattern, new, most]: [Value; 4]) -> Result<MultiValue, Raise> {
    let (subject, pattern) = (text(lua, 1, subject)?, patterns.get(lua, 2, pattern)?);
    let new = text(lua, 3, new)?;
    let pieces = template(&new.as_bytes(), pattern.groups()).map_err(|why| Raise::Argument(3, why))?;
    let most = integer_or_none(lua, 4, most)?.unwrap_or(i64::MAX);
    let subject = subject.as_bytes();
    let (mut made, mut count, mut kept, mut before) = (Vec::new(), 0, 0, None);
    while count < most {
        let Some(found) = pattern.next(&subject, kept, before)? else { break };
        let (first, end) = found.span(0).expect("a match has a span");
        made.extend_from_slice(&subject[kept..first]);
        for piece in &pieces {
            made.extend_from_slice(match piece {
                Piece::Text(text) => text,
                Piece::Group(group) => found.span(*group).map_or(&[], |(start, end)| &subject[start..end]),
            });
        }
        (kept, before, count) = (end, Some(end), count + 1);
        if made.len() > MAX_BYTES {
            return Err(Raise::Text(format!("re.gsub: the result is longer than {} MiB", MAX_BYTES >> 20)));
        }
        if time_limit::is_over() {
            return Err(Raise::Text("re.gsub: out of time".to_owned()));
        }
    }
    made.extend_from_slice(&subject[kept..]);
    Ok(MultiValue::from_vec(vec![Value::String(lua.create_string(made)?), Value::Integer(count)]))
}

enum Piece {
    Text(Vec<u8>),
    Group(usize),
}

/// Parses a replacement: `%0` to `%9` are groups, `%%` is a `%`.
fn template(new: &[u8], groups: usize) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), new);
    while let Some(at) = memchr::memchr(b'%', rest) {
        pieces.push(Piece::Text(rest[..at].to_vec()));
        pieces.push(match rest.get(at + 1) {
            Some(b'%') => Piece::Text(b"%".to_vec()),
            Some(digit @ b'0'..=b'9') => {
                let group = usize::from(digit - b'0');
                // As in Lua, `%1` is the whole match for a pattern without groups.
                match (group, groups) {
                    (1, 1) => Piece::Group(0),
                    _ if group < groups => Piece::Group(group),
                    _ => return Err(format!("the pattern has no group %{group}")),
                }
            }
            _ => return Err("invalid use of '%' in replacement string: %0 to %9 are groups, %% is a %".to_owned()),
        });
        rest = &rest[at + 2..];
    }
    pieces.push(Piece::Text(rest.to_vec()));
    Ok(pieces)
}

fn nothing(_: &Lua) -> Result<MultiValue, Raise> {
    Ok(MultiValue::from_vec(vec![Value::Nil]))
}

fn position(at: usize) -> Value {
    Value::Integer(i64::try_from(at).unwrap_or(i64::MAX))
}

/// The start position, counted from 0, for an `init` as in `string.find`; `None` after the end.
fn start(lua: &Lua, init: Value, len: usize) -> Result<Option<usize>, Raise> {
    let init = integer_or_none(lua, 3, init)?.unwrap_or(1);
    let from_end = |back: i64| len.saturating_sub(usize::try_from(back.unsigned_abs()).unwrap_or(usize::MAX));
    let from = match init {
        ..0 => from_end(init),
        0 => 0,
        1.. => usize::try_from(init - 1).unwrap_or(usize::MAX),
    };
    Ok((from <= len).then_some(from))
}

/// The patterns of one Lua state, by their text.
#[derive(Clone)]
struct Patterns {
    kept: Arc<Mutex<HashMap<Vec<u8>, Arc<Pattern>>>>,
    /// Maximum states times bytes of one search.
    most_work: usize,
}

impl Patterns {
    fn new(limit: Duration) -> Self {
        let most_work = usize::try_from(limit.as_millis() * WORK_PER_MILLISECOND).unwrap_or(usize::MAX);
        Self { kept: Arc::default(), most_work }
    }

    /// Argument number `n` as a pattern.
    fn get(&self, lua: &Lua, n: usize, value: Value) -> Result<Arc<Pattern>, Raise> {
        let source = text(lua, n, value)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = kept.get(&*source.as_bytes()) {
            return Ok(Arc::clone(pattern));
        }
        let pattern =
            Arc::new(Pattern::new(&source.as_bytes(), self.most_work).map_err(|why| Raise::Argument(n, why))?);
        // A script has few patterns; one that builds patterns from logs must not use too much memory.
        if kept.len() >= CACHED_PATTERNS {
            kept.clear();
        }
        kept.insert(source.as_bytes().to_vec(), Arc::clone(&pattern));
        Ok(pattern)
    }
}

struct Pattern {
    engine: Regex,
    states: usize,
    /// Maximum length of a text, in bytes.
    longest: usize,
}

impl Pattern {
    /// Compiles a pattern for bytes, not characters, unless it contains `(?u)`: a log may contain any bytes, and
    /// ASCII classes are small.
    fn new(source: &[u8], most_work: usize) -> Result<Self, String> {
        let source =
            std::str::from_utf8(source).map_err(|_| "a pattern is UTF-8: write other bytes as \\xFF".to_owned())?;
        if source.len() > MAX_PATTERN_BYTES {
            return Err(format!("a pattern of {} bytes: at most {MAX_PATTERN_BYTES}", source.len()));
        }
        let syntax = syntax::Config::new().unicode(false).utf8(false).nest_limit(100);
        let program = thompson::Compiler::new()
            .syntax(syntax)
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(MAX_PROGRAM_BYTES))
                    .which_captures(WhichCaptures::All),
            )
            .build(source)
            .map_err(|error| words(&error))?;
        let limits = Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(MAX_PROGRAM_BYTES))
            .onepass_size_limit(Some(MAX_PROGRAM_BYTES))
            .hybrid_cache_capacity(MAX_CACHE_BYTES);
        let engine = Regex::builder().syntax(syntax).configure(limits).build(source).map_err(|error| {
            error.size_limit().map_or_else(|| format!("malformed pattern: {error}"), |_| TOO_LARGE.to_owned())
        })?;
        let states = program.states().len();
        Ok(Self { engine, states, longest: most_work / states })
    }

    /// Number of groups, including the whole match.
    fn groups(&self) -> usize {
        self.engine.group_info().group_len(PatternID::ZERO)
    }

    fn check_work(&self, bytes: usize) -> Result<(), Raise> {
        if bytes <= self.longest {
            return Ok(());
        }
        Err(Raise::Text(format!(
            "re: a text of {bytes} bytes is too long for a pattern of {} states (at most {} bytes, by script.timeout)",
            self.states, self.longest
        )))
    }

    fn search(&self, subject: &[u8], from: usize) -> Result<Option<Found>, Raise> {
        self.check_work(subject.len().saturating_sub(from))?;
        let mut slots = vec![None; self.groups() * 2];
        let input = Input::new(subject).range(from..).anchored(Anchored::No);
        let found = self.engine.search_slots(&input, &mut slots);
        Ok(found.map(|_| Found { slots }))
    }

    /// The next match after one that ended at `before`. An empty match there is skipped, or it would be found
    /// forever.
    fn next(&self, subject: &[u8], from: usize, before: Option<usize>) -> Result<Option<Found>, Raise> {
        if from > subject.len() {
            return Ok(None);
        }
        match self.search(subject, from)? {
            Some(found) if before.is_some() && found.span(0) == before.map(|end| (end, end)) => {
                if from == subject.len() { Ok(None) } else { self.search(subject, from + 1) }
            }
            found => Ok(found),
        }
    }
}

const TOO_LARGE: &str = "pattern too large when compiled: repetitions multiply, as in (a{1000}){1000}";

/// The error of a pattern, on one line.
fn words(error: &thompson::BuildError) -> String {
    if error.size_limit().is_some() {
        return TOO_LARGE.to_owned();
    }
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    // The parser prints the pattern with a caret below; the last line contains the error.
    let last = cause.lines().last().unwrap_or_default().trim();
    format!("malformed pattern: {}", last.strip_prefix("error: ").unwrap_or(last))
}

/// The spans of the groups of one match.
struct Found {
    slots: Vec<Option<NonMaxUsize>>,
}

impl Found {
    fn span(&self, group: usize) -> Option<(usize, usize)> {
        Some((self.slots.get(2 * group)?.as_ref()?.get(), self.slots.get(2 * group + 1)?.as_ref()?.get()))
    }

    /// A group's text; empty for a group that did not match.
    fn text(&self, lua: &Lua, subject: &LuaString, group: usize) -> mlua::Result<Value> {
        let bytes = subject.as_bytes();
        let text = self.span(group).map_or(&[][..], |(start, end)| &bytes[start..end]);
        lua.create_string(text)?.into_lua(lua)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::script::stdlib::tests::check;

    #[test]
    fn find_returns_the_position_and_the_groups() {
        check("local a, b, s = re.find('GET / 404', [[ (\\d+)$]]) assert(a == 6 and b == 9 and s == '404')");
        check("assert(re.find('aXa', 'a', 2) == 3 and re.find('aXa', 'a', -1) == 3 and re.find('a', 'a', 3) == nil)");
        check("local a, b = re.find('abc', '') assert(a == 1 and b == 0)");
        check("assert(re.find('a\\xffb', [[\\xff]]) == 2 and re.find('\\xe4\\xbd\\xa0', [[(?-u:\\xbd)]]) == 2)");
    }

    #[test]
    fn match_returns_the_groups_or_the_whole_match() {
        check("assert(re.match('user=ada', [[user=(\\w+)]]) == 'ada' and re.match('user=ada', [[\\w+$]]) == 'ada')");
        check("local a, b = re.match('x', '(a)?(x)') assert(a == '' and b == 'x')");
        check("assert(re.match('ERROR', '(?i)error') == 'ERROR' and re.match('a', 'b') == nil)");
        check("assert(re.match('你', [[(?u)^\\w$]]) == '你' and re.match('你', [[^\\w$]]) == nil)");
    }

    #[test]
    fn captures_are_available_by_number_and_by_name() {
        check(
            "local c = re.captures('10.0.0.1 GET', [[(?P<ip>\\S+) (?<verb>[A-Z]+)(x)?]])
             assert(c.ip == '10.0.0.1' and c.verb == 'GET' and c[1] == c.ip and c[0] == '10.0.0.1 GET' and c[3] == nil)",
        );
        check("assert(re.captures('a', 'b') == nil)");
    }

    #[test]
    fn gmatch_iterates_over_all_matches() {
        check(
            "local all = {} for k, v in re.gmatch('a=1 b=2', [[(\\w)=(\\w)]]) do all[#all + 1] = k .. v end
             assert(table.concat(all, ',') == 'a1,b2')",
        );
        check("local n = 0 for word in re.gmatch('aab', 'a*') do n = n + 1 end assert(n == 2, n)");
        check("for _ in re.gmatch('', 'x') do error('none') end");
        check("local n = 0 for part in re.gmatch('xyx', '(a)?x') do assert(part == '') n = n + 1 end assert(n == 2)");
        check(
            "local ok, why = pcall(function() re.gmatch('x', '(') end)
             assert(why:find(\"test.lua:1: bad argument #2 to 'gmatch' (malformed pattern: unclosed group)\", 1, true), why)",
        );
    }

    #[test]
    fn gsub_replaces_with_a_string_a_table_or_a_function() {
        check("assert(re.gsub('card 4111', [[\\d]], '*') == 'card ****')");
        check("local s, n = re.gsub('a b c', '[a-z]', '<%0>', 2) assert(s == '<a> <b> c' and n == 2)");
        check("assert(re.gsub('ada@x', [[(\\w+)@(\\w+)]], '%2 at %1 100%%') == 'x at ada 100%')");
        check("assert(re.gsub('a1', [[\\d]], '<%1>') == 'a<1>' and re.gsub('abc', '', '-') == '-a-b-c-')");
        check("assert(re.gsub('a b z', '[a-z]', { a = '1', b = false }) == '1 b z')");
        check("local s, n = re.gsub('a b', '[a-z]', string.upper) assert(s == 'A B' and n == 2)");
        check("assert(re.gsub('k=v', '(k)=(v)', function(k, v) return v .. k end) == 'vk')");
        check("assert(re.gsub('abc', 'x*', function() return '-' end) == '-a-b-c-')");
        check("assert(re.gsub('ab', '[ab]', { a = 6 / 2, b = 0.1 + 0.2 }) == '30.30000000000000004')");
        check("assert(re.gsub('a', 'a', function() return 6 / 2 end) == '3' and re.gsub('a', 'a', 6 / 2) == '3')");
        check("assert(re.gsub('aaa', 'a', function() return 'b' end, 1) == 'baa' and re.gsub(12, 1, 3) == '32')");
    }

    #[test]
    fn a_wrong_call_is_an_error_at_its_line() {
        #[track_caller]
        fn fails(call: &str, expected: &str) {
            check(&format!(
                "local ok, why = pcall(function() local x = {call} end) assert(not ok and why:find([[{expected}]], 1, true), why)"
            ));
        }
        fails("re.match(nil, 'a')", "test.lua:1: bad argument #1 to 'match' (string expected, got nil)");
        fails("re.find('a', {})", "test.lua:1: bad argument #2 to 'find' (string expected, got table)");
        fails("re.find('a', '[')", "malformed pattern: unclosed character class");
        fails("re.find('a', '(?=a)')", "look-around, including look-ahead and look-behind, is not supported");
        fails("re.find('a', '(a)\\\\1')", "backreferences are not supported");
        fails("re.find('a', '(a{1000}){1000}')", "pattern too large when compiled");
        fails("re.find('a', ('a'):rep(5000))", "a pattern of 5000 bytes: at most 4096");
        fails("re.find('a', '\\xff')", "a pattern is UTF-8");
        fails("re.gsub('a', 'a', '%2')", "bad argument #3 to 'gsub' (the pattern has no group %2)");
        fails("re.gsub('a', 'a', '%')", "invalid use of '%'");
        fails("re.gsub('a', 'a', true)", "string, table or function expected, got boolean");
        fails("re.gsub('a', 'a', function() return {} end)", "test.lua:1: invalid replacement value (a table)");
        fails("re.gsub('a', 'a', function() error('mine') end)", "test.lua:1: mine");
        fails("re.find(('x'):rep(1000000), ('[ab]{500}'))", "is too long for a pattern of");
    }

    #[test]
    fn an_escaped_text_matches_only_itself() {
        check(
            "assert(re.match('a.b*[c', '^' .. re.escape('a.b*[c') .. '$') and not re.match('aXb', re.escape('a.b')))",
        );
        check("assert(re.find('x\\xff\\0 y', re.escape('\\xff\\0 ')) == 2)");
    }

    #[test]
    fn a_vm_keeps_a_bounded_number_of_patterns() {
        let (lua, patterns) = (Lua::new(), Patterns::new(Duration::from_secs(1)));
        for n in 0..3 * CACHED_PATTERNS {
            let source = lua.create_string(format!("a{n}")).unwrap();
            patterns.get(&lua, 1, Value::String(source)).ok().unwrap();
        }
        assert_eq!(patterns.kept.lock().unwrap().len(), CACHED_PATTERNS);
    }

    proptest! {
        #[test]
        fn gsub_with_a_string_and_with_a_function_agree(subject in "[ab \u{e4}]{0,20}", pattern in "[ab*?|()]{0,6}") {
            let lua = Lua::new();
            install(&lua, &lua.globals(), Duration::from_secs(1)).unwrap();
            let (text, function): (Value, Value) = lua
                .load(
                    "local s, p = ...
                     local ok, a = pcall(re.gsub, s, p, '<%0>')
                     local _, b = pcall(re.gsub, s, '(' .. p .. ')', function(x) return '<' .. x .. '>' end)
                     if ok then return a, b end",
                )
                .call((subject, pattern))
                .unwrap();
            prop_assert_eq!(text, function);
        }
    }
}
