//! The destinations of a backfill: all of the settings, or one of them.

use std::sync::Arc;

use crate::core::batch::Output;
use crate::core::lease::Tenure;
use crate::core::pending_output::PendingOutput;
use crate::destination::registry::AnyDestination;
use crate::destination::{CheckError, Checked, Destination, Figures, Health, Outcome, Promise};

/// A destination, or a placeholder for one that is left out: the script may still name it, but its events are
/// discarded.
#[derive(Debug)]
pub enum Target {
    /// Gets its events.
    Taken(AnyDestination),
    /// Gets none.
    LeftOut(AnyDestination),
}

impl Target {
    fn destination(&self) -> &AnyDestination {
        match self {
            Self::Taken(destination) | Self::LeftOut(destination) => destination,
        }
    }
}

impl Destination for Target {
    async fn deliver(&self, output: Arc<Output>, tenure: Tenure) -> Outcome {
        match self {
            Self::Taken(destination) => destination.deliver(output, tenure).await,
            Self::LeftOut(_) => Outcome::Done(Vec::new()),
        }
    }

    async fn deliver_pending(&self, pending: Arc<PendingOutput>, tenure: Tenure) -> Outcome {
        match self {
            Self::Taken(destination) => destination.deliver_pending(pending, tenure).await,
            Self::LeftOut(_) => Outcome::Done(Vec::new()),
        }
    }

    async fn check(&self) -> Result<Checked, CheckError> {
        self.destination().check().await
    }

    fn address(&self) -> String {
        self.destination().address()
    }

    fn promise(&self) -> Promise {
        self.destination().promise()
    }

    fn health(&self) -> Health {
        self.destination().health()
    }

    fn figures(&self) -> Figures {
        self.destination().figures()
    }
}
