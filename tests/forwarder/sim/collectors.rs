//! The model of a cluster of HEC collectors, under the program's own client: the simulation carries the requests.
//!
//! A collector answers 200, queues the events, and indexes them later. It dies and loses its queue, is slow, or does
//! not answer, or acknowledges nothing. Answers to acknowledgement polls get lost, come late, or are invalid. With acknowledgements an event
//! counts as arrived only when it is indexed. Several collectors have a URL each, or share one behind a load balancer,
//! which is sticky for a channel or not.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use forwarder::core::cause::Cause;
use forwarder::core::secret::Secret;
use forwarder::core::tls_connectors::TlsConnectors;
use forwarder::destination::hec::reply::Reply;
use forwarder::destination::hec::transport::{Request, Transport};
use forwarder::destination::hec::{Config, Hec, MemberConfig, Partial, RequestFault, Token};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::rng::Rng;
use super::sink::{id_of, is_poison};
use super::world::{Call, Inner, World};

/// How long a member waits for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a member waits for an acknowledgement.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// The connection between the members and the indexers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// Each has a URL of its own.
    Direct,
    /// A load balancer; if `sticky`, it sends a channel always to the same indexer.
    Balancer { sticky: bool },
}

/// The cluster.
pub struct Cluster {
    pub front: Front,
    pub acks: bool,
    pub max_body: usize,
    /// Whether the members send gzip, and keep it until it is acknowledged.
    gzip: bool,
    indexers: Vec<Indexer>,
    /// The channels in the order of their first use: their own names are random.
    channels: BTreeMap<String, usize>,
    /// The indexer that the balancer chose for each channel.
    sticky: BTreeMap<usize, usize>,
    /// Accepted requests, by the time at which they are indexed.
    queue: BTreeMap<(Instant, u64), Queued>,
    accepted: u64,
    /// How long events wait in the queue, in a simulation without random faults.
    pub indexed_after: Duration,
    /// Until when acknowledgement polls are answered with errors.
    pub polls_fail_until: Instant,
    /// Requests that were accepted and lost when their indexer died.
    pub lost: u64,
    /// Events that were indexed.
    pub indexed: u64,
    /// Accepted events of each indexer.
    pub taken_by: Vec<u64>,
}

struct Indexer {
    weight: u32,
    /// The known ids of each channel.
    channels: BTreeMap<usize, Vec<Taken>>,
    down_until: Instant,
    slow_until: Instant,
    silent_until: Instant,
    /// Until when it answers that nothing is indexed.
    unacknowledging_until: Instant,
}

#[derive(Clone, Copy)]
struct Taken {
    is_indexed: bool,
    /// `true` was returned once, and the id is forgotten.
    is_reported: bool,
}

struct Queued {
    indexer: usize,
    channel: usize,
    id: usize,
    member: String,
    events: Vec<String>,
}

/// The answer to the client.
enum Answer {
    Reply(Reply),
    Unreachable,
    /// The connection ends without a reply.
    Ended,
    /// No reply until then, if ever.
    Silence(Instant),
}

impl Cluster {
    /// A random cluster.
    pub fn any(rng: &mut Rng) -> Self {
        let weights: Vec<u32> = (0..=rng.below(3)).map(|_| 1 + rng.below(3) as u32).collect();
        let sticky = rng.one_in(2);
        Self {
            front: if rng.one_in(2) { Front::Direct } else { Front::Balancer { sticky } },
            acks: rng.below(4) > 0,
            max_body: [30, 100, 1_000_000][rng.below(3) as usize],
            gzip: rng.one_in(2),
            ..Self::of(&weights)
        }
    }

    /// Indexers with these weights, each with its own URL, that acknowledge the events that they have indexed.
    pub fn of(weights: &[u32]) -> Self {
        let now = Instant::now();
        let indexer = |weight: &u32| Indexer {
            weight: *weight,
            channels: BTreeMap::new(),
            down_until: now,
            slow_until: now,
            silent_until: now,
            unacknowledging_until: now,
        };
        let indexers: Vec<Indexer> = weights.iter().map(indexer).collect();
        Self {
            front: Front::Direct,
            acks: true,
            max_body: 1_000_000,
            gzip: false,
            indexed_after: Duration::from_secs(1),
            polls_fail_until: now,
            taken_by: vec![0; indexers.len()],
            indexers,
            channels: BTreeMap::new(),
            sticky: BTreeMap::new(),
            queue: BTreeMap::new(),
            accepted: 0,
            lost: 0,
            indexed: 0,
        }
    }

    /// The settings of a member that sends to it.
    fn config(&self, transport: Arc<dyn Transport>) -> Config {
        let urls = match self.front {
            Front::Direct => self.indexers.len(),
            Front::Balancer { .. } => 1,
        };
        let member = |(number, indexer): (usize, &Indexer)| MemberConfig {
            url: format!("http://indexer{number}:8088"),
            weight: indexer.weight,
        };
        Config {
            members: self.indexers.iter().take(urls).enumerate().map(member).collect(),
            token: Token::Fixed(Secret::new("5f4dcc3b-5aa7-65d6-1d83-27deb882cf99")),
            verify: true,
            ca_file: None,
            client_cert: None,
            proxy: None,
            timeout: REPLY_TIMEOUT,
            connect_timeout: REPLY_TIMEOUT,
            source: None,
            sourcetype: None,
            index: None,
            fallback_index: None,
            host: None,
            gzip: self.gzip,
            max_body: self.max_body,
            max_requests: 4,
            partial: Partial::Auto,
            ack: self.acks.then_some(ACK_TIMEOUT),
            compat: false,
            transport: Some(transport),
            tls: TlsConnectors::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.indexers.len()
    }

    /// The indexer that a request of a channel reaches.
    fn reaches(&mut self, url: &str, channel: usize, rng: &mut Rng) -> usize {
        let any = rng.below(self.indexers.len() as u64) as usize;
        match self.front {
            Front::Direct => self.indexer_of(url),
            Front::Balancer { sticky: false } => any,
            Front::Balancer { sticky: true } => {
                let now = Instant::now();
                let kept = self.sticky.get(&channel).copied().filter(|kept| now >= self.indexers[*kept].down_until);
                let indexer = kept.unwrap_or(any);
                self.sticky.insert(channel, indexer);
                indexer
            }
        }
    }

    fn indexer_of(&self, url: &str) -> usize {
        let number = url.trim_start_matches("http://indexer").split(':').next().and_then(|number| number.parse().ok());
        number.expect("it is one of ours")
    }

    /// The requested ids, and which of them are safe. `true` is returned once for each.
    fn acknowledged(
        &mut self,
        indexer: usize,
        channel: usize,
        ids: &[u64],
        is_forgetful: bool,
    ) -> BTreeMap<String, bool> {
        let mut known = self.indexers[indexer].channels.get_mut(&channel);
        let mut is_acknowledged = |id: &u64| {
            let taken = known.as_mut().and_then(|taken| taken.get_mut(*id as usize));
            let Some(taken) = taken.filter(|taken| taken.is_indexed && !taken.is_reported && !is_forgetful) else {
                return false;
            };
            taken.is_reported = true;
            true
        };
        ids.iter().map(|id| (id.to_string(), is_acknowledged(id))).collect()
    }
}

/// A client of the cluster for one member.
pub fn client(world: &World, member: &str) -> Hec {
    let wire = Arc::new(Wire { world: world.clone(), member: member.to_owned() });
    let config = world.lock().cluster.as_ref().expect("there is a cluster").config(wire);
    Hec::new(&config).expect("the settings are sound")
}

/// Carries the requests of one member.
struct Wire {
    world: World,
    member: String,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("member", &self.member).finish_non_exhaustive()
    }
}

impl Transport for Wire {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Reply, RequestFault>> {
        Box::pin(send(self.world.clone(), self.member.clone(), request))
    }
}

/// A request that is under way arrives even if its sender has lost the shard, or is dead.
async fn send(world: World, member: String, mut request: Request) -> Result<Reply, RequestFault> {
    if request.gzip {
        let mut plain = Vec::new();
        GzDecoder::new(&request.body[..]).read_to_end(&mut plain).expect("the client sends valid gzip");
        request.body = plain.into();
    }
    let is_poll = request.url.ends_with("/ack");
    if is_poll {
        world.bug(&member, Call::Poll);
    } else if !request.body.is_empty() {
        {
            let mut world = world.lock();
            let shards = events(&request).filter_map(|event| id_of(event).split('-').next()?.parse().ok());
            let shards: std::collections::BTreeSet<u32> = shards.collect();
            shards.into_iter().for_each(|shard| world.acts(&member, shard, "sends"));
        }
        world.bug(&member, Call::Send);
    }
    let (sender, reply) = oneshot::channel();
    let on_the_way = world.clone();
    world.spawn(async move {
        let world = on_the_way;
        let (there, back, cut_off) = {
            let mut world = world.lock();
            let cut_off = world.cut_off.get(&member).copied();
            (world.rng.millis(1, 40), world.rng.millis(1, 40), cut_off)
        };
        if let Some(until) = cut_off {
            sleep_until(until).await;
            return;
        }
        let slow = world.lock().slowness(&request.url);
        world.passes(there + slow).await;
        let answer = world.lock().collect(&member, &request, is_poll);
        match answer {
            Answer::Reply(reply) => {
                world.passes(back).await;
                let _ = sender.send(Ok(reply));
            }
            Answer::Unreachable => {
                let _ = sender.send(Err(RequestFault::Unreachable(Cause::new("connection refused"))));
            }
            Answer::Ended => {}
            Answer::Silence(until) => sleep_until(until).await,
        }
    });
    match timeout(REPLY_TIMEOUT, reply).await {
        Err(_) => Err(RequestFault::Silence(Cause::new("no reply in time"))),
        Ok(Err(_)) => Err(RequestFault::Ended(Cause::new("the connection ended"))),
        Ok(Ok(reply)) => reply,
    }
}

fn events(request: &Request) -> impl Iterator<Item = &str> {
    std::str::from_utf8(&request.body).expect("ids are text").lines()
}

impl Inner {
    /// The model that receives the events. It must exist.
    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("there is a cluster")
    }

    /// The additional time of a request that reaches a slow collector.
    fn slowness(&mut self, url: &str) -> Duration {
        let slow = self.rng.millis(500, 12_000);
        let cluster = self.cluster();
        let of_it = cluster.indexer_of(url);
        match Instant::now() < cluster.indexers[of_it].slow_until {
            true => slow,
            false => Duration::ZERO,
        }
    }

    /// An indexer dies and restarts after this time, without its queue and its channels.
    pub fn die(&mut self, indexer: usize, down: Duration) {
        self.index();
        self.note(format!("indexer {indexer} dies for {down:?}"));
        let cluster = self.cluster();
        cluster.indexers[indexer].channels.clear();
        cluster.indexers[indexer].down_until = Instant::now() + down;
        let before = cluster.queue.len();
        cluster.queue.retain(|_, queued| queued.indexer != indexer);
        cluster.lost += (before - cluster.queue.len()) as u64;
    }

    /// An indexer is slow for this time.
    pub fn slow_down(&mut self, indexer: usize, time: Duration) {
        self.note(format!("indexer {indexer} is slow for {time:?}"));
        self.cluster().indexers[indexer].slow_until = Instant::now() + time;
    }

    /// An indexer accepts connections but does not answer for this time.
    pub fn fall_silent(&mut self, indexer: usize, time: Duration) {
        self.note(format!("indexer {indexer} is silent for {time:?}"));
        self.cluster().indexers[indexer].silent_until = Instant::now() + time;
    }

    /// An indexer acknowledges nothing for this time.
    pub fn acknowledge_nothing(&mut self, indexer: usize, time: Duration) {
        self.note(format!("indexer {indexer} acknowledges nothing for {time:?}"));
        self.cluster().indexers[indexer].unacknowledging_until = Instant::now() + time;
    }

    /// All indexers work again.
    pub fn recover(&mut self) {
        let now = Instant::now();
        for indexer in self.cluster.iter_mut().flat_map(|cluster| &mut cluster.indexers) {
            (indexer.down_until, indexer.slow_until, indexer.silent_until) = (now, now, now);
            indexer.unacknowledging_until = now;
        }
    }

    /// Indexes what is due.
    pub fn index(&mut self) {
        let now = Instant::now();
        let Some(cluster) = &mut self.cluster else { return };
        let later = cluster.queue.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut cluster.queue, later);
        for queued in due.into_values() {
            let cluster = self.cluster();
            cluster.indexed += queued.events.len() as u64;
            let ids = cluster.indexers[queued.indexer].channels.get_mut(&queued.channel);
            ids.expect("its indexer lives")[queued.id].is_indexed = true;
            queued.events.iter().for_each(|event| self.arrives(&queued.member, event));
        }
    }

    /// The cluster's answer to a request.
    fn collect(&mut self, member: &str, request: &Request, is_poll: bool) -> Answer {
        self.index();
        let now = Instant::now();
        let mut rng = Rng::new(self.rng.next());
        let channels = &mut self.cluster().channels;
        let next = channels.len();
        let channel = *channels.entry(request.channel.clone()).or_insert(next);
        let indexer = self.cluster().reaches(&request.url, channel, &mut rng);
        let Indexer { down_until, silent_until, .. } = self.cluster().indexers[indexer];
        if now < down_until || now < self.destination_down_until {
            return if rng.one_in(2) { Answer::Unreachable } else { busy() };
        }
        if now < silent_until {
            return Answer::Silence(silent_until);
        }
        let trouble = self.trouble;
        if is_poll {
            return self.answer_poll(indexer, channel, request, &mut rng);
        }
        if request.body.is_empty() {
            return reply(400, r#"{"text":"No data","code":5}"#.to_owned(), self.keeps_prefix);
        }
        let sent: Vec<&str> = events(request).collect();
        let bad = sent.iter().position(|event| is_poison(event.as_bytes()));
        let is_lost = match trouble.then(|| rng.below(16)) {
            Some(0) => return busy(),
            Some(1) if rng.one_in(2) => return reply(200, "<html>a page</html>".to_owned(), false),
            Some(2 | 3) => true,
            _ => false,
        };
        let mut taken = match bad {
            None => sent.len(),
            Some(bad) if self.keeps_prefix => bad,
            Some(_) => 0,
        };
        if is_lost && rng.one_in(2) {
            taken = taken.min(rng.below(sent.len() as u64) as usize);
        }
        let words = format!("{member} sent {taken} of {sent:?} to indexer {indexer} over channel {channel}");
        let taken: Vec<String> = sent[..taken].iter().map(|event| id_of(event).to_owned()).collect();
        let id = self.accept(member, indexer, channel, taken, &mut rng);
        self.note(format!("{words}: {id:?}, and the reply is lost: {is_lost}"));
        if is_lost {
            return if rng.one_in(2) { Answer::Ended } else { Answer::Silence(now + 2 * REPLY_TIMEOUT) };
        }
        let mut body = match bad {
            None => json!({"text": "Success", "code": if trouble && rng.one_in(20) { 24 } else { 0 }}),
            Some(bad) => json!({"text": "Invalid data format", "code": 6, "invalid-event-number": bad}),
        };
        if let Some(id) = id {
            body["ackId"] = Value::from(id);
        }
        reply(if bad.is_none() { 200 } else { 400 }, body.to_string(), self.keeps_prefix)
    }

    /// Queues events, or indexes them at once if acknowledgements are off. Returns the id of the request.
    fn accept(
        &mut self,
        member: &str,
        indexer: usize,
        channel: usize,
        events: Vec<String>,
        rng: &mut Rng,
    ) -> Option<usize> {
        if events.is_empty() {
            return None;
        }
        self.cluster().taken_by[indexer] += events.len() as u64;
        if !self.cluster().acks {
            events.iter().for_each(|event| self.arrives(member, event));
            return None;
        }
        let takes = match self.trouble.then(|| rng.below(20)) {
            // Longer than any member waits.
            Some(0) => Some(rng.millis(15_000, 60_000)),
            // Its queue overflows.
            Some(1) if rng.one_in(4) => None,
            Some(_) => Some(rng.millis(100, 4_000)),
            None => Some(self.cluster().indexed_after),
        };
        let cluster = self.cluster();
        let ids = cluster.indexers[indexer].channels.entry(channel).or_default();
        let id = ids.len();
        ids.push(Taken { is_indexed: false, is_reported: false });
        cluster.accepted += 1;
        match takes {
            Some(takes) => {
                let at = (Instant::now() + takes, cluster.accepted);
                cluster.queue.insert(at, Queued { indexer, channel, id, member: member.to_owned(), events });
            }
            None => cluster.lost += 1,
        }
        Some(id)
    }

    fn answer_poll(&mut self, indexer: usize, channel: usize, request: &Request, rng: &mut Rng) -> Answer {
        let asked: Value = serde_json::from_slice(&request.body).expect("it is what the client made");
        let ids: Vec<u64> = asked["acks"].as_array().expect("a list").iter().filter_map(Value::as_u64).collect();
        let fate = match (self.trouble, Instant::now() < self.cluster().polls_fail_until) {
            (_, true) => rng.below(3),
            (true, false) => rng.below(16),
            (false, false) => 16,
        };
        let mut safe = match fate {
            0 => return busy(),
            1 => return reply(200, "<html>a page</html>".to_owned(), false),
            // An error that does not come from the collector, whatever its body is.
            2 => {
                let all: BTreeMap<String, bool> = ids.iter().map(|id| (id.to_string(), true)).collect();
                return reply(500, json!({ "acks": all }).to_string(), false);
            }
            _ => {
                let is_forgetful = fate == 3 || Instant::now() < self.cluster().indexers[indexer].unacknowledging_until;
                self.cluster().acknowledged(indexer, channel, &ids, is_forgetful)
            }
        };
        if fate < 9 {
            // Ids that nobody polled.
            let behind = ids.iter().max().map_or(0, |last| last + 1);
            safe.extend((behind..behind + 3).map(|id| (id.to_string(), true)));
        }
        self.note(format!("channel {channel} asks indexer {indexer}: {safe:?}, and the answer is lost: {}", fate == 4));
        if fate == 4 {
            return if rng.one_in(2) { Answer::Ended } else { Answer::Silence(Instant::now() + 2 * REPLY_TIMEOUT) };
        }
        reply(200, json!({ "acks": safe }).to_string(), self.keeps_prefix)
    }
}

fn busy() -> Answer {
    reply(503, r#"{"text":"Server is busy","code":9}"#.to_owned(), false)
}

fn reply(status: u16, body: String, is_splunk: bool) -> Answer {
    Answer::Reply(Reply { status, body: body.into_bytes(), is_splunk, ..Reply::default() })
}
