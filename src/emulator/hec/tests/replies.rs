//! The reply table: a request in; status, code, number and what was indexed out.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::TOKEN;
use crate::emulator::hec::collector::Answer;
use crate::emulator::hec::*;

const CHANNEL: &str = "0a1b2c3d-0000-4000-8000-0123456789ab";

fn collector(change: impl FnOnce(&mut Settings)) -> Collector {
    let mut settings = Settings {
        use_ack: false,
        ack_after: Duration::from_secs(1),
        indexes: None,
        indexers: 1,
        queue: false,
        max_content_length: 64 * 1024 * 1024,
        max_event: 5 * 1024 * 1024,
        tap: None,
    };
    change(&mut settings);
    Collector::new(settings, Secret::new(TOKEN), Store::new(Keep::All))
}

fn with_ack() -> Collector {
    collector(|settings| settings.use_ack = true)
}

/// A request with a token, a channel and a User-Agent.
fn post(uri: &str, body: impl AsRef<[u8]>) -> Request<Option<Bytes>> {
    Request::post(uri)
        .header("authorization", format!("Splunk {TOKEN}"))
        .header("x-splunk-request-channel", CHANNEL)
        .header("user-agent", "test")
        .body(Some(Bytes::copy_from_slice(body.as_ref())))
        .unwrap()
}

fn without(mut request: Request<Option<Bytes>>, header: &'static str) -> Request<Option<Bytes>> {
    request.headers_mut().remove(header);
    request
}

fn having(mut request: Request<Option<Bytes>>, header: &'static str, value: &str) -> Request<Option<Bytes>> {
    request.headers_mut().insert(header, value.parse().unwrap());
    request
}

fn answer(collector: &Collector, request: &Request<Option<Bytes>>) -> Response<Bytes> {
    match collector.answer(request, Instant::now()) {
        Answer::Whole(response) => response,
        other => panic!("not a plain reply: {other:?}"),
    }
}

fn raws(collector: &Collector) -> Vec<String> {
    let kept = collector.state().store.kept();
    kept.iter().map(|event| String::from_utf8(event.event_raw.to_vec()).unwrap()).collect()
}

/// Posts a body to a fresh collector and compares status, code, N, and what was indexed.
#[track_caller]
fn check(body: &str, status: u16, code: u16, number: Option<u64>, indexed: &[&str]) {
    check_on(&collector(|_| {}), &post("/services/collector", body), status, code, number, indexed);
}

#[track_caller]
fn check_on(
    collector: &Collector,
    request: &Request<Option<Bytes>>,
    status: u16,
    code: u16,
    number: Option<u64>,
    indexed: &[&str],
) {
    let response = answer(collector, request);
    let body: Value = serde_json::from_slice(response.body()).expect("a JSON reply");
    assert_eq!(
        (response.status().as_u16(), &body["code"], &body["invalid-event-number"]),
        (status, &json!(code), &number.map_or(Value::Null, Value::from)),
        "{body}"
    );
    assert_eq!(raws(collector), indexed);
}

#[test]
fn objects_need_no_separator() {
    for between in ["", " ", "\n", "\r\n\t"] {
        check(&format!(r#"{{"event":"a"}}{between}{{"event":"b"}}{between}"#), 200, 0, None, &["a", "b"]);
    }
    check(r#"[{"event":"a"},{"event":"b"}]"#, 200, 0, None, &["a", "b"]);
}

#[test]
fn raw_is_the_text_of_a_string_or_the_json_as_written() {
    check(r#"{"event":"say \"\u4f60\"\n"}"#, 200, 0, None, &["say \"你\"\n"]);
    check(
        r#"{"event":{"b": 9007199254740993123, "a":[1.50]}}"#,
        200,
        0,
        None,
        &[r#"{"b": 9007199254740993123, "a":[1.50]}"#],
    );
    check(r#"{"event":42}{"event":false}{"event":[0]}"#, 200, 0, None, &["42", "false", "[0]"]);
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let (open, close) = ("[".repeat(400_000), "]".repeat(400_000));
    check(&format!(r#"{{"event":{open}0{close}}}{{"event":1}}"#), 200, 0, None, &[&format!("{open}0{close}"), "1"]);
    check(&format!(r#"{{"event":1,"fields":{{"a":{open}{close}}}}}"#), 400, 15, Some(0), &[]);
    check(&format!("{open}{close}"), 400, 6, Some(0), &[]);
    check(&format!(r#"{{"event":1}}{{"foreign":{open}{close}}}"#), 200, 0, None, &["1"]);
    let ack = post("/services/collector/ack", format!(r#"{{"acks":{open}{close}}}"#));
    assert!(answer(&with_ack(), &ack).status().is_client_error());
}

#[test]
fn the_objects_before_the_first_bad_one_are_indexed_and_none_after_it() {
    for (bad, code) in [
        (r#"{"event":"#, 6),
        (r#"{"event":"x" "time":1}"#, 6),
        ("not json", 6),
        ("17", 6),
        ("{\"event\":\"raw \u{1} control\"}", 6),
        (r#"{"event":"lone \ud800 half"}"#, 6),
        (r#"{"event":"x","fields":"none"}"#, 6),
        (r#"{"event":"x","host":["h"]}"#, 6),
        (r#"{"time":1}"#, 12),
        ("{}", 12),
        (r#"{"event":null}"#, 13),
        (r#"{"event":""}"#, 13),
        (r#"{"event":" \t\u0020"}"#, 13),
        (r#"{"event":{ }}"#, 13),
        (r#"{"event":[]}"#, 13),
        (r#"{"event":"x","time":1.79E9}"#, 15),
        (r#"{"event":"x","time":"soon"}"#, 15),
        (r#"{"event":"x","time":true}"#, 15),
        (r#"{"event":"x","fields":{"a":{"b":"c"}}}"#, 15),
        (r#"{"event":"x","fields":{"a":[["b"]]}}"#, 15),
    ] {
        let good = r#"{"event":"ok"}"#;
        check(bad, 400, code, Some(0), &[]);
        check(&format!("{good}\n{bad}"), 400, code, Some(1), &["ok"]);
        check(&format!("{bad}\n{bad}"), 400, code, Some(0), &[]);
        check(&format!("{good}{good} {bad} {good}"), 400, code, Some(2), &["ok", "ok"]);
    }
    check(r#"{"event":""}{"event""#, 400, 13, Some(0), &[]);
}

#[test]
fn a_wrong_index_is_numbered_from_one() {
    let allowing = || collector(|settings| settings.indexes = Some(vec!["main".to_owned(), "os".to_owned()]));
    let (good, bad) = (r#"{"event":"ok","index":"main"}"#, r#"{"event":"x","index":"mian"}"#);
    let send = |body: String| post("/services/collector", body);
    check_on(&allowing(), &send(bad.to_owned()), 400, 7, Some(1), &[]);
    check_on(&allowing(), &send(format!("{good}{bad}{good}")), 400, 7, Some(2), &["ok"]);
    check_on(&allowing(), &send(r#"{"event":"default"}"#.to_owned()), 200, 0, None, &["default"]);
    let by_url = post("/services/collector?index=mian", r#"{"event":"x"}"#);
    check_on(&allowing(), &by_url, 400, 7, Some(1), &[]);
    check(bad, 200, 0, None, &["x"]);
}

#[test]
fn an_unknown_key_ends_the_request_silently() {
    check(r#"{"event":"a"}{"event":"b","severity":"low"}{"event":"c"}"#, 200, 0, None, &["a"]);
    check(r#"{"event":"b","severity":"low"}"#, 400, 5, None, &[]);
}

#[test]
fn an_object_with_only_fields_is_skipped() {
    let collector = collector(|_| {});
    let body = r#"{"fields":{"a":"b"}}{"event":"a"}{"event":""}"#;
    check_on(&collector, &post("/services/collector", body), 400, 13, Some(2), &["a"]);
    assert_eq!(collector.state().store.counts.skipped, 1);
}

#[test]
fn an_event_over_the_limit_is_bad_data() {
    let collector = collector(|settings| settings.max_event = 10);
    let body = r#"{"event":"12345678"}{"event":"123456789"}"#;
    check_on(&collector, &post("/services/collector", body), 400, 6, Some(1), &["12345678"]);
}

#[test]
fn an_empty_body_is_no_data() {
    check("", 400, 5, None, &[]);
    check(" \n ", 400, 5, None, &[]);
}

#[test]
fn integers_in_fields_are_dropped_and_other_scalars_become_text() {
    let collector = collector(|_| {});
    let fields = r#"{"s":"t","i":7,"f":1.5,"b":true,"n":null,"many":["x","y",3]}"#;
    let request = post("/services/collector", format!(r#"{{"event":"e","fields":{fields}}}"#));
    check_on(&collector, &request, 200, 0, None, &["e"]);
    let fields = json!(collector.state().store.kept()[0].fields);
    assert_eq!(fields, json!({"b": ["true"], "f": ["1.5"], "many": ["x", "y"], "s": ["t"]}));
}

#[test]
fn url_parameters_give_what_an_event_lacks() {
    let collector = collector(|_| {});
    let body = r#"{"event":"a"}{"event":"b","time":"1790000000.123456789","host":"h","source":null}"#;
    let request = post("/services/collector/event/1.0?host=url&source=a%20b+c&sourcetype=st&index=i%", body);
    check_on(&collector, &request, 200, 0, None, &["a", "b"]);
    let kept = collector.state().store.kept();
    assert_eq!((kept[0].host.as_deref(), kept[0].source.as_deref()), (Some("url"), Some("a b c")));
    assert_eq!((kept[0].sourcetype.as_deref(), kept[0].index.as_deref()), (Some("st"), Some("i%")));
    assert_eq!((kept[0].time.as_deref(), kept[0].channel.as_deref()), (None, Some(CHANNEL)));
    assert_eq!((kept[1].host.as_deref(), kept[1].source.as_deref()), (Some("h"), Some("a b c")));
    assert_eq!(kept[1].time.as_deref(), Some("1790000000.123456789"));
}

#[test]
fn the_raw_endpoint_reads_lines() {
    let collector = collector(|_| {});
    let request = post("/services/collector/raw?sourcetype=st", "one\r\n\n  \n{\"event\":2}");
    check_on(&collector, &request, 200, 0, None, &["one", "{\"event\":2}"]);
    assert_eq!(collector.state().store.kept()[1].sourcetype.as_deref(), Some("st"));
}

#[test]
fn the_token_is_checked_before_the_body() {
    let post = |body: &str| post("/services/collector", body);
    let authorized = |value: &str| having(post("no json"), "authorization", value);
    let bare = |uri: &str| Request::post(uri).body(Some(Bytes::new())).unwrap();
    let basic = |pair: &str| {
        use base64::Engine;
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
    };
    for (request, status, code) in [
        (without(post("x"), "authorization"), 401, 2),
        (authorized(&format!("Bearer {TOKEN}")), 401, 3),
        (authorized("Splunk"), 401, 3),
        (authorized("Splunk wrong"), 403, 4),
        (authorized(&basic("x:wrong")), 403, 4),
        (having(post(""), "authorization", &basic(&format!("x:{TOKEN}"))), 400, 5),
        (bare(&format!("/services/collector?token={TOKEN}")), 400, 16),
        (bare("/services/collector?token=wrong"), 403, 4),
    ] {
        check_on(&collector(|_| {}), &request, status, code, None, &[]);
    }
}

#[test]
fn a_token_with_acks_needs_a_channel() {
    let event = || post("/services/collector", r#"{"event":"e"}"#);
    check_on(&with_ack(), &without(event(), "x-splunk-request-channel"), 400, 10, None, &[]);
    check_on(&with_ack(), &having(event(), "x-splunk-request-channel", "7"), 400, 11, None, &[]);
    let by_url = post(&format!("/services/collector?channel={CHANNEL}"), r#"{"event":"e"}"#);
    check_on(&with_ack(), &without(by_url, "x-splunk-request-channel"), 200, 0, None, &["e"]);
    let empty = without(post("/services/collector", ""), "x-splunk-request-channel");
    check_on(&with_ack(), &empty, 400, 10, None, &[]);
    check_on(&collector(|_| {}), &post("/services/collector/ack", r#"{"acks":[0]}"#), 400, 14, None, &[]);
}

fn reply_json(collector: &Collector, request: &Request<Option<Bytes>>, now: Instant) -> Value {
    let Answer::Whole(response) = collector.answer(request, now) else { panic!("no plain reply") };
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn an_ack_is_reported_once_per_channel_and_then_forgotten() {
    let (collector, start) = (with_ack(), Instant::now());
    let later = start + Duration::from_secs(1);
    let event = || post("/services/collector", r#"{"event":"e"}"#);
    let poll = |ids: &str| post("/services/collector/ack", format!(r#"{{"acks":[{ids}]}}"#));
    let other = |request| having(request, "x-splunk-request-channel", "ffffffff-0000-4000-8000-0123456789ab");

    assert_eq!(reply_json(&collector, &event(), start), json!({"text": "Success", "code": 0, "ackId": 0}));
    assert_eq!(reply_json(&collector, &event(), start)["ackId"], 1);
    assert_eq!(reply_json(&collector, &other(event()), start)["ackId"], 0);

    assert_eq!(reply_json(&collector, &poll("0,1,2"), start), json!({"acks": {"0": false, "1": false, "2": false}}));
    assert_eq!(reply_json(&collector, &poll("0,2"), later), json!({"acks": {"0": true, "2": false}}));
    assert_eq!(reply_json(&collector, &poll("0,1"), later), json!({"acks": {"0": false, "1": true}}));
    assert_eq!(reply_json(&collector, &other(poll("0")), later), json!({"acks": {"0": true}}));
    assert_eq!(reply_json(&collector, &poll("x"), later)["code"], 6);
    assert_eq!(reply_json(&collector, &post("/services/collector/ack", ""), later)["code"], 5);
}

#[test]
fn an_idle_channel_is_forgotten_and_counts_from_zero_again() {
    let (collector, start) = (with_ack(), Instant::now());
    let event = post("/services/collector", r#"{"event":"e"}"#);
    reply_json(&collector, &event, start);
    assert_eq!(reply_json(&collector, &event, start + Duration::from_secs(599))["ackId"], 1);
    assert_eq!(reply_json(&collector, &event, start + Duration::from_secs(599 + 600))["ackId"], 0);
}

#[test]
fn events_before_a_bad_one_get_an_ack_and_an_empty_prefix_gets_none() {
    let collector = with_ack();
    let now = Instant::now();
    let reply = reply_json(&collector, &post("/services/collector", r#"{"event":""}"#), now);
    assert_eq!(reply, json!({"text": "Event field cannot be blank", "code": 13, "invalid-event-number": 0}));
    let reply = reply_json(&collector, &post("/services/collector", r#"{"event":"a"}{"#), now);
    assert_eq!(reply, json!({"text": "Invalid data format", "code": 6, "invalid-event-number": 1, "ackId": 0}));
}

#[test]
fn indexers_behind_a_load_balancer_issue_the_same_ids_and_a_cookie_selects_one() {
    let collector = collector(|settings| (settings.use_ack, settings.indexers) = (true, 2));
    let event = || post("/services/collector", r#"{"event":"e"}"#);
    let first = answer(&collector, &event());
    let second = answer(&collector, &event());
    let cookie = |reply: &Response<Bytes>| reply.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!((cookie(&first), cookie(&second)), ("AWSALB=1; Path=/".to_owned(), "AWSALB=0; Path=/".to_owned()));
    assert_eq!(first.body(), second.body());
    let sticky = having(event(), "cookie", "a=b; AWSALB=1");
    assert!(String::from_utf8_lossy(answer(&collector, &sticky).body()).contains(r#""ackId":1"#));
}

#[test]
fn a_dead_indexer_loses_its_queue_and_acks_and_the_load_balancer_sends_its_requests_elsewhere() {
    let collector = collector(|settings| (settings.use_ack, settings.indexers, settings.queue) = (true, 2, true));
    let now = Instant::now();
    let to = |indexer: usize| {
        having(post("/services/collector", r#"{"event":"e"}"#), "cookie", &format!("AWSALB={indexer}"))
    };
    let poll = |indexer: usize| {
        having(post("/services/collector/ack", r#"{"acks":[0,1]}"#), "cookie", &format!("AWSALB={indexer}"))
    };
    reply_json(&collector, &to(0), now);
    reply_json(&collector, &to(1), now);
    assert_eq!(collector.state().store.counts.events, 0, "it is in the queues");
    let (second, dead) = (now + Duration::from_secs(1), now + Duration::from_secs(5));
    assert!(collector.kill(0, dead, now), "the other one is left");
    assert_eq!(reply_json(&collector, &poll(1), second), json!({"acks": {"0": true, "1": false}}));
    assert_eq!(collector.state().store.counts.events, 1);
    assert_eq!(reply_json(&collector, &to(0), second)["ackId"], 1, "the other one takes it");
    assert_eq!(reply_json(&collector, &poll(0), dead), json!({"acks": {"0": false, "1": false}}));
    assert_eq!(collector.state().store.counts.events, 2, "what was in the queue of the dead one is lost");
    assert!(collector.kill(0, dead + dead.duration_since(now), dead));
    assert!(!collector.kill(1, dead + dead.duration_since(now), dead));
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn only_gzip_is_decompressed() {
    let packed = |body: &[u8], encoding| having(post("/services/collector", body), "content-encoding", encoding);
    let body = br#"{"event":"a"}"#;
    check_on(&collector(|_| {}), &packed(&gzip(body), "gzip"), 200, 0, None, &["a"]);
    check_on(&collector(|_| {}), &packed(&gzip(body)[..20], "gzip"), 400, 6, Some(0), &[]);
    let refused = answer(&collector(|_| {}), &packed(body, "deflate"));
    assert_eq!((refused.status().as_u16(), &refused.body()[..5]), (415, &b"<!doc"[..]));
}

#[test]
fn a_body_over_the_limit_gets_an_error_page_compressed_or_not() {
    let collector = collector(|settings| settings.max_content_length = 100);
    let too_long = Request::from_parts(post("/services/collector", "").into_parts().0, None);
    let bomb = having(post("/services/collector", gzip(&[b' '; 101])), "content-encoding", "gzip");
    for request in [too_long, bomb] {
        let refused = answer(&collector, &request);
        assert_eq!((refused.status().as_u16(), &refused.body()[..5]), (413, &b"<!doc"[..]));
    }
}

#[test]
fn unknown_paths_and_methods_get_code_404() {
    let ask = |method: Method, uri: &str| Request::builder().method(method).uri(uri).body(Some(Bytes::new())).unwrap();
    for (request, status) in [
        (ask(Method::POST, "/services/collectors"), 404),
        (ask(Method::POST, "/"), 404),
        (ask(Method::GET, "/services/collector"), 405),
        (ask(Method::POST, "/services/collector/health"), 405),
    ] {
        check_on(&collector(|_| {}), &request, status, 404, None, &[]);
    }
    for (uri, allow) in
        [("/services/collector/raw/1.0", "POST,OPTIONS"), ("/services/collector/health", "GET,HEAD,OPTIONS")]
    {
        let reply = answer(&collector(|_| {}), &ask(Method::OPTIONS, uri));
        assert_eq!((reply.status().as_u16(), reply.body().len()), (200, 0));
        assert_eq!(reply.headers()["allow"], allow);
    }
    check_on(&collector(|_| {}), &ask(Method::GET, "/services/collector/health"), 200, 17, None, &[]);
}

#[test]
fn a_client_without_a_user_agent_gets_no_persistent_connection() {
    let event = post("/services/collector", r#"{"event":"e"}"#);
    assert!(!answer(&collector(|_| {}), &event).headers().contains_key("connection"));
    assert_eq!(answer(&collector(|_| {}), &without(event, "user-agent")).headers()["connection"], "close");
}

#[test]
fn scripted_replies_come_in_order_and_state_what_was_accepted() {
    let collector = collector(|_| {});
    let body = r#"{"event":"a"}{"event":"b"}"#;
    let send = || post("/services/collector", body);
    for fault in [
        HecFault::busy(),
        HecFault::busy_at(1),
        HecFault::nearly_full(),
        HecFault::token_disabled(),
        HecFault::rolling_restart(),
    ] {
        collector.state().faults.next(On::Events, fault, 1);
    }
    check_on(&collector, &send(), 503, 9, None, &[]);
    check_on(&collector, &send(), 503, 9, Some(1), &["a"]);
    check_on(&collector, &send(), 200, 24, None, &["a", "a", "b"]);
    check_on(&collector, &send(), 403, 1, None, &["a", "a", "b"]);
    check_on(&collector, &send(), 404, 404, None, &["a", "a", "b"]);
    check_on(&collector, &send(), 200, 0, None, &["a", "a", "b", "a", "b"]);

    collector.state().faults.next(On::Events, HecFault::throttled(Duration::from_secs(3)), 1);
    collector.state().faults.next(On::Events, HecFault::redirect("http://elsewhere.example/"), 1);
    collector.state().faults.next(On::Events, HecFault::page(200), 1);
    assert_eq!(answer(&collector, &send()).headers()["retry-after"], "3");
    assert_eq!(answer(&collector, &send()).headers()["location"], "http://elsewhere.example/");
    assert!(answer(&collector, &send()).body().starts_with(b"<!doctype"));
    let replies = collector.state().store.counts.replies.clone();
    assert_eq!(replies, [(200, 3), (307, 1), (403, 1), (404, 1), (429, 1), (503, 2)].into());
}

#[test]
fn an_outage_lasts_as_long_as_configured_and_shows_in_the_health_reply() {
    let (collector, start) = (with_ack(), Instant::now());
    let end = start + Duration::from_secs(5);
    collector.state().faults.until(On::All, HecFault::busy(), end);
    let event = post("/services/collector", r#"{"event":"e"}"#);
    let poll = post("/services/collector/ack", r#"{"acks":[0]}"#);
    let health = Request::get("/services/collector/health").body(Some(Bytes::new())).unwrap();
    let almost = end - Duration::from_millis(1);
    let codes = |now| [&event, &poll, &health].map(|request| reply_json(&collector, request, now)["code"].clone());
    assert_eq!(codes(almost), [json!(9), json!(9), json!(18)]);
    assert_eq!(codes(end), [json!(0), Value::Null, json!(17)]);
}

#[test]
fn an_ack_can_be_withheld_and_a_poll_can_fail_alone() {
    let (collector, now) = (with_ack(), Instant::now());
    let much_later = now + Duration::from_secs(500);
    let event = post("/services/collector", r#"{"event":"e"}"#);
    collector.state().faults.next(On::Events, HecFault::Unacked, 1);
    collector.state().faults.next(On::Acks, HecFault::busy(), 1);
    assert_eq!([0, 1].map(|_| reply_json(&collector, &event, now)["ackId"].clone()), [json!(0), json!(1)]);
    let poll = post("/services/collector/ack", r#"{"acks":[0,1]}"#);
    assert_eq!(reply_json(&collector, &poll, much_later)["code"], 9);
    assert_eq!(reply_json(&collector, &poll, much_later), json!({"acks": {"0": false, "1": true}}));
}

#[test]
fn a_lost_poll_reply_loses_its_acks() {
    let (collector, now) = (with_ack(), Instant::now());
    let later = now + Duration::from_secs(1);
    reply_json(&collector, &post("/services/collector", r#"{"event":"e"}"#), now);
    collector.state().faults.next(On::Acks, HecFault::reply_lost(), 1);
    let poll = post("/services/collector/ack", r#"{"acks":[0]}"#);
    assert!(matches!(collector.answer(&poll, later), Answer::Cut(Cut::Close)));
    assert_eq!(reply_json(&collector, &poll, later), json!({"acks": {"0": false}}));
}

#[test]
fn kept_events_are_bounded_and_their_digest_ignores_the_order() {
    let take = |keep, body: &str| {
        let collector = collector(|_| {});
        collector.state().store = Store::new(keep);
        answer(&collector, &post("/services/collector", body));
        let counts = collector.state().store.counts.clone();
        (raws(&collector), counts.events, counts.digest)
    };
    let (abc, cab) = (r#"{"event":"a"}{"event":"b"}{"event":"c"}"#, r#"{"event":"c"}{"event":"a"}{"event":"b"}"#);
    assert_eq!(take(Keep::Last(2), abc), (vec!["b".to_owned(), "c".to_owned()], 3, 0));
    assert_eq!(take(Keep::Last(0), abc), (vec![], 3, 0));
    let (kept, count, digest) = take(Keep::Digest, abc);
    assert_eq!((kept.len(), count), (0, 3));
    assert_eq!(digest, take(Keep::Digest, cab).2);
    assert_ne!(digest, take(Keep::Digest, r#"{"event":"a"}{"event":"b"}{"event":"d"}"#).2);
}
