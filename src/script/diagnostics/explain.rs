//! Adds place, call stack and hint to an error.

use super::error::{bounded, split};
use super::excerpt;
use super::hint;
use super::hint::{Field, Scene};
use super::python;
use crate::script::engine::lua_stack::Stack;
use crate::script::engine::trace::Call;
use crate::script::hook::current_log::{Current, FieldState};
use crate::script::{Called, HookError, Script, ScriptFault, ScriptLocation};

/// Hints look at this many fields of a log.
const MAX_FIELDS: usize = 200;

/// Lines that are looked at before the one at which Lua noticed an error.
const MAX_LINES_BACK: usize = 4;

impl Script {
    /// The error for a fault. `current` has the call stack and the log.
    pub(crate) fn error(&self, fault: ScriptFault, current: Option<&Current>) -> HookError {
        let text = String::from_utf8_lossy(&self.text);
        let calls = current.map(|current| current.calls.as_slice()).unwrap_or_default();
        let place = self.place_of(&fault, &text, calls);
        let mut error = HookError { place: place.map(Box::new), ..HookError::new(self.version.clone(), fault) };
        let message = error.message();
        let fields = current.filter(|current| current.table != 0).map(fields).unwrap_or_default();
        let line = error.place.as_ref().map(|place| place.text.as_str()).unwrap_or_default();
        let is_syntax = matches!(error.fault, ScriptFault::Syntax(_));
        let before = error.place.as_ref().filter(|_| is_syntax).map(|place| self.code_before(&text, place));
        let before = before.unwrap_or_default();
        let scene = Scene { message: &message, line, before: &before, text: &text, fields: &fields };
        error.hint = hint::hint(&error.fault, &scene).map(String::into_boxed_str);
        error
    }

    /// A constant of Python in the script or a module. Lua takes it for a variable that has no value: `return None` would
    /// drop the log, and `flag = True` set nothing.
    pub(crate) fn foreign_constant(&self) -> Option<ScriptFault> {
        let found = |name: &str, text: &[u8]| {
            let (line, python, lua) = python::constant(text)?;
            Some(ScriptFault::Syntax(format!("{name}:{line}: there is no `{python}`: write `{lua}`")))
        };
        let mut modules = self.files.names().filter(|name| name.ends_with(".lua"));
        found(&self.name, &self.text)
            .or_else(|| modules.find_map(|name| found(&self.name_of(name), self.files.get(name).ok()?)))
    }

    /// Where the last error was, in the script or a module.
    pub(crate) fn place_at(&self, current: &Current) -> String {
        match current.calls.first() {
            Some(call) if call.file != self.name => format!("{}:{}", call.file, call.line),
            _ => self.place(current.error_line),
        }
    }

    /// The text of an error that is on top of the stack.
    pub(crate) fn raised(&self, stack: Stack, line: Option<u32>) -> String {
        let text = bounded(stack.bytes(-1).unwrap_or(b"an error while handling an error"));
        self.words(&text, line)
    }

    /// A line of a file of the script: its own, whose `text` is given, or a module's.
    fn line_of(&self, text: &str, file: &str, line: u32) -> String {
        let nth =
            |text: &str| line.checked_sub(1).and_then(|number| text.lines().nth(number as usize)).map(str::to_owned);
        if file == self.name {
            return nth(text).unwrap_or_default();
        }
        let name = self.files.names().find(|name| self.name_of(name) == file);
        let module = name.and_then(|name| self.files.get(name).ok());
        module.and_then(|module| nth(&String::from_utf8_lossy(module))).unwrap_or_default()
    }

    /// The lines of code before a place, one of which may be the cause: Lua reports where it noticed the error.
    fn code_before(&self, text: &str, place: &ScriptLocation) -> Vec<String> {
        let lines = (1..place.line).rev().take(MAX_LINES_BACK).map(|line| self.line_of(text, &place.file, line));
        lines.filter(|line| !line.trim().is_empty()).collect()
    }

    fn place_of(&self, fault: &ScriptFault, text: &str, calls: &[Call]) -> Option<ScriptLocation> {
        let modules;
        let (file, line, message) = match fault {
            ScriptFault::Syntax(words) | ScriptFault::TopLevel(words) | ScriptFault::Runtime(words) => {
                modules = self.files.names().map(|name| self.name_of(name)).collect::<Vec<_>>();
                let modules = modules.iter().map(String::as_str);
                let called = calls.iter().map(|call| call.file.as_str()).chain([self.name.as_str()]);
                // An error of `require` refers to a line of the module, preceded by that of the script.
                let mut of_module = modules.clone().filter(|_| words.contains(": require: "));
                let mut files = of_module.by_ref().chain(called).chain(modules);
                files.find_map(|file| split(words, file).map(|(line, message)| (file, line, message)))?
            }
            ScriptFault::Timeout { at, .. } => {
                let (file, line) = at.rsplit_once(':')?;
                (file, line.parse().ok()?, "")
            }
            ScriptFault::BadReturn { error, .. } => {
                let key = error.unknown_key.as_deref().unwrap_or_else(|| event_key(&error.path));
                return self.place_of_key(text, key).or_else(|| self.place_of_function(text, "process"));
            }
            ScriptFault::NoProcess { .. } => return self.place_of_function(text, hint::meant_as_process(text)?),
            _ => return None,
        };
        let code = self.line_of(text, file, line);
        let mark = excerpt::subject(message).and_then(|subject| excerpt::find(&code, subject));
        let (column, width) = match mark {
            Some(mark) => (Some(characters(&code[..mark.start]) + 1), characters(&code[mark])),
            None => (None, 0),
        };
        let calls = calls.iter().map(|call| self.called(text, call)).collect();
        Some(ScriptLocation { file: file.to_owned(), line, column, width, text: code, calls })
    }

    /// Where the script sets a key of an event table, if that is in one place only.
    fn place_of_key(&self, text: &str, key: &str) -> Option<ScriptLocation> {
        let set = |line: &str| {
            let at = line.find(key).filter(|_| !key.is_empty())?;
            let (before, after) = (&line[..at], &line[at + key.len()..]);
            let begins = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let is_set = after.trim_start().strip_prefix('=').is_some_and(|rest| !rest.starts_with('='));
            (begins && is_set && !before.contains("--")).then_some(at)
        };
        let mut found = text.lines().enumerate().filter_map(|(number, line)| Some((number, line, set(line)?)));
        let (number, line, at) = found.next()?;
        if found.next().is_some() {
            return None;
        }
        Some(ScriptLocation {
            file: self.name.clone(),
            line: u32::try_from(number + 1).ok()?,
            column: Some(characters(&line[..at]) + 1),
            width: characters(key),
            text: line.to_owned(),
            calls: Vec::new(),
        })
    }

    /// The line that begins a function.
    fn place_of_function(&self, text: &str, name: &str) -> Option<ScriptLocation> {
        let mut lines = text.lines().enumerate();
        let (number, line) = lines.find(|(_, line)| excerpt::function_name(line) == Some(name))?;
        let (file, text) = (self.name.clone(), line.to_owned());
        Some(ScriptLocation {
            file,
            line: u32::try_from(number + 1).ok()?,
            column: None,
            width: 0,
            text,
            calls: Vec::new(),
        })
    }

    fn called(&self, text: &str, call: &Call) -> Called {
        let begins = self.line_of(text, &call.file, call.defined);
        let function = match (call.defined, excerpt::function_name(&begins)) {
            (0, _) => "the top level".to_owned(),
            (_, Some(name)) => name.to_owned(),
            (line, None) => format!("the function of line {line}"),
        };
        Called { function, file: call.file.clone(), line: call.line }
    }
}

/// The key of the event table that a path begins with: `fields` of `[2].fields.a`.
fn event_key(path: &str) -> &str {
    let in_event = path.strip_prefix('[').and_then(|item| item.split_once("].")).map_or(path, |(_, rest)| rest);
    in_event.split(['.', '[', ' ']).next().unwrap_or_default()
}

fn characters(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

fn fields(current: &Current) -> Vec<Field> {
    let field = |position| {
        let state = current.state(position);
        let untouched = state == FieldState::Untouched;
        Field {
            name: String::from_utf8_lossy(current.key(position)).into_owned(),
            removed: state == FieldState::Deleted,
            json: untouched && matches!(current.log().value(position).trim_ascii_start().first(), Some(b'{' | b'[')),
        }
    };
    (0..current.len().min(MAX_FIELDS)).map(field).collect()
}
