//! Any sequence of replies of a collector: every event is accepted or rejected exactly once, and the plan terminates.

use std::convert::Infallible;
use std::time::Duration;

use forwarder::core::batch::Events;
use forwarder::destination::hec::Partial;
use forwarder::destination::hec::plan::{MAX_EVENTS, Plan};
use forwarder::destination::hec::reply::{Reply, Sent, classify, foreign};
use forwarder::destination::hec::verdict::{Before, Verdict};

use super::input::Input;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    ToSend,
    Taken,
    Rejected,
}

const STATUSES: [u16; 20] =
    [200, 400, 503, 413, 403, 401, 404, 415, 429, 500, 301, 407, 408, 201, 501, 0, 405, 418, 999, 65535];

/// The events, then one reply after the other; when the input is used up, the collector accepts everything.
pub fn hec_reply(input: &[u8]) {
    let mut input = Input::new(input);
    let count = usize::from(input.byte() % 40);
    let mut events = Events::default();
    for event in 0..count {
        let look = input.byte();
        let index = match look & 7 {
            0..=3 => String::new(),
            4 => r#""index":"main","#.to_owned(),
            5 => r#""index":"a","#.to_owned(),
            6 => r#""index":null,"#.to_owned(),
            _ => format!("\"index\":{},", serde_json::Value::from(input.text())),
        };
        let pad = "x".repeat(usize::from(look >> 3));
        let text = if look == 255 { "not JSON\n".to_owned() } else { format!("{{{index}\"event\":\"{pad}\"}}\n") };
        let Ok(()) = events.push(event as u32, |out| {
            out.extend_from_slice(text.as_bytes());
            Ok::<_, Infallible>(())
        });
    }
    let max_body = 1 + usize::from(input.byte()) * 8;
    let default = input.pick(&[None, Some("main"), Some("a")]);
    let partial = input.pick(&[Partial::Auto, Partial::Kept, Partial::Refused]);

    let mut states = vec![State::ToSend; count];
    let mut indexes_refused = 0;
    let mut plan = Plan::new(&events);
    let mut after_the_end = 0;
    while let Some(range) = plan.next(max_body) {
        assert!(!range.is_empty() && range.len() <= MAX_EVENTS && range.end <= count);
        let bytes = events.range(range.end - 1).end - events.range(range.start).start;
        assert!(bytes <= max_body || range.len() == 1, "{bytes} bytes of {max_body}");
        for event in range.clone() {
            assert_eq!(states[event], State::ToSend, "event {event} is sent although it was settled");
        }
        if input.is_empty() {
            after_the_end += 1;
            assert!(after_the_end <= count, "a willing collector gets more requests than there are events");
        }
        let reply = reply(&mut input);
        let gzip = input.byte() & 1 == 1;
        let sent = Sent { events: &events, range: range.clone(), gzip, index: default, partial };
        let verdict = match foreign(&reply) {
            // The conclusion of the client when this happens repeatedly.
            Some(_) if range.len() > 1 && input.byte() & 1 == 1 => Verdict::Halve,
            _ => classify(&reply, &sent),
        };
        let taken_before = match &verdict {
            Verdict::Accepted { .. } => range.len(),
            Verdict::Event { before, bad, code, reason, .. } => {
                assert!(*bad < range.len());
                fit_to_show(code, reason);
                states[range.start + bad] = State::Rejected;
                if *before == Before::Taken { *bad } else { 0 }
            }
            Verdict::Alone { before, suspect, .. } => {
                assert!(
                    *suspect < range.len() && range.len() > 1,
                    "asked about alone, it would be asked about for ever"
                );
                if *before == Before::Taken { *suspect } else { 0 }
            }
            Verdict::Index { code, reason, .. } => {
                assert_eq!(range.len(), 1);
                fit_to_show(code, reason);
                states[range.start] = State::Rejected;
                indexes_refused += 1;
                0
            }
            Verdict::Bisect | Verdict::Split | Verdict::Halve => {
                assert!(range.len() > 1, "one event has no halves");
                0
            }
            Verdict::Retry { maybe_taken, cause, .. } => {
                assert!(*maybe_taken <= range.len());
                fit_to_show("", &cause.what);
                0
            }
            Verdict::Hold { cause } => {
                fit_to_show("", &cause.what);
                0
            }
            Verdict::GzipOff => {
                assert!(sent.gzip);
                0
            }
        };
        if matches!(verdict, Verdict::Accepted { .. }) {
            assert!((200..300).contains(&reply.status), "taken with status {}", reply.status);
        }
        states[range.start..range.start + taken_before].fill(State::Taken);
        plan.settle(range, verdict);
    }

    let rejected = plan.into_rejected();
    assert!(rejected.is_sorted_by(|a, b| a.event < b.event), "an event is rejected twice");
    for rejected in &rejected {
        assert_ne!(states[rejected.event], State::Taken, "event {} is taken and rejected", rejected.event);
        assert!(states[rejected.event] == State::Rejected || indexes_refused > 0);
        states[rejected.event] = State::Rejected;
    }
    assert_eq!(rejected.len(), states.iter().filter(|state| **state == State::Rejected).count(), "a rejection is lost");
    assert!(!states.contains(&State::ToSend), "an event is forgotten: {states:?}");
}

fn reply(input: &mut Input<'_>) -> Reply {
    if input.is_empty() {
        return Reply {
            status: 200,
            body: br#"{"text":"Success","code":0}"#.to_vec(),
            is_splunk: true,
            ..Reply::default()
        };
    }
    let status = input.pick(&STATUSES);
    let how = input.byte();
    let code = match how >> 4 {
        code @ 0..=13 => u64::from(code),
        14 => 24,
        _ => u64::from(input.number()),
    };
    let body = match how & 3 {
        0 => format!(r#"{{"text":"said","code":{code},"invalid-event-number":{}}}"#, input.byte() % 44).into_bytes(),
        1 => format!(r#"{{"text":"said","code":{code},"ackId":{}}}"#, input.byte()).into_bytes(),
        2 => format!(r#"{{"text":{},"code":{code}}}"#, serde_json::Value::from(input.text())).into_bytes(),
        _ => input.piece().to_vec(),
    };
    let retry_after = (how & 4 != 0).then(|| Duration::from_secs(input.number().into()));
    Reply { status, retry_after, body, is_splunk: true, ..Reply::default() }
}

fn fit_to_show(code: &str, reason: &str) {
    assert!(code.len() < 32, "{code}");
    assert!(reason.chars().count() <= 300, "{} characters: {reason}", reason.chars().count());
    assert!(!reason.contains(char::is_control), "it would act on a terminal: {reason:?}");
}
