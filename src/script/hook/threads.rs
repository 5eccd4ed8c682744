//! Threads for hooks: a script computes, and must not hold up the loops that pull and deliver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::core::batch::Batch;
use crate::core::page::Page;
use crate::loggroup::PageError;
use crate::script::{Failed, Hook, Made, Script};

/// A fixed number of threads that run hooks. Dropping it waits for them to end what they are at.
#[derive(Debug)]
pub struct HookThreads {
    /// None only while being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

struct Job {
    hook: Hook,
    newer: Option<Arc<Script>>,
    page: Page,
    reply: oneshot::Sender<Result<HookRun, HookPanic>>,
}

/// A hook after it ran over a page.
#[derive(Debug)]
pub struct HookRun {
    /// The hook, ready for the next page.
    pub hook: Hook,
    /// The batch made of the page, and the logs that the script failed on; or the page, when it cannot be read.
    pub made: Result<(Batch, Vec<Failed>), UnreadablePage>,
}

/// A page that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("the page at {} cannot be read: {error}", page.cursor)]
pub struct UnreadablePage {
    /// The page.
    pub page: Page,
    /// What is wrong with it.
    pub error: PageError,
}

impl HookRun {
    /// Runs a hook over a page, as `newer` if there is a newer version.
    pub(crate) fn of(mut hook: Hook, newer: Option<&Script>, page: Page) -> Self {
        if let Some(script) = newer {
            hook.take_up(script);
        }
        let made = match hook.run(&page) {
            Ok(Made { outputs, logs, dropped, failed }) => Ok((Batch::new(page, outputs, logs, dropped), failed)),
            Err(error) => Err(UnreadablePage { page, error }),
        };
        Self { hook, made }
    }
}

/// The program itself failed while it ran a hook, not the script. The hook is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the program failed while it ran the script, which is a bug: {0}")]
pub struct HookPanic(pub String);

impl HookThreads {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// The operating system gives no more threads.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let count = count.max(1);
        let (jobs, queue) = mpsc::channel(count);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..count)
            .map(|number| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new().name(format!("hook-{number}")).spawn(move || run_jobs(&queue))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// Runs the hook over the page on one of the threads, as `newer` if there is a newer version; waits for a thread to be
    /// free.
    ///
    /// # Errors
    /// Running it panicked.
    pub async fn run(&self, hook: Hook, newer: Option<Arc<Script>>, page: Page) -> Result<HookRun, HookPanic> {
        let gone = || HookPanic("the hook threads have ended".to_owned());
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Job { hook, newer, page, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for HookThreads {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked outside of a hook has nothing left to say here.
            let _ = thread.join();
        }
    }
}

fn run_jobs(queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The lock is held while waiting, so that one thread waits for a job and the others for the lock.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Job { hook, newer, page, reply }) = job else {
            return;
        };
        let ran = catch_unwind(AssertUnwindSafe(move || HookRun::of(hook, newer.as_deref(), page)));
        // Whoever asked may have been stopped meanwhile.
        let _ = reply.send(ran.map_err(|panic| HookPanic(words(&*panic))));
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
