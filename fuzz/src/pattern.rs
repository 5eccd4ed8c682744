//! Lua patterns: the engine's own matcher gives the same result wherever ours reaches one.

use std::cell::OnceCell;

use forwarder::fuzzing::{Capture, Match, Matcher, PatternError, find_plain, is_plain};
use mlua::{Lua, MultiValue, Value};

use super::input::Input;

/// The step limit. The engine has none, so it runs only patterns that ours completes.
const STEPS: u64 = 20_000;

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Number(i64),
    Nil,
}

type Answer = Result<Vec<Part>, String>;

thread_local! {
    static ENGINE: OnceCell<Lua> = const { OnceCell::new() };
}

/// Pattern, replacement, text.
pub fn pattern(input: &[u8]) {
    let mut input = Input::new(input);
    let (pattern, replacement) = (input.piece(), input.piece());
    let text = input.rest();

    check("find", &[text, pattern], find(text, pattern));
    check("gsub", &[text, pattern, replacement], gsub(text, pattern, replacement));
    check("gmatch", &[text, pattern], gmatch(text, pattern));
}

fn check(function: &str, arguments: &[&[u8]], ours: Result<Vec<Part>, PatternError>) {
    let ours = match ours {
        // Ours counts the depth of its own recursion, and the engine that of its recursion.
        Err(PatternError::TooManySteps(_) | PatternError::TooDeep) => return,
        other => other.map_err(|error| error.to_string()),
    };
    let theirs = ENGINE.with(|lua| ask(lua.get_or_init(engine), function, arguments));
    if theirs.as_ref().is_err_and(|error| error.contains("too complex")) {
        return;
    }
    let shown: Vec<_> = arguments.iter().map(|bytes| bytes.escape_ascii().to_string()).collect();
    assert_eq!(ours, theirs, "{function} of {shown:?}");
}

fn engine() -> Lua {
    let lua = Lua::new();
    let collect = "function collect(text, pattern)
        local all = {}
        for first in string.gmatch(text, pattern) do all[#all + 1] = first end
        return table.unpack(all)
    end";
    lua.load(collect).set_name("=engine").exec().expect("this is Lua");
    lua
}

fn ask(lua: &Lua, function: &str, arguments: &[&[u8]]) -> Answer {
    let arguments: MultiValue =
        arguments.iter().map(|bytes| Value::String(lua.create_string(bytes).expect("there is memory"))).collect();
    let name = if function == "gmatch" { "collect".to_owned() } else { format!("string.{function}") };
    let function: mlua::Function = lua.load(name).eval().expect("this is a function");
    let values = function.call::<MultiValue>(arguments).map_err(|error| engine_words(&error.to_string()))?;
    Ok(values.into_iter().map(part).collect())
}

fn part(value: Value) -> Part {
    match value {
        Value::String(text) => Part::Text(text.as_bytes().to_vec()),
        Value::Integer(number) => Part::Number(number),
        Value::Nil => Part::Nil,
        other => panic!("no answer of the string library: {other:?}"),
    }
}

/// The message without the place before it and the traceback after it.
fn engine_words(error: &str) -> String {
    let error = error.strip_prefix("runtime error: ").unwrap_or(error);
    let error = error.split("\nstack traceback:").next().unwrap_or(error);
    error.strip_prefix("engine:3: ").unwrap_or(error).to_owned()
}

fn find(text: &[u8], pattern: &[u8]) -> Result<Vec<Part>, PatternError> {
    if is_plain(pattern) {
        let place = |found: Match| vec![Part::Number(found.start as i64 + 1), Part::Number(found.end as i64)];
        return Ok(find_plain(text, pattern, 0).map_or(vec![Part::Nil], place));
    }
    let mut matcher = Matcher::new(text, pattern, STEPS);
    let Some(found) = matcher.next(0, None)? else { return Ok(vec![Part::Nil]) };
    inside(text, found);
    let mut parts = vec![Part::Number(found.start as i64 + 1), Part::Number(found.end as i64)];
    for index in 0..matcher.captured() {
        parts.push(caught(matcher.capture(index, found)?));
    }
    Ok(parts)
}

fn gmatch(text: &[u8], pattern: &[u8]) -> Result<Vec<Part>, PatternError> {
    let mut matcher = Matcher::without_anchor(text, pattern, STEPS);
    let (mut parts, mut last) = (Vec::new(), None);
    while let Some(found) = matcher.next(last.unwrap_or(0), last)? {
        inside(text, found);
        // The engine checks every capture, ours only the first: an unclosed one is an error wherever it is.
        for index in 1..matcher.captured() {
            matcher.capture(index, found)?;
        }
        parts.push(caught(matcher.capture(0, found)?));
        last = Some(found.end);
    }
    Ok(parts)
}

fn gsub(text: &[u8], pattern: &[u8], replacement: &[u8]) -> Result<Vec<Part>, PatternError> {
    let mut matcher = Matcher::new(text, pattern, STEPS);
    let (mut made, mut copied, mut count, mut last) = (Vec::new(), 0, 0, None);
    while let Some(found) = matcher.next(last.unwrap_or(0), last)? {
        inside(text, found);
        count += 1;
        made.extend_from_slice(&text[copied..found.start]);
        matcher.expand(replacement, found, |piece| made.extend_from_slice(piece))?;
        copied = found.end;
        last = Some(found.end);
        if matcher.is_anchored() {
            break;
        }
    }
    made.extend_from_slice(&text[copied..]);
    Ok(vec![Part::Text(made), Part::Number(count)])
}

fn inside(text: &[u8], found: Match) {
    assert!(found.start <= found.end && found.end <= text.len(), "{found:?} in {} bytes", text.len());
}

fn caught(capture: Capture<'_>) -> Part {
    match capture {
        Capture::Text(text) => Part::Text(text.to_vec()),
        Capture::Position(position) => Part::Number(position as i64),
    }
}
