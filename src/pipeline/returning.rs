//! Replays the missed events of an isolated destination before any newer ones.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::Route;
use super::copies::Copies;
use super::dead_letters::reason_of;
use crate::core::batch::{Events, Output};
use crate::core::cause::{Cause, Retry};
use crate::core::lease::{Lease, Tenure};
use crate::core::retry_log::RetryLog;
use crate::core::stop::stop;
use crate::dead_letter::{ClaimError, DeadLetterStore, Record};
use crate::destination::{Destination, IsolationMode, Outcome, Rejected};

/// Number of dead letters that are delivered and recorded together. A crash repeats at most this many.
const TOGETHER: usize = 500;

/// Time between two probes of the destination.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two checks of the store while events are being written to it.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(100);

/// Missed events of a destination.
enum Missed {
    Nothing,
    /// There are some; it is not known whether the destination accepts them.
    Kept,
    /// The number of events that are being delivered now.
    Brought(usize),
}

/// The stored missed events, and what is needed to deliver them.
pub struct MissedEvents<'a, K> {
    /// Every destination.
    pub destinations: &'a [Route<K>],
    /// The store that has the missed events.
    pub letters: &'a dyn DeadLetterStore,
    /// Where copies of dead letters are sent.
    pub copies: Option<&'a Copies>,
}

/// Delivers the missed events of this destination whenever it is back; never returns. Does nothing if it is not
/// isolated.
pub async fn bring_back<K: Destination>(lost: MissedEvents<'_, K>, number: usize) {
    let route = &lost.destinations[number];
    let Some(isolation) = &route.isolation else { return };
    let (_never, over) = stop();
    // The dead letters belong to this process, whichever process holds the shard now.
    let tenure = Tenure::new(Lease::endless(Instant::now()), over);
    let mut retry_log =
        RetryLog::new(format!("destination {}: cannot replay its missed events", route.name), number as u64);
    let mut answers = false;
    loop {
        isolation.has_missed().await;
        if isolation.mode() == IsolationMode::DeadLettering {
            answer(&route.destination).await;
            answers = true;
            isolation.returns();
        }
        match bring(&lost, route, answers, &tenure).await {
            Ok(Missed::Nothing) => {
                retry_log.recovered();
                if isolation.goes_direct() {
                    answers = false;
                } else {
                    sleep(LOOKUP_INTERVAL).await;
                }
            }
            Ok(Missed::Kept) => {
                answer(&route.destination).await;
                answers = true;
            }
            Ok(Missed::Brought(events)) => {
                retry_log.recovered();
                info!(destination = %route.name, events, "delivered the events that the destination had missed");
            }
            Err(error) => {
                retry_log.pause(&Cause::new(error.to_string()), Retry::SOON).await;
            }
        }
    }
}

/// Waits until the destination accepts events.
async fn answer(destination: &impl Destination) {
    while destination.check().await.is_err() {
        sleep(PROBE_INTERVAL).await;
    }
}

/// Delivers all stored events of the destination, if it answers.
async fn bring<K: Destination>(
    lost: &MissedEvents<'_, K>,
    route: &Route<K>,
    answers: bool,
    tenure: &Tenure,
) -> Result<Missed, ClaimError> {
    let mut letters = lost.letters.missed(&route.name).await?;
    let mut brought = 0;
    loop {
        let next = letters.next(TOGETHER).await?;
        if next.is_empty() || !answers {
            letters.close().await?;
            return Ok(match (brought, next.is_empty()) {
                (0, true) => Missed::Nothing,
                (0, false) => Missed::Kept,
                (events, _) => Missed::Brought(events),
            });
        }
        brought += next.len();
        for of_shard in next.chunk_by(|one, other| one.origin.shard == other.origin.shard) {
            deliver(lost, route, of_shard, tenure).await?;
        }
        letters.settle(next.into()).await?;
    }
}

/// Delivers dead letters of one shard. An event that is refused for good stays a dead letter, with that reason.
async fn deliver<K: Destination>(
    lost: &MissedEvents<'_, K>,
    route: &Route<K>,
    letters: &[Record],
    tenure: &Tenure,
) -> Result<(), ClaimError> {
    let mut events = Events::default();
    for (letter, number) in letters.iter().zip(0..) {
        let Ok(()) = events.push(number, |out| {
            out.extend_from_slice(letter.event.as_deref().unwrap_or_default());
            Ok::<(), Infallible>(())
        });
    }
    let output = Arc::new(Output { shard: letters[0].origin.shard, events });
    let rejected = match route.destination.deliver(output, tenure.clone()).await {
        Outcome::Done(rejected) => rejected,
        // This tenure never ends.
        Outcome::Abandoned => std::future::pending().await,
    };
    let refused: Vec<Record> = rejected.iter().map(|refused| refuse(&letters[refused.event], refused)).collect();
    route.account.replayed(letters.len() - refused.len(), refused.len());
    if !refused.is_empty() {
        let refused: Arc<[Record]> = refused.into();
        lost.letters.keep(Arc::clone(&refused)).await?;
        if let Some(copies) = lost.copies {
            // The tenure does not end.
            copies.send(lost.destinations, &refused, tenure).await;
        }
    }
    Ok(())
}

fn refuse(letter: &Record, refused: &Rejected) -> Record {
    Record {
        at: Timestamp::now(),
        reason: reason_of(refused.rejection),
        code: refused.code.clone(),
        message: refused.reason.clone(),
        ..letter.clone()
    }
}
