//! Takes batches from all shards to the one thread that sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::connection::Turn;
use super::dial::{ConnectFault, Dial};
use super::jobs::{Job, Jobs};
use super::shared::SyslogShared;
use super::{Config, ConfigError, Delivery, Transport, relp, stream, udp};
use crate::core::batch::Output;
use crate::core::cause::Cause;
use crate::core::lease::Tenure;
use crate::destination::health::HealthTracker;
use crate::destination::{Destination, Health, Outcome};

/// Batches on their way to the sender; the sender holds the others.
const JOB_CAPACITY: usize = 64;

/// How long a receiver may take to say that it does not want our certificate: inside TLS 1.3 the client is through with
/// the handshake before the server has looked at it.
const LATE_REFUSAL_WAIT: Duration = Duration::from_millis(200);

/// A syslog receiver as a destination: one connection, whatever the number of shards.
#[derive(Debug)]
pub struct Syslog {
    shared: Arc<SyslogShared>,
    /// Gone only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What *delivered* means, from the strongest promise to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// The receiver's application answered for every message (RELP).
    Acknowledged,
    /// The receiver read every byte and lived on.
    Confirmed,
    /// The receiver's system took every byte; the receiver itself cannot be made to prove anything.
    Written,
    /// Our system took every byte.
    Sent,
}

impl Promise {
    /// The same in a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Acknowledged => "delivered means acknowledged: the receiver has answered for every message",
            Self::Confirmed => "delivered means confirmed: the receiver has read every byte, and lived on",
            Self::Written => "delivered means written: the receiver's system has taken every byte, no more is known",
            Self::Sent => "delivered means sent: nothing is known of what becomes of it",
        }
    }
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Acknowledged => "acknowledged",
            Self::Confirmed => "confirmed",
            Self::Written => "written",
            Self::Sent => "sent",
        })
    }
}

/// What is learnt about the receiver before there is anything to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Which target answered.
    pub target: String,
    /// How long connecting took.
    pub took: Duration,
}

/// No target can be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CheckError(Cause);

impl Syslog {
    /// Checks the settings, reads the files that they name, and starts the thread that sends. Nothing is sent.
    ///
    /// # Errors
    /// A setting that cannot work, or no thread to be had.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let url = url(config);
        if let Transport::Tls(tls) | Transport::Relp(Some(tls)) = &config.transport
            && !tls.verify
        {
            tracing::warn!(url, "the receiver's certificate is not verified, as the settings say");
        }
        let shared = Arc::new(SyslogShared {
            dial: Dial::new(config)?,
            standing: HealthTracker::new("syslog", url),
            left: Notify::new(),
            written_only: AtomicBool::new(false),
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
                // A name lookup that hangs is no reason to stay.
                runtime.shutdown_background();
            }
        });
        Ok(Self { shared, jobs: Some(jobs), thread: Some(thread.map_err(ConfigError::Thread)?) })
    }

    /// Connects once, to the first target that can be connected to. No message is sent.
    ///
    /// # Errors
    /// None can.
    pub async fn check(&self) -> Result<Checked, CheckError> {
        let began = Instant::now();
        let SyslogShared { config, dial, standing, .. } = &*self.shared;
        let mut fault = ConnectFault::Down(Cause::new("no target"));
        for target in &config.targets {
            let tried = match &config.transport {
                Transport::Udp { .. } => dial.lookup(target).await.map(|_| ()),
                _ => try_out(dial, target).await,
            };
            match tried {
                Ok(()) => {
                    let now = Instant::now();
                    standing.up(now);
                    return Ok(Checked { target: target.to_string(), took: now - began });
                }
                Err(failed) => fault = failed,
            }
        }
        fault.tell(standing, began, Instant::now());
        Err(CheckError(fault.cause().clone()))
    }

    /// What *delivered* means at the moment: a receiver that turns out to prove nothing makes it less.
    #[must_use]
    pub fn promise(&self) -> Promise {
        let Config { transport, delivery, .. } = &self.shared.config;
        match (transport, delivery) {
            (Transport::Relp(_), _) => Promise::Acknowledged,
            (Transport::Udp { .. }, _) | (_, Delivery::Sent) => Promise::Sent,
            _ if self.shared.written_only.load(Ordering::Relaxed) => Promise::Written,
            _ => Promise::Confirmed,
        }
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

/// What the destination is called: `tls://siem.example:6514`.
fn url(config: &Config) -> String {
    let scheme = match config.transport {
        Transport::Udp { .. } => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls(_) => "tls",
        Transport::Relp(None) => "relp",
        Transport::Relp(Some(_)) => "relp+tls",
    };
    let targets: Vec<String> = config.targets.iter().map(ToString::to_string).collect();
    format!("{scheme}://{}", targets.join(","))
}

impl Destination for Syslog {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        /// Whoever stops waiting says so, so that what nobody waits for is dropped at once.
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
            let jobs = self.jobs.as_ref().expect("it is not being dropped while somebody delivers");
            jobs.send(job).await.expect("the sender runs as long as the sink is there");
            outcome.await.expect("the sender gives every batch an outcome")
        };
        tenure.or(handed_over).await.unwrap_or(Outcome::Abandoned)
    }

    fn health(&self) -> Health {
        self.shared.standing.health()
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
