//! Measures the time of each line of a script.
//!
//! A Lua hook is called at the beginning of every line and at the end of every call. The time between two hook calls,
//! without the hook itself, is counted for the line that ran. It includes the library and native functions called by
//! the line, but not the script's lines that it calls. It also includes Lua's own overhead for the hook, about the
//! same for each line, so only shares are reported, not times.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::script::engine::lua_stack::Stack;
use crate::script::engine::trace;

/// The cost of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineCost {
    /// The file: the script's name, or a module's.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// How often it began.
    pub times: u64,
    /// Wall-clock time, including a part of the hook's overhead.
    pub time: Duration,
}

/// The measurement.
struct Clock {
    lines: Vec<LineCost>,
    /// The current line, and when it began or continued; `None` outside of the script.
    at: Option<(usize, Instant)>,
}

thread_local! {
    /// Lua passes only its state to the hook, so the measurement is thread-local.
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

/// Runs `work` and times the lines that run during it on this thread, for hooks that are loaded within it. The
/// argument of `work` returns the costs since its last call.
pub fn profile<T>(work: impl FnOnce(&dyn Fn() -> Vec<LineCost>) -> T) -> T {
    CLOCK.with(|clock| *clock.borrow_mut() = Some(Clock { lines: Vec::new(), at: None }));
    let take = || {
        CLOCK.with(|clock| {
            let fresh = Clock { lines: Vec::new(), at: None };
            clock.borrow_mut().replace(fresh).map(|clock| clock.lines).unwrap_or_default()
        })
    };
    let done = work(&take);
    CLOCK.with(|clock| *clock.borrow_mut() = None);
    done
}

/// Sets the hook, if lines are being timed.
pub(crate) fn arm(stack: Stack) {
    if CLOCK.with(|clock| clock.borrow().is_some()) {
        trace::on_moves(stack, note);
    }
}

/// Called when the script begins a line or returns to it from a call, and when the script ends.
fn note(begins: bool, place: Option<(&str, u32)>) {
    let now = Instant::now();
    CLOCK.with(|clock| {
        let mut clock = clock.borrow_mut();
        let Some(Clock { lines, at }) = clock.as_mut() else { return };
        if let Some((line, since)) = at.take() {
            lines[line].time += now - since;
        }
        let Some((file, line)) = place else { return };
        // A script has few lines, and the lines of a loop are near the end of the list.
        let known = lines.iter().rposition(|known| known.line == line && known.file == file);
        let place = known.unwrap_or_else(|| {
            lines.push(LineCost { file: file.to_owned(), line, times: 0, time: Duration::ZERO });
            lines.len() - 1
        });
        lines[place].times += u64::from(begins);
        *at = Some((place, Instant::now()));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::cases;
    use crate::script::{Config, Sample, Script};

    /// How often each line began, by line number; the measured times are not reproducible.
    fn times(text: &str, logs: usize) -> Vec<(u32, u64)> {
        let config = Config {
            timeout: Duration::from_secs(10),
            memory: 16 << 20,
            total: std::sync::Arc::default(),
            vars: toml::Table::new(),
        };
        let samples = vec![Sample::from_json(&serde_json::json!({ "a": "1" })).unwrap(); logs];
        let mut lines = profile(|take| {
            let mut hook = cases::hook(&Script::from_text("s.lua", text), &config).unwrap();
            take();
            hook.run(&Sample::page(&samples)).unwrap();
            take()
        });
        assert!(lines.iter().all(|line| line.file == "s.lua" && line.time > Duration::ZERO), "{lines:?}");
        lines.sort_by_key(|line| line.line);
        lines.iter().map(|line| (line.line, line.times)).collect()
    }

    #[test]
    fn lines_are_measured_for_logs_but_not_for_the_top_level() {
        let text = "local n = 0
local function add(log)
  log.b = 'x'
end

function process(log)
  for _ = 1, 3 do
    add(log)
  end
  return log
end
";
        assert_eq!(times(text, 5), [(3, 15), (4, 15), (7, 20), (8, 15), (10, 5)]);
    }

    /// Fails if the end of a call is not recorded: the calling line would then be counted as the last line of the
    /// called function.
    #[test]
    fn a_line_that_calls_a_slow_one_is_not_charged_for_it() {
        let text = "local function slow()
  local n = 0 for i = 1, 20000 do n = n + i end return n
end
function process(log)
  local n = slow() + #string.rep('x', 1000000)
  return log
end
";
        let config = Config {
            timeout: Duration::from_secs(10),
            memory: 16 << 20,
            total: std::sync::Arc::default(),
            vars: toml::Table::new(),
        };
        let page = Sample::page(&[Sample::from_json(&serde_json::json!({ "a": "1" })).unwrap()]);
        let lines = profile(|take| {
            let mut hook = cases::hook(&Script::from_text("s.lua", text), &config).unwrap();
            take();
            (0..5).for_each(|_| drop(hook.run(&page).unwrap()));
            take()
        });
        let of = |line: u32| lines.iter().find(|cost| cost.line == line).unwrap().time;
        assert!(of(2) > of(6), "the loop is {:?}, the end {:?}", of(2), of(6));
        assert!(of(5) > of(6), "the copy of a megabyte is the caller's: {:?}, the end {:?}", of(5), of(6));
    }
}
