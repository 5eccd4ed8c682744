//! Which target it is at the moment, and what is known about each: pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long to stay with another target before the first is tried again.
const FIRST_TARGET_RETRY: Duration = Duration::from_secs(60);

/// How often in a row a target must leave a proof out before it is taken for one that has none to give; how often in a row
/// its connection must break before the next has its turn.
const MISSING_PROOFS: u32 = 3;

/// The targets in the order of the settings. The first is preferred.
#[derive(Debug)]
pub(super) struct Targets {
    trust: Vec<Trust>,
    current: usize,
    /// How often in a row its connection broke before anything was proven.
    breaks: u32,
    /// When the first may be tried again.
    home_at: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Trust {
    has_proven: bool,
    unproven: u32,
    is_written_only: bool,
}

impl Targets {
    /// So many of them; there is at least one.
    pub(super) fn new(count: usize) -> Self {
        Self { trust: vec![Trust::default(); count.max(1)], current: 0, breaks: 0, home_at: None }
    }

    /// The number of the present one.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Something was proven.
    pub(super) fn worked(&mut self) {
        self.breaks = 0;
    }

    /// Its connection broke. After some that proved nothing it is as good as unreachable: so a proxy looks whose receiver
    /// is gone.
    pub(super) fn broke(&mut self, now: Instant) {
        self.breaks += 1;
        if self.breaks >= MISSING_PROOFS && self.trust.len() > 1 {
            self.unreachable(now);
        }
    }

    /// It cannot be connected to: on to the next. Returns whether all have had their turn.
    pub(super) fn unreachable(&mut self, now: Instant) -> bool {
        self.breaks = 0;
        self.current = (self.current + 1) % self.trust.len();
        self.home_at = (self.current != 0).then(|| now + FIRST_TARGET_RETRY);
        self.current == 0
    }

    /// When to try the first one again, if it is another at the moment.
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

    /// Its close proved everything.
    pub(super) fn proven(&mut self) {
        let trust = &mut self.trust[self.current];
        trust.has_proven = true;
        trust.unproven = 0;
    }

    /// Whether a close of it ever proved everything.
    pub(super) fn has_proven(&self) -> bool {
        self.trust[self.current].has_proven
    }

    /// A close went well but proved nothing. Returns whether that just made it a target which never proves anything. One
    /// that ever did is only late.
    pub(super) fn unproven(&mut self) -> bool {
        self.breaks = 0;
        let trust = &mut self.trust[self.current];
        trust.unproven += 1;
        let gives_up = !trust.has_proven && !trust.is_written_only && trust.unproven >= MISSING_PROOFS;
        trust.is_written_only |= gives_up;
        gives_up
    }

    /// Whether it never proves anything: then written is all there is.
    pub(super) fn is_written_only(&self) -> bool {
        self.trust[self.current].is_written_only
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_target_is_used_until_it_is_time_to_go_home() {
        let mut targets = Targets::new(2);
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
        let mut targets = Targets::new(2);
        let now = Instant::now();
        assert!(!targets.unreachable(now));
        assert!(targets.unreachable(now));
        assert_eq!((targets.current(), targets.home_at()), (0, None));
        assert!(Targets::new(1).unreachable(now));
    }

    #[test]
    fn a_target_whose_connections_break_and_break_is_left_for_the_next() {
        let mut targets = Targets::new(2);
        let now = Instant::now();
        let broke = |targets: &mut Targets| {
            targets.broke(now);
            targets.current()
        };
        assert_eq!([broke(&mut targets), broke(&mut targets)], [0, 0]);
        targets.worked();
        assert_eq!([broke(&mut targets), broke(&mut targets), broke(&mut targets)], [0, 0, 1]);
        assert_eq!(targets.home_at(), Some(now + FIRST_TARGET_RETRY));
        // One that lives but proves nothing is not left.
        for _ in 0..5 {
            targets.unproven();
            assert_eq!(broke(&mut targets), 1);
        }
    }

    #[test]
    fn a_target_that_never_proves_anything_is_found_out_once() {
        let mut targets = Targets::new(1);
        assert_eq!([targets.unproven(), targets.unproven(), targets.unproven()], [false, false, true]);
        assert!(targets.is_written_only());
        assert!(!targets.unproven());
    }

    #[test]
    fn a_target_that_ever_proved_something_keeps_its_word() {
        let mut targets = Targets::new(1);
        targets.proven();
        for _ in 0..10 {
            assert!(!targets.unproven());
        }
        assert!(!targets.is_written_only());
    }
}
