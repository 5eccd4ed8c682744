//! The model of a SIEM: goes away, takes part of a request, loses its reply, and refuses events that end with `!`.

use std::collections::BTreeSet;
use std::sync::Arc;

use forwarder::core::batch::Output;
use forwarder::core::cause::Cause;
use forwarder::core::event::{Body, BodyError, Format, Head};
use forwarder::core::lease::Tenure;
use forwarder::destination::{CheckError, Checked, Destination, Health, Outcome, Promise, Rejected, Rejection};
use tokio::time::Instant;

use super::world::{Call, World};

/// The SIEM as one member sees it.
pub struct SimSink {
    pub world: World,
    pub member: String,
}

/// What one request came to.
enum Sent {
    All,
    /// The first few events were taken, then the request failed.
    Part(usize),
    /// Everything was taken, and nobody said so.
    ReplyLost,
    Nothing,
}

impl Destination for SimSink {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        self.world.lock().last_tenure = Some(tenure.clone());
        let mut from = 0;
        let mut refused = BTreeSet::new();
        loop {
            if !tenure.holds() {
                return Outcome::Abandoned;
            }
            let (delay, pause) = {
                let mut world = self.world.lock();
                world.acts(&self.member, batch.shard.0, "sends");
                (world.rng.millis(1, 80), world.rng.millis(50, 3_000))
            };
            if tenure.or(self.world.passes(delay)).await.is_none() {
                return Outcome::Abandoned;
            }
            self.world.bug(&self.member, Call::Send);
            let events = from..batch.events.len();
            match self.request(&batch, events.clone()) {
                Sent::All => {
                    refused.extend(events.filter(|&event| is_poison(batch.events.get(event))));
                    return Outcome::Done(refused.into_iter().map(rejected).collect());
                }
                Sent::Part(taken) => {
                    refused.extend(events.take(taken).filter(|&event| is_poison(batch.events.get(event))));
                    from += taken;
                }
                Sent::ReplyLost | Sent::Nothing => {}
            }
            if tenure.or(self.world.passes(pause)).await.is_none() {
                return Outcome::Abandoned;
            }
        }
    }

    async fn check(&self) -> Result<Checked, CheckError> {
        Err(CheckError::Down(Cause::new("nobody asks this one")))
    }

    fn promise(&self) -> Promise {
        Promise { label: "taken", sentence: "delivered means taken: the test has it" }
    }

    fn health(&self) -> Health {
        Health::Unknown
    }
}

impl SimSink {
    fn request(&self, batch: &Output, events: std::ops::Range<usize>) -> Sent {
        let mut world = self.world.lock();
        let cut_off = world.cut_off.get(&self.member).is_some_and(|until| Instant::now() < *until);
        if cut_off || Instant::now() < world.siem_down_until {
            return Sent::Nothing;
        }
        let sent = if !world.trouble {
            Sent::All
        } else {
            match world.rng.below(12) {
                0 => Sent::Nothing,
                1 => Sent::ReplyLost,
                2 => Sent::Part(world.rng.below(events.len() as u64) as usize),
                _ => Sent::All,
            }
        };
        let taken = match sent {
            Sent::All | Sent::ReplyLost => events.len(),
            Sent::Part(taken) => taken,
            Sent::Nothing => 0,
        };
        let member = &self.member;
        world.note(format!("{member} sent {taken}/{} of {}", events.len(), batch.shard));
        for event in events.take(taken) {
            let id = std::str::from_utf8(batch.events.get(event)).expect("ids are text");
            if !is_poison(id.as_bytes()) {
                world.arrives(member, id_of(id));
            }
        }
        sent
    }
}

fn is_poison(event: &[u8]) -> bool {
    event.ends_with(b"!")
}

/// The id of a log that the script failed on and that was sent unchanged: the log's fields, one after another.
fn id_of(event: &str) -> &str {
    event.split('|').find_map(|field| field.strip_prefix("id=")).unwrap_or(event)
}

fn rejected(event: usize) -> Rejected {
    Rejected { event, rejection: Rejection::Refused, code: "sim 6".to_owned(), reason: "poison".to_owned() }
}

/// Events are their ids.
pub struct IdFormat;

impl Format for IdFormat {
    fn write(&self, _: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        body.text(b"|", out)
    }
}
