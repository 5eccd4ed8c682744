//! A receiver that reads at its own rate: what is unproven is about what it reads in an interval, and the limit does
//! not slow it down.
//!
//! The systems at both ends take every byte at once, so nothing but the window holds the sender back. Beside the window
//! stands a sender that does what `stream.rs` does, in steps of a millisecond.
//!
//! Goes red when: nothing limits what is unproven; the time of opening and closing counts as reading; a proof waits
//! until all of the allowance is in use; the allowance is only what was proven last.

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);
const LAG: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_millis(1);

/// How long a witness must stay open.
const WITNESS: Duration = Duration::from_millis(50);

/// Bytes of a batch, and of one event.
const BATCH: usize = 200_000;
const EVENT: usize = 1_000;

/// What happened in ten seconds.
#[derive(Debug)]
struct Measured {
    /// Bytes read in the last five seconds, per second.
    rate: usize,
    /// The most bytes that were unproven in the last five seconds.
    unproven: usize,
}

/// Sends to a receiver that reads this many bytes a second, and is this far away: the time to it and back.
fn run(interval: Duration, rate: usize, way: Duration) -> Measured {
    let start = Instant::now();
    let mut window = Window::new(interval, LAG);
    let (mut now, mut pushed) = (start, 0);
    // All bytes that were written, and how many of them were read; `closing` ends with the byte where it was closed.
    let (mut written, mut read) = (0, 0);
    let (mut witness, mut closing, mut answered) = (None::<Instant>, None::<usize>, None::<Instant>);
    let (mut open, mut has_proven) = (0, false);
    let mut measured = Measured { rate: 0, unproven: 0 };
    while now < start + 10 * INTERVAL {
        let is_late = now >= start + 5 * INTERVAL;
        now += STEP;
        let before = read;
        read = written.min(read + rate / 1_000);
        measured.rate += if is_late { (read - before) / 5 } else { 0 };
        if closing.is_some_and(|end| read >= end) {
            closing = None;
            answered = Some(now + way);
        }
        if answered.take_if(|at| *at <= now).is_some() {
            window.closed(now);
            has_proven = true;
        }
        if answered.is_none() && closing.is_none() {
            open -= window.prove(now).finished.len();
            window.set_room(if has_proven { usize::MAX } else { 64 });
        }
        let is_due = window.rotate_at().is_some_and(|at| at <= now) && closing.is_none() && answered.is_none();
        if witness.is_none() && (is_due || has_proven && window.nears_a_proof()) {
            witness = Some(now + way + WITNESS);
        }
        if is_due && witness.take_if(|at| *at <= now).is_some() {
            window.closes();
            closing = Some(written);
        }
        while open < 1_000 {
            open += 1;
            pushed += 1;
            window.push(pushed, BATCH / EVENT, BATCH);
        }
        while let Some(span) = window.begin(now) {
            written += span.events.len() * EVENT;
        }
        if is_late {
            measured.unproven = measured.unproven.max(window.load.bytes + window.closing_bytes());
        }
    }
    measured
}

#[test]
fn about_what_a_receiver_reads_in_an_interval_is_unproven_and_it_is_kept_busy() {
    for rate in [1, 3, 10, 40, 150] {
        for way in [0, 10, 200] {
            let rate = rate * 1_000_000;
            let way = Duration::from_millis(way);
            let Measured { rate: reads, unproven } = run(INTERVAL, rate, way);
            let limit = (INTERVAL + LAG + 2 * way + WITNESS).as_secs_f64() * rate as f64 * 1.3;
            assert!(unproven as f64 <= limit, "{unproven} unproven at {rate} bytes a second, {way:?} away");
            assert!(reads * 100 >= rate * 90, "only {reads} of {rate} bytes a second, {way:?} away");
        }
    }
}

#[test]
fn a_short_interval_far_away_does_not_starve_a_receiver() {
    for interval in [100, 300] {
        let rate = 20_000_000;
        let measured = run(Duration::from_millis(interval), rate, Duration::from_millis(200));
        assert!(measured.rate * 100 >= rate * 80, "{interval} ms: {measured:?}");
    }
}
