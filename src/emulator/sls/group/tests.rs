use proptest::prelude::*;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn shards(count: u32) -> Shards {
    (0..count).map(|id| (id, Shard::new(id, 0, u128::MAX, Vec::new(), at(0)))).collect()
}

/// Makes `parent` read-only and adds a child of it.
fn split(shards: &mut Shards, parent: u32, child: u32) {
    shards.get_mut(&parent).unwrap().readonly = true;
    shards.insert(child, Shard::new(child, 0, u128::MAX, vec![parent], at(0)));
}

fn group(shards: &Shards) -> ConsumerGroup {
    ConsumerGroup::new(TIMEOUT, false, shards)
}

fn beat(
    group: &mut ConsumerGroup,
    shards: &Shards,
    consumer: &str,
    held: &[u32],
    second: u64,
) -> Result<Vec<u32>, String> {
    group
        .heartbeat(consumer, &held.iter().copied().collect(), shards, at(second))
        .map_err(|refusal| refusal.code.into_owned())
}

fn save(shard: u32, cursor: i64, consumer: &str, forced: bool) -> Save {
    Save { shard, cursor, consumer: consumer.to_owned(), forced }
}

fn try_save(group: &mut ConsumerGroup, shards: &Shards, save: Save, second: u64) -> Result<(), (u16, String)> {
    group
        .save(save, Fence::default(), shards, at(second))
        .map_err(|refusal| (refusal.status, refusal.code.into_owned()))
}

#[test]
fn the_first_consumer_gets_every_shard() {
    let shards = shards(3);
    let mut group = group(&shards);
    assert_eq!(beat(&mut group, &shards, "a", &[], 0), Ok(vec![0, 1, 2]));
}

#[test]
fn a_newcomer_gets_shards_only_after_the_holder_stops_listing_them() {
    let shards = shards(4);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    assert_eq!(beat(&mut group, &shards, "b", &[], 1), Ok(vec![]));
    assert_eq!(beat(&mut group, &shards, "a", &[0, 1, 2, 3], 2), Ok(vec![0, 1]));
    assert_eq!(beat(&mut group, &shards, "b", &[], 3), Ok(vec![]));
    assert_eq!(beat(&mut group, &shards, "a", &[0, 1, 2], 4), Ok(vec![0, 1]));
    assert_eq!(beat(&mut group, &shards, "b", &[], 5), Ok(vec![3]));
    assert_eq!(beat(&mut group, &shards, "a", &[0, 1], 6), Ok(vec![0, 1]));
    assert_eq!(beat(&mut group, &shards, "b", &[3], 7), Ok(vec![2, 3]));
}

#[test]
fn an_unknown_consumer_that_claims_shards_has_to_rejoin_with_none() {
    let shards = shards(1);
    let mut group = group(&shards);
    assert_eq!(beat(&mut group, &shards, "a", &[0], 0), Err("NotExistConsumerWithBody".to_owned()));
    assert_eq!(beat(&mut group, &shards, "a", &[], 0), Ok(vec![0]));
}

#[test]
fn a_consumer_silent_beyond_the_timeout_loses_all_its_shards() {
    let shards = shards(2);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    assert_eq!(beat(&mut group, &shards, "b", &[], 10), Ok(vec![]), "a is just in time");
    assert_eq!(beat(&mut group, &shards, "b", &[], 11), Ok(vec![0, 1]));
    assert_eq!(beat(&mut group, &shards, "a", &[0, 1], 12), Err("NotExistConsumerWithBody".to_owned()));
}

#[test]
fn a_restart_under_the_same_name_gets_its_shards_back_at_once() {
    let shards = shards(2);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    beat(&mut group, &shards, "a", &[0, 1], 1).unwrap();
    assert_eq!(beat(&mut group, &shards, "a", &[], 2), Ok(vec![0, 1]));
}

#[test]
fn the_holder_keeps_a_shard_whose_next_consumer_went_silent() {
    let shards = shards(2);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    beat(&mut group, &shards, "b", &[], 1).unwrap();
    assert_eq!(beat(&mut group, &shards, "a", &[0, 1], 10), Ok(vec![0]));
    assert_eq!(beat(&mut group, &shards, "a", &[0, 1], 12), Ok(vec![0, 1]));
}

#[test]
fn more_consumers_than_shards_stand_by() {
    let shards = shards(1);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    assert_eq!(beat(&mut group, &shards, "b", &[], 1), Ok(vec![]));
    assert_eq!(beat(&mut group, &shards, "a", &[0], 2), Ok(vec![0]));
}

#[test]
fn only_the_holder_saves_without_force_until_it_releases_the_shard() {
    let shards = shards(2);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    beat(&mut group, &shards, "b", &[], 0).unwrap();
    let mismatch = Err((400, "ConsumerNotMatch".to_owned()));
    assert_eq!(try_save(&mut group, &shards, save(1, 7, "a", false), 1), Ok(()), "in transfer");
    assert_eq!(try_save(&mut group, &shards, save(1, 8, "b", false), 1), mismatch);
    assert_eq!(beat(&mut group, &shards, "a", &[0], 2), Ok(vec![0]));
    assert_eq!(try_save(&mut group, &shards, save(1, 9, "a", false), 3), mismatch);
    assert_eq!(try_save(&mut group, &shards, save(1, 9, "b", false), 3), Ok(()));
    assert_eq!(
        try_save(&mut group, &shards, save(1, 9, "nobody", false), 3),
        Err((404, "ConsumerNotExist".to_owned()))
    );
    assert_eq!(try_save(&mut group, &shards, save(5, 9, "a", true), 3), Err((404, "ShardNotExist".to_owned())));
    assert_eq!(group.slots()[&1].checkpoint, Some(Checkpoint { cursor: 9, updated: at(3), consumer: "b".to_owned() }));
    assert_eq!(group.saves().map(|save| save.cursor).collect::<Vec<_>>(), [7, 9]);
}

#[test]
fn force_moves_the_checkpoint_of_another_consumer_backwards() {
    let shards = shards(1);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    try_save(&mut group, &shards, save(0, 20, "a", false), 1).unwrap();
    assert_eq!(try_save(&mut group, &shards, save(0, 3, "gone", true), 2), Ok(()));
    assert_eq!(group.slots()[&0].checkpoint.as_ref().unwrap().cursor, 3);
}

#[test]
fn a_fenced_save_can_be_refused_as_a_missing_consumer_instead() {
    let shards = shards(2);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    group.assign(0, "b", &shards, at(0)).unwrap();
    let refused = group.save(save(0, 1, "a", false), Fence::NotExist, &shards, at(1)).unwrap_err();
    assert_eq!((refused.status, refused.code.as_ref()), (404, "ConsumerNotExist"));
}

#[test]
fn an_evicted_consumer_cannot_save() {
    let shards = shards(1);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    assert_eq!(try_save(&mut group, &shards, save(0, 1, "a", false), 11), Err((404, "ConsumerNotExist".to_owned())));
}

#[test]
fn a_read_only_shard_saved_at_its_end_is_finished_and_its_last_save_can_be_repeated() {
    let mut shards = shards(1);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    split(&mut shards, 0, 1);
    let end = shards[&0].end();
    assert_eq!(beat(&mut group, &shards, "a", &[0], 1), Ok(vec![0, 1]));
    try_save(&mut group, &shards, save(0, end, "a", false), 1).unwrap();
    assert_eq!(beat(&mut group, &shards, "a", &[0, 1], 2), Ok(vec![1]));
    assert_eq!(try_save(&mut group, &shards, save(0, end, "a", false), 2), Ok(()));
    assert_eq!(
        try_save(&mut group, &shards, save(0, end - 1, "a", false), 2),
        Err((400, "ConsumerNotMatch".to_owned()))
    );
    assert_eq!(group.slots()[&0].phase, Phase::Over(Some("a".to_owned())));
}

#[test]
fn a_writable_shard_saved_at_its_end_is_not_finished() {
    let shards = shards(1);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    try_save(&mut group, &shards, save(0, shards[&0].end(), "a", false), 1).unwrap();
    assert_eq!(beat(&mut group, &shards, "a", &[0], 2), Ok(vec![0]));
}

#[test]
fn forcing_a_finished_shard_elsewhere_reopens_it() {
    let mut shards = shards(1);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    split(&mut shards, 0, 1);
    let end = shards[&0].end();
    try_save(&mut group, &shards, save(0, end, "a", true), 1).unwrap();
    assert_eq!(beat(&mut group, &shards, "a", &[], 1), Ok(vec![1]));
    try_save(&mut group, &shards, save(0, end - 1, "", true), 1).unwrap();
    assert_eq!(beat(&mut group, &shards, "a", &[], 1), Ok(vec![0, 1]));
}

#[test]
fn in_an_ordered_group_children_wait_for_every_ancestor() {
    let mut shards = shards(1);
    let mut group = ConsumerGroup::new(TIMEOUT, true, &shards);
    split(&mut shards, 0, 1);
    split(&mut shards, 1, 2);
    assert_eq!(beat(&mut group, &shards, "a", &[], 0), Ok(vec![0]));
    // Finishing the middle one alone does not free its child.
    try_save(&mut group, &shards, save(1, shards[&1].end(), "", true), 0).unwrap();
    assert_eq!(beat(&mut group, &shards, "a", &[0], 1), Ok(vec![0]));
    try_save(&mut group, &shards, save(0, shards[&0].end(), "a", false), 1).unwrap();
    assert_eq!(beat(&mut group, &shards, "a", &[0], 2), Ok(vec![2]));
}

#[test]
fn turning_order_off_frees_waiting_shards_and_turning_it_on_affects_only_later_ones() {
    let mut shards = shards(1);
    let mut group = ConsumerGroup::new(TIMEOUT, true, &shards);
    split(&mut shards, 0, 1);
    assert_eq!(beat(&mut group, &shards, "a", &[], 0), Ok(vec![0]));
    group.update(None, Some(false), &shards);
    assert_eq!(beat(&mut group, &shards, "a", &[0], 1), Ok(vec![0, 1]));
    group.update(None, Some(true), &shards);
    split(&mut shards, 1, 2);
    assert_eq!(beat(&mut group, &shards, "a", &[0, 1], 2), Ok(vec![0, 1]));
}

#[test]
fn a_manually_assigned_shard_moves_at_once_and_a_rebalanced_one_waits() {
    let shards = shards(4);
    let mut group = group(&shards);
    beat(&mut group, &shards, "a", &[], 0).unwrap();
    beat(&mut group, &shards, "b", &[], 0).unwrap();
    beat(&mut group, &shards, "a", &[0, 1], 0).unwrap();
    group.assign(1, "b", &shards, at(1)).unwrap();
    assert_eq!(group.slots()[&1].holder(), Some("b"));
    group.hand_over(0, "b", &shards, at(1)).unwrap();
    assert_eq!(group.slots()[&0].holder(), Some("a"));
    group.evict("a", &shards);
    assert_eq!(beat(&mut group, &shards, "b", &[], 2), Ok(vec![0, 1, 2, 3]));
}

/// A consumer that follows the rules: it starts the shards that it is assigned, and lists a shard until it has released
/// it.
#[derive(Debug, Default)]
struct Player {
    held: BTreeSet<u32>,
    leaving: BTreeSet<u32>,
    heard: Option<u64>,
}

#[derive(Debug, Clone)]
enum Step {
    Beat(usize),
    WindDown(usize),
    Finish(usize),
    Split(u32),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..4usize).prop_map(Step::Beat),
        4 => (0..4usize).prop_map(Step::WindDown),
        2 => (0..4usize).prop_map(Step::Finish),
        1 => (0..8u32).prop_map(Step::Split),
        4 => (1..6u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever consumers do, their numbers of shards differ by one at most, and a shard is read by one consumer at a
    /// time. Exempt is a consumer that outlived its timeout: it has to know that by itself.
    #[test]
    fn consumers_that_follow_the_protocol_never_share_a_shard(steps in steps(), count in 1..6u32, order: bool) {
        let mut shards = shards(count);
        let mut group = ConsumerGroup::new(TIMEOUT, order, &shards);
        let mut players: [Player; 4] = Default::default();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::WindDown(player) => {
                    let leaving = std::mem::take(&mut players[player].leaving);
                    players[player].held.retain(|shard| !leaving.contains(shard));
                }
                Step::Finish(player) => {
                    let Some(shard) = players[player].held.first().copied() else { continue };
                    let saved = save(shard, shards[&shard].end(), &player.to_string(), false);
                    let _ = try_save(&mut group, &shards, saved, now);
                }
                Step::Split(parent) => {
                    if shards.get(&parent).is_some_and(|shard| !shard.readonly) {
                        let next = shards.len() as u32;
                        split(&mut shards, parent, next);
                    }
                }
                Step::Beat(index) => {
                    let player = &mut players[index];
                    let answer = group.heartbeat(&index.to_string(), &player.held, &shards, at(now));
                    match answer {
                        Ok(given) => {
                            player.leaving.extend(player.held.iter().filter(|shard| !given.contains(shard)));
                            player.leaving.retain(|shard| !given.contains(shard));
                            player.held.extend(given);
                            player.heard = Some(now);
                        }
                        Err(_) => *player = Player::default(),
                    }
                    let mut counts: BTreeMap<&str, usize> =
                        group.consumers().keys().map(|name| (name.as_str(), 0)).collect();
                    for slot in group.slots().values() {
                        if let Phase::AlreadyAlloc(next) | Phase::Transfer { to: next, .. } = &slot.phase {
                            *counts.get_mut(next.as_str()).expect("shards belong to existing consumers") += 1;
                        }
                        let free = slot.phase == Phase::NotAlloc;
                        prop_assert!(!free || group.consumers().is_empty(), "somebody is there to take it");
                    }
                    let (most, least) = (counts.values().max(), counts.values().min());
                    prop_assert!(most.zip(least).is_none_or(|(most, least)| most - least <= 1), "{counts:?}");
                }
            }
            let lively = |player: &&Player| player.heard.is_some_and(|heard| now - heard <= TIMEOUT.as_secs());
            let mut holders: BTreeMap<u32, usize> = BTreeMap::new();
            for shard in players.iter().filter(lively).flat_map(|player| &player.held) {
                *holders.entry(*shard).or_default() += 1;
            }
            // A finished shard has no owner: both the consumer that finished it and others may still list it.
            for (shard, holders) in holders {
                prop_assert!(holders <= 1, "shard {shard} is held by {holders}");
            }
        }
    }
}
