//! The SIEM of the demo: Splunk's collector or a syslog receiver.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::oracle::Oracle;
use crate::core::secret::Secret;
use crate::emulator::hec;
use crate::emulator::hec::{HecEmulator, HecFault, Keep};
use crate::emulator::syslog;
use crate::emulator::syslog::{Protocol, SyslogEmulator};

pub(super) const TOKEN: &str = "00000000-0000-4000-8000-000000000000";

/// Length of the outage.
pub(super) const OUTAGE: Duration = Duration::from_secs(2);

/// Number of events to show at the end.
const SHOWN_EVENTS: usize = 3;

/// How long a message is in the syslog receiver's memory before it is stored; a crash loses these.
const RECEIVER_MEMORY: Duration = Duration::from_millis(50);

/// The type of the SIEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum To {
    /// Splunk's HTTP Event Collector.
    Hec,
    /// A syslog receiver over TCP; delivered means confirmed.
    Syslog,
}

/// Options of the demo's collectors.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Collectors {
    /// Wait for the acknowledgements of the indexers; half-way, a collector dies with the events that it has not indexed.
    #[arg(long)]
    pub ack: bool,

    /// Collectors to spread the events over.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub members: u8,
}

/// The running SIEM.
pub(super) enum Receiver {
    Hec { members: Vec<HecEmulator>, ack: bool },
    Syslog(SyslogEmulator),
}

impl Receiver {
    pub(super) async fn start(to: To, collectors: Collectors, oracle: &Arc<Oracle>) -> io::Result<Self> {
        match to {
            To::Hec => {
                let mut config = hec::Config::new(Secret::new(TOKEN));
                config.keep = Keep::Last(SHOWN_EVENTS);
                config.tap = Some(Arc::clone(oracle) as _);
                (config.use_ack, config.queue) = (collectors.ack, collectors.ack);
                let mut members = Vec::new();
                for _ in 0..collectors.members {
                    members.push(HecEmulator::start(config.clone()).await?);
                }
                Ok(Self::Hec { members, ack: collectors.ack })
            }
            To::Syslog => {
                let tap = Some(Arc::clone(oracle) as _);
                let config = syslog::Config {
                    keep: SHOWN_EVENTS,
                    memory: RECEIVER_MEMORY,
                    tap,
                    ..syslog::Config::new(Protocol::Tcp)
                };
                SyslogEmulator::start(config).await.map(Self::Syslog)
            }
        }
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::Hec { members, .. } => members.iter().map(HecEmulator::url).collect::<Vec<_>>().join(","),
            Self::Syslog(syslog) => format!("syslog://{}", syslog.address()),
        }
    }

    /// The settings for it.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Hec { ack, .. } => {
                let mut environment = vec![("FORWARDER_HEC_URL", self.url()), ("FORWARDER_HEC_TOKEN", TOKEN.into())];
                if *ack {
                    environment.push(("FORWARDER_HEC_ACK", "true".into()));
                    environment.push(("FORWARDER_HEC_ACK_TIMEOUT", "5s".into()));
                }
                environment
            }
            Self::Syslog(syslog) => vec![
                ("FORWARDER_SYSLOG_HOST", syslog.address().ip().to_string()),
                ("FORWARDER_SYSLOG_PORT", syslog.address().port().to_string()),
                ("FORWARDER_SYSLOG_PROTOCOL", "tcp".into()),
            ],
        }
    }

    /// Causes its outage; returns the message for it.
    pub(super) fn go_away(&self) -> &'static str {
        match self {
            Self::Hec { members, ack: true } => {
                members[0].faults().kill(0, OUTAGE);
                "half-way: a collector dies with the events that it has accepted but not indexed, and restarts in \
                 two seconds"
            }
            Self::Hec { members, ack: false } => {
                for hec in members {
                    hec.faults().next(HecFault::reply_lost(), 1);
                    hec.faults().down_for(OUTAGE);
                }
                "half-way: the receiver answers 503 for two seconds, then accepts a request without answering it"
            }
            Self::Syslog(syslog) => {
                syslog.faults().die_for(OUTAGE);
                "half-way: the receiver crashes, loses the messages that it has not stored, and is down for two seconds"
            }
        }
    }

    /// The last events, as the receiver shows them, under a heading.
    pub(super) fn last(&self) -> (&'static str, Vec<Vec<u8>>) {
        match self {
            Self::Hec { members, .. } => {
                let line = |event: &hec::Received<'_>| {
                    let time = event.time.as_deref().unwrap_or("-");
                    [format!("_time={time}  _raw=").as_bytes(), &event.event_raw].concat()
                };
                ("as Splunk would index them", members[0].received().iter().map(line).collect())
            }
            Self::Syslog(syslog) => ("as they were received", syslog.received()),
        }
    }

    /// How to see the received events, if possible.
    pub(super) fn how_to_look(&self) -> Option<String> {
        match self {
            Self::Hec { members, .. } => Some(format!("curl {}/_emulator/events | tail -n 3", members[0].url())),
            Self::Syslog(_) => None,
        }
    }

    pub(super) async fn stop(self) {
        match self {
            Self::Hec { members, .. } => {
                for hec in members {
                    hec.stop().await;
                }
            }
            Self::Syslog(syslog) => syslog.stop().await,
        }
    }
}
