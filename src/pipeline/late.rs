//! Shows a shard as paused while a step of its batches takes long.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::core::ledger::{Account, Wait};

/// A step that takes longer is reported.
const PATIENCE: Duration = Duration::from_secs(10);

/// One step of the batches of a shard. The shard waits until the last late batch has completed it.
#[derive(Debug)]
pub(super) struct LateStep {
    wait: Wait,
    account: Arc<Account>,
    /// Number of late batches.
    batches: AtomicUsize,
}

impl LateStep {
    /// A step that no batch is late in; `wait` is what the shard waits for meanwhile.
    pub(super) fn new(wait: Wait, account: &Arc<Account>) -> Self {
        Self { wait, account: Arc::clone(account), batches: AtomicUsize::new(0) }
    }

    /// Runs the step of a batch. If it takes long, the shard is paused because of `why` until it ends.
    pub(super) async fn run<T>(&self, step: impl Future<Output = T>, why: impl FnOnce() -> String) -> T {
        let mut step = pin!(step);
        if let Ok(done) = timeout(PATIENCE, &mut step).await {
            return done;
        }
        self.account.waits(self.wait, why());
        let _late = Late::of(self);
        step.await
    }
}

/// A late batch, until dropped.
struct Late<'a>(&'a LateStep);

impl<'a> Late<'a> {
    fn of(step: &'a LateStep) -> Self {
        step.batches.fetch_add(1, Ordering::Relaxed);
        Self(step)
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if self.0.batches.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.account.goes_on(self.0.wait);
        }
    }
}
