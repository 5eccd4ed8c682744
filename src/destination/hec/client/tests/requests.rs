//! What a request carries, and how many events and requests there are at once.

use super::*;

#[tokio::test]
async fn a_request_has_everything_that_splunk_requires() {
    let collector = first_then_fine(vec![]).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(3)).await;
    deliver_all(&hec, batch(3)).await;

    let seen = collector.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].line, "POST /services/collector HTTP/1.1");
    assert_eq!(seen[0].body, b"{\"event\":\"e0\"}\n{\"event\":\"e1\"}\n{\"event\":\"e2\"}\n");
    assert_eq!(seen[0].header("authorization"), Some("Splunk s3cr3t-t0ken"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].header("content-length"), Some("45"));
    assert_eq!(seen[0].header("transfer-encoding"), None);
    assert_eq!(seen[0].header("content-encoding"), None);
    assert!(seen[0].header("user-agent").unwrap().starts_with("forwarder/"));
    let channel = seen[0].header("x-splunk-request-channel").unwrap();
    assert_eq!(channel.len(), 36);
    assert_eq!(seen[1].header("x-splunk-request-channel"), Some(channel));
    assert_eq!(collector.connections(), 1, "the connection is kept");
    assert!(matches!(hec.health(), Health::Up { .. }));
    let counts = hec.snapshot();
    assert_eq!((counts.requests, counts.retries, counts.bytes), (2, 0, 90));
}

#[tokio::test]
async fn a_compressed_request_has_the_same_events_in_fewer_bytes() {
    let collector = first_then_fine(vec![]).await;
    let hec = hec_with(&Config { gzip: true, ..config(&collector.url) });
    deliver_all(&hec, batch(1_000)).await;
    assert_eq!(collector.taken(), names(1_000));
    assert_eq!(collector.seen()[0].header("content-encoding"), Some("gzip"));
    assert!(hec.snapshot().bytes < 6_000, "{}", hec.snapshot().bytes);
}

#[tokio::test]
async fn a_batch_of_no_events_sends_nothing() {
    let collector = first_then_fine(vec![]).await;
    deliver_all(&hec(&collector), batch(0)).await;
    assert!(collector.seen().is_empty());
}

#[tokio::test]
async fn requests_are_concurrent_up_to_the_limit() {
    let collector = Collector::start(|_, _| ok().after(Duration::from_millis(20))).await;
    let hec = hec_with(&Config { max_body: 100, ..config(&collector.url) });
    deliver_all(&hec, batch(600)).await;
    assert!(collector.seen().len() > 80);
    let peak = collector.peak();
    assert!(peak > 4 && peak <= 8, "{peak}");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_and_the_limit_remembered() {
    let collector = Collector::start(|seen, taken| {
        if seen.body.len() > 400_000 {
            Act::reply(413, "<html>Request Entity Too Large</html>")
        } else {
            splunk(seen, taken, true)
        }
    })
    .await;
    let hec = hec(&collector);
    deliver_all(&hec, wide_batch(8, 100_000)).await;
    assert_eq!(collector.taken().len(), 8);
    let before = collector.seen().len();
    deliver_all(&hec, wide_batch(8, 100_000)).await;
    assert_eq!(collector.taken().len(), 16);
    let largest = collector.seen()[before..].iter().map(|seen| seen.body.len()).max();
    assert!(largest < Some(800_000), "{largest:?}");
}

#[tokio::test]
async fn a_small_request_that_was_too_large_does_not_shrink_all_others() {
    let collector = first_then_fine(vec![Act::reply(413, "<html>")]).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(2)).await;
    assert_eq!(collector.seen().len(), 3);
    deliver_all(&hec, batch(1_000)).await;
    assert_eq!(collector.seen().len(), 4, "17 kB in one request");
}

#[tokio::test]
async fn requests_too_large_for_an_intermediary_are_split_and_later_ones_start_small() {
    let (_log, lines) = log();
    let collector =
        Collector::start(|seen, taken| if seen.body.len() > 300_000 { Act::Reset } else { splunk(seen, taken, true) })
            .await;
    let hec = hec(&collector);
    deliver_all(&hec, wide_batch(16, 62_500)).await;
    assert_eq!(collector.taken().len(), 16);
    let before = collector.with_events().len();
    deliver_all(&hec, wide_batch(16, 62_500)).await;
    assert_eq!(collector.taken().len(), 32);
    let later: Vec<_> = collector.with_events()[before..].iter().map(|seen| seen.body.len()).collect();
    assert_eq!(later, [250_000; 4]);
    assert!(!lines.text().contains("is down"), "{}", lines.text());
    assert_eq!(lines.text().matches("sending no larger ones for now").count(), 1, "{}", lines.text());
}

#[tokio::test]
async fn a_collector_that_does_not_accept_gzip_gets_none() {
    let collector = Collector::start(|seen, taken| match seen.header("content-encoding") {
        Some(_) => Act::reply(415, "<html>Unsupported Media Type</html>"),
        None => splunk(seen, taken, true),
    })
    .await;
    let hec = hec_with(&Config { gzip: true, ..config(&collector.url) });
    deliver_all(&hec, batch(3)).await;
    deliver_all(&hec, batch(3)).await;
    assert_eq!(collector.seen().len(), 3);
    assert_eq!(collector.taken().len(), 6);
}

#[tokio::test]
async fn a_full_queue_slows_delivery_down_and_gets_every_event() {
    let filling = r#"{"text":"Queue approaching capacity","code":24}"#;
    let collector = Collector::start(move |seen, taken| {
        splunk(seen, taken, true);
        Act::reply(200, filling).after(Duration::from_millis(5))
    })
    .await;
    let hec = hec_with(&Config { max_body: 100, ..config(&collector.url) });
    deliver_all(&hec, batch(120)).await;
    collector.forget_peak();
    deliver_all(&hec, batch(120)).await;
    assert_eq!(collector.taken().len(), 240);
    assert_eq!(collector.peak(), 1);
}
