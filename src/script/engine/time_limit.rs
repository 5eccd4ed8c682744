//! Stops Lua code that takes too long.
//!
//! A kernel timer counts the CPU time of the hook's thread and sends a signal to that thread several times per time
//! limit. The signal handler compares the number of the current log with the number at the previous tick. A log that
//! ends in time therefore costs one store and no clock read. When the number has stayed the same for the whole limit,
//! the handler installs a Lua hook that raises an error before the next instruction. The hook stays installed until
//! the script is left, so a `pcall` in the script cannot suppress it: the code after the `pcall` is stopped again. (A
//! count hook that is always installed would more than double the cost of every loop.)
//!
//! The limit is CPU time, not wall-clock time: a script never has to wait, and a busy machine, a paused container or
//! a suspended laptop must not make it fail.
//!
//! `lua_sethook` is one of the few functions that Lua allows in a signal handler (`ldebug.c`, "reasonable
//! assumptions"); the handler runs on the thread whose state it changes, and touches only that thread's [`Beat`].

use std::ffi::c_int;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mlua::ffi::{self, lua_Debug, lua_State};

use super::lua_stack::Stack;

/// State of a thread's signal handler.
struct Beat {
    /// The Lua state to stop; null when none is watched.
    state: AtomicPtr<lua_State>,
    /// Incremented for every log.
    now: AtomicU64,
    /// Value of `now` at the last tick.
    seen: AtomicU64,
    /// Ticks since `seen` changed.
    ticks: AtomicU32,
    /// Value of `now` when the limit was reached; 0 before that.
    stopped: AtomicU64,
    /// Number of ticks after which a log is stopped.
    limit: AtomicU32,
    /// Ticks of all logs.
    all: AtomicU32,
}

thread_local! {
    static BEAT: Beat = const {
        Beat {
            state: AtomicPtr::new(ptr::null_mut()),
            now: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            ticks: AtomicU32::new(0),
            stopped: AtomicU64::new(0),
            limit: AtomicU32::new(0),
            all: AtomicU32::new(0),
        }
    };
}

static HANDLER: Once = Once::new();

/// Minimum number of ticks per time limit: a log is stopped after its limit, and at most one tick later.
const TICKS_PER_LIMIT: u32 = 4;

/// Maximum and minimum time between two ticks.
const MAX_TICK: Duration = Duration::from_millis(25);
const MIN_TICK: Duration = Duration::from_millis(1);

/// Limits the time of the Lua code on this thread, from [`TimeLimit::start`] until it is dropped.
pub(crate) struct TimeLimit<'lua> {
    timer: libc::timer_t,
    stack: Stack<'lua>,
    /// Total ticks of all logs after which [`TimeLimit::is_due`] is true.
    due: u32,
}

impl<'lua> TimeLimit<'lua> {
    /// Starts the timer. `limit` applies to each log, `all` to all logs together.
    ///
    /// # Panics
    /// The kernel provides no timer. It has one for every thread, unless a limit on pending signals forbids it.
    /// Without a timer no script may run.
    pub(crate) fn start(stack: Stack<'lua>, limit: Duration, all: Duration) -> Self {
        let signal = signal();
        // SAFETY: plain system calls with valid arguments; the handler is async-signal-safe, see the module documentation.
        // Zeroed structs are valid for all four types.
        unsafe {
            HANDLER.call_once(|| {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_tick as *const () as usize;
                action.sa_flags = libc::SA_RESTART;
                assert_eq!(libc::sigaction(signal, &raw const action, ptr::null_mut()), 0, "sigaction");
            });
            let mut only: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut only);
            libc::sigaddset(&raw mut only, signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, ptr::null_mut());

            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::syscall(libc::SYS_gettid) as c_int;
            let mut timer: libc::timer_t = ptr::null_mut();
            let created = libc::timer_create(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut event, &raw mut timer);
            assert_eq!(created, 0, "cannot create the timer that stops scripts: {}", std::io::Error::last_os_error());

            let tick = (limit / TICKS_PER_LIMIT).clamp(MIN_TICK, MAX_TICK);
            let watch = Self { timer, stack, due: ticks(all, tick) };
            BEAT.with(|beat| {
                beat.stopped.store(0, Ordering::Relaxed);
                beat.ticks.store(0, Ordering::Relaxed);
                beat.limit.store(ticks(limit, tick).max(TICKS_PER_LIMIT), Ordering::Relaxed);
                beat.all.store(0, Ordering::Relaxed);
                beat.state.store(stack.state(), Ordering::Release);
            });
            let every = libc::timespec { tv_sec: tick.as_secs() as libc::time_t, tv_nsec: tick.subsec_nanos().into() };
            let interval = libc::itimerspec { it_interval: every, it_value: every };
            let set = libc::timer_settime(timer, 0, &raw const interval, ptr::null_mut());
            assert_eq!(set, 0, "the timer to stop scripts with: {}", std::io::Error::last_os_error());
            watch
        }
    }

    /// Begins the next log.
    #[inline]
    pub(crate) fn next(&self) {
        BEAT.with(|beat| beat.now.store(beat.now.load(Ordering::Relaxed) + 1, Ordering::Relaxed));
    }

    /// Whether all logs together have used up their time. Accurate to one tick.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        BEAT.with(|beat| beat.all.load(Ordering::Relaxed) >= self.due)
    }

    /// Whether the code that just ended was stopped by the time limit. Resets the stop, so that the next code can
    /// run.
    #[inline]
    pub(crate) fn stopped(&self) -> bool {
        BEAT.with(|beat| {
            if beat.stopped.load(Ordering::Relaxed) == 0 {
                return false;
            }
            // A later tick cannot stop the same log again, because the number is incremented first.
            let now = beat.now.load(Ordering::Relaxed);
            beat.now.store(now + 1, Ordering::Relaxed);
            let stopped = beat.stopped.swap(0, Ordering::Relaxed) == now;
            // SAFETY: the state is alive and on this thread, see `TimeLimit::start`.
            unsafe { ffi::lua_sethook(self.stack.state(), None, 0, 0) };
            stopped
        })
    }
}

impl Drop for TimeLimit<'_> {
    fn drop(&mut self) {
        BEAT.with(|beat| beat.state.store(ptr::null_mut(), Ordering::Release));
        // SAFETY: this struct owns the timer; the state is alive, see `TimeLimit::start`.
        unsafe {
            libc::timer_delete(self.timer);
            ffi::lua_sethook(self.stack.state(), None, 0, 0);
        }
    }
}

/// Number of ticks in a time, rounded up.
fn ticks(time: Duration, tick: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(tick.as_nanos())).unwrap_or(u32::MAX)
}

/// CPU time of this thread so far.
pub(crate) fn computing() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the one timespec that it is given.
    let known = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(known, 0, "every thread has a clock of its computing time");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Whether the current code has used up its time and is being stopped.
pub(crate) fn is_over() -> bool {
    BEAT.with(|beat| {
        let stopped = beat.stopped.load(Ordering::Relaxed);
        stopped != 0 && stopped == beat.now.load(Ordering::Relaxed)
    })
}

/// A real-time signal that nothing else in the process uses and that debuggers pass on.
fn signal() -> c_int {
    libc::SIGRTMIN() + 5
}

extern "C" fn on_tick(_signal: c_int) {
    BEAT.with(|beat| {
        let state = beat.state.load(Ordering::Acquire);
        if state.is_null() {
            return;
        }
        beat.all.store(beat.all.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        let now = beat.now.load(Ordering::Relaxed);
        if beat.seen.swap(now, Ordering::Relaxed) != now {
            beat.ticks.store(0, Ordering::Relaxed);
            return;
        }
        let ticks = beat.ticks.load(Ordering::Relaxed) + 1;
        beat.ticks.store(ticks, Ordering::Relaxed);
        if ticks >= beat.limit.load(Ordering::Relaxed) && beat.stopped.load(Ordering::Relaxed) == 0 {
            beat.stopped.store(now, Ordering::Relaxed);
            let everything = ffi::LUA_MASKCALL | ffi::LUA_MASKRET | ffi::LUA_MASKLINE | ffi::LUA_MASKCOUNT;
            // SAFETY: the state is alive and belongs to this thread; see the module documentation.
            unsafe { ffi::lua_sethook(state, Some(stop), everything, 1) };
        }
    });
}

/// Runs before the next Lua instruction when the time is up.
unsafe extern "C-unwind" fn stop(state: *mut lua_State, _event: *mut lua_Debug) {
    // SAFETY: called by Lua with its live state; nothing here needs dropping when the error leaves by `longjmp`.
    unsafe {
        if is_over() {
            ffi::luaL_error(state, c"stopped after its time limit".as_ptr());
        } else {
            // The limit was reached just when the log ended: the current log is a later one.
            ffi::lua_sethook(state, None, 0, 0);
        }
    }
}
