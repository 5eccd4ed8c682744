//! Takes over the dead letters of processes that have ended, while this one runs.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::shared::Shared;
use crate::dead_letter::Neighbours;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// Looks periodically; never returns.
pub(super) async fn take_over_left_letters(shared: &Shared) {
    let rules = &shared.dead_letter_rules;
    let mut neighbours = Neighbours::new(&rules.dir, shared.letters.dir(), rules.max_bytes);
    loop {
        sleep(INTERVAL).await;
        let looked = spawn_blocking(move || {
            let is_taken = neighbours.look();
            (neighbours, is_taken)
        });
        let (again, is_taken) =
            looked.await.unwrap_or_else(|panic| panic!("looking for dead letters to take over failed: {panic}"));
        neighbours = again;
        if is_taken {
            // They may be events that an isolated destination missed.
            shared.destinations.iter().filter_map(|route| route.isolation.as_ref()).for_each(|one| one.looks_again());
        }
    }
}
