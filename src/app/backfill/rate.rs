//! Limits the rate of a backfill.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A limit in bytes per second over all shards, or none. The size of a page is known only when it has arrived, so
/// each page delays the next one.
#[derive(Debug)]
pub struct Rate {
    bytes_a_second: Option<usize>,
    /// When the next page may be pulled.
    free_at: Mutex<Instant>,
}

impl Rate {
    /// A limit of unpacked bytes per second; `None` means no limit.
    #[must_use]
    pub fn new(bytes_a_second: Option<usize>) -> Self {
        Self { bytes_a_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits for the turn of the next page.
    pub(super) async fn turn(&self) {
        loop {
            let free_at = *self.lock();
            if Instant::now() >= free_at {
                return;
            }
            sleep_until(free_at).await;
        }
    }

    /// A page of this many bytes arrived.
    pub(super) fn took(&self, bytes: usize) {
        let Some(rate) = self.bytes_a_second else { return };
        let mut free_at = self.lock();
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        *free_at = (*free_at).max(Instant::now()) + cost;
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.free_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_shards_together_keep_to_the_rate() {
        let rate = Rate::new(Some(1_000));
        let began = Instant::now();
        for _ in 0..5 {
            rate.turn().await;
            rate.took(2_000);
        }
        rate.turn().await;
        assert_eq!(began.elapsed().as_secs(), 10);
        let any = Rate::new(None);
        any.took(usize::MAX);
        any.turn().await;
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}
