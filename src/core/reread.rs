//! Values that are made from files, and updated when the content of the files changes.
//!
//! Tokens, keys and certificates are renewed on disk while the program runs. A file may be half-written when it is
//! read, two related files may be replaced one after the other, and a disk may hang. In all of these cases the last
//! valid value stays in use.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a caller waits for the disk before it continues with the current value.
const DISK_TIMEOUT: Duration = Duration::from_millis(200);

/// How to read files, and how to make a value from their content.
pub trait FromFiles: Send + Sync + 'static {
    /// The content of the files.
    type Content: PartialEq + Send + Sync + 'static;
    /// The value made from it.
    type Value: Clone + Send + 'static;
    /// Why there is no value.
    type Error: fmt::Display + Send + 'static;

    /// The name of the files for people: "the HEC token file".
    fn what(&self) -> &'static str;

    /// Whether there are no files, so that the value never changes.
    fn is_empty(&self) -> bool {
        false
    }

    /// Whether to log a change of the content.
    fn is_logged(&self, _before: &Self::Content, _now: &Self::Content) -> bool {
        true
    }

    /// Reads the files. Runs on a thread that may block.
    ///
    /// # Errors
    /// A file cannot be read.
    fn read(&self) -> Result<Self::Content, Self::Error>;

    /// Makes a value from new content. Runs on a thread that may block.
    ///
    /// # Errors
    /// The content cannot be used, for example a certificate without its key.
    fn make(&self, content: &Self::Content) -> Result<Self::Value, Self::Error>;
}

/// A value that is updated from its files.
pub struct Reread<F: FromFiles> {
    /// `None` for a value that is not from files.
    files: Option<Arc<F>>,
    interval: Duration,
    state: Mutex<State<F>>,
}

struct State<F: FromFiles> {
    value: F::Value,
    /// The content that the value was made from.
    content: Option<Arc<F::Content>>,
    /// How often the value changed.
    changes: u64,
    /// When the files are read next.
    due: Instant,
    /// A read that the disk did not answer in time. No other read starts before it has ended.
    look: Option<JoinHandle<Look<F>>>,
    /// The current problem with the files, so that it is reported once.
    problem: Option<String>,
}

/// The result of reading the files.
enum Look<F: FromFiles> {
    Same,
    Changed(F::Content, F::Value),
    Failed(F::Error),
}

impl<F: FromFiles> Reread<F> {
    /// Reads the files for the first time; later at most once per `interval`.
    ///
    /// # Errors
    /// There is no valid value at the start.
    pub fn new(files: F, interval: Duration) -> Result<Self, F::Error> {
        let content = files.read()?;
        let value = files.make(&content)?;
        let files = if files.is_empty() { None } else { Some(Arc::new(files)) };
        Ok(Self::with(files, value, Some(Arc::new(content)), interval))
    }

    /// A value that is not from files.
    #[must_use]
    pub fn fixed(value: F::Value) -> Self {
        Self::with(None, value, None, Duration::MAX)
    }

    fn with(files: Option<Arc<F>>, value: F::Value, content: Option<Arc<F::Content>>, interval: Duration) -> Self {
        let now = Instant::now();
        let due = now.checked_add(interval).unwrap_or(now);
        let state = State { value, content, changes: 0, due, look: None, problem: None };
        Self { files, interval, state: Mutex::new(state) }
    }

    /// Whether there are files.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// The current value, without reading the files.
    #[must_use]
    pub fn last(&self) -> F::Value {
        self.state().value.clone()
    }

    /// How often the value has changed since the start.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// The current value. Reads the files first if that is due.
    pub async fn current(&self) -> F::Value {
        if self.files.is_some() && Instant::now() >= self.state().due {
            self.look().await;
        }
        self.last()
    }

    /// Reads the files now, on a separate thread. The last valid value stays if they cannot be used or if the disk
    /// does not answer in time.
    pub async fn look(&self) {
        let Some(files) = &self.files else { return };
        let look = {
            let mut state = self.state();
            state.due = Instant::now() + self.interval;
            match state.look.take() {
                // A caller has already waited for this read; otherwise every caller would wait for it again.
                Some(look) if !look.is_finished() => {
                    state.look = Some(look);
                    return;
                }
                Some(look) => look,
                None => {
                    let (files, seen) = (Arc::clone(files), state.content.clone());
                    tokio::task::spawn_blocking(move || files.look(seen.as_deref()))
                }
            }
        };
        self.finish(files, look).await;
    }

    async fn finish(&self, files: &F, mut look: JoinHandle<Look<F>>) {
        let what = files.what();
        let outcome = tokio::time::timeout(DISK_TIMEOUT, &mut look).await;
        let mut state = self.state();
        let problem = match outcome {
            Err(_) => {
                state.look = Some(look);
                "the disk takes its time".to_owned()
            }
            Ok(Err(panic)) => panic.to_string(),
            Ok(Ok(Look::Failed(error))) => error.to_string(),
            Ok(Ok(Look::Same)) => {
                state.problem = None;
                return;
            }
            Ok(Ok(Look::Changed(content, value))) => {
                if state.content.as_deref().is_none_or(|before| files.is_logged(before, &content)) {
                    tracing::info!("{what} changed on disk: the new content is used from now on");
                }
                state.value = value;
                state.content = Some(Arc::new(content));
                state.changes += 1;
                state.problem = None;
                return;
            }
        };
        if state.problem.as_ref() != Some(&problem) {
            tracing::warn!("cannot use {what}: {problem}; the last good content stays in use");
            state.problem = Some(problem);
        }
    }

    /// Reads the files now, and waits for the disk without a timeout.
    #[cfg(test)]
    pub(crate) async fn settle(&self) {
        self.look().await;
        while self.state().look.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.look().await;
        }
    }

    /// Sets the next read to `wait` from now.
    #[cfg(test)]
    pub(crate) fn due_in(&self, wait: Duration) {
        self.state().due = Instant::now() + wait;
    }

    fn state(&self) -> MutexGuard<'_, State<F>> {
        // A poisoned lock is usable: no writer can panic in the middle of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: FromFiles> fmt::Debug for Reread<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread").field("files", &self.files.as_ref().map(|files| files.what())).finish_non_exhaustive()
    }
}

/// Reads the files once.
trait LookAt: FromFiles + Sized {
    fn look(&self, seen: Option<&Self::Content>) -> Look<Self> {
        let content = match self.read() {
            Ok(content) if seen == Some(&content) => return Look::Same,
            Ok(content) => content,
            Err(error) => return Look::Failed(error),
        };
        match self.make(&content) {
            Ok(value) => Look::Changed(content, value),
            Err(error) => Look::Failed(error),
        }
    }
}

impl<F: FromFiles> LookAt for F {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Numbers from a fake disk that answers when the test sends the content. A valid number is even.
    struct Numbers(Mutex<mpsc::Receiver<Result<u32, String>>>);

    impl FromFiles for Numbers {
        type Content = u32;
        type Value = String;
        type Error = String;

        fn what(&self) -> &'static str {
            "the numbers"
        }

        fn read(&self) -> Result<u32, String> {
            self.0.lock().unwrap().recv().unwrap()
        }

        fn make(&self, content: &u32) -> Result<String, String> {
            if content.is_multiple_of(2) { Ok(content.to_string()) } else { Err(format!("{content} is odd")) }
        }
    }

    fn numbers() -> (mpsc::Sender<Result<u32, String>>, Reread<Numbers>) {
        let (sender, receiver) = mpsc::channel();
        sender.send(Ok(2)).unwrap();
        (sender, Reread::new(Numbers(Mutex::new(receiver)), Duration::from_secs(3600)).unwrap())
    }

    #[tokio::test]
    async fn only_valid_new_content_replaces_the_current_value() {
        let (sender, numbers) = numbers();
        let steps =
            [(Ok(4), "4", 1), (Ok(5), "4", 1), (Err("gone".to_owned()), "4", 1), (Ok(4), "4", 1), (Ok(6), "6", 2)];
        for (found, expected, changes) in steps {
            sender.send(found).unwrap();
            assert_eq!(numbers.current().await, numbers.last(), "it is not due");
            numbers.due_in(Duration::ZERO);
            assert_eq!((numbers.current().await.as_str(), numbers.changes()), (expected, changes));
        }
    }

    #[tokio::test]
    async fn only_one_caller_waits_for_a_hung_disk() {
        let (sender, numbers) = numbers();
        let began = std::time::Instant::now();
        for _ in 0..50 {
            numbers.look().await;
            assert_eq!(numbers.last(), "2");
        }
        assert!(began.elapsed() < 10 * DISK_TIMEOUT, "{:?}", began.elapsed());
        sender.send(Ok(8)).unwrap();
        while numbers.last() != "8" {
            numbers.look().await;
        }
    }
}
