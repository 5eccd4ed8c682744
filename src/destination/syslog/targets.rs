//! The current target, and the state of each target. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long to use another target before the first is tried again.
const FIRST_TARGET_RETRY: Duration = Duration::from_secs(60);

/// Missing proofs in a row after which a target counts as one that proves nothing; broken connections in a row after
/// which the next target is used.
const MISSING_PROOFS: u32 = 3;

/// Events that may be in flight to a target before its first proof, and after a missing one: the number of repeats of
/// an undecided try.
const FIRST_ROOM: usize = 64;

/// Time between two tries of a proof with a target that proves nothing.
const TRIAL_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The targets in the order of the settings. The first is preferred.
#[derive(Debug)]
pub(super) struct Targets {
    trust: Vec<Trust>,
    current: usize,
    /// Broken connections in a row without a proof.
    breaks: u32,
    /// When the first may be tried again.
    home_at: Option<Instant>,
}

/// The state of a target's proofs.
#[derive(Debug, Clone, Copy)]
struct Trust {
    has_proven: bool,
    /// Missing proofs before the first one.
    unproven: u32,
    /// It proves nothing; the time of the next try.
    written_until: Option<Instant>,
    /// Whether it was found to prove nothing, now or at an earlier start.
    doubted: bool,
    /// Events that may be in flight.
    room: usize,
}

impl Trust {
    fn new(doubted: bool) -> Self {
        let unproven = if doubted { MISSING_PROOFS - 1 } else { 0 };
        Self { has_proven: false, unproven, written_until: None, doubted, room: FIRST_ROOM }
    }
}

/// The conclusion from a missing proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// It may only be late: the sent events do not count.
    Late,
    /// It was missing too often: sent events count as *written* from now on.
    FoundOut,
    /// The target is known to prove nothing: sent events count as *written*.
    AsKnown,
}

impl Targets {
    /// One target for each hint, at least one. A hint says whether the target proved nothing at an earlier start:
    /// then one try decides, not three.
    pub(super) fn new(doubted: &[bool]) -> Self {
        let trust = doubted.iter().map(|doubted| Trust::new(*doubted)).collect();
        Self { trust, current: 0, breaks: 0, home_at: None }
    }

    /// The index of the current target.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Something was proven.
    pub(super) fn worked(&mut self) {
        self.breaks = 0;
    }

    /// Its connection broke. After several connections without a proof it counts as unreachable: a proxy whose
    /// receiver is gone behaves like this.
    pub(super) fn broke(&mut self, now: Instant) {
        self.breaks += 1;
        if self.breaks >= MISSING_PROOFS && self.trust.len() > 1 {
            self.unreachable(now);
        }
    }

    /// It cannot be connected: the next target is used. Returns whether all were tried.
    pub(super) fn unreachable(&mut self, now: Instant) -> bool {
        self.breaks = 0;
        self.current = (self.current + 1) % self.trust.len();
        self.home_at = (self.current != 0).then(|| now + FIRST_TARGET_RETRY);
        self.current == 0
    }

    /// When to try the first one again, if another one is current.
    pub(super) fn home_at(&self) -> Option<Instant> {
        self.home_at
    }

    /// The first one was tried, and does not work yet.
    pub(super) fn still_away(&mut self, now: Instant) {
        self.home_at = Some(now + FIRST_TARGET_RETRY);
    }

    /// The first one works again.
    pub(super) fn home(&mut self) {
        self.current = 0;
        self.breaks = 0;
        self.home_at = None;
    }

    /// Its close proved everything. Returns whether it counted as proving nothing before.
    pub(super) fn proven(&mut self) -> bool {
        let trust = &mut self.trust[self.current];
        trust.has_proven = true;
        trust.written_until = None;
        trust.room = usize::MAX;
        std::mem::take(&mut trust.doubted)
    }

    /// Whether a close of it ever proved everything.
    pub(super) fn has_proven(&self) -> bool {
        self.trust[self.current].has_proven
    }

    /// It is still connected, but a proof is missing. A target that has ever proved something is only late.
    pub(super) fn unproven(&mut self, now: Instant) -> Missed {
        self.breaks = 0;
        let trust = &mut self.trust[self.current];
        trust.room = FIRST_ROOM;
        if trust.has_proven {
            return Missed::Late;
        }
        trust.unproven = trust.unproven.saturating_add(1);
        if trust.unproven < MISSING_PROOFS {
            return Missed::Late;
        }
        trust.doubted = true;
        let is_known = trust.written_until.replace(now + TRIAL_INTERVAL).is_some();
        if is_known { Missed::AsKnown } else { Missed::FoundOut }
    }

    /// Whether it is known to prove nothing, so that *written* is the strongest promise.
    pub(super) fn is_written_only(&self) -> bool {
        self.trust[self.current].written_until.is_some()
    }

    /// Whether to try a proof: always, except for a target that proves nothing, where it is tried from time to time.
    pub(super) fn is_tried(&self, now: Instant) -> bool {
        self.trust[self.current].written_until.is_none_or(|until| until <= now)
    }

    /// How many events may be in flight before a proof is tried: all, if sent events count without a proof. That also
    /// shows whether a target that answers nothing reads at all.
    pub(super) fn room(&self) -> usize {
        let trust = &self.trust[self.current];
        let decides = !trust.has_proven && trust.unproven >= MISSING_PROOFS - 1;
        if decides { usize::MAX } else { trust.room }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_target_is_used_until_the_first_is_tried_again() {
        let mut targets = Targets::new(&[false; 2]);
        let now = Instant::now();
        assert!(!targets.unreachable(now));
        assert_eq!((targets.current(), targets.home_at()), (1, Some(now + FIRST_TARGET_RETRY)));
        targets.still_away(now + FIRST_TARGET_RETRY);
        assert_eq!(targets.home_at(), Some(now + 2 * FIRST_TARGET_RETRY));
        targets.home();
        assert_eq!((targets.current(), targets.home_at()), (0, None));
    }

    #[test]
    fn after_the_last_target_comes_the_first_and_a_pause() {
        let mut targets = Targets::new(&[false; 2]);
        let now = Instant::now();
        assert!(!targets.unreachable(now));
        assert!(targets.unreachable(now));
        assert_eq!((targets.current(), targets.home_at()), (0, None));
        assert!(Targets::new(&[false]).unreachable(now));
    }

    #[test]
    fn a_target_whose_connections_keep_breaking_is_left_for_the_next() {
        let mut targets = Targets::new(&[false; 2]);
        let now = Instant::now();
        let broke = |targets: &mut Targets| {
            targets.broke(now);
            targets.current()
        };
        assert_eq!([broke(&mut targets), broke(&mut targets)], [0, 0]);
        targets.worked();
        assert_eq!([broke(&mut targets), broke(&mut targets), broke(&mut targets)], [0, 0, 1]);
        assert_eq!(targets.home_at(), Some(now + FIRST_TARGET_RETRY));
        // A target that stays up but proves nothing is not left.
        for _ in 0..5 {
            targets.unproven(now);
            assert_eq!(broke(&mut targets), 1);
        }
    }

    #[test]
    fn a_target_that_never_proves_anything_is_detected_once() {
        let mut targets = Targets::new(&[false]);
        let now = Instant::now();
        let mut miss = || targets.unproven(now);
        assert_eq!([miss(), miss(), miss(), miss()], [Missed::Late, Missed::Late, Missed::FoundOut, Missed::AsKnown]);
        assert!(targets.is_written_only());
    }

    #[test]
    fn a_target_that_once_proved_something_stays_confirmed() {
        let mut targets = Targets::new(&[false]);
        assert!(!targets.proven());
        for _ in 0..10 {
            assert_eq!(targets.unproven(Instant::now()), Missed::Late);
        }
        assert!(!targets.is_written_only());
    }

    /// Fails if the first tries carry all there is.
    #[test]
    fn the_window_is_small_until_a_first_proof_and_after_a_missed_one() {
        let mut targets = Targets::new(&[false]);
        assert_eq!(targets.room(), FIRST_ROOM);
        targets.proven();
        assert_eq!(targets.room(), usize::MAX);
        targets.unproven(Instant::now());
        assert_eq!(targets.room(), FIRST_ROOM);
        targets.proven();
        assert_eq!(targets.room(), usize::MAX);
    }

    /// Fails if a target that does not read is taken for one that only proves nothing: a little is taken by its system.
    #[test]
    fn the_deciding_attempt_sends_everything() {
        let mut targets = Targets::new(&[false]);
        let rooms = std::iter::repeat_with(|| {
            targets.unproven(Instant::now());
            targets.room()
        });
        assert_eq!(rooms.take(3).collect::<Vec<_>>(), [FIRST_ROOM, usize::MAX, usize::MAX]);
        let mut doubted = Targets::new(&[true]);
        assert_eq!(doubted.room(), usize::MAX);
        doubted.proven();
        assert_eq!(doubted.room(), usize::MAX);
    }

    #[test]
    fn one_attempt_is_enough_for_a_target_that_proved_nothing_in_an_earlier_run() {
        let mut targets = Targets::new(&[true]);
        let now = Instant::now();
        assert!(targets.is_tried(now) && !targets.is_written_only());
        assert_eq!(targets.unproven(now), Missed::FoundOut);
        assert!(!targets.is_tried(now));
    }

    #[test]
    fn a_target_that_proves_nothing_is_tested_again_from_time_to_time() {
        let mut targets = Targets::new(&[true]);
        let now = Instant::now();
        targets.unproven(now);
        assert!(!targets.is_tried(now + TRIAL_INTERVAL - Duration::from_secs(1)));
        let later = now + TRIAL_INTERVAL;
        assert!(targets.is_tried(later) && targets.is_written_only());
        assert_eq!((targets.unproven(later), targets.is_tried(later)), (Missed::AsKnown, false));
        assert!(targets.proven(), "that is news");
        assert!(targets.is_tried(later) && !targets.is_written_only());
        assert!(!targets.proven(), "that is none");
    }
}
