//! The changes of a project's logstores between lookups, for a pattern: pure.

use std::collections::BTreeSet;

/// The result of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Logstores that are new.
    pub(super) new: BTreeSet<String>,
    /// Logstores that are read but no longer exist.
    pub(super) gone: BTreeSet<String>,
}

/// The changes, if `meant` are all logstores that a pattern reads and `known` are those already read for it.
pub(super) fn changes(known: &BTreeSet<String>, meant: &BTreeSet<String>) -> Changes {
    Changes { new: meant - known, gone: known - meant }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn new_logstores_are_added_and_deleted_ones_are_removed() {
        let look = |known: &[&str], meant: &[&str]| {
            let Changes { new, gone } = changes(&set(known), &set(meant));
            let words = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" ");
            (words(new), words(gone))
        };
        let of = |new: &str, gone: &str| (new.to_owned(), gone.to_owned());
        assert_eq!(look(&[], &["audit-a", "audit-b"]), of("audit-a audit-b", ""));
        assert_eq!(look(&["audit-a"], &["audit-a"]), of("", ""));
        assert_eq!(look(&["audit-a", "audit-b"], &["audit-b", "audit-c"]), of("audit-c", "audit-a"));
        assert_eq!(look(&["audit-a"], &[]), of("", "audit-a"));
    }
}
