//! Errors as users see them: the place, and the hints for common mistakes.

use super::*;

const FIELDS: &[(&str, &str)] =
    &[("event", r#"{"a":null,"u":"x"}"#), ("status", "200"), ("user", "ann"), ("size", "-")];

/// The error of a script for one log.
fn error_of(script: &str) -> HookError {
    let pairs = FIELDS.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
    match try_hook(script) {
        Err(error) => error,
        Ok(mut hook) => {
            let mut made = hook.run(&page_of(&[pairs.collect()])).unwrap();
            made.failed.pop().unwrap_or_else(|| panic!("no error: {script}")).error
        }
    }
}

fn drawn(script: &str, expected: &str) {
    let error = error_of(script);
    assert_eq!(error.render(Beside::default()), expected.trim_start_matches('\n'), "{script}");
}

/// The column, if known, and the hint for a body of `process`.
fn hinted(body: &str, column: Option<u32>, hint: &str) {
    let error = error_of(&format!("function process(log)\n{body}\nend"));
    assert_eq!(error.place.as_ref().and_then(|place| place.column), column, "{body}: {error}");
    assert_eq!(error.hint.as_deref().unwrap_or_default(), hint, "{body}: {error}");
}

#[test]
fn an_error_is_shown_with_its_line_a_marker_the_calls_and_a_hint() {
    drawn(
        "local function name(log)
  return log.event.user.name
end

function process(log)
\treturn { event = { who = name(log) } }
end",
        r"
error: attempt to index a nil value (field 'user')
 --> s.lua:2:20
    |
  2 |   return log.event.user.name
    |                    ^^^^
    = called: name, from process at line 6
    = hint: `event` is JSON as text here: decode it first, `local event = json.decode(log.event)`",
    );
}

#[test]
fn an_error_shows_the_fate_of_the_log_and_cannot_control_the_terminal() {
    let error = error_of("function process(log)\n  error('no\\27[2J\\n\u{202e}')\nend");
    let beside = Beside { log: Some("log 5 of shard 3\u{1b}"), fate: Some("written as a dead letter"), colour: false };
    assert_eq!(
        error.render(beside),
        r"error: no\u{1b}[2J\n\u{202e}
 --> s.lua:2
    |
  2 |   error('no\27[2J\n\u{202e}')
    = log: log 5 of shard 3\u{1b}
    = then: written as a dead letter"
    );
    let coloured = error.render(Beside { colour: true, ..beside });
    assert!(coloured.starts_with("\u{1b}[1;31merror\u{1b}[0m"), "{coloured:?}");
}

#[test]
fn an_error_is_one_line_in_the_log_of_the_program() {
    let error = error_of("local function f(log) return log.usr .. 'x' end\nfunction process(log) f(log) end");
    assert_eq!(
        error.line(Beside::default()),
        format!(
            "s.lua:1: attempt to concatenate a nil value (field 'usr') (script version {}); code: local function f(log) \
             return log.usr .. 'x' end; called: f, from process at line 2; hint: this log has no `usr`; did you mean log.user?",
            error.version
        )
    );
}

#[test]
fn a_syntax_error_is_shown_with_its_place() {
    drawn(
        "function process(log)\n  if log.status = '200' then return nil end\n  return log\nend",
        r"
error: 'then' expected near '='
 --> s.lua:2:17
    |
  2 |   if log.status = '200' then return nil end
    |                 ^
    = hint: write `==` to compare",
    );
    drawn(
        "function process(log)\n  if log.user then return log\nend",
        r"
error: 'end' expected (to close 'function' at line 1) near <eof>
 --> s.lua:3
    |
  3 | end
    = hint: the `function` of line 1, or something inside of it, has no `end`",
    );
    drawn(
        "local x = {} .. 'a'\nfunction process(log) end",
        r"
error: while the script was loaded: attempt to concatenate a table value
 --> s.lua:1
    |
  1 | local x = {} .. 'a'
    = called: the top level
    = hint: use json.encode() to turn a table into text"
            .replace("    = called: the top level\n", "")
            .as_str(),
    );
}

#[test]
fn a_script_without_process_says_which_function_was_meant() {
    let hint = |script: &str, expected: &str| assert_eq!(error_of(script).hint.as_deref(), Some(expected), "{script}");
    hint("local function process(log) return log end", "`process` is local here: leave out `local`");
    hint("function proces(log) return log end", "did you mean to call `proces` process?");
    assert_eq!(error_of("x = 1").hint, None);
}

#[test]
fn an_error_without_a_line_names_the_file() {
    drawn("x = 1", "error: there is no function `process`: write `function process(log) … end`\n --> s.lua");
    drawn(
        "x = 1\nlocal function process(log) return log end",
        r"
error: there is no function `process`: write `function process(log) … end`
 --> s.lua:2
    |
  2 | local function process(log) return log end
    = hint: `process` is local here: leave out `local`",
    );
}

#[test]
fn an_invalid_event_shows_where_it_is_set_or_where_process_begins() {
    let place = |body: &str, expected: (u32, Option<u32>)| {
        let error = error_of(&format!("local event = 1\nfunction process(log)\n{body}\nend"));
        let place = error.place.clone().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((place.line, place.column), expected, "{error}");
    };
    place("return 5", (2, None));
    place("return json.decode('{}')", (2, None));
    place("return { event = log, time = { 1 } }", (3, Some(23)));
    place("return {\n{ message = 'a' }, { message = 'b', fields = { a = { {} } } } }", (4, Some(37)));
    place("local e = { event = { x = 0/0 } } return e", (2, None));
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_script() {
    assert_eq!(error_of("\u{feff}x = 1").to_string(), error_of("x = 1").to_string());
    let error = error_of("function process(log)\n  return { event = “x” }\nend");
    let hint = "Lua does not allow this character: write plain quotes and spaces, and save the file as UTF-8";
    assert_eq!(error.hint.as_deref(), Some(hint));
}

#[test]
fn a_mistake_in_a_call_says_what_to_write() {
    hinted(
        "local json = json.decode(log.event)\nreturn json.decode(log.status)",
        Some(13),
        "`json` is a variable here and hides the library of that name: rename the variable",
    );
    hinted("return log.status.upper()", Some(19), "call it with a colon: log.status:upper()");
    hinted("for k, v in log do end", None, "use pairs() to walk through a table: `for key, value in pairs(x) do`");
    let absent = "this log has no field `tags`: write (log.tags or \"\"), or test it first";
    hinted("if #log.tags > 0 then return log end", Some(9), absent);
    hinted("for _, tag in ipairs(log.tags) do end", None, absent);
}

#[test]
fn an_unknown_event_key_shows_where_it_is_set() {
    let error = error_of("function process(log)\n  return { event = log, appname = 'x' }\nend");
    let place = error.place.clone().unwrap();
    assert_eq!((place.line, place.column, place.width), (2, Some(25), 7));
    assert_eq!(error.hint.as_deref(), Some("did you mean `program`?"));
    assert!(
        error.message().starts_with("process returned a value that cannot be sent: appname: "),
        "{}",
        error.message()
    );
    hinted("return { { event = 'x', sourcetyp = 'y' } }", Some(25), "did you mean `sourcetype`?");
}

#[test]
fn a_missing_field_is_named() {
    hinted("return { event = log.usr.name }", Some(22), "this log has no `usr`; did you mean log.user?");
    hinted("return 'x' .. log.usr", Some(19), "this log has no `usr`; did you mean log.user?");
    hinted("return string.lower(log.usr)", Some(15), "this log has no `usr`; did you mean log.user?");
    hinted(
        "return 'x' .. log.elsewhere",
        Some(19),
        "this log has no field `elsewhere`: write (log.elsewhere or \"\"), or test it first",
    );
    hinted(
        "log.__time__ = nil\nreturn 't' .. log.__time__",
        Some(19),
        "the script removed `__time__` earlier: keep its value first, `local x = log.__time__`",
    );
}

#[test]
fn a_missing_field_in_arithmetic_is_named() {
    let absent = "this log has no field `seen`: write (log.seen or 0), or test it first";
    hinted("log.seen = log.seen + 1", None, absent);
    hinted("return { event = { log.seen * 2 } }", Some(24), absent);
    let number = "tonumber() returns nil for text that is not a number: write (tonumber(x) or 0)";
    hinted("local t = {} t.seen = log.user .. (t.seen + 1)", None, number);
}

#[test]
fn only_a_comparison_of_a_negation_with_a_value_is_named() {
    let line =
        |body: &str| negated_comparison(&Script::from_text("s.lua", format!("function process(log)\n{body}\nend")));
    for body in [
        "if not log.a == \"x\" then return log end",
        "local b = not log['a'] ~= nil",
        "local b = log.c and not (log.a or log.b) == 'x'",
        "return not log.a:find('(', 1, true) == 1 and log or nil",
    ] {
        assert_eq!(line(body), Some(2), "{body}");
    }
    for body in [
        "if not (log.a == \"x\") then return log end",
        "if not log.a and log.b == \"x\" then return log end",
        "if not log.a then log.b = \"x\" end",
        "if not log.a == not log.b then return log end",
        "if not log.a == true then return log end",
        "-- not log.a == \"x\"",
        "return 'not log.a == 1'",
    ] {
        assert_eq!(line(body), None, "{body}");
    }
}

#[test]
fn only_a_drop_whose_value_is_not_returned_is_named() {
    let line = |body: &str| unused_drop(&Script::from_text("s.lua", format!("function process(log)\n{body}\nend")));
    for (body, expected) in [
        ("drop 'x'", 2),
        ("if log.a then drop 'x' end", 2),
        ("if log.a then\n  drop(\"x\")\nend", 3),
        ("log.b = nil\ndrop 'x'", 3),
    ] {
        assert_eq!(line(body), Some(expected), "{body}");
    }
    for body in [
        "return drop 'x'",
        "return\n  drop 'x'",
        "local quiet = drop 'x'\nreturn quiet",
        "return log.a and drop 'x' or log",
        "t = { a = drop 'x', drop 'y' }",
        "-- drop 'x'",
        "log.drop('x')",
        "return 'drop \"x\"'",
    ] {
        assert_eq!(line(body), None, "{body}");
    }
}

#[test]
fn text_used_as_a_table_or_number_is_named() {
    let undecoded = "`event` is JSON as text here: decode it first, `local event = json.decode(log.event)`";
    hinted("log.event.x = 1", Some(5), undecoded);
    hinted("for k in pairs(log.event) do end", None, undecoded);
    let number = "the fields of a log are strings, and this one is not a number: tonumber(x) returns a number, or nil";
    hinted("return { event = { log.size + 1 } }", None, number);
    let compare = "the fields of a log are strings: compare numbers, `tonumber(log.status) >= 400`";
    hinted("if log.status >= 400 then return nil end", None, compare);
    hinted(
        "return tonumber(log.size) < 5",
        None,
        "one side has no value: a field that the log does not have, or tonumber() of text that is not a number",
    );
}

#[test]
fn json_null_and_text_that_is_not_json_are_named() {
    hinted(
        "local e = json.decode(log.event)\nreturn { event = e.a.b }",
        Some(20),
        "`a` is null in the JSON, which counts as true: json.get(value, \"a\") gives nil for it",
    );
    hinted(
        "local d = json.decode(log.size)\nreturn d.x",
        Some(8),
        "json.decode() returns nil for text that is not JSON: `if d then … end`",
    );
}

#[test]
fn missing_names_and_misspelt_names_get_different_hints() {
    hinted(
        "return os.time()",
        Some(8),
        "scripts have no `os`: they cannot reach files, processes or the network; use time.now() and time.format()",
    );
    hinted("return jsn.encode(log)", Some(8), "there is no `jsn`; did you mean `json`?");
    hinted("return json.parse(log.event)", Some(13), "there is no `json.parse`; did you mean `json.decode`?");
    hinted("return string.lowr(log.user)", Some(15), "there is no `string.lowr`; did you mean `string.lower`?");
    hinted("return log.user:gsb('a', 'b')", Some(17), "there is no `string.gsb`; did you mean `string.gsub`?");
    hinted("return user.name", Some(8), "`user` is a field of the log: write log.user");
}

/// Python idioms, each with a part of its hint.
const SLIPS: [(&str, &str); 48] = [
    ("if log.a != 'b' then end", "write `~=` for unequal"),
    ("if log.a && log.b then end", "write `and` instead of `&&`"),
    ("if log.a || log.b then end", "write `or` instead of `||`"),
    ("if !log.a then end", "write `not` instead of `!`"),
    ("if log.a = 'b' then end", "write `==` to compare"),
    ("log.n += 1", "write x = x + 1"),
    ("n++", "write x = x + 1"),
    ("return None", "there is no `None`: write `nil`"),
    ("local flag = True\nreturn log", "there is no `True`: write `true`"),
    ("if log.a == False then end", "there is no `False`: write `false`"),
    ("if log.a is None:\n  return nil", "write `x == nil` for `x is None`"),
    ("if log.a is not None:\n  return nil", "`x ~= nil` for `x is not None`"),
    ("if log.a then\nelif log.b then\nend", "write `elseif … then`"),
    ("if len(log.user) > 3 then end", "there is no `len`: write `#x`"),
    ("return str(log.user)", "there is no `str`: write `tostring(x)`"),
    ("local n = int(log.status)", "there is no `int`: write `tonumber(x)`"),
    ("for i in range(10) do end", "there is no `range`: write `for i = 1, n do`"),
    ("if isinstance(log.a, str) then end", "there is no `isinstance`: write `type(x) == \"table\"`"),
    ("local t = { 'a' }\nreturn 'x' .. t[0]", "lists begin at 1"),
    ("local t = { 'a' }\nreturn t[-1].x", "x[#x] is the last item"),
    ("try:\n  log.a = 1\nexcept Exception:\n  pass", "there is no `try`: write `local ok, result = pcall("),
    ("raise ValueError('x')", "write `error(\"why\")`"),
    ("def tidy(x)\n  return x", "a function begins with `function name(…)`"),
    ("return f\"user {log.user}\"", "there are no f-strings: join with `..`"),
    ("return { event = 'user ' + log.user }", "`..` joins texts"),
    ("return { event = 'user %s' % log.user }", "write string.format("),
    ("if 'x' in log.user then end", "there is no `in`"),
    ("if log.user not in known then end", "there is no `in`"),
    ("if log.user:\n  return log", "write `then` instead of the colon"),
    ("for k, v in pairs(log):\n  print(k)", "write `do` instead of the colon"),
    ("if log.user == \"200\": return log", "write `then` instead of the colon"),
    ("if log.user == log.url: return log", "write `then` instead of the colon"),
    ("for k, v in pairs(log): return k", "write `do` instead of the colon"),
    ("if log.user then return log\nelse: return nil end", "write `else` without a colon"),
    ("while true:\n  print(1)", "write `do` instead of the colon"),
    ("if log.a then\n  print(1)\nelse:\n  print(2)\nend", "write `else` without a colon"),
    ("return log.get('user', '-')", "write `x.name or \"default\"`"),
    ("local t = {}\nt.append(1)", "write `x[#x + 1] = item`"),
    ("for k, v in log.items() do end", "write `for key, value in pairs(x) do`"),
    ("return log.user.strip()", "write `x:match("),
    ("return log.user:startswith('a')", "write `x:sub(1, #start) == start`"),
    ("import json", "nothing has to be imported"),
    ("from datetime import datetime", "nothing has to be imported"),
    ("# drop it", "a comment begins with `--`"),
    ("local x = 1 # one", "a comment begins with `--`"),
    ("local x = log.a if log.a else 'b'", "write `condition and a or b`"),
    ("local t = [1, 2]", "a list is `{ 1, 2 }`"),
    ("local t = {\"a\": 1}", "a table is `{ name = 1"),
];

/// Fails if a mistake is reported in Lua's words only, or without its place.
#[test]
fn python_idioms_get_hints_with_the_lua_form() {
    for (body, part) in SLIPS {
        let error = error_of(&format!("function process(log)\n{body}\nend"));
        let text = format!("{} {}", error.message(), error.hint.as_deref().unwrap_or_default());
        assert!(text.contains(part), "{body}: {text}");
        let place = error.place.as_ref().unwrap_or_else(|| panic!("{body}: {error}"));
        let drawn = error.render(Beside::default());
        assert!(place.line >= 2 && drawn.contains(&format!("--> s.lua:{}", place.line)), "{body}: {drawn}");
    }
}

/// Fails if valid Lua is mistaken for Python.
#[test]
fn valid_lua_is_not_taken_for_python() {
    for body in [
        "local t = { None = 1 }\nreturn tostring(t.None)",
        "local None = nil\nif log.x == None then return 'x' end",
        "-- None\nreturn 'None' .. [[True]]",
        "local try, from, pass = 1, 2, 3\nreturn 'x'",
    ] {
        let mut made = hook(&format!("function process(log)\n{body}\nend")).run(&page_of(&[vec![]])).unwrap();
        assert_eq!(made.failed.pop(), None, "{body}");
    }
    hinted("from = 1\nx = = 2", None, "");
}

#[test]
fn an_exceeded_limit_is_shown_with_its_place() {
    let error = error_of("function process(log)\n  while true do end\nend");
    assert_eq!(error.place.as_ref().map(|place| (place.line, place.column)), Some((2, None)));
    assert_eq!(error.message(), "stopped after 200ms of computing (script.timeout)");
}

#[test]
fn an_error_is_cut_to_4_kib_between_characters() {
    let process = |body: &str| format!("function process(log) {body} end");
    for script in [
        process("error(('用'):rep(1 << 20))"),
        process("error('a' .. ('用'):rep(1 << 20), 0)"),
        process("error('ab' .. ('\\xff'):rep(1 << 20), 0)"),
        process("error({ text = ('x'):rep(1 << 20) })"),
        process("return { [('用'):rep(1 << 20)] = 1 }"),
        process("return { [('x'):rep(1 << 20)] = 1, event = 'e' }"),
        process("return { 'e', [('x'):rep(1 << 20)] = 1 }"),
        process("return { event = { [('x'):rep(1 << 20)] = print } }"),
        format!("error(('用'):rep(1 << 20)) {}", process("")),
    ] {
        let error = error_of(&script);
        let text = error.to_string();
        assert!((50..4096 + 400).contains(&text.len()), "{} bytes: {script}", text.len());
        assert!(error.render(Beside::default()).len() < 3 * 4096, "{script}");
    }
    let cut = error_of(&process("error('a' .. ('用'):rep(1 << 20), 0)")).to_string();
    assert!(cut.contains("a用用") && cut.contains("用用… (script version"), "{cut}");
}

#[test]
fn the_marker_is_under_the_name_even_after_wide_characters() {
    let error = error_of("function process(log)\n  local a = '日志' .. log.event.user.name\nend");
    let drawn = error.render(Beside::default());
    let lines: Vec<&str> = drawn.lines().collect();
    let mark =
        lines.iter().position(|line| line.trim_end().ends_with('^')).unwrap_or_else(|| panic!("no mark: {drawn}"));
    let column = |line: &str, at: &str| console::measure_text_width(&line[..line.find(at).unwrap()]);
    assert_eq!(column(lines[mark], "^"), column(lines[mark - 1], "user"), "{drawn}");
}
