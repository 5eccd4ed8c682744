//! Replays the missed events of an isolated destination before any newer ones.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::copies::Copies;
use super::dead_letters::reason_of;
use super::{Isolation, Route};
use crate::core::batch::{Events, Output};
use crate::core::cause::{Cause, Retry};
use crate::core::cursor::ShardId;
use crate::core::lease::{Lease, Tenure};
use crate::core::retry_log::RetryLog;
use crate::core::stop::stop;
use crate::dead_letter::{ClaimError, DeadLetterStore, Record};
use crate::destination::{Destination, Health, IsolationMode, Outcome, Rejected};

/// Number of dead letters that are delivered and recorded together. A crash repeats at most this many.
const TOGETHER: usize = 500;

/// Time between two probes of the destination.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two passes while events are being written.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(100);

/// A pass ends early if the destination was down at this many probes in a row.
const MAX_FAILED_PROBES: u32 = 6;

/// What a pass over the missed events found.
enum Found {
    /// It is not known whether the destination accepts them.
    Some,
    /// All of them were delivered: this many.
    Delivered(usize),
    /// The destination went down. This many were delivered.
    Down(usize),
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
    let (mut answers, mut delivered) = (false, 0);
    loop {
        isolation.has_missed().await;
        if isolation.mode() == IsolationMode::DeadLettering {
            answer(&route.destination).await;
            answers = true;
            isolation.answers();
        }
        let pass = isolation.begins();
        match bring(&lost, route, isolation, answers, &tenure).await {
            Ok(Found::Some) => {
                answer(&route.destination).await;
                answers = true;
            }
            Ok(Found::Delivered(found)) => {
                retry_log.recovered();
                delivered += found;
                if isolation.ends(pass, found) == IsolationMode::Direct {
                    say(route, delivered);
                    (answers, delivered) = (false, 0);
                } else if found == 0 {
                    sleep(LOOKUP_INTERVAL).await;
                }
            }
            Ok(Found::Down(found)) => {
                retry_log.recovered();
                say(route, delivered + found);
                delivered = 0;
                isolation.is_gone();
            }
            Err(error) => {
                isolation.set_replay_fault(Some(error.to_string()));
                retry_log.pause(&Cause::new(error.to_string()), Retry::SOON).await;
            }
        }
    }
}

fn say<K>(route: &Route<K>, events: usize) {
    if events > 0 {
        info!(destination = %route.name, events, "delivered the events that the destination had missed");
    }
}

/// Waits until the destination accepts events.
async fn answer(destination: &impl Destination) {
    while destination.check().await.is_err() {
        sleep(PROBE_INTERVAL).await;
    }
}

/// Resolves when the destination has been down for long.
async fn is_down_for_long(destination: &impl Destination) {
    let mut failed = 0;
    while failed < MAX_FAILED_PROBES {
        sleep(PROBE_INTERVAL).await;
        let is_down = matches!(destination.health(), Health::Down { .. } | Health::Refusing { .. });
        failed = if is_down { failed + 1 } else { 0 };
    }
}

/// Delivers the events that are stored now, if the destination answers.
async fn bring<K: Destination>(
    lost: &MissedEvents<'_, K>,
    route: &Route<K>,
    isolation: &Isolation,
    answers: bool,
    tenure: &Tenure,
) -> Result<Found, ClaimError> {
    let mut letters = lost.letters.missed(&route.name).await?;
    isolation.set_replay_fault(None);
    let mut delivered = 0;
    loop {
        let next = letters.next(TOGETHER).await?;
        if next.is_empty() || !answers {
            letters.close().await?;
            return Ok(if next.is_empty() { Found::Delivered(delivered) } else { Found::Some });
        }
        // Only the events of one shard have an order.
        let mut by_shard = BTreeMap::<ShardId, Vec<&Record>>::new();
        for letter in &next {
            by_shard.entry(letter.origin.shard).or_default().push(letter);
        }
        let delivers = try_join_all(by_shard.values().map(|letters| deliver(lost, route, letters, tenure)));
        tokio::select! {
            biased;
            done = delivers => done?,
            // Some of them may be delivered again. Others can replay meanwhile.
            () = is_down_for_long(&route.destination) => {
                letters.close().await?;
                return Ok(Found::Down(delivered));
            }
        };
        delivered += next.len();
        letters.settle(next.into()).await?;
    }
}

/// Delivers dead letters of one shard. An event that is refused for good stays a dead letter, with that reason.
async fn deliver<K: Destination>(
    lost: &MissedEvents<'_, K>,
    route: &Route<K>,
    letters: &[&Record],
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
    let refused: Vec<Record> = rejected.iter().map(|refused| refuse(letters[refused.event], refused)).collect();
    route.account.replayed(letters.len() - refused.len(), refused.len());
    if !refused.is_empty() {
        let (copies, refused): (_, Arc<[Record]>) = (lost.copies, refused.into());
        if !copies.is_some_and(Copies::is_instead_of_disk) {
            lost.letters.keep(vec![Arc::clone(&refused)]).await?;
        }
        if let Some(copies) = copies {
            // The tenure does not end.
            let left = copies.send(lost.destinations, &refused, tenure).await.unwrap_or_default();
            if copies.is_instead_of_disk() && !left.is_empty() {
                lost.letters.keep(vec![left.into()]).await?;
            }
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
