//! The model of SLS as a source: calls take time, fail, or succeed while their reply gets lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forwarder::core::budget::Credit;
use forwarder::core::cause::Cause;
use forwarder::core::cursor::{Bound, Cursor, ShardId, Start};
use forwarder::core::page::Page;
use forwarder::core::source::{Checkpoint, Source, SourceError};
use forwarder::emulator::sls::group::{Fence, Save};
use forwarder::emulator::sls::refusal::Refusal;
use forwarder::sls::api::{SavedAt, Shard};
use forwarder::sls::error;
use forwarder::sls::error::Verdict;
use forwarder::sls::group_signs::GroupSigns;
use forwarder::sls::group_start::{GroupStart, ShardStart};
use forwarder::sls::message as sls;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::world::{Call, GROUP, Inner, Outage, World};

pub const GROUP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a member waits for the answer to a save.
pub const SAVE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a look at the checkpoints may add to a heartbeat.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// SLS, as seen by one member.
#[derive(Clone)]
pub struct SimSource {
    pub world: World,
    pub member: String,
    /// The group as the member saw it when it joined.
    pub group_start: Arc<OnceLock<GroupStart>>,
    /// A call was told that the group, or the member in it, does not exist, after the first look at it.
    pub group_missing: Arc<AtomicBool>,
    /// What else shows that the group was created again.
    pub signs: Arc<Mutex<GroupSigns>>,
}

impl SimSource {
    /// One call: the request arrives, is executed (or not), and the reply arrives (or not).
    async fn call<T>(&self, call: Call, act: impl FnOnce(&mut Inner) -> Result<T, Refusal>) -> Result<T, SourceError> {
        self.world.bug(&self.member, call);
        *self.world.lock().calls.entry(call).or_default() += 1;
        travel(&self.world, &self.member, call, "request").await?;
        let done = {
            let mut world = self.world.lock();
            act(&mut world)
        };
        travel(&self.world, &self.member, call, "reply").await?;
        done.map_err(|refusal| self.refused(call, refusal))
    }

    /// Records whether the group may have been created again, as the program's client does.
    fn refused(&self, call: Call, refusal: Refusal) -> SourceError {
        if matches!(&*refusal.code, "ConsumerGroupNotExist" | "NotExistConsumerWithBody") {
            self.group_missing.store(true, Relaxed);
        }
        refused(&self.world, &self.member, call, refusal)
    }

    /// Reads the state of the group, as the program's client does.
    pub async fn learn(&self) -> Result<(), SourceError> {
        let known = self.signs().known();
        let (shards, saved, now) = self
            .call(Call::Group, |world| {
                let saved = Self::saved(world)?;
                let now = world.now();
                let shards = world.logstore().shards().values().map(|shard| Shard {
                    id: shard.id,
                    status: if shard.readonly { "readonly" } else { "readwrite" }.to_owned(),
                    begin_key: format!("{:032x}", shard.begin_key),
                    end_key: format!("{:032x}", shard.end_key),
                    created: shard.created.as_secs() as i64,
                });
                Ok((shards.collect::<Vec<_>>(), saved, now))
            })
            .await?;
        self.look(&known, &saved);
        // The first look has seen the earliest state.
        if self.group_start.set(GroupStart::new(&shards, &saved, Some(now.as_secs() as i64))).is_ok() {
            self.group_missing.store(false, Relaxed);
        }
        Ok(())
    }

    /// The checkpoints of the group.
    fn saved(world: &mut Inner) -> Result<Vec<SavedAt>, Refusal> {
        let now = world.now();
        let group = world.logstore().groups(now).get(GROUP).ok_or_else(|| Refusal::group(GROUP))?;
        let saved = group.slots().iter().filter_map(|(shard, slot)| Some((*shard, slot.checkpoint.clone()?)));
        let saved = saved.map(|(shard, saved)| SavedAt {
            shard,
            cursor: Cursor::from_number(saved.cursor),
            consumer: saved.consumer,
            micros: saved.updated.as_micros() as i64,
        });
        Ok(saved.collect())
    }

    fn look(&self, known: &BTreeSet<ShardId>, saved: &[SavedAt]) {
        self.note(self.signs().look(known, saved.iter().map(|saved| ShardId(saved.shard))));
    }

    fn signs(&self) -> MutexGuard<'_, GroupSigns> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a sign that the group was created again.
    fn note(&self, is_sign: bool) {
        self.group_missing.fetch_or(is_sign, Relaxed);
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
        let held_up = call == Call::Save && what == "request" && world.slow_saves > 0;
        world.slow_saves -= u32::from(held_up);
        let slow = world.trouble && world.rng.one_in(40);
        let delay = if held_up {
            SAVE_PATIENCE * 8 / 5
        } else if slow {
            world.rng.millis(1_000, 12_000)
        } else {
            world.rng.millis(1, 40)
        };
        let lost = world.trouble && world.rng.one_in(25);
        (delay, lost, world.cut_off.get(member).copied())
    };
    world.passes(delay).await;
    if let Some(until) = cut_off {
        sleep_until(until).await;
        return Err(busy("cut off"));
    }
    if what == "request" {
        let outage = world.lock().outage;
        match outage {
            Some(Outage::Throttled) => {
                let cause = Cause::new("ReadQuotaExceed");
                return Err(SourceError::Busy { retry_after: Some(Duration::from_secs(2)), cause });
            }
            Some(Outage::Expired) => return Err(SourceError::Refused(Cause::new("the security token has expired"))),
            Some(Outage::Deleted) => return Err(SourceError::Absent(Cause::new("there is no such logstore"))),
            Some(Outage::Slow) => world.passes(Duration::from_secs(10)).await,
            None => {}
        }
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
                _ => Ok(world.logstore().group(GROUP)?.timeout()),
            }
        })
        .await
    }

    async fn heartbeat(&self, held: &BTreeSet<ShardId>) -> Result<BTreeSet<ShardId>, SourceError> {
        let has_none = held.is_empty();
        let held: BTreeSet<u32> = held.iter().map(|shard| shard.0).collect();
        let member = self.member.clone();
        self.world.lock().beats.entry(member.clone()).or_default().push(Instant::now());
        let assigned = self.call(Call::Heartbeat, move |world| {
            let now = world.now();
            world.logstore().groups(now);
            let assigned = world.logstore().heartbeat(GROUP, &member, &held, now);
            world.note(format!("{member} beats {held:?}: {assigned:?}"));
            if world.trouble && world.rng.one_in(50) {
                world.note("and is told that it has nothing");
                return Ok(BTreeSet::new());
            }
            Ok(assigned?.into_iter().map(ShardId).collect())
        });
        let assigned = assigned.await?;
        self.note(self.signs().heartbeat(Instant::now(), GROUP_TIMEOUT));
        if has_none && assigned.is_empty() && self.group_start.get().is_some() && self.signs().has_seen_none() {
            let known = self.signs().known();
            if let Ok(Ok(saved)) = timeout(LOOK_TIMEOUT, self.call(Call::Group, Self::saved)).await {
                self.look(&known, &saved);
            }
        }
        Ok(assigned)
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, SourceError> {
        let known = self.signs().known().intersection(&[shard].into()).copied().collect();
        let saved = self.call(Call::Checkpoint, |world| {
            Self::shard(world, shard)?;
            let group = world.logstore().group(GROUP)?;
            let checkpoint = group.slots().get(&shard.0).and_then(|slot| slot.checkpoint.clone());
            Ok(checkpoint.map(|checkpoint| Checkpoint {
                cursor: Cursor::from_number(checkpoint.cursor),
                consumer: checkpoint.consumer,
            }))
        });
        let saved = saved.await?;
        self.note(self.signs().look(&known, saved.iter().map(|_| shard)));
        Ok(saved)
    }

    async fn received_at(&self, shard: ShardId, cursor: &Cursor) -> Result<i64, SourceError> {
        let number = cursor.number().expect("the model hands out numbers");
        self.call(Call::Cursor, |world| {
            let received = Self::shard(world, shard)?.received(number);
            received.map(|at| at.as_secs() as i64).ok_or_else(Refusal::cursor)
        })
        .await
    }

    /// A logstore that is deleted here stays away.
    fn deletions(&self) -> u64 {
        0
    }

    fn consumer(&self) -> &str {
        &self.member
    }

    /// A save that is under way arrives even if its sender has lost the shard, or is dead.
    async fn save(&self, shard: ShardId, cursor: &Cursor) -> Result<(), SourceError> {
        let number = cursor.number().expect("the model hands out numbers");
        self.world.bug(&self.member, Call::Save);
        self.world.lock().acts(&self.member, shard.0, "saves");
        let (world, member) = (self.world.clone(), self.member.clone());
        let (sender, reply) = oneshot::channel();
        self.world.spawn(async move {
            let there = travel(&world, &member, Call::Save, "request").await;
            let saved = there.map(|()| {
                let mut world = world.lock();
                let now = world.now();
                world.logstore().groups(now);
                let fence = if world.rng.one_in(2) { Fence::NotMatch } else { Fence::NotExist };
                let save = Save { shard: shard.0, cursor: number, consumer: member.clone(), forced: false };
                let saved = match Self::shard(&mut world, shard).map(|_| ()) {
                    Ok(()) if world.trouble && world.rng.one_in(150) => Err(Refusal::cursor()),
                    Ok(()) => world.logstore().save(GROUP, save, fence, now),
                    gone => gone,
                };
                if saved.is_ok() {
                    world.accepted(&member, shard.0, number, sender.is_closed());
                }
                saved
            });
            let _ = sender.send(saved);
        });
        let reply = timeout(SAVE_PATIENCE, reply).await.map_err(|_| busy("no answer in time"))?;
        let saved = reply.map_err(|_| busy("the connection broke"))?;
        travel(&self.world, &self.member, Call::Save, "reply").await?;
        saved?.map_err(|refusal| self.refused(Call::Save, refusal))?;
        self.signs().save(shard);
        Ok(())
    }

    async fn cursor(&self, id: ShardId, asked: Start) -> Result<Cursor, SourceError> {
        let group_start = self.group_start.get().filter(|_| asked == Start::End);
        if group_start.is_some() {
            let known = self.signs().known();
            let saved = self.call(Call::Group, Self::saved).await?;
            self.look(&known, &saved);
        }
        let seen = group_start.map(|group| group.of(id, self.group_missing.load(Relaxed)));
        let start = match seen {
            Some(ShardStart::At(cursor)) => return Ok(cursor),
            Some(ShardStart::Position(start)) => start,
            None => asked,
        };
        self.call(Call::Cursor, |world| {
            let shard = Self::shard(world, id)?;
            let number = match start {
                Start::Begin => shard.begin(),
                Start::End => shard.end(),
                Start::Time(at) => shard.cursor_at(at.unsigned_abs()),
            };
            if asked == Start::End {
                world.starts(id.0, number);
            }
            Ok(Cursor::from_number(number))
        })
        .await
    }

    async fn bound(&self, id: ShardId, until: Start) -> Result<Bound, SourceError> {
        let Start::Time(second) = until else { unreachable!("the settings make a time of it") };
        self.call(Call::Cursor, |world| {
            let is_final = world.now().as_secs() as i64 > second;
            let number = Self::shard(world, id)?.cursor_at(second.unsigned_abs());
            Ok(Bound { cursor: Cursor::from_number(number), is_final })
        })
        .await
    }

    async fn progress(&self) -> Result<BTreeMap<ShardId, Option<Cursor>>, SourceError> {
        self.call(Call::Group, |world| {
            let now = world.now();
            let group = world.logstore().groups(now).get(GROUP).ok_or_else(|| Refusal::group(GROUP))?;
            let saved = group.slots().iter().map(|(shard, slot)| {
                let cursor = slot.checkpoint.as_ref().map(|saved| Cursor::from_number(saved.cursor));
                (ShardId(*shard), cursor)
            });
            Ok(saved.collect())
        })
        .await
    }

    async fn pull(
        &self,
        shard: ShardId,
        cursor: &Cursor,
        groups: u32,
        until: Option<&Cursor>,
        room: &mut Credit,
    ) -> Result<Page, SourceError> {
        let until = until.map(|until| until.number().expect("the model hands out numbers"));
        let number = cursor.number().expect("the model hands out numbers");
        let (slice, torn, off, at_end) = self
            .call(Call::Pull, |world| {
                let slice = Self::shard(world, shard)?.read(number, groups as usize, until)?;
                let back = world.trouble && world.rng.one_in(200);
                let off = if back { Some(1 + world.rng.below(5) as i64) } else { world.cursor_off };
                let lie = if world.trouble { world.rng.below(12) } else { 12 };
                let at_end = [Some(true), Some(false), None].get(lie as usize).copied().unwrap_or(Some(slice.at_end));
                let torn = world.trouble && world.rng.one_in(150);
                Ok((slice, torn, off, at_end))
            })
            .await?;
        let mut body = slice.fields.concat();
        if !room.grow(body.len()) {
            return Err(SourceError::NoRoom { bytes: body.len(), cause: Cause::new("no room") });
        }
        if torn {
            body.pop();
        }
        Ok(Page {
            shard,
            cursor: cursor.clone(),
            next: Cursor::from_number(off.map_or(slice.next, |off| number - off)),
            body: Bytes::from(body),
            groups: slice.fields.len() as u32,
            last_group: (!slice.fields.is_empty()).then_some(slice.next - 1),
            first_log: 0,
            at_end,
            received_at: slice.received.map(|at| at.as_secs() as i64),
            scanned_bytes: 0,
            packed: None,
            wire_bytes: 0,
        })
    }
}

fn busy(what: &str) -> SourceError {
    SourceError::Busy { retry_after: None, cause: Cause::new(what) }
}

/// The error that the client's own table makes of a refusal, whichever code the service uses for it in this run.
fn refused(world: &World, member: &str, call: Call, refusal: Refusal) -> SourceError {
    let other = world.lock().rng.one_in(2);
    let (code, message) = match refusal.code.as_ref() {
        "ConsumerNotExist" if other => ("ConsumerNotExsit", refusal.message),
        "ShardNotExist" if other => ("ShardNotExsit", refusal.message),
        "InvalidCursor" if other => ("ParameterInvalid", "Invalid cursor".to_owned()),
        code => (code, refusal.message),
    };
    world.lock().note(format!("{member} {call:?}: {code}"));
    let call = match call {
        Call::Group => sls::Call::CreateGroup,
        Call::Heartbeat => sls::Call::Heartbeat,
        Call::Checkpoint => sls::Call::Checkpoint,
        Call::Save => sls::Call::Save,
        Call::Cursor => sls::Call::Cursor,
        Call::Pull => sls::Call::Pull,
        Call::Send | Call::Poll | Call::Keep => unreachable!("SLS is not asked for it"),
    };
    let refusal = error::Refusal { status: refusal.status, code: code.to_owned(), message, ..Default::default() };
    match error::verdict(call, &refusal) {
        Verdict::Failed(fault) | Verdict::Clock(fault) | Verdict::Key(fault) | Verdict::Signature(fault) => fault,
        Verdict::AlreadyDone => busy("done already"),
    }
}
