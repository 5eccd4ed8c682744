//! Pages as they arrive, and the limits of replies.

use tokio::time::Instant;

use super::wire::MAX_REPLY;
use super::*;

#[tokio::test]
async fn a_page_arrives_decompressed_and_query_and_processor_are_sent() {
    let body = b"hello hello hello hello hello";
    let packed = lz4::block::compress(body, None, false).unwrap();
    let headers = [("x-log-end-of-cursor", "1"), ("x-log-cursor-time", "1554260243")];
    let server = Server::start([Answer::Whole(page("29", &headers, &packed))]).await;
    let sls = Sls::new(&Config {
        query: Some("* | where a = 'x y'".into()),
        processor: Some("p-1".into()),
        ..server.config()
    });
    let page = pull(&sls.unwrap()).await.unwrap();
    assert_eq!((&page.body[..], page.next.as_str()), (&body[..], "bmV4dA=="));
    assert_eq!((page.at_end, page.received_at), (Some(true), Some(1_554_260_243)));
    let target = "GET /logstores/my-logstore/shards/0?type=log&cursor=MTcwMDAwMDAwMDAwMDAwMDAwMA%3D%3D&count=1000\
        &pullMode=scan_on_stream&query=%2A+%7C+where+a+%3D+%27x+y%27&processor=p-1";
    assert_eq!(server.lines(), [target]);
    assert_eq!(server.received()[0].header("accept-encoding"), Some("lz4"));
}

#[tokio::test]
async fn the_time_of_a_page_is_by_our_clock_even_if_that_of_the_server_is_minutes_off() {
    let packed = lz4::block::compress(b"hello", None, false).unwrap();
    for minutes in [-5, 0, 5] {
        // Too little for the server to refuse our signatures.
        let there = Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
        let (date, received) = (crate::sls::http_date::http_date(there), there.as_second().to_string());
        let headers = [("date", date.as_str()), ("x-log-cursor-time", &received)];
        let server = Server::start([Answer::Whole(page("5", &headers, &packed))]).await;
        let sls = server.sls();
        let age = Timestamp::now().as_second() - pull(&sls).await.unwrap().received_at.unwrap();
        assert!((-2..=2).contains(&age), "{minutes}: {age}");
        assert!((sls.server_now() - there.as_second()).abs() <= 2, "{minutes}");
    }
}

#[tokio::test]
async fn a_page_above_the_limit_is_requested_in_halves() {
    // Its body is not waited for: the headers are enough.
    let large = Answer::Drip(page("2147483647", &[("content-length", "1000000")], b""));
    let small = lz4::block::compress(b"page", None, false).unwrap();
    let small = Answer::Whole(page("4", &[], &small));
    let server = Server::start([large.clone(), large, small]).await;
    assert_eq!(&pull(&server.sls()).await.unwrap().body[..], b"page");
    let counts: Vec<String> = server.lines().iter().map(|line| line.rsplit('=').next().unwrap().to_owned()).collect();
    assert_eq!(counts, ["1000", "500", "250"]);
}

#[tokio::test]
async fn one_log_group_above_the_limit_is_refused() {
    let large = Answer::Whole(page("67108865", &[], b"tiny"));
    let server = Server::start(vec![large; 20]).await;
    let outcome = pull(&server.sls()).await;
    assert!(matches!(outcome, Err(SourceError::Refused(_))), "{outcome:?}");
    assert_eq!(server.lines().len(), 10);
}

#[tokio::test]
async fn a_page_with_a_wrong_size_or_a_torn_one_is_retried() {
    let packed = lz4::block::compress(b"hello hello hello hello", None, false).unwrap();
    let length = (packed.len() + 1).to_string();
    let server = Server::start([
        Answer::Whole(page("24", &[], &packed)),
        Answer::Whole(page("22", &[], &packed)),
        Answer::Torn(page("23", &[("content-length", &length)], &packed)),
        Answer::Whole(raw(200, &[("x-log-count", "0"), ("x-log-bodyrawsize", "0")], b"")),
        Answer::Torn(b"HTTP/1.1 200 OK\r\nx-log-c".to_vec()),
        Answer::Torn(b"".to_vec()),
    ])
    .await;
    let sls = server.sls();
    check_busy(pull(&sls).await, "the page has 23 bytes where 24 were announced [request 5F00]");
    check_busy(pull(&sls).await, "damaged");
    check_busy(pull(&sls).await, "pull: ");
    check_busy(pull(&sls).await, "there is no x-log-cursor [request 5F00]");
    check_busy(pull(&sls).await, "pull: ");
    check_busy(pull(&sls).await, "pull: ");
}

#[tokio::test]
async fn replies_are_read_only_up_to_a_limit() {
    let long = " ".repeat(MAX_REPLY);
    let server = Server::start([
        ok(&format!("[]{long}")),
        Answer::Whole(raw(503, &[("retry-after", "3")], long.as_bytes())),
        Answer::Whole(raw(404, &[], format!("<html>Not found{long}").as_bytes())),
    ])
    .await;
    let sls = server.sls();
    check_busy(sls.heartbeat(&BTreeSet::new()).await, "the reply is longer than 4000000 bytes");
    let outcome = pull(&sls).await;
    let wait = Some(Duration::from_secs(3));
    assert!(matches!(outcome, Err(SourceError::Busy { retry_after, .. }) if retry_after == wait), "{outcome:?}");
    let outcome = pull(&sls).await;
    assert!(
        matches!(&outcome, Err(SourceError::Refused(cause)) if cause.what.contains("404: Not found")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_body_that_never_ends_is_abandoned_at_the_deadline() {
    let head = page("1000", &[("content-length", "1000000")], b"");
    let server = Server::start([Answer::Drip(head), Answer::Silent]).await;
    let sls = Sls::new(&Config { timeout: Duration::from_millis(300), ..server.config() });
    let sls = sls.unwrap();
    let started = Instant::now();
    check_busy(pull(&sls).await, "no complete reply within 300ms");
    check_busy(pull(&sls).await, "no complete reply within 300ms");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_reply_with_an_unrequested_encoding_is_refused_and_reported() {
    let encoded = raw(200, &[("content-encoding", "gzip")], b"\x1f\x8b");
    let server = Server::start([Answer::Whole(encoded)]).await;
    check_busy(pull(&server.sls()).await, "the reply is encoded as gzip, which was not requested");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start([Answer::Whole(raw(302, &[("location", "/elsewhere")], b"")), ok("[]")]).await;
    let outcome = server.sls().heartbeat(&BTreeSet::new()).await;
    assert!(matches!(outcome, Err(SourceError::Refused(_))), "{outcome:?}");
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_page_larger_than_the_free_memory_is_not_read() {
    // The announced body never arrives, so a client that tried to read it would wait.
    let announced = ("content-length", "4000000");
    let large = Answer::Drip(page("8000000", &[announced], b""));
    let server = Server::start([large]).await;
    let sls = server.sls();
    let budget = Budget::new(16 << 20);
    let _others = budget.take(8 << 20).await;
    let mut room = budget.take(1 << 20).await;
    let refused = sls.pull(SHARD, &Cursor::new(CURSOR), 10, None, &mut room).await;
    assert!(matches!(refused, Err(SourceError::NoRoom { bytes: 12_000_000, .. })), "{refused:?}");
    assert_eq!(budget.used(), 9 << 20, "nothing was taken in vain");
}

#[tokio::test]
async fn a_page_is_debited_before_its_bytes_are_read() {
    let server = Server::start([Answer::Drip(page("8000000", &[("content-length", "4000000")], b""))]).await;
    let config = Config { timeout: Duration::from_millis(300), ..server.config() };
    let sls = Sls::new(&config).unwrap();
    let budget = Budget::new(16 << 20);
    let mut room = budget.take(1 << 20).await;
    check_busy(sls.pull(SHARD, &Cursor::new(CURSOR), 10, None, &mut room).await, "no complete reply");
    assert_eq!(budget.used(), 12_000_000, "packed and unpacked");
}
