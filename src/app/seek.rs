//! Moves the checkpoints of a group: plans the move, finds live owners, and makes the move.

use std::time::Duration;

use crate::core::cursor::{Cursor, ShardId, Start};
use crate::core::source::{Source as _, SourceError};
use crate::sls::Sls;
use crate::sls::api::SavedAt;

/// The target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A position, for which each shard has its own cursor.
    Position(Start),
    /// A cursor, of one shard.
    Cursor(Cursor),
}

/// A position in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The cursor.
    pub cursor: Cursor,
    /// When SLS received the log group there, in unix seconds. `None`: there is no log group, because none was written
    /// yet or it has expired.
    pub received_at: Option<i64>,
}

/// A move of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// Where its checkpoint is; `None` if none was saved.
    pub from: Option<Spot>,
    /// Where it is moved to.
    pub to: Spot,
    /// Who holds the shard, as far as SLS reports it.
    pub holder: Option<Holder>,
}

/// A consumer that holds a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// How long ago it saved.
    pub saved_ago: Duration,
}

/// The effect of a move on the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// None: the checkpoint is already there.
    None,
    /// This many log groups are delivered again.
    Repeats(u64),
    /// This many log groups are never delivered.
    Skips(u64),
    /// The cursors have no numbers, so it is unknown.
    Unknown,
}

impl Move {
    /// The effect on the logs.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let Some(from) = &self.from else { return Effect::Unknown };
        if from.cursor == self.to.cursor {
            return Effect::None;
        }
        match (from.cursor.number(), self.to.cursor.number()) {
            (Some(from), Some(to)) if to < from => Effect::Repeats(from.abs_diff(to)),
            (Some(from), Some(to)) => Effect::Skips(from.abs_diff(to)),
            _ => Effect::Unknown,
        }
    }

    /// Whether the checkpoint, found at `cursor` after the move, was put back by a save that the holder had under way.
    /// A holder that noticed the move continues from there instead.
    #[must_use]
    pub fn is_undone_by(&self, cursor: &Cursor) -> bool {
        let numbers =
            (self.from.as_ref().and_then(|from| from.cursor.number()), self.to.cursor.number(), cursor.number());
        match numbers {
            (Some(from), Some(to), Some(found)) if to < from => found >= from,
            (_, Some(to), Some(found)) => found < to,
            _ => *cursor != self.to.cursor,
        }
    }
}

/// Why nothing can be moved.
#[derive(Debug, thiserror::Error)]
pub enum SeekError {
    /// SLS cannot be reached, or refuses.
    #[error("SLS: {0}")]
    Source(#[from] SourceError),
    /// The consumer group does not exist.
    #[error(
        "there is no consumer group {0} in the logstore, and so no checkpoint: the first start of forwarder creates \
         it, at sls.start"
    )]
    NoGroup(String),
    /// There is no such shard.
    #[error("there is no shard {shard}: the logstore has {known}")]
    NoShard {
        /// The requested number.
        shard: u32,
        /// The existing shards.
        known: String,
    },
    /// The cursor belongs to no log of the shard.
    #[error("the cursor {cursor} is not in shard {shard}, whose logs are from {begin} to {end}")]
    NoCursor {
        /// The shard.
        shard: ShardId,
        /// The requested cursor.
        cursor: Cursor,
        /// The oldest cursor.
        begin: Cursor,
        /// The cursor of the next log group to be written.
        end: Cursor,
    },
}

/// The planned moves: of one shard, or of all that have a checkpoint or may get one.
///
/// # Errors
/// [`SeekError`]
pub async fn plan(sls: &Sls, group: &str, shard: Option<u32>, to: &Target) -> Result<Vec<Move>, SeekError> {
    let timeout = sls.group_timeout().await?.ok_or_else(|| SeekError::NoGroup(group.to_owned()))?;
    let mut known: Vec<u32> = sls.shards().await?.into_iter().map(|shard| shard.id).collect();
    known.sort_unstable();
    let shards = match shard {
        None => known,
        Some(shard) if known.contains(&shard) => vec![shard],
        Some(shard) => {
            let known = known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(SeekError::NoShard { shard, known });
        }
    };
    let saved = sls.checkpoints().await?;
    let mut moves = Vec::new();
    for shard in shards {
        let saved = saved.iter().find(|saved| saved.shard == shard);
        let shard = ShardId(shard);
        let from = match saved {
            Some(saved) => Some(spot(sls, shard, saved.cursor.clone()).await?),
            None => None,
        };
        let holder = match saved {
            Some(saved) => holder(sls, saved, timeout).await?,
            None => None,
        };
        moves.push(Move { shard, from, to: target(sls, shard, to).await?, holder });
    }
    Ok(moves)
}

async fn target(sls: &Sls, shard: ShardId, to: &Target) -> Result<Spot, SeekError> {
    match to {
        Target::Position(start) => Ok(spot(sls, shard, sls.cursor(shard, *start).await?).await?),
        Target::Cursor(cursor) => {
            let found = spot(sls, shard, cursor.clone()).await?;
            if found.received_at.is_some() {
                return Ok(found);
            }
            let (begin, end) = (sls.cursor(shard, Start::Begin).await?, sls.cursor(shard, Start::End).await?);
            if *cursor == end {
                return Ok(found);
            }
            Err(SeekError::NoCursor { shard, cursor: cursor.clone(), begin, end })
        }
    }
}

async fn spot(sls: &Sls, shard: ShardId, cursor: Cursor) -> Result<Spot, SourceError> {
    let received_at = match sls.received_at(shard, &cursor).await {
        Ok(second) => Some(second),
        Err(SourceError::Stale(_)) => None,
        Err(fault) => return Err(fault),
    };
    Ok(Spot { cursor, received_at })
}

/// The holder of a shard. SLS reports only who saved last. A consumer that saved within the timeout of the group counts
/// as alive; for another one, SLS is asked whether it still holds the shard.
async fn holder(sls: &Sls, saved: &SavedAt, timeout: Duration) -> Result<Option<Holder>, SourceError> {
    if saved.consumer.is_empty() {
        return Ok(None);
    }
    let saved_ago = Duration::from_secs(u64::try_from(sls.server_now() - saved.micros / 1_000_000).unwrap_or(0));
    if saved_ago > timeout && !sls.still_holds(saved).await? {
        return Ok(None);
    }
    Ok(Some(Holder { name: saved.consumer.clone(), saved_ago }))
}

/// Moves a checkpoint, whichever consumer holds the shard.
///
/// # Errors
/// SLS cannot be reached, or refuses.
pub async fn carry_out(sls: &Sls, wanted: &Move) -> Result<(), SourceError> {
    sls.force_checkpoint(wanted.shard, &wanted.to.cursor).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(number: i64) -> Spot {
        Spot { cursor: Cursor::from_number(number), received_at: None }
    }

    fn wanted(from: Option<i64>, to: i64) -> Move {
        Move { shard: ShardId(0), from: from.map(spot), to: spot(to), holder: None }
    }

    #[test]
    fn moving_a_checkpoint_back_repeats_logs_and_moving_it_ahead_skips_logs() {
        let effect = |from, to| wanted(from, to).effect();
        assert_eq!(effect(Some(10), 3), Effect::Repeats(7));
        assert_eq!(effect(Some(3), 10), Effect::Skips(7));
        assert_eq!(effect(Some(3), 3), Effect::None);
        assert_eq!(effect(None, 3), Effect::Unknown);
    }

    #[test]
    fn a_save_that_was_under_way_is_recognized_when_it_undoes_the_move() {
        let undone = |from, to, found| wanted(from, to).is_undone_by(&Cursor::from_number(found));
        assert!(undone(Some(10), 3, 10) && undone(Some(10), 3, 11), "moved back, and found where it was");
        assert!(!undone(Some(10), 3, 3) && !undone(Some(10), 3, 5), "it goes on from there");
        assert!(undone(Some(3), 10, 4), "moved ahead, and found behind");
        assert!(!undone(Some(3), 10, 10) && !undone(Some(3), 10, 12));
    }
}
