//! `string.find`, `match`, `gmatch` and `gsub` over the budgeted matcher.

use mlua::{Function, Integer, IntoLua as _, Lua, LuaString, MultiValue, Table, Value};

use super::native::{Raise, bare, chunk, function, integer_or_none, nil, raising, text, text_or_none, unexpected};
use crate::script::pattern::{self, Capture, Match, Matcher};

type Arguments = (Value, Value, Value, Value);
type Answer = Result<MultiValue, Raise>;

/// Puts the four functions into the string library in the place of the engine's, which nothing can interrupt.
pub(super) fn install(lua: &Lua, string: &Table) -> mlua::Result<()> {
    string.set("find", function(lua, find)?)?;
    string.set("match", function(lua, first_match)?)?;

    let natives = lua.create_table()?;
    natives.set("gmatch_start", bare(lua, gmatch_start)?)?;
    natives.set("gmatch_next", bare(lua, gmatch_next)?)?;
    natives.set("gsub", bare(lua, gsub)?)?;
    natives.set("gsub_start", bare(lua, gsub_start)?)?;
    natives.set("gsub_next", bare(lua, gsub_next)?)?;
    natives.set("raising", lua.create_function(|lua, f: Function| raising(lua, f))?)?;
    let (gmatch, gsub): (Function, Function) = chunk(lua, include_str!("patterns.lua")).call(natives)?;
    string.set("gmatch", raising(lua, gmatch)?)?;
    string.set("gsub", raising(lua, gsub)?)
}

fn find(lua: &Lua, (subject, pattern, init, plain): Arguments) -> Answer {
    let (subject, pattern) = (text(lua, 1, subject)?, text(lua, 2, pattern)?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let init = integer_or_none(lua, 3, init)?;
    let Some(from) = offset(init, subject.len()) else {
        return Ok(nil());
    };

    let is_plain = !matches!(plain, Value::Nil | Value::Boolean(false)) || pattern::is_plain(&pattern);
    if is_plain {
        let found = pattern::find_plain(&subject, &pattern, from);
        return Ok(found.map_or_else(nil, |found| MultiValue::from_iter(positions(found))));
    }
    let mut matcher = Matcher::new(&subject, &pattern, pattern::step_limit(subject.len()));
    let Some(found) = matcher.next(from, None)? else {
        return Ok(nil());
    };
    let mut results = MultiValue::from_iter(positions(found));
    push_captures(lua, &matcher, matcher.captured(), found, &mut results)?;
    Ok(results)
}

fn first_match(lua: &Lua, (subject, pattern, init): (Value, Value, Value)) -> Answer {
    let (subject, pattern) = (text(lua, 1, subject)?, text(lua, 2, pattern)?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let init = integer_or_none(lua, 3, init)?;
    let Some(from) = offset(init, subject.len()) else {
        return Ok(nil());
    };
    let mut matcher = Matcher::new(&subject, &pattern, pattern::step_limit(subject.len()));
    let Some(found) = matcher.next(from, None)? else {
        return Ok(nil());
    };
    let mut results = MultiValue::new();
    push_captures(lua, &matcher, matcher.captured().max(1), found, &mut results)?;
    Ok(results)
}

/// `gsub` with a text as replacement, in one go.
fn gsub(lua: &Lua, (subject, pattern, replacement, most): Arguments) -> Answer {
    let (subject, pattern) = (text(lua, 1, subject)?, text(lua, 2, pattern)?);
    let most = matches_allowed(lua, most, subject.as_bytes().len())?;
    let Some(replacement) = text_or_none(lua, 3, replacement.clone()).ok().flatten() else {
        return Err(unexpected(3, "string/function/table", &replacement));
    };
    let steps = pattern::step_limit(subject.as_bytes().len());
    let (replaced, count) = pattern::gsub(
        &subject.as_bytes(),
        &pattern.as_bytes(),
        &replacement.as_bytes(),
        most,
        steps,
    )?;
    let replaced = match replaced {
        Some(replaced) => lua.create_string(replaced)?,
        None => subject,
    };
    Ok(MultiValue::from_iter([Value::String(replaced), count.into_lua(lua)?]))
}

/// `gmatch(s, pattern, init)` → both as text, and the offset to begin at.
fn gmatch_start(lua: &Lua, (subject, pattern, init): (Value, Value, Value)) -> Answer {
    let (subject, pattern) = (text(lua, 1, subject)?, text(lua, 2, pattern)?);
    let length = subject.as_bytes().len();
    let from = offset(integer_or_none(lua, 3, init)?, length).unwrap_or(length + 1);
    Ok(MultiValue::from_iter([
        Value::String(subject),
        Value::String(pattern),
        from.into_lua(lua)?,
    ]))
}

/// `gsub(s, pattern, ?, n)` → both as text, and the most matches to replace.
fn gsub_start(lua: &Lua, (subject, pattern, most): (Value, Value, Value)) -> Answer {
    let (subject, pattern) = (text(lua, 1, subject)?, text(lua, 2, pattern)?);
    let most = matches_allowed(lua, most, subject.as_bytes().len())?;
    // An anchored pattern is tried once.
    let most = if pattern.as_bytes().starts_with(b"^") {
        most.min(1)
    } else {
        most
    };
    Ok(MultiValue::from_iter([
        Value::String(subject),
        Value::String(pattern),
        most.into_lua(lua)?,
    ]))
}

/// `gmatch_next(s, pattern, from, last)` → the next match.
fn gmatch_next(lua: &Lua, (subject, pattern, from, last): (LuaString, LuaString, usize, Option<usize>)) -> Answer {
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let matcher = Matcher::without_anchor(&subject, &pattern, pattern::step_limit(subject.len()));
    next(lua, matcher, from, last, usize::MAX)
}

/// `gsub_next(s, pattern, last, only_first)` → the next match, with all of its captures or only the first.
fn gsub_next(lua: &Lua, (subject, pattern, last, only_first): (LuaString, LuaString, Option<usize>, bool)) -> Answer {
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let matcher = Matcher::new(&subject, &pattern, pattern::step_limit(subject.len()));
    let most_captures = if only_first { 1 } else { usize::MAX };
    next(lua, matcher, last.unwrap_or(0), last, most_captures)
}

/// The next match: its positions and its captures.
fn next(lua: &Lua, mut matcher: Matcher, from: usize, last: Option<usize>, most_captures: usize) -> Answer {
    let Some(found) = matcher.next(from, last)? else {
        return Ok(nil());
    };
    let mut results = MultiValue::from_iter(positions(found));
    push_captures(
        lua,
        &matcher,
        matcher.captured().clamp(1, most_captures),
        found,
        &mut results,
    )?;
    Ok(results)
}

/// A match as Lua counts: its first byte and its last, from 1.
fn positions(found: Match) -> [Value; 2] {
    [integer(found.start + 1), integer(found.end)]
}

fn push_captures(
    lua: &Lua,
    matcher: &Matcher,
    count: usize,
    found: Match,
    results: &mut MultiValue,
) -> Result<(), Raise> {
    for index in 0..count {
        results.push_back(match matcher.capture(index, found)? {
            Capture::Text(text) => Value::String(lua.create_string(text)?),
            Capture::Position(position) => integer(position),
        });
    }
    Ok(())
}

/// Where to begin, as an offset from 0: Lua counts from 1, or from the end with a negative number. None: beyond the end.
fn offset(init: Option<Integer>, length: usize) -> Option<usize> {
    let init = init.unwrap_or(1);
    let from_end = || length.saturating_sub(usize::try_from(init.unsigned_abs()).unwrap_or(usize::MAX));
    let offset = match init {
        1.. => usize::try_from(init - 1).unwrap_or(usize::MAX),
        0 => 0,
        _ => from_end(),
    };
    (offset <= length).then_some(offset)
}

/// The last argument of `gsub`: by default as many matches as there can be.
fn matches_allowed(lua: &Lua, value: Value, length: usize) -> Result<usize, Raise> {
    let most = integer_or_none(lua, 4, value)?;
    Ok(most.map_or(length + 1, |most| usize::try_from(most).unwrap_or(0)))
}

fn integer(n: usize) -> Value {
    Value::Integer(Integer::try_from(n).expect("no text is longer than 2^63 bytes"))
}

#[cfg(test)]
mod tests;
