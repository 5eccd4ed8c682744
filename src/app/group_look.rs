//! Looks at the whole group: how many shards the logstore has, who saved their checkpoints last, and which shards that
//! this process does not hold are not read. SLS does not report who holds a shard: checkpoints are the only sign of it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::retention::Retention;
use crate::admin::ShardOwner;
use crate::core::cursor::{ShardId, Start};
use crate::group::membership::View;
use crate::pipeline::Pace;
use crate::sls::api::{SavedAt, Shard};
use crate::sls::shard_state::{Seen, ShardPlace, ShardReport, judge, patience, sort};
use crate::sls::{InspectError, Sls};

/// Time between two looks. Each process whose status can be viewed sends two requests per look, and one or two more for
/// each shard that others have not saved for a while.
const INTERVAL: Duration = Duration::from_secs(60);

/// Shards that are looked at concurrently.
const AT_ONCE: usize = 4;

/// The last result.
#[derive(Debug, Default)]
pub(super) struct GroupLook(Mutex<Found>);

/// What a look found.
#[derive(Debug, Default, Clone)]
pub(super) struct Found {
    /// The number of shards; `None` if they cannot be listed.
    pub(super) listed_shards: Option<u64>,
    /// The consumer that last saved each shard; empty if that cannot be looked up.
    pub(super) owners: Vec<ShardOwner>,
    /// The shards that need attention and that this process did not hold, worst first.
    pub(super) unread: Vec<ShardReport>,
}

/// What a shard is judged by.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// Where a shard without a checkpoint begins.
    start: Start,
    /// Now, in unix seconds by the server's clock.
    now: i64,
    /// The group's timeout.
    timeout: Duration,
    retention: Option<Duration>,
}

impl GroupLook {
    /// The last result.
    pub(super) fn read(&self) -> Found {
        self.lock().clone()
    }

    /// Looks periodically; never returns.
    pub(super) async fn watch(
        &self,
        source: &Sls,
        pace: &Pace,
        timeout: Duration,
        view: watch::Receiver<View>,
        retention: &Retention,
    ) {
        // Shards of a process that has just ended are reassigned within the timeout.
        let judges_from = Instant::now() + patience(timeout);
        let mut is_denial_logged = false;
        loop {
            // An old result must not be shown as the current one.
            let shards = source.shards().await.inspect_err(|error| debug!(%error, "the shards cannot be listed")).ok();
            let saved =
                source.checkpoints().await.inspect_err(|error| debug!(%error, "no checkpoint can be read")).ok();
            // Beyond the end of the source nobody has to read.
            if let Some(saved) = saved.as_ref().filter(|_| Instant::now() >= judges_from && pace.until.is_none()) {
                let now = source.server_now();
                let rule = Rule { start: pace.start, now, timeout, retention: retention.read() };
                let held = view.borrow().shards.keys().copied().collect();
                let silent = silent(shards.as_deref(), saved, &held, rule);
                let before = self.read().unread;
                let (unread, denied) = unread(source, silent, &before, rule).await;
                self.lock().unread = unread;
                if denied && !std::mem::replace(&mut is_denial_logged, true) {
                    info!(
                        "it is not known whether the shards of other processes are read: grant log:GetCursorOrData on \
                         the logstore"
                    );
                }
            }
            let listed_shards = shards.map(|shards| shards.len() as u64);
            let owners = saved.unwrap_or_default().into_iter().map(|saved| owner(saved, source)).collect();
            {
                let mut found = self.lock();
                *found = Found { listed_shards, owners, unread: std::mem::take(&mut found.unread) };
            }
            sleep(INTERVAL).await;
        }
    }

    /// Every writer leaves the value consistent before it can panic.
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner(saved: SavedAt, source: &Sls) -> ShardOwner {
    // 0 is no time.
    let saved_at = Some(saved.micros / 1_000_000).filter(|second| *second > 0);
    let saved_at = saved_at.map_or(0, |second| source.by_our_clock(second));
    ShardOwner { shard: ShardId(saved.shard), consumer: saved.consumer, saved_at }
}

/// The shards that others may not be reading: those without a recent checkpoint. What is in them is not known yet.
/// Without the permission to list shards, only those with a checkpoint are known.
fn silent(shards: Option<&[Shard]>, saved: &[SavedAt], held: &BTreeSet<ShardId>, rule: Rule) -> Vec<Seen> {
    let known: Vec<(u32, bool)> = match shards {
        Some(shards) => shards.iter().map(|shard| (shard.id, shard.is_read_only())).collect(),
        None => saved.iter().map(|saved| (saved.shard, false)).collect(),
    };
    let seen = known.into_iter().filter(|(shard, _)| !held.contains(&ShardId(*shard))).map(|(shard, is_read_only)| {
        let saved = saved.iter().find(|saved| saved.shard == shard).cloned();
        Seen { shard, is_read_only, saved, place: ShardPlace::Hidden }
    });
    let is_recent = |saved: &SavedAt| saved.age(rule.now).is_some_and(|age| age <= patience(rule.timeout));
    seen.filter(|seen| !seen.saved.as_ref().is_some_and(is_recent)).collect()
}

/// Those of them that need attention, worst first, and whether a permission is missing. A shard that cannot be looked at
/// keeps its state of `before`.
async fn unread(source: &Sls, silent: Vec<Seen>, before: &[ShardReport], rule: Rule) -> (Vec<ShardReport>, bool) {
    let looks: Vec<_> = silent
        .into_iter()
        .map(async |seen| {
            let cursor = seen.saved.as_ref().map(|saved| &saved.cursor);
            (source.inspect_place(ShardId(seen.shard), cursor, rule.start).await, seen)
        })
        .collect();
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    let (mut unread, mut is_denied) = (Vec::new(), false);
    while let Some((place, seen)) = looks.next().await {
        match place {
            Ok(place) => unread.push(judge(Seen { place, ..seen }, rule.now, rule.timeout, rule.retention)),
            Err(error) => {
                debug!(?error, shard = seen.shard, "the shard of another process cannot be looked at");
                is_denied |= matches!(error, InspectError::Denied { .. });
                unread.extend(before.iter().find(|judged| judged.seen.shard == seen.shard).cloned());
            }
        }
    }
    unread.retain(|judged| judged.state.is_trouble());
    sort(&mut unread);
    (unread, is_denied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cursor::Cursor;

    #[cfg(feature = "emulator")]
    #[tokio::test]
    async fn a_shard_of_another_consumer_that_waits_without_a_save_is_found() {
        use crate::core::source::Source as _;
        use crate::emulator::sls::{self, Call, SlsEmulator, SlsFault};
        use crate::loggroup::proto::LogGroup;
        use crate::sls::shard_state::ShardState;
        use crate::sls::test_config::test_config;

        let emulator = SlsEmulator::start(sls::Config { shards: 5, ..sls::Config::default() }).await.unwrap();
        let config = test_config(emulator.address().port());
        let (project, logstore) = (config.project.clone(), config.logstore.clone());
        let source = Sls::new(&config).unwrap();
        source.ensure_group().await.unwrap();
        let put = |shard| emulator.put(&project, &logstore, shard, [LogGroup::default()]).unwrap();
        // Shard 0 is ours, 1 is held and not read, 2 was never read, 3 is read to its end, and 4 is empty.
        for shard in [0, 1, 3] {
            let end = source.cursor(ShardId(shard), Start::End).await.unwrap();
            source.force_checkpoint(ShardId(shard), &end).await.unwrap();
        }
        [0, 1, 2].into_iter().for_each(put);
        let (shards, saved) = (source.shards().await.unwrap(), source.checkpoints().await.unwrap());
        let rule = |seconds| Rule {
            start: Start::Begin,
            now: source.server_now() + seconds,
            timeout: Duration::from_secs(60),
            retention: None,
        };
        let held = [ShardId(0)].into();
        let find = async |seconds, before: &[ShardReport]| {
            let silent = silent(Some(&shards), &saved, &held, rule(seconds));
            unread(&source, silent, before, rule(seconds)).await
        };
        let of = |found: &[ShardReport]| -> Vec<_> { found.iter().map(|one| (one.seen.shard, one.state)).collect() };
        let (now, _) = find(0, &[]).await;
        assert_eq!(of(&now), [], "they may still be reassigned");
        let expected = [(1, ShardState::StandsStill), (2, ShardState::Unread)];
        let (later, is_denied) = find(300, &[]).await;
        assert_eq!((of(&later), is_denied), (expected.to_vec(), false));

        let denied = SlsFault::status(401, "Unauthorized", "denied by sts or ram, action: x, resource: y");
        emulator.faults().next(Call::CursorTime, denied, u32::MAX);
        let (kept, is_denied) = find(300, &later).await;
        assert_eq!((of(&kept), is_denied), (expected.to_vec(), true), "nothing shows that they are read");
    }

    #[test]
    fn only_shards_without_a_recent_checkpoint_cost_further_requests() {
        let saved = |shard, age: i64| SavedAt {
            shard,
            cursor: Cursor::from_number(1),
            consumer: "x".to_owned(),
            micros: (1_000 - age) * 1_000_000,
        };
        let rule = Rule { start: Start::Begin, now: 1_000, timeout: Duration::from_secs(90), retention: None };
        let found = silent(None, &[saved(0, 5), saved(1, 90), saved(2, 91), saved(3, 500)], &[ShardId(3)].into(), rule);
        assert_eq!(found.iter().map(|seen| seen.shard).collect::<Vec<_>>(), [2]);
    }
}
