//! Reads the groups of all sources, those of the logstores that a pattern finds included.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::look::{Group, GroupReader, Trouble, failed};
use crate::cli::exit::TROUBLE;
use crate::cli::source::{Barren, BarrenReason, Existing, existing};
use crate::settings::start::StartPosition;
use crate::sls::Config;

/// The sources of the settings, and a reader for each logstore.
pub(super) struct GroupReaders {
    places: Vec<(String, Config, StartPosition)>,
    /// By position in the settings and logstore.
    readers: BTreeMap<(usize, String), GroupReader>,
}

/// The group of a source, or why it cannot be read.
pub(super) struct Named {
    pub(super) name: String,
    /// The names of project, logstore and group.
    pub(super) config: Config,
    pub(super) found: Result<Group, Trouble>,
}

impl GroupReaders {
    pub(super) fn new(places: Vec<(String, Config, StartPosition)>) -> Self {
        Self { places, readers: BTreeMap::new() }
    }

    /// The state of every group, in the order of the settings.
    ///
    /// # Errors
    /// A setting is wrong, or a file that it names.
    pub(super) async fn look(&mut self) -> Result<Vec<Named>, String> {
        let named: Vec<_> = self.places.iter().map(|(name, config, _)| (name.as_str(), config)).collect();
        let existing = existing(&named).await;
        for Existing { at, logstore, .. } in existing.iter().flatten() {
            let key = (*at, logstore.clone());
            if !self.readers.contains_key(&key) {
                let (_, config, start) = &self.places[*at];
                let config = Config { logstore: logstore.clone(), ..config.clone() };
                self.readers.insert(key, GroupReader::new(config, start)?);
            }
        }
        let looks = existing.into_iter().map(async |one| match one {
            Ok(Existing { at, name, logstore }) => {
                let config = Config { logstore: logstore.clone(), ..self.places[at].1.clone() };
                Ok(Named { name, config, found: self.readers[&(at, logstore)].look().await })
            }
            Err(Barren { at, why }) => {
                let (name, config, _) = self.places[at].clone();
                let trouble = match &why {
                    BarrenReason::Settings(error) => return Err(error.clone()),
                    BarrenReason::Unlisted(error) => failed(error),
                    BarrenReason::Nothing { .. } => Trouble {
                        code: TROUBLE,
                        what: why.to_string(),
                        fix: "correct sls.logstore, or ignore this if such logstores will be created later".to_owned(),
                    },
                };
                Ok(Named { name, config, found: Err(trouble) })
            }
        });
        join_all(looks).await.into_iter().collect()
    }
}
