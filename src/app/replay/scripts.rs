//! Selects the script for a dead letter: the one of the source that its log came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dead_letter::LogOrigin;
use crate::script::{HookError, Script};
use crate::settings::{DeliverySettings, SourceNames, SourceScript};

/// The scripts of the sources, and the one for all others.
#[derive(Debug, Default)]
pub struct ReplayScripts {
    sources: Vec<SourceScript>,
    names: SourceNames,
    /// For logs whose source is not known.
    common: Option<PathBuf>,
    loaded: BTreeMap<PathBuf, Script>,
}

impl ReplayScripts {
    /// Reads every script that the settings name.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn read(settings: &DeliverySettings) -> Result<Self, HookError> {
        let (sources, common) = (settings.sources.clone(), settings.script.clone());
        let mut loaded = BTreeMap::new();
        for path in sources.iter().filter_map(|source| source.script.as_ref()).chain(&common) {
            if !loaded.contains_key(path) {
                loaded.insert(path.clone(), Script::read(path)?);
            }
        }
        Ok(Self { names: SourceNames::of_scripts(&sources), sources, common, loaded })
    }

    /// This one for every log.
    #[must_use]
    pub fn only(script: Script) -> Self {
        let path = PathBuf::from(&script.name);
        Self { common: Some(path.clone()), loaded: [(path, script)].into(), ..Self::default() }
    }

    /// For people: `audit.lua (5d0a3c8b21ef), waf.lua (0123456789ab)`.
    #[must_use]
    pub fn named(&self) -> String {
        let named = self.loaded.values().map(|script| format!("{} ({})", script.name, script.version));
        named.collect::<Vec<_>>().join(", ")
    }

    /// The name of the source that a log came from, as the running process names it, and its script. `None`: there is
    /// no script for it, or several sources that read a logstore of this name have different scripts.
    pub(super) fn of(&self, origin: &LogOrigin) -> Option<(String, &Script)> {
        let LogOrigin { project, logstore, .. } = origin;
        let reads = |(at, source): &(usize, &SourceScript)| {
            let is_its =
                if source.is_pattern() { self.names.is_read_by(*at, logstore) } else { source.logstore == *logstore };
            source.project == *project && is_its
        };
        let reading: Vec<_> = self.sources.iter().enumerate().filter(reads).collect();
        let (name, path) = match &reading[..] {
            [] => (logstore.clone(), self.common.as_deref()),
            [(at, first), others @ ..] => {
                let is_same = others.iter().all(|(_, other)| other.script == first.script);
                let name = if first.is_pattern() { self.names.name_of(*at, logstore) } else { first.name.clone() };
                (name, first.script.as_deref().filter(|_| is_same))
            }
        };
        Some((name, self.loaded.get::<Path>(path?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cursor::{Cursor, ShardId};

    fn source(name: &str, logstore: &str, script: Option<&str>) -> SourceScript {
        let [name, project, logstore] = [name, "p", logstore].map(str::to_owned);
        SourceScript { name, endpoint: "e".to_owned(), project, logstore, script: script.map(PathBuf::from) }
    }

    fn scripts(sources: &[SourceScript], common: Option<&str>) -> ReplayScripts {
        let loaded = ["a.lua", "b.lua", "all.lua"].map(|name| (name.into(), Script::from_text(name, "")));
        let names = SourceNames::of_scripts(sources);
        ReplayScripts { sources: sources.to_vec(), names, common: common.map(PathBuf::from), loaded: loaded.into() }
    }

    fn of(scripts: &ReplayScripts, logstore: &str) -> Option<(String, String)> {
        of_project(scripts, "p", logstore)
    }

    fn of_project(scripts: &ReplayScripts, project: &str, logstore: &str) -> Option<(String, String)> {
        let [project, logstore] = [project, logstore].map(str::to_owned);
        let (shard, cursor) = (ShardId(0), Cursor::from_number(1));
        let origin = LogOrigin { project, logstore, shard, cursor, log: 0, event: None };
        scripts.of(&origin).map(|(source, script)| (source, script.name.clone()))
    }

    fn some(source: &str, script: &str) -> Option<(String, String)> {
        Some((source.to_owned(), script.to_owned()))
    }

    #[test]
    fn a_dead_letter_is_replayed_through_the_script_and_under_the_name_of_its_source() {
        let all = [source("one", "audit", Some("a.lua")), source("waf-*", "waf-*", Some("b.lua"))];
        let with_common = scripts(&all, Some("all.lua"));
        assert_eq!(of(&with_common, "audit"), some("one", "a.lua"));
        assert_eq!(of(&with_common, "waf-eu"), some("waf-eu", "b.lua"));
        assert_eq!(of(&with_common, "gone"), some("gone", "all.lua"));
        assert_eq!(of(&scripts(&all, None), "gone"), None);
    }

    #[test]
    fn a_logstore_found_by_a_pattern_is_named_as_its_source_was() {
        let own = [source("eu", "audit-*", Some("a.lua"))];
        assert_eq!(of(&scripts(&own, None), "audit-a"), some("eu.audit-a", "a.lua"));
        let none = [source("p.audit-*", "audit-*", Some("a.lua"))];
        assert_eq!(of(&scripts(&none, None), "audit-a"), some("audit-a", "a.lua"));
    }

    #[test]
    fn logstores_of_one_name_in_two_projects_are_named_with_their_projects_as_the_running_process_names_them() {
        let pattern = |project: &str, script| SourceScript {
            project: project.to_owned(),
            ..source(&format!("{project}.*"), "*", Some(script))
        };
        let two = scripts(&[pattern("p", "a.lua"), pattern("q", "b.lua")], None);
        assert_eq!(of_project(&two, "p", "audit"), some("p.audit", "a.lua"));
        assert_eq!(of_project(&two, "q", "audit"), some("q.audit", "b.lua"));
    }

    #[test]
    fn a_logstore_that_sources_read_with_different_scripts_has_no_script() {
        let two = [source("eu", "audit", Some("a.lua")), source("us", "audit", Some("b.lua"))];
        assert_eq!(of(&scripts(&two, Some("all.lua")), "audit"), None);
        let same = [source("eu", "audit", Some("a.lua")), source("us", "audit", Some("a.lua"))];
        assert_eq!(of(&scripts(&same, None), "audit"), some("eu", "a.lua"));
        let pattern = [source("au*", "au*", Some("a.lua")), source("one", "audit", Some("b.lua"))];
        assert_eq!(of(&scripts(&pattern, None), "audit"), some("one", "b.lua"), "it is named");
    }
}
