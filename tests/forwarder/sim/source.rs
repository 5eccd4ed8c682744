//! The model of SLS as a source: calls take time, fail, or are done and their reply gets lost.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use forwarder::emulator::sls::group::{Fence, Save};
use forwarder::emulator::sls::refusal::Refusal;
use forwarder::model::{Cursor, Page, ShardId, Start};
use forwarder::source::{Cause, Checkpoint, Source, SourceError};
use tokio::time::sleep;

use super::world::{GROUP, Inner, World};

pub const GROUP_TIMEOUT: Duration = Duration::from_secs(30);

/// SLS as one member sees it.
pub struct SimSource {
    pub world: World,
    pub member: String,
}

impl SimSource {
    /// One call: there, done (or not), and back (or not).
    async fn call<T>(&self, act: impl FnOnce(&mut Inner) -> Result<T, Refusal>) -> Result<T, SourceError> {
        self.travel("request").await?;
        let done = {
            let mut world = self.world.lock();
            act(&mut world)
        };
        self.travel("reply").await?;
        done.map_err(verdict)
    }

    async fn travel(&self, what: &str) -> Result<(), SourceError> {
        let (delay, lost, cut_off) = {
            let mut world = self.world.lock();
            let slow = world.trouble && world.rng.one_in(40);
            let delay = if slow { world.rng.millis(1_000, 12_000) } else { world.rng.millis(1, 40) };
            let lost = world.trouble && world.rng.one_in(25);
            (delay, lost, world.cut_off.get(&self.member).copied())
        };
        sleep(delay).await;
        if let Some(until) = cut_off {
            tokio::time::sleep_until(until).await;
            return Err(busy("cut off"));
        }
        if lost {
            let mut world = self.world.lock();
            world.lost_replies += u64::from(what == "reply");
            world.note(format!("{}: {what} lost", self.member));
            return Err(busy("lost on the way"));
        }
        Ok(())
    }
}

impl Source for SimSource {
    async fn ensure_group(&self) -> Result<Duration, SourceError> {
        self.call(|world| {
            let logstore = world.logstore();
            match logstore.create_group(GROUP, GROUP_TIMEOUT, false) {
                Err(refusal) if refusal.code != "ConsumerGroupAlreadyExist" => Err(refusal),
                _ => Ok(GROUP_TIMEOUT),
            }
        })
        .await
    }

    async fn heartbeat(&self, held: &BTreeSet<ShardId>) -> Result<BTreeSet<ShardId>, SourceError> {
        let held: BTreeSet<u32> = held.iter().map(|shard| shard.0).collect();
        let member = self.member.clone();
        self.call(move |world| {
            let now = world.now();
            world.logstore().groups(now);
            let assigned = world.logstore().heartbeat(GROUP, &member, &held, now);
            world.note(format!("{member} beats {held:?}: {assigned:?}"));
            Ok(assigned?.into_iter().map(ShardId).collect())
        })
        .await
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, SourceError> {
        self.call(|world| {
            let group = world.logstore().group(GROUP)?;
            let checkpoint = group.slots().get(&shard.0).and_then(|slot| slot.checkpoint.clone());
            Ok(checkpoint.map(|checkpoint| Checkpoint {
                cursor: Cursor::from_number(checkpoint.cursor),
                consumer: checkpoint.consumer,
            }))
        })
        .await
    }

    async fn received_at(&self, shard: ShardId, cursor: &Cursor) -> Result<i64, SourceError> {
        let number = cursor.number().expect("the model hands out numbers");
        self.call(|world| {
            let received = world.logstore().shard(shard.0)?.received(number);
            received.map(|at| at.as_secs() as i64).ok_or_else(Refusal::cursor)
        })
        .await
    }

    fn consumer(&self) -> &str {
        &self.member
    }

    async fn save(&self, shard: ShardId, cursor: &Cursor) -> Result<(), SourceError> {
        let number = cursor.number().expect("the model hands out numbers");
        self.world.lock().acts(&self.member, shard.0, "saves");
        let member = self.member.clone();
        self.call(move |world| {
            let now = world.now();
            world.logstore().groups(now);
            let save = Save { shard: shard.0, cursor: number, consumer: member.clone(), forced: false };
            world.logstore().save(GROUP, save, Fence::NotMatch, now)?;
            world.accepted(&member, shard.0, number);
            Ok(())
        })
        .await
    }

    async fn cursor(&self, shard: ShardId, start: Start) -> Result<Cursor, SourceError> {
        self.call(|world| {
            let shard = world.logstore().shard(shard.0)?;
            let number = match start {
                Start::Begin => shard.begin(),
                Start::End => shard.end(),
                Start::Time(at) => shard.cursor_at(at.unsigned_abs()),
            };
            Ok(Cursor::from_number(number))
        })
        .await
    }

    async fn pull(&self, shard: ShardId, cursor: &Cursor, groups: u32) -> Result<Page, SourceError> {
        let number = cursor.number().expect("the model hands out numbers");
        let slice = self.call(|world| world.logstore().shard(shard.0)?.read(number, groups as usize, None)).await?;
        Ok(Page {
            shard,
            cursor: cursor.clone(),
            next: Cursor::from_number(slice.next),
            body: Bytes::from(slice.fields.concat()),
            groups: slice.fields.len() as u32,
            last_group: (!slice.fields.is_empty()).then_some(slice.next - 1),
            first_log: 0,
            at_end: Some(slice.at_end),
            received_at: slice.received.map(|at| at.as_secs() as i64),
            scanned_bytes: 0,
        })
    }
}

fn busy(what: &str) -> SourceError {
    SourceError::Busy { retry_after: None, cause: Cause::new(what) }
}

/// What the client's table says of the codes that the model uses.
fn verdict(refusal: Refusal) -> SourceError {
    let cause = Cause::new(refusal.to_string());
    match refusal.code.as_ref() {
        "NotExistConsumerWithBody"
        | "ConsumerNotExist"
        | "ConsumerGroupNotExist"
        | "ConsumerNotMatch"
        | "ShardNotExist" => SourceError::Lost(cause),
        "InvalidCursor" => SourceError::Stale(cause),
        _ => SourceError::Refused(cause),
    }
}
