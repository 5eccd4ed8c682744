//! Destinations.

use std::sync::Arc;
use std::time::Duration;

use super::hec::Hec;
use super::syslog::Syslog;
use super::{Destination, Health, Outcome};
use crate::core::batch::Output;
use crate::core::lease::Tenure;

/// The destination of this process, whichever it is.
#[derive(Debug)]
pub enum AnyDestination {
    /// Splunk.
    Hec(Box<Hec>),
    /// Any other SIEM.
    Syslog(Syslog),
}

/// What is learnt about a destination before there is anything to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Where it is.
    pub url: String,
    /// How long the answer took.
    pub took: Duration,
    /// What it agreed to, as a sentence ends: "accepted the HEC token".
    pub agrees: &'static str,
}

/// Why a destination does not take events yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// As HEC said it.
    #[error(transparent)]
    Hec(#[from] super::hec::CheckError),
    /// As connecting failed.
    #[error(transparent)]
    Syslog(#[from] super::syslog::CheckError),
}

impl AnyDestination {
    /// Asks the destination once whether it would take our events; none is sent.
    ///
    /// # Errors
    /// It is not there, or refuses us.
    pub async fn check(&self) -> Result<Checked, CheckError> {
        match self {
            Self::Hec(hec) => {
                let super::hec::Checked { url, took } = hec.check().await?;
                Ok(Checked { url, took, agrees: "accepted the HEC token" })
            }
            Self::Syslog(syslog) => {
                let super::syslog::Checked { target, took } = syslog.check().await?;
                Ok(Checked { url: target, took, agrees: "can be connected to" })
            }
        }
    }

    /// What *delivered* means there at the moment, in a word: `accepted`, `confirmed`, `acknowledged`, `written`, `sent`.
    #[must_use]
    pub fn promise(&self) -> String {
        match self {
            Self::Hec(_) => "accepted".to_owned(),
            Self::Syslog(syslog) => syslog.promise().to_string(),
        }
    }

    /// The same in a sentence.
    #[must_use]
    pub fn promises(&self) -> &'static str {
        match self {
            Self::Hec(_) => "delivered means accepted: Splunk has taken the events into its queue",
            Self::Syslog(syslog) => syslog.promise().meaning(),
        }
    }
}

impl Destination for AnyDestination {
    async fn deliver(&self, batch: Arc<Output>, tenure: Tenure) -> Outcome {
        match self {
            Self::Hec(hec) => hec.deliver(batch, tenure).await,
            Self::Syslog(syslog) => syslog.deliver(batch, tenure).await,
        }
    }

    fn health(&self) -> Health {
        match self {
            Self::Hec(hec) => hec.health(),
            Self::Syslog(syslog) => syslog.health(),
        }
    }
}
