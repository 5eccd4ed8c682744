//! The destinations of a backfill: all of the settings, or one of them.

use std::sync::Arc;

use crate::app::error::Error;
use crate::core::batch::Output;
use crate::core::lease::Tenure;
use crate::core::pending_output::PendingOutput;
use crate::destination::file;
use crate::destination::registry::{AnyDestination, DestinationConfig};
use crate::destination::{CheckError, Checked, Destination, Figures, Health, Outcome, Promise};
use crate::settings::DestinationSettings;

/// A file has one writer. The live job would hold it for as long as the backfill waits for it.
///
/// # Errors
/// Another process writes to a file that gets events; `only` is the destination that gets them, if not all do.
pub(super) fn refuse_file_in_use(destinations: &[DestinationSettings], only: Option<&str>) -> Result<(), Error> {
    for DestinationSettings { name, config, .. } in destinations {
        if let DestinationConfig::File(config) = config
            && only.is_none_or(|only| name.as_str() == only)
            && file::is_in_use(&config.path)
        {
            return Err(Error::Settings(format!(
                "destination {name}: another process, probably the live job, writes to {}, and a file has only one \
                 writer; name another destination (--destination), or give the backfill a settings file (--config) \
                 with another file.path",
                config.path.display()
            )));
        }
    }
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::destination_name::DestinationName;
    use crate::pipeline::OnReject;

    #[tokio::test]
    async fn a_file_of_a_running_process_is_refused_with_what_to_do_unless_it_gets_no_events() {
        let dir = tempfile::tempdir().unwrap();
        let config = file::Config { path: dir.path().join("a.jsonl"), max_size: 1_000, keep: 1, fsync: false };
        let live = file::FileDestination::new(&config);
        let named = |name| DestinationSettings {
            name: DestinationName::new(name).unwrap(),
            config: DestinationConfig::File(config.clone()),
            on_reject: OnReject::DeadLetter,
            isolate: false,
        };
        let destinations = [named("archive")];
        assert!(refuse_file_in_use(&destinations, None).is_ok());
        live.check().await.unwrap();
        let error = refuse_file_in_use(&destinations, None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.starts_with("destination archive: another process, probably the live job, writes to "), "{text}");
        assert!(text.contains("a.jsonl") && text.contains("--destination") && text.contains("file.path"), "{text}");
        assert!(refuse_file_in_use(&destinations, Some("splunk")).is_ok(), "it gets no events");
        drop(live);
        assert!(refuse_file_in_use(&destinations, None).is_ok());
    }
}
