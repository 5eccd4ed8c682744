use std::io::Write as _;

use super::*;

/// Events given by their indexes, and the reply to a request with all of them.
struct Case {
    events: Events,
    gzip: bool,
    partial: Partial,
}

fn events(count: usize) -> Case {
    indexed(&vec!["main"; count])
}

fn indexed(indexes: &[&str]) -> Case {
    let mut events = Events::default();
    for index in indexes {
        events.push(0, |out| writeln!(out, "{{\"index\":\"{index}\",\"event\":1}}")).unwrap();
    }
    Case { events, gzip: false, partial: Partial::Auto }
}

fn large(count: usize) -> Case {
    let mut events = Events::default();
    for _ in 0..count {
        events.push(0, |out| out.write_all(&vec![b'x'; 6_000_000])).unwrap();
    }
    Case { events, gzip: false, partial: Partial::Auto }
}

impl Case {
    fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    fn verdict(&self, reply: &Reply) -> Verdict {
        classify(
            reply,
            &Sent {
                events: &self.events,
                range: 0..self.events.len(),
                gzip: self.gzip,
                index: Some("main"),
                partial: self.partial,
            },
        )
    }

    /// The verdict without its texts.
    #[track_caller]
    fn check(&self, status: u16, body: &str, expected: &str) {
        let reply = Reply { status, body: body.as_bytes().to_vec(), is_splunk: true, ..Reply::default() };
        let verdict = match self.verdict(&reply) {
            Verdict::Accepted { slow_down, ack_id } => format!(
                "accepted{}{}",
                if slow_down { " slow" } else { "" },
                ack_id.map(|id| format!(" ack {id}")).unwrap_or_default()
            ),
            Verdict::Retry { floor: None, maybe_taken, .. } => format!("retry, maybe {maybe_taken}"),
            Verdict::Retry { floor: Some(floor), maybe_taken, .. } => {
                format!("retry in {floor:?}, maybe {maybe_taken}")
            }
            Verdict::Hold { .. } => "hold".to_owned(),
            Verdict::Event { bad, ack_id, code, .. } => {
                format!("event {bad}, {code}{}", ack_id.map(|id| format!(" ack {id}")).unwrap_or_default())
            }
            Verdict::Index { index, .. } => format!("index {index:?}"),
            Verdict::Alone { suspect, ack_id, .. } => {
                format!("alone {suspect}{}", ack_id.map(|id| format!(" ack {id}")).unwrap_or_default())
            }
            Verdict::Bisect => "bisect".to_owned(),
            Verdict::Halve => "halve".to_owned(),
            Verdict::Split => "split".to_owned(),
            Verdict::GzipOff => "gzip off".to_owned(),
        };
        assert_eq!(verdict, expected, "HTTP {status} {body}");
    }
}

fn code(code: u64) -> String {
    format!(r#"{{"text":"words","code":{code}}}"#)
}

fn numbered(code: u64, number: u64) -> String {
    format!(r#"{{"text":"words","code":{code},"invalid-event-number":{number}}}"#)
}

#[test]
fn every_documented_code_has_its_decision() {
    let table = [
        (0, 200, "accepted"),
        (1, 403, "hold"),
        (2, 401, "hold"),
        (3, 401, "hold"),
        (4, 403, "hold"),
        (5, 400, "hold"),
        (6, 400, "bisect"),
        (7, 400, "bisect"),
        (8, 500, "retry, maybe 3"),
        (9, 503, "retry, maybe 0"),
        (10, 400, "hold"),
        (11, 400, "hold"),
        (12, 400, "bisect"),
        (13, 400, "bisect"),
        (14, 400, "hold"),
        (15, 400, "bisect"),
        (16, 400, "hold"),
        (17, 200, "retry, maybe 3"),
        (18, 503, "retry, maybe 0"),
        (19, 503, "retry, maybe 0"),
        (20, 503, "retry, maybe 0"),
        (21, 400, "hold"),
        (22, 400, "hold"),
        (23, 503, "retry, maybe 0"),
        (24, 200, "accepted slow"),
        (25, 200, "accepted slow"),
        (26, 429, "retry, maybe 0"),
        (27, 429, "retry, maybe 0"),
        (28, 400, "hold"),
    ];
    for (number, status, expected) in table {
        events(3).check(status, &code(number), expected);
    }
}

#[test]
fn a_bad_event_is_named_by_its_number_from_zero() {
    for bad in [6, 12, 13, 15] {
        events(3).check(400, &numbered(bad, 0), &format!("event 0, hec {bad}"));
        events(3).check(400, &numbered(bad, 2), &format!("event 2, hec {bad}"));
    }
}

#[test]
fn an_impossible_event_number_is_ignored() {
    for bad in [6, 12, 13, 15] {
        events(3).check(400, &numbered(bad, 3), "bisect");
        events(3).check(400, r#"{"code":6,"invalid-event-number":-1}"#, "bisect");
        events(3).check(400, r#"{"code":6,"invalid-event-number":"1"}"#, "bisect");
        events(1).check(400, &numbered(bad, 7), &format!("event 0, hec {bad}"));
        events(1).check(400, &code(bad), &format!("event 0, hec {bad}"));
    }
}

#[test]
fn the_events_before_a_bad_one_may_have_an_ack_id() {
    let body = r#"{"text":"Invalid data format","code":6,"invalid-event-number":2,"ackId":9}"#;
    events(3).check(400, body, "event 2, hec 6 ack 9");
    events(1).check(200, r#"{"text":"Success","code":0,"ackId":7}"#, "accepted ack 7");
}

#[test]
fn code_seven_counts_from_one() {
    indexed(&["no", "main"]).check(400, &numbered(7, 1), "alone 0");
    indexed(&["main", "no"]).check(400, &numbered(7, 2), "alone 1");
    indexed(&["main", "no"]).check(400, &numbered(7, 0), "bisect");
    indexed(&["main", "no"]).check(400, &numbered(7, 3), "bisect");
}

#[test]
fn code_seven_for_a_just_accepted_index_is_not_trusted() {
    indexed(&["main", "main", "no"]).check(400, &numbered(7, 2), "bisect");
}

#[test]
fn an_index_name_is_shown_bounded_and_escaped() {
    let index = "i\u{1b}".repeat(1_000);
    let mut events = Events::default();
    events.push(0, |out| serde_json::to_writer(out, &serde_json::json!({ "index": index, "event": 1 }))).unwrap();
    let reply = Reply { status: 400, body: code(7).into_bytes(), is_splunk: true, ..Reply::default() };
    let sent = Sent { events: &events, range: 0..1, gzip: false, index: Some("main"), partial: Partial::Auto };
    let Verdict::Index { reason, .. } = classify(&reply, &sent) else { panic!("not about the index") };
    assert!(reason.chars().count() <= 201 && !reason.contains(char::is_control), "{reason}");
}

#[test]
fn code_seven_for_a_single_event_refuses_its_index_but_not_the_settings() {
    indexed(&["no"]).check(400, &numbered(7, 1), "index Some(\"no\")");
    indexed(&["no"]).check(400, &code(7), "index Some(\"no\")");
    indexed(&["main"]).check(400, &numbered(7, 1), "hold");
}

#[test]
fn code_seven_for_an_event_without_an_index_refuses_the_default_index_of_the_token() {
    let mut events = Events::default();
    events.push(0, |out| writeln!(out, "{{\"event\":1}}")).unwrap();
    let sent = Sent { events: &events, range: 0..1, gzip: false, index: None, partial: Partial::Auto };
    let reply = Reply { status: 400, body: code(7).into_bytes(), is_splunk: true, ..Reply::default() };
    let Verdict::Hold { cause } = classify(&reply, &sent) else { panic!("every event goes there") };
    assert!(cause.to_string().contains("allow the index"), "{cause}");
}

#[test]
fn every_refusal_has_its_own_advice() {
    let advice = |status, body: &str| match events(2).verdict(&Reply {
        status,
        is_splunk: true,
        body: body.as_bytes().to_vec(),
        ..Reply::default()
    }) {
        Verdict::Hold { cause } | Verdict::Retry { cause, .. } => cause.hint.expect("there is something to do"),
        other => panic!("{other:?}"),
    };
    let table = [
        (403, code(1), "enable the token"),
        (401, code(2), "did not arrive"),
        (401, code(3), "did not arrive"),
        (403, code(4), "token is wrong"),
        (400, code(5), "cut the body"),
        (400, code(10), "X-Splunk-Request-Channel"),
        (400, code(11), "X-Splunk-Request-Channel"),
        (400, code(21), "token is wrong"),
        (400, code(22), "enable the token"),
        (400, code(28), "turn off its indexer acknowledgement"),
        (302, String::new(), "redirect"),
        (407, String::new(), "user and a password"),
        (403, "<html>".to_owned(), "firewall"),
        (400, "<html>".to_owned(), "proxies and firewalls on the way"),
        (200, "<html>".to_owned(), "a proxy may answer in its place"),
        (404, String::new(), "check host and port"),
        (511, String::new(), "requires a login"),
    ];
    for (status, body, expected) in table {
        let advice = advice(status, &body);
        assert!(advice.contains(expected), "HTTP {status} {body}: {advice}");
    }
}

#[test]
fn a_no_data_reply_to_a_single_event_rejects_the_event() {
    events(1).check(400, &code(5), "event 0, hec 5");
}

#[test]
fn success_counts_only_with_code_zero() {
    for body in ["", "OK", "<html>welcome</html>", "{}", "[0]", r#"{"code":"0"}"#, r#"{"code":0"#, r#"{"code":99}"#] {
        events(3).check(200, body, "retry, maybe 3");
    }
    events(3).check(204, "", "retry, maybe 3");
    events(3).check(201, &code(0), "accepted");
}

#[test]
fn replies_of_proxies_and_broken_servers_are_classified_by_their_status() {
    let html = "<html><body>no</body></html>";
    let table = [
        (301, "hold"),
        (302, "hold"),
        (307, "hold"),
        (400, "hold"),
        (401, "hold"),
        (402, "hold"),
        (403, "hold"),
        (404, "retry in 5s, maybe 0"),
        (405, "retry in 5s, maybe 0"),
        (407, "hold"),
        (408, "retry, maybe 3"),
        (410, "hold"),
        (413, "split"),
        (415, "hold"),
        (425, "retry, maybe 3"),
        (429, "retry, maybe 0"),
        (500, "retry, maybe 3"),
        (501, "hold"),
        (502, "retry, maybe 3"),
        (503, "retry, maybe 0"),
        (504, "retry, maybe 3"),
        (505, "hold"),
        (511, "hold"),
        (599, "retry, maybe 3"),
    ];
    for (status, expected) in table {
        events(3).check(status, html, expected);
        events(3).check(status, "", expected);
    }
}

#[test]
fn not_found_is_classified_alike_with_splunks_own_body() {
    let body = r#"{"text":"The requested URL was not found on this server.","code":404}"#;
    events(3).check(404, body, "retry in 5s, maybe 0");
}

#[test]
fn a_busy_reply_with_an_event_number_resends_all_and_counts_possible_duplicates() {
    events(10).check(503, &numbered(9, 4), "retry, maybe 4");
    events(10).check(503, &numbered(9, 99), "retry, maybe 10");
}

#[test]
fn a_too_large_request_is_halved_down_to_one_event_which_is_then_rejected() {
    events(2).check(413, "<html>", "split");
    events(1).check(413, "<html>", "event 0, http 413");
}

#[test]
fn invalid_data_at_the_front_of_more_than_five_megabytes_counts_as_too_large() {
    large(2).check(400, &numbered(6, 0), "split");
    large(2).check(400, &numbered(6, 1), "event 1, hec 6");
    large(1).check(400, &numbered(6, 0), "event 0, hec 6");
}

#[test]
fn gzip_is_switched_off_only_where_it_was_used() {
    events(3).gzip().check(415, "<html>", "gzip off");
    events(3).check(415, "<html>", "hold");
}

#[test]
fn the_servers_retry_after_is_the_minimum_up_to_five_minutes() {
    let retry = |status, seconds| {
        let reply = Reply { status, retry_after: Some(Duration::from_secs(seconds)), ..Reply::default() };
        match events(1).verdict(&reply) {
            Verdict::Retry { floor, cause, .. } => (floor.unwrap().as_secs(), cause.what),
            other => panic!("{other:?}"),
        }
    };
    let floor = |status, seconds| retry(status, seconds).0;
    assert_eq!(floor(429, 7), 7);
    assert_eq!(floor(503, 7), 7);
    assert_eq!(floor(404, 1), 5);
    assert_eq!(floor(404, 9), 9);
    let (floor, what) = retry(503, 3_600);
    assert_eq!(floor, 300);
    assert!(what.ends_with("; it asks for a pause of 1h; probing again in 5m"), "{what}");
    let (_, what) = retry(503, 300);
    assert!(what.ends_with("; it asks for a pause of 5m"), "{what}");
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    let after = |value, date| retry_after(value, date).map(|wait| wait.as_secs());
    assert_eq!(after(Some("120"), None), Some(120));
    assert_eq!(after(Some("Sun, 06 Nov 1994 08:50:07 GMT"), date), Some(30));
    assert_eq!(after(Some("Sun, 06 Nov 1994 08:00:00 GMT"), date), Some(0));
    assert_eq!(after(Some("Sun, 06 Nov 1994 08:50:07 GMT"), None), None);
    assert_eq!(after(Some("soon"), date), None);
    assert_eq!(after(Some("99999999999"), None), Some(99_999_999_999));
    assert_eq!(after(None, date), None);
}

#[test]
fn an_empty_request_tells_a_good_token_from_a_bad_one() {
    let check = |status, body: &str| {
        classify_empty(&Reply { status, body: body.as_bytes().to_vec(), is_splunk: true, ..Reply::default() })
    };
    assert_eq!(check(400, &code(5)), Ok(()));
    assert_eq!(check(200, &code(0)), Ok(()));
    assert!(matches!(check(403, &code(4)), Err(CheckError::Refused(_))));
    assert!(matches!(check(401, &code(2)), Err(CheckError::Refused(_))));
    assert!(matches!(check(400, "<html>"), Err(CheckError::Refused(_))));
    for strange in [6, 12, 13] {
        assert_eq!(check(400, &code(strange)), Ok(()), "its token was looked at first");
    }
    assert!(matches!(check(400, &code(7)), Err(CheckError::Refused(_))));
    assert!(matches!(check(413, ""), Err(CheckError::Refused(_))));
    assert!(matches!(check(503, &code(9)), Err(CheckError::Down(_))));
    assert!(matches!(check(200, "<html>"), Err(CheckError::Down(_))));
    assert!(matches!(check(404, ""), Err(CheckError::Down(_))));
}

#[test]
fn a_refusal_quotes_the_reply_and_has_a_remedy() {
    let reply = Reply { status: 403, body: code(1).into_bytes(), is_splunk: true, ..Reply::default() };
    let Verdict::Hold { cause } = events(1).verdict(&reply) else { panic!() };
    assert_eq!(
        cause.to_string(),
        "HTTP 403, code 1: words (enable the token in Splunk: Settings, Data inputs, HTTP Event Collector)"
    );
}

#[test]
fn a_reply_that_repeats_the_request_is_not_shown() {
    let mut events = Events::default();
    events.push(0, |out| out.write_all(b"{\"event\":\"other\"}")).unwrap();
    events.push(0, |out| out.write_all(b"{\"event\":\"CARD 4111-1111 of ada\"}")).unwrap();
    let case = Case { events, gzip: false, partial: Partial::Auto };
    let refused = |status, body: &str| match case.verdict(&Reply { status, body: body.into(), ..Reply::default() }) {
        Verdict::Hold { cause } => cause.what,
        Verdict::Event { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    let hidden = "its text is not shown, because it occurs in the events that were sent";
    let echo = r#"you sent {"event":"CARD 4111-1111 of ada"}"#;
    assert_eq!(refused(403, echo), format!("HTTP 403, not from a collector: {hidden}"));
    let quotes = r#"{"text":"bad: CARD 4111-1111 of ada","code":6,"invalid-event-number":1}"#;
    assert_eq!(refused(400, quotes), hidden);
    assert_eq!(refused(403, "<html>\r\n<title>Blocked</title>"), "HTTP 403, not from a collector: Blocked");
}

#[test]
fn foreign_text_is_shown_as_one_short_line() {
    assert_eq!(words("a\r\n\tb\x1b[31m  c"), "a b[31m c");
    let long = words(&"ü".repeat(1_000));
    assert_eq!(long.chars().count(), 201);
    assert!(long.ends_with('…'));
}

proptest::proptest! {
    #[test]
    fn every_reply_can_be_classified(
        status in 0_u16..=999,
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        count in 1_usize..5,
    ) {
        let verdict = events(count).verdict(&Reply { status, body, is_splunk: true, ..Reply::default() });
        let unlikely = matches!(verdict, Verdict::Accepted { .. } | Verdict::Event { bad: 1.., .. });
        proptest::prop_assert!(!unlikely);
    }

    #[test]
    fn whatever_the_code_and_the_number_only_sent_events_are_named(
        status in proptest::sample::select(vec![200_u16, 400, 401, 403, 413, 415, 429, 500, 503]),
        reply_code in 0_u64..32,
        number in proptest::option::of(0_u64..8),
        count in 1_usize..5,
    ) {
        let body = number.map_or(code(reply_code), |number| numbered(reply_code, number));
        match events(count).verdict(&Reply { status, body: body.into_bytes(), is_splunk: true, ..Reply::default() }) {
            Verdict::Event { bad: number, .. } | Verdict::Alone { suspect: number, .. } => {
                proptest::prop_assert!(number < count);
            }
            Verdict::Bisect | Verdict::Split => proptest::prop_assert!(count > 1),
            Verdict::Accepted { .. } => {
                proptest::prop_assert!(status == 200 && [0, 24, 25].contains(&reply_code));
            }
            _ => {}
        }
    }
}

#[test]
fn events_before_a_bad_one_count_only_for_splunk_or_as_the_settings_say() {
    let before = |partial, is_splunk| {
        let case = Case { partial, ..events(3) };
        let reply = |code: u64, number| Reply {
            status: 400,
            body: numbered(code, number).into_bytes(),
            is_splunk,
            ..Reply::default()
        };
        let (bad, alone) =
            (case.verdict(&reply(6, 1)), Case { partial, ..indexed(&["main", "no"]) }.verdict(&reply(7, 2)));
        match (bad, alone) {
            (Verdict::Event { before, .. }, Verdict::Alone { before: of_suspect, .. }) if before == of_suspect => {
                before
            }
            verdicts => panic!("{verdicts:?}"),
        }
    };
    assert_eq!(before(Partial::Auto, true), Before::Taken);
    assert_eq!(before(Partial::Auto, false), Before::Unknown);
    for is_splunk in [true, false] {
        assert_eq!(before(Partial::Kept, is_splunk), Before::Taken);
        assert_eq!(before(Partial::Refused, is_splunk), Before::Unknown);
    }
}

#[test]
fn a_reply_not_from_a_collector_can_be_about_the_request_unless_it_refuses_every_client() {
    let failure = |status, body: &str| foreign(&Reply { status, body: body.into(), ..Reply::default() });
    let page = "<html>blocked</html>";
    for status in [200, 204, 400, 403, 406] {
        assert_eq!(failure(status, page), Some(Failure::Ended), "{status}");
        assert_eq!(failure(status, ""), Some(Failure::Ended), "{status}");
        assert_eq!(failure(status, &code(6)), None, "what a collector says means what it says: {status}");
    }
    for status in [500, 502, 504] {
        assert_eq!(failure(status, page), Some(Failure::Silence), "{status}");
        assert_eq!(failure(status, &code(8)), None, "{status}");
    }
    for status in [301, 401, 404, 407, 408, 413, 415, 429, 501, 503, 511] {
        assert_eq!(failure(status, page), None, "{status}");
    }
}
