use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What is allowed after these proofs: bytes, and when the first of them was written and all were read.
fn after(time: Duration, proofs: &[(usize, u64, u64)]) -> usize {
    let start = Instant::now();
    let mut allowance = Allowance::new(time);
    for (bytes, began, read) in proofs {
        allowance.proven(*bytes, start + ms(*began), start + ms(*read));
    }
    allowance.bytes()
}

#[test]
fn little_is_allowed_before_the_first_proof_and_after_a_break() {
    assert_eq!(after(ms(1_000), &[]), MIN_BYTES);
    let now = Instant::now();
    let mut allowance = Allowance::new(ms(1_000));
    allowance.proven(50_000_000, now, now + ms(100));
    assert_eq!(allowance.bytes(), 4 * MIN_BYTES, "one proof says little");
    allowance.reset();
    assert_eq!(allowance.bytes(), MIN_BYTES);
}

/// Goes red when the time between first byte and proof counts for a connection that waited for the one before it.
#[test]
fn what_the_receiver_reads_in_the_time_is_allowed() {
    // 10 MB/s, after a proof of next to nothing that took 50 ms.
    let proofs = [(1_000, 0, 50), (4_000_000, 50, 500), (4_000_000, 100, 900), (4_000_000, 500, 1_300)];
    let allowed = after(ms(1_200), &proofs);
    assert!((11_000_000..16_000_000).contains(&allowed), "{allowed}");
}

/// Goes red when the time that opening and closing take counts as reading.
#[test]
fn a_long_way_does_not_make_a_receiver_slow() {
    let near = after(ms(1_200), &[(1_000, 0, 50), (1_000_000, 1_000, 1_150), (4_000_000, 2_000, 2_450)]);
    let far = after(ms(1_200), &[(1_000, 0, 800), (1_000_000, 1_000, 1_900), (4_000_000, 2_000, 3_200)]);
    assert!(far >= near && near > 11_000_000, "{far} {near}");
}

#[test]
fn a_receiver_that_becomes_slow_is_allowed_less_after_a_few_proofs() {
    let fast = [(1_000, 0, 50), (20_000_000, 50, 120), (20_000_000, 120, 200)];
    let slow = (1..8).map(|number| (1_000_000, 100, 200 + 1_000 * number));
    let allowed = after(ms(1_000), &fast.into_iter().chain(slow).collect::<Vec<_>>());
    assert!(allowed < 2_000_000, "{allowed}");
}

#[test]
fn without_a_time_everything_is_allowed() {
    assert_eq!(after(Duration::ZERO, &[(1, 0, 1_000)]), usize::MAX);
}
