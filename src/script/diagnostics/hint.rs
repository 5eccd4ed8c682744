//! Hints: the probable causes of common errors, and their remedies.

use super::excerpt;
use super::excerpt::Subject;
use super::names::{ALIASES, BASE, FUNCTIONS, KNOWN_AS, SHUT, STRING};
use super::python;
use crate::script::output::returned::KEYS;
use crate::script::{Script, ScriptFault};

/// The state of a log's field at an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// The script has removed it.
    pub(crate) removed: bool,
    /// Its text begins as a JSON object or array does.
    pub(crate) json: bool,
}

/// Where an error happened.
pub(crate) struct Scene<'a> {
    /// The message without file and line.
    pub(crate) message: &'a str,
    /// The line of the script; empty when it is not known.
    pub(crate) line: &'a str,
    /// Some lines of code before it, the nearest first.
    pub(crate) before: &'a [String],
    /// The whole script.
    pub(crate) text: &'a str,
    /// The fields of the log; empty if there was none.
    pub(crate) fields: &'a [Field],
}

/// The hint for an error, if it is a common one.
pub(crate) fn hint(fault: &ScriptFault, scene: &Scene<'_>) -> Option<String> {
    match fault {
        // The message says it already.
        ScriptFault::Syntax(_) if scene.message.starts_with("there is no `") => None,
        ScriptFault::Syntax(_) => syntax(scene),
        ScriptFault::NoProcess { .. } => no_process(scene.text),
        ScriptFault::BadReturn { error, .. } => {
            let key = error.unknown_key.as_deref()?;
            let known = KNOWN_AS.iter().find(|(name, _)| *name == key).map(|(_, ours)| *ours);
            let ours = known.or_else(|| nearest(key, KEYS))?;
            Some(format!("did you mean `{ours}`?"))
        }
        ScriptFault::Runtime(_) | ScriptFault::TopLevel(_) => runtime(scene),
        _ => None,
    }
}

/// A hint for a script that dropped every log: whether it returns anything at all.
#[must_use]
pub fn returns_nothing(script: &Script) -> Option<&'static str> {
    let text = String::from_utf8_lossy(&script.text);
    (!excerpt::has_word(&text, "return"))
        .then_some("the script has no `return`, so every log is dropped: end it with `return { event = log }`")
}

/// The first line that calls `drop` and does not use its value, so that nothing is dropped.
#[must_use]
pub fn unused_drop(script: &Script) -> Option<usize> {
    /// After these, the value is used.
    const BEFORE_A_VALUE: [&str; 12] = ["return", "=", ",", "(", "{", "[", "and", "or", "not", ".", ":", "function"];
    let text = String::from_utf8_lossy(&script.text);
    let mut before = ";";
    for (line, number) in text.lines().zip(1..) {
        let words = excerpt::words(line);
        for (at, word) in words.iter().enumerate() {
            let is_call = *word == "drop" && words.get(at + 1).is_some_and(|next| next.starts_with(['"', '\'', '(']));
            if is_call && !BEFORE_A_VALUE.contains(&before) {
                return Some(number);
            }
            before = word;
        }
    }
    None
}

/// The first line with a comparison such as `not log.a == "x"`, which compares `not log.a` and is always the same: true
/// or false never equals a text, a number or nil.
#[must_use]
pub fn negated_comparison(script: &Script) -> Option<usize> {
    let text = String::from_utf8_lossy(&script.text);
    let is_compared = |words: &[&str]| {
        words.iter().enumerate().any(|(at, word)| {
            let after = &words[at + 1..];
            *word == "not"
                && match &after[operand(after)..] {
                    ["=" | "~", "=", value, ..] => {
                        *value == "nil" || value.starts_with(|c: char| c == '"' || c == '\'' || c.is_ascii_digit())
                    }
                    _ => false,
                }
        })
    };
    text.lines().zip(1..).find(|(line, _)| is_compared(&excerpt::words(line))).map(|(_, number)| number)
}

/// The number of words of a value at the beginning: names, members, calls and everything in brackets.
fn operand(words: &[&str]) -> usize {
    let mut depth = 0;
    let is_over = |word: &&str| {
        match *word {
            "(" | "[" => depth += 1,
            ")" | "]" if depth > 0 => depth -= 1,
            "." | ":" => {}
            name if depth == 0 => {
                let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                return !is_name || ["and", "or", "then"].contains(&name);
            }
            _ => {}
        }
        false
    };
    words.iter().position(is_over).unwrap_or(words.len())
}

fn syntax(scene: &Scene<'_>) -> Option<String> {
    let message = scene.message;
    if message.ends_with("expected near '='") && !message.starts_with("'='") {
        return Some("write `==` to compare".to_owned());
    }
    if let Some(opened) = message.strip_prefix("'end' expected (to close '") {
        let (what, rest) = opened.split_once("' at line ")?;
        let line: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let elseif = if scene.text.lines().any(|line| line.trim_start().starts_with("else if ")) {
            " (`else if` begins a second `if` with an `end` of its own; `elseif` does not)"
        } else {
            ""
        };
        return Some(format!("the `{what}` of line {line}, or something inside of it, has no `end`{elseif}"));
    }
    if message.ends_with("'end' expected near <eof>") {
        return Some("a function, `if`, `for` or `while` has no `end`".to_owned());
    }
    let others = [
        ("!=", "write `~=` for unequal"),
        ("&&", "write `and` instead of `&&`"),
        ("||", "write `or` instead of `||`"),
        ("!", "write `not` instead of `!`"),
    ];
    if let Some(hint) = python::syntax(message, scene.line, scene.before) {
        return Some(hint.to_owned());
    }
    let near = excerpt::subject(message)?.name;
    if near.starts_with("<\\") {
        return Some(
            "Lua does not allow this character: write plain quotes and spaces, and save the file as UTF-8".to_owned(),
        );
    }
    let fits = |sign: &str| scene.line.contains(sign) && (sign.starts_with(near) || sign.ends_with(near));
    others.iter().find(|(sign, _)| fits(sign)).map(|(_, hint)| (*hint).to_owned())
}

fn no_process(text: &str) -> Option<String> {
    Some(match meant_as_process(text)? {
        "process" => "`process` is local here: leave out `local`".to_owned(),
        name => format!("did you mean to call `{name}` process?"),
    })
}

/// The name of the function that most likely is the missing `process`: `process` itself, if it is local.
pub(crate) fn meant_as_process(text: &str) -> Option<&str> {
    let mut names = text.lines().filter_map(|line| Some((line, excerpt::function_name(line)?)));
    let is_meant = |(line, name): &(&str, &str)| match *name {
        "process" => line.trim_start().starts_with("local "),
        name => nearest(name, ["process"]).is_some(),
    };
    names.find(is_meant).map(|(_, name)| name)
}

fn runtime(scene: &Scene<'_>) -> Option<String> {
    let message = scene.message;
    let subject = excerpt::subject(message);
    let (attempt, kind) = attempt(message);
    match (attempt, kind, subject) {
        ("call" | "index", "nil", Some(Subject { kind: "global", name })) => Some(unknown_global(scene, name)),
        ("call", "nil", Some(Subject { kind: "field" | "method", name })) => unknown_function(scene, name),
        ("call", "nil", Some(Subject { kind: "local" | "upvalue", name })) => {
            Some(format!("`{name}` has no value here; define a local function above the line that calls it"))
        }
        ("call", "table", Some(Subject { kind: "for iterator", .. })) => {
            Some("use pairs() to walk through a table: `for key, value in pairs(x) do`".to_owned())
        }
        ("index", "nil", None) => called_with_nothing(scene),
        ("get length of", "nil", Some(subject)) => missing(scene, subject),
        ("index", "string", _) => Some(undecoded(scene, subject)),
        (_, "nil", Some(Subject { kind: "field", name: "?" | "integer index" }))
            if python::item(scene.line).is_some() =>
        {
            python::item(scene.line).map(ToOwned::to_owned)
        }
        ("index", "nil", Some(subject)) => missing(scene, subject).or_else(|| {
            let name = subject.name;
            Some(format!("there is no `{name}` here: test it first, `if x.{name} then … end`"))
        }),
        (_, "userdata", Some(subject)) => Some(format!(
            "`{}` is null in the JSON, which counts as true: json.get(value, \"{}\") gives nil for it",
            subject.name, subject.name
        )),
        (_, "userdata", None) => {
            Some("JSON null is json.null, which is not nil: json.get() gives nil for it".to_owned())
        }
        ("concatenate", "nil", Some(subject)) => missing(scene, subject)
            .or_else(|| Some(format!("`{0}` has no value here: write ({0} or \"\")", written(scene, subject)))),
        ("concatenate", "table", _) => Some("use json.encode() to turn a table into text".to_owned()),
        ("concatenate", "boolean", _) => Some("use tostring() to turn it into text".to_owned()),
        ("perform arithmetic on", "nil", Some(subject)) => missing_for(scene, subject, "0").or_else(|| {
            Some("tonumber() returns nil for text that is not a number: write (tonumber(x) or 0)".to_owned())
        }),
        ("perform arithmetic on", "nil", None) => {
            Some("tonumber() returns nil for text that is not a number: write (tonumber(x) or 0)".to_owned())
        }
        ("add" | "sub" | "mul" | "div" | "mod" | "idiv" | "pow" | "unm", ..)
        | ("perform arithmetic on", "string", _) => {
            let number =
                "the fields of a log are strings, and this one is not a number: tonumber(x) returns a number, or nil";
            Some(python::arithmetic(scene.line).unwrap_or(number).to_owned())
        }
        ("compare", ..) if message.contains("string") && message.contains("number") => {
            Some("the fields of a log are strings: compare numbers, `tonumber(log.status) >= 400`".to_owned())
        }
        ("compare", ..) if message.contains("nil") => Some(
            "one side has no value: a field that the log does not have, or tonumber() of text that is not a number"
                .to_owned(),
        ),
        _ if message.contains("table expected, got string") => Some(undecoded(scene, None)),
        _ if message.contains("expected, got nil") || message.contains("expected, got no value") => {
            subject.and_then(|subject| dotted(scene, subject)).or_else(|| called_with_nothing(scene))
        }
        _ => None,
    }
}

/// "attempt to index a nil value (…)" as `index` and `nil`.
fn attempt(message: &str) -> (&str, &str) {
    let Some((_, attempt)) = message.split_once("attempt to ") else { return ("", "") };
    for article in [" a ", " an "] {
        if let Some((verb, rest)) = attempt.split_once(article)
            && let Some((kind, _)) = rest.split_once(" value")
        {
            return (verb, kind);
        }
    }
    (attempt.split(' ').next().unwrap_or_default(), "")
}

fn unknown_global(scene: &Scene<'_>, name: &str) -> String {
    if let Some(hint) = python::function(name) {
        return format!("there is no `{name}`: {hint}");
    }
    if let Some((_, instead)) = SHUT.iter().find(|(shut, _)| *shut == name) {
        let instead = if instead.is_empty() { String::new() } else { format!("; {instead}") };
        return format!("scripts have no `{name}`: they cannot reach files, processes or the network{instead}");
    }
    let libraries = FUNCTIONS.iter().map(|(library, _)| *library);
    let functions = scene.text.lines().filter_map(excerpt::function_name);
    let names: Vec<&str> = libraries.chain(BASE).chain(functions).filter(|near| *near != name).collect();
    if let Some(near) = nearest(name, names) {
        return format!("there is no `{name}`; did you mean `{near}`?");
    }
    if scene.fields.iter().any(|field| field.name == name) {
        return format!("`{name}` is a field of the log: write log.{name}");
    }
    format!("there is no `{name}`: define it in the script, above the line that uses it")
}

fn unknown_function(scene: &Scene<'_>, name: &str) -> Option<String> {
    let at = excerpt::find(scene.line, excerpt::subject(scene.message)?)?;
    let owner = excerpt::owners(scene.line, &at).pop();
    if let Some((shut, _)) = SHUT.iter().find(|(shut, _)| Some(*shut) == owner) {
        return Some(format!("scripts have no `{shut}`: they cannot reach files, processes or the network"));
    }
    let library = owner.and_then(|owner| FUNCTIONS.iter().find(|(library, _)| *library == owner));
    if let Some(hint) = python::method(name).filter(|_| library.is_none()) {
        return Some(format!("there is no `{name}`: {hint}"));
    }
    let (library, functions) = match owner {
        // A method, which is one of strings.
        None => ("string", STRING),
        Some(_) => *library?,
    };
    let full = format!("{library}.{name}");
    if functions.contains(&name) {
        return Some(format!("`{library}` is a variable here and hides the library of that name: rename the variable"));
    }
    let alias = ALIASES.iter().find(|(other, _)| *other == full).map(|(_, ours)| (*ours).to_owned());
    let near = || nearest(name, functions.iter().copied()).map(|near| format!("{library}.{near}"));
    let near = alias.or_else(near)?;
    Some(format!("there is no `{full}`; did you mean `{near}`?"))
}

/// Text was used as a table.
fn undecoded(scene: &Scene<'_>, subject: Option<Subject<'_>>) -> String {
    let named = subject.map(|subject| subject.name);
    let is_json = |field: &&Field| field.json && (named == Some(&field.name) || scene.line.contains(&field.name));
    match scene.fields.iter().find(is_json) {
        Some(Field { name, .. }) => {
            format!("`{name}` is JSON as text here: decode it first, `local {name} = json.decode(log.{name})`")
        }
        None => "this is text, not a table: is json.decode() missing?".to_owned(),
    }
}

/// Why a field of a log has no value, where a text is wanted.
fn missing(scene: &Scene<'_>, subject: Subject<'_>) -> Option<String> {
    missing_for(scene, subject, "\"\"")
}

/// Why a field of a log has no value, and what to write to get `instead` of it.
fn missing_for(scene: &Scene<'_>, subject: Subject<'_>, instead: &str) -> Option<String> {
    let name = subject.name;
    if subject.kind != "field" {
        let decoded = format!("{name} = json.decode(");
        return scene
            .text
            .lines()
            .any(|line| line.contains(&decoded))
            .then(|| format!("json.decode() returns nil for text that is not JSON: `if {name} then … end`"));
    }
    let at = excerpt::find(scene.line, subject);
    let owner = match at {
        Some(at) => excerpt::owners(scene.line, &at).pop(),
        None => excerpt::only_owner(scene.line, name),
    };
    if let Some(field) = scene.fields.iter().find(|field| Some(field.name.as_str()) == owner && field.json) {
        let owner = &field.name;
        return Some(format!(
            "`{owner}` is JSON as text here: decode it first, `local {owner} = json.decode(log.{owner})`"
        ));
    }
    if owner.is_some_and(|owner| owner != "log") {
        return None;
    }
    if scene.fields.iter().any(|field| field.name == name && field.removed) {
        return Some(format!("the script removed `{name}` earlier: keep its value first, `local x = log.{name}`"));
    }
    let live = scene.fields.iter().filter(|field| !field.removed).map(|field| field.name.as_str());
    if let Some(near) = nearest(name, live) {
        let near = if near.contains(':') { format!("[\"{near}\"]") } else { format!(".{near}") };
        return Some(format!("this log has no `{name}`; did you mean log{near}?"));
    }
    (owner == Some("log"))
        .then(|| format!("this log has no field `{name}`: write (log.{name} or {instead}), or test it first"))
}

/// A function of texts that was called with a dot and nothing: `log.url.upper()`.
fn dotted(scene: &Scene<'_>, subject: Subject<'_>) -> Option<String> {
    let at = excerpt::find(scene.line, subject)?;
    let (name, owners) = (subject.name, excerpt::owners(scene.line, &at));
    let is_call = STRING.contains(&name) && owners.last().is_some_and(|owner| *owner != "string");
    is_call.then(|| format!("call it with a colon: {}:{name}()", owners.join(".")))
}

fn called_with_nothing(scene: &Scene<'_>) -> Option<String> {
    let field = scene.line.split("log.").nth(1)?;
    let end = field.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(field.len());
    let subject = Subject { kind: "field", name: &field[..end] };
    let is_there = scene.fields.iter().any(|field| field.name == subject.name && !field.removed);
    if is_there || scene.fields.is_empty() { None } else { missing(scene, subject) }
}

/// The subject as it is written on the line: `log.user` for the field `user`.
fn written(scene: &Scene<'_>, subject: Subject<'_>) -> String {
    let at = excerpt::find(scene.line, subject);
    let owners = at.map(|at| excerpt::owners(scene.line, &at)).unwrap_or_default();
    owners.into_iter().chain([subject.name]).collect::<Vec<_>>().join(".")
}

/// The most similar candidate, if any is similar enough.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near =
        |candidate: &str| strsim::normalized_damerau_levenshtein(&typed.to_lowercase(), &candidate.to_lowercase());
    let scored = candidates.into_iter().map(|candidate| (near(candidate), candidate));
    scored.filter(|(score, _)| *score >= 0.6).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, candidate)| candidate)
}
