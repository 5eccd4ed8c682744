//! Random histories with models of indexers that restart, lose replies and are behind a load balancer: every confirmed
//! request was acknowledged by the life of the indexer that accepted it.
//!
//! Each of these bugs was planted once, and found: a repeated id taken for a new one; a `true` believed while a request
//! of the channel is in flight; the first ids believed in spite of an unclear request.

use fastrand::Rng;

use super::*;

/// An indexer in one of its lives.
#[derive(Default)]
struct Indexer {
    /// The requests of each channel by id, and whether they are safe.
    channels: BTreeMap<ChannelNumber, Vec<Taken>>,
}

struct Taken {
    request: usize,
    safe: bool,
    /// `true` was reported, and then forgotten.
    reported: bool,
}

impl Indexer {
    fn take(&mut self, channel: ChannelNumber, request: usize) -> u64 {
        let taken = self.channels.entry(channel).or_default();
        taken.push(Taken { request, safe: false, reported: false });
        taken.len() as u64 - 1
    }
}

/// A reply that is in transit.
enum Reply {
    Accepted { post: Post, id: u64, request: usize },
    Refused { post: Post },
    Lost { post: Post },
    Polled { poll: Poll, safe: Option<BTreeSet<u64>> },
}

struct World {
    rng: Rng,
    indexers: Vec<Indexer>,
    /// The indexer that a channel's cookie selects, if there are cookies.
    cookies: Option<BTreeMap<ChannelNumber, usize>>,
    tracker: AckTracker<usize>,
    now: Instant,
    /// Replies in transit, in no order.
    replies: Vec<Reply>,
    /// Requests that some life of an indexer has indexed.
    safe: BTreeSet<usize>,
    ended: BTreeMap<usize, Fate>,
    sent: usize,
    restarts: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(1..4);
        Self {
            indexers: (0..count).map(|_| Indexer::default()).collect(),
            cookies: rng.bool().then(BTreeMap::new),
            tracker: AckTracker::new(Duration::from_secs(60)),
            now: Instant::now(),
            replies: Vec::new(),
            safe: BTreeSet::new(),
            ended: BTreeMap::new(),
            sent: 0,
            restarts: 0,
            rng,
        }
    }

    fn indexer(&mut self, channel: ChannelNumber) -> usize {
        let any = self.rng.usize(..self.indexers.len());
        match &mut self.cookies {
            Some(cookies) => *cookies.entry(channel).or_insert(any),
            None => any,
        }
    }

    fn step(&mut self) {
        match self.rng.u8(..100) {
            0..35 => {
                let post = self.tracker.begin(self.now);
                let request = self.sent;
                self.sent += 1;
                let reply = match self.rng.u8(..10) {
                    0 => Reply::Refused { post },
                    fate => {
                        let indexer = self.indexer(post.channel);
                        let id = self.indexers[indexer].take(post.channel, request);
                        if fate == 1 { Reply::Lost { post } } else { Reply::Accepted { post, id, request } }
                    }
                };
                self.replies.push(reply);
            }
            35..45 => {
                self.tracker.start_round();
                for poll in self.tracker.polls(8) {
                    let indexer = self.indexer(poll.channel);
                    let is_lost = self.rng.u8(..8) == 0;
                    let mut safe = BTreeSet::new();
                    if let Some(known) = self.indexers[indexer].channels.get_mut(&poll.channel) {
                        for id in &poll.ids {
                            if let Some(taken) =
                                known.get_mut(*id as usize).filter(|taken| taken.safe && !taken.reported)
                            {
                                taken.reported = true;
                                safe.insert(*id);
                            }
                        }
                    }
                    self.replies.push(Reply::Polled { poll, safe: (!is_lost).then_some(safe) });
                }
            }
            45..55 => {
                for taken in self.indexers.iter_mut().flat_map(|indexer| indexer.channels.values_mut()).flatten() {
                    if self.rng.bool() {
                        taken.safe = true;
                        self.safe.insert(taken.request);
                    }
                }
            }
            55..57 => {
                // With its queue lost; and the load balancer sends its channels to others.
                let dead = self.rng.usize(..self.indexers.len());
                self.indexers[dead] = Indexer::default();
                if let Some(cookies) = &mut self.cookies {
                    cookies.retain(|_, indexer| *indexer != dead);
                }
                self.restarts += 1;
            }
            57..60 => self.now += Duration::from_secs(self.rng.u64(..10)),
            60..62 => {
                let completions = self.tracker.expired(self.now);
                self.note(completions);
            }
            _ => self.arrive(),
        }
    }

    fn arrive(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        let reply = self.replies.swap_remove(self.rng.usize(..self.replies.len()));
        let completions = match reply {
            Reply::Accepted { post, id, request } => self.tracker.accepted(post, id, Some(request), self.now),
            Reply::Refused { post } => self.tracker.refused(post),
            Reply::Lost { post } => self.tracker.unclear(post),
            Reply::Polled { poll, safe: Some(safe) } => self.tracker.polled(&poll, &safe),
            Reply::Polled { poll, safe: None } => {
                self.tracker.poll_failed(&poll);
                Vec::new()
            }
        };
        self.note(completions);
    }

    fn note(&mut self, completions: Completions<usize>) {
        for (request, fate) in completions {
            assert_eq!(self.ended.insert(request, fate), None, "request {request} has two results");
            assert!(fate != Fate::Indexed || self.safe.contains(&request), "request {request} is lost and confirmed");
        }
    }
}

#[test]
fn every_confirmed_request_was_indexed_by_the_indexer_that_accepted_it() {
    let (mut indexed, mut lost, mut expired, mut restarts) = (0, 0, 0, 0);
    for seed in 0..2_000 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step();
        }
        while !world.replies.is_empty() {
            world.arrive();
        }
        world.now += Duration::from_secs(60);
        let completions = world.tracker.expired(world.now);
        world.note(completions);
        assert_eq!(world.tracker.waiting().requests, 0, "seed {seed}");
        let count = |fate| world.ended.values().filter(|ended| **ended == fate).count();
        indexed += count(Fate::Indexed);
        lost += count(Fate::Lost);
        expired += count(Fate::Expired);
        restarts += world.restarts;
    }
    // A simulation in which nothing happens proves nothing.
    println!("{indexed} indexed, {lost} lost, {expired} expired, {restarts} restarts");
    assert!(indexed > 50_000 && lost > 1_000 && expired > 1_000 && restarts > 10_000);
}
