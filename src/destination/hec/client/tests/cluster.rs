//! Three collectors on the paused clock, of which each can be bad in its own manner, and the shards that send to them.

use std::sync::Mutex;

use futures_util::future::BoxFuture;

use super::*;
use crate::core::cause::Cause;
use crate::destination::hec::RequestFault;
use crate::destination::hec::reply::Reply;
use crate::destination::hec::transport::{Request, Transport};

/// The time limit of a request.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A full request, and an event.
pub const FULL: usize = 1_000_000;
const EVENT: usize = 10_000;

/// How a collector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Well,
    /// Never.
    Hangs,
    /// Never, except to an empty request.
    HangsWithEvents,
    /// After this time, except to an empty request.
    Slow(Duration),
    /// After this time.
    Stalls(Duration),
    /// Without end, except to an empty request.
    Floods,
    /// With a page of something else, except to an empty request.
    Page,
    /// With a page of something else.
    OnlyPages,
    /// Requests with events are reset.
    Resets,
    /// Requests with events are reset, and an empty one is answered after two seconds.
    ResetsAndIsSlow,
    /// Requests above this size are reset by a device on the way.
    ResetsAbove(usize),
    /// Requests above this size are refused by the collector.
    RefusesAbove(usize),
}

/// A request with events.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub member: usize,
    pub at: Instant,
    pub bytes: usize,
}

#[derive(Debug)]
struct State {
    manners: [Manner; 3],
    sent: Vec<Sent>,
    empty: usize,
    accepted: usize,
}

/// The collectors.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Mutex<State>>);

impl Cluster {
    pub fn new(manners: [Manner; 3]) -> Self {
        Self(Arc::new(Mutex::new(State { manners, sent: Vec::new(), empty: 0, accepted: 0 })))
    }

    /// From now on, a collector answers like this.
    pub fn set(&self, member: usize, manner: Manner) {
        self.0.lock().unwrap().manners[member] = manner;
    }

    /// The requests with events from this time on.
    pub fn sent_since(&self, since: Instant) -> Vec<Sent> {
        self.0.lock().unwrap().sent.iter().copied().filter(|sent| sent.at >= since).collect()
    }

    /// The number of requests without events.
    pub fn empty(&self) -> usize {
        self.0.lock().unwrap().empty
    }

    /// The number of accepted events.
    pub fn accepted(&self) -> usize {
        self.0.lock().unwrap().accepted
    }

    /// A client of all of them.
    pub fn client(&self) -> Arc<Hec> {
        self.client_of(3, RETRY_TIMING)
    }

    /// A client of the first ones.
    pub fn client_of(&self, members: usize, timing: Timing) -> Arc<Hec> {
        let member = |number| MemberConfig { url: format!("http://collector{number}:8088"), weight: 1 };
        let config = Config {
            members: (0..members).map(member).collect(),
            max_body: FULL,
            transport: Some(Arc::new(self.clone())),
            ..Config::plain("http://collector0:8088", TOKEN)
        };
        Arc::new(Hec::with(&config, timing, LookUp::system()).unwrap())
    }

    async fn answer(self, request: Request) -> Result<Reply, RequestFault> {
        let member = request.url.trim_start_matches("http://collector").split(':').next().unwrap().parse().unwrap();
        let is_empty = request.body.is_empty();
        let manner = {
            let mut state = self.0.lock().unwrap();
            if is_empty {
                state.empty += 1;
            } else {
                state.sent.push(Sent { member, at: Instant::now(), bytes: request.body.len() });
            }
            state.manners[member]
        };
        let pass = || Duration::from_millis(50);
        let reply = |status, body: &str| {
            Ok(Reply { status, body: body.as_bytes().to_vec(), is_splunk: true, ..Reply::default() })
        };
        let reset = || Err(RequestFault::Ended(Cause::new("connection reset")));
        tokio::time::sleep(pass()).await;
        if manner == Manner::ResetsAndIsSlow && is_empty {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        match manner {
            Manner::Slow(time) if !is_empty => tokio::time::sleep(time).await,
            Manner::Stalls(time) => tokio::time::sleep(time).await,
            _ => {}
        }
        match manner {
            Manner::Hangs => {}
            Manner::OnlyPages => return reply(200, "<html>a page</html>"),
            _ if is_empty => return reply(400, r#"{"text":"No data","code":5}"#),
            Manner::HangsWithEvents => {}
            Manner::Floods => return reply(200, &" ".repeat(64 * 1024)),
            Manner::Page => return reply(200, "<html>a page</html>"),
            Manner::Resets | Manner::ResetsAndIsSlow => return reset(),
            Manner::ResetsAbove(most) if request.body.len() > most => return reset(),
            Manner::RefusesAbove(most) if request.body.len() > most => return reply(413, "too large"),
            Manner::Well | Manner::Slow(_) | Manner::Stalls(_) | Manner::ResetsAbove(_) | Manner::RefusesAbove(_) => {
                self.0.lock().unwrap().accepted += request.body.len() / EVENT;
                return reply(200, r#"{"text":"Success","code":0}"#);
            }
        }
        tokio::time::sleep(TIMEOUT - pass()).await;
        Err(RequestFault::Silence(Cause::new("no reply in time")))
    }
}

impl Transport for Cluster {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Reply, RequestFault>> {
        Box::pin(self.clone().answer(request))
    }
}

/// Four shards deliver batches of two full requests for this time. Returns the longest delivery.
pub async fn load(cluster: &Cluster, hec: &Arc<Hec>, time: Duration) -> Duration {
    let until = Instant::now() + time;
    let batch = wide_batch(u32::try_from(2 * FULL / EVENT).unwrap(), EVENT);
    let before = cluster.accepted();
    let mut shards = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (hec, batch) = (Arc::clone(hec), Arc::clone(&batch));
        shards.spawn(async move {
            let (_stopper, tenure) = tenure();
            let (mut longest, mut delivered) = (Duration::ZERO, 0);
            while Instant::now() < until {
                let began = Instant::now();
                assert_eq!(hec.deliver(Arc::clone(&batch), tenure.clone()).await, Outcome::Done(Vec::new()));
                assert!(matches!(hec.health(), Health::Up { .. }), "{:?}", hec.health());
                longest = longest.max(began.elapsed());
                delivered += batch.events.len();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            (longest, delivered)
        });
    }
    let (longest, delivered): (Vec<_>, Vec<_>) = shards.join_all().await.into_iter().unzip();
    assert_eq!(
        cluster.accepted() - before,
        delivered.iter().sum::<usize>(),
        "nothing is lost, and nothing comes twice"
    );
    longest.into_iter().max().unwrap()
}
