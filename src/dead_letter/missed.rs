//! The events that an isolated destination missed, for delivery when it is back.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::spawn_blocking;

use super::replay_claim::{ClaimError, ReplayClaim};
use super::{Letter, Reason, Record, Unreadable};
use crate::core::destination_name::DestinationName;

/// The missed events of a destination. While it exists, nobody else can replay dead letters of the same store.
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

/// The dead letters of a directory.
pub(super) struct DirectoryMissed {
    /// `None` only while a thread uses it.
    claim: Option<ClaimOfOne>,
}

struct ClaimOfOne {
    claim: ReplayClaim,
    letters: Box<dyn Iterator<Item = Result<Letter, Unreadable>> + Send>,
    destination: DestinationName,
}

impl DirectoryMissed {
    /// Claims the dead letters of a directory.
    pub(super) async fn take(dir: PathBuf, destination: DestinationName) -> Result<Self, ClaimError> {
        let take = move || -> Result<ClaimOfOne, ClaimError> {
            let claim = ReplayClaim::take(&dir)?;
            let letters = Box::new(claim.letters()?);
            Ok(ClaimOfOne { claim, letters, destination })
        };
        Ok(Self { claim: Some(blocking(take).await?) })
    }

    /// Runs `work` on the claim on a blocking thread.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut ClaimOfOne) -> Result<T, ClaimError> + Send + 'static,
    ) -> Result<T, ClaimError> {
        let mut claim = self.claim.take().expect("it is put back below");
        let (claim, done) = blocking(move || {
            let done = work(&mut claim);
            (claim, done)
        })
        .await;
        self.claim = Some(claim);
        done
    }
}

impl MissedDeadLetters for DirectoryMissed {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<Record>, ClaimError>> {
        Box::pin(self.with(move |one| Ok(one.next(most))))
    }

    fn settle(&mut self, letters: Arc<[Record]>) -> BoxFuture<'_, Result<(), ClaimError>> {
        Box::pin(self.with(move |one| Ok(one.claim.note_delivered(letters.iter())?)))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ClaimError>> {
        let ClaimOfOne { claim, .. } = self.claim.expect("no thread uses it");
        Box::pin(blocking(move || Ok(claim.close()?)))
    }
}

impl ClaimOfOne {
    /// Skips unreadable lines; they stay in the file.
    fn next(&mut self, most: usize) -> Vec<Record> {
        let mut next = Vec::new();
        while next.len() < most {
            let Some(found) = self.letters.next() else { break };
            let Ok(Letter { record, .. }) = found else { continue };
            let is_missed =
                record.reason == Reason::DestinationDown && record.destination.as_ref() == Some(&self.destination);
            if is_missed && !self.claim.is_delivered(&record) {
                next.push(record);
            }
        }
        next
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // A panic of the thread is passed on to the caller.
    spawn_blocking(work).await.unwrap_or_else(|panic| panic!("{panic}"))
}
