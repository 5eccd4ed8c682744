//! Tasks that run beside the main work until the program ends.

use tokio::task::JoinSet;

/// Resolves when a task that should run until the program ends has failed.
pub(super) async fn breakdown(side: &mut JoinSet<()>) -> String {
    loop {
        match side.join_next().await {
            // A task that ends without a panic had only one thing to do.
            Some(Ok(())) => {}
            Some(Err(panic)) => return panic.to_string(),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::error::Error;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn f83_a_side_task_may_end_but_not_panic() {
        let mut side = JoinSet::new();
        side.spawn(async {});
        let later = Duration::from_secs(60);
        assert!(tokio::time::timeout(later, breakdown(&mut side)).await.is_err(), "it had one thing to do");
        side.spawn(std::future::pending());
        side.spawn(async { std::panic::resume_unwind(Box::new("a bug")) });
        let why = breakdown(&mut side).await;
        assert!(why.contains("a bug"), "{why}");
        assert_eq!(Error::Internal(why).exit_code(), 70);
    }
}
