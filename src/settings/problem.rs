//! Problems in the settings, with fixes.

use std::fmt;

/// All problems in the settings, shown together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One problem. It never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// Where the value was given, or where it was expected.
    pub place: String,
    /// What to do.
    pub fix: String,
}

/// A problem without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) what: String,
    pub(super) fix: String,
}

impl Complaint {
    pub(super) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }

    pub(super) fn at(self, place: impl Into<String>) -> Problem {
        Problem { what: self.what, place: place.into(), fix: self.fix }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => writeln!(f, "the settings have a problem")?,
            count => writeln!(f, "the settings have {count} problems")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {}\n    where: {}\n    fix:   {}\n", problem.what, problem.place, problem.fix)?;
        }
        Ok(())
    }
}

/// The most similar candidate, if any is similar enough.
pub(super) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near =
        |candidate: &str| strsim::normalized_damerau_levenshtein(&typed.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (near(candidate), candidate))
        .filter(|(score, _)| *score >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_distant_one_is_not() {
        let names = ["timeout", "token_file", "url"];
        assert_eq!(nearest("timout", names), Some("timeout"));
        assert_eq!(nearest("tokenfile", names), Some("token_file"));
        assert_eq!(nearest("URL", names), Some("url"));
        assert_eq!(nearest("sourcetype", names), None);
    }
}
