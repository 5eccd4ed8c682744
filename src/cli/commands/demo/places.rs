//! The logstores of a demo.

use crate::emulator::sls::SlsEmulator;
use crate::loggroup::proto::LogGroup;

/// The first project.
pub(crate) const PROJECT: &str = "demo-project";

/// Its first logstore.
pub(crate) const LOGSTORE: &str = "audit";

/// The consumer group in each logstore.
pub(super) const GROUP: &str = "siem";

/// Maximum number of logstores of a demo.
pub(super) const MAX_LOGSTORES_OF_DEMO: i64 = 16;

/// Project and name of each logstore, and its number of shards.
#[derive(Debug)]
pub(super) struct Places {
    all: Vec<(String, String)>,
    shards: u32,
}

impl Places {
    /// This many logstores, alternating between two projects: `audit`, `audit-2` in the second one, `audit-3`.
    pub(super) fn new(sources: u32, shards: u32) -> Self {
        let place = |number: u32| match number {
            1 => (PROJECT.to_owned(), LOGSTORE.to_owned()),
            _ if number.is_multiple_of(2) => (format!("{PROJECT}-2"), format!("{LOGSTORE}-{number}")),
            _ => (PROJECT.to_owned(), format!("{LOGSTORE}-{number}")),
        };
        Self { all: (1..=sources).map(place).collect(), shards }
    }

    /// Writes a group into the next shard: logstores take turns, and so do their shards.
    pub(super) fn put(&self, sls: &SlsEmulator, turn: u32, group: LogGroup) -> Result<(), String> {
        let sources = u32::try_from(self.all.len()).unwrap_or(1);
        let (project, logstore) = &self.all[(turn % sources) as usize];
        let shard = turn / sources % self.shards;
        sls.put(project, logstore, shard, [group]).map_err(|refusal| refusal.to_string())
    }

    /// Counts shards whose checkpoint is not at their end.
    pub(super) fn unsaved(&self, sls: &SlsEmulator) -> usize {
        let shards = self.all.iter().flat_map(|place| (0..self.shards).map(move |shard| (place, shard)));
        let is_saved = |((project, logstore), shard): &(&(String, String), u32)| {
            let saved = sls.checkpoint(project, logstore, GROUP, *shard).map(|checkpoint| checkpoint.cursor);
            saved == sls.range(project, logstore, *shard).map(|range| range.end)
        };
        shards.filter(|shard| !is_saved(shard)).count()
    }

    /// The environment variables with which a user would read them.
    pub(super) fn environment(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        if let [(project, logstore)] = &self.all[..] {
            let place = [endpoint, project, logstore].map(str::to_owned);
            return ["SLS_ENDPOINT", "SLS_PROJECT", "SLS_LOGSTORE"].into_iter().zip(place).collect();
        }
        let by_project = self.by_project();
        let endpoints = vec![endpoint; by_project.len()].join(";");
        let (projects, logstores): (Vec<_>, Vec<_>) = by_project.into_iter().unzip();
        let lists = [endpoints, projects.join(";"), logstores.join(";")];
        ["SLS_ENDPOINTS", "SLS_PROJECTS", "SLS_LOGSTORES"].into_iter().zip(lists).collect()
    }

    /// A description for people: `project demo-project, logstore audit`.
    pub(super) fn describe(&self) -> String {
        let project = |(project, logstores): (&str, String)| {
            let noun = if logstores.contains(',') { "logstores" } else { "logstore" };
            format!("project {project}, {noun} {}", logstores.replace(',', ", "))
        };
        self.by_project().into_iter().map(project).collect::<Vec<_>>().join("; ")
    }

    /// The number of shards in all.
    pub(super) fn shards(&self) -> usize {
        self.all.len() * self.shards as usize
    }

    /// Each project with a list of its logstores.
    fn by_project(&self) -> Vec<(&str, String)> {
        let mut projects: Vec<(&str, String)> = Vec::new();
        for (project, logstore) in &self.all {
            match projects.iter_mut().find(|(known, _)| known == project) {
                Some((_, logstores)) => *logstores += &format!(",{logstore}"),
                None => projects.push((project, logstore.clone())),
            }
        }
        projects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_logstore_is_set_by_single_variables_and_several_by_lists() {
        let set = |sources| {
            let environment = Places::new(sources, 4).environment("http://e");
            environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(set(1), ["SLS_ENDPOINT=http://e", "SLS_PROJECT=demo-project", "SLS_LOGSTORE=audit"]);
        let several = [
            "SLS_ENDPOINTS=http://e;http://e",
            "SLS_PROJECTS=demo-project;demo-project-2",
            "SLS_LOGSTORES=audit,audit-3;audit-2",
        ];
        assert_eq!(set(3), several);
        let described = Places::new(3, 4).describe();
        assert_eq!(
            described,
            "project demo-project, logstores audit, audit-3; project demo-project-2, logstore audit-2"
        );
    }

    #[tokio::test]
    async fn every_shard_of_every_logstore_gets_its_turn() {
        let sls = SlsEmulator::start(crate::emulator::sls::Config::default()).await.unwrap();
        let places = Places::new(3, 2);
        (0..6).for_each(|turn| places.put(&sls, turn, LogGroup::default()).unwrap());
        assert_eq!((places.shards(), places.unsaved(&sls)), (6, 6));
        for (project, logstore) in &places.all {
            for shard in 0..2 {
                assert_eq!(sls.range(project, logstore, shard).map(|range| range.end - range.start), Some(1));
            }
        }
    }
}
