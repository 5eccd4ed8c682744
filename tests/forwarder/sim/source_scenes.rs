//! Several sources in one process: a fault of one does not affect the others.

use std::time::Duration;

use tokio::time::sleep;

use super::member::{Member, Process};
use super::scenes::{calm, seconds, settled, write};
use super::world::{Outage, World};

/// Room for the first page of each shard, so that no source has to wait for another at the start.
const BYTES: usize = 64 << 20;

/// The trace of a healthy source, to the millisecond, while the other sources of its process have these faults.
async fn trace_beside(others: &[(&'static str, Outage)]) -> Vec<String> {
    let process = Process::new(BYTES);
    let well = calm(2);
    let member = Member::start_in(&process, "well", &well, "a");
    let others: Vec<(Outage, World, Member)> = others
        .iter()
        .map(|(name, outage)| {
            let world = calm(2);
            let member = Member::start_in(&process, name, &world, "a");
            (*outage, world, member)
        })
        .collect();
    seconds(30).await;
    for second in 0..50 {
        write(&well, 3);
        for (outage, world, _) in &others {
            write(world, 3);
            world.lock().outage = (5..40).contains(&second).then_some(*outage);
        }
        seconds(1).await;
    }
    settled(&well).await;
    let trace = well.lock().trace.clone();
    for (outage, world, member) in &others {
        settled(world).await;
        let (counts, logs) = (member.counts(), world.lock().logs);
        assert_eq!((counts.difference(), counts.in_flight), (0, 0), "{outage:?}");
        assert!(counts.pulled >= logs, "{outage:?}: each source has its own ledger");
    }
    let counts = member.counts();
    assert_eq!((counts.pulled, counts.difference(), counts.in_flight), (well.lock().logs, 0, 0));
    assert_eq!(process.ledger.total().difference(), 0);
    // A pull of an idle shard holds some memory for a moment.
    let mut moments = 0;
    while process.budget.used() > 0 {
        moments += 1;
        assert!(moments < 1_000, "{} bytes are under way", process.budget.used());
        sleep(Duration::from_millis(7)).await;
    }
    trace
}

#[tokio::test(start_paused = true)]
async fn a_throttled_deleted_slow_or_unauthorized_source_does_not_affect_the_others() {
    let alone = trace_beside(&[]).await;
    let all = [
        ("throttled", Outage::Throttled),
        ("deleted", Outage::Deleted),
        ("expired", Outage::Expired),
        ("slow", Outage::Slow),
    ];
    let beside = trace_beside(&all).await;
    let differ = alone.iter().zip(&beside).find(|(alone, beside)| alone != beside);
    assert_eq!(differ, None, "the first step that differs");
    assert_eq!(alone.len(), beside.len());
}
