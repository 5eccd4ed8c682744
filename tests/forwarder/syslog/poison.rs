//! Events that kill the receiver.

use std::sync::Arc;
use std::time::Duration;

use forwarder::core::budget::SharedBudget;
use forwarder::core::state_dir::StateDir;
use forwarder::destination::syslog::Syslog;
use forwarder::destination::{Destination as _, Outcome};
use forwarder::emulator::syslog::{Protocol, ReceiverFault};
use tokio::time::timeout;

use super::bench::{batch_of, config, message, receiver, tenure};

const PATIENCE: Duration = Duration::from_secs(60);

/// Expects that the culprit is rejected and its neighbours are delivered.
async fn check(protocol: Protocol, fault: ReceiverFault) {
    let (receiver, seen) = receiver(protocol, Duration::ZERO).await;
    receiver.faults().add(fault);
    let mut messages: Vec<String> = (0..40).map(|number| message(0, number)).collect();
    messages[23] = "<14>1 - - - - - - POISON".to_owned();
    let sink =
        Arc::new(Syslog::new(&config(protocol, &[&receiver]), StateDir::none(), SharedBudget::new(64 << 20)).unwrap());
    let delivery = sink.deliver(batch_of(0, &messages), tenure().1);
    let Outcome::Done(rejected) = timeout(PATIENCE, delivery).await.expect("it is found") else { panic!() };
    assert_eq!(rejected.iter().map(|rejected| rejected.event).collect::<Vec<_>>(), [23]);
    assert_eq!(rejected[0].code, "syslog");
    assert_eq!(seen.len(), 39);
}

#[tokio::test]
async fn a_message_that_kills_the_connection_is_found_over_tcp() {
    check(Protocol::Tcp, ReceiverFault::CloseOn("POISON".to_owned())).await;
}

#[tokio::test]
async fn a_message_that_kills_the_connection_is_found_over_relp() {
    check(Protocol::Relp, ReceiverFault::CloseOn("POISON".to_owned())).await;
}

#[tokio::test]
async fn a_message_that_a_relp_receiver_rejects_is_found() {
    check(Protocol::Relp, ReceiverFault::Refuse("POISON".to_owned())).await;
}
