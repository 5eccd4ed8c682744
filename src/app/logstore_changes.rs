//! The changes of a project's logstores between lookups, for a pattern: pure.

use std::collections::BTreeSet;

use crate::core::wildcard;

/// The result of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Logstores that are new.
    pub(super) new: BTreeSet<String>,
    /// Logstores that are read but no longer exist.
    pub(super) gone: BTreeSet<String>,
}

/// The changes, if `listed` are all logstores of the project and `known` are those already read for `pattern`.
pub(super) fn changes(pattern: &str, known: &BTreeSet<String>, listed: &BTreeSet<String>) -> Changes {
    let meant: BTreeSet<String> = listed.iter().filter(|name| wildcard::matches(pattern, name)).cloned().collect();
    Changes { new: &meant - known, gone: known - &meant }
}

/// The name of the source that reads a logstore found by the source `pattern`: the name of the logstore, preceded by
/// the name of the pattern and a dot if the pattern has a name of its own, and by the project if another source has the
/// same name.
pub(super) fn source_name(pattern: &str, project: &str, logstore: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let first = if wildcard::has_wildcards(pattern) { logstore.to_owned() } else { format!("{pattern}.{logstore}") };
    let second = format!("{project}.{logstore}");
    let numbered = (2..).map(|number: u64| format!("{project}.{logstore}.{number}"));
    let mut names = [first, second].into_iter().chain(numbered);
    names.find(|name| !is_taken(name)).expect("there are more numbers than sources")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn new_logstores_that_match_are_added_and_deleted_ones_are_removed() {
        let look = |known: &[&str], listed: &[&str]| {
            let Changes { new, gone } = changes("audit-*", &set(known), &set(listed));
            let words = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" ");
            (words(new), words(gone))
        };
        let of = |new: &str, gone: &str| (new.to_owned(), gone.to_owned());
        assert_eq!(look(&[], &["audit-a", "waf", "audit-b", "xaudit-c"]), of("audit-a audit-b", ""));
        assert_eq!(look(&["audit-a"], &["audit-a"]), of("", ""));
        assert_eq!(look(&["audit-a", "audit-b"], &["audit-b", "audit-c"]), of("audit-c", "audit-a"));
        assert_eq!(look(&["audit-a"], &[]), of("", "audit-a"));
    }

    #[test]
    fn a_source_is_named_after_its_logstore_if_that_name_is_free() {
        let taken = set(&["audit-b", "p.audit-c", "audit-c"]);
        let name = |pattern, logstore| source_name(pattern, "p", logstore, |name| taken.contains(name));
        assert_eq!(name("audit-*", "audit-a"), "audit-a");
        assert_eq!(name("audit-*", "audit-b"), "p.audit-b");
        assert_eq!(name("audit-*", "audit-c"), "p.audit-c.2");
        assert_eq!(name("eu", "audit-b"), "eu.audit-b");
    }
}
