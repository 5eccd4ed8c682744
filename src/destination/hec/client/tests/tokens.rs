//! Tokens: disabled, renewed or unusable ones, and that no text shows them.

use super::*;

#[tokio::test]
async fn a_disabled_token_pauses_delivery_until_it_is_enabled() {
    let (enable, enabled) = stop();
    let collector =
        Collector::start(move |seen, taken| if enabled.is_raised() { splunk(seen, taken, true) } else { disabled() })
            .await;
    let hec = Arc::new(hec(&collector));
    let (_stopper, tenure) = tenure();
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (hec, tenure) = (Arc::clone(&hec), tenure.clone());
        deliveries.spawn(async move { hec.deliver(batch(2), tenure).await });
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    let Health::Refusing { cause, .. } = hec.health() else { panic!("{:?}", hec.health()) };
    assert!(cause.contains("Token disabled") && cause.contains("enable the token"), "{cause}");
    assert!(collector.taken().is_empty());
    assert!((4..12).contains(&collector.seen().len()), "{} requests", collector.seen().len());

    enable.raise();
    let outcomes = deliveries.join_all().await;
    assert_eq!(outcomes, vec![Outcome::Done(Vec::new()); 3]);
    assert_eq!(collector.taken().len(), 6);
    assert!(matches!(hec.health(), Health::Up { .. }));
}

#[tokio::test]
async fn a_changed_token_file_is_tried_at_once() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "old").unwrap();
    let collector = Collector::start(|seen, taken| match seen.header("authorization") {
        Some("Splunk new") => splunk(seen, taken, true),
        _ => Act::reply(403, r#"{"text":"Invalid token","code":4}"#),
    })
    .await;
    let slow = Timing { hold: Duration::from_secs(600), ..QUICK };
    let token = Token::Files(vec![file.path().to_owned()]);
    let hec = Arc::new(Hec::with(&Config { token, ..config(&collector.url) }, slow, LookUp::system()).unwrap());
    let (_stopper, tenure) = tenure();
    let mut delivery = tokio::task::JoinSet::new();
    let sink = Arc::clone(&hec);
    delivery.spawn(async move { sink.deliver(batch(2), tenure).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(collector.seen().len(), 1);
    assert!(matches!(hec.health(), Health::Refusing { .. }));

    // Incomplete and unusable contents in between change nothing.
    std::fs::write(file.path(), "").unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(collector.seen().len(), 1);
    std::fs::write(file.path(), "new\n").unwrap();
    let outcome = tokio::time::timeout(LONG, delivery.join_next()).await.expect("at once").unwrap().unwrap();
    assert_eq!(outcome, Outcome::Done(Vec::new()));
    assert_eq!(collector.taken(), names(2));
}

#[tokio::test]
async fn the_token_is_in_no_log_line_no_error_and_no_debug_text() {
    let (_log, lines) = log();
    let echo = || Act::reply(403, &format!(r#"{{"text":"Invalid token {TOKEN}","code":4}}"#));
    let mut acts = vec![echo(), Act::reply(400, TOKEN), busy(), busy(), Act::Reset].into_iter();
    let collector = Collector::start(move |seen, taken| acts.next().unwrap_or_else(|| splunk(seen, taken, true))).await;
    let hec = hec(&collector);
    let error = hec.check().await.unwrap_err();
    let health = hec.health();
    deliver_all(&hec, batch(2)).await;
    let lines = lines.text();
    for text in [format!("{error} {error:?} {health:?} {hec:?} {:?}", config(&collector.url)), lines.clone()] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    assert!(lines.contains("Invalid token ***"), "{lines}");
    assert!(lines.contains("up again"), "{lines}");
}

#[tokio::test]
async fn an_echo_of_the_token_in_base64_is_not_shown() {
    use base64::Engine as _;

    let code = base64::engine::general_purpose::STANDARD.encode(format!("Authorization: Splunk {TOKEN}"));
    let collector = Collector::start(move |_, _| Act::reply(403, &format!("<p>You sent {code}"))).await;
    let hec = hec(&collector);
    let error = hec.check().await.unwrap_err().to_string();
    assert!(error.contains("You sent ***"), "{error}");
}

#[tokio::test]
async fn a_token_with_acknowledgement_is_mentioned_once() {
    let (_log, lines) = log();
    let collector = Collector::start(|_, _| Act::reply(200, r#"{"text":"Success","code":0,"ackId":1}"#)).await;
    let hec = hec(&collector);
    deliver_all(&hec, batch(2)).await;
    deliver_all(&hec, batch(2)).await;
    let lines = lines.text();
    assert_eq!(lines.matches("accepted, not indexed").count(), 1, "{lines}");
}

#[tokio::test]
async fn a_token_file_is_read_again_after_an_interval() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "old").unwrap();
    let collector = first_then_fine(vec![]).await;
    let token = Token::Files(vec![file.path().to_owned()]);
    let hec = hec_with(&Config { token, ..config(&collector.url) });
    std::fs::write(file.path(), "new").unwrap();
    deliver_all(&hec, batch(1)).await;
    hec.members()[0].endpoint.age_token(Duration::from_secs(11));
    deliver_all(&hec, batch(1)).await;
    let sent: Vec<_> = collector.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Splunk old", "Splunk new"]);
}

#[tokio::test]
async fn an_unusable_token_file_is_logged_once_each_time() {
    let (_log, lines) = log();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "good").unwrap();
    let collector = first_then_fine(vec![]).await;
    let token = Token::Files(vec![file.path().to_owned()]);
    let hec = hec_with(&Config { token, ..config(&collector.url) });
    for (content, warnings) in [("", 1), ("", 1), ("good", 1), ("", 2), ("two words", 3), ("good", 3), ("two words", 4)]
    {
        std::fs::write(file.path(), content).unwrap();
        hec.members()[0].endpoint.age_token(Duration::from_secs(11));
        deliver_all(&hec, batch(1)).await;
        let lines = lines.text();
        assert_eq!(lines.matches("cannot use the HEC token file").count(), warnings, "{content:?}: {lines}");
    }
}
