//! A flag that asks tasks to stop.

use tokio_util::sync::CancellationToken;

/// Raises a [`Stop`]. Dropping it raises nothing.
#[derive(Debug)]
pub struct Stopper(CancellationToken);

/// A flag that is raised once and stays up; clones see the same flag.
#[derive(Debug, Clone)]
pub struct Stop(CancellationToken);

/// A new flag that is not raised, and the handle that raises it.
#[must_use]
pub fn stop() -> (Stopper, Stop) {
    let token = CancellationToken::new();
    (Stopper(token.clone()), Stop(token))
}

impl Stopper {
    /// Raises the flag. Raising it again changes nothing.
    pub fn raise(&self) {
        self.0.cancel();
    }

    /// Whether the flag is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Another view of the flag.
    #[must_use]
    pub fn listen(&self) -> Stop {
        Stop(self.0.clone())
    }
}

impl Stop {
    /// Whether it is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when it is raised. Never resolves if the handle was dropped without raising it.
    pub async fn raised(&self) {
        self.0.cancelled().await;
    }

    /// Runs `work` unless the flag is raised first: then `work` is dropped and the result is `None`.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.raised() => None,
            value = work => Some(value),
        }
    }
}
