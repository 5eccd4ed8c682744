//! A name with several addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use super::acks::{ack, is_poll, safe};
use super::*;

/// The addresses of the name, which a test can change.
#[derive(Clone)]
struct Dns(Arc<Mutex<Vec<IpAddr>>>);

impl Dns {
    /// Addresses of this machine by their last number.
    fn new(last: &[u8]) -> Self {
        let dns = Self(Arc::default());
        dns.leads_to(last);
        dns
    }

    fn leads_to(&self, last: &[u8]) {
        *self.0.lock().unwrap() = last.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect();
    }

    fn look_up(&self) -> LookUp {
        let found = Arc::clone(&self.0);
        LookUp::new(move |_| {
            let found = found.lock().unwrap().clone();
            Box::pin(async move { Ok::<_, io::Error>(found) })
        })
    }
}

/// Collectors at one port of 127.0.0.1, 127.0.0.2 and 127.0.0.3.
async fn three(mut answer: impl FnMut(u8) -> Answers) -> (u16, [Collector; 3]) {
    loop {
        let first = Collector::start(answer(1)).await;
        let port = first.url.rsplit(':').next().unwrap().parse().unwrap();
        let at = |last: u8| SocketAddr::from(([127, 0, 0, last], port));
        let (Ok(second), Ok(third)) = (std::net::TcpListener::bind(at(2)), std::net::TcpListener::bind(at(3))) else {
            continue;
        };
        let (second, third) = (Collector::start_on(second, answer(2)), Collector::start_on(third, answer(3)));
        return (port, [first, second, third]);
    }
}

type Answers = Box<dyn FnMut(&Seen, &mut Vec<String>) -> Act + Send>;

fn at(port: u16, dns: &Dns, change: impl FnOnce(&mut Config)) -> Hec {
    let mut config = patient(&format!("http://splunk.test:{port}"));
    change(&mut config);
    Hec::with(&config, QUICK, dns.look_up()).unwrap()
}

#[tokio::test]
async fn each_address_of_a_name_gets_requests_of_its_own() {
    let (port, collectors) = three(|_| Box::new(|seen, taken| splunk(seen, taken, true))).await;
    let dns = Dns::new(&[1, 2, 3]);
    let hec = at(port, &dns, |_| {});
    for _ in 0..9 {
        deliver_all(&hec, batch(2)).await;
    }
    for collector in &collectors {
        let seen = collector.with_events();
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|seen| seen.header("host") == Some(&format!("splunk.test:{port}"))), "{seen:?}");
    }
    assert_eq!(hec.gauges().iter().map(|gauge| gauge.value).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(hec.address(), format!("http://splunk.test:{port}/services/collector"));
}

#[tokio::test]
async fn a_silent_address_is_named_and_the_others_take_its_requests() {
    let (port, [first, second, third]) = three(|_| Box::new(|seen, taken| splunk(seen, taken, true))).await;
    drop(second);
    let dns = Dns::new(&[1, 2, 3]);
    let hec = at(port, &dns, |_| {});
    while hec.warnings().is_empty() {
        deliver_all(&hec, batch(1)).await;
    }
    let says = format!(
        "http://splunk.test:{port}/services/collector at 127.0.0.2 is down; its events go to the other collectors: "
    );
    assert!(hec.warnings()[0].starts_with(&says), "{:?}", hec.warnings());
    assert!(matches!(hec.health(), Health::Up { .. }), "{:?}", hec.health());
    assert!(!first.taken().is_empty() && !third.taken().is_empty());
}

#[tokio::test]
async fn requests_pending_at_a_removed_address_are_still_polled_there() {
    let safe_now = Arc::new(AtomicBool::new(false));
    let (port, collectors) = three(|_| {
        let (safe_now, mut ids) = (Arc::clone(&safe_now), 0..);
        Box::new(move |seen, _| {
            if is_poll(seen) { safe(seen, |_| safe_now.load(Ordering::Relaxed)) } else { ack(ids.next().unwrap()) }
        })
    })
    .await;
    let dns = Dns::new(&[1, 2]);
    let hec = at(port, &dns, |config| config.ack = Some(Duration::from_secs(600)));
    let waiting = |hec: &Hec| hec.gauges()[2].value;
    let leave = async {
        while waiting(&hec) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        dns.leads_to(&[3]);
        // Long after the last lookup.
        hec.requests.members.look_up(Instant::now() + Duration::from_secs(3_600)).await;
        let acknowledge = async {
            while waiting(&hec) < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(hec.gauges()[0].value, 1, "{:?}", hec.gauges());
            safe_now.store(true, Ordering::Relaxed);
        };
        tokio::join!(deliver_all(&hec, batch(3)), acknowledge);
    };
    let all = async { tokio::join!(deliver_all(&hec, batch(1)), deliver_all(&hec, batch(2)), leave) };
    tokio::time::timeout(LONG, all).await.expect("all is acknowledged in time");
    let requests =
        collectors.iter().map(|collector| collector.with_events().iter().filter(|seen| !is_poll(seen)).count());
    assert_eq!(requests.collect::<Vec<_>>(), [1, 1, 1], "nothing was sent twice");
    assert_eq!(hec.snapshot().possible_duplicates, 0);
}
