//! Sends dead letters through the scripts as they are now, and on to the destination.

mod scripts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::core::batch::{Events, Output};
use crate::core::cursor::ShardId;
use crate::core::destination_name::DestinationName;
use crate::core::event::Formats;
use crate::core::lease::Tenure;
use crate::core::page::Page;
use crate::dead_letter::{Letter, ReadError, Record, ReplayClaim, StoreError, Unreadable};
use crate::destination::{Destination, Outcome};
use crate::loggroup::flat::page_of;
use crate::pipeline::Route;
use crate::script;
use crate::script::{Hook, HookError, Meta};
pub use scripts::ReplayScripts;

/// Dead letters that are sent and recorded together; a crash repeats at most this many.
const BATCH_LETTERS: usize = 100;

/// The result of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The destination has it.
    Delivered,
    /// The script drops it now.
    Dropped,
    /// The script fails on it.
    Failed(HookError),
    /// The log now yields different events, but not the one of the dead letter.
    Gone,
    /// There is no destination of this name.
    NoDestination(DestinationName),
    /// It does not name the destination that refused it.
    Ambiguous,
    /// No script is known for its logstore, or several are.
    NoScript,
    /// The destination refuses it.
    Rejected {
        /// The destination's code.
        code: String,
        /// Its words.
        reason: String,
    },
}

impl Fate {
    /// Whether the dead letter is completed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Delivered | Self::Dropped)
    }
}

/// Why a replay ended early. Deliveries until then are recorded.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The dead letters cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Deliveries cannot be recorded.
    #[error(transparent)]
    Fault(#[from] StoreError),
    /// The script does not load for a shard.
    #[error(transparent)]
    Script(#[from] HookError),
    /// It was asked to stop.
    #[error("stopped; run the same command again to continue")]
    Stopped,
}

/// The destinations, rate and tenure of a replay.
pub struct ReplayOptions<'a, K> {
    /// The destinations, in the order of the remaker's formats.
    pub destinations: &'a [Route<K>],
    /// Maximum dead letters per second, at least one.
    pub rate: u32,
    /// Runs as long as it is valid.
    pub tenure: &'a Tenure,
}

/// Delivers the selected dead letters, and reports the result of each. Completed ones are recorded in `taken`.
///
/// # Errors
/// [`ReplayError`]
pub async fn replay<K: Destination>(
    taken: &mut ReplayClaim,
    wants: impl Fn(&Record) -> bool,
    remaker: &mut Remaker,
    options: ReplayOptions<'_, K>,
    mut tell: impl FnMut(Result<(&Record, &Fate), &Unreadable>),
) -> Result<(), ReplayError> {
    let together = BATCH_LETTERS.min(options.rate as usize).max(1);
    let mut turns = interval(Duration::from_secs(1).mul_f64(together as f64 / f64::from(options.rate.max(1))));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut letters = taken.letters()?;
    loop {
        let mut chosen: Vec<Record> = Vec::new();
        while chosen.len() < together {
            match letters.next() {
                None => break,
                Some(Err(unreadable)) => tell(Err(&unreadable)),
                Some(Ok(Letter { record, .. })) => {
                    let is_twice = || {
                        chosen.iter().any(|one| one.origin == record.origin && one.destination == record.destination)
                    };
                    if wants(&record) && !taken.is_delivered(&record) && !is_twice() {
                        chosen.push(record);
                    }
                }
            }
        }
        if chosen.is_empty() {
            return Ok(());
        }
        options.tenure.or(turns.tick()).await.ok_or(ReplayError::Stopped)?;
        let fates = deliver(&chosen, remaker, &options).await?;
        let settled = chosen.iter().zip(&fates).filter(|(_, fate)| fate.is_settled());
        taken.note_delivered(settled.map(|(record, _)| record))?;
        for (record, fate) in chosen.iter().zip(&fates) {
            tell(Ok((record, fate)));
        }
    }
}

async fn deliver<K: Destination>(
    chosen: &[Record],
    remaker: &mut Remaker,
    options: &ReplayOptions<'_, K>,
) -> Result<Vec<Fate>, ReplayError> {
    let mut outputs: Vec<Events> = options.destinations.iter().map(|_| Events::default()).collect();
    let mut fates = Vec::with_capacity(chosen.len());
    for (record, letter) in chosen.iter().zip(0..) {
        fates.push(match remaker.make(record)? {
            Remade::Events(made) => {
                for (output, event) in made {
                    let Ok(()) = outputs[output].push::<std::convert::Infallible>(letter, |out| {
                        out.extend_from_slice(&event);
                        Ok(())
                    });
                }
                Fate::Delivered
            }
            Remade::Dropped => Fate::Dropped,
            Remade::Gone => Fate::Gone,
            Remade::NoDestination(name) => Fate::NoDestination(name),
            Remade::Ambiguous => Fate::Ambiguous,
            Remade::NoScript => Fate::NoScript,
            Remade::Failed(error) => Fate::Failed(error),
        });
    }
    let shard = chosen[0].origin.shard;
    for (route, events) in options.destinations.iter().zip(outputs).filter(|(_, events)| !events.is_empty()) {
        let output = Arc::new(Output { shard, events });
        match route.destination.deliver(Arc::clone(&output), options.tenure.clone()).await {
            Outcome::Abandoned => return Err(ReplayError::Stopped),
            Outcome::Done(rejected) => {
                for refused in rejected {
                    let letter = output.events.log_of(refused.event) as usize;
                    fates[letter] = Fate::Rejected { code: refused.code, reason: refused.reason };
                }
            }
        }
    }
    Ok(fates)
}

/// The result of the current script for the log of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remade {
    /// These events, each with the number of its destination: all events of the log, or only the one of the dead
    /// letter.
    Events(Vec<(usize, Vec<u8>)>),
    /// The script drops it.
    Dropped,
    /// Events, but not the one of the dead letter.
    Gone,
    /// The dead letter names a destination that does not exist.
    NoDestination(DestinationName),
    /// The dead letter does not name its destination: it was written when there was only one.
    Ambiguous,
    /// No script is known for its logstore, or several are.
    NoScript,
    /// It fails.
    Failed(HookError),
}

/// Runs scripts over the logs of letters. Each shard has a state of its own, as when its logs were pulled.
pub struct Remaker {
    scripts: ReplayScripts,
    config: script::Config,
    formats: Formats,
    hooks: BTreeMap<(String, String, ShardId), Hook>,
}

impl Remaker {
    /// With these scripts, for destinations of these formats.
    #[must_use]
    pub fn new(scripts: ReplayScripts, config: script::Config, formats: impl Into<Formats>) -> Self {
        Self { scripts, config, formats: formats.into(), hooks: BTreeMap::new() }
    }

    /// The result of the script for the log of a dead letter.
    ///
    /// # Errors
    /// The script does not load.
    pub fn make(&mut self, record: &Record) -> Result<Remade, HookError> {
        let origin = &record.origin;
        let about = match (&record.destination, origin.event) {
            (Some(name), _) => match self.formats.position(name) {
                Some(output) => Some(output),
                None => return Ok(Remade::NoDestination(name.clone())),
            },
            (None, Some(_)) if self.formats.len() > 1 => return Ok(Remade::Ambiguous),
            (None, Some(_)) => Some(0),
            (None, None) => None,
        };
        let key = (origin.project.clone(), origin.logstore.clone(), origin.shard);
        let hook = match self.hooks.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let Some((source, script)) = self.scripts.of(origin) else { return Ok(Remade::NoScript) };
                let (project, logstore, shard) = entry.key().clone();
                let meta = Meta { source, project, logstore, shard };
                entry.insert(Hook::load(script, &self.config, self.formats.clone(), meta)?)
            }
        };
        let mut made = hook.run(&page(record)).expect("the page was written here");
        if let Some(failed) = made.failed.pop() {
            return Ok(Remade::Failed(failed.error));
        }
        let of_output = |(output, events): (usize, Events)| {
            (0..events.len()).map(|event| (output, events.get(event).to_vec())).collect::<Vec<_>>()
        };
        if made.outputs.iter().all(Events::is_empty) {
            return Ok(Remade::Dropped);
        }
        let outputs = made.outputs.into_iter().enumerate();
        let meant = outputs.filter(|(output, _)| about.is_none_or(|about| about == *output));
        let events: Vec<_> = meant.flat_map(of_output).collect();
        Ok(match origin.event {
            // The events of the log for other destinations were delivered before: its destination has none of them.
            None if events.is_empty() => Remade::Gone,
            None => Remade::Events(events),
            // The other events of the log were delivered when this one was refused.
            Some(event) => match events.into_iter().nth(event as usize) {
                Some(event) => Remade::Events(vec![event]),
                None => Remade::Gone,
            },
        })
    }
}

fn page(record: &Record) -> Page {
    page_of(record.origin.shard, record.origin.cursor.clone(), record.origin.log, &record.log)
}

#[cfg(test)]
mod tests;
