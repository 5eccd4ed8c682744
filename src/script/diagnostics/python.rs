//! Python idioms, and their form in Lua.

use super::excerpt::words;
use crate::script::source::tokens::{Token, Tokens};

/// Constants that Lua would treat as variables without a value, and so without an error.
const CONSTANTS: [(&str, &str); 3] = [("None", "nil"), ("True", "true"), ("False", "false")];

/// Words that begin a statement.
const STATEMENTS: [(&str, &str); 13] = [
    ("def", "a function begins with `function name(…)` and ends with `end`, without a colon"),
    ("elif", "write `elseif … then` instead of `elif`"),
    ("import", IMPORT),
    ("from", IMPORT),
    ("try", TRY),
    ("except", TRY),
    ("finally", TRY),
    ("raise", "write `error(\"why\")` instead of `raise`"),
    ("class", "there are no classes: a table and functions do"),
    ("with", "there is no `with`: scripts open no files"),
    ("pass", "there is no `pass`: leave the block empty"),
    ("continue", "there is no `continue`: write `goto next` and `::next::` before the `end` of the loop"),
    ("del", "write `x.name = nil` instead of `del`"),
];

const IMPORT: &str = "nothing has to be imported: json, re, time and the like are there; `require(\"name\")` loads a module beside the script";

const TRY: &str = "there is no `try`: write `local ok, result = pcall(function() … end)`, and `if not ok then … end`";

/// Functions that Python has without an import.
const FUNCTIONS: [(&str, &str); 14] = [
    ("len", "write `#x` for the length of a text or a list"),
    ("str", "write `tostring(x)`"),
    ("int", "write `tonumber(x)`, which is nil for text that is not a number"),
    ("float", "write `tonumber(x)`, which is nil for text that is not a number"),
    ("range", "write `for i = 1, n do`"),
    ("enumerate", "write `for i, item in ipairs(x) do`"),
    ("isinstance", "write `type(x) == \"table\"`, \"string\", \"number\" or \"boolean\""),
    ("dict", "write `{}` for an empty table"),
    ("list", "write `{}` for an empty table"),
    ("set", "write `{ [\"a\"] = true }`, and `if x[\"a\"] then`"),
    ("sorted", "write `table.sort(x)`, which sorts the list itself"),
    ("open", "scripts open no files: lookup.csv and lookup.json read tables beside the script"),
    ("Exception", "write `error(\"why\")`"),
    ("f", "there are no f-strings: join with `..`, \"user \" .. log.user"),
];

/// Methods of Python's strings, lists and dicts.
const METHODS: [(&str, &str); 16] = [
    ("get", "write `x.name or \"default\"` instead of `x.get(\"name\", \"default\")`"),
    ("append", "write `x[#x + 1] = item`, or `table.insert(x, item)`"),
    ("extend", "write `for _, item in ipairs(more) do x[#x + 1] = item end`"),
    ("items", "write `for key, value in pairs(x) do`"),
    ("keys", "write `for key in pairs(x) do`"),
    ("values", "write `for _, value in pairs(x) do`"),
    ("pop", "write `x.name = nil` for a key, `table.remove(x)` for the end of a list"),
    ("update", "write `for key, value in pairs(more) do x[key] = value end`"),
    ("strip", "write `x:match(\"^%s*(.-)%s*$\")`"),
    ("split", "write `for part in x:gmatch(\"[^,]+\") do`"),
    ("join", "write `table.concat(list, \", \")`"),
    ("replace", "write `(x:gsub(\"old\", \"new\"))`"),
    ("startswith", "write `x:sub(1, #start) == start`"),
    ("endswith", "write `x:sub(-#tail) == tail`"),
    ("isdigit", "write `x:match(\"^%d+$\")`"),
    ("splitlines", "write `for line in x:gmatch(\"[^\\n]+\") do`"),
];

/// The first of Python's constants that the script uses without defining it: its line, its name, and its form in Lua.
pub(crate) fn constant(text: &[u8]) -> Option<(usize, &'static str, &'static str)> {
    let known = |name: &[u8]| CONSTANTS.iter().find(|(python, _)| python.as_bytes() == name);
    let mut found = None;
    let (mut before, mut tokens) = (None, Tokens::new(text));
    while let Some(token) = tokens.next() {
        let is_member = matches!(before, Some(Token::Other(b'.' | b':')));
        if let (Token::Name(name), false) = (token, is_member)
            && let Some((python, lua)) = known(name)
        {
            // `None = nil`, `local None`, `{ None = 1 }`: the script defines the name itself.
            let mut after = tokens.clone();
            let is_set = after.next() == Some(Token::Other(b'=')) && after.next() != Some(Token::Other(b'='));
            if is_set || before == Some(Token::Name(b"local")) {
                return None;
            }
            let start = name.as_ptr().addr() - text.as_ptr().addr();
            let line = 1 + memchr::memchr_iter(b'\n', &text[..start]).count();
            found = found.or(Some((line, *python, *lua)));
        }
        before = Some(token);
    }
    found
}

/// A function that Python has.
pub(crate) fn function(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|(python, _)| *python == name).map(|(_, hint)| *hint)
}

/// A method that Python has.
pub(crate) fn method(name: &str) -> Option<&'static str> {
    METHODS.iter().find(|(python, _)| *python == name).map(|(_, hint)| *hint)
}

/// Arithmetic on text.
pub(crate) fn arithmetic(line: &str) -> Option<&'static str> {
    let words = words(line);
    let is_text = |word: &str| word.starts_with(['"', '\'']);
    let beside_text =
        |sign: &str| words.windows(2).any(|two| two[0] == sign && is_text(two[1]) || is_text(two[0]) && two[1] == sign);
    if beside_text("%") {
        return Some("write string.format(\"%s is %d\", name, number) instead of `\"…\" % …`");
    }
    beside_text("+").then_some("`..` joins texts, `+` adds numbers: \"user \" .. log.user")
}

/// An item of a list that does not exist.
pub(crate) fn item(line: &str) -> Option<&'static str> {
    let words = words(line);
    if words.windows(3).any(|three| three == ["[", "0", "]"]) {
        return Some("lists begin at 1: x[1] is the first item, and x[#x] the last");
    }
    words
        .windows(3)
        .any(|three| three[0] == "[" && three[1] == "-")
        .then_some("x[#x] is the last item of a list, there are no negative places")
}

/// A syntax error on `line`, or one that Lua noticed only there: `before` has some lines of code before it, the nearest
/// first.
pub(crate) fn syntax(message: &str, line: &str, before: &[String]) -> Option<&'static str> {
    let near = message.rsplit_once(" near '").map(|(_, near)| near.trim_end_matches('\''));
    if near == Some("#") {
        return Some("a comment begins with `--` instead of `#`");
    }
    if near == Some("[") {
        return Some("a list is `{ 1, 2 }`, and its first item is x[1]");
    }
    if message.starts_with("'}' expected") && near == Some(":") {
        return Some("a table is `{ name = 1, [\"a name\"] = 2 }`, with `=` instead of `:`");
    }
    one_line_block(message, near, &words(line))
        .or_else(|| [line].into_iter().chain(before.iter().map(String::as_str)).find_map(|line| of_line(&words(line))))
}

/// `if x == "200": return log`. Lua takes `y: return` for a call of a method.
fn one_line_block(message: &str, near: Option<&str>, words: &[&str]) -> Option<&'static str> {
    let first = words.first().filter(|first| ["if", "elseif", "else", "for", "while"].contains(first))?;
    let is_method = message.starts_with("<name> expected")
        && words.windows(2).any(|two| two[0] == ":" && near.is_some_and(|near| near == two[1]));
    (near == Some(":") || is_method).then(|| block(first))
}

/// How a block begins and ends.
fn block(first: &str) -> &'static str {
    match first {
        "for" | "while" => "write `do` instead of the colon, and `end` behind the block",
        "else" => "write `else` without a colon, and `end` behind the block",
        _ => "write `then` instead of the colon, and `end` behind the block",
    }
}

fn of_line(words: &[&str]) -> Option<&'static str> {
    let first = *words.first()?;
    let two = |a: &str, b: &str| words.windows(2).any(|two| two == [a, b]);
    let has = |word: &str| words.contains(&word);
    // The script may have a variable or a function with this name.
    let is_own = words.get(1).is_some_and(|next| ["=", ".", "[", "(", ","].contains(next));
    if let Some((_, hint)) = STATEMENTS.iter().find(|(statement, _)| *statement == first && !is_own) {
        return Some(hint);
    }
    if words.windows(2).any(|two| two[0] == "is" && ["None", "True", "False", "not"].contains(&two[1])) {
        return Some("write `x == nil` for `x is None`, and `x ~= nil` for `x is not None`");
    }
    if two("not", "in") || has("in") && !has("for") {
        return Some("there is no `in`: `x[key] ~= nil` asks a table, `text:find(part, 1, true)` a text");
    }
    if two("*", "*") {
        return Some("write `x ^ 2` instead of `x ** 2`");
    }
    if has("lambda") && has(":") {
        return Some("write `function(x) return … end` instead of `lambda x: …`");
    }
    if has("else") && has("if") && first != "if" && !has("then") {
        return Some(
            "write `condition and a or b` instead of `a if condition else b`, where `a` is neither nil nor false",
        );
    }
    for sign in ["+", "-", "*", "/", "%"] {
        if two(sign, "=") {
            return Some("there is no `+=` or the like: write x = x + 1");
        }
    }
    if two("+", "+") {
        return Some("there is no `++`: write x = x + 1");
    }
    if words.ends_with(&[":"]) && !words.ends_with(&[":", ":"]) {
        return Some(block(first));
    }
    None
}
