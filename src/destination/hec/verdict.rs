//! What becomes of the events of a request.

use std::time::Duration;

use crate::core::cause::Cause;
use crate::destination::Rejection;

/// The result of the events before a bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// The receiver keeps them.
    Taken,
    /// Unknown: they are sent again.
    Unknown,
}

/// What to do with the events of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All are accepted.
    Accepted {
        /// The queue behind the collector fills up: send less at once.
        slow_down: bool,
        /// The acknowledgement id of the request, if the token has `useACK`.
        ack_id: Option<u64>,
    },
    /// Wait, then send the same again.
    Retry {
        /// Minimum wait.
        floor: Option<Duration>,
        /// The number of events that may have been accepted anyway.
        maybe_taken: usize,
        /// What happened.
        cause: Cause,
    },
    /// The operator must change something. Keep the events, log it, and probe slowly.
    Hold {
        /// The server's message, and the remedy.
        cause: Cause,
    },
    /// This event is refused for good. Later ones are not accepted.
    Event {
        /// The result of the events before it.
        before: Before,
        /// Its number in the request.
        bad: usize,
        /// The acknowledgement id of the events before it.
        ack_id: Option<u64>,
        /// What is wrong with it.
        rejection: Rejection,
        /// "hec 6".
        code: String,
        /// The server's message.
        reason: String,
    },
    /// The index of the request's only event is refused, for this event and any other.
    Index {
        /// Its name; `None` if the event named none.
        index: Option<String>,
        /// "hec 7".
        code: String,
        /// The server's message.
        reason: String,
    },
    /// This event is probably the bad one: send it alone. Later ones are not accepted.
    Alone {
        /// The result of the events before it.
        before: Before,
        /// Its number in the request.
        suspect: usize,
        /// The acknowledgement id of the events before it.
        ack_id: Option<u64>,
    },
    /// One of the events is bad, but the reply does not say which: send them in two halves. Some may have been
    /// accepted.
    Bisect,
    /// The request gets no answer from a collector, because of its size or one of its events: send them in two
    /// halves.
    Halve,
    /// The request is too large, and nothing was accepted: send the events in two halves, and use smaller requests
    /// from now on.
    Split,
    /// The server cannot read compressed bodies: send the same again uncompressed.
    GzipOff,
}

impl Verdict {
    /// The same, but the events before the bad one are sent again, whether the receiver keeps them or not.
    #[must_use]
    pub(super) fn with_all_others_to_send(mut self) -> Self {
        if let Self::Event { before, .. } | Self::Alone { before, .. } = &mut self {
            *before = Before::Unknown;
        }
        self
    }
}

/// The same failure, for a collector that answers empty requests but accepts nothing else.
#[must_use]
pub fn takes_no_events(mut failed: Verdict) -> Verdict {
    if let Verdict::Retry { cause, .. } | Verdict::Hold { cause } = &mut failed {
        cause.hint.get_or_insert(
            "an empty request is answered, but not one with events: check proxies and firewalls on the way, and \
            Splunk's own log",
        );
    }
    failed
}

/// The same failure, for a collector whose request another one answered.
#[must_use]
pub(super) fn answered_elsewhere(mut failed: Verdict) -> Verdict {
    if let Verdict::Retry { cause, .. } | Verdict::Hold { cause } = &mut failed {
        cause.hint.get_or_insert(
            "another collector answers the same requests: check this one, and proxies and firewalls on the way to it",
        );
    }
    failed
}

/// The verdict on a request's only event that ended it this many times in a row; `failed` is the last failure.
#[must_use]
pub fn ended_by_its_event(failed: &Verdict, times: u32) -> Verdict {
    let (Verdict::Retry { cause, .. } | Verdict::Hold { cause }) = failed else { return failed.clone() };
    Verdict::Event {
        before: Before::Taken,
        bad: 0,
        ack_id: None,
        rejection: Rejection::Refused,
        code: "no reply".to_owned(),
        reason: format!(
            "{times} times in a row it got no answer from a collector, while others succeeded: {}",
            cause.what
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_ended_its_requests_is_rejected_with_the_reason_and_the_count() {
        let failed = Verdict::Retry { floor: None, maybe_taken: 1, cause: Cause::new("no reply: connection reset") };
        let Verdict::Event { bad: 0, code, reason, .. } = ended_by_its_event(&failed, 5) else { panic!() };
        assert_eq!(code, "no reply");
        assert_eq!(
            reason,
            "5 times in a row it got no answer from a collector, while others succeeded: no reply: connection reset"
        );
    }

    #[test]
    fn a_collector_that_accepts_no_events_is_described_with_its_own_advice_or_with_ours() {
        let hint = |hint| match takes_no_events(Verdict::Hold { cause: Cause { what: String::new(), hint } }) {
            Verdict::Hold { cause } => cause.hint,
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(hint(Some("enable the token")), Some("enable the token"));
        assert!(hint(None).is_some_and(|hint| hint.contains("an empty request is answered")));
    }
}
