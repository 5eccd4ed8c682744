//! Delivers batches to the collectors.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::acks::Fate;
use super::body::SMALL_BODY;
use super::config_error::ConfigError;
use super::counters::HecCounts;
use super::failures::Failures;
use super::indexes::BadIndexes;
use super::indexing::Acknowledgement;
use super::member::{Load, Member};
use super::packing::Bodies;
use super::plan::Plan;
use super::requests::{Requests, Settled, Waits};
use super::roster::LookUp;
use super::status;
use super::tally::Suspects;
use super::timing::{RETRY_TIMING, Timing};
use super::verdict::Verdict;
use super::{Config, Partial};
use crate::core::batch::Output;
use crate::core::certificates::CertificateEnds;
use crate::core::lease::Tenure;
use crate::core::page::Packed;
use crate::core::pending_output::PendingOutput;
use crate::destination::{CheckError, Checked, Destination, Figures, Gauge, Health, Outcome, Promise, Rejected};

/// Maximum number of compressed batches that are unpacked at the same time to be sent again. They take more memory than
/// they hold credit for.
const RESENDS: usize = 4;

/// Splunk's HTTP Event Collector as a destination. *Delivered* means *accepted*: parsed and queued by the collector;
/// or *indexed*, with acknowledgements.
#[derive(Debug)]
pub struct Hec {
    /// Of the settings.
    urls: Vec<String>,
    requests: Requests,
    bad_indexes: BadIndexes,
    /// The turns of batches that were packed and have to be sent again.
    resends: Semaphore,
}

/// The events of a batch that wait for an acknowledgement, and what becomes of them.
type Waiting = FuturesUnordered<BoxFuture<'static, (Range<usize>, Fate)>>;

/// How the sending of events ended.
#[derive(Debug)]
enum Sent {
    /// All are delivered, except these.
    Done(Vec<Rejected>),
    /// They wait for acknowledgements. With the compressed batch, unless it is known.
    Waits(Option<Packed>),
}

impl Hec {
    /// Checks the settings and reads the files that they name. It sends nothing yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Self::with(config, RETRY_TIMING, LookUp::system())
    }

    fn with(config: &Config, timing: Timing, look_up: LookUp) -> Result<Self, ConfigError> {
        let requests = Requests::new(config, timing, look_up)?;
        Ok(Self {
            urls: requests.members.all().iter().map(|member| member.url().to_owned()).collect(),
            requests,
            bad_indexes: BadIndexes::new(config.fallback_index.clone().filter(|index| !index.is_empty())),
            resends: Semaphore::new(RESENDS),
        })
    }

    /// The counts so far.
    #[must_use]
    pub fn snapshot(&self) -> HecCounts {
        self.requests.counters.snapshot()
    }

    /// Sends everything; `None` if the tenure ended before a send.
    ///
    /// Events that wait for acknowledgements are kept compressed, if their requests were.
    async fn deliver_all(&self, pending: &Arc<PendingOutput>, tenure: &Tenure) -> Option<Outcome> {
        let mut batch = pending.output();
        let mut range = 0..pending.len();
        let mut bodies = Some(Bodies::default());
        let mut waiting = Waiting::new();
        let mut turn = None;
        loop {
            match self.send_range(&batch, range, &mut bodies, &mut waiting, tenure).await? {
                Sent::Done(rejected) => return Some(Outcome::Done(rejected)),
                Sent::Waits(Some(packed)) => pending.pack(packed),
                Sent::Waits(None) => pending.pack_again(),
            }
            drop((batch, turn));
            range = loop {
                match waiting.next().await {
                    Some((_, Fate::Indexed)) => {}
                    Some((range, Fate::Expired | Fate::Lost)) => break range,
                    None => return Some(Outcome::Done(Vec::new())),
                }
            };
            self.lost(&range);
            turn = Some(self.resends.acquire().await.expect("it is never closed"));
            batch = unpacked(pending).await;
        }
    }

    /// Sends these events of a batch until all are delivered or rejected, or until they only wait for acknowledgements
    /// and can be kept compressed: `bodies` has the compressed requests, or is `None` if they are kept already.
    async fn send_range(
        &self,
        batch: &Arc<Output>,
        range: Range<usize>,
        bodies: &mut Option<Bodies>,
        waiting: &mut Waiting,
        tenure: &Tenure,
    ) -> Option<Sent> {
        let mut suspects = Suspects::default();
        let refused = self.bad_indexes.refused(Instant::now());
        let mut plan = Plan::knowing(&batch.events, range, refused, self.bad_indexes.fallback().is_some());
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some(range) = plan.next(self.requests.members.most_bytes(Instant::now())) {
                let failures = suspects.of(&range).unwrap_or_default();
                let fallback = self.bad_indexes.fallback().filter(|_| plan.is_rerouted(&range));
                under_way.push(self.requests.send(batch, range, fallback, failures, tenure).boxed());
            }
            if under_way.is_empty() && !waiting.is_empty() && plan.is_plain() {
                match bodies {
                    None => return Some(Sent::Waits(None)),
                    Some(accepted) => {
                        let packed = accepted.join(batch.events.len(), batch.events.bytes().len());
                        if packed.is_some() {
                            *bodies = None;
                            return Some(Sent::Waits(packed));
                        }
                    }
                }
            }
            tokio::select! {
                biased;
                Some(settled) = under_way.next() => {
                    let waits = self.settle(&mut plan, &mut suspects, settled?);
                    if let Some(Waits { acknowledgement, range, load, body }) = waits {
                        if let (Some(bodies), Some(body)) = (bodies.as_mut(), body) {
                            bodies.add(&range, body);
                        }
                        waiting.push(acknowledged(acknowledgement, range, load).boxed());
                    }
                }
                Some((range, fate)) = waiting.next() => {
                    if fate != Fate::Indexed {
                        self.lost(&range);
                        plan.send_again(range);
                    }
                }
                else => break,
            }
        }
        let rejected = plan.into_rejected();
        for rejected in &rejected {
            self.requests.counters.rejected(&rejected.code);
        }
        Some(Sent::Done(rejected))
    }

    /// Applies the verdict on a request to the plan. Returns its wait for an acknowledgement.
    fn settle(&self, plan: &mut Plan<'_>, suspects: &mut Suspects<Failures>, settled: Settled) -> Option<Waits> {
        let Settled { range, verdict, member, failures, waits } = settled;
        match &verdict {
            Verdict::Accepted { .. } if plan.is_rerouted(&range) => self.requests.counters.rerouted(range.len()),
            Verdict::Index { index, code, reason } => {
                self.bad_indexes.learn(index.as_deref(), code, reason, Instant::now());
            }
            _ => {}
        }
        if verdict == Verdict::Halve {
            suspects.add(range.clone(), failures);
        }
        let suspect = suspects.of(&range);
        if let Some(bytes) = plan.settle(range, verdict)
            && suspect.as_ref().and_then(Failures::last).is_some_and(|failed| Arc::ptr_eq(failed, &member))
        {
            // What another member accepts says nothing about the one where the request failed.
            member.learn(bytes, Instant::now(), "larger requests get no answer; sending no larger ones for now");
        }
        waits
    }

    /// These events were accepted, and no acknowledgement will come: they are sent again.
    fn lost(&self, range: &Range<usize>) {
        self.requests.counters.retry();
        self.requests.counters.maybe_taken(range.len());
    }

    fn members(&self) -> Arc<[Arc<Member>]> {
        self.requests.members.all()
    }
}

/// The output of a packed one.
async fn unpacked(pending: &Arc<PendingOutput>) -> Arc<Output> {
    if pending.bytes() <= SMALL_BODY {
        return pending.output();
    }
    let pending = Arc::clone(pending);
    tokio::task::spawn_blocking(move || pending.output()).await.expect("unpacking does not panic")
}

async fn acknowledged(acknowledgement: Acknowledgement, range: Range<usize>, load: Load) -> (Range<usize>, Fate) {
    let fate = acknowledgement.fate().await;
    drop(load);
    (range, fate)
}

impl Destination for Hec {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        self.deliver_pending(Arc::new(batch.into()), tenure).await
    }

    async fn deliver_pending(&self, pending: Arc<PendingOutput>, tenure: Tenure) -> Outcome {
        match tenure.or(self.deliver_all(&pending, &tenure)).await {
            Some(Some(outcome)) => outcome,
            Some(None) | None => Outcome::Abandoned,
        }
    }

    /// Checks whether the collector answers and accepts the token. The request is empty, so nothing is indexed: a
    /// collector that accepts the token reports that there is no data (code 5). An index cannot be checked this way.
    async fn check(&self) -> Result<Checked, CheckError> {
        let began = Instant::now();
        let (mut agreed, mut failed) = (Vec::new(), None);
        self.requests.members.refresh().await;
        let members = self.members();
        for (member, checked) in join_all(members.iter().map(|member| member.checked())).await {
            let now = Instant::now();
            match checked {
                Ok(reply) => {
                    member.request_health.up(now);
                    agreed.push((member.url(), reply.is_splunk));
                }
                Err(error) => {
                    member.request_health.check_failed(began, now, &error);
                    failed.get_or_insert(error);
                }
            }
        }
        if let (Some(error), []) = (failed, &agreed[..]) {
            return Err(error);
        }
        let agrees = match (self.requests.partial, agreed.iter().all(|(_, is_splunk)| *is_splunk)) {
            _ if self.requests.waits_for_acks => "accepted the HEC token, which has indexer acknowledgement",
            (Partial::Auto, true) => "accepted the HEC token, and identifies itself as Splunk",
            (Partial::Auto, false) => {
                "accepted the HEC token, and does not identify itself as Splunk: if a request has a bad event, its \
                good events are sent again (hec.partial)"
            }
            (Partial::Kept | Partial::Refused, _) => "accepted the HEC token",
        };
        let urls: Vec<&str> = agreed.iter().map(|(url, _)| *url).collect();
        Ok(Checked { url: urls.join(", "), took: began.elapsed(), agrees })
    }

    fn address(&self) -> String {
        self.urls.join(", ")
    }

    fn promise(&self) -> Promise {
        if self.requests.waits_for_acks {
            let sentence = "delivered means indexed: the indexers have acknowledged the events, so the loss of one \
                 indexer loses no event";
            return Promise { label: "indexed", sentence };
        }
        let sentence = match self.requests.partial {
            Partial::Auto => {
                "delivered means accepted: Splunk has put the events into its queue; events before a bad one count if \
                the collector identifies itself as Splunk, and are sent again otherwise"
            }
            Partial::Kept => {
                "delivered means accepted: the collector has put the events into its queue; events before a bad one \
                count, because hec.partial = \"kept\""
            }
            Partial::Refused => {
                "delivered means accepted: the collector has put the events into its queue; events before a bad one \
                are sent again, because hec.partial = \"refused\""
            }
        };
        Promise { label: "accepted", sentence }
    }

    fn health(&self) -> Health {
        status::health(&self.members())
    }

    fn figures(&self) -> Figures {
        self.requests.counters.snapshot().to_figures(status::outages(&self.members()))
    }

    fn certificates(&self) -> CertificateEnds {
        status::certificates(&self.members())
    }

    fn gauges(&self) -> Vec<Gauge> {
        status::gauges(&self.members(), &self.requests.members.with_leaving())
    }

    fn warnings(&self) -> Vec<String> {
        status::warnings(&self.members())
    }
}

#[cfg(test)]
mod tests;
