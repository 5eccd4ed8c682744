use super::*;

const TOTAL: usize = 1_000;

/// Shares of some sources, and the bytes of each credit.
struct Model {
    shares: Shares,
    sources: Vec<ShareId>,
    requests: BTreeMap<MemoryRequestId, ShareId>,
    credits: Vec<(ShareId, usize)>,
}

impl Model {
    fn new(sources: usize) -> Self {
        let mut shares = Shares::new(TOTAL);
        let sources = (0..sources).map(|_| shares.join()).collect();
        Self { shares, sources, requests: BTreeMap::new(), credits: Vec::new() }
    }

    fn settle(&mut self) {
        for (request, bytes) in self.shares.grant() {
            let share = self.requests.remove(&request).expect("it is granted once");
            self.credits.push((share, bytes));
        }
    }

    /// A random operation of a source.
    fn step(&mut self, rng: &mut fastrand::Rng, share: ShareId) {
        let bytes = rng.usize(1..TOTAL / 2);
        let own: Vec<usize> = (0..self.credits.len()).filter(|at| self.credits[*at].0 == share).collect();
        match rng.u32(..4) {
            0 | 1 => {
                let request = self.shares.request(share, bytes, if rng.bool() { Need::Whole } else { Need::About });
                self.requests.insert(request, share);
            }
            2 if self.shares.take_now(share, bytes) => self.credits.push((share, bytes)),
            _ if !own.is_empty() => self.give_back(own[rng.usize(..own.len())]),
            _ => {}
        }
        self.settle();
    }

    fn give_back(&mut self, at: usize) {
        let (share, bytes) = self.credits.swap_remove(at);
        self.shares.give_back(share, bytes);
    }
}

fn histories() -> impl Iterator<Item = (fastrand::Rng, Model)> {
    (0..300).map(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let sources = rng.usize(1..6);
        (rng, Model::new(sources))
    })
}

#[test]
fn the_shares_never_exceed_the_budget() {
    for (mut rng, mut model) in histories() {
        for _ in 0..200 {
            let share = model.sources[rng.usize(..model.sources.len())];
            model.step(&mut rng, share);
            let sum: usize = model.credits.iter().map(|(_, bytes)| bytes).sum();
            assert_eq!(model.shares.used(), sum);
            assert!(sum <= TOTAL, "{sum}");
        }
    }
}

#[test]
fn the_sums_are_exact_while_sources_come_and_go() {
    for (mut rng, mut model) in histories() {
        for _ in 0..100 {
            let share = model.sources[rng.usize(..model.sources.len())];
            model.step(&mut rng, share);
            if rng.u32(..10) == 0 {
                let guest = model.shares.join();
                assert!(!model.shares.take_now(guest, TOTAL));
                model.shares.leave(guest);
                model.sources.push(model.shares.join());
            }
            let Shares { used, claimed, .. } = model.shares;
            model.shares.count();
            assert_eq!((used, claimed), (model.shares.used, model.shares.claimed));
        }
    }
}

#[test]
fn a_source_always_gets_its_reserved_share_whatever_others_hold_or_wait_for() {
    for (mut rng, mut model) in histories() {
        let (quiet, others) = model.sources.split_last().expect("there is a source");
        let (quiet, others) = (*quiet, others.to_vec());
        let kept = TOTAL / 4 / model.sources.len();
        for _ in 0..100 {
            if let Some(other) = rng.choice(&others) {
                model.step(&mut rng, *other);
                // A log whose events need more than is free.
                if rng.u32(..20) == 0 {
                    model.shares.take_anyway(*other, TOTAL);
                    model.credits.push((*other, TOTAL));
                }
            }
            assert!(model.shares.take_now(quiet, kept), "{:?}", model.shares);
            model.shares.give_back(quiet, kept);
        }
    }
}

#[test]
fn sources_that_never_release_memory_stop_no_other() {
    for (mut rng, mut model) in histories() {
        for _ in 0..100 {
            let share = model.sources[rng.usize(..model.sources.len())];
            model.step(&mut rng, share);
        }
        let well = model.sources[0];
        // From here on, this source requests only what its reserved part can satisfy.
        let of_it = model.requests.iter().filter(|(_, share)| **share == well).map(|(request, _)| *request);
        for request in of_it.collect::<Vec<_>>() {
            model.requests.remove(&request);
            model.shares.forget(request);
        }
        let mut left = 50;
        for _ in 0..left {
            let request = model.shares.request(well, rng.usize(1..TOTAL), Need::About);
            model.requests.insert(request, well);
        }
        while left > 0 {
            let all = std::mem::take(&mut model.credits);
            for (share, bytes) in all {
                if share == well {
                    model.shares.give_back(share, bytes);
                } else {
                    model.credits.push((share, bytes));
                }
            }
            model.settle();
            let of_it = model.credits.iter().filter(|(share, _)| *share == well).count();
            assert!(of_it > 0, "it waits for the others: {:?}", model.shares);
            left -= of_it;
        }
    }
}

#[test]
fn a_single_source_can_take_everything_and_one_of_two_all_but_the_others_share() {
    let mut model = Model::new(1);
    assert!(model.shares.take_now(model.sources[0], TOTAL));
    let mut model = Model::new(2);
    assert_eq!(model.shares.most(), 875);
    assert!(!model.shares.take_now(model.sources[0], 876));
    assert!(model.shares.take_now(model.sources[0], 875) && model.shares.take_now(model.sources[1], 125));
}

#[test]
fn a_large_request_is_not_overtaken_by_small_ones() {
    let mut model = Model::new(2);
    let [first, second] = model.sources[..] else { panic!() };
    assert!(model.shares.take_now(first, 500) && model.shares.take_now(second, 300));
    let large = model.shares.request(first, 800, Need::Whole);
    let small = model.shares.request(second, 50, Need::About);
    assert!(model.shares.grant().is_empty(), "200 are free, and wait for the large one");
    assert!(!model.shares.take_now(second, 50));
    model.shares.give_back(first, 500);
    assert!(model.shares.grant().is_empty());
    model.shares.give_back(second, 200);
    assert_eq!(model.shares.grant(), [(large, 800), (small, 50)]);
}

/// Parts of a source: the number of jobs at once, what each job expects, and what it makes.
fn parts(threads: usize, rng: &mut fastrand::Rng, make: impl Fn(&mut fastrand::Rng) -> (usize, usize)) -> usize {
    let mut model = Model::new(1);
    let share = model.sources[0];
    model.shares.take_anyway(share, TOTAL);
    let (mut made, mut peak, mut running, mut in_flight) = (0, 0, Vec::new(), Vec::new());
    while made < 200 {
        let is_idle = running.is_empty() && in_flight.is_empty();
        match rng.u32(..3) {
            0 if running.len() < threads => {
                let (expected, makes) = make(rng);
                match model.shares.begin(share, expected) {
                    Some(is_large) => running.push((expected, makes, is_large)),
                    None => assert!(!is_idle, "nothing is under way, so nothing would ever be free"),
                }
            }
            1 if !running.is_empty() => {
                let (expected, makes, was_large) = running.swap_remove(rng.usize(..running.len()));
                model.shares.give_back(share, expected);
                model.shares.take_anyway(share, makes);
                if was_large {
                    model.shares.end_large(share);
                }
                if makes > 0 {
                    model.shares.begin_large(share);
                }
                in_flight.push(makes);
                made += 1;
            }
            2 if !in_flight.is_empty() => {
                let makes = in_flight.swap_remove(rng.usize(..in_flight.len()));
                model.shares.give_back(share, makes);
                if makes > 0 {
                    model.shares.end_large(share);
                }
            }
            _ => {}
        }
        peak = peak.max(model.shares.used());
    }
    peak
}

#[test]
fn parts_that_may_take_more_than_all_of_the_memory_are_made_one_after_the_other() {
    for seed in 0..100 {
        let peak = parts(16, &mut fastrand::Rng::with_seed(seed), |_| (2 * TOTAL, 2 * TOTAL));
        assert_eq!(peak, 3 * TOTAL, "{seed}");
    }
}

#[test]
fn parts_that_are_larger_than_expected_exceed_the_memory_by_one_for_each_thread() {
    for seed in 0..100 {
        let peak = parts(4, &mut fastrand::Rng::with_seed(seed), |rng| (0, if rng.bool() { TOTAL } else { 0 }));
        assert!(peak <= TOTAL + TOTAL / 8 + 4 * TOTAL, "{seed}: {peak}");
    }
}

#[test]
fn a_small_debt_stops_no_part_and_a_source_within_its_share_waits_for_no_other() {
    let mut model = Model::new(2);
    let [first, second] = model.sources[..] else { panic!() };
    model.shares.take_anyway(first, TOTAL + TOTAL / 8);
    assert_eq!([0; 3].map(|_| model.shares.begin(first, 0)), [Some(false); 3]);
    assert_eq!(model.shares.begin(first, 500), Some(true));
    assert_eq!(model.shares.begin(first, 0), None);
    assert_eq!([0; 3].map(|_| model.shares.begin(second, 0)), [Some(false); 3]);
}

#[test]
fn a_part_may_begin_although_a_pull_waits_for_all_of_the_memory() {
    let mut model = Model::new(1);
    let share = model.sources[0];
    model.shares.take_anyway(share, 2 * TOTAL);
    assert_eq!(model.shares.begin(share, 0), Some(true));
    let pull = model.shares.request(share, TOTAL, Need::Whole);
    let part = model.shares.request(share, 0, Need::Begin);
    assert!(model.shares.grant().is_empty());
    model.shares.end_large(share);
    assert_eq!(model.shares.grant(), [(part, 0)]);
    model.shares.give_back(share, 2 * TOTAL);
    assert_eq!(model.shares.grant(), [(pull, TOTAL)]);
}
