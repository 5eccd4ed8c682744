//! The model of SLS as a source: calls take time, fail, or are done and their reply gets lost.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use forwarder::emulator::sls::group::{Fence, Save};
use forwarder::emulator::sls::refusal::Refusal;
use forwarder::model::{Cursor, Page, ShardId, Start};
use forwarder::source::{Cause, Checkpoint, Source, SourceError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::world::{Call, GROUP, Inner, World};

pub const GROUP_TIMEOUT: Duration = Duration::from_secs(30);

/// SLS as one member sees it.
pub struct SimSource {
    pub world: World,
    pub member: String,
}

impl SimSource {
    /// One call: there, done (or not), and back (or not).
    async fn call<T>(&self, call: Call, act: impl FnOnce(&mut Inner) -> Result<T, Refusal>) -> Result<T, SourceError> {
        travel(&self.world, &self.member, call, "request").await?;
        let done = {
            let mut world = self.world.lock();
            act(&mut world)
        };
        travel(&self.world, &self.member, call, "reply").await?;
        if let Err(refusal) = &done {
            self.world.lock().note(format!("{} {call:?}: {refusal}", self.member));
        }
        done.map_err(verdict)
    }

    fn shard(world: &mut Inner, shard: ShardId) -> Result<&forwarder::emulator::sls::shard::Shard, Refusal> {
        if world.gone.contains(&shard.0) {
            return Err(Refusal::shard(shard.0));
        }
        world.logstore().shard(shard.0)
    }
}

async fn travel(world: &World, member: &str, call: Call, what: &str) -> Result<(), SourceError> {
    let (delay, lost, cut_off) = {
        let mut world = world.lock();
        let slow = world.trouble && world.rng.one_in(40);
        let delay = if slow { world.rng.millis(1_000, 12_000) } else { world.rng.millis(1, 40) };
        let lost = world.trouble && world.rng.one_in(25);
        (delay, lost, world.cut_off.get(member).copied())
    };
    world.passes(delay).await;
    if let Some(until) = cut_off {
        sleep_until(until).await;
        return Err(busy("cut off"));
    }
    let mut world = world.lock();
    if world.failing.get(&(member.to_owned(), call)).is_some_and(|until| Instant::now() < *until) {
        return Err(busy("500"));
    }
    if lost {
        world.lost_replies += u64::from(what == "reply");
        world.note(format!("{member}: {what} lost"));
        return Err(busy("lost on the way"));
    }
    Ok(())
}

impl Source for SimSource {
    async fn ensure_group(&self) -> Result<Duration, SourceError> {
        self.call(Call::Group, |world| {
            let ordered = world.ordered;
            match world.logstore().create_group(GROUP, GROUP_TIMEOUT, ordered) {
                Err(refusal) if refusal.code != "ConsumerGroupAlreadyExist" => Err(refusal),
                _ => Ok(GROUP_TIMEOUT),
            }
        })
        .await
    }

    async fn heartbeat(&self, held: &BTreeSet<ShardId>) -> Result<BTreeSet<ShardId>, SourceError> {
        let held: BTreeSet<u32> = held.iter().map(|shard| shard.0).collect();
        let member = self.member.clone();
        self.world.lock().beats.entry(member.clone()).or_default().push(Instant::now());
        self.call(Call::Heartbeat, move |world| {
            let now = world.now();
            world.logstore().groups(now);
            let assigned = world.logstore().heartbeat(GROUP, &member, &held, now);
            world.note(format!("{member} beats {held:?}: {assigned:?}"));
            Ok(assigned?.into_iter().map(ShardId).collect())
        })
        .await
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, SourceError> {
        self.call(Call::Checkpoint, |world| {
            Self::shard(world, shard)?;
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
        self.call(Call::Cursor, |world| {
            let received = Self::shard(world, shard)?.received(number);
            received.map(|at| at.as_secs() as i64).ok_or_else(Refusal::cursor)
        })
        .await
    }

    fn consumer(&self) -> &str {
        &self.member
    }

    /// A save that is under way arrives even when whoever sent it has lost the shard, or is dead.
    async fn save(&self, shard: ShardId, cursor: &Cursor) -> Result<(), SourceError> {
        let number = cursor.number().expect("the model hands out numbers");
        self.world.lock().acts(&self.member, shard.0, "saves");
        let (world, member) = (self.world.clone(), self.member.clone());
        let (sender, reply) = oneshot::channel();
        self.world.spawn(async move {
            let there = travel(&world, &member, Call::Save, "request").await;
            let saved = there.and_then(|()| {
                let mut world = world.lock();
                let now = world.now();
                world.logstore().groups(now);
                Self::shard(&mut world, shard).map_err(verdict)?;
                let save = Save { shard: shard.0, cursor: number, consumer: member.clone(), forced: false };
                world.logstore().save(GROUP, save, Fence::NotMatch, now).map_err(verdict)?;
                world.accepted(&member, shard.0, number, sender.is_closed());
                Ok(())
            });
            let _ = sender.send(saved);
        });
        let saved = reply.await.expect("the model always answers");
        travel(&self.world, &self.member, Call::Save, "reply").await?;
        saved
    }

    async fn cursor(&self, shard: ShardId, start: Start) -> Result<Cursor, SourceError> {
        self.call(Call::Cursor, |world| {
            let shard = Self::shard(world, shard)?;
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
        let (slice, stands) = self
            .call(Call::Pull, |world| {
                let slice = Self::shard(world, shard)?.read(number, groups as usize, None)?;
                Ok((slice, world.cursor_stands))
            })
            .await?;
        Ok(Page {
            shard,
            cursor: cursor.clone(),
            next: if stands { cursor.clone() } else { Cursor::from_number(slice.next) },
            body: Bytes::from(slice.fields.concat()),
            groups: slice.fields.len() as u32,
            last_group: (!slice.fields.is_empty()).then_some(slice.next - 1),
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
