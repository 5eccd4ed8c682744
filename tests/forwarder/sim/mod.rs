//! Simulates whole groups of members: seeded, on a paused clock, against the model of SLS that the emulator serves and
//! a model of a SIEM. In half of the runs the SIEM is a cluster of HEC collectors under the program's own client. Calls
//! fail, replies get lost, and members are killed, cut off, stopped and started.
//!
//! An oracle watches every send, every save and every answer of the ledgers. `FORWARDER_SIM_SEEDS=10000` runs more seeds,
//! `FORWARDER_SIM_SEED=17` runs one and prints its trace.
//!
//! What it detects, each planted once as a bug: a checkpoint saved before its batch is delivered (red at seed 0); a
//! dead letter that is not waited for (seed 0); a lease that outlasts the group's timeout, so that no member is fenced
//! (seed 9); `Tenure::holds` always true (seed 2, and `f10` of the scenes); an abandoned delivery treated as a finished
//! one (seed 2); saves with force (seed 0); a checkpoint moved by a part of a page that is not its last (seed 0, and
//! `f74` of the scenes); shards left out of the heartbeat before their tasks have ended (seed 6); under `end`, a child
//! of a split treated as a shard that existed when the group began (seed 34), the end taken for the moment when it
//! began (seed 13), a checkpoint forgotten that was seen before the group was deleted (seed 190), and a group not taken
//! for a new one that another member created again before this one's next heartbeat (seed 3164).
//!
//! With a cluster: a checkpoint that moves when events are accepted but not indexed
//! (`a_checkpoint_waits_until_the_events_are_indexed`), a poll error treated as an acknowledgement
//! (`a_poll_that_fails_confirms_nothing`), the weights of members ignored (`events_go_to_the_members…`), a member that
//! acknowledges nothing served as the others are (`a_member_that_acknowledges_nothing…`). With several
//! destinations: `to` ignored (seed 2), dead letters that an isolated destination missed recorded as delivered but not
//! sent (seed 2).
//!
//! In one history of four, each process has two to four sources, which have outages of their own. They share the
//! destinations, the script, the dead letters and a small memory limit. Detected: checkpoints of all sources saved in the
//! logstore of one (seed 3); shards with the same number counted together (seed 3, and `source_scenes`); memory of a
//! failed pull that is never released, or held until the next attempt while no memory is reserved for the other sources
//! (both `source_scenes`).
//!
//! What the scenes detect, each planted once: the timeout of a newly created group ignored, or its heartbeat interval
//! not used (`f11_f22`); a tenure that stays valid after its task has ended (`what_a_destination_kept`); a stop that
//! waits for a heartbeat (`f72`); a save of unknown outcome forgotten (`f07`); a cursor that may go back (`f30`); a
//! checkpoint not read before it is saved (`f20`); the position of a shard forgotten when its group is deleted, or not
//! saved again (`f22`); breakdowns not counted (`f83`); a shard asked back without a deadline (`f51`); a task restarted
//! for a tenure that has ended (`f17`); the ledger of a task that broke down left unbalanced (`f83`).
//!
//! Bugs that it found: a gap at the end of a shard was never saved, so that a read-only shard was never finished; a
//! checkpoint that an operator moved back was not noticed while its shard was idle; the HEC client checked whether it
//! still held the shard before it polled the collector for acknowledgements, but not again before it sent.

mod cluster_scenes;
mod collectors;
mod destination_scenes;
mod letters;
mod member;
mod rng;
mod scenario;
mod scenes;
mod sink;
mod source;
mod source_scenes;
mod world;

use scenario::{Outcome, simulate};

/// Seeds, unless `FORWARDER_SIM_SEEDS` says otherwise. The gate tries 1,000.
const SEEDS: u64 = 100;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_log_is_lost_and_no_shard_has_two_workers_whatever_fails() {
    if let Some(seed) = setting("FORWARDER_SIM_SEED") {
        let outcome = simulate(seed);
        println!("{}\n{outcome:?}", outcome.trace.join("\n"));
        assert_eq!(outcome.violations, Vec::<String>::new());
        return;
    }
    let seeds = setting("FORWARDER_SIM_SEEDS").unwrap_or(SEEDS);
    let mut total = Outcome::default();
    for seed in 0..seeds {
        let outcome = simulate(seed);
        assert!(
            outcome.violations.is_empty(),
            "seed {seed} breaks a promise; replay it with FORWARDER_SIM_SEED={seed}:\n{}\n\nlast steps:\n{}",
            outcome.violations.join("\n"),
            outcome.trace[outcome.trace.len().saturating_sub(40)..].join("\n")
        );
        total.add(&outcome);
    }
    println!("{seeds} seeds: {total:?}");
    // A simulation without any activity proves nothing.
    assert!(total.logs > seeds * 100, "{total:?}");
    assert!(total.dead_letters > seeds * 5 && total.full_disks > 0, "{total:?}");
    assert!(total.repeats > 0 && total.kills > 0 && total.lost_replies > 0 && total.outages > 0, "{total:?}");
    assert!(total.late_saves > 0 && total.breakdowns > 0 && total.cuts > seeds, "{total:?}");
    assert!(total.clusters > seeds / 5 && total.indexed > seeds * 10 && total.queues_lost > seeds / 4, "{total:?}");
    assert!(total.unanswered <= seeds / 10, "{total:?}");
    assert!(total.deletions > 0 && total.ends > 0 && total.missed > seeds, "{total:?}");
    assert!(total.routed > seeds / 4 && total.replayed > seeds, "{total:?}");
    assert!(total.several >= seeds / 5 && total.source_outages > seeds, "{total:?}");
}

#[test]
fn a_seed_gives_the_same_trace_every_time() {
    for seed in [1, 2, 3] {
        let (first, second) = (simulate(seed), simulate(seed));
        assert!(first.trace.len() > 20);
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}
