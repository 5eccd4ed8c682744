//! Outages: how they are probed and logged, and what ends when the tenure ends.

use super::*;
use crate::destination::hec::concurrency::Admit;

#[tokio::test]
async fn a_delivery_ends_with_its_tenure_during_an_outage_and_sends_nothing_more() {
    let collector = Collector::start(|_, _| busy()).await;
    let hec = Arc::new(hec(&collector));
    let (stopper, tenure) = tenure();
    let mut delivery = tokio::task::JoinSet::new();
    let sink = Arc::clone(&hec);
    delivery.spawn(async move { sink.deliver(batch(2), tenure).await });
    while collector.seen().len() < 3 || !matches!(hec.health(), Health::Down { .. }) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stopper.raise();
    let ended = tokio::time::timeout(LONG, delivery.join_next()).await.expect("the collector stays busy forever");
    assert_eq!(ended.unwrap().unwrap(), Outcome::Abandoned);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let sent = collector.seen().len();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(collector.seen().len(), sent);
    assert!(collector.taken().is_empty());
}

#[tokio::test]
async fn when_the_tenure_ends_pending_requests_and_long_waits_are_cancelled() {
    for act in [Act::Silent, Act::reply(503, "").with("Retry-After: 300"), disabled()] {
        let collector = first_then_fine(vec![act]).await;
        let config = Config { timeout: LONG, ..config(&collector.url) };
        let slow = Timing { hold: Duration::from_secs(300), ..QUICK };
        let hec = Arc::new(Hec::with(&config, slow, LookUp::system()).unwrap());
        let (stopper, tenure) = tenure();
        let mut delivery = tokio::task::JoinSet::new();
        delivery.spawn(async move { hec.deliver(batch(2), tenure).await });
        while collector.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        stopper.raise();
        let outcome = tokio::time::timeout(Duration::from_secs(60), delivery.join_next()).await;
        assert_eq!(outcome.expect("at once").unwrap().unwrap(), Outcome::Abandoned);
        assert_eq!(collector.seen().len(), 1);
    }
}

#[tokio::test]
async fn when_the_tenure_ends_the_turn_to_probe_passes_to_others() {
    let (open, opened) = stop();
    let collector =
        Collector::start(move |seen, taken| if opened.is_raised() { splunk(seen, taken, true) } else { busy() }).await;
    let hec = Arc::new(hec(&collector));
    let (first_stopper, first_tenure) = tenure();
    let (_stopper, second_tenure) = tenure();
    let mut deliveries = tokio::task::JoinSet::new();
    for tenure in [first_tenure, second_tenure] {
        let hec = Arc::clone(&hec);
        deliveries.spawn(async move { hec.deliver(batch(1), tenure).await });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    first_stopper.raise();
    assert_eq!(deliveries.join_next().await.unwrap().unwrap(), Outcome::Abandoned);
    open.raise();
    let outcome = tokio::time::timeout(LONG, deliveries.join_next()).await.expect("a request probes");
    assert_eq!(outcome.unwrap().unwrap(), Outcome::Done(Vec::new()));
}

#[tokio::test]
async fn a_tenure_that_is_over_sends_nothing() {
    let collector = first_then_fine(vec![]).await;
    let (stopper, tenure) = tenure();
    stopper.raise();
    assert_eq!(hec(&collector).deliver(batch(2), tenure).await, Outcome::Abandoned);
    let lapsed = Tenure::new(Lease::lapsed(Instant::now()), stopper.listen());
    assert_eq!(hec(&collector).deliver(batch(2), lapsed).await, Outcome::Abandoned);
    assert!(collector.seen().is_empty());
}

#[tokio::test]
async fn the_tenure_is_checked_before_every_send() {
    let collector = first_then_fine(vec![]).await;
    let (stopper, tenure) = tenure();
    stopper.raise();
    // Without the race with the end of the tenure, which may be noticed late.
    let hec = hec(&collector);
    assert!(hec.requests.send(&batch(2), 0..2, None, Failures::default(), &tenure).await.is_none());
    assert!(collector.seen().is_empty());
}

#[tokio::test]
async fn during_an_outage_one_request_probes_for_all() {
    let (open, opened) = stop();
    let collector = Collector::start(move |seen, taken| {
        let act = if opened.is_raised() { splunk(seen, taken, true) } else { busy() };
        act.after(Duration::from_millis(10))
    })
    .await;
    let hec = Arc::new(hec(&collector));
    let (_stopper, tenure) = tenure();
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (hec, tenure) = (Arc::clone(&hec), tenure.clone());
        deliveries.spawn(async move { hec.deliver(batch(1), tenure).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    collector.forget_peak();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(collector.peak(), 1);
    open.raise();
    assert_eq!(deliveries.join_all().await.len(), 40);
    assert_eq!(collector.taken().len(), 40);
}

#[tokio::test]
async fn an_absent_collector_is_waited_for() {
    let collector = first_then_fine(vec![]).await;
    let address = collector.address();
    drop(collector);
    let hec = hec_with(&config(&format!("http://{address}")));
    let (_stopper, tenure) = tenure();
    let mut delivery = tokio::task::JoinSet::new();
    let sink = Arc::clone(&hec);
    delivery.spawn(async move { sink.deliver(batch(2), tenure).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let Health::Down { cause, .. } = hec.health() else { panic!("{:?}", hec.health()) };
    assert!(cause.contains("refused"), "{cause}");

    let collector = Collector::start_at(address, |seen, taken| splunk(seen, taken, true)).await;
    let outcome = tokio::time::timeout(LONG, delivery.join_next()).await.expect("in time").unwrap().unwrap();
    assert_eq!(outcome, Outcome::Done(Vec::new()));
    assert_eq!(collector.taken(), names(2));
    assert_eq!(hec.snapshot().possible_duplicates, 0, "a refused connection took nothing");
}

#[tokio::test]
async fn an_outage_is_logged_in_one_line_and_its_end_in_another() {
    let (_log, lines) = log();
    let collector = first_then_fine((0..10).map(|_| busy()).collect()).await;
    deliver_all(&hec(&collector), batch(2)).await;
    let lines = lines.text();
    let ours: Vec<_> = lines.lines().filter(|line| line.contains("Splunk HEC")).collect();
    assert_eq!(ours.len(), 2, "{lines}");
    assert!(ours[0].contains("WARN") && ours[0].contains("HTTP 503, code 9: Server is busy"), "{lines}");
    assert!(ours[1].contains("INFO") && ours[1].contains("up again after"), "{lines}");
}

#[tokio::test]
async fn a_late_success_from_before_an_outage_does_not_end_it() {
    let collector = Collector::start(|seen, taken| {
        if seen.lines().len() == 2 { splunk(seen, taken, true).after(Duration::from_millis(150)) } else { busy() }
    })
    .await;
    let hec = hec(&collector);
    let (stopper, tenure) = tenure();
    let late = async {
        deliver_all(&hec, batch(2)).await;
        assert!(matches!(hec.health(), Health::Down { .. }), "{:?}", hec.health());
        stopper.raise();
    };
    tokio::join!(late, hec.deliver(batch(1), tenure));
    assert_eq!(collector.taken(), names(2));
}

#[tokio::test]
async fn f85_two_clients_that_failed_together_wait_for_different_times() {
    let now = Instant::now();
    let next_tries = || {
        let hec = Hec::new(&config("http://127.0.0.1:1")).unwrap();
        let members = hec.members();
        let mut flow = members[0].limit();
        let Admit::Go(ticket) = flow.admit() else { panic!("nothing was sent yet") };
        flow.failed(&ticket, now, None);
        let Admit::Probe(ticket, failed) = flow.admit() else { panic!("it failed") };
        flow.held(&ticket, now);
        let Admit::Probe(_, refused) = flow.admit() else { panic!("it was refused") };
        (failed, refused)
    };
    let (one, other) = (next_tries(), next_tries());
    assert!(one.0 != other.0 && one.1 != other.1, "{one:?} {other:?}");
}
