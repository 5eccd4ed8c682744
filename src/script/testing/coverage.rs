//! Records which lines of a script its tests run.
//!
//! Lines with code are read from the compiled script, so that tables over several lines and comments are handled as
//! in Lua. Executed lines are reported by a Lua hook, which is set only during coverage.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use mlua::Lua;

use crate::script::Script;
use crate::script::diagnostics::excerpt;
use crate::script::engine::lua_stack::Stack;
use crate::script::engine::trace;

/// The lines of a script or a module that can run, and those that ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The file.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The lines that have code, from 1.
    pub lines: BTreeSet<u32>,
    /// The lines that ran.
    pub ran: BTreeSet<u32>,
}

impl Coverage {
    /// The lines that never ran.
    pub fn missed(&self) -> impl Iterator<Item = u32> {
        self.lines.difference(&self.ran).copied()
    }
}

/// The lines that ran, by file.
type Ran = BTreeMap<String, BTreeSet<u32>>;

thread_local! {
    /// Lua passes only its state to the hook, so the record is thread-local.
    static NOTED: RefCell<Option<Ran>> = const { RefCell::new(None) };
}

/// Runs `work` and records which lines of the script and then of its modules run during it on this thread. Scripts
/// are much slower meanwhile.
pub fn cover<T>(script: &Script, work: impl FnOnce() -> T) -> (T, Vec<Coverage>) {
    NOTED.with(|noted| *noted.borrow_mut() = Some(Ran::new()));
    let done = work();
    let mut ran = NOTED.with(|noted| noted.borrow_mut().take()).unwrap_or_default();
    let modules = script.files.modules().map(|(name, text)| (script.name_of(name), text));
    let files = std::iter::once((script.name.clone(), script.text.as_slice())).chain(modules);
    let covered = files.map(|(file, text)| {
        let lines = lines(text);
        let ran = &ran.remove(&file).unwrap_or_default() & &lines;
        Coverage { file, text: String::from_utf8_lossy(text).into_owned(), lines, ran }
    });
    (done, covered.collect())
}

/// Sets the hook, if lines are being recorded.
pub(crate) fn arm(stack: Stack) {
    if NOTED.with(|noted| noted.borrow().is_some()) {
        trace::on_lines(stack, note);
    }
}

fn note(file: String, line: u32) {
    NOTED.with(|noted| {
        if let Some(ran) = noted.borrow_mut().as_mut() {
            ran.entry(file).or_default().insert(line);
        }
    });
}

/// The lines that have code; empty when the text does not compile.
fn lines(text: &[u8]) -> BTreeSet<u32> {
    let lua = Lua::new();
    let Ok(function) = lua.load(text).set_mode(mlua::chunk::ChunkMode::Text).into_function() else {
        return BTreeSet::new();
    };
    let dump = function.dump(false);
    let mut lines = BTreeSet::new();
    let mut binary = Binary { rest: dump.get(HEADER..).unwrap_or_default() };
    let read = binary.function(&mut lines);
    debug_assert!(read.is_some(), "the engine's own dump can be read");
    let text = String::from_utf8_lossy(text);
    let code: Vec<bool> = text.lines().map(excerpt::is_code).collect();
    lines.retain(|&line| code.get(line as usize - 1).copied().unwrap_or(false));
    lines
}

/// Length of the header: signature, version, format, data check, three sizes, an integer and a float to compare,
/// number of upvalues (`ldump.c` of Lua 5.4).
const HEADER: usize = 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1;

/// Marks a line that is not stored as a difference from the previous one (`ldebug.h`).
const ABSOLUTE: u8 = 0x80;

/// Parses a compiled function in the format of `ldump.c` of Lua 5.4.
struct Binary<'a> {
    rest: &'a [u8],
}

impl Binary<'_> {
    /// Parses a function and its nested functions, and adds the lines of all.
    fn function(&mut self, lines: &mut BTreeSet<u32>) -> Option<()> {
        self.string()?;
        let defined = self.number()?;
        self.number()?;
        let [_parameters, takes_any, _stack] = self.bytes(3)? else { return None };
        let takes_any = *takes_any != 0;
        let instructions = self.number()?;
        self.bytes(instructions * 4)?;
        for _ in 0..self.number()? {
            match self.bytes(1)? {
                [0x03 | 0x13] => {
                    self.bytes(8)?;
                }
                [0x04 | 0x14] => self.string()?,
                _ => {}
            }
        }
        let upvalues = self.number()?;
        self.bytes(upvalues * 3)?;
        for _ in 0..self.number()? {
            self.function(lines)?;
        }
        let count = self.number()?;
        let steps: Vec<u8> = self.bytes(count)?.to_vec();
        let mut absolute = Vec::new();
        for _ in 0..self.number()? {
            self.number()?;
            absolute.push(self.number()?);
        }
        for _ in 0..self.number()? {
            self.string()?;
            self.number()?;
            self.number()?;
        }
        for _ in 0..self.number()? {
            self.string()?;
        }

        let mut absolute = absolute.into_iter();
        let mut line = i64::try_from(defined).ok()?;
        for (at, &step) in steps.iter().enumerate() {
            line = match step {
                ABSOLUTE => i64::try_from(absolute.next()?).ok()?,
                step => line + i64::from(step.cast_signed()),
            };
            // The instruction for variable arguments and the return at every end are generated by Lua, and belong to
            // no line.
            let is_own = (at == 0 && takes_any) || at + 1 == steps.len();
            if !is_own {
                lines.insert(u32::try_from(line).ok()?);
            }
        }
        Some(())
    }

    /// Seven bits per byte, the highest first; the eighth bit marks the last byte.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        loop {
            let [byte] = self.bytes(1)? else { return None };
            let byte = *byte;
            number = number.checked_mul(128)? | usize::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                return Some(number);
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        let size = self.number()?;
        self.bytes(size.saturating_sub(1)).map(|_| ())
    }

    fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::script::testing::cases;
    use crate::script::{Config, Sample};

    #[test]
    fn lines_that_never_ran_are_listed() {
        let script = Script::from_text(
            "s.lua",
            "-- A comment.
local topics = {
  a = 1,
}
local function unused()
  return 2
end

function process(log)
  if log.x then
    return nil
  else
    log.y = 'z'
  end
  for _ = 1, 2 do
    log.n = 1
  end
  return log
end
",
        );
        let config = Config {
            timeout: Duration::from_secs(1),
            memory: 16 << 20,
            total: Arc::default(),
            vars: toml::Table::new(),
        };
        let (_, coverage) = cover(&script, || {
            let mut hook = cases::hook(&script, &config).unwrap();
            let sample = Sample::from_json(&serde_json::json!({})).unwrap();
            hook.run(&Sample::page(&[sample])).unwrap()
        });
        let [coverage] = coverage.as_slice() else { panic!("{coverage:?}") };
        assert_eq!(Vec::from_iter(coverage.lines.clone()), [2, 3, 6, 9, 10, 11, 13, 15, 16, 18]);
        assert_eq!(coverage.missed().collect::<Vec<_>>(), [6, 11]);
    }

    #[test]
    fn a_long_script_is_covered_to_its_end() {
        let body: String = (0..3_000).map(|n| format!("\n\n\n  log.x{n} = 'x' .. {n}")).collect();
        let lines = lines(format!("function process(log){body}\nend").as_bytes());
        assert_eq!((lines.len(), lines.last()), (3_001, Some(&9_001)));
    }
}
