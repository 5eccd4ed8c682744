//! Sends one request to one member, and classifies the answer.

use bytes::Bytes;
use tokio::time::Instant;

use super::counters::Counters;
use super::indexing::{AckProbe, Acknowledgement, Sending};
use super::member::Member;
use super::reply::{Sent, classify, foreign, with_acks};
use super::request_fault::RequestFault;
use super::suspicion::Failure;
use super::verdict::{Before, Verdict};
use crate::core::cause::Cause;
use crate::core::lease::Tenure;
use crate::destination::CheckError;

/// The result of one request.
#[derive(Debug)]
pub(super) struct Answer {
    /// What the answer means.
    pub(super) verdict: Verdict,
    /// How it failed, if the request itself may be the cause.
    pub(super) failure: Option<Failure>,
    /// The pending acknowledgement of its events.
    pub(super) acknowledgement: Option<Acknowledgement>,
}

/// Sends one request, and classifies the answer. `probe`: if it probes for acknowledgements. `hangs` resolves if the member
/// hangs meanwhile, and gives the request up. `None`: the tenure was over before the send.
pub(super) async fn exchange(
    member: &Member,
    counters: &Counters,
    body: Bytes,
    sent: &Sent<'_>,
    probe: Option<AckProbe>,
    hangs: impl Future<Output = ()>,
    tenure: &Tenure,
) -> Option<Answer> {
    let none = |verdict| Some(Answer { verdict, failure: None, acknowledgement: None });
    if let Some(acks) = &member.acks {
        match acks.confirm().await {
            Ok(()) => {}
            Err(CheckError::Down(cause)) => return none(Verdict::Retry { floor: None, maybe_taken: 0, cause }),
            Err(CheckError::Refused(cause)) => return none(Verdict::Hold { cause }),
        }
    }
    // Asked last: whatever was awaited before this may have taken any time.
    if !tenure.holds() {
        return None;
    }
    let sending = member.acks.as_ref().map(|acks| acks.begin(probe));
    counters.request(body.len());
    let asked = Instant::now();
    let reply = tokio::select! {
        biased;
        reply = member.endpoint.post(body, sent.gzip, sending.as_ref().map(Sending::channel)) => reply,
        () = hangs => Err(RequestFault::Silence(Cause::new("it answers nothing, and other collectors do"))),
    };
    counters.answered(reply.as_ref().ok().map(|reply| reply.status), asked.elapsed());
    let (verdict, failure) = match reply {
        Ok(reply) => (classify(&reply, sent), foreign(&reply)),
        Err(fault) => {
            let failure = fault.failure();
            (fault.verdict(sent.range.len()), failure)
        }
    };
    let (Some(acks), Some(sending)) = (&member.acks, sending) else {
        return Some(Answer { verdict, failure, acknowledgement: None });
    };
    let is_unanswered = failure.is_some();
    let verdict = with_acks(verdict);
    let acknowledgement = match &verdict {
        Verdict::Accepted { ack_id: Some(id), .. } => sending.accepted(*id, true),
        Verdict::Event { ack_id: Some(id), .. } | Verdict::Alone { ack_id: Some(id), .. } => {
            sending.accepted(*id, kept(&verdict, sent.range.len()) > 0)
        }
        // The result of the request is unknown.
        Verdict::Bisect | Verdict::Retry { maybe_taken: 1.., .. } => None,
        Verdict::Hold { .. } if is_unanswered => None,
        Verdict::Hold { .. } => {
            // Events may have been accepted without an id; before more are sent, the token must prove that it has
            // acknowledgements.
            acks.doubt();
            None
        }
        _ => {
            sending.refused();
            None
        }
    };
    Some(Answer { verdict, failure, acknowledgement })
}

/// How many events from the start of a request were accepted and are not sent again.
pub(super) fn kept(verdict: &Verdict, count: usize) -> usize {
    match verdict {
        Verdict::Accepted { .. } => count,
        Verdict::Event { before: Before::Taken, bad: kept, .. }
        | Verdict::Alone { before: Before::Taken, suspect: kept, .. } => *kept,
        _ => 0,
    }
}
