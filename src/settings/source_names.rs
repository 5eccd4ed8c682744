//! Which source reads a logstore that patterns match, and its name: pure, so that every process and every command with
//! the same settings gives the same answer.

use super::checked::{SourceScript, SourceSettings};
use crate::core::wildcard;
use crate::sls::Config;

/// The sources of the settings, in their order.
#[derive(Debug, Clone, Default)]
pub struct SourceNames(Vec<Known>);

#[derive(Debug, Clone)]
struct Known {
    name: String,
    endpoint: String,
    project: String,
    logstore: String,
}

impl Known {
    /// Whether its logstore is a pattern that matches this name.
    fn finds(&self, logstore: &str) -> bool {
        wildcard::has_wildcards(&self.logstore) && wildcard::matches(&self.logstore, logstore)
    }

    /// Whether it has no name of its own, so that its logstores have theirs.
    fn is_unnamed(&self) -> bool {
        wildcard::has_wildcards(&self.name)
    }

    fn is_beside(&self, other: &Self) -> bool {
        self.project == other.project && self.endpoint == other.endpoint
    }
}

impl SourceNames {
    /// Of sources with these names.
    pub fn new<'a>(sources: impl IntoIterator<Item = (&'a str, &'a Config)>) -> Self {
        Self::known(sources.into_iter().map(|(name, config)| {
            let Config { endpoint, project, logstore, .. } = config;
            [name, endpoint, project, logstore]
        }))
    }

    /// Of these sources.
    #[must_use]
    pub fn of(sources: &[SourceSettings]) -> Self {
        Self::new(sources.iter().map(|source| (source.name.as_str(), &source.sls)))
    }

    /// Of the sources with these scripts.
    #[must_use]
    pub fn of_scripts(sources: &[SourceScript]) -> Self {
        Self::known(sources.iter().map(|source| {
            let SourceScript { name, endpoint, project, logstore, .. } = source;
            [name.as_str(), endpoint, project, logstore]
        }))
    }

    /// Of sources with a name, an endpoint, a project and a logstore.
    fn known<'a>(sources: impl Iterator<Item = [&'a str; 4]>) -> Self {
        let known = |source: [&str; 4]| {
            let [name, endpoint, project, logstore] = source.map(str::to_owned);
            Known { name, endpoint, project, logstore }
        };
        Self(sources.map(known).collect())
    }

    /// Whether the pattern at this position is what reads a logstore of its project: it matches, no source names the
    /// logstore, and no earlier pattern matches it.
    #[must_use]
    pub fn is_read_by(&self, pattern: usize, logstore: &str) -> bool {
        let Self(known) = self;
        let this = &known[pattern];
        let beside = || known.iter().enumerate().filter(|(_, other)| other.is_beside(this));
        let is_named = beside().any(|(_, other)| other.logstore == logstore);
        !is_named && beside().find(|(_, other)| other.finds(logstore)).is_some_and(|(at, _)| at == pattern)
    }

    /// The name of the source that reads a logstore for the pattern at this position: the name of the logstore, after
    /// that of the pattern and a dot if the pattern has its own. Where several sources may get that name, the project
    /// stands in front, and a number behind if that is not enough.
    #[must_use]
    pub fn name_of(&self, pattern: usize, logstore: &str) -> String {
        let Self(known) = self;
        let this = &known[pattern];
        let is_taken = |name: &str| known.iter().any(|other| other.name == name);
        // Whether they match is decisive, and not whether the logstores exist: a name must not depend on the order in
        // which logstores are created.
        let rivals = || {
            let finding = known.iter().enumerate().filter(|(_, other)| other.is_unnamed() && other.finds(logstore));
            finding.filter(|(_, other)| !other.is_beside(this))
        };
        let (first, has_rival) = match this.is_unnamed() {
            true => (logstore.to_owned(), rivals().next().is_some()),
            false => (format!("{}.{logstore}", this.name), false),
        };
        if !has_rival && !is_taken(&first) {
            return first;
        }
        let second = format!("{}.{logstore}", this.project);
        let before = rivals().filter(|(at, other)| *at < pattern && other.project == this.project).count();
        let numbered = (before + 1..).map(|number| match number {
            1 => second.clone(),
            number => format!("{second}.{number}"),
        });
        let mut free = numbered.filter(|name| !is_taken(name));
        free.next().expect("there are more numbers than sources")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of sources with a name, an endpoint, a project and a logstore.
    fn names(sources: &[[&str; 4]]) -> SourceNames {
        SourceNames::known(sources.iter().copied())
    }

    #[test]
    fn a_logstore_is_read_by_the_source_that_names_it_or_else_by_the_first_pattern_that_matches() {
        let names = names(&[
            ["a-*", "e", "p", "a-*"],
            ["*-b", "e", "p", "*-b"],
            ["own", "e", "p", "a-own"],
            ["q.*", "e", "q", "*"],
            ["f.*", "f", "p", "*"],
        ]);
        let readers = |logstore: &str| -> Vec<usize> {
            [0, 1, 3, 4].into_iter().filter(|pattern| names.is_read_by(*pattern, logstore)).collect()
        };
        assert_eq!(readers("a-x"), [0, 3, 4]);
        assert_eq!(readers("a-b"), [0, 3, 4], "both patterns of the project match");
        assert_eq!(readers("x-b"), [1, 3, 4]);
        assert_eq!(readers("a-own"), [3, 4], "it is a source of its own");
        assert_eq!(readers("x"), [3, 4]);
    }

    #[test]
    fn a_source_is_named_after_its_logstore_if_no_other_can_have_that_name() {
        let names = names(&[
            ["*", "e", "p", "*"],
            ["audit-b", "e", "q", "audit-b"],
            ["p.audit-c", "e", "q", "c"],
            ["audit-c", "e", "q", "d"],
            ["eu", "e", "r", "*"],
        ]);
        assert_eq!(names.name_of(0, "audit-a"), "audit-a");
        assert_eq!(names.name_of(0, "audit-b"), "p.audit-b");
        assert_eq!(names.name_of(0, "audit-c"), "p.audit-c.2");
        assert_eq!(names.name_of(4, "audit-b"), "eu.audit-b");
    }

    #[test]
    fn patterns_of_several_projects_give_names_that_do_not_depend_on_which_is_looked_up_first() {
        let names =
            names(&[["p.*", "e", "p", "*"], ["q.au*", "e", "q", "au*"], ["p.*", "f", "p", "*"], ["x", "f", "x", "*"]]);
        let all = |logstore: &str| [0, 1, 2, 3].map(|pattern| names.name_of(pattern, logstore));
        assert_eq!(all("audit"), ["p.audit", "q.audit", "p.audit.2", "x.audit"]);
        assert_eq!(names.name_of(0, "waf"), "p.waf", "the other region has such a pattern, too");
    }
}
