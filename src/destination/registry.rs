//! The one list of destinations, and how each is built.
//!
//! A new destination is a folder beside this file, a variant of [`DestinationConfig`], and its line in
//! [`DestinationConfig::open`]. How its settings are read is a row above, in `settings/destination.rs`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::file::{FileDestination, FileFormat};
use super::hec::{Hec, HecFormat};
use super::syslog::{Syslog, SyslogFormat};
use super::{CheckError, Checked, Destination, Figures, Gauge, Health, Outcome, Preview, Promise, file, hec, syslog};
use crate::core::batch::Output;
use crate::core::budget::SharedBudget;
use crate::core::certificates::CertificateEnds;
use crate::core::histogram::Histogram;
use crate::core::lease::Tenure;
use crate::core::pending_output::PendingOutput;
use crate::core::state_dir::StateDir;
use crate::core::tls_connectors::TlsConnectors;

/// The configuration of one destination.
#[derive(Debug, Clone)]
pub enum DestinationConfig {
    /// Splunk over HEC.
    Hec(Box<hec::Config>),
    /// Any SIEM over syslog.
    Syslog(Box<syslog::Config>),
    /// A file of JSON lines on this machine.
    File(file::Config),
}

/// Why a destination cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An error of HEC.
    #[error(transparent)]
    Hec(#[from] hec::ConfigError),
    /// An error of syslog.
    #[error(transparent)]
    Syslog(#[from] syslog::ConfigError),
}

impl DestinationConfig {
    /// Builds the destination and its format. It sends nothing yet. State for the next start is kept in the state
    /// directory. `budget` is the memory in which events wait until they are delivered, and `tls` is shared with other clients.
    ///
    /// # Errors
    /// A setting that cannot work, or a file that it names cannot be used.
    pub fn open(
        &self,
        state: &StateDir,
        budget: &SharedBudget,
        tls: &TlsConnectors,
    ) -> Result<(AnyDestination, Arc<dyn Preview>), OpenError> {
        Ok(match self {
            Self::Hec(config) => {
                let config = hec::Config { tls: tls.clone(), ..(**config).clone() };
                (AnyDestination::new(Hec::new(&config)?), Arc::new(HecFormat::new(&config)))
            }
            Self::Syslog(config) => (
                AnyDestination::new(Syslog::new(config, state.clone(), budget.clone())?),
                Arc::new(SyslogFormat::new(config)),
            ),
            Self::File(config) => (AnyDestination::new(FileDestination::new(config)), Arc::new(FileFormat::default())),
        })
    }
}

/// A destination of any type, with the times of its deliveries. It costs one extra allocation per batch.
#[derive(Debug)]
pub struct AnyDestination {
    inner: Box<dyn ErasedDestination>,
    deliveries: Histogram,
}

impl AnyDestination {
    fn new(destination: impl Destination + std::fmt::Debug) -> Self {
        Self { inner: Box::new(destination), deliveries: Histogram::default() }
    }
}

impl Destination for AnyDestination {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        self.deliver_pending(Arc::new(batch.into()), tenure).await
    }

    async fn deliver_pending(&self, pending: Arc<PendingOutput>, tenure: Tenure) -> Outcome {
        let began = Instant::now();
        let outcome = self.inner.erased_deliver(pending, tenure).await;
        if matches!(outcome, Outcome::Done(_)) {
            self.deliveries.observe(began.elapsed(), 1);
        }
        outcome
    }

    fn check(&self) -> impl Future<Output = Result<Checked, CheckError>> + Send {
        self.inner.erased_check()
    }

    fn address(&self) -> String {
        self.inner.erased_address()
    }

    fn promise(&self) -> Promise {
        self.inner.erased_promise()
    }

    fn health(&self) -> Health {
        self.inner.erased_health()
    }

    fn certificates(&self) -> CertificateEnds {
        self.inner.erased_certificates()
    }

    fn figures(&self) -> Figures {
        Figures { deliveries: self.deliveries.read(), ..self.inner.erased_figures() }
    }

    fn gauges(&self) -> Vec<Gauge> {
        self.inner.erased_gauges()
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.erased_warnings()
    }
}

/// [`Destination`] with its futures in boxes, as a trait object needs them.
trait ErasedDestination: Send + Sync + std::fmt::Debug {
    fn erased_deliver(&self, pending: Arc<PendingOutput>, tenure: Tenure) -> BoxFuture<'_, Outcome>;
    fn erased_check(&self) -> BoxFuture<'_, Result<Checked, CheckError>>;
    fn erased_address(&self) -> String;
    fn erased_promise(&self) -> Promise;
    fn erased_health(&self) -> Health;
    fn erased_certificates(&self) -> CertificateEnds;
    fn erased_figures(&self) -> Figures;
    fn erased_gauges(&self) -> Vec<Gauge>;
    fn erased_warnings(&self) -> Vec<String>;
}

impl<D: Destination + std::fmt::Debug> ErasedDestination for D {
    fn erased_deliver(&self, pending: Arc<PendingOutput>, tenure: Tenure) -> BoxFuture<'_, Outcome> {
        Box::pin(self.deliver_pending(pending, tenure))
    }

    fn erased_check(&self) -> BoxFuture<'_, Result<Checked, CheckError>> {
        Box::pin(self.check())
    }

    fn erased_address(&self) -> String {
        self.address()
    }

    fn erased_promise(&self) -> Promise {
        self.promise()
    }

    fn erased_health(&self) -> Health {
        self.health()
    }

    fn erased_certificates(&self) -> CertificateEnds {
        self.certificates()
    }

    fn erased_figures(&self) -> Figures {
        self.figures()
    }

    fn erased_gauges(&self) -> Vec<Gauge> {
        self.gauges()
    }

    fn erased_warnings(&self) -> Vec<String> {
        self.warnings()
    }
}
