//! Receivers that behave correctly, and receivers that never prove anything.

use std::sync::Arc;
use std::time::Duration;

use forwarder::core::budget::SharedBudget;
use forwarder::core::state_dir::StateDir;
use forwarder::destination::syslog::{Delivery, Syslog, promise};
use forwarder::destination::{Destination as _, Health, Outcome, Promise};
use forwarder::emulator::syslog::{Protocol, ReceiverFault, SyslogEmulator};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bench::{Account, Seen, batch, batch_of, config, deliver_all, message, receiver, tenure};

const MEMORY: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(60);

/// Expects that everything arrives, and has arrived when it is reported as delivered.
async fn check(protocol: Protocol, promise: Promise) {
    let memory = if protocol == Protocol::Tcp || protocol == Protocol::Tls { MEMORY } else { Duration::ZERO };
    let (receiver, seen) = receiver(protocol, memory).await;
    let sink =
        Arc::new(Syslog::new(&config(protocol, &[&receiver]), StateDir::none(), SharedBudget::new(64 << 20)).unwrap());
    sink.check().await.unwrap();
    let Account { delivered, lost, rejected } = deliver_all(&sink, &seen, 3, 20, 50).await;
    assert_eq!((delivered, rejected), (3_000, vec![]));
    if protocol != Protocol::Udp {
        assert_eq!(lost, 0);
        assert_eq!(receiver.counts().messages, 3_000, "something was sent twice without need");
    }
    assert_eq!(sink.promise(), promise);
    assert!(matches!(sink.health(), Health::Up { .. }));
}

#[tokio::test]
async fn tcp_delivers_everything_and_confirms_it() {
    check(Protocol::Tcp, promise::CONFIRMED).await;
}

#[tokio::test]
async fn tls_delivers_everything_and_confirms_it() {
    check(Protocol::Tls, promise::CONFIRMED).await;
}

#[tokio::test]
async fn relp_delivers_everything_and_gets_it_acknowledged() {
    check(Protocol::Relp, promise::ACKNOWLEDGED).await;
}

#[tokio::test]
async fn relp_over_tls_delivers_everything_and_gets_it_acknowledged() {
    check(Protocol::RelpTls, promise::ACKNOWLEDGED).await;
}

#[tokio::test]
async fn udp_sends_everything() {
    check(Protocol::Udp, promise::SENT).await;
}

#[tokio::test]
async fn a_datagram_that_is_too_long_is_rejected_and_its_neighbours_are_sent() {
    let (receiver, seen) = receiver(Protocol::Udp, Duration::ZERO).await;
    let sink =
        Syslog::new(&config(Protocol::Udp, &[&receiver]), StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
    let messages = [message(0, 0), "y".repeat(2_000), message(0, 1)];
    let Outcome::Done(rejected) = sink.deliver(batch_of(0, &messages), tenure().1).await else { panic!() };
    assert_eq!(rejected.iter().map(|rejected| (rejected.event, &*rejected.code)).collect::<Vec<_>>(), [(1, "syslog")]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_closed_udp_port_is_detected() {
    let (receiver, seen) = receiver(Protocol::Udp, Duration::ZERO).await;
    let sink = Arc::new(
        Syslog::new(&config(Protocol::Udp, &[&receiver]), StateDir::none(), SharedBudget::new(64 << 20)).unwrap(),
    );
    receiver.faults().die_for(Duration::from_secs(2));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let delivery = tokio::spawn({
        let sink = Arc::clone(&sink);
        async move { sink.deliver(batch(0, 0..1), tenure().1).await }
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(matches!(sink.health(), Health::Down { .. }), "{:?}", sink.health());
    assert_eq!(delivery.await.unwrap(), Outcome::Done(vec![]));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_receiver_that_never_reads_confirms_nothing() {
    let (receiver, _) = receiver(Protocol::Tcp, Duration::ZERO).await;
    receiver.faults().add(ReceiverFault::Stall);
    let mut config = config(Protocol::Tcp, &[&receiver]);
    config.timeout = Duration::from_secs(1);
    let sink = Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
    let (_stopper, tenure) = tenure();
    let delivery = sink.deliver(batch(0, 0..60_000), tenure);
    assert!(timeout(Duration::from_secs(5), delivery).await.is_err());
    assert_eq!(sink.promise(), promise::CONFIRMED);
    assert!(matches!(sink.health(), Health::Down { .. }), "{:?}", sink.health());
}

/// Expects that its messages arrive and count as written.
async fn found_out(protocol: Protocol, fault: ReceiverFault) {
    let (receiver, seen) = receiver(protocol, Duration::ZERO).await;
    receiver.faults().add(fault);
    let mut config = config(protocol, &[&receiver]);
    config.timeout = Duration::from_millis(500);
    let sink = Arc::new(Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap());
    let account = timeout(PATIENCE, deliver_all(&sink, &seen, 2, 4, 10)).await.expect("it is found out");
    assert_eq!((account.delivered, account.lost), (80, 0));
    assert_eq!(sink.promise(), promise::WRITTEN);
}

/// Fails if inside TLS the end of the stream has to be acknowledged, which is sent only after an answer.
#[tokio::test]
async fn a_receiver_that_never_answers_a_close_is_detected() {
    found_out(Protocol::Tcp, ReceiverFault::IgnoreClose).await;
    found_out(Protocol::Tls, ReceiverFault::IgnoreClose).await;
}

#[tokio::test]
async fn a_tls_receiver_without_close_notify_is_detected() {
    found_out(Protocol::Tls, ReceiverFault::BareClose).await;
}

/// The result of a run with a TLS receiver: the final promise, and the number of repeated messages.
async fn run(
    receiver: &SyslogEmulator,
    seen: &Arc<Seen>,
    state: &StateDir,
    shards: std::ops::Range<u32>,
) -> (Promise, u64) {
    let before = receiver.counts().messages - seen.len() as u64;
    let sink =
        Arc::new(Syslog::new(&config(Protocol::Tls, &[receiver]), state.clone(), SharedBudget::new(64 << 20)).unwrap());
    let deliveries = shards.map(|shard| {
        let sink = Arc::clone(&sink);
        async move { sink.deliver(batch(shard, 0..5_000), tenure().1).await }
    });
    let outcomes = timeout(PATIENCE, futures_util::future::join_all(deliveries)).await.expect("it is found out");
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done(vec![])));
    (sink.promise(), receiver.counts().messages - seen.len() as u64 - before)
}

/// Waits until the finding is in the state directory, which is written in the background.
async fn kept(state: &StateDir, content: &str) {
    let there = async {
        while state.read("syslog-unproven", 1_000).unwrap().unwrap_or_default() != content.as_bytes() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, there).await.expect("it is kept");
}

/// Fails if a try carries all there is, when the last try does not count as written, and when nothing is kept.
#[tokio::test]
async fn a_tls_receiver_without_close_notify_gets_few_duplicates_and_none_after_a_restart() {
    let (receiver, seen) = receiver(Protocol::Tls, Duration::ZERO).await;
    receiver.faults().add(ReceiverFault::BareClose);
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(&dir.path().join("state")).unwrap();
    let address = format!("tls://{}", receiver.address());
    // Two attempts with 64 messages each; the order in which connections end can save one of them.
    let little = |(promise, repeats)| promise == promise::WRITTEN && (64..=2 * 64).contains(&repeats);
    let first = run(&receiver, &seen, &state, 0..4).await;
    assert!(little(first), "{first:?}");
    kept(&state, &address).await;
    assert_eq!(run(&receiver, &seen, &state, 4..8).await, (promise::WRITTEN, 0));
    // Without the hint there are as many repeats as at first, with a wrong one there are none.
    state.write("syslog-unproven", b"\xff\0").unwrap();
    let misled = run(&receiver, &seen, &state, 8..12).await;
    assert!(little(misled), "{misled:?}");
    receiver.faults().clear();
    assert_eq!(run(&receiver, &seen, &state, 12..16).await, (promise::CONFIRMED, 0));
    kept(&state, "\u{fffd}\0").await;
    assert_eq!(seen.len(), 16 * 5_000);
}

/// Fails if what was found at an earlier start is believed without a look.
#[tokio::test]
async fn a_wrong_finding_from_an_earlier_run_loses_nothing() {
    let (receiver, seen) = receiver(Protocol::Tls, Duration::from_millis(50)).await;
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(&dir.path().join("state")).unwrap();
    state.write("syslog-unproven", format!("tls://{}", receiver.address()).as_bytes()).unwrap();
    let sink = Arc::new(Syslog::new(&config(Protocol::Tls, &[&receiver]), state, SharedBudget::new(64 << 20)).unwrap());
    let faults = receiver.faults();
    let (killing, stop) = tokio::sync::oneshot::channel::<()>();
    let killer = tokio::spawn(async move {
        let mut stop = std::pin::pin!(stop);
        while timeout(Duration::from_millis(120), &mut stop).await.is_err() {
            faults.die_for(Duration::from_millis(10));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let account = timeout(PATIENCE, deliver_all(&sink, &seen, 2, 20, 100)).await.expect("it gets through");
    drop(killing);
    killer.abort();
    assert_eq!((account.delivered, account.lost, sink.promise()), (4_000, 0, promise::CONFIRMED));
}

/// Fails if a witness counts that is ended as soon as it is accepted.
#[tokio::test]
async fn a_receiver_that_accepts_only_one_connection_is_detected() {
    found_out(Protocol::Tcp, ReceiverFault::AtMost(1)).await;
    found_out(Protocol::Tls, ReceiverFault::AtMost(1)).await;
}

/// Fails if a witness that is refused is a reason to send everything again.
#[tokio::test]
async fn a_receiver_that_refuses_the_second_connection_for_a_while_gets_nothing_twice() {
    let (receiver, seen) = receiver(Protocol::Tcp, Duration::ZERO).await;
    let sink = Arc::new(
        Syslog::new(&config(Protocol::Tcp, &[&receiver]), StateDir::none(), SharedBudget::new(64 << 20)).unwrap(),
    );
    let (_stopper, tenure) = tenure();
    assert_eq!(sink.deliver(batch(0, 0..10), tenure.clone()).await, Outcome::Done(vec![]));
    receiver.faults().add(ReceiverFault::AtMost(1));
    let mut delivery = std::pin::pin!(sink.deliver(batch(0, 10..20), tenure));
    assert!(timeout(Duration::from_secs(4), &mut delivery).await.is_err());
    assert!(matches!(sink.health(), Health::Down { .. }), "{:?}", sink.health());
    receiver.faults().clear();
    assert_eq!(timeout(PATIENCE, delivery).await.unwrap(), Outcome::Done(vec![]));
    assert_eq!((seen.len(), receiver.counts().messages), (20, 20));
    assert_eq!(sink.promise(), promise::CONFIRMED);
    assert!(matches!(sink.health(), Health::Up { .. }), "{:?}", sink.health());
}

/// Fails if only a target that cannot be connected to makes way.
#[tokio::test]
async fn a_target_that_closes_every_connection_is_left_for_the_next() {
    for protocol in [Protocol::Tcp, Protocol::Relp] {
        let (first, _) = receiver(protocol, Duration::ZERO).await;
        let (second, seen) = receiver(protocol, Duration::ZERO).await;
        first.faults().add(ReceiverFault::CloseOn(String::new()));
        let sink = Arc::new(
            Syslog::new(&config(protocol, &[&first, &second]), StateDir::none(), SharedBudget::new(64 << 20)).unwrap(),
        );
        let account = timeout(PATIENCE, deliver_all(&sink, &seen, 2, 4, 10)).await.expect("the second has its turn");
        assert_eq!((account.delivered, account.lost), (80, 0));
    }
}

/// A name may have addresses on which nobody listens: `localhost` often has `::1` first.
#[tokio::test]
async fn every_address_of_a_name_is_tried_over_udp() {
    let (receiver, seen) = receiver(Protocol::Udp, Duration::ZERO).await;
    let mut config = config(Protocol::Udp, &[&receiver]);
    config.targets[0].host = "localhost".to_owned();
    let sink = Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap();
    let (_stopper, tenure) = tenure();
    let outcome = timeout(PATIENCE, sink.deliver(batch(0, 0..1), tenure)).await.expect("one of them listens");
    assert_eq!(outcome, Outcome::Done(vec![]));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_shard_that_was_lost_sends_nothing_more() {
    let (receiver, seen) = receiver(Protocol::Tcp, Duration::ZERO).await;
    receiver.faults().die_for(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sink = Arc::new(
        Syslog::new(&config(Protocol::Tcp, &[&receiver]), StateDir::none(), SharedBudget::new(64 << 20)).unwrap(),
    );
    let (stopper, lost) = tenure();
    let delivery = tokio::spawn({
        let sink = Arc::clone(&sink);
        async move { sink.deliver(batch(1, 0..10), lost).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    stopper.raise();
    assert_eq!(delivery.await.unwrap(), Outcome::Abandoned);
    assert_eq!(sink.deliver(batch(2, 0..10), tenure().1).await, Outcome::Done(vec![]));
    assert_eq!(seen.len(), 10);
    assert!(!seen.has(&message(1, 0)));
}

#[tokio::test]
async fn the_second_target_takes_over() {
    let (first, _) = receiver(Protocol::Tcp, Duration::ZERO).await;
    let (second, seen) = receiver(Protocol::Tcp, Duration::ZERO).await;
    first.faults().die_for(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sink = Arc::new(
        Syslog::new(&config(Protocol::Tcp, &[&first, &second]), StateDir::none(), SharedBudget::new(64 << 20)).unwrap(),
    );
    let account = deliver_all(&sink, &seen, 2, 4, 10).await;
    assert_eq!((account.delivered, account.lost), (80, 0));
}

#[tokio::test]
async fn only_sent_is_promised_if_the_settings_ask_for_it() {
    let (receiver, seen) = receiver(Protocol::Tcp, Duration::ZERO).await;
    let mut config = config(Protocol::Tcp, &[&receiver]);
    config.delivery = Delivery::Sent;
    let sink = Arc::new(Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap());
    let account = deliver_all(&sink, &seen, 2, 20, 10).await;
    assert_eq!((account.delivered, sink.promise()), (400, promise::SENT));
    assert_eq!(receiver.counts().connections, 1);
}

/// With an hour between proofs, and memory for eight batches. Fails if a short memory brings no proof.
#[tokio::test]
async fn memory_full_of_unconfirmed_events_triggers_a_proof() {
    const MIB: usize = 1 << 20;
    let (receiver, seen) = receiver(Protocol::Tcp, Duration::ZERO).await;
    let memory = SharedBudget::new(8 * MIB);
    let budget = memory.for_source();
    let mut config = config(Protocol::Tcp, &[&receiver]);
    config.delivery = Delivery::Confirmed { interval: Duration::from_secs(3_600), lag: Duration::from_millis(20) };
    let sink = Arc::new(Syslog::new(&config, StateDir::none(), memory).unwrap());
    let (_stopper, tenure) = tenure();
    let mut deliveries = JoinSet::new();
    for shard in 0..40 {
        let messages: Vec<String> = (0..128).map(|number| format!("{:a>8180}", message(shard, number))).collect();
        let credit = timeout(PATIENCE, budget.take(MIB)).await.expect("the memory stays full");
        let (sink, batch, tenure) = (Arc::clone(&sink), batch_of(shard, &messages), tenure.clone());
        deliveries.spawn(async move {
            sink.deliver(batch, tenure).await;
            drop(credit);
        });
    }
    assert!(seen.len() >= 32 * 128, "what is delivered has arrived");
    let connections = receiver.counts().connections;
    assert!(connections <= 25, "{connections} connections for 40 MB");
}
