//! `logger` and `print`: writes lines from the script to the program's log.
//!
//! Printed text comes from logs, so it may be hostile and large: it is escaped, truncated and rate-limited.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mlua::{Function, Lua, MultiValue, Table, Value};
use tracing::Level;

use super::native::number;
use crate::core::printable::is_unprintable;

/// The target of these lines in the program's log.
const TARGET: &str = "script";

/// Maximum length of a line, in bytes.
const MAX_LINE: usize = 2048;

/// Maximum number of lines of one Lua state in [`PERIOD`].
const MAX_LINES: u32 = 20;

const PERIOD: Duration = Duration::from_secs(1);

/// Puts `logger` and `print` into `globals`. `clock` returns the time of a line.
pub(super) fn install(
    lua: &Lua,
    globals: &Table,
    clock: impl Fn() -> Instant + Clone + Send + 'static,
) -> mlua::Result<()> {
    let quota = Arc::new(Mutex::new(Quota::default()));

    // The level of a tracing event is part of its call site, so each level needs its own.
    macro_rules! printer {
        ($level:expr) => {{
            let (quota, clock) = (Arc::clone(&quota), clock.clone());
            lua.create_function(move |lua, values: MultiValue| {
                if tracing::enabled!(target: TARGET, $level) && admit(&quota, clock()) {
                    let (at, line) = (caller(lua), line(&values));
                    tracing::event!(target: TARGET, $level, at, "{line}");
                }
                Ok(())
            })
        }};
    }
    let info: Function = printer!(Level::INFO)?;
    let logger = lua.create_table()?;
    logger.set("debug", printer!(Level::DEBUG)?)?;
    logger.set("info", &info)?;
    logger.set("warn", printer!(Level::WARN)?)?;
    logger.set("error", printer!(Level::ERROR)?)?;
    globals.set("logger", logger)?;
    globals.set("print", info)
}

/// The recent number of lines of a Lua state.
#[derive(Debug, Default)]
struct Quota {
    period_began: Option<Instant>,
    printed: u32,
    left_out: u64,
}

impl Quota {
    /// Whether one more line may be printed.
    fn admit(&mut self, now: Instant) -> bool {
        let is_over = |began| now.duration_since(began) >= PERIOD;
        if self.period_began.is_none_or(is_over) {
            self.report();
            (self.period_began, self.printed) = (Some(now), 0);
        }
        if self.printed == MAX_LINES {
            self.left_out += 1;
            return false;
        }
        self.printed += 1;
        true
    }

    fn report(&mut self) {
        if self.left_out > 0 {
            tracing::warn!(
                target: TARGET,
                left_out = self.left_out,
                "lines of the script were left out: it can print {MAX_LINES} per second"
            );
            self.left_out = 0;
        }
    }
}

/// Reports the suppressed lines when the Lua state ends.
impl Drop for Quota {
    fn drop(&mut self) {
        self.report();
    }
}

fn admit(quota: &Mutex<Quota>, now: Instant) -> bool {
    quota.lock().unwrap_or_else(PoisonError::into_inner).admit(now)
}

/// `script:line` of the caller.
fn caller(lua: &Lua) -> String {
    // Level 0 is the native function. A C function in between, such as `pcall`, has no line.
    let script = |level| {
        lua.inspect_stack(level, |frame| {
            let source = frame.source().short_src?.into_owned();
            Some(format!("{source}:{}", frame.current_line()?))
        })
    };
    (1..).map_while(script).flatten().next().unwrap_or_else(|| "?".to_owned())
}

/// All values on one line.
fn line(values: &MultiValue) -> String {
    let mut line = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        match value {
            Value::String(text) => push_escaped(&mut line, &text.as_bytes()),
            Value::Table(_) => line.push_str("{…}"),
            Value::Nil => line.push_str("nil"),
            Value::Boolean(boolean) => line.push_str(if *boolean { "true" } else { "false" }),
            Value::Error(error) => push_escaped(&mut line, error.to_string().as_bytes()),
            Value::LightUserData(pointer) if pointer.0.is_null() => line.push_str("null"),
            other => match number(other) {
                Some(digits) => push_escaped(&mut line, &digits),
                None => line.push_str(other.type_name()),
            },
        }
        if line.len() >= MAX_LINE {
            let end = (0..=MAX_LINE).rev().find(|&end| line.is_char_boundary(end));
            line.truncate(end.unwrap_or(0));
            line.push('…');
            break;
        }
    }
    line
}

/// Appends text without characters that end the line, move a terminal's cursor or change the reading direction. Stops
/// soon after the line is full.
fn push_escaped(line: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if line.len() > MAX_LINE {
                return;
            }
            if is_unprintable(character) {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
        }
        for byte in chunk.invalid() {
            write!(line, "\\x{byte:02x}").expect("writing to a String cannot fail");
        }
        if line.len() > MAX_LINE {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// The output of the program's log, one event per line.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs a script in which `wait(ms)` advances the clock. Returns the lines logged until the Lua state has ended.
    fn logged(script: &str) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).without_time().with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            let lua = Lua::new();
            let start = Instant::now();
            let waited = Arc::new(AtomicU64::new(0));
            let now = Arc::clone(&waited);
            install(&lua, &lua.globals(), move || start + Duration::from_millis(now.load(Ordering::Relaxed))).unwrap();
            let wait = lua.create_function(move |_, millis: u64| {
                waited.fetch_add(millis, Ordering::Relaxed);
                Ok(())
            });
            lua.globals().set("wait", wait.unwrap()).unwrap();
            lua.load(script).set_name("@scripts/transform.lua").exec().unwrap();
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }

    fn check(script: &str, expected: &[&str]) {
        assert_eq!(logged(script), expected, "{script}");
    }

    #[test]
    fn a_line_carries_its_level_and_its_place_in_the_script() {
        check(
            "\nlogger.warn('slow', 3, 0.5, true, nil)",
            &[r#"WARN script: slow 3 0.5 true nil at="scripts/transform.lua:2""#],
        );
        check(
            "local function f(x)\n print(x)\nend\npcall(f, 'hi')\npcall(print, 'there')",
            &[r#"INFO script: hi at="scripts/transform.lua:2""#, r#"INFO script: there at="scripts/transform.lua:5""#],
        );
        check("logger.error()", &[r#"ERROR script:  at="scripts/transform.lua:1""#]);
    }

    #[test]
    fn a_level_that_is_off_costs_no_quota() {
        check("for _ = 1, 50 do logger.debug('x') end print('y')", &[r#"INFO script: y at="scripts/transform.lua:1""#]);
    }

    #[test]
    fn no_value_is_shown_as_an_address() {
        check(
            "print({}, print, setmetatable({}, { __name = 'Log' }))",
            &[r#"INFO script: {…} function {…} at="scripts/transform.lua:1""#],
        );
    }

    #[test]
    fn text_cannot_forge_a_log_line() {
        check(
            r"print('a\r\nERROR script: forged\x1b[2J\0\x7f\xff \u{2028}\u{202e}\u{feff}\u{61c}\u{200b}é')",
            &[
                r#"INFO script: a\r\nERROR script: forged\u{1b}[2J\u{0}\u{7f}\xff \u{2028}\u{202e}\u{feff}\u{61c}\u{200b}é at="scripts/transform.lua:1""#,
            ],
        );
    }

    #[test]
    fn a_long_line_is_cut() {
        let lines = logged("print(('é'):rep(100000), 'more')");
        assert_eq!(lines.len(), 1);
        assert!(lines[0].len() < 2200 && lines[0].contains('…') && !lines[0].contains("more"), "{}", lines[0]);
        assert!(logged("print(('\\xff'):rep(100000))")[0].len() < 2200);
    }

    #[test]
    fn lines_past_the_quota_are_left_out_and_counted() {
        let lines = logged("for i = 1, 1000000 do print(i) end wait(999) print('no') wait(1) print('yes')");
        assert_eq!(lines.len(), 22);
        assert!(lines[19].starts_with("INFO script: 20 "), "{}", lines[19]);
        assert_eq!(
            lines[20],
            "WARN script: lines of the script were left out: it can print 20 per second left_out=999981"
        );
        assert!(lines[21].starts_with("INFO script: yes "), "{}", lines[21]);
    }

    #[test]
    fn a_closing_vm_reports_how_many_lines_were_left_out() {
        let lines = logged("for i = 1, 25 do print(i) end");
        assert_eq!(lines.len(), 21);
        assert!(lines[20].ends_with("left_out=5"), "{}", lines[20]);
    }

    proptest! {
        #[test]
        fn any_bytes_stay_within_one_line(bytes: Vec<u8>) {
            let mut line = String::new();
            push_escaped(&mut line, &bytes);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
