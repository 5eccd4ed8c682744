//! The model of a SIEM: it goes down, accepts part of a request, loses its reply, and refuses events that end with `!`,
//! either as Splunk does or as receivers that refuse a whole request. Its replies are interpreted as for HEC.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use forwarder::core::batch::Output;
use forwarder::core::cause::Cause;
use forwarder::core::event::{Body, BodyError, Format, Head};
use forwarder::core::lease::Tenure;
use forwarder::core::pending_output::PendingOutput;
use forwarder::destination::hec::plan::Plan;
use forwarder::destination::hec::reply::{Reply, Sent, classify};
use forwarder::destination::hec::verdict::Verdict;
use forwarder::destination::hec::{Hec, Partial};
use forwarder::destination::{CheckError, Checked, Destination, Figures, Health, Outcome, Promise};
use tokio::time::Instant;

use super::world::{Call, Inner, World, Worlds};

/// A destination of a member.
pub enum SimDestination {
    Model(SimSink),
    /// The program's own client, to a model of a cluster.
    Hec {
        world: World,
        client: Box<Hec>,
    },
}

impl Destination for SimDestination {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        self.deliver_pending(Arc::new(batch.into()), tenure).await
    }

    async fn deliver_pending(&self, pending: Arc<PendingOutput>, tenure: Tenure) -> Outcome {
        match self {
            Self::Model(sink) => sink.deliver(pending.output(), tenure).await,
            Self::Hec { world, client } => {
                world.lock().last_tenure = Some(tenure.clone());
                client.deliver_pending(pending, tenure).await
            }
        }
    }

    async fn check(&self) -> Result<Checked, CheckError> {
        match self {
            Self::Model(sink) => sink.check().await,
            Self::Hec { client, .. } => client.check().await,
        }
    }

    fn address(&self) -> String {
        "siem".to_owned()
    }

    fn promise(&self) -> Promise {
        Promise { label: "taken", sentence: "delivered means taken: the test has it" }
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }

    fn health(&self) -> Health {
        match self {
            Self::Model(sink) => sink.health(),
            Self::Hec { client, .. } => client.health(),
        }
    }
}

/// The SIEM, as seen by one member, which may have several sources.
pub struct SimSink {
    pub worlds: Worlds,
    pub member: String,
    /// The number of the archive; `None` for the SIEM.
    pub archive: Option<usize>,
}

/// The result of a request.
enum Fate {
    Answered,
    /// The first few events are accepted, then the request fails.
    Part(usize),
    /// Everything is accepted, and the reply is lost.
    ReplyLost,
    Nothing,
}

impl SimSink {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        let mut plan = Plan::new(&batch.events);
        while let Some(range) = plan.next(usize::MAX) {
            let world = self.worlds.of(id_at(&batch, range.start));
            world.lock().last_tenure = Some(tenure.clone());
            let Some(verdict) = self.deliver_some(world, &batch, &range, &tenure).await else {
                return Outcome::Abandoned;
            };
            plan.settle(range, verdict);
        }
        Outcome::Done(plan.into_rejected())
    }

    async fn check(&self) -> Result<Checked, CheckError> {
        match self.is_down() {
            true => Err(CheckError::Down(Cause::new("away"))),
            false => Ok(Checked { url: String::new(), took: Duration::ZERO, agrees: "is there" }),
        }
    }

    fn health(&self) -> Health {
        match self.is_down() {
            true => Health::Down { since: Instant::now(), cause: "away".to_owned() },
            false => Health::Unknown,
        }
    }

    fn down_until(&self, world: &Inner) -> Instant {
        self.archive.map_or(world.destination_down_until, |archive| world.archives[archive].down_until)
    }

    fn is_down(&self) -> bool {
        let world = self.worlds.any().lock();
        Instant::now() < self.down_until(&world)
    }

    /// Sends these events until there is an answer; `None` if the tenure ends first.
    async fn deliver_some(
        &self,
        world: &World,
        batch: &Output,
        range: &Range<usize>,
        tenure: &Tenure,
    ) -> Option<Verdict> {
        loop {
            if !tenure.holds() {
                return None;
            }
            let (delay, pause) = {
                let mut world = world.lock();
                // Events that an isolated destination missed belong to its writer, whichever member has the shard by
                // now.
                let archive = self.archive.map(|archive| &world.archives[archive]);
                let is_slow = archive.is_some_and(|archive| Instant::now() < archive.slow_until);
                if !archive.is_some_and(|archive| archive.isolated) {
                    world.acts(&self.member, batch.shard.0, "sends");
                }
                (world.rng.millis(1, if is_slow { 8_000 } else { 80 }), world.rng.millis(50, 3_000))
            };
            tenure.or(world.passes(delay)).await?;
            world.bug(&self.member, Call::Send);
            if let Some(reply) = self.request(world, batch, range.clone()) {
                let sent = Sent {
                    events: &batch.events,
                    range: range.clone(),
                    gzip: false,
                    index: None,
                    partial: Partial::Auto,
                };
                return Some(classify(&reply, &sent));
            }
            tenure.or(world.passes(pause)).await?;
        }
    }

    /// The reply of the SIEM to a request, if the reply arrives.
    fn request(&self, of: &World, batch: &Output, range: Range<usize>) -> Option<Reply> {
        let mut world = of.lock();
        let cut_off = world.cut_off.get(&self.member).is_some_and(|until| Instant::now() < *until);
        if cut_off || Instant::now() < self.down_until(&world) {
            return None;
        }
        let fate = if !world.trouble {
            Fate::Answered
        } else {
            match world.rng.below(12) {
                0 => Fate::Nothing,
                1 => Fate::ReplyLost,
                2 => Fate::Part(world.rng.below(range.len() as u64) as usize),
                _ => Fate::Answered,
            }
        };
        let refuses = self.archive.is_none_or(|archive| world.archives[archive].refuses);
        let bad = range.clone().find(|&event| refuses && is_poison(batch.events.get(event)));
        let taken = match bad {
            None => range.end,
            Some(bad) if world.keeps_prefix => bad,
            Some(_) => range.start,
        };
        let taken = match fate {
            Fate::Answered | Fate::ReplyLost => taken,
            Fate::Part(events) => taken.min(range.start + events),
            Fate::Nothing => range.start,
        };
        let member = &self.member;
        world.note(format!("{member} sent {}/{} of {}", taken - range.start, range.len(), batch.shard));
        let is_splunk = world.keeps_prefix;
        drop(world);
        for id in (range.start..taken).map(|event| id_at(batch, event)) {
            // Events that an isolated destination missed are replayed together, whichever source they come from.
            let mut world = self.worlds.of(id).lock();
            match self.archive {
                Some(archive) => world.is_archived(member, archive, id),
                None => world.arrives(member, id),
            }
        }
        let (status, body) = match bad {
            None => (200, r#"{"text":"Success","code":0}"#.to_owned()),
            Some(bad) => {
                let number = bad - range.start;
                (400, format!(r#"{{"text":"Invalid data format","code":6,"invalid-event-number":{number}}}"#))
            }
        };
        matches!(fate, Fate::Answered).then(|| Reply { status, body: body.into_bytes(), is_splunk, ..Reply::default() })
    }
}

pub fn is_poison(event: &[u8]) -> bool {
    event.trim_ascii_end().ends_with(b"!")
}

/// The id of a log that was sent unchanged because the script failed on it: the event has the log's fields in sequence.
pub fn id_of(event: &str) -> &str {
    let event = event.trim_end();
    event.split('|').find_map(|field| field.strip_prefix("id=")).unwrap_or(event)
}

fn id_at(batch: &Output, event: usize) -> &str {
    id_of(std::str::from_utf8(batch.events.get(event)).expect("ids are text"))
}

/// Events are their ids, each a line.
pub struct IdFormat;

impl Format for IdFormat {
    fn write(&self, _: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        body.text(b"|", out)?;
        out.push(b'\n');
        Ok(())
    }
}
