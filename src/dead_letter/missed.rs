//! The events that an isolated destination missed, for delivery when it is back.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::spawn_blocking;

use super::Record;
use super::replay_claim::ClaimError;
use super::shared_claim::MissedInDirectory;

/// The missed events of a destination. While it exists, no other process can replay dead letters of the same store.
pub trait MissedDeadLetters: Send {
    /// The next missed events in the order in which they were written, at most `most`. Empty when there are no more.
    ///
    /// # Errors
    /// [`ClaimError`]
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<Record>, ClaimError>>;

    /// Records that the events of the last `next` are completed.
    ///
    /// # Errors
    /// [`ClaimError`]: they will be returned again.
    fn settle(&mut self, letters: Arc<[Record]>) -> BoxFuture<'_, Result<(), ClaimError>>;

    /// Removes the completed events from the store, and releases the others.
    ///
    /// # Errors
    /// [`ClaimError`]: the next claim does it.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ClaimError>>;
}

/// Reads the missed events of a directory on blocking threads.
pub(super) struct DirectoryMissed {
    /// `None` only while a thread uses it.
    missed: Option<MissedInDirectory>,
}

impl DirectoryMissed {
    /// Claims them with `take`.
    pub(super) async fn take(
        take: impl FnOnce() -> Result<MissedInDirectory, ClaimError> + Send + 'static,
    ) -> Result<Self, ClaimError> {
        Ok(Self { missed: Some(blocking(take).await?) })
    }

    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut MissedInDirectory) -> Result<T, ClaimError> + Send + 'static,
    ) -> Result<T, ClaimError> {
        let mut missed = self.missed.take().expect("it is put back below");
        let (missed, done) = blocking(move || {
            let done = work(&mut missed);
            (missed, done)
        })
        .await;
        self.missed = Some(missed);
        done
    }
}

impl MissedDeadLetters for DirectoryMissed {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<Record>, ClaimError>> {
        Box::pin(self.with(move |missed| missed.next(most)))
    }

    fn settle(&mut self, letters: Arc<[Record]>) -> BoxFuture<'_, Result<(), ClaimError>> {
        Box::pin(self.with(move |missed| missed.settle(&letters)))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ClaimError>> {
        let missed = self.missed.expect("no thread uses it");
        Box::pin(blocking(move || missed.close()))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // A panic of the thread is passed on to the caller.
    spawn_blocking(work).await.unwrap_or_else(|panic| panic!("{panic}"))
}
