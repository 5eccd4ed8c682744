//! What each line of a script takes.
//!
//! A hook of the engine is called at the beginning of every line and at the end of every call. The time between two calls of
//! the hook, its own not counted, is the line's that ran: with the functions of the library and of ours that it calls,
//! without the lines of the script that it calls. What the engine does to call the hook is counted too, about the same for
//! each line, so shares are told and not times.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::script::engine::lua_stack::Stack;
use crate::script::engine::trace;

/// What a line took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineCost {
    /// The file: the script's name, or a module's.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// How often it was begun.
    pub times: u64,
    /// On the wall, the hook included in part.
    pub time: Duration,
}

/// What is noted.
struct Clock {
    lines: Vec<LineCost>,
    /// Which of them runs, since when; none outside of the script.
    at: Option<(usize, Instant)>,
}

thread_local! {
    /// The engine's hook is handed nothing but the state, so what it notes is the thread's.
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

/// Does `work`, and times the lines that run meanwhile on this thread, of hooks that are loaded within it. `work` is given what
/// takes the lines timed since it last did.
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

/// The script begins a line, or goes back to it from a call; or it ends.
fn note(begins: bool, place: Option<(&str, u32)>) {
    let now = Instant::now();
    CLOCK.with(|clock| {
        let mut clock = clock.borrow_mut();
        let Some(Clock { lines, at }) = clock.as_mut() else { return };
        if let Some((line, since)) = at.take() {
            lines[line].time += now - since;
        }
        let Some((file, line)) = place else { return };
        // A script has few lines, and those of a loop are near its end.
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

    /// The times of lines by their number; how long each took is nothing to rely on.
    fn times(text: &str, logs: usize) -> Vec<(u32, u64)> {
        let config = Config { timeout: Duration::from_secs(10), memory: 16 << 20, vars: toml::Table::new() };
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
    fn lines_are_counted_for_all_logs_and_the_top_level_for_none() {
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

    /// Goes red when the end of a call is not noted: then the line that called is timed as the last line of what it called.
    #[test]
    fn a_line_that_calls_a_slow_one_is_not_slow_itself() {
        let text = "local function slow()
  local n = 0 for i = 1, 20000 do n = n + i end return n
end
function process(log)
  local n = slow() + #string.rep('x', 1000000)
  return log
end
";
        let config = Config { timeout: Duration::from_secs(10), memory: 16 << 20, vars: toml::Table::new() };
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
