//! Threads for hooks: scripts use the CPU, and must not block the loops that pull and deliver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::turns::Turns;
use crate::core::batch::{Batch, Part};
use crate::core::page::Page;
use crate::loggroup::PageError;
use crate::script::engine::time_limit::computing;
use crate::script::{Failed, Hook, HookOutput, Script, Stretch};

/// Maximum time that the end of the program waits for threads that process a log. A log with a longer time limit is
/// stopped when the process exits.
const PATIENCE: Duration = Duration::from_secs(1);

/// A fixed number of threads that run hooks. Shards take turns.
///
/// Dropping it ends them: each stops after its current log.
#[derive(Debug)]
pub struct HookThreads {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// Called when it is the shard's turn, with the clock of [`Turns`].
type Job = Box<dyn FnOnce(Duration) + Send>;

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    /// Notifies of a new job, the closed queue, or the end of a thread.
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    /// At most one per shard.
    turns: Turns<Job>,
    is_closed: bool,
    /// Threads that have ended.
    ended: usize,
}

/// A hook after a run over a page or a part of it.
#[derive(Debug)]
pub struct HookRun {
    /// The hook, to be used for the next run.
    pub hook: Hook,
    /// The batch, and the logs that the script failed on.
    pub made: Result<(Batch, Vec<Failed>), NotMade>,
}

/// Why a hook made no batch.
#[derive(Debug)]
pub enum NotMade {
    /// The page cannot be read.
    Unreadable(Box<UnreadablePage>),
    /// There was no memory for the result, so the hook did not begin.
    NoMemory,
}

/// A page that cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[error("the page at {} cannot be read: {error}", page.cursor)]
pub struct UnreadablePage {
    /// The page.
    pub page: Page,
    /// The error.
    pub error: PageError,
}

impl HookRun {
    /// Runs a hook over a page, as `newer` if there is a newer version, as long as the result is wanted, and if there is
    /// memory for it.
    pub(crate) fn of(mut hook: Hook, newer: Option<&Script>, stretch: Stretch, is_wanted: &dyn Fn() -> bool) -> Self {
        let Stretch { page, from, bounds } = stretch;
        if bounds.begins.as_ref().is_some_and(|begins| !begins()) {
            return Self { hook, made: Err(NotMade::NoMemory) };
        }
        if let Some(script) = newer {
            hook.take_up(script);
        }
        let made = match hook.run_part(&page, from, &bounds, is_wanted) {
            Ok(HookOutput { outputs, logs, dropped, drop_reasons, failed, is_last }) => {
                let batch = Batch::new(page, Part { first: from, is_last }, outputs, logs, dropped);
                Ok((Batch { drop_reasons, ..batch }, failed))
            }
            Err(error) => Err(NotMade::Unreadable(Box::new(UnreadablePage { page, error }))),
        };
        Self { hook, made }
    }
}

/// The program itself panicked while it ran a hook, not the script. The hook is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("BUG: the program panicked while it ran the script: {0}")]
pub struct HookPanic(pub String);

impl HookThreads {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// The operating system gives no more threads.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let threads = (0..count.max(1))
            .map(|number| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new().name(format!("hook-{number}")).spawn(move || queue.run_jobs())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { queue, threads })
    }

    /// Runs the hook over the page on one of the threads when it is its turn, as `newer` if there is a newer version.
    /// If the caller stops waiting, the hook stops after the current log and is dropped.
    ///
    /// # Errors
    /// Running it panicked.
    pub async fn run(&self, hook: Hook, newer: Option<Arc<Script>>, stretch: Stretch) -> Result<HookRun, HookPanic> {
        let clock = hook.used_to;
        let work = move |is_wanted: &dyn Fn() -> bool| HookRun::of(hook, newer.as_deref(), stretch, is_wanted);
        let (mut ran, used_to) = self.work(clock, work).await?;
        ran.hook.used_to = used_to;
        Ok(ran)
    }

    /// Creates a hook on one of the threads.
    ///
    /// # Errors
    /// Making it panicked.
    pub(crate) async fn load<E: Send + 'static>(
        &self,
        load: impl FnOnce() -> Result<Hook, E> + Send + 'static,
    ) -> Result<Result<Hook, E>, HookPanic> {
        let (mut loaded, used_to) = self.work(Duration::ZERO, move |_: &dyn Fn() -> bool| load()).await?;
        if let Ok(hook) = &mut loaded {
            hook.used_to = used_to;
        }
        Ok(loaded)
    }

    /// Runs `work` for a shard whose clock is `used_to`; returns the new clock. `work` can check whether the caller
    /// still waits.
    async fn work<T: Send + 'static>(
        &self,
        used_to: Duration,
        work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<(T, Duration), HookPanic> {
        let (reply, answer) = oneshot::channel();
        let job = move |begin: Duration| {
            if reply.is_closed() {
                return;
            }
            let before = computing();
            let done = catch_unwind(AssertUnwindSafe(|| work(&|| !reply.is_closed())));
            let used_to = begin + computing().saturating_sub(before);
            // The caller may have been stopped meanwhile.
            let _ = reply.send(done.map(|done| (done, used_to)).map_err(|panic| HookPanic(words(&*panic))));
        };
        self.queue.push(used_to, Box::new(job));
        answer.await.map_err(|_| HookPanic("the hook threads have ended".to_owned()))?
    }
}

impl Drop for HookThreads {
    fn drop(&mut self) {
        let count = self.threads.len();
        self.queue.close();
        self.queue.wait_for_ends(count);
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            // A panic outside of a hook is already reported.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn push(&self, used_to: Duration, job: Job) {
        self.lock().turns.push(used_to, job);
        self.changed.notify_all();
    }

    /// Ends the threads. Waiting jobs are dropped.
    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let dropped = std::mem::take(&mut state.turns);
        drop(state);
        self.changed.notify_all();
        // A dropped hook runs its script's `shutdown`: not while others wait for the lock.
        drop(dropped);
    }

    fn wait_for_ends(&self, threads: usize) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.lock();
        while state.ended < threads {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run_jobs(&self) {
        while let Some((begin, job)) = self.next() {
            job(begin);
        }
        self.lock().ended += 1;
        self.changed.notify_all();
    }

    /// The next job; waits for one. `None`: the queue was closed.
    fn next(&self) -> Option<(Duration, Job)> {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.turns.next() {
                return Some(next);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
