//! Passes batches of all shards to the sending thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::connection::Turn;
use super::dial::{ConnectFault, Dial};
use super::findings::Findings;
use super::jobs::{Job, Jobs};
use super::shared::SyslogShared;
use super::{Config, ConfigError, Delivery, Transport, promise, relp, stream, udp};
use crate::core::batch::Output;
use crate::core::budget::SharedBudget;
use crate::core::cause::Cause;
use crate::core::certificates::CertificateEnds;
use crate::core::lease::Tenure;
use crate::core::state_dir::StateDir;
use crate::destination::health::HealthTracker;
use crate::destination::{CheckError, Checked, Counter, Destination, Figures, Health, Outcome, Promise};

/// Capacity of the channel to the sender, which holds further batches itself.
const JOB_CAPACITY: usize = 64;

/// How long to wait for a receiver to reject our certificate: in TLS 1.3 the client completes the handshake before
/// the server checks it.
const LATE_REFUSAL_WAIT: Duration = Duration::from_millis(200);

/// A syslog receiver as a destination: one connection, whatever the number of shards.
#[derive(Debug)]
pub struct Syslog {
    shared: Arc<SyslogShared>,
    /// `None` only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Syslog {
    /// Checks the settings, reads the files that they name, and starts the sending thread. It sends nothing yet.
    /// Which targets prove nothing is kept in the state directory. `budget` is the memory that unproven events take a
    /// part of: when it becomes short, they are proven sooner.
    ///
    /// # Errors
    /// A setting is wrong, or the thread cannot be started.
    pub fn new(config: &Config, state: StateDir, budget: SharedBudget) -> Result<Self, ConfigError> {
        let url = url(config);
        let shared = Arc::new(SyslogShared {
            dial: Dial::new(config)?,
            health: HealthTracker::new("syslog", url),
            left: Notify::new(),
            written_only: AtomicBool::new(false),
            proofs: AtomicU64::new(0),
            budget,
            findings: Findings::new(state),
            config: config.clone(),
        });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ConfigError::Thread)?;
        let (jobs, incoming) = mpsc::channel(JOB_CAPACITY);
        let thread = std::thread::Builder::new().name("syslog".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let jobs = Jobs::new(incoming);
                runtime.block_on(async {
                    match shared.config.transport {
                        Transport::Udp { rate, max_datagram } => udp::run(&shared, jobs, rate, max_datagram).await,
                        Transport::Tcp | Transport::Tls(_) => stream::run(&shared, jobs).await,
                        Transport::Relp(_) => relp::run(&shared, jobs).await,
                    }
                });
                // A hanging name lookup must not delay the end.
                runtime.shutdown_background();
            }
        });
        Ok(Self { shared, jobs: Some(jobs), thread: Some(thread.map_err(ConfigError::Thread)?) })
    }
}

async fn try_out(dial: &Dial, target: &super::Target) -> Result<(), ConnectFault> {
    let mut connection = dial.connect(target).await?;
    match timeout(LATE_REFUSAL_WAIT, connection.turn(&mut [0; 512], &[])).await {
        Ok(Turn::Failed(error)) => Err(ConnectFault::of(target, &error)),
        Ok(Turn::Ended) => {
            Err(ConnectFault::Down(Cause::new(format!("{target}: {}", super::connection::CLOSED_BY_RECEIVER))))
        }
        Ok(Turn::Read(_) | Turn::Wrote(_)) | Err(_) => Ok(()),
    }
}

/// The address of the destination: `tls://siem.example:6514`.
fn url(config: &Config) -> String {
    let targets: Vec<String> = config.targets.iter().map(ToString::to_string).collect();
    format!("{}://{}", config.transport.scheme(), targets.join(","))
}

impl Destination for Syslog {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        /// Notifies the sender when a caller stops waiting, so that its batch is dropped at once.
        struct Leaving<'a>(&'a Notify);
        impl Drop for Leaving<'_> {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }

        if batch.events.is_empty() {
            return Outcome::Done(Vec::new());
        }
        let _leaving = Leaving(&self.shared.left);
        let handed_over = async {
            let (done, outcome) = oneshot::channel();
            let job = Job { batch, tenure: tenure.clone(), done };
            let jobs = self.jobs.as_ref().expect("it is not dropped while a caller delivers");
            jobs.send(job).await.expect("the sending thread runs as long as the destination exists");
            outcome.await.expect("the sending thread gives every batch an outcome")
        };
        tenure.or(handed_over).await.unwrap_or(Outcome::Abandoned)
    }

    /// Connects once, to the first target that accepts a connection. No message is sent.
    async fn check(&self) -> Result<Checked, CheckError> {
        let began = Instant::now();
        let SyslogShared { config, dial, health, .. } = &*self.shared;
        let mut error = CheckError::Down(Cause::new("no target"));
        for target in &config.targets {
            let tried = match &config.transport {
                Transport::Udp { .. } => dial.lookup(target).await.map(|_| ()),
                _ => try_out(dial, target).await,
            };
            match tried {
                Ok(()) => {
                    let now = Instant::now();
                    health.up(now);
                    return Ok(Checked { url: target.to_string(), took: now - began, agrees: "can be connected to" });
                }
                Err(ConnectFault::Down(cause)) => error = CheckError::Down(cause),
                Err(ConnectFault::Refused(cause)) => error = CheckError::Refused(cause),
            }
        }
        health.check_failed(began, Instant::now(), &error);
        Err(error)
    }

    fn address(&self) -> String {
        url(&self.shared.config)
    }

    fn promise(&self) -> Promise {
        let Config { transport, delivery, .. } = &self.shared.config;
        match (transport, delivery) {
            (Transport::Relp(_), _) => promise::ACKNOWLEDGED,
            (Transport::Udp { .. }, _) | (_, Delivery::Sent) => promise::SENT,
            _ if self.shared.written_only.load(Ordering::Relaxed) => promise::WRITTEN,
            _ => promise::CONFIRMED,
        }
    }

    fn health(&self) -> Health {
        self.shared.health.health()
    }

    fn certificates(&self) -> CertificateEnds {
        self.shared.dial.certificates()
    }

    fn figures(&self) -> Figures {
        let proofs = Counter {
            name: "proofs",
            help: "Connections that were closed to prove that the receiver has read what they carried, and did",
            value: self.shared.proofs.load(Ordering::Relaxed),
        };
        // RELP answers each message, and what is only sent is never proven.
        let is_proven = matches!(self.shared.config.transport, Transport::Tcp | Transport::Tls(_))
            && matches!(self.shared.config.delivery, Delivery::Confirmed { .. });
        Figures {
            counters: is_proven.then_some(proofs).into_iter().collect(),
            outages: self.shared.health.outages(Instant::now()),
            ..Figures::default()
        }
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("BUG: the syslog sender broke down");
        }
    }
}
