//! A receiver, the destination, and shards that deliver numbered events.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forwarder::core::batch::{Events, Output};
use forwarder::core::cursor::ShardId;
use forwarder::core::lease::{Lease, Tenure};
use forwarder::core::stop::{Stopper, stop};
use forwarder::destination::syslog::{
    Config, Delivery, Framing, Layout, Oversize, Standard, Syslog, Target, Tls, Transport,
};
use forwarder::destination::{Destination as _, Outcome, Rejected};
use forwarder::emulator::syslog::{Config as Receiver, Protocol, SyslogEmulator, Tap};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub const CERTIFICATE: &[u8] = include_bytes!("../../../src/destination/hec/client/tests/tls/server.pem");
pub const KEY: &[u8] = include_bytes!("../../../src/destination/hec/client/tests/tls/server.key");

/// The number of arrivals of each message.
#[derive(Debug, Default)]
pub struct Seen(Mutex<BTreeMap<Vec<u8>, u64>>);

impl Tap for Seen {
    fn received(&self, message: &[u8]) {
        *self.0.lock().unwrap().entry(message.to_vec()).or_default() += 1;
    }
}

impl Seen {
    pub fn has(&self, message: &str) -> bool {
        self.0.lock().unwrap().contains_key(message.as_bytes())
    }

    /// The number of different messages that arrived.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A receiver that reports the messages that it has written to disk.
pub async fn receiver(protocol: Protocol, memory: Duration) -> (SyslogEmulator, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let config = Receiver {
        identity: Some((CERTIFICATE.to_vec(), KEY.to_vec())),
        memory,
        keep: 0,
        tap: Some(Arc::clone(&seen) as _),
        ..Receiver::new(protocol)
    };
    (SyslogEmulator::start(config).await.unwrap(), seen)
}

pub fn config(protocol: Protocol, targets: &[&SyslogEmulator]) -> Config {
    let tls = || Tls { verify: false, ca_file: None, client_cert: None, server_name: None };
    let target = |receiver: &&SyslogEmulator| Target { host: "127.0.0.1".into(), port: receiver.address().port() };
    Config {
        targets: targets.iter().map(target).collect(),
        transport: match protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Tls => Transport::Tls(tls()),
            Protocol::Udp => Transport::Udp { rate: 20_000, max_datagram: 1_400 },
            Protocol::Relp => Transport::Relp(None),
            Protocol::RelpTls => Transport::Relp(Some(tls())),
        },
        framing: Framing::Octet,
        layout: Layout {
            standard: Standard::Rfc5424,
            facility: 1,
            severity: 6,
            hostname: "test".into(),
            program: String::new(),
            separator: "||".into(),
            structured_data: Vec::new(),
            bom: false,
            compat: None,
            max_message: 8_192,
            oversize: Oversize::Truncate,
        },
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        delivery: Delivery::Confirmed { interval: Duration::from_millis(200), lag: Duration::from_millis(100) },
    }
}

/// The text of event `number` of a shard's batch.
pub fn message(shard: u32, number: usize) -> String {
    format!("<14>1 - test - - - - shard {shard} event {number:08} {}", "x".repeat(100))
}

/// The events `numbers` of a shard, octet-counted.
pub fn batch(shard: u32, numbers: std::ops::Range<usize>) -> Arc<Output> {
    batch_of(shard, &numbers.map(|number| message(shard, number)).collect::<Vec<_>>())
}

pub fn batch_of(shard: u32, messages: &[String]) -> Arc<Output> {
    let mut events = Events::default();
    for (log, message) in (0..).zip(messages) {
        events.push(log, |out| write!(out, "{} {message}", message.len())).unwrap();
    }
    Arc::new(Output { shard: ShardId(shard), events })
}

/// A tenure that is valid until it is stopped.
pub fn tenure() -> (Stopper, Tenure) {
    let (stopper, over) = stop();
    (stopper, Tenure::new(Lease::endless(Instant::now()), over))
}

/// The reported result of a delivery, and what the receiver had by then.
#[derive(Debug, Default)]
pub struct Account {
    pub delivered: usize,
    /// Reported as delivered, and missing.
    pub lost: usize,
    pub rejected: Vec<Rejected>,
}

/// Delivers this many batches of each shard, several at a time, and checks at once whether everything reported as
/// delivered has arrived; `written` waits until the receiver has written what it read.
pub async fn deliver_all(sink: &Arc<Syslog>, seen: &Arc<Seen>, shards: u32, batches: usize, events: usize) -> Account {
    let mut running = JoinSet::new();
    for shard in 0..shards {
        let (sink, seen) = (Arc::clone(sink), Arc::clone(seen));
        running.spawn(async move {
            let mut account = Account::default();
            let (_stopper, tenure) = tenure();
            let mut under_way = futures_util::stream::FuturesOrdered::new();
            let mut next = 0;
            loop {
                while next < batches && under_way.len() < 8 {
                    let numbers = next * events..(next + 1) * events;
                    let batch = batch(shard, numbers.clone());
                    let (sink, tenure) = (Arc::clone(&sink), tenure.clone());
                    under_way.push_back(async move { (numbers, sink.deliver(batch, tenure).await) });
                    next += 1;
                }
                let Some((numbers, outcome)) = futures_util::StreamExt::next(&mut under_way).await else {
                    return account;
                };
                let Outcome::Done(rejected) = outcome else { panic!("the tenure holds, yet {outcome:?}") };
                account.delivered += numbers.len() - rejected.len();
                account.lost += numbers
                    .clone()
                    .filter(|number| rejected.iter().all(|rejected| rejected.event + numbers.start != *number))
                    .filter(|number| !seen.has(&message(shard, *number)))
                    .count();
                account.rejected.extend(rejected);
            }
        });
    }
    let mut total = Account::default();
    while let Some(account) = running.join_next().await {
        let account = account.unwrap();
        total.delivered += account.delivered;
        total.lost += account.lost;
        total.rejected.extend(account.rejected);
    }
    total
}
