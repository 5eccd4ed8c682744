//! The program is killed again and again.

use std::time::{Duration, Instant};

use super::bench::{Bench, servers};
use super::program::Program;

/// Number of kills, unless `FORWARDER_KILLS` is set. The gate kills 50 times.
const KILLS: usize = 5;

/// Logs in a group.
const GROUP_LOGS: u64 = 20;

const SHARDS: u32 = 4;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Two consumers of one group are killed at any moment and restarted at once: mostly under their old name, so that they
/// get their shards back at once, sometimes under a new one, so that SLS must first notice that the old one is gone.
#[tokio::test(flavor = "multi_thread")]
async fn f74_sigkill_at_any_moment_loses_nothing_and_repeats_only_what_was_not_saved() {
    let kills = std::env::var("FORWARDER_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let bench = Bench::with(servers(SHARDS)).await;
    let mut dice = Dice(20_260_131);
    let mut names = [0, 1];
    let mut programs: [Program; 2] = names.map(|name| bench.start(&format!("c{name}")));
    let mut next_kill = [Instant::now(); 2];
    let mut may_repeat = 0;
    let mut turn = 0;
    let mut killed = 0;
    while killed < kills {
        bench.put(turn % SHARDS, 1, GROUP_LOGS);
        turn += 1;
        for slot in 0..2 {
            if Instant::now() < next_kill[slot] {
                continue;
            }
            programs[slot].kill();
            killed += 1;
            may_repeat += bench.oracle.exposed();
            if dice.below(10) == 0 {
                names[slot] = names.iter().max().unwrap() + 1;
            }
            programs[slot] = bench.start(&format!("c{}", names[slot]));
            next_kill[slot] = Instant::now() + Duration::from_millis(50 + dice.below(1000));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.settled().await;
    let (logs, repeats) = (bench.oracle.expected(), bench.oracle.repeats());
    let saves = bench.oracle.saves().len();
    println!("{killed} kills: {logs} logs, {saves} saves, {repeats} repeats, at most {may_repeat}");
    // A request that was on the wire when its sender died may be accepted after the count: one group for each kill.
    let on_the_wire = killed * usize::try_from(GROUP_LOGS).unwrap();
    assert!(repeats <= may_repeat + on_the_wire, "{repeats} repeats");
}
