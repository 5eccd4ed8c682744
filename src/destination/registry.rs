//! The one list of destinations, and how each is built.
//!
//! A new destination is a folder beside this file, a variant of [`DestinationConfig`], and its line in
//! [`DestinationConfig::open`]. How its settings are read is a row above, in `settings/destination.rs`.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::file::{FileDestination, FileFormat};
use super::hec::{Hec, HecFormat};
use super::syslog::{Syslog, SyslogFormat};
use super::{CheckError, Checked, Counter, Destination, Gauge, Health, Outcome, Preview, Promise, file, hec, syslog};
use crate::core::batch::Output;
use crate::core::lease::Tenure;
use crate::core::state_dir::StateDir;

/// How to reach a destination: exactly one.
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
    /// As HEC says it.
    #[error(transparent)]
    Hec(#[from] hec::ConfigError),
    /// As syslog says it.
    #[error(transparent)]
    Syslog(#[from] syslog::ConfigError),
}

impl DestinationConfig {
    /// Builds the destination and the format that its events are laid out in. Nothing is sent. What it learns for the next
    /// start is kept in the state directory.
    ///
    /// # Errors
    /// A setting that cannot work, or a file that it names cannot be used.
    pub fn open(&self, state: &StateDir) -> Result<(AnyDestination, Arc<dyn Preview>), OpenError> {
        Ok(match self {
            Self::Hec(config) => (AnyDestination::new(Hec::new(config)?), Arc::new(HecFormat::new(config))),
            Self::Syslog(config) => {
                (AnyDestination::new(Syslog::new(config, state.clone())?), Arc::new(SyslogFormat::new(config)))
            }
            Self::File(config) => (AnyDestination::new(FileDestination::new(config)), Arc::new(FileFormat::default())),
        })
    }
}

/// A destination, whichever it is. A delivery costs one allocation a batch more than the destination
/// itself.
#[derive(Debug)]
pub struct AnyDestination(Box<dyn ErasedDestination>);

impl AnyDestination {
    fn new(destination: impl Destination + std::fmt::Debug) -> Self {
        Self(Box::new(destination))
    }
}

impl Destination for AnyDestination {
    fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> impl Future<Output = Outcome> + Send {
        self.0.erased_deliver(batch, tenure)
    }

    fn check(&self) -> impl Future<Output = Result<Checked, CheckError>> + Send {
        self.0.erased_check()
    }

    fn address(&self) -> String {
        self.0.erased_address()
    }

    fn promise(&self) -> Promise {
        self.0.erased_promise()
    }

    fn health(&self) -> Health {
        self.0.erased_health()
    }

    fn counters(&self) -> Vec<Counter> {
        self.0.erased_counters()
    }

    fn gauges(&self) -> Vec<Gauge> {
        self.0.erased_gauges()
    }

    fn warnings(&self) -> Vec<String> {
        self.0.erased_warnings()
    }
}

/// [`Destination`] with its futures in boxes, as a trait object needs them.
trait ErasedDestination: Send + Sync + std::fmt::Debug {
    fn erased_deliver(&self, batch: Arc<Output>, tenure: Tenure) -> BoxFuture<'_, Outcome>;
    fn erased_check(&self) -> BoxFuture<'_, Result<Checked, CheckError>>;
    fn erased_address(&self) -> String;
    fn erased_promise(&self) -> Promise;
    fn erased_health(&self) -> Health;
    fn erased_counters(&self) -> Vec<Counter>;
    fn erased_gauges(&self) -> Vec<Gauge>;
    fn erased_warnings(&self) -> Vec<String>;
}

impl<D: Destination + std::fmt::Debug> ErasedDestination for D {
    fn erased_deliver(&self, batch: Arc<Output>, tenure: Tenure) -> BoxFuture<'_, Outcome> {
        Box::pin(self.deliver(batch, tenure))
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

    fn erased_counters(&self) -> Vec<Counter> {
        self.counters()
    }

    fn erased_gauges(&self) -> Vec<Gauge> {
        self.gauges()
    }

    fn erased_warnings(&self) -> Vec<String> {
        self.warnings()
    }
}
