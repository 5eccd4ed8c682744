//! Replies that do not count: late, lost, endless or foreign ones, and connections that close.

use bytes::Bytes;

use super::*;

#[tokio::test]
async fn a_busy_reply_is_retried_with_and_without_an_event_number() {
    let numbered = Act::reply(503, r#"{"text":"Server is busy","code":9,"invalid-event-number":2}"#);
    let collector = first_then_fine(vec![busy(), numbered, Act::reply(500, "")]).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(3)).await;
    assert_eq!(collector.taken(), names(3));
    let counts = hec.snapshot();
    assert_eq!((counts.requests, counts.retries, counts.possible_duplicates), (4, 3, 2 + 3));
}

#[tokio::test]
async fn retry_after_is_respected() {
    let collector = first_then_fine(vec![Act::reply(429, "").with("Retry-After: 1")]).await;
    let began = Instant::now();
    deliver_all(&hec(&collector), batch(1)).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_collector_that_asks_for_a_long_pause_is_down_at_once() {
    let collector = first_then_fine(vec![Act::reply(429, "").with("Retry-After: 300")]).await;
    let hec = hec(&collector);
    let (_stopper, tenure) = tenure();
    let delivery = hec.deliver(batch(1), tenure);
    let reported = async {
        while !matches!(hec.health(), Health::Down { .. }) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = delivery => panic!("the pause was not kept"),
        () = reported => {}
    }
    let Health::Down { cause, .. } = hec.health() else { panic!("{:?}", hec.health()) };
    assert!(cause.contains("it asks for a pause of 5m"), "{cause}");
}

#[tokio::test]
async fn an_error_page_of_a_proxy_pauses_delivery_which_resumes_by_itself() {
    let mut pages = 6;
    let collector = Collector::start(move |seen, taken| {
        if pages > 0 {
            pages -= 1;
            Act::reply(400, "<html><title>Bad Request</title></html>")
        } else {
            splunk(seen, taken, true)
        }
    })
    .await;
    deliver_all(&hec(&collector), batch(2)).await;
    assert_eq!(collector.taken(), names(2));
}

#[tokio::test]
async fn a_reset_after_the_request_may_mean_a_duplicate() {
    let collector = first_then_fine(vec![Act::Reset]).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(5)).await;
    assert_eq!(collector.taken(), names(5));
    assert_eq!(hec.snapshot().possible_duplicates, 5);
}

#[tokio::test]
async fn a_reply_that_is_lost_after_acceptance_repeats_and_loses_nothing() {
    let mut first = true;
    let collector = Collector::start(move |seen, taken| {
        let act = splunk(seen, taken, true);
        if std::mem::take(&mut first) { Act::Close } else { act }
    })
    .await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(5)).await;
    assert_eq!(collector.taken(), [names(5), names(5)].concat());
    assert_eq!(hec.snapshot().possible_duplicates, 5);
}

#[tokio::test]
async fn a_reply_that_never_ends_is_abandoned_at_the_timeout() {
    let collector = first_then_fine(vec![Act::Trickle, Act::Silent]).await;
    let hec = hec(&collector);
    let began = Instant::now();
    deliver_all(&hec, batch(2)).await;
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    assert_eq!(sorted(collector.taken()), names(2));
    assert_eq!(hec.snapshot().possible_duplicates, 4);
}

#[tokio::test]
async fn an_html_page_with_status_200_never_counts() {
    let collector = first_then_fine(vec![
        Act::reply(200, "<html>Please log in</html>"),
        Act::reply(200, ""),
        Act::reply(200, "OK"),
        Act::reply(204, ""),
    ])
    .await;
    deliver_all(&hec(&collector), batch(2)).await;
    assert_eq!(sorted(collector.taken()), names(2));
    assert_eq!(collector.with_events().len(), 2 + 2 + 2, "halved after the second failure, each half once in vain");
}

#[tokio::test]
async fn a_reply_of_a_gigabyte_is_not_read_to_its_end() {
    let collector = first_then_fine(vec![Act::Flood(1 << 30)]).await;
    let began = Instant::now();
    let hec = hec_with(&Config { timeout: LONG, ..config(&collector.url) });
    deliver_all(&hec, batch(1)).await;
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    assert!(collector.flooded() < 64 << 20, "{} bytes were read", collector.flooded());
}

#[tokio::test]
async fn a_reply_is_read_only_up_to_the_size_of_a_genuine_one() {
    let success = |length: usize| {
        let body = r#"{"text":"Success","code":0}"#;
        Act::reply(200, &format!("{body}{}", " ".repeat(length - body.len())))
    };
    let collector = first_then_fine(vec![success(64 * 1024 + 1), success(64 * 1024)]).await;
    let seen =
        hec(&collector).members()[0].endpoint.post(Bytes::from_static(b"{}"), false, None).await.unwrap().body.len();
    assert_eq!(seen, 64 * 1024);
    // A limit that is not larger is used.
    let hec = hec(&collector);
    deliver_all(&hec, batch(1)).await;
    assert_eq!(hec.snapshot().requests, 1);
}

#[tokio::test]
async fn f64_a_connection_that_was_closed_while_idle_costs_no_request() {
    let collector = Collector::start(|seen, taken| splunk(seen, taken, true).then_close()).await;
    let hec = hec(&collector);
    for _ in 0..5 {
        deliver_all(&hec, batch(1)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(collector.connections(), 5);
    assert_eq!((hec.snapshot().requests, hec.snapshot().possible_duplicates), (5, 0));
}

#[tokio::test]
async fn f64_connections_that_are_closed_behind_their_replies_lose_nothing_and_are_no_outage() {
    let (_log, lines) = log();
    let mut count = 0;
    let collector = Collector::start(move |seen, taken| {
        count += 1;
        let act = splunk(seen, taken, true);
        if count % 10 == 0 { act.then_close() } else { act }
    })
    .await;
    let hec = hec_with(&Config { max_body: 100, ..config(&collector.url) });
    deliver_all(&hec, batch(2_000)).await;
    let mut taken = collector.taken();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 2_000);
    let counts = hec.snapshot();
    println!("{} requests, {} again, {} connections", counts.requests, counts.retries, collector.connections());
    assert!(!lines.text().contains("is down"), "{}", lines.text());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = first_then_fine(vec![]).await;
    let location = format!("Location: {}/services/collector", elsewhere.url);
    let collector =
        first_then_fine(vec![Act::reply(307, "").with(&location), Act::reply(302, "").with(&location)]).await;
    deliver_all(&hec(&collector), batch(1)).await;
    assert!(elsewhere.seen().is_empty());
    assert_eq!(collector.taken(), names(1));
}

#[tokio::test]
async fn a_reply_with_an_unrequested_encoding_does_not_count_and_is_reported() {
    let encoded = || Act::reply(200, r#"{"text":"Success","code":0}"#).with("Content-Encoding: gzip");
    let collector = Collector::start(move |_, _| encoded()).await;
    let Err(error) = hec(&collector).check().await else { panic!("it counts") };
    assert!(error.to_string().starts_with("HTTP 200, encoded as gzip, which was not requested"), "{error}");

    let collector = first_then_fine(vec![encoded()]).await;
    deliver_all(&hec(&collector), batch(2)).await;
    assert_eq!(collector.taken(), names(2));
    assert_eq!(collector.seen()[0].header("accept-encoding"), Some("identity"));
}
