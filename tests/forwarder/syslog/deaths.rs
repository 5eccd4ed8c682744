//! Receivers that die, reset and stall while they have a backlog.

use std::sync::Arc;
use std::time::Duration;

use forwarder::core::budget::SharedBudget;
use forwarder::core::state_dir::StateDir;
use forwarder::destination::syslog::{Delivery, Syslog};
use forwarder::emulator::syslog::{Protocol, ReceiverFault, SyslogEmulator};
use tokio::time::{sleep, timeout};

use super::bench::{Account, config, deliver_all, receiver};

const DEATHS: u64 = 18;

/// How long a receiver must stay alive. The two tests of confirmed delivery fail if this is no longer than the
/// receiver's [`MEMORY`], if a batch counts as soon as it is written, and if a close counts without a check of the
/// witness.
const LAG: Duration = Duration::from_millis(300);

/// How long the receiver keeps a message in memory before it writes it: less than the lag, otherwise no promise would
/// be possible, and long enough that a death loses some messages.
const MEMORY: Duration = Duration::from_millis(100);

/// Maximum wait for messages before the next fault.
const SILENCE: Duration = Duration::from_secs(1);

/// Many deaths, resets and stalls, each while messages arrive.
async fn torment(receiver: &SyslogEmulator, between: u64) {
    let faults = receiver.faults();
    for turn in 0..DEATHS {
        sleep(Duration::from_millis(between + turn * 37 % 113)).await;
        let before = receiver.counts();
        let traffic = async {
            while receiver.counts().read == before.read {
                sleep(Duration::from_millis(1)).await;
            }
        };
        // When everything has been sent, there is no traffic.
        let _ = timeout(SILENCE, traffic).await;
        match turn % 6 {
            4 => {
                faults.add(ReceiverFault::Stall);
                sleep(Duration::from_millis(150)).await;
                faults.clear();
                faults.reset_all();
            }
            _ => {
                faults.die_for(Duration::from_millis(50 + turn * 31 % 100));
                while receiver.counts().deaths == before.deaths {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}

async fn under_torment(protocol: Protocol, memory: Duration, delivery: Option<Delivery>) -> (Account, u64) {
    let (receiver, seen) = receiver(protocol, memory).await;
    let mut config = config(protocol, &[&receiver]);
    config.delivery = delivery.unwrap_or(Delivery::Confirmed { interval: Duration::from_millis(200), lag: LAG });
    let sink = Arc::new(Syslog::new(&config, StateDir::none(), SharedBudget::new(64 << 20)).unwrap());
    let batches = 500;
    let delivering = deliver_all(&sink, &seen, 4, batches, 50);
    let (account, ()) = tokio::join!(delivering, torment(&receiver, 300));
    let counts = receiver.counts();
    println!("{protocol:?}: {account:?}, {counts:?}");
    assert!(counts.deaths >= 15);
    assert_eq!(account.delivered, 4 * batches * 50);
    (account, counts.forgotten)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_tcp_loses_nothing_when_the_receiver_dies() {
    let (account, forgotten) = under_torment(Protocol::Tcp, MEMORY, None).await;
    assert_eq!((account.lost, account.rejected.len()), (0, 0));
    assert!(forgotten > 0, "no death met a message in memory: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_tls_loses_nothing_when_the_receiver_dies() {
    let (account, forgotten) = under_torment(Protocol::Tls, MEMORY, None).await;
    assert_eq!((account.lost, account.rejected.len()), (0, 0));
    assert!(forgotten > 0, "no death met a message in memory: the test shows nothing");
}

/// A RELP receiver answers when it has written a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relp_loses_nothing_when_the_receiver_dies() {
    let (account, _) = under_torment(Protocol::Relp, Duration::ZERO, None).await;
    assert_eq!((account.lost, account.rejected.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_delivery_sent_messages_are_lost_when_the_receiver_dies() {
    let (account, _) = under_torment(Protocol::Tcp, MEMORY, Some(Delivery::Sent)).await;
    assert!(account.lost > 0, "sent is no promise, and nothing was lost: the receiver is too kind");
}
